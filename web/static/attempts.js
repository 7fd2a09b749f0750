// The pauses between attempts at a stream, and what went wrong in a row: ever longer
// pauses, until one attempt has played for a while.

// The first pause and the longest, ms.
const paces = {
  again: { first: 300, most: 15000 },
  soon: { first: 300, most: 2500 },   // what was lost may be back at any moment
  wait: { first: 2000, most: 60000 }, // for a publisher that the server does not tell of
};
const growth = 2;
const settled = 8000; // an attempt that lasted so long begins the pauses anew, ms
const hope = 60000; // after so long of 'soon' it is 'again', ms

export class Attempts {
  retryAt = 0;     // when the next one is due (performance.now), or 0
  pause = 0;       // the last one, ms
  standstills = 0; // since it last played for a while
  mediaErrors = 0; // in a row
  unopened = 0;    // WebSockets in a row that did not get through
  #timer = 0;
  #since = 0;      // when the first of these attempts failed
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
  later(least, pace = 'again') {
    this.cancel();
    const now = performance.now();
    if (!this.pause) this.#since = now;
    if (pace === 'soon' && now - this.#since > hope) pace = 'again';
    const { first, most } = paces[pace];
    this.pause = Math.min(most, Math.max(first, this.pause * growth));
    const pause = Math.max(least, this.pause) * (0.8 + 0.4 * Math.random());
    this.retryAt = now + pause;
    this.#timer = setTimeout(this.#open, pause);
  }

  // shows notes that the picture of an attempt moves for the first time. After a standstill
  // a moment of picture proves nothing.
  shows() {
    this.mediaErrors = 0;
    if (!this.standstills) this.pause = 0;
  }

  // plays notes that the picture has moved for so many ms.
  plays(ms) {
    if (ms > settled) this.pause = this.standstills = 0;
  }

  // lasted notes that an attempt with a picture has ended after so many ms.
  lasted(ms) {
    if (ms > settled) this.pause = 0;
  }

  cancel() {
    clearTimeout(this.#timer);
    this.retryAt = 0;
  }
}
