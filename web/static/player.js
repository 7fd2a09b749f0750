// One stream on one <video>, for as long as somebody watches: the state in
// words, and opening again whatever ends.
//
//                    ┌──────────────────── again, after a pause ───────────────┐
//                    ▼                                                         │
//   start ──▶ connecting ──data──▶ buffering ──picture──▶ playing              │
//                │    ▲              │    ▲                │    │              │
//        no publisher │              │    └──── dry ───────┘    │              │
//                ▼    │              │         paused ◀─by hand─┤              │
//             waiting ┘              └──────────┬───────────────┘              │
//                                 standstill, or the end                       │
//                                               ▼                              │
//                                 ended | reconnecting | waiting ──────────────┘
//
//   standstill: data comes, and for 3 s neither time nor picture goes on. Not when
//   paused by hand, hidden, or without a publisher.
//
//   failed: what trying again cannot heal; a button, or a new publisher, does.
//
// ended and reconnecting last until there is data again, so that a new attempt
// does not flicker as "connecting"; after a standstill, until the picture goes on.

import { Attempts } from './attempts.js';
import { Edge } from './edge.js';
import { meaning, mediaMeaning } from './ends.js';
import { Figures } from './figures.js';
import { LOST } from './loader.js';
import { Place } from './place.js';
import { Session } from './session.js';
import { play } from './sound.js';
import { holds } from './gap.js';
import { freeze } from './picture.js';
import { http, ws, back, withBack } from './addresses.js';
import { seconds } from './format.js';

const tick = 200;            // between two looks at the video
const waitShown = 600;       // without data for so long, say what we wait for
const frozen = 700;          // without a new picture for so long, it has stalled
const standing = 3000;       // with data but without a new picture for so long, it is opened anew
const silent = 10000;        // without data for so long, the connection is dead
const parked = 30000;        // paused for so long, the connection is given back
const settled = 8000;        // an attempt that lasted so long begins the pauses anew
const mediaErrors = 3;       // in a row, then it has failed

export class Player {
  state = '';
  reason = '';               // in words, or empty
  remedy = '';               // 'http': playing over HTTP may work
  refusal = '';              // 'denied' or 'expired': why it has failed, if it is that
  figures = new Figures();
  media = null;              // what mpegts.js found out: {videoCodec, width, …}

  #mpegts; #video; #still; #changed;
  #key; #wishes; #over;
  #edge;
  #place = new Place();      // of a viewer who has gone back by hand
  #session = null;
  #ticker = 0;
  #attempts = new Attempts(() => this.#open());
  #known = null;             // what the server says of the stream, see heard
  #held = false;             // paused by hand

  // changed is called whenever state, reason or retryAt have changed.
  constructor({ mpegts, video, still, key, wishes, over, known, changed }) {
    this.#mpegts = mpegts;
    this.#video = video;
    this.#still = still;
    this.#key = key;
    this.#wishes = wishes;
    this.#over = over;
    this.#known = known;
    this.#changed = changed;
    this.#edge = new Edge(video, back(wishes));
  }

  start() {
    video_events(this.#video, 'add', this);
    this.#ticker = setInterval(() => this.#look(), tick);
    this.#open();
  }

  stop() {
    video_events(this.#video, 'remove', this);
    clearInterval(this.#ticker);
    this.#attempts.cancel();
    this.#close();
    this.#still.hidden = true;
  }

  get over() { return this.#over; }
  get retryAt() { return this.#attempts.retryAt; } // when the next attempt is due (performance.now), or 0
  get rewound() { return this.#place.kept; }
  get back() { return this.rewound || this.#edge.back > 0; } // whether it is to be behind live

  // lag is how far the picture is behind live, s.
  get lag() {
    const session = this.#session, now = performance.now();
    if (!session?.shown) return this.#place.behind(now);
    return session.lag(this.#edge.lag(now), this.#video.currentTime, now);
  }

  get buffered() { return this.#session ? this.#edge.ahead : 0; }
  get target() { return this.#edge.target; }

  // setOver changes between 'ws' and 'http'.
  setOver(over) {
    if (over === this.#over) return;
    this.#over = over;
    this.tryNow();
  }

  // tryNow opens anew, whatever the state.
  tryNow() {
    this.#renew('connecting');
  }

  // renew closes what is open, and opens anew: the place so far behind live, if given.
  #renew(state, back) {
    this.#attempts.fresh();
    this.#held = false;
    this.#freeze();
    this.#close();
    if (back !== undefined) this.#place.keep(back, performance.now());
    this.#set(state);
    this.#open(back === undefined);
  }

  // rewind goes so many seconds behind live, and stays there; 0 goes back to live. What
  // is buffered is shown from there, else the stream is opened anew.
  rewind(back) {
    const session = this.#session, video = this.#video;
    const to = video.currentTime + this.lag - back;
    const here = session?.shown && session.ended === null
      && (back ? holds(video, to) : this.lag - this.buffered < 2);
    this.#wishes = withBack(this.#wishes, 0);
    this.#edge.back = back ? Infinity : 0;
    this.#held = false;
    if (here) {
      if (back) video.currentTime = to;
      else this.#edge.jump();
      this.#place.keep(back, performance.now());
      this.#play();
      return;
    }
    this.#renew('buffering', back);
  }

  togglePause() {
    if (!['playing', 'buffering', 'paused'].includes(this.state)) return;
    if (!this.#video.paused) return this.#video.pause(); // goes on in handleEvent
    this.#held = false;
    if (!this.#session) return this.tryNow();
    if (!this.rewound) this.#edge.jump();
    this.#play();
  }

  // heard takes what the server says of the stream: its state, '' when nobody publishes
  // it, 'private' when it tells nothing, null when it does not answer.
  heard(known) {
    const before = this.#known;
    this.#known = known;
    if (known === 'grace') this.#edge.forget();
    // It just went live, or the server is back: no need to wait any longer.
    const news = known === 'live' && before !== 'live' || known !== null && before === null;
    if (news && !this.#session && !this.#held && this.state !== 'connecting') {
      if (this.state !== 'failed' || known === 'live' && before !== null) {
        this.#attempts.mediaErrors = 0;
        this.#open();
      }
    }
  }

  // open begins a session, which counts as a reconnect unless it is for another place.
  #open(counts = true) {
    this.#attempts.cancel();
    if (!this.state) this.#set('connecting');
    else this.#changed();

    const now = performance.now(), back = this.#place.behind(now);
    this.figures.sessions++;
    if (this.figures.firstFrameMS && counts) this.figures.reconnects++;
    this.#edge.begin(now);
    const mine = (f) => (...args) => { if (this.#session === session) f(...args); };
    const session = this.#session = new Session({
      mpegts: this.#mpegts, over: this.#over, video: this.#video, back, now,
      url: (this.#over === 'http' ? http : ws)(this.#key, back ? withBack(this.#wishes, back) : this.#wishes),
      opened: mine(() => { this.#attempts.unopened = 0; }),
      data: mine((n) => { this.figures.bytes += n; }),
      ended: mine((end) => this.#ended(end)),
      media: mine((info) => { this.media = info; }),
      error: mine((detail, info) => this.#mediaError(detail, info)),
    });
    this.#play();
  }

  #play() {
    const session = this.#session;
    play(this.#video).catch((e) => {
      if (this.#session !== session || e.name !== 'NotAllowedError') return;
      this.#held = true; // the browser wants a click first
      session.heldAt = performance.now();
      this.reason = '';
      this.#set('paused');
    });
  }

  #close() {
    const session = this.#session;
    if (!session) return;
    this.figures.over(this.#video);
    if (this.rewound) this.#place.keep(this.lag, performance.now());
    this.#session = null;
    session.close();
    this.#video.playbackRate = 1;
  }

  // ended goes on after an end as that means (ends.js).
  #ended(end) {
    const session = this.#session, now = performance.now();
    this.figures.closeCode = end.code;
    this.figures.closeReason = end.reason;
    if (now - session.began > settled) this.#attempts.pause = 0;
    const blocked = end.code === LOST && !end.opened && this.#over === 'ws' && this.#known !== null;
    if (blocked) this.#attempts.unopened++;
    const { state, least, words, remedy, refusal } = meaning(end, {
      shown: session.shown, state: this.state, unopened: blocked ? this.#attempts.unopened : 0,
    });
    this.remedy = remedy;
    if (state === 'failed') return this.#fail(words, refusal);
    this.reason = words;
    // What is buffered of a stream that is over is still shown.
    const most = this.rewound ? Infinity : 1500;
    const left = state === 'ended' && !this.#held ? Math.min(most, this.#edge.ahead * 1000) : 0;
    session.ended = end.code;
    if (!this.rewound) this.#set(state);
    session.drain = setTimeout(() => {
      this.#freeze();
      this.#close();
      if (state === 'ended' && this.rewound) this.#edge.back = this.#place.leave(); // live is over
      this.#set(state);
      this.#later(least);
    }, left);
  }

  #later(least) {
    this.#attempts.later(least);
    this.#changed();
  }

  #fail(reason, refusal = '') {
    this.#freeze();
    this.#close();
    this.#attempts.cancel();
    Object.assign(this, { reason, refusal });
    this.#set('failed');
  }

  #mediaError(detail, info) {
    const { failed, words } = mediaMeaning(this.#mpegts, detail, info);
    if (failed) return this.#fail(words);
    if (++this.#attempts.mediaErrors >= mediaErrors) return this.#fail(`the browser cannot play this (${words})`);
    this.#reopen(`the browser stumbled over the data (${words})`);
  }

  // stands ends a session in which data comes and nothing moves.
  #stands() {
    this.figures.frozen++;
    this.#attempts.standstills++;
    this.#reopen(this.#session.shown ? 'the picture stood still although data came'
      : 'no picture came although data did');
  }

  #reopen(reason) {
    this.reason = reason;
    this.#freeze();
    this.#close();
    this.#set('reconnecting');
    this.#later(0);
  }

  // handleEvent takes the events of the video (video_events).
  handleEvent(e) {
    const session = this.#session, video = this.#video;
    if (!session) return;
    switch (e.type) {
      case 'error':
        if (video.error?.code === MediaError.MEDIA_ERR_DECODE) this.#mediaError('', { msg: video.error.message });
        break;
      case 'pause': // by hand, here or on a keyboard or headphones
        if (video.paused && !video.ended && !document.hidden && session.ended === null) {
          this.#held = true;
          session.heldAt = performance.now();
          this.#look();
        }
        break;
      case 'play':
        this.#held = false;
        break;
      case 'loadeddata': // the first picture stands
        this.figures.firstFrameMS ||= Math.round(performance.now() - session.began);
        break;
    }
  }

  // look compares what should be with what is, five times a second.
  #look() {
    const session = this.#session, video = this.#video, now = performance.now();
    if (!session || session.ended !== null) return;
    const decoded = this.figures.look(video);
    if (!session.lastData) return this.#await(session, now);
    if (now - session.lastData > silent && this.#known !== 'grace') {
      return this.#ended({ code: LOST, reason: `no data for ${seconds(silent / 1000)}`, opened: true });
    }
    const excused = this.#held || document.hidden || this.#known === 'grace';
    // Where a picture never came, the line may be slow: each attempt has longer.
    const still = session.standstill.look(video, decoded, excused, now);
    if (still > standing + (session.shown ? 0 : this.#attempts.pause)) return this.#stands();
    if (this.#held) {
      if (session.heldAt && now - session.heldAt > parked) {
        this.#freeze();
        this.#close();
      }
      return this.#set('paused');
    }
    if (video.paused && !document.hidden && video.readyState > 2) this.#play();
    this.#edge.keep(now);
    if (session.look(video, now)) this.#shows();
    this.#tell(session, now);
  }

  // await says what a session without data waits for.
  #await(session, now) {
    if (this.state !== 'ended' && now - session.began > waitShown
      && !['live', 'private', null].includes(this.#known)) {
      this.reason = '';
      this.#set('waiting');
    } else if (this.state === 'waiting' && this.#known === 'live') {
      this.#set('connecting');
    }
  }

  // tell says whether the picture of a session with data moves.
  #tell(session, now) {
    const stuck = now - session.moved > frozen, attempts = this.#attempts;
    if (session.shown && !stuck) {
      if (now - session.shown > settled) attempts.pause = attempts.standstills = 0;
      this.reason = '';
      this.#set('playing');
    } else if (stuck && this.#known === 'grace') {
      this.reason = 'the publisher is gone; it may come back';
      this.#set('waiting');
    } else if (session.shown || this.state !== 'reconnecting' || !attempts.standstills) {
      if (this.state === 'playing') {
        this.figures.stalls++;
        this.#edge.stalled(now);
      }
      this.reason = '';
      this.#set('buffering');
    }
  }

  // shows notes that the picture moves for the first time in a session.
  #shows() {
    const attempts = this.#attempts;
    attempts.mediaErrors = 0;
    if (!attempts.standstills) attempts.pause = 0; // else a moment of picture proves nothing
    this.#still.hidden = true;
  }

  // freeze leaves the last picture standing.
  #freeze() {
    if (this.#session?.shown) freeze(this.#video, this.#still);
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.#changed();
  }
}

function video_events(video, what, listener) {
  for (const type of ['error', 'loadeddata', 'pause', 'play']) video[what + 'EventListener'](type, listener);
}
