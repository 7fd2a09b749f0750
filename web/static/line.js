// Finds out that a viewer's line is slower than the stream.
//
// A stream is late when what has come reaches less far than it would at the best pace of the
// last seconds. That alone blames nobody: a publisher with a poor uplink, one that stutters
// or encodes too slowly makes its stream late as well. But then the server has no more than
// was passed on, and it tells how many bytes it has (bytes_in of the API). So the line is
// slow where, for a while, all this is so:
//
//   - data comes all the time, so that it is neither a break nor a stream with few frames; or in
//     lumps, again and again, as some proxies and radio links hand it out,
//   - it is late,
//   - and less of it came than the server got in the very same seconds, and than it got on
//     the average: a large key frame, or what a publisher has held back, takes its time on a
//     line that is fast enough.
//
// Where the server does not tell (its streams are private, one track of several is watched),
// it takes longer, and the verdict says that it may be the publisher (sure: false).

import { Tags } from './tags.js';

const grain = 100;                 // between two notes of what has come, ms
const memory = 20000;              // of these, and so of the best pace, ms
const gap = 1500, pause = 700;     // longer without data is no flow, and no steady one, ms
const flows = 3000, steady = 8000; // for so long it has to have come, ms
const lumps = { pause: 7000, flow: 12000, persists: 4000, seen: 3, most: 18000 }; // where it comes in lumps, ms
const late = 1, veryLate = 2.5;    // with the server's figures, and without, s
const prompt = 0.3;                // what comes so late comes in time, s
const part = 0.9;                  // less than this part of what is needed is too little
const persists = 2500;             // for so long before it is said, ms
const window = { least: 3000, most: 8000, long: 30000, old: 4500 }; // of the server's figures, ms
const over = { late: 0.5, part: 0.94, calm: 2000, unsure: 5000 }; // when it has ended
const blind = 1000;                // a page that did not look for so long knows nothing, ms

export class Line {
  slow = null;  // {needs, gets} in bit/s, and sure; or null
  late = 0;     // how late the stream is, s
  #tags = new Tags();
  #got = [];    // {at, bytes, time}: all that has come up to then
  #best = -Infinity; // the best pace: how far the stream reached, by the page's clock, ms
  #bytes = 0;
  #arrived = -Infinity;
  #flowing = 0; #steady = 0; #lumpy = 0; // since when data has come without a gap, a pause, or one between lumps
  #intake = []; // {at, bytes}: what the server has got, by its clock
  #shift = Infinity; // from the server's clock to that of the page, ms
  #ratio = 0;   // of what the server gets, so much is for this viewer; 0: not known
  #looked = 0;
  #prompt = 0;  // when the stream last came in time
  #bad = 0; #good = 0; // since when all speaks for it, or against it; 0: it does not

  // begin starts with a new session, or with other wishes: then nothing is known of the line.
  begin(now) {
    this.#tags = new Tags();
    this.forget(now);
  }

  // forget drops what was measured: after a pause of the publisher, or of the page.
  forget(now) {
    this.#got = [];
    this.#flowing = this.#steady = this.#lumpy = this.#prompt = now;
    this.#bad = this.#good = this.late = 0;
    this.#best = -Infinity;
  }

  // other forgets the verdict, too: something else is watched from now on.
  other() {
    this.slow = null;
    this.#ratio = 0;
  }

  // data takes bytes of the stream (Uint8Array).
  data(bytes, now) {
    this.#tags.take(bytes);
    this.#bytes += bytes.length;
    if (now - this.#arrived > gap) this.#flowing = now;
    if (now - this.#arrived > pause) this.#steady = now;
    if (now - this.#arrived > lumps.pause) this.#lumpy = now;
    this.#arrived = now;
    const last = this.#got.at(-1);
    if (last && now - last.at < grain) Object.assign(last, { bytes: this.#bytes, time: this.#tags.time });
    else this.#got.push({ at: now, bytes: this.#bytes, time: this.#tags.time });
    while (this.#got.length > 1 && now - this.#got[0].at > memory) this.#got.shift();
  }

  // heard takes how many bytes the server has got, at a time of its clock, ms.
  heard(bytes, at, now) {
    const last = this.#intake.at(-1);
    if (last && (bytes < last.bytes || at < last.at)) this.#intake = [];
    else if (last?.at === at) return;
    this.#shift = Math.min(this.#shift, now - at); // the answer that was under way least is right
    this.#intake.push({ at, bytes });
    while (at - this.#intake[0].at > window.long) this.#intake.shift();
  }

  // rate is what has come in the last seconds, bit/s.
  rate(now) {
    const [from] = this.#got.filter(({ at }) => now - at <= flows);
    return from && now - from.at > blind ? (this.#bytes - from.bytes) * 8000 / (now - from.at) : 0;
  }

  // look brings slow up to date; to be called a few times a second. whole says whether all of
  // the stream is watched; excused that nothing can be said of it now.
  look(now, { whole, excused }) {
    if (excused || now - this.#looked > blind) this.forget(now);
    this.#looked = now;
    if (!this.#got.length || this.#tags.time < 0) return;
    this.#lateness(now);
    const lump = this.#lump(now), inLumps = lump >= gap;
    const measured = this.#measure(now, whole, Math.min(Math.max(window.most, lumps.seen * lump), lumps.most));
    const flowing = now - this.#arrived < (inLumps ? lumps.pause : gap);
    const bad = flowing && (this.#lateInFlow(now, measured.sure) || inLumps && measured.sure
      && now - this.#lumpy > lumps.flow && this.late > veryLate) && measured.gets < part * measured.now
      && Math.max(this.#since(this.#prompt, now), this.#since(now - Math.max(flows, lumps.seen * lump), now)) < part * measured.needs;
    this.#bad = bad ? this.#bad || now : 0;
    const known = !!this.slow?.sure; // no more than that is measured of a new session at once
    if (bad && now - this.#bad >= (inLumps ? lumps.persists : persists) || this.slow && flowing && measured.sure >= known) {
      this.slow = { needs: measured.needs, gets: measured.gets, sure: measured.sure || known };
    }
    if (this.slow) this.#ends(now, measured);
  }

  #lateInFlow(now, sure) {
    return now - this.#arrived < gap && (sure ? now - this.#flowing > flows && this.late > late
      : now - this.#steady > steady && this.late > veryLate);
  }

  // lump is the longest pause between what has come of late, ms.
  #lump(now) {
    let most = now - this.#arrived;
    this.#got.forEach(({ at }, i) => { if (i) most = Math.max(most, at - this.#got[i - 1].at); });
    return most;
  }

  #ends(now, { sure, needs, now: short, gets }) {
    const enough = !sure || gets > over.part * short;
    const good = enough && this.late < over.late || sure && gets >= needs;
    this.#good = good ? this.#good || now : 0;
    if (good && now - this.#good > (sure ? over.calm : over.unsure)) this.slow = null;
  }

  #lateness(now) {
    // The clocks of encoders differ from that of the page, so the best pace is that of some
    // seconds; of a slow line that would be a slow one.
    let best = this.slow ? this.#best : -Infinity;
    for (const { at, time } of this.#got) best = Math.max(best, time - at);
    this.#best = best;
    this.late = Math.max(0, (best + now - this.#tags.time) / 1000);
    if (this.late < prompt) this.#prompt = now;
  }

  // measure returns what the stream needs, on the average and in these seconds (now), and what
  // comes of it, in bit/s.
  #measure(now, whole, most) {
    const to = this.#intake.at(-1), first = Math.max(this.#got[0].at, now - most);
    const from = this.#intake.find(({ at }) => at + this.#shift >= first);
    if (to && to.at - from?.at >= window.least && now - to.at - this.#shift < window.old) {
      const speed = (a) => (to.bytes - a.bytes) * 8000 / (to.at - a.at);
      const short = speed(from), long = speed(this.#intake[0]);
      const gets = (this.#until(to.at + this.#shift) - this.#until(from.at + this.#shift)) * 8000 / (to.at - from.at);
      if (!whole && !this.slow && this.late < prompt && to.at - from.at > 5000) this.#ratio = short && gets / short;
      const ratio = whole ? 1 : this.#ratio;
      if (ratio) return { sure: true, needs: long * ratio, now: short * ratio, gets };
    }
    // Else by the stream's own clock. What the server left out, to catch up, takes no time.
    const since = this.#got.findIndex(({ at }) => now - at <= steady), few = this.#got.slice(since);
    const gets = (this.#bytes - few[0].bytes) * 8000 / (now - few[0].at || 1);
    let time = 0;
    few.forEach((note, i) => { if (i) time += Math.min(gap, note.time - few[i - 1].time); });
    const needs = time > 0 ? (this.#bytes - few[0].bytes) * 8000 / time : 0;
    return { sure: false, needs, now: needs, gets };
  }

  // since is what has come since then, bit/s: while the stream is late, all that the line can do.
  #since(at, now) {
    return (this.#bytes - this.#until(at)) * 8000 / (now - at || 1);
  }

  // until is how many bytes had come at a time.
  #until(at) {
    return (this.#got.findLast((note) => note.at <= at) ?? this.#got[0]).bytes;
  }
}
