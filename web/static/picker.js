// Choosing streams of the list for a wall.

import { $, el, text } from './dom.js';
import { wallMost, wallPage } from './addresses.js';

const fewest = 2; // streams of a wall

export class Picker {
  #picked = new Set(); // keys
  #labels = new Map(); // by key
  #bar; #link; #count; #ended;

  // ended is called when nothing is chosen any more.
  constructor(ended) {
    this.#ended = ended;
    this.#count = el('p', { role: 'status' });
    this.#link = el('a', { class: 'button primary', 'data-link': true }, 'Open the wall');
    const cancel = el('button', { type: 'button' }, 'Cancel');
    cancel.addEventListener('click', () => this.close());
    this.#bar = el('div', { class: 'choosing', role: 'region', 'aria-label': 'Streams for a wall' }, this.#count, this.#link, cancel);
    $('tools').after(this.#bar); // for the keyboard before the streams, for the eye below them
    $('some').classList.add('chooses');
    $('choose').setAttribute('aria-pressed', 'true');
    this.#bar.addEventListener('keydown', (e) => { if (e.key === 'Escape') this.close(); });
    this.#show();
  }

  // dress gives an item of the list a box to tick.
  dress({ key, link }) {
    if (this.#labels.has(key)) return;
    const box = el('input', { type: 'checkbox', 'aria-label': `For the wall: ${key}` });
    box.checked = this.#picked.has(key);
    box.addEventListener('change', () => {
      if (box.checked && this.#picked.size < wallMost) this.#picked.add(key);
      else this.#picked.delete(key);
      box.checked = this.#picked.has(key);
      this.#show();
    });
    const label = el('label', { class: 'pick' }, box);
    this.#labels.set(key, label);
    link.after(label);
  }

  // forget gives up a stream that is gone from the list. One that was picked stays picked: it
  // may come back.
  forget(key) {
    this.#labels.get(key)?.remove();
    this.#labels.delete(key);
  }

  close() {
    for (const label of this.#labels.values()) label.remove();
    const inside = this.#bar.contains(document.activeElement);
    this.#bar.remove();
    $('some').classList.remove('chooses');
    $('choose').removeAttribute('aria-pressed');
    if (inside) $('choose').focus();
    this.#ended();
  }

  #show() {
    const n = this.#picked.size, enough = n >= fewest;
    text(this.#count, `${n} selected` + (n === wallMost ? ', which is all a wall has' : enough ? '' : `, ${fewest} to ${wallMost} make a wall`));
    if (enough) this.#link.href = wallPage([...this.#picked]);
    else this.#link.removeAttribute('href');
    this.#link.setAttribute('aria-disabled', String(!enough));
  }
}
