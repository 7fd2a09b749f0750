// A publisher, a server and a line, on a clock of their own, for line.js.

// simulate runs a case for some seconds and returns what the Line said: {said: [[from, to]…],
// sure, gets, needs, late}, the times in s. A case has
//   frames(t)    what the encoder makes of the stream at t, ms: bytes, or 0; asked every 40 ms
//   reaches(t)   when that is at the server, ms; it never overtakes
//   rate(t)      of the line, bit/s; 0: nothing gets through
//   lump         ms between two lumps in which the line hands out what has come; 0: at once
//   skip         ms behind from which on the server leaves out what is up to the newest key frame
//   gop          ms between key frames
//   part         of the bytes is sent to this viewer
//   silent       the server tells nothing
//   excused(t)   nothing can be said
//   poll         ms between two answers
export function simulate(Line, options) {
  const o = {
    seconds: 60, reaches: (t) => t, rate: () => 10e6, lump: 0, skip: Infinity, gop: 2000, part: 1, poll: 1000,
    frames: (t) => (t % 2000 === 0 ? 8000 : 1700), excused: () => false, whole: true, ...options,
  };
  const line = new Line(), spans = [];
  let last = null, queue = [], server = [], intake = 0, budget = 0, reached = -Infinity, answers = [], sure = null;
  line.begin(0);
  line.data(new Uint8Array(13), 0); // the file's header
  for (let now = 1; now <= o.seconds * 1000; now++) {
    if (now % 40 === 0) {
      const size = o.frames(now);
      reached = Math.max(reached, o.reaches(now));
      if (size) server.push({ at: reached, ts: now, size, key: now % o.gop === 0 });
    }
    while (server.length && server[0].at <= now) {
      const { ts, size, key } = server.shift();
      intake += size;
      queue.push({ ts, key, tag: tag(ts, size * o.part), sent: 0, at: now });
    }
    const newest = queue.findLastIndex(({ key }) => key);
    if (newest > 0 && now - queue[0].at > o.skip && !queue[0].sent) queue.splice(0, newest);
    budget = Math.min(budget + o.rate(now) / 8000, o.rate(now) / 8000 * (20 + o.lump) + 1);
    const pieces = [];
    while (queue.length && budget >= 1 && (!o.lump || now % o.lump === 0)) {
      const [{ tag, sent }] = queue, n = Math.min(Math.floor(budget), tag.length - sent);
      pieces.push(tag.subarray(sent, sent + n));
      queue[0].sent += n;
      budget -= n;
      if (queue[0].sent === tag.length) queue.shift();
    }
    for (const piece of pieces) line.data(piece, now);
    if (!o.silent && now % o.poll === 0) answers.push({ at: now, bytes: intake });
    // An answer waits behind what is on its way.
    if (answers.length && now - answers[0].at > 60 + (now * 7919) % 90) {
      const { at, bytes } = answers.shift();
      line.heard(bytes, 1e12 + at, now);
    }
    if (now % 200 === 0) {
      line.look(now, { whole: o.whole, excused: o.excused(now) });
      const slow = o.excused(now) ? null : line.slow;
      if (slow && !last) spans.push([now / 1000, null]);
      if (!slow && last) spans.at(-1)[1] = now / 1000;
      last = slow;
      if (slow) sure = slow;
    }
  }
  return { said: spans, sure: sure?.sure ?? null, gets: sure?.gets ?? 0, needs: sure?.needs ?? 0, late: line.late };
}

// tag is an FLV tag of a picture, at ts ms.
function tag(ts, size) {
  const bytes = new Uint8Array(11 + Math.round(size) + 4), n = Math.round(size);
  bytes.set([9, n >> 16, n >> 8 & 255, n & 255, ts >> 16 & 255, ts >> 8 & 255, ts & 255, ts >> 24 & 255]);
  return bytes;
}

const throttled = (from, to, slow, fast = 10e6) => (t) => (t >= from * 1000 && t < to * 1000 ? slow : fast);
const plain = 375000; // bit/s of the stream that simulate makes unless told otherwise
const batch = (every, pause) => (t) => (t % every < pause ? t - t % every + pause : t);

// Of healthy lines nothing is to be said; of slow ones, from some second on.
export const cases = {
  'all is well': { well: true },
  'a line as fast as it must be': { well: true, rate: () => plain * 1.06 },
  'key frames every 10 s, large, on a line that is hardly faster': {
    well: true, gop: 10000, frames: (t) => (t % 10000 === 0 ? 400000 : 900), rate: () => 620000,
  },
  'key frames every 20 s': { well: true, gop: 20000, frames: (t) => (t % 20000 === 0 ? 300000 : 1500), rate: () => 800000 },
  'a picture every 4 s': { well: true, frames: (t) => (t % 4000 === 0 ? 100000 : 0), rate: () => 400000 },
  'the bitrate swings': { well: true, frames: (t) => (t % 16000 < 8000 ? 4000 : 400), rate: () => 900000 },
  'a publisher that stutters: 2 s of 5': { well: true, reaches: batch(5000, 2000) },
  'a publisher that stutters: 1 s of 2': { well: true, reaches: batch(2000, 1000) },
  'a publisher that stutters: 8 s of 16, on a line that is hardly faster': { well: true, reaches: batch(16000, 8000), rate: () => plain * 2 },
  'a publisher whose uplink is too slow': { well: true, reaches: (t) => t / 0.6 },
  'an encoder that is too slow': { well: true, reaches: (t) => t / 0.85, seconds: 120 },
  'an encoder whose clock is slow': { well: true, reaches: (t) => t * 1.002, seconds: 120 },
  'a line that breaks for 5 s': { well: true, rate: throttled(20, 25, 0, 2e6) },
  'a line that breaks for 1 s, every 4 s': { well: true, rate: (t) => (t % 4000 < 1000 ? 0 : 2e6) },
  'lumps of 5 s, on a line that is fast enough': { well: true, lump: 5000, rate: () => plain * 1.5, seconds: 120 },
  'lumps of 3 s, on a line that is hardly faster': { well: true, lump: 3000, rate: () => plain * 1.1, seconds: 120 },
  'lumps of 2 s, of a publisher that stutters': { well: true, lump: 2000, reaches: batch(5000, 2000), rate: () => plain * 2, seconds: 120 },
  'a publisher whose uplink is slow and comes in lumps': { well: true, reaches: (t) => Math.ceil(t / 0.6 / 3000) * 3000, seconds: 120 },
  'paused by hand, on a slow line': { well: true, rate: () => plain * 0.6, excused: () => true },
  'one track of several': { well: true, part: 0.3, whole: false },
  'one track of several, of a publisher that stutters': { well: true, part: 0.3, whole: false, reaches: batch(5000, 2000) },
  'answers are rare': { well: true, poll: 2000, reaches: batch(5000, 2000) },
  'the server tells nothing, and all is well': { well: true, silent: true },
  'the server tells nothing, of a publisher that stutters': { well: true, silent: true, reaches: batch(5000, 2000) },

  'six tenths of what it needs': { rate: () => plain * 0.6, by: 10, ends: null },
  'eight tenths': { rate: () => plain * 0.8, by: 15, ends: null },
  'a tenth': { rate: () => plain * 0.1, by: 10, ends: null },
  'slow for a while': { rate: throttled(20, 40, plain * 0.6), by: 30, after: 20, ends: 44 },
  'a server that leaves out what is late': { rate: () => plain * 0.6, skip: 5000, by: 10, ends: null },
  'lumps of 5 s': { rate: () => plain * 0.6, lump: 5000, by: 30, ends: null },
  'lumps of 2 s': { rate: () => plain * 0.6, lump: 2000, by: 25, ends: null },
  'lumps of 4 s, for a while': { rate: throttled(20, 60, plain * 0.5), lump: 4000, seconds: 100, by: 50, after: 20, ends: 80 },
  'large key frames': { gop: 10000, frames: (t) => (t % 10000 === 0 ? 200000 : 900), rate: () => 200000, by: 15, ends: null },
  'a publisher that stutters, on a slow line': { reaches: batch(5000, 1000), rate: () => plain * 0.6, by: 15, ends: null },
  'one of several tracks, from a while on': { part: 0.3, whole: false, rate: throttled(20, 60, plain * 0.3 * 0.6), by: 32, after: 20, ends: null },
  'the server tells nothing': { silent: true, unsure: true, rate: () => plain * 0.6, by: 18, ends: null },
};

// verdicts runs all cases, and random ones, the same each time.
export function verdicts(Line) {
  const all = Object.entries(cases).map(([name, c]) => ({ name, ...c }));
  let seed = 1;
  const random = (from, to) => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return from + (to - from) * seed / 0x7fffffff;
  };
  for (let i = 0; i < 90; i++) {
    const gop = [1000, 2000, 4000, 10000, 20000][i % 5], key = random(1000, 30 * gop), delta = random(200, 6000);
    const average = (key + (gop / 40 - 1) * delta) * 8000 / gop, well = i % 3 !== 0;
    const pause = random(500, 4500), every = pause * random(1.5, 5.5), slow = random(0.4, 1), jitter = random(0, 1500);
    const factor = well ? random(1.1, 4) : random(0.1, 0.8);
    const reaches = well ? [(t) => t, batch(every, pause), (t) => t / slow, (t) => t + (t * 7919 % 1000) / 1000 * jitter][i % 4] : (t) => t;
    all.push({
      name: `random ${i}`, well, gop, reaches, frames: (t) => (t % gop === 0 ? key : delta), rate: () => average * factor,
      silent: well && i % 4 !== 2 && i % 7 === 0, poll: random(1000, 2000) | 0, by: 25, ends: null,
      skip: i % 2 ? 5000 : Infinity,
    });
  }
  return all.map((c) => ({ ...c, ...simulate(Line, c), case: JSON.stringify(c) }));
}
