// One recording on one <video>: the state in words, and the other way, or trying again,
// where one fails.
//
//   connecting ──▶ playing ◀──▶ paused | buffering | waiting
//                     │
//                     ├──▶ ended           a seek, or playing again, goes on
//                     ├──▶ reconnecting    the server is not reached; goes on by itself
//                     └──▶ failed
//
// waiting: all that has been recorded by now is played; goes on with some seconds more.

import { rangeLoader } from './range.js';
import { overGap, ahead, holds } from './gap.js';
import { freeze, Meter } from './picture.js';
import { away, flvFile, mp4File } from './addresses.js';
import { Denied } from './recordings.js';
import { play } from './sound.js';
import { ways } from './ways.js';

const tick = 200;             // between two looks at the video, ms
const dry = 400;              // without a picture that moves for so long, it is buffering, ms
const enough = 8;             // behind the end of what grows, so much more is waited for, s
const again = { first: 500, growth: 2, most: 15000 }; // pauses before new attempts, ms
const patient = 3000;         // for so long a place that is wanted shows before it is given up, ms
const tries = 3;              // of one way without a picture, then the other one

export class VOD {
  state = 'connecting';
  reason = '';
  cause = '';                 // of what cannot be played, as the browser says it
  retryAt = 0;                // when the next attempt is due (performance.now), or 0
  way = '';                   // 'mp4' or 'flv', while it plays
  opened = 0;                 // how often a file was opened

  #video; #still; #library; #recording; #permission; #ask; #changed;
  #left = [];                 // ways not tried yet
  #player = null;             // of mpegts.js
  #length = 0;                // of the recording when it was opened, s
  #wanted = null; #since = 0; // where the viewer wants to be until it is so, s, and since when
  #playing = true;            // what the viewer wants
  #tries = 0;
  #pause = 0;
  #moved = 0; #at = 0;        // when and where the picture was last seen to move
  #shown = false;             // it did since the file was opened
  #turn = 0;                  // tells an old attempt
  #ticker = 0; #retry = 0;
  #quiet = new AbortController();
  #meter = new Meter();

  // library brings mpegts.js in and returns what is wrong. ask returns what the server
  // says of the recording, null if there is none any more, and throws if it does not
  // answer, Denied if it may no longer be seen. changed is called whenever state or reason have changed.
  constructor({ video, still, library, recording, permission, ask, changed }) {
    this.#video = video;
    this.#still = still;
    this.#library = library;
    this.#recording = recording;
    this.#permission = permission;
    this.#ask = ask;
    this.#changed = changed;
  }

  // start plays from a place, s.
  start(place = 0) {
    const on = (type, f) => this.#video.addEventListener(type, f, { signal: this.#quiet.signal });
    on('error', () => { if (this.way) this.#failed(this.#video.error?.message ?? ''); });
    on('loadeddata', () => {
      this.#still.hidden = true;
      if (this.#wanted === 0) this.#wanted = null;
    });
    on('seeked', () => { this.#wanted = null; this.#look(); });
    for (const type of ['play', 'pause']) on(type, () => this.#byHand());
    this.#ticker = setInterval(() => this.#look(), tick);
    this.#left = ways(this.#recording, this.#video);
    this.#open(place);
  }

  stop() {
    this.#quiet.abort();
    clearInterval(this.#ticker);
    clearTimeout(this.#retry);
    this.#close();
    this.#still.hidden = true;
  }

  // heard takes what the server says by now.
  heard(recording) {
    this.#recording = recording;
  }

  get time() { return this.#wanted ?? this.#video.currentTime; }

  // duration is how long the recording is by now, s.
  get duration() {
    const { duration } = this.#video;
    const known = this.way && Number.isFinite(duration) ? duration : 0;
    return this.#grows ? Math.max(known, this.#recording.duration) : known || this.#recording.duration;
  }

  get #grows() { return this.#recording.state === 'recording'; }

  toggle() {
    const video = this.#video;
    if (['connecting', 'reconnecting', 'failed'].includes(this.state)) return;
    if (video.ended) return this.seek(0);
    this.#playing = !this.#playing;
    if (this.#playing) this.#play();
    else video.pause();
    this.#look();
  }

  // sample tells how it plays at this moment, as plain numbers (gauges.js).
  sample() {
    const video = this.#video, { bytes, duration } = this.#recording;
    return {
      ...this.#meter.look(video, performance.now()), buffered: ahead(video),
      bitrate: duration > 0 ? bytes * 8 / duration : NaN,
    };
  }

  // seek goes to a place, s, and plays on from there if it was over.
  seek(seconds) {
    const video = this.#video, over = video.ended || this.state === 'ended';
    const to = Math.max(0, Math.min(seconds, this.duration - (this.#grows ? 1 : 0.1)));
    if (over) this.#playing = true;
    this.#want(to);
    if (!this.way) return; // it opens there
    if (this.way === 'flv' && to > this.#length && !holds(video, to)) {
      this.#reopen(to); // it has grown since: only the file knows how to get there
    } else if (this.#player) {
      this.#player.currentTime = to;
    } else {
      video.currentTime = to;
    }
    if (this.#playing) this.#play();
    this.#look();
  }

  #want(place) {
    this.#wanted = place;
    this.#since = this.#moved = performance.now();
  }

  // tryNow begins anew where it was.
  tryNow() {
    this.#tries = this.#pause = 0;
    this.#left = ways(this.#recording, this.#video);
    this.#set('connecting');
    this.#open(this.time);
  }

  async #open(place) {
    clearTimeout(this.#retry);
    this.retryAt = 0;
    this.#close();
    this.#want(place);
    const turn = this.#turn, way = this.#left[0];
    const problem = way === 'flv' ? await this.#library() : '';
    if (turn !== this.#turn) return;
    if (problem) return this.#next(problem);
    this.way = way;
    this.opened++;
    this.#length = this.#recording.duration;
    const video = this.#video, at = this.#wanted;
    if (way === 'mp4') {
      video.crossOrigin = away(this.#recording) ? 'anonymous' : null; // so that pictures of it may be saved
      video.src = mp4File(this.#recording, this.#permission);
      video.currentTime = at;
    } else {
      const { mpegts } = window, url = new URL(flvFile(this.#recording, this.#permission), location.href).href;
      const player = this.#player = mpegts.createPlayer({ type: 'flv', isLive: false, url }, {
        customLoader: rangeLoader(mpegts, {
          growing: () => this.#grows,
          failed: (reason) => { if (turn === this.#turn) this.#failed(reason, true); },
        }),
        enableStashBuffer: false,
        lazyLoadMaxDuration: 60,
        lazyLoadRecoverDuration: 20,
        autoCleanupSourceBuffer: true,
        statisticsInfoReportInterval: 5000,
      });
      player.on(mpegts.Events.ERROR, (type, detail, info) => {
        if (this.#player === player) this.#failed(info?.msg || detail);
      });
      player.attachMediaElement(video);
      if (at > 0) player.currentTime = at;
      player.load();
    }
    if (this.#playing) this.#play();
  }

  #reopen(at) {
    freeze(this.#video, this.#still);
    this.#open(at);
  }

  #close() {
    const video = this.#video;
    this.#turn++;
    this.#shown = false;
    if (this.way === 'mp4') {
      this.way = '';
      video.removeAttribute('src');
      video.load();
    }
    this.way = '';
    this.#player?.destroy();
    this.#player = null;
  }

  // failed finds out what an error means, and goes on as that says. lost says that it is
  // one of the network's.
  async #failed(words, lost = this.#video.error?.code === MediaError.MEDIA_ERR_NETWORK) {
    const at = this.time;
    freeze(this.#video, this.#still);
    this.#close();
    this.#want(at);
    const turn = this.#turn, now = await this.#ask().catch((e) => (e instanceof Denied ? e : undefined));
    if (turn !== this.#turn) return;
    if (now instanceof Denied) return this.#fail(now.message);
    if (now === undefined) return this.#later('the server cannot be reached');
    if (now === null) return this.#fail('this recording is no longer there');
    this.#recording = now;
    if (lost && ++this.#tries < tries) return this.#later('the connection was lost');
    this.#next(words);
  }

  // next takes the way that is left.
  #next(words) {
    this.#left.shift();
    if (this.#left.length) return this.#open(this.time);
    const codecs = [this.#recording.video, this.#recording.audio].filter(Boolean).map((t) => t.codec).join(', ');
    this.cause = words;
    this.#fail(`this browser cannot play this recording${codecs && ` (${codecs})`}; it can be downloaded, and played elsewhere`);
  }

  #later(reason) {
    this.#pause = Math.min(again.most, this.#pause ? this.#pause * again.growth : again.first);
    const pause = this.#pause * (0.8 + 0.4 * Math.random());
    this.reason = reason;
    this.retryAt = performance.now() + pause;
    this.#retry = setTimeout(() => this.#open(this.time), pause);
    this.#set('reconnecting');
  }

  #fail(reason) {
    this.#close();
    this.reason = reason;
    this.#set('failed');
  }

  #play() {
    play(this.#video).catch((e) => {
      if (e.name !== 'NotAllowedError') return; // the browser wants a click first
      this.#playing = false;
      this.#look();
    });
  }

  // byHand follows what the browser does on keys and headphones of its own.
  #byHand() {
    const video = this.#video;
    if (!this.way || this.state === 'waiting' || video.ended || video.readyState < 2) return;
    this.#playing = !video.paused;
    this.#look();
  }

  // look compares what should be with what is, five times a second.
  #look() {
    const video = this.#video, now = performance.now();
    if (!this.way || this.state === 'failed') return;
    if (video.currentTime !== this.#at && video.readyState > 1 && !video.seeking) {
      this.#at = video.currentTime;
      this.#moved = now;
      this.#shown = true;
      this.#tries = this.#pause = 0;
      if (now - this.#since > patient) this.#wanted = null; // it can't get there
    }
    if (video.ended) return this.#say('ended');
    if (!this.#playing) return this.#say('paused');
    if (this.way === 'flv' && !video.seeking && overGap(video)) return;
    if (this.state === 'waiting' && this.#grows && ahead(video) < enough) return;
    if (video.paused && video.readyState > 1) this.#play();
    if (now - this.#moved < dry) {
      if (this.#shown) this.#say('playing');
      return;
    }
    if (!this.#shown && this.state === 'connecting') return;
    const end = this.duration - video.currentTime < enough / 2;
    if (this.#grows && end && !video.seeking && ahead(video) < 0.5) {
      this.#say('waiting');
      return video.pause();
    }
    this.#say('buffering');
  }

  #say(state) {
    this.reason = '';
    this.#set(state);
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.#changed();
  }
}
