// Going back in a live stream. The bar's left end is where its recording began, be that in
// several files, or, of one that is not recorded, the oldest that the server's log still has;
// its right end is live.

import { $, show } from './dom.js';
import { SeekBar } from './seekbar.js';
import * as say from './format.js';

const near = 2;        // so near to live is live, s
const worth = 5;       // a log that reaches back less far is no bar worth, s
const settled = 500;   // after the last key for so long, it goes there, ms

export class Rewind {
  #player; #changed; #bar;
  #recording = null;   // the one that grows, or null
  #unbroken = 0;       // how much is recorded up to now, s
  #heardAt = 0;
  #log = 0;            // how far the server's log reaches back, s
  #wanted = null;      // how far behind live the keys have led so far, s
  #timer = 0;

  // player returns the player, if there is one yet. changed is called when behind has
  // been changed by hand.
  constructor({ signal, player, changed }) {
    this.#player = player;
    this.#changed = changed;
    this.#bar = new SeekBar({
      signal, label: 'Rewind',
      words: (place, max) => (max - place < near ? 'Live' : say.behind(max - place)),
      moved: changed,
      done: () => this.#go(this.#bar.rest),
    });
    $('live').addEventListener('click', () => {
      if (this.possible) $('seek').focus(); // the button goes
      this.#go(0);
    }, { signal });
    signal.addEventListener('abort', () => {
      clearTimeout(this.#timer);
      this.#bar.show(false);
      show($('live'), false);
    });
  }

  // heard takes the newest recording of the stream, or null, and how much there is up to its
  // end, s.
  heard(recording, unbroken) {
    this.#recording = recording?.state === 'recording' ? recording : null;
    this.#unbroken = unbroken;
    this.#heardAt = performance.now();
    this.#changed();
  }

  // log takes how far the server's log reaches back, s.
  log(seconds) {
    this.#log = seconds >= worth ? seconds : 0;
  }

  // by goes so many seconds on or back, and reports whether it can.
  by(seconds) {
    if (!this.possible) return false;
    this.#wanted = Math.max(0, Math.min(this.#depth, this.behind - seconds));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#go(this.#wanted), settled);
    this.#changed();
    return true;
  }

  // behind is how far behind live the picture is, s, or will be.
  get behind() {
    return this.#wanted ?? (this.#bar.held ? this.#bar.rest : this.#player()?.lag ?? 0);
  }

  get possible() {
    const player = this.#player();
    return this.#depth > 0 && !!player && !['', 'failed', 'ended', 'waiting'].includes(player.state);
  }

  // show brings the bar up to date.
  show() {
    const { possible, behind } = this, depth = this.#depth;
    const back = this.#player()?.back || this.#wanted !== null || this.#bar.held;
    this.#bar.show(possible);
    show($('live'), back && behind >= near);
    if (possible) this.#bar.set(depth - (behind < near ? 0 : behind), depth);
  }

  // depth is how far it can go back, s: the recording goes on between two answers.
  get #depth() {
    const recorded = this.#recording ? this.#unbroken + (performance.now() - this.#heardAt) / 1000 : 0;
    return Math.max(recorded, this.#log);
  }

  #go(behind) {
    clearTimeout(this.#timer);
    this.#wanted = null;
    this.#player()?.rewind(behind < near ? 0 : behind);
    this.#changed();
  }
}
