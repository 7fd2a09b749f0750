// The view of one stream: the player, its controls, and what there is to know.

import { $, el, text, show, icon, copyable } from './dom.js';
import { watching, obs, ffmpeg } from './addresses.js';
import { Player } from './player.js';
import * as say from './format.js';

const root = document.documentElement;
const preference = 'sluice.over'; // in localStorage: 'ws' or 'http'

const headlines = {
  connecting: 'Connecting', waiting: 'Waiting for the publisher', buffering: 'Buffering',
  playing: 'Playing', paused: 'Paused', ended: 'The stream has ended',
  reconnecting: 'Reconnecting', failed: 'This cannot be played',
};
const pills = { ...headlines, waiting: 'Waiting for publisher', ended: 'Ended', failed: 'Failed' };

export class Watch {
  player = null;
  #key; #wishes; #changed;
  #stream = null;      // the server's figures, or null
  #clock = 0;
  #quiet = new AbortController(); // ends all listeners

  // wishes are what the link asks of the server (addresses.js). changed is called
  // whenever the player's state has.
  constructor(key, wishes, changed) {
    this.#key = key;
    this.#wishes = wishes;
    this.#changed = changed;
  }

  async open() {
    text($('title'), this.#key);
    document.title = `${this.#key} · Sluice`;
    const lines = (addresses) => addresses.map(([label, value]) => copyable(label, value));
    $('elsewhere').replaceChildren(...lines(watching(this.#key, this.#wishes)));
    $('publish').replaceChildren(...lines([...obs(this.#key), ...ffmpeg(this.#key)]));
    $('figures').replaceChildren();
    $('screen').style.aspectRatio = '';
    this.#listen();
    this.#overlay('connecting', '', '');
    this.#clock = setInterval(() => this.#figures(), 500);

    const problem = await load();
    if (this.#quiet.signal.aborted) return;
    if (problem) {
      this.#failed = problem;
      this.#show();
      return;
    }
    this.player = new Player({
      mpegts: window.mpegts, video: $('video'), still: $('frozen'), key: this.#key,
      wishes: this.#wishes, over: over(), known: this.#known, changed: () => this.#show(),
    });
    this.player.start();
  }

  close() {
    this.#quiet.abort();
    clearInterval(this.#clock);
    this.player?.stop();
    if (document.fullscreenElement) document.exitFullscreen();
  }

  get state() { return this.player?.state || (this.#failed ? 'failed' : 'connecting'); }
  get reason() { return this.player?.reason ?? this.#failed; }

  // heard takes the server's answer, or null when there is none.
  heard(answer) {
    this.#stream = answer?.streams.find((s) => s.key === this.#key) ?? null;
    this.#known = answer ? this.#stream?.state ?? '' : null;
    this.player?.heard(this.#known);
    this.#figures();
  }

  #failed = '';
  #known = null;

  #show() {
    const { state, reason } = this;
    this.#overlay(state, reason, this.player?.remedy ?? '');
    text($('state'), pills[state] ?? state);
    $('state').dataset.state = state;
    const paused = state === 'paused' || $('video').paused;
    icon($('pause'), paused ? 'play' : 'pause');
    $('pause').setAttribute('aria-label', paused ? 'Play' : 'Pause');
    show($('controls'), ['playing', 'paused', 'buffering'].includes(state));
    this.#sound();
    this.#changed(state);
  }

  #overlay(state, reason, remedy) {
    const overlay = $('overlay');
    overlay.dataset.state = state;
    show(overlay, state !== 'playing');
    text($('headline'), headlines[state] ?? state);
    text($('detail'), this.#detail(state, reason));
    show($('again'), ['failed', 'reconnecting', 'paused'].includes(state));
    text($('again'), state === 'paused' ? 'Play' : state === 'failed' ? 'Try again' : 'Try now');
    show($('other'), remedy === 'http');
    text($('other'), 'Play over HTTP');
  }

  #detail(state, reason) {
    switch (state) {
      case 'waiting': return sentence(reason) || 'It starts by itself as soon as somebody publishes.';
      case 'ended': return 'It goes on by itself when the publisher comes back.';
      case 'reconnecting': {
        const left = Math.ceil(((this.player?.retryAt || 0) - performance.now()) / 1000);
        return [sentence(reason), left > 0 ? `Trying again in ${left} s.` : 'Trying again.']
          .filter(Boolean).join(' ');
      }
      default: return sentence(reason);
    }
  }

  #figures() {
    if (this.state === 'reconnecting') text($('detail'), this.#detail('reconnecting', this.reason));
    const stream = this.#stream, player = this.player, media = player?.media;
    const playing = this.state === 'playing' || this.state === 'buffering';
    const lag = playing ? player.lag : 0;
    text($('lag'), playing ? `${say.seconds(lag)} behind live` : '');
    const soundOnly = playing && stream?.state === 'live' && !stream.video && !!stream.audio
      || playing && media?.hasVideo === false;
    show($('sound-only'), soundOnly);
    const rows = {
      Status: stream ? say.state(stream) : this.#known === null ? 'Server does not answer' : 'Not live',
      Protocol: stream?.protocol && say.protocol(stream.protocol),
      Video: [say.videoCodec(stream?.video), say.size(stream?.video)].filter(Boolean).join(', '),
      Audio: say.audioCodec(stream?.audio),
      'More tracks': say.tracks(stream?.tracks),
      Bitrate: stream && say.bits(stream.bitrate),
      Viewers: stream && say.viewers(stream.viewers),
      Uptime: stream && say.duration(stream.uptime_ms),
      'Behind live': playing && say.seconds(lag),
      Frames: playing && player.figures.framesDecoded
        ? `${player.figures.framesDecoded} shown, ${player.figures.framesDropped} dropped` : '',
      Reconnects: player?.figures.reconnects ? String(player.figures.reconnects) : '',
    };
    const list = $('figures');
    for (const [label, value] of Object.entries(rows)) {
      let row = list.querySelector(`[data-label="${label}"]`);
      if (!row) {
        list.append(row = el('div', { 'data-label': label }, el('dt', {}, label), el('dd')));
      }
      show(row, !!value);
      text(row.lastElementChild, value || '');
    }
  }

  #sound() {
    const video = $('video');
    const silent = video.muted || video.volume === 0;
    const { hasAudio } = this.player?.media ?? {}; // of what is fetched, with what the link asks for
    const audible = hasAudio !== false && !!(this.#stream?.audio ?? hasAudio);
    show($('unmute'), silent && audible && this.state === 'playing');
    icon($('mute'), silent ? 'muted' : 'sound');
    $('mute').setAttribute('aria-label', silent ? 'Sound on' : 'Sound off');
    $('volume').value = video.muted ? 0 : video.volume;
  }

  #mute(muted) {
    const video = $('video');
    video.muted = muted;
    if (!muted && video.volume === 0) video.volume = 1;
  }

  #full() {
    const video = $('video');
    if (document.fullscreenElement) document.exitFullscreen();
    else if ($('screen').requestFullscreen) $('screen').requestFullscreen().catch(() => {});
    else video.webkitEnterFullscreen?.(); // iPhone
  }

  #listen() {
    const { signal } = this.#quiet, on = (target, type, f) => target.addEventListener(type, f, { signal });
    const video = $('video');
    on($('again'), 'click', () => {
      if (!this.player) return location.reload();
      if (this.state === 'paused') this.player.togglePause();
      else this.player.tryNow();
    });
    on($('other'), 'click', () => this.#choose('http'));
    on($('pause'), 'click', () => this.player?.togglePause());
    on(video, 'click', (e) => { if (e.pointerType !== 'touch') this.player?.togglePause(); });
    on($('mute'), 'click', () => this.#mute(!video.muted));
    on($('unmute'), 'click', () => this.#mute(false));
    on($('volume'), 'input', (e) => {
      video.volume = Number(e.target.value);
      video.muted = video.volume === 0;
    });
    on(video, 'volumechange', () => this.#sound());
    for (const type of ['play', 'pause', 'loadedmetadata']) on(video, type, () => this.#show());
    on(video, 'resize', () => { // of the picture
      if (video.videoWidth) $('screen').style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
    });
    on($('full'), 'click', () => this.#full());
    on(video, 'dblclick', () => this.#full());
    on(document, 'keydown', (e) => {
      if (e.altKey || e.ctrlKey || e.metaKey || e.target.closest('input, button, a, summary')) return;
      const act = {
        ' ': () => this.player?.togglePause(), k: () => this.player?.togglePause(),
        m: () => this.#mute(!video.muted), f: () => this.#full(),
      }[e.key];
      if (act) { e.preventDefault(); act(); }
    });
    for (const radio of document.querySelectorAll('input[name=over]')) {
      radio.checked = radio.value === over();
      on(radio, 'change', () => this.#choose(radio.value));
    }
    // Controls show while the pointer moves, or the keyboard is in them.
    let hide;
    const wake = () => {
      $('screen').classList.add('awake');
      clearTimeout(hide);
      hide = setTimeout(() => $('screen').classList.remove('awake'), 2500);
    };
    for (const type of ['pointermove', 'pointerdown', 'focusin']) on($('screen'), type, wake);
    wake();
  }

  #choose(value) {
    try { localStorage.setItem(preference, value); } catch { /* then for this time only */ }
    const url = new URL(location.href);
    if (url.searchParams.has('over')) { // chosen by hand: the link no longer decides
      url.searchParams.delete('over');
      history.replaceState(null, '', url.href.replaceAll('%2F', '/'));
    }
    for (const radio of document.querySelectorAll('input[name=over]')) radio.checked = radio.value === value;
    this.player?.setOver(value);
  }
}

// over is how the stream is fetched: what the link says (?over=http), what was
// chosen last, or WebSocket, of which a browser opens more than six at a time.
function over() {
  const asked = new URLSearchParams(location.search).get('over');
  let chosen = null;
  try { chosen = localStorage.getItem(preference); } catch { /* blocked */ }
  return [asked, chosen].find((v) => v === 'ws' || v === 'http') ?? 'ws';
}

const sentence = (words) => (words ? words[0].toUpperCase() + words.slice(1).replace(/\.?$/, '.') : '');

// load brings mpegts.js in, once, and returns what is wrong, if something is.
let loading = null;
function load() {
  if (!root.dataset.player) {
    return `the player is not in this build: run ${root.dataset.generate} where the source is, and build again`;
  }
  return loading ??= new Promise((done) => {
    const script = el('script', { src: root.dataset.player });
    script.onload = () => {
      window.mpegts.LoggingControl.applyConfig({ enableAll: false });
      done(window.mpegts.getFeatureList().mseLivePlayback ? ''
        : 'this browser has no Media Source Extensions; see below for other ways to watch');
    };
    script.onerror = () => { loading = null; done('the player could not be loaded from the server'); };
    document.head.append(script);
  });
}
