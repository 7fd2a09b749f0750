// Pictures of what is live: the newest key frame of each stream whose card is in sight, asked
// for every ten seconds, a few at a time. Without one, a card is as good; errors are silent.

import { el } from './dom.js';
import { stillAsk } from './addresses.js';

const period = 10000;     // between two pictures of a stream, ms
const glance = 120;       // a card that is in sight for less is scrolled past, ms
const slowest = 80000;    // between two questions where there is no picture, ms
const again = 1500;       // before a picture that is black is asked for again, ms
const patience = 8000;    // until a question, or a picture that does not decode, is given up, ms
const unshown = 500;      // for so long is waited for a picture whose data is there, ms
const most = 2;           // questions at a time
const largest = 8 << 20;  // of a picture, bytes
const kept = 120;         // pictures that are kept while their cards are out of sight
const sharpest = 2;       // dots of a picture to a pixel of the page

// thrifty reports whether the visitor's browser asks for few bytes.
export const thrifty = () => matchMedia('(prefers-reduced-data: reduce)').matches || !!navigator.connection?.saveData;

export class Stills {
  #cards = new Map(); // by element, those drawn last at the end
  #busy = 0;          // questions on their way
  #next = 0;          // when a picture may be asked for anew
  #timer = 0;
  #turn = Promise.resolve(); // pictures are decoded one after another, by one element
  #video = null;
  #sample = null;     // a few dots of the picture
  #closed = new AbortController();
  #observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const card = this.#cards.get(target);
      if (!card) continue;
      card.seen = isIntersecting;
      if (card.seen) card.due = Math.max(card.due, performance.now() + glance);
    }
    this.#work();
  });

  constructor() {
    document.addEventListener('visibilitychange', () => this.#work(), { signal: this.#closed.signal });
  }

  // watch draws pictures of a stream on a canvas while the element is in sight, and marks the
  // element with data-still once there is one.
  watch(element, key, canvas) {
    if (this.#cards.has(element)) return;
    this.#cards.set(element, { element, key, canvas, seen: false, busy: false, due: 0, tag: null, failures: 0, black: false });
    this.#observer.observe(element);
  }

  // forget gives up an element: nothing is asked for it any more, and what is drawn stays.
  forget(element) {
    this.#observer.unobserve(element);
    this.#cards.delete(element);
  }

  close() {
    this.#closed.abort();
    this.#observer.disconnect();
    clearTimeout(this.#timer);
    this.#cards.clear();
  }

  // work asks for the picture that is due, or waits until one is. A first picture is asked for
  // at once; those after it are spread over the period.
  #work() {
    clearTimeout(this.#timer);
    if (this.#closed.signal.aborted || document.hidden || this.#busy >= most) return;
    let seen = 0, first = null, at = Infinity;
    for (const card of this.#cards.values()) {
      if (!card.seen) continue;
      seen++;
      const due = card.tag === null ? card.due : Math.max(card.due, this.#next);
      if (!card.busy && due < at) [first, at] = [card, due];
    }
    if (!first) return;
    const now = performance.now();
    if (at > now) {
      this.#timer = setTimeout(() => this.#work(), at - now);
      return;
    }
    if (first.tag !== null) this.#next = now + 0.9 * period / seen;
    this.#ask(first);
    this.#work();
  }

  async #ask(card) {
    card.busy = true;
    this.#busy++;
    const begun = performance.now(), going = new AbortController(), stop = () => going.abort();
    const timer = setTimeout(stop, patience);
    let doubted = false;
    this.#closed.signal.addEventListener('abort', stop, { signal: going.signal });
    try {
      const response = await fetch(stillAsk(card.key), { signal: going.signal, cache: 'no-cache' });
      const tag = response.headers.get('ETag') ?? '';
      if (!response.ok || Number(response.headers.get('Content-Length')) > largest) card.failures++;
      else {
        doubted = (!tag || tag !== card.tag) && !await this.#draw(card, await response.blob());
        if (!doubted) card.tag = tag;
        card.failures = 0;
      }
    } catch { /* the server does not answer, or nothing can be drawn: as after any other question */ }
    clearTimeout(timer);
    going.abort(); // of an answer that was not read
    card.busy = false;
    card.due = doubted ? performance.now() + again : begun + Math.min(slowest, period * 2 ** Math.max(0, card.failures - 1));
    this.#busy--;
    this.#work();
  }

  // draw resolves to whether it has drawn: a black picture may be none yet, and is believed
  // when the next one is black, too.
  #draw(card, blob) {
    const turn = this.#turn.then(async () => {
      if (!this.#cards.has(card.element)) return true;
      const video = await this.#decode(blob), doubted = !card.black;
      card.black = this.#black(video);
      if (card.black && doubted) return false;
      paint(video, card.canvas);
      card.element.dataset.still = '';
      this.#cards.delete(card.element); // and to the end
      this.#cards.set(card.element, card);
      this.#spare();
      return true;
    }).finally(() => this.#video?.removeAttribute('src'));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  // decode resolves to a video element that shows the picture.
  async #decode(blob) {
    const video = this.#video ??= el('video', { muted: true, playsinline: true, preload: 'auto' });
    const url = URL.createObjectURL(blob);
    let timer;
    try {
      await new Promise((done, fail) => {
        video.onerror = () => fail(new Error('it cannot be decoded'));
        timer = setTimeout(video.onerror, patience);
        video.muted = true;
        video.src = url;
        // The data is there before the picture: what is drawn then is the picture before, or none.
        video.requestVideoFrameCallback?.(done);
        video.onloadeddata = () => setTimeout(done, video.requestVideoFrameCallback ? unshown : 0);
        video.play().catch(() => {}); // some decode nothing before
      });
      // A browser that is busy draws black even then.
      for (let tries = 0; tries < 5 && this.#black(video); tries++) {
        await new Promise((done) => { setTimeout(done, 50); });
      }
      return video;
    } finally {
      clearTimeout(timer);
      video.onloadeddata = video.onerror = null;
      URL.revokeObjectURL(url);
    }
  }

  #black(video) {
    const small = this.#sample ??= el('canvas', { width: 16, height: 9 }).getContext('2d', { alpha: false, willReadFrequently: true });
    small.drawImage(video, 0, 0, 16, 9);
    return small.getImageData(0, 0, 16, 9).data.every((value, i) => i % 4 === 3 || value < 8);
  }

  // spare gives back the memory of pictures that nobody has seen for long.
  #spare() {
    let drawn = 0;
    for (const card of this.#cards.values()) if (card.tag !== null) drawn++;
    for (const card of this.#cards.values()) {
      if (drawn <= kept) return;
      if (card.seen || card.tag === null) continue;
      card.canvas.width = card.canvas.height = 0;
      card.tag = null;
      delete card.element.dataset.still;
      drawn--;
    }
  }
}

// paint draws the picture as large as the canvas is shown, and no larger than it is.
function paint(video, canvas) {
  const { videoWidth: w, videoHeight: h } = video;
  const { clientWidth, clientHeight } = canvas.parentElement;
  if (!w || !h || !clientWidth) throw new Error('there is nothing to draw');
  const scale = Math.min(1, Math.min(devicePixelRatio, sharpest) * Math.min(clientWidth / w, clientHeight / h));
  const width = Math.max(1, Math.round(w * scale)), height = Math.max(1, Math.round(h * scale));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  // A picture of nearly the card's shape fills it; another one stands in it.
  canvas.style.objectFit = Math.abs(w / h * clientHeight / clientWidth - 1) < 0.03 ? 'cover' : 'contain';
  canvas.getContext('2d', { alpha: false }).drawImage(video, 0, 0, width, height);
}
