// How a player follows a live stream: how far behind it the picture is, how far it is to
// be, and whether the line is fast enough for it.

import { Edge } from './edge.js';
import { holds } from './gap.js';
import { Line } from './line.js';
import { Place } from './place.js';

// So late on a slow line, it is to begin anew at live, s. The server leaves out what is more
// than SLUICE_MAX_LAG late where it sees that; this is for what waits on the way, where nobody
// does. It takes its time to get here even when nobody wants it any more, so the pauses
// between two of these are long, ms.
const tooLate = { low: 15, smooth: 20 };
const pauses = { first: 20000, growth: 2, most: 120000 };

export class Follow {
  edge;
  place = new Place(); // of a viewer who has gone back by hand
  slow = null;         // see Player.slow
  #line = new Line();
  #video; #mode;
  #pause = pauses.first;

  constructor(video, mode, back) {
    this.#video = video;
    this.#mode = mode;
    this.edge = new Edge(video, mode, back);
  }

  get mode() { return this.#mode; }
  set mode(mode) { this.#mode = this.edge.mode = mode; }
  get late() { return this.#line.late; } // how late data comes, s
  get back() { return this.place.kept || this.edge.back > 0; } // whether it is to be behind live

  // begin starts with a new session.
  begin(now) {
    this.edge.begin(now);
    this.#line.begin(now);
  }

  data(bytes, now) {
    this.#line.data(bytes, now);
  }

  // rate is what comes, bit/s.
  rate(now) {
    return this.#line.rate(now);
  }

  // heard takes what the server tells of the stream, or undefined, by its clock at a time.
  heard(stream, at, now) {
    if (stream?.bytes_in) this.#line.heard(stream.bytes_in, Date.parse(at), now);
  }

  // forget drops the pace seen so far, after a pause of the publisher or of the page.
  forget(now) {
    this.edge.forget();
    this.#line.forget(now);
  }

  // other begins with something else to watch; what was said of the line was of more or less.
  other() {
    this.#line.other();
    this.slow = null;
  }

  // lag is how far the picture of a session, which shows one, is behind live, s.
  lag(session, now) {
    const late = this.slow ? this.edge.ahead + this.#line.late : 0; // which remembers longer
    return session.lag(Math.max(late, this.edge.lag(now)), this.#video.currentTime, now);
  }

  // go puts a session so many seconds behind live, which it is now lag behind, and keeps it
  // there; 0 is live. It reports whether that is buffered; else it is to be opened anew.
  go(session, back, lag, now) {
    const video = this.#video, to = video.currentTime + lag - back;
    const here = session?.shown && session.ended === null && (back ? holds(video, to) : lag - this.edge.ahead < 2);
    this.edge.back = back ? Infinity : 0;
    if (!here) return false;
    if (back) video.currentTime = to;
    else this.edge.jump();
    this.place.keep(back, now);
    return true;
  }

  // measure compares the line with the stream, and returns whether there is news of it;
  // see Line.look for how.
  measure(session, how, now) {
    const before = this.slow, line = this.#line;
    line.look(now, how);
    this.slow = line.slow && { behind: session.shown ? this.lag(session, now) : line.late, ...line.slow };
    if (!before !== !this.slow) this.edge.unlearn();
    if (before && !this.slow) {
      this.#pause = pauses.first;
      this.edge.hurry(now);
    }
    return !before !== !this.slow || before?.sure !== this.slow?.sure;
  }

  // givesUp reports whether a session on a slow line is to begin anew at the live edge: what
  // it is behind would only ever be more.
  givesUp(session, now) {
    const { slow } = this;
    if (!slow?.sure || this.back || this.late < tooLate[this.#mode] || now - session.began < this.#pause) return false;
    this.#pause = Math.min(pauses.most, this.#pause * pauses.growth);
    return true;
  }
}
