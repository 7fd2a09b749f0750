// One attempt at a live stream: one connection and one player of mpegts.js.

import { ahead } from './gap.js';
import { loaderFor } from './loader.js';
import { Standstill } from './standstill.js';

const enough = 30;       // so much is fetched ahead by who is far back, s
const gulp = 1 << 20;    // bytes after which what is buffered is waited for, to be looked at

export class Session {
  began; accepted;           // when it was begun, and the server took it, ms
  back;                      // how far behind live it was asked to begin by hand, s
  origin = 0;                // where its first picture was, s
  opened = false;
  shown = 0;                 // when a picture first moved, ms
  lastData = 0;
  moved; time = 0;           // when, and where, the picture was last seen to move
  ended = null;              // the code of its end
  heldAt = 0;                // when it was paused by hand
  standstill = new Standstill();
  player;
  #gulped = 0;

  // media, error and ended are told what mpegts.js finds out, what it cannot do, and
  // the end of the connection (loader.js); data is told of bytes.
  constructor({ mpegts, url, over, video, back, now, opened, data, ended, media, error }) {
    this.began = this.accepted = this.moved = now;
    this.back = back;
    this.player = mpegts.createPlayer({ type: 'flv', isLive: true, url }, {
      customLoader: loaderFor(mpegts, over, {
        opened: () => {
          this.opened = true;
          this.accepted = performance.now();
          opened();
        },
        data: (bytes) => {
          this.lastData = performance.now();
          this.standstill.data(this.lastData);
          this.#gulped += bytes.length;
          data(bytes, this.lastData);
        },
        ended,
        full: () => this.back > 0 && this.#full(ahead(video)),
      }),
      isLive: true,
      enableStashBuffer: false,      // else nothing is read before 64 KiB are there
      lazyLoad: false,
      autoCleanupMaxBackwardDuration: 30,
      autoCleanupMinBackwardDuration: 10,
      statisticsInfoReportInterval: 5000,
    });
    this.player.on(mpegts.Events.MEDIA_INFO, media);
    this.player.on(mpegts.Events.ERROR, (type, detail, info) => error(detail, info));
    this.player.attachMediaElement(video);
    this.player.load();
  }

  // look notes when and where the picture moves, and reports whether it does so for the
  // first time; to be called a few times a second.
  look(video, now) {
    if (video.currentTime === this.time) return false;
    const first = !this.shown && video.readyState > 1 && !video.seeking;
    if (first) {
      this.shown = now;
      this.origin = video.buffered.start(0);
    }
    this.time = video.currentTime;
    this.moved = now;
    return first;
  }

  // lag is how far the picture is behind live, s, by how far what is buffered says that
  // it is. Of a session that began far back, the server need not have sent all that lies
  // between; then the time that has passed and the time that was played tell.
  lag(buffered, time, now) {
    if (!this.back) return buffered;
    return Math.max(buffered, this.back + (now - this.accepted) / 1000 - (time - this.origin));
  }

  #full(seconds) {
    const full = seconds > enough || this.#gulped > gulp;
    this.#gulped = 0;
    if (full) this.lastData = performance.now(); // it is not the server that is silent
    return full;
  }

  close() {
    clearTimeout(this.drain);
    this.player.destroy();
  }
}
