// Theatre mode: the picture fills the window, and all else is below it. It is the visitor's
// choice, and on a phone that is held sideways there is room for nothing else.

import { $ } from './dom.js';
import { keep, recall } from './prefs.js';

const sideways = matchMedia('(orientation: landscape) and (max-height: 500px)');

export class Theatre {
  #chosen = recall('theatre', 'false') === 'true';

  constructor(signal) {
    sideways.addEventListener('change', () => this.#show(), { signal });
    signal.addEventListener('abort', () => document.body.classList.remove('theatre'));
    this.#show();
  }

  get chosen() { return this.#chosen; }

  toggle() {
    this.#chosen = !this.#chosen;
    keep('theatre', this.#chosen);
    this.#show();
    scrollTo(0, 0);
  }

  #show() {
    document.body.classList.toggle('theatre', this.#chosen || sideways.matches);
    $('theatre').setAttribute('aria-pressed', this.#chosen);
  }
}
