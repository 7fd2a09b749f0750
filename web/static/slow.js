// What is said of a line that is slower than the stream, and what can be done about it.

import { el, show, text } from './dom.js';
import { bits, clock, seconds } from './format.js';

const told = 2000; // the figures change so often at the most, ms

// slowWords says what a player's slow means; by how much says the second sentence.
function slowWords({ sure, behind, needs, gets }) {
  const much = `${bits(gets)} of ${bits(needs)} arrive, `
    + `${behind < 100 ? seconds(behind) : clock(behind)} behind live.`;
  return sure ? ['Your connection is slower than this stream.', much]
    : ['This stream arrives more slowly than it plays: your connection is too slow for it, or its publisher’s is.', much];
}

export class SlowNotice {
  #root; #player;
  #words = el('strong');
  #much = el('span', { 'aria-live': 'off' }); // which changes all the time
  #button = el('button', { type: 'button' });
  #instead = false; // the sound only was chosen here
  #toldAt = 0;

  // player returns the player, if there is one yet.
  constructor({ root, signal, player }) {
    this.#root = root;
    this.#player = player;
    root.replaceChildren(this.#words, ' ', this.#much, ' ', this.#button);
    this.#button.addEventListener('click', () => {
      this.#instead = !this.#instead;
      player()?.ask({ onlyaudio: this.#instead });
      this.show();
    }, { signal });
    signal.addEventListener('abort', () => show(root, false));
  }

  // show brings the notice up to date; to be called a few times a second. It stays while
  // there is only sound because of it.
  show() {
    const player = this.#player(), slow = player?.slow, now = performance.now();
    const only = new URLSearchParams(player?.wishes).has('onlyaudio');
    this.#instead &&= only;
    show(this.#root, !!slow || this.#instead);
    if (slow) {
      const [words, much] = slowWords(slow);
      text(this.#words, words);
      if (now - this.#toldAt > told && slow.gets < slow.needs) { // not while what was missed comes
        text(this.#much, much);
        this.#toldAt = now;
      }
    } else if (this.#instead) {
      text(this.#words, 'The sound only, since your connection was slower than the picture.');
      text(this.#much, '');
    }
    const { hasVideo, hasAudio } = player?.media ?? {};
    show(this.#button, this.#instead || !only && !!hasVideo && !!hasAudio);
    text(this.#button, this.#instead ? 'Show the picture' : 'Sound only');
  }
}
