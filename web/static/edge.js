// Keeping to the live edge.
//
// The browser plays at the pace of its own clock what comes at the pace of the
// encoder's, and every hiccup of the network leaves it further behind. So the
// playback rate is bent, too little to be heard, until as much is buffered as
// this network has been found to need; only far behind, it jumps. Who wants to be
// behind, by ?back, is kept at that distance in the same way.

import { overGap } from './gap.js';

const least = 0.5, most = 2.5;      // bounds of the target, s
const jumpLate = 3.5;               // this far behind the target it jumps, s
const jumpEarly = 0.3, early = 3000; // in the first ms, with a whole GOP at once, sooner
const slack = 0.35;                 // near enough to the target, s
const fastest = 1.15, slowest = 0.95;
const calmAfter = 30000;            // without a stall for so long, the target shrinks, ms
const memory = 20000;               // of when data came, ms

export class Edge {
  target = least;
  back = 0; // how far behind the live edge the viewer wants to be, s; Infinity: left where it is
  #video;
  #began = 0;
  #calmSince = 0;
  #seen = []; // {at, end}: end of the buffer when data came

  constructor(video, back = 0) {
    this.#video = video;
    this.back = back;
  }

  // begin starts a new session; what was learnt of the network stays.
  begin(now) {
    this.#began = this.#calmSince = now;
    this.forget();
  }

  // forget drops the pace seen so far, after a pause of the publisher.
  forget() {
    this.#seen = [];
  }

  // stalled notes that the buffer ran dry although the stream goes on.
  stalled(now) {
    this.target = Math.min(most, this.target + 0.3);
    this.#calmSince = now;
  }

  // ahead is what is buffered beyond the picture now shown, s.
  get ahead() {
    const { buffered, currentTime } = this.#video;
    return buffered.length ? Math.max(0, buffered.end(buffered.length - 1) - currentTime) : 0;
  }

  // lag is how far the picture is behind the newest that there can be, s:
  // behind the newest data here, or, when data comes late, behind what would be
  // here had it kept the best pace of the last seconds.
  lag(now) {
    let lag = this.ahead;
    for (const { at, end } of this.#seen) {
      lag = Math.max(lag, end + (now - at) / 1000 - this.#video.currentTime);
    }
    return lag;
  }

  // keep looks at the buffer and bends the pace; to be called a few times a
  // second.
  keep(now) {
    const video = this.#video, { buffered } = video;
    if (!buffered.length) return;
    const end = buffered.end(buffered.length - 1);
    if (end !== this.#seen.at(-1)?.end) this.#seen.push({ at: now, end });
    while (this.#seen.length > 1 && now - this.#seen[0].at > memory) this.#seen.shift();
    if (video.paused || video.seeking) return;
    if (overGap(video)) return;

    if (now - this.#calmSince > calmAfter) {
      this.target = Math.max(least, this.target - 0.1);
      this.#calmSince = now;
    }
    const have = this.ahead - this.target, over = have - this.back;
    if (over > (now - this.#began < early ? jumpEarly : jumpLate)) {
      this.#rate(1);
      this.jump();
    } else if (over > slack) {
      this.#rate(Math.min(fastest, 1 + over * 0.1));
    } else if (have < -this.target * 0.6) {
      this.#rate(slowest);
    } else if (video.playbackRate > 1 ? over <= 0 : have >= 0) {
      this.#rate(1);
    }
  }

  // jump goes to the live edge, or as far behind it as is wanted, as far as it is
  // buffered.
  jump() {
    const video = this.#video, { buffered } = video;
    if (!buffered.length || this.back === Infinity) return;
    const last = buffered.length - 1;
    video.currentTime = Math.max(buffered.start(last), buffered.end(last) - this.target - this.back);
  }

  #rate(rate) {
    rate = Math.round(rate * 100) / 100;
    if (this.#video.playbackRate !== rate) this.#video.playbackRate = rate;
  }
}
