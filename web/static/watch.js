// The view of one stream: the player, its controls, and what there is to know.

import { $, text, show, copyables, rows } from './dom.js';
import { origin, watching, obs, ffmpeg, framed, page, permitted, wishes, withBack } from './addresses.js';
import { Choices } from './choices.js';
import { hopeless, load } from './library.js';
import { Player } from './player.js';
import { Recordings } from './recordings.js';
import { Rewind } from './rewind.js';
import { Screen } from './screen.js';
import { share } from './share.js';
import { SlowNotice } from './slow.js';
import { audible, soundOnly } from './sound.js';
import { detail, headline, pill, remedy, standing } from './states.js';
import * as say from './format.js';

const settle = 500; // so long the addresses wait for the recordings above them, ms

export class Watch {
  player = null;
  #key; #wishes; #permission; #changed;
  #stream = null;      // the server's figures, or null
  #clock = 0;
  #shown = '';         // the state as it was told last
  #quiet = new AbortController(); // ends all listeners
  #screen; #rewind; #recordings; #choices; #slow;

  // wishes are what the link asks of the server, permission is what it shows for that
  // (addresses.js). changed is called whenever the player's state has.
  constructor(key, wishes, permission, changed) {
    this.#key = key;
    this.#wishes = wishes;
    this.#permission = permission;
    this.#changed = changed;
  }

  async open() {
    text($('title'), this.#key);
    $('title').title = this.#key; // of a long one not all is shown
    document.title = `${this.#key} · Sluice`;
    $('elsewhere').replaceChildren(copyables('Addresses to watch at',
      watching(this.#key, this.#wishes, this.#permission), this.#permission));
    show($('permitted'), this.#permission !== '');
    $('publish')?.replaceChildren(copyables('Addresses to publish at',
      [...obs(this.#key), ...ffmpeg(this.#key)], this.#permission));
    $('figures').replaceChildren();
    this.#listen();
    this.#share();
    this.#recordings = new Recordings({
      root: $('recordings'), stream: this.#key, limit: 10,
      heard: (...news) => this.#rewind.heard(...news),
    });
    show($('addresses'), false);
    const shown = new Promise((done) => { setTimeout(done, settle); });
    Promise.race([this.#recordings.first, shown]).then(() => {
      if (!this.#quiet.signal.aborted) show($('addresses'), true);
    });
    this.#overlay('connecting', '', '');
    this.#clock = setInterval(() => {
      this.#figures();
      if (this.player) this.#screen.note(this.player.sample());
    }, 500);

    const problem = await load();
    if (this.#quiet.signal.aborted) return;
    if (problem) {
      this.#failed = problem;
      this.#show();
      return;
    }
    this.player = new Player({
      mpegts: window.mpegts, video: $('video'), still: $('frozen'), key: this.#key,
      wishes: permitted(this.#wishes, this.#permission), over: this.#choices.over,
      mode: this.#choices.mode, known: this.#known, changed: () => this.#show(),
    });
    this.player.start();
  }

  close() {
    this.#quiet.abort();
    clearInterval(this.#clock);
    this.player?.stop();
    this.#recordings.close();
    this.#screen.close();
    show($('addresses'), true);
  }

  get state() { return this.player?.state || (this.#failed ? 'failed' : 'connecting'); }
  get reason() { return this.player?.reason ?? this.#failed; }

  // heard takes the server's answer, or null when there is none; late: none in time.
  heard(answer, late) {
    ({ stream: this.#stream, known: this.#known } = standing(answer, this.#key));
    this.player?.heard(this.#known, answer, late);
    this.#rewind?.log((this.#stream?.back_ms ?? 0) / 1000);
    this.#figures();
  }

  #failed = '';
  #known = null;

  #show() {
    const { state, reason } = this, seen = this.#shown = this.#silent ? 'silent' : state;
    const told = this.player?.slow ? 'slow' : seen;
    this.#overlay(seen, reason, this.player?.remedy ?? '');
    text($('state'), pill(told, this.player?.refusal));
    $('state').dataset.state = told;
    this.#screen.paused(state === 'paused' || $('video').paused);
    this.#figures();
    this.#screen.sound();
    this.#changed(state);
  }

  #overlay(state, reason, way) {
    this.#screen.overlay({
      state, headline: headline(state, this.player?.refusal), detail: detail(state, reason, this.player?.retryAt),
      again: hopeless(this.#failed) ? '' : remedy(state, this.player?.refusal),
    });
    show($('other'), way === 'http');
    text($('other'), 'Play over HTTP');
  }

  #figures() {
    if (this.state === 'reconnecting') text($('detail'), detail('reconnecting', this.reason, this.player?.retryAt));
    const stream = this.#stream, player = this.player;
    const playing = this.state === 'playing' || this.state === 'buffering';
    const lag = playing ? player.lag : 0;
    this.#rewind.show();
    this.#choices.show(stream);
    this.#slow.show();
    const seekable = this.#rewind.possible;
    show($('controls'), seekable || ['playing', 'paused', 'buffering'].includes(this.state));
    text($('lag'), playing || seekable ? say.behind(this.#rewind.behind) : '');
    show($('sound-only'), this.#soundOnly && !this.#silent);
    if (this.#silent !== (this.#shown === 'silent')) this.#show();
    rows($('figures'), {
      Status: stream ? say.state(stream)
        : { private: 'Not shown to the public', '': 'Not live' }[this.#known] ?? 'Server does not answer',
      Protocol: stream?.protocol && say.protocol(stream.protocol),
      Video: [say.videoCodec(stream?.video), say.size(stream?.video)].filter(Boolean).join(', '),
      Audio: say.audioCodec(stream?.audio),
      'More tracks': say.tracks(stream?.tracks),
      Bitrate: stream && say.bits(stream.bitrate),
      Viewers: stream && say.viewers(stream.viewers),
      Uptime: stream && say.duration(stream.uptime_ms),
      'Behind live': playing && (lag < 100 ? say.seconds(lag) : say.clock(lag)),
      Frames: playing && player.figures.framesDecoded
        ? `${player.figures.framesDecoded} shown, ${player.figures.framesDropped} dropped` : '',
      Reconnects: player?.figures.reconnects ? String(player.figures.reconnects) : '',
    });
  }

  get #soundOnly() { return soundOnly(this.state, this.player, this.#stream); }

  // silent says whether it plays, and there is nothing to see and nothing to hear.
  get #silent() { return this.state === 'playing' && this.#soundOnly && this.#screen.silent; }

  // share offers the link of the stream, and of how it is watched now.
  #share() {
    const link = (wishes) => origin + page(this.#key, permitted(wishes, this.#permission));
    share($('share'), {
      signal: this.#quiet.signal, title: this.#key, secret: () => this.#permission,
      link: () => link(''), frame: () => framed(this.#key, permitted('', this.#permission)),
      now: () => {
        const player = this.player, back = player?.rewound ? player.lag : 0;
        const asked = wishes(player?.wishes ?? this.#wishes), now = back ? withBack(asked, back) : asked;
        return now ? [say.wishes(now), link(now)] : null;
      },
    });
  }

  #listen() {
    const { signal } = this.#quiet, on = (target, type, f) => target.addEventListener(type, f, { signal });
    this.#screen = new Screen({
      signal, name: this.#key, theatre: true, toggle: () => this.player?.togglePause(),
      clicked: () => (this.#silent ? this.#screen.mute(false) : this.player?.togglePause()),
      move: (by) => this.#rewind.by(by), audible: () => audible(this.state, this.player, this.#stream),
    });
    const player = () => this.player;
    this.#choices = new Choices({ root: $('choices'), signal, player });
    this.#slow = new SlowNotice({ root: $('slow'), signal, player });
    this.#rewind = new Rewind({ signal, player, changed: () => this.#figures() });
    on($('again'), 'click', () => {
      if (!this.player) return location.reload();
      if (this.#silent) this.#screen.mute(false);
      else if (this.state === 'paused') this.player.togglePause();
      else this.player.tryNow();
    });
    on($('other'), 'click', () => this.#choices.take('http'));
    for (const type of ['play', 'pause', 'loadedmetadata', 'volumechange']) on($('video'), type, () => this.#show());
  }
}
