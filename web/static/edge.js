// Keeping to the live edge.
//
// The browser plays at the pace of its own clock what comes at the pace of the
// encoder's, and every hiccup of the network leaves it further behind. So the
// playback rate is bent, too little to be heard, until as much is buffered as
// this network has been found to need; only far behind, it jumps, and where data was
// late and has come at last. Who wants to be behind, by ?back, is kept at that distance
// in the same way.

import { overGap } from './gap.js';

// What visitors choose between. least and most are bounds of the target, s; so far behind
// it jump is a jump, s, and jumpEarly in the first moments, with a whole GOP at once; thin
// is the part of the target that is missed before the pace is slowed, fastest the pace at
// most.
const modes = {
  // The lowest delay.
  low: { least: 0.5, most: 2.5, jump: 3.5, jumpEarly: 0.3, thin: 0.6, fastest: 1.15 },
  // As few stalls, jumps and changes of the pace as can be: it begins at the key frame.
  smooth: { least: 1, most: 4, jump: 6, jumpEarly: 2, thin: 0.3, fastest: 1.05 },
};
const early = 3000;                 // these first moments, ms
const slack = 0.35;                 // near enough to the target, s
const slowest = 0.95;
const held = 2, arrived = 0.4;      // data that was so late, and no longer is, has come at last, s
const lesson = 0.3;                 // by so much a stall raises the target, s
const calmAfter = 30000;            // without a stall for so long, the target shrinks, ms
const memory = 20000;               // of when data came, ms

export class Edge {
  target;
  back = 0; // how far behind the live edge the viewer wants to be, s; Infinity: left where it is
  #video;
  #mode;
  #late = 0; // how late data was, before it came at last, s
  #began = 0;
  #calmSince = 0;
  #seen = []; // {at, end}: end of the buffer when data came

  constructor(video, mode, back = 0) {
    this.#video = video;
    this.back = back;
    this.mode = mode;
  }

  // mode is 'low' or 'smooth'.
  set mode(name) {
    this.#mode = modes[name] ?? modes.low;
    this.unlearn();
  }

  // unlearn forgets what stalls have taught, after those that more in the buffer would not
  // have spared.
  unlearn() {
    this.target = this.#mode.least;
  }

  // begin starts a new session; what was learnt of the network stays.
  begin(now) {
    this.#calmSince = now;
    this.forget();
    this.hurry(now);
  }

  // hurry has it jump to its place in the next moments, rather than go there by its pace.
  hurry(now) {
    this.#began = now;
  }

  // forget drops the pace seen so far, after a pause of the publisher.
  forget() {
    this.#seen = [];
  }

  // stalled notes that the buffer ran dry although the stream goes on.
  stalled(now) {
    this.target = Math.min(this.#mode.most, this.target + lesson);
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
    const late = this.lag(now) - this.ahead;
    if (late > held) this.#late = Math.max(this.#late, late);
    else if (this.#late && late < arrived) {
      // Against a break that is longer than any buffer here, more of it would be no help.
      if (this.#late > 2 * this.#mode.most) this.target = Math.max(this.#mode.least, this.target - lesson);
      this.#late = 0;
      this.hurry(now);
    }
    if (video.paused || video.seeking) return;
    if (overGap(video)) return;

    if (now - this.#calmSince > calmAfter) {
      this.target = Math.max(this.#mode.least, this.target - 0.1);
      this.#calmSince = now;
    }
    const { jump, jumpEarly, thin, fastest } = this.#mode;
    const have = this.ahead - this.target, over = have - this.back;
    if (over > (now - this.#began < early ? jumpEarly : jump)) {
      this.#rate(1);
      this.jump();
    } else if (over > slack) {
      this.#rate(Math.min(fastest, 1 + over * 0.1));
    } else if (have < -this.target * thin) {
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
