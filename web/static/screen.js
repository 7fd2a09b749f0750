// The screen: the overlay over the picture, its controls and its keys. They are the same
// for a live stream and for a recording.

import { $, text, show, icon } from './dom.js';

const awake = 2500; // for so long after the pointer moved, the controls show, ms

export class Screen {
  #signal;
  #video = $('video');
  #audible = () => false;

  // signal ends all listeners. toggle plays and pauses. move(by) goes so many seconds on
  // or back, -Infinity to the begin and Infinity to the end, and reports whether it can.
  // audible says whether there is sound that could be heard.
  constructor({ signal, toggle, move, audible }) {
    this.#signal = signal;
    this.#audible = audible;
    const video = this.#video, on = (...args) => this.on(...args);
    video.closest('.screen').style.aspectRatio = '';
    on($('pause'), 'click', toggle);
    on($('mute'), 'click', () => this.#mute(!video.muted));
    on($('unmute'), 'click', () => this.#mute(false));
    on($('volume'), 'input', (e) => {
      video.volume = Number(e.target.value);
      video.muted = video.volume === 0;
    });
    on(video, 'volumechange', () => this.sound());
    for (const picture of [video, $('overlay')]) { // a pause lays the overlay over the video
      on(picture, 'click', (e) => { if (e.pointerType !== 'touch' && e.target === picture) toggle(); });
      on(picture, 'dblclick', (e) => { if (e.target === picture) this.#full(); });
    }
    on(video, 'resize', () => { // of the picture
      if (video.videoWidth) $('screen').style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
    });
    on($('full'), 'click', () => this.#full());
    on(document, 'keydown', (e) => this.#key(e, toggle, move));
    this.#wake();
  }

  on(target, type, f) {
    target.addEventListener(type, f, { signal: this.#signal });
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
  }

  // paused shows on the button what it would do.
  paused(paused) {
    icon($('pause'), paused ? 'play' : 'pause');
    $('pause').setAttribute('aria-label', paused ? 'Play' : 'Pause');
  }

  sound() {
    const video = this.#video, silent = video.muted || video.volume === 0;
    show($('unmute'), silent && this.#audible());
    icon($('mute'), silent ? 'muted' : 'sound');
    $('mute').setAttribute('aria-label', silent ? 'Sound on' : 'Sound off');
    $('volume').value = video.muted ? 0 : video.volume;
  }

  close() {
    if (document.fullscreenElement) document.exitFullscreen();
  }

  #mute(muted) {
    const video = this.#video;
    video.muted = muted;
    if (!muted && video.volume === 0) video.volume = 1;
  }

  #full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if ($('screen').requestFullscreen) $('screen').requestFullscreen().catch(() => {});
    else this.#video.webkitEnterFullscreen?.(); // iPhone
  }

  #key(e, toggle, move) {
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey || !this.#free(e)) return;
    const by = {
      ArrowLeft: -5, ArrowRight: 5, j: -10, l: 10, Home: -Infinity, End: Infinity,
    }[e.key];
    if (by !== undefined) {
      if (move(by)) e.preventDefault();
      return;
    }
    const act = { ' ': toggle, k: toggle, m: () => this.#mute(!this.#video.muted), f: () => this.#full() }[e.key];
    if (act) { e.preventDefault(); act(); }
  }

  // free reports whether what has the focus leaves a key to the screen.
  #free({ key, target }) {
    if (target === $('seek')) return true; // it moves by the same steps
    if (target.closest('input')) return false;
    if (target.closest('button, a, summary')) return key !== ' ';
    return !target.closest('code') || !/^(Arrow|Home|End)/.test(key); // which scroll a long line
  }

  // Controls show while the pointer moves, or the keyboard is in them.
  #wake() {
    let hide;
    const wake = () => {
      $('screen').classList.add('awake');
      clearTimeout(hide);
      hide = setTimeout(() => $('screen').classList.remove('awake'), awake);
    };
    for (const type of ['pointermove', 'pointerdown', 'focusin', 'keydown']) this.on($('screen'), type, wake);
    wake();
  }
}
