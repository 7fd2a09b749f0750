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
//   waiting: of a stream that the server tells of, without a connection, until it is live
//   (heard); else with ever longer pauses.
//
//   failed: what trying again cannot heal; a button, or a new publisher, does.
//
// ended and reconnecting last until there is data again, so that a new attempt
// does not flicker as "connecting"; after a standstill, until the picture goes on.

import { Source } from './source.js';
import { Attempts } from './attempts.js';
import { meaning, mediaMeaning, pace } from './ends.js';
import { Figures } from './figures.js';
import { Follow } from './follow.js';
import { condition, trouble, silence } from './judge.js';
import { LOST } from './loader.js';
import { listen } from './events.js';
import { Session } from './session.js';
import { play } from './sound.js';
import { freeze } from './picture.js';
import { Unseen } from './unseen.js';
import { seconds } from './format.js';

const tick = 200;            // between two looks at the video
const mediaErrors = 3;       // in a row, then it has failed

export class Player {
  state = '';
  reason = '';               // in words, or empty
  remedy = '';               // 'http': playing over HTTP may work
  refusal = '';              // 'denied', 'expired' or 'bad': why it has failed, if it is that
  figures = new Figures();
  media = null;              // what mpegts.js found out: {videoCodec, width, …}
  fellBack = false;          // HTTP did not open, so WebSocket was taken

  #mpegts; #video; #still; #changed; #key;
  #source;
  #follow;
  #session = null;
  #stopped = new AbortController();
  #ticker = 0;
  #attempts = new Attempts(() => this.#open());
  #known = null;             // what the server says of the stream, see heard
  #tracks = false;           // the stream has more than one of a kind
  #held = false;             // paused by hand
  #unseen = new Unseen();
  #asleep = false;           // given back while nobody saw or heard it

  // changed is called whenever state, reason, slow or retryAt have changed. mode is 'low'
  // for the lowest delay, or 'smooth' for as few stalls as can be.
  constructor({ mpegts, video, still, key, wishes, over, mode = 'low', known, changed }) {
    [this.#mpegts, this.#video, this.#still, this.#key] = [mpegts, video, still, key];
    this.#source = new Source(key, wishes, over);
    this.#known = known;
    this.#changed = changed;
    this.#follow = new Follow(video, mode, this.#source.back);
  }

  start() {
    listen(this.#video, this.#stopped.signal, {
      broken: (error) => { if (this.#session) this.#mediaError('', error); },
      halted: () => this.#halted(), resumed: () => { if (this.#session) this.#held = false; },
      first: () => this.#session && this.figures.first(this.#session), seen: () => this.#seen(performance.now()),
      online: () => { if (this.retryAt) this.#open(); },
    });
    this.#ticker = setInterval(() => this.#look(), tick);
    this.#open();
  }

  stop() {
    this.#stopped.abort();
    clearInterval(this.#ticker);
    this.#attempts.cancel();
    this.#close();
    this.#still.hidden = true;
  }

  get over() { return this.#source.over; }
  get wishes() { return this.#source.wishes; } // without the permission
  get mode() { return this.#follow.mode; }
  get soundOnly() { return this.media?.hasVideo === false; }
  get retryAt() { return this.#attempts.retryAt; } // when the next attempt is due (performance.now), or 0
  get rewound() { return this.#follow.place.kept; }
  get back() { return this.#follow.back; } // whether it is to be behind live

  // slow is, while the line is slower than the stream, {behind, needs, gets, sure}, in s and
  // bit/s, else null; not sure: it may as well be the publisher's (line.js).
  get slow() { return ['playing', 'buffering'].includes(this.state) ? this.#follow.slow : null; }

  // lag is how far the picture is behind live, s.
  get lag() {
    const session = this.#session, now = performance.now();
    return session?.shown ? this.#follow.lag(session, now) : this.#follow.place.behind(now);
  }

  get buffered() { return this.#session ? this.#follow.edge.ahead : 0; }
  get target() { return this.#follow.edge.target; }

  // sample returns what there is to measure at this moment, in s, bit/s and pictures; NaN is
  // not known. To be called about twice a second.
  sample() {
    const { lag, buffered, target } = this, follow = this.#follow;
    return {
      bitrate: (this.#session && follow.rate(performance.now())) || NaN,
      lag, late: follow.late, buffered, target, ...this.figures.sample(this.#video),
    };
  }

  // setOver changes between 'ws' and 'http'.
  setOver(over) {
    this.fellBack = false;
    if (over === this.over) return;
    this.#source.over = over;
    this.tryNow();
  }

  setMode(mode) {
    this.#follow.mode = mode;
    if (this.#session?.shown && !this.rewound && !this.#held) this.#follow.edge.jump();
  }

  // ask opens the stream anew with other wishes: ask({track: 1}), ask({onlyaudio: true}). What
  // is null or false is no longer wished.
  ask(changes) {
    this.#source.change(changes);
    this.#follow.other();
    this.#renew('connecting', this.rewound ? this.lag : undefined);
  }

  // tryNow opens anew, whatever the state.
  tryNow() { this.#renew('connecting'); }

  // renew closes what is open, and opens anew: the place so far behind live, if given.
  #renew(state, back) {
    this.#attempts.fresh();
    this.#held = false;
    this.#drop(state);
    if (back !== undefined) this.#follow.place.keep(back, performance.now());
    this.#open();
  }

  // rewind goes so many seconds behind live, and stays there; 0 goes back to live. What
  // is buffered is shown from there, else the stream is opened anew.
  rewind(back) {
    this.#source.change({ back: null, ...back && { start: null } });
    this.#held = false;
    if (this.#follow.go(this.#session, back, this.lag, performance.now())) this.#play();
    else this.#renew('buffering', back);
  }

  togglePause() {
    if (!['playing', 'buffering', 'paused'].includes(this.state)) return;
    if (!this.#video.paused) return this.#halted();
    this.#held = false;
    if (!this.#session) return this.tryNow();
    if (!this.rewound) this.#follow.edge.jump();
    this.#play();
  }

  // heard takes what the server says of the stream: its state, '' when nobody publishes
  // it, 'private' when it tells nothing, null when it does not answer, not in time if it is
  // late; and all that it answered, by which a slow line is told from a slow publisher.
  heard(known, answer, late = false) {
    const before = this.#known, now = performance.now();
    this.#known = known;
    const stream = answer?.streams?.find(({ key }) => key === this.#key);
    this.#tracks = !!stream?.tracks?.length;
    this.#follow.heard(stream, answer?.now, now);
    if (known === 'grace') this.#follow.forget(now);
    // While data comes, the server is there: then tabs have all connections for themselves.
    if (late && this.over === 'http' && now - this.#session?.lastData < 1000 && !this.slow) return this.#unopened();
    // It just went live, or the server is back: no need to wait any longer.
    const news = known === 'live' && before !== 'live' || known !== null && before === null;
    if (!news || this.#session || this.#held || this.#asleep || this.state === 'connecting') return;
    if (this.state === 'failed' && (known !== 'live' || before === null)) return;
    this.#attempts.mediaErrors = 0;
    this.#open();
  }

  // open begins a session, at the live edge if live is set.
  #open(live = false) {
    this.#attempts.cancel();
    this.#asleep = false;
    if (!this.state) this.#set('connecting');
    else this.#changed();

    const now = performance.now(), back = this.#follow.place.behind(now);
    this.figures.sessions++;
    if (this.figures.firstFrameMS && this.state === 'reconnecting') this.figures.reconnects++;
    this.#follow.begin(now);
    const mine = (f) => (...args) => { if (this.#session === session) f(...args); };
    const session = this.#session = new Session({
      mpegts: this.#mpegts, over: this.over, video: this.#video, back, now,
      url: this.#source.url(back, live),
      opened: mine(() => { this.#attempts.unopened = 0; }),
      data: mine((bytes, at) => {
        this.figures.bytes += bytes.length;
        this.#follow.data(bytes, at);
      }),
      ended: mine((end) => this.#ended(end)), media: mine((info) => { this.media = info; }),
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
    if (this.rewound) this.#follow.place.keep(this.lag, performance.now());
    this.#session = null;
    session.close();
    this.#video.playbackRate = 1;
  }

  // ended goes on after an end as that means (ends.js).
  #ended(end) {
    const session = this.#session;
    this.figures.closeCode = end.code;
    this.figures.closeReason = end.reason;
    if (session.shown) this.#attempts.lasted(performance.now() - session.began);
    const blocked = end.code === LOST && !end.opened && this.over === 'ws' && this.#known !== null;
    if (blocked) this.#attempts.unopened++;
    const { state, least, words, remedy, refusal } = meaning(end, {
      shown: session.shown, state: this.state, unopened: blocked ? this.#attempts.unopened : 0,
    });
    this.remedy = remedy;
    if (state === 'failed') return this.#fail(words, refusal);
    this.reason = words;
    // What is buffered of a stream that is over is still shown.
    const most = this.rewound ? Infinity : 1500;
    const left = state === 'ended' && !this.#held ? Math.min(most, this.#follow.edge.ahead * 1000) : 0;
    session.ended = end.code;
    if (!this.rewound) this.#set(state);
    session.drain = setTimeout(() => {
      this.#freeze();
      this.#close();
      if (state === 'ended' && this.rewound) this.#follow.edge.back = this.#follow.place.leave(); // live is over
      this.#set(state);
      this.#later(least, pace(end, state, this.#known));
    }, left);
  }

  // later opens again after a pause, or when there is a publisher (heard).
  #later(least, pace) {
    if (pace !== 'heard') this.#attempts.later(least, pace);
    this.#changed();
  }

  #fail(reason, refusal = '') {
    this.#attempts.cancel();
    Object.assign(this, { reason, refusal });
    this.#drop('failed');
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
    this.#drop('reconnecting');
    this.#later(0);
  }

  // halted pauses by hand, at once: before the event comes, a look would play it again.
  #halted() {
    const session = this.#session;
    this.#video.pause();
    if (!session || session.ended !== null) return;
    this.#held = true;
    session.heldAt = performance.now();
    this.#look();
  }

  // drop ends the session; its last picture stands.
  #drop(state) {
    this.#freeze();
    this.#close();
    this.#set(state);
  }

  // seen goes on after the page was hidden.
  #seen(now) {
    if (document.hidden) return this.#unseen.hidden();
    if (this.#asleep || this.retryAt) return this.#open();
    if (this.#session?.opened === false) this.#session.began = now;
    this.#follow.forget(now);
    this.#follow.edge.hurry(now);
  }

  // look compares what should be with what is, five times a second.
  #look() {
    const session = this.#session, video = this.#video, now = performance.now(), { edge } = this.#follow;
    if (!session || session.ended !== null) return;
    const decoded = this.figures.look(video), { state, over } = this, known = this.#known, paused = this.#held;
    const { pause, standstills } = this.#attempts;
    const { hidden } = document, excused = paused || hidden || known === 'grace', deferred = hidden && !this.figures.firstFrameMS;
    const still = session.lastData && session.standstill.look(video, decoded, excused, now);
    switch (trouble(session, { over, known, paused, pause, late: this.#follow.late, deferred, still }, now)) {
      case 'unopened': return this.#unopened();
      case 'silent': return this.#ended({ code: LOST, reason: `no data for ${seconds(silence)}`, opened: true });
      case 'standstill': return this.#stands();
      case 'parked': return this.#drop('paused');
    }
    if (session.lastData && !paused) {
      this.#asleep = this.#unseen.enough(video, this.media?.hasAudio === false);
      if (this.#asleep) return this.#drop('buffering');
      if (video.paused && !document.hidden && video.readyState > 2) this.#play();
      edge.keep(now);
      if (session.look(video, now)) {
        this.#attempts.shows();
        this.#still.hidden = true;
      }
    }
    const found = condition(session, { state, known, paused, standstills }, now);
    if (found) this.#tell(found, session, now);
    this.#measure(session, excused, now);
  }

  // tell says what was found of a session.
  #tell({ state, reason }, session, now) {
    if (state === 'playing') this.#attempts.plays(now - session.shown);
    if (state === 'buffering' && this.state === 'playing') {
      this.figures.stalls++;
      if (!this.#follow.slow) this.#follow.edge.stalled(now);
    }
    if (state !== 'paused') this.reason = reason;
    this.#set(state);
  }

  // unopened ends an attempt that does not get through, or lets nothing else through. A browser
  // opens six to one server over HTTP, of all tabs, and a seventh waits for ever.
  #unopened() {
    if (this.over === 'ws') return this.#ended({ code: LOST, reason: '', opened: false });
    this.setOver('ws');
    this.fellBack = true;
  }

  // measure compares the line with the stream, and leaves out what is behind on a slow one.
  #measure(session, excused, now) {
    const follow = this.#follow, live = ['live', 'private', null].includes(this.#known) && !session.back;
    const news = follow.measure(session, { whole: this.#source.whole && !this.#tracks, excused: excused || !live }, now);
    if (follow.givesUp(session, now)) {
      this.figures.jumps++;
      this.#drop('buffering');
      this.#open(true);
    } else if (news) this.#changed();
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
