// The bar under the picture: a range of seconds, of a recording or of what a live stream
// can be rewound by.

import { $, show } from './dom.js';

const spoken = 5; // while it has the focus, its place is told anew only after so many s

export class SeekBar {
  #input = $('seek');
  #told = -Infinity;
  #words;

  // label is its name. words(place, max) is what a place in it is called. moved is
  // called with the place while it is dragged, done when it is let go.
  constructor({ signal, label, words, moved, done }) {
    this.#words = words;
    this.#input.setAttribute('aria-label', label);
    const on = (type, f) => this.#input.addEventListener(type, f, { signal });
    on('input', () => {
      this.held = true;
      this.#tell(this.place);
      moved(this.place);
    });
    on('change', () => {
      this.held = false;
      done(this.place);
    });
    on('focus', () => this.#tell(this.place));
  }

  held = false; // it is being dragged

  get place() { return Number(this.#input.value); }
  get rest() { return Number(this.#input.max) - this.place; }

  // set shows a place between 0 and max, both s; nothing moves under who drags it.
  set(place, max) {
    if (this.held) return;
    const input = this.#input, end = max.toFixed(2);
    if (input.max !== end) input.max = end;
    input.value = place;
    const quiet = document.activeElement === input && Math.abs(place - this.#told) < spoken;
    if (!quiet) this.#tell(place);
  }

  show(visible) {
    show($('bar'), visible);
  }

  #tell(place) {
    this.#told = place;
    const words = this.#words(place, Number(this.#input.max));
    if (this.#input.getAttribute('aria-valuetext') !== words) this.#input.setAttribute('aria-valuetext', words);
  }
}
