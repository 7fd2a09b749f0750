// The screen: the overlay over the picture, its controls and its keys. They are the same
// for a live stream, for a recording, and where a stream is embedded in another page, which
// has not all of the parts: what is missing is left out.

import { $, el, text, show, icon } from './dom.js';
import { keys } from './keys.js';
import { Sound } from './sound.js';
import { Theatre } from './theatre.js';

const awake = 2500;    // for so long after the pointer moved, the controls show, ms
const twice = 250;     // a click waits for so long whether a second one follows, ms
const slowly = 1000;   // the slowest double click that a system can be set to, ms
const toldFor = 2500;  // for so long a word about what a key did stays, ms
const remembered = 120; // samples for the figures' graphs: of a minute, at two each second

export class Screen {
  #signal; #sound; #theatre; #audible; #name;
  #video = $('video');
  #samples = [];       // newest last
  #gauges = null;      // the figures over the picture, while they are shown
  #told = el('p', { class: 'told', role: 'status' });
  #hide = 0; #forget = 0;

  // signal ends all listeners. toggle plays and pauses; clicked is what a click on the
  // picture does, the same if it is not given. move(by) goes so many seconds on or back,
  // -Infinity to the beginning and Infinity to the end, and reports whether it can. audible
  // says whether there is sound that could be heard. name is what is watched, for the names
  // of files. muted is whether it begins without sound, else as was chosen last. theatre is
  // whether there is a page around that can step back.
  constructor({ signal, toggle, clicked = toggle, move = () => false, audible, name = 'stream', muted, theatre = false }) {
    this.#signal = signal;
    this.#audible = audible;
    this.#name = name;
    const video = this.#video, on = (...args) => this.#on(...args);
    this.#sound = new Sound(video, muted);
    if (theatre) this.#theatre = new Theatre(signal);
    show($('theatre'), theatre);
    $('screen').style.aspectRatio = '';
    $('screen').append(this.#told);
    const acts = {
      pause: toggle, mute: () => this.mute(!this.#sound.off), unmute: () => this.mute(false),
      theatre: () => this.#theatre?.toggle(), pip: () => this.#pip(), snap: () => this.#snap(),
      info: () => this.#info(), keys: () => this.#help(), full: () => this.#full(),
    };
    for (const [id, act] of Object.entries(acts)) on($(id), 'click', act);
    on($('volume'), 'input', (e) => this.#sound.level(Number(e.target.value)));
    on(video, 'volumechange', () => this.sound());
    on(video, 'resize', () => { // of the picture
      if (video.videoWidth) $('screen').style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
    });
    on(document, 'fullscreenchange', () => label($('full'), document.fullscreenElement ? 'Leave full screen' : 'Full screen', 'f'));
    keys({
      signal, move, volume: (by) => this.#louder(by),
      acts: {
        ' ': toggle, k: toggle, m: acts.mute, f: acts.full, p: acts.pip, t: acts.theatre, i: acts.info,
        s: acts.snap, '?': acts.keys, Escape: () => this.#escape(),
      },
    });
    show($('pip'), this.#canPip);
    this.#clicks(clicked);
    this.#wakes();
    this.sound();
  }

  #on(target, type, f) {
    target?.addEventListener(type, f, { signal: this.#signal });
  }

  // overlay says what is the matter, in words; again is the button's, '' for none.
  overlay({ state, headline, detail, again }) {
    const overlay = $('overlay');
    overlay.dataset.state = state;
    show(overlay, state !== 'playing');
    text($('headline'), headline);
    text($('detail'), detail);
    show($('again'), again !== '');
    text($('again'), again);
    this.sound();
  }

  // paused shows on the button what it would do.
  paused(paused) {
    icon($('pause'), paused ? 'play' : 'pause');
    label($('pause'), paused ? 'Play' : 'Pause', 'space');
  }

  // sound shows whether there is sound, and how much.
  sound() {
    const { off, volume } = this.#sound;
    show($('unmute'), off && this.#audible() && $('overlay').dataset.state !== 'silent'); // which asks for it, too
    icon($('mute'), off ? 'muted' : 'sound');
    label($('mute'), off ? 'Turn the sound on' : 'Turn the sound off', 'm');
    if ($('volume')) $('volume').value = volume;
  }

  // silent reports whether there could be sound, and it is off.
  get silent() { return this.#sound.off && this.#audible(); }

  // mute turns the sound off or on.
  mute(muted) {
    this.#sound.set(!muted);
  }

  // note takes a sample of how it plays, as Player.sample makes them, twice a second.
  note(sample) {
    this.#samples.push(sample);
    if (this.#samples.length > remembered) this.#samples.shift();
    this.#gauges?.show();
  }

  // tell says a few words in a corner of the picture, for a moment.
  tell(words) {
    text(this.#told, words);
    clearTimeout(this.#forget);
    this.#forget = setTimeout(() => text(this.#told, ''), toldFor);
  }

  close() {
    clearTimeout(this.#hide);
    clearTimeout(this.#forget);
    this.#gauges?.close();
    $('info')?.setAttribute('aria-pressed', false);
    this.#told.remove();
    document.querySelector('dialog.shortcuts')?.remove();
    if (document.fullscreenElement) document.exitFullscreen();
    if (document.pictureInPictureElement) document.exitPictureInPicture();
  }

  #louder(by) {
    this.tell(`Volume ${Math.round(this.#sound.level(this.#sound.volume + by) * 100)} %`);
    this.#wake();
  }

  #full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if ($('screen').requestFullscreen) $('screen').requestFullscreen().catch(() => {});
    else this.#video.webkitEnterFullscreen?.(); // iPhone
  }

  get #canPip() {
    const video = this.#video;
    return !!(document.pictureInPictureEnabled && video.requestPictureInPicture
      || video.webkitSupportsPresentationMode?.('picture-in-picture')); // older Safari
  }

  async #pip() {
    if (!this.#canPip) return;
    const video = this.#video;
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else if (video.requestPictureInPicture) await video.requestPictureInPicture();
      else video.webkitSetPresentationMode(video.webkitPresentationMode === 'inline' ? 'picture-in-picture' : 'inline');
    } catch {
      this.tell('There is no picture yet');
    }
  }

  async #snap() {
    const { save } = await import('./snapshot.js');
    const file = await save(this.#video, $('frozen'), this.#name);
    this.tell(file ? `Saved as ${file}` : 'There is no picture yet');
  }

  async #info() {
    const { Gauges } = await import('./gauges.js');
    if (this.#signal.aborted) return;
    if (this.#gauges?.root.contains(document.activeElement)) $('info')?.focus(); // it goes
    this.#gauges?.close();
    this.#gauges = this.#gauges ? null : new Gauges({ root: $('screen'), samples: this.#samples, name: this.#name, close: () => this.#info() });
    $('info')?.setAttribute('aria-pressed', !!this.#gauges);
  }

  async #help() {
    const { shortcuts } = await import('./shortcuts.js');
    if (!this.#signal.aborted) shortcuts();
  }

  // escape leaves what was opened last; the browser leaves full screen by itself.
  #escape() {
    if (document.fullscreenElement) return false;
    if (this.#gauges) this.#info();
    else if (this.#theatre?.chosen) this.#theatre.toggle();
    else return false;
  }

  // A click on the picture is for playing and pausing, after a moment in which a second one
  // would make it a double click, which is for full screen. A finger brings the controls.
  #clicks(clicked) {
    const screen = $('screen');
    let waiting = 0, done = -Infinity, finger = false, shown = false;
    const full = () => {
      clearTimeout(waiting);
      waiting = 0;
      this.#full();
    };
    this.#on(screen, 'pointerdown', (e) => {
      finger = e.pointerType === 'touch';
      shown = screen.classList.contains('awake');
    });
    this.#on(screen, 'mousedown', (e) => { if (e.detail > 1) e.preventDefault(); }); // which selects words
    this.#on(screen, 'click', (e) => {
      if (e.target.closest('button, a, input, .controls, .gauges')) return;
      if (!e.detail) return clicked(); // by a program
      if (finger) return shown ? this.#sleep() : this.#wake();
      if (waiting) return full();
      waiting = setTimeout(() => {
        waiting = 0;
        done = performance.now();
        if (!this.#signal.aborted) clicked();
      }, twice);
    });
    this.#on(screen, 'dblclick', () => {
      if (!waiting) return; // it was a quick one
      if (performance.now() - done < slowly) clicked(); // what its first click did is undone
      full();
    });
  }

  // Controls show while the pointer moves, or the keyboard is in them.
  #wakes() {
    const wake = (e) => {
      if (e.pointerType !== 'touch' || e.target.closest('.controls')) this.#wake();
    };
    for (const type of ['pointermove', 'pointerdown', 'focusin', 'keydown']) this.#on($('screen'), type, wake);
    this.#wake();
  }

  #wake() {
    $('screen').classList.add('awake');
    clearTimeout(this.#hide);
    this.#hide = setTimeout(() => this.#sleep(), awake);
  }

  #sleep() {
    $('screen').classList.remove('awake');
  }
}

// label names a button by what it does, and tells its key.
function label(button, words, key) {
  button?.setAttribute('aria-label', words);
  if (button) button.title = `${words} (${key})`;
}
