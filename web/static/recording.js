// The view of one recording: the player with its bar, and what there is to know.

import { $, el, text, show, copyables, rows } from './dom.js';
import { origin, page, permitted, playing, recordingPage, flvFile, mp4File, fileName } from './addresses.js';
import { load } from './library.js';
import { refusalOf } from './ends.js';
import { Denied, recorded, Recordings } from './recordings.js';
import { Screen } from './screen.js';
import { SeekBar } from './seekbar.js';
import { share } from './share.js';
import { detail, headline, pill, remedy } from './states.js';
import { VOD } from './vod.js';
import * as say from './format.js';

// What is said of a recording in other words than of a stream (states.js).
const headlines = { connecting: 'Loading', waiting: 'That is all by now', ended: 'The recording is over' };
const pills = { connecting: 'Loading', waiting: 'Waiting for more', ended: 'Over' };
const growing = 3000, retry = 3000; // between two questions for what grows, and for what is not there yet, ms

export class Recording {
  player = null;
  #key; #permission; #changed;
  #recording = null;
  #problem = ''; #refusal = '';
  #screen; #bar; #list = null;
  #clock = 0; #timer = 0;
  #quiet = new AbortController(); // ends all listeners

  // key is APP/NAME/ID, permission is what the link shows for it (addresses.js). changed
  // is called whenever the player's state has.
  constructor(key, permission, changed) {
    this.#key = key;
    this.#permission = permission;
    this.#changed = changed;
  }

  async open() {
    const { signal } = this.#quiet;
    text($('title'), this.#key.replace(/\/[^/]*$/, ''));
    text($('when'), '');
    document.title = `${$('title').textContent} · Sluice`;
    for (const id of ['figures', 'elsewhere', 'files']) $(id).replaceChildren();
    show($('permitted'), false);
    this.#screen = new Screen({
      signal, name: this.#key.replace(/\/[^/]*$/, ''), theatre: true, toggle: () => this.player?.toggle(),
      clicked: () => (this.#silent ? this.#screen.mute(false) : this.player?.toggle()), move: (by) => this.#move(by),
      audible: () => !!this.#recording?.audio && this.state === 'playing',
    });
    this.#bar = new SeekBar({
      signal, label: 'Position',
      words: (place, max) => `${say.clock(place)} of ${say.clock(max)}`,
      moved: (place) => {
        // Where the browser has the whole file, the picture follows.
        if (this.player?.way === 'mp4' && !$('video').seeking) this.player.seek(place);
        this.#figures();
      },
      done: (place) => this.player?.seek(place),
    });
    $('again').addEventListener('click', () => this.#again(), { signal });
    $('video').addEventListener('volumechange', () => this.#show(), { signal });
    this.#show();
    await this.#find();
  }

  close() {
    this.#quiet.abort();
    clearInterval(this.#clock);
    clearTimeout(this.#timer);
    this.player?.stop();
    this.#list?.close();
    this.#screen.close();
    this.#bar.show(false);
    text($('clock'), '');
    text($('when'), '');
  }

  get state() { return this.player?.state || (this.#problem || this.#refusal ? 'failed' : 'connecting'); }
  get reason() { return this.player?.reason || this.#problem; }

  // heard takes the server's answer about streams, or null when there is none.
  heard(answer) {
    const live = answer?.streams.some((s) => s.key === this.#recording?.stream && s.state === 'live');
    show($('watch-live'), !!live);
  }

  // find asks for the recording until the server answers, and plays it.
  async #find() {
    const found = await this.#ask(this.#key).catch((e) => (e instanceof Denied ? e : undefined));
    if (this.#quiet.signal.aborted) return;
    if (found instanceof Denied) {
      this.#problem = found.message;
      this.#show();
      return;
    }
    if (found === undefined) {
      this.#timer = setTimeout(() => this.#find(), retry);
      return;
    }
    if (!found) {
      this.#problem = 'there is no such recording';
      this.#show();
      return;
    }
    this.#take(found);
    const { stream, id } = found, key = `${stream}/${id}`; // whatever "latest" is later
    this.#list = new Recordings({ root: $('recordings'), stream, limit: 10, current: id });
    this.player = new VOD({
      video: $('video'), still: $('frozen'), library: load, recording: found,
      permission: this.#permission,
      ask: async () => {
        const now = await this.#ask(key);
        if (now && !this.#quiet.signal.aborted) this.#take(now);
        return now;
      },
      changed: () => this.#show(),
    });
    let even = false;
    this.#clock = setInterval(() => {
      this.#figures();
      if (even = !even) this.#screen.note(this.player.sample());
    }, 250);
    this.player.start(begin(found));
    this.#share();
    this.#show();
    this.#follow(key);
  }

  // share offers the link of the recording, and of the place that is shown.
  #share() {
    const recording = this.#recording, link = () => origin + permitted(recordingPage(recording), this.#permission);
    share($('share'), {
      signal: this.#quiet.signal, title: `${recording.stream}, ${say.when(recording)}`, secret: () => this.#permission, link,
      now: () => {
        const place = Math.floor(this.player.time);
        return place > 0 ? [`from ${say.clock(place)}`, `${link()}&t=${place}`] : null;
      },
    });
  }

  // ask asks for a recording, and notes whether it may be seen.
  async #ask(key) {
    try {
      const found = await recorded(key, this.#permission);
      this.#refusal = '';
      return found;
    } catch (e) {
      if (!(e instanceof Denied)) throw e;
      const { refusal, words } = refusalOf(0, e.message);
      this.#refusal = refusal;
      throw new Denied(words);
    }
  }

  // follow asks again and again as long as the recording grows.
  async #follow(key) {
    if (this.#recording.state !== 'recording') return;
    await new Promise((done) => { this.#timer = setTimeout(done, growing); });
    if (this.#quiet.signal.aborted) return;
    const now = await this.#ask(key).catch(() => undefined);
    if (this.#quiet.signal.aborted) return;
    if (now) {
      this.#take(now);
      this.player.heard(now);
    }
    if (now !== null) this.#follow(key);
  }

  // take shows what does not change while it plays.
  #take(recording) {
    const before = this.#recording;
    this.#recording = recording;
    const { stream, state } = recording, begin = say.when(recording);
    if (before?.state === state) return;
    text($('title'), stream);
    $('title').title = stream;
    text($('when'), recording.begin ? `Recorded ${begin}` : begin);
    document.title = `${stream}, ${begin} · Sluice`;
    $('up').href = $('watch-live').href = page(stream);
    const file = (href, words, ending) => el('a', { href, download: `${fileName(recording)}.${ending}`, class: 'button' }, words);
    $('files').replaceChildren(...[
      state !== 'recording' && file(mp4File(recording, this.#permission), 'Download MP4', 'mp4'),
      file(flvFile(recording, this.#permission), 'Download FLV', 'flv'),
    ].filter(Boolean));
    $('elsewhere').replaceChildren(copyables('Addresses to play at',
      playing(recording, this.#permission), this.#permission));
    show($('permitted'), this.#permission !== '');
  }

  #again() {
    if (!this.player) return location.reload();
    if (this.#silent) this.#screen.mute(false);
    else if (['paused', 'ended'].includes(this.state)) this.player.toggle();
    else this.player.tryNow();
  }

  #move(by) {
    if (!this.player || this.state === 'failed') return false;
    const { time, duration } = this.player;
    this.player.seek(by === -Infinity ? 0 : by === Infinity ? duration : time + by);
    this.#figures();
    return true;
  }

  #show() {
    const { state, reason } = this, seen = this.#silent ? 'silent' : state, played = this.player && this.player.time > 0;
    this.#screen.overlay({
      // Once it has been played, nothing is in the way of who looks at a picture.
      state: state === 'paused' && played ? 'playing' : seen,
      headline: headlines[seen] ?? headline(seen, this.#refusal),
      detail: this.#detail(seen, reason),
      again: seen === 'ended' ? 'Play again' : remedy(seen),
    });
    show($('other'), false);
    text($('state'), pills[seen] ?? pill(seen, this.#refusal));
    $('state').dataset.state = seen;
    this.#screen.paused(state !== 'playing' && state !== 'buffering' && state !== 'waiting');
    this.#screen.sound();
    this.#figures();
    this.#changed(state);
  }

  #detail(state, reason) {
    switch (state) {
      case 'waiting': return 'It is still being recorded, and goes on by itself.';
      case 'ended': return say.sentence(reason);
      default: return detail(state, reason, this.player?.retryAt);
    }
  }

  // silent says whether it plays, and there is nothing to see and nothing to hear.
  get #silent() {
    return this.state === 'playing' && !!this.#recording && !this.#recording.video && this.#screen.silent;
  }

  #figures() {
    const recording = this.#recording, player = this.player;
    if (!recording) return;
    if (this.state === 'reconnecting') text($('detail'), this.#detail('reconnecting', this.reason));
    const playable = !!player && this.state !== 'failed';
    const place = this.#bar.held ? this.#bar.place : player?.time ?? 0, duration = player?.duration ?? recording.duration;
    this.#bar.show(playable);
    show($('controls'), playable);
    this.#bar.set(place, duration);
    text($('clock'), `${say.clock(place)} / ${say.clock(duration)}`);
    show($('sound-only'), playable && !recording.video && !this.#silent);
    $('screen').classList.toggle('still', this.state === 'paused');
    rows($('figures'), {
      Length: say.clock(duration),
      Size: say.bytes(recording.bytes),
      Status: say.recordingState(recording),
      Video: [say.videoCodec(recording.video), say.size(recording.video)].filter(Boolean).join(', '),
      Audio: say.audioCodec(recording.audio),
      Incomplete: say.gaps(recording),
      'Played as': { mp4: 'MP4', flv: 'FLV' }[player?.way] ?? '',
      'The browser says': this.state === 'failed' ? player?.cause : '',
    });
  }
}

// begin is where the link wants a recording to begin, s (?t=93).
function begin({ duration }) {
  const t = Number(new URLSearchParams(location.search).get('t'));
  return t > 0 && t < duration ? t : 0;
}
