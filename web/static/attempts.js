// The pauses between attempts at a stream, and what went wrong in a row: ever longer
// pauses, until one attempt has played for a while.

const first = 300, growth = 2, most = 15000; // ms

export class Attempts {
  retryAt = 0;     // when the next one is due (performance.now), or 0
  pause = 0;       // the last one, ms
  standstills = 0; // since it last played for a while
  mediaErrors = 0; // in a row
  unopened = 0;    // WebSockets in a row that did not get through
  #timer = 0;
  #open;

  // open is called when an attempt is due.
  constructor(open) {
    this.#open = open;
  }

  // fresh forgets all that went wrong.
  fresh() {
    this.pause = this.mediaErrors = this.unopened = this.standstills = 0;
  }

  // later has an attempt made after a pause, of at least so many ms.
  later(least) {
    this.cancel();
    this.pause = Math.min(most, this.pause ? this.pause * growth : first);
    const pause = Math.max(least, this.pause) * (0.8 + 0.4 * Math.random());
    this.retryAt = performance.now() + pause;
    this.#timer = setTimeout(this.#open, pause);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.retryAt = 0;
  }
}
