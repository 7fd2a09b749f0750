// Views that are rarely wanted.

import { $, show, text } from './dom.js';

// Lazy is a view whose script is fetched when it is opened, and not before.
export class Lazy {
  #fetch; #view = null; #closed = false; #last;
  constructor(fetch) { this.#fetch = fetch; }

  async open() {
    try {
      const view = await this.#fetch();
      if (this.#closed) return;
      this.#view = view;
      view.open();
      if (this.#last !== undefined) view.heard(this.#last);
    } catch (e) {
      if (this.#closed) return;
      text($('unreachable'), `This view could not be loaded from the server (${e.message}). Load the page again.`);
      show($('unreachable'), true);
      throw e;
    }
  }

  heard(answer) {
    this.#last = answer;
    this.#view?.heard(answer);
  }

  close() {
    this.#closed = true;
    this.#view?.close();
  }

  get state() { return this.#view?.state ?? 'connecting'; }
  get reason() { return this.#view?.reason ?? ''; }
  get player() { return this.#view?.player ?? null; }
  get view() { return this.#view; }
}
