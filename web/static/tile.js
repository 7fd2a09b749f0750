// One stream of a wall: its picture, its state in words, and what can be done with it.

import { el, text, show, icon, symbol } from './dom.js';
import { page, permitted } from './addresses.js';
import { Player } from './player.js';
import { detail, headline, pill, standing } from './states.js';
import * as say from './format.js';

export class Tile {
  player = null;
  #known = null; #stream = null; #problem = ''; #changed;

  // changed is called when its state has; act is called with 'sound' or 'remove' when
  // somebody asks for that, and 'full' for the whole screen.
  constructor(key, { changed, act }) {
    this.key = key;
    this.#changed = changed;
    this.video = el('video', { playsinline: true, tabindex: '-1' });
    this.video.muted = true;
    this.still = el('canvas', { class: 'frozen', hidden: true });
    this.headline = el('p', { class: 'headline' });
    this.detail = el('p', { class: 'detail' });
    this.soundOnly = el('p', { class: 'sound-only', hidden: true }, symbol('sound'), ' Sound only');
    this.again = el('button', { type: 'button', class: 'primary', hidden: true }, 'Try again');
    this.overlay = el('div', { class: 'overlay' }, el('span', { class: 'spinner', 'aria-hidden': 'true' }),
      this.headline, this.detail, this.again);
    this.number = el('span', { class: 'tile-number', 'aria-hidden': 'true' });
    this.name = el('a', { class: 'tile-name', href: page(key), 'data-link': true, title: key }, el('bdi', {}, key));
    this.state = el('span', { class: 'tile-state' });
    this.remove = el('button', { type: 'button', class: 'tile-remove', 'aria-label': `Remove ${key}`, title: 'Remove (Delete)' }, '×');
    // All of the picture is the button for its sound.
    this.sound = el('button', { type: 'button', class: 'tile-sound', 'aria-pressed': 'false', 'aria-label': `Sound of ${key}` });
    this.mark = el('span', { class: 'tile-mark', 'aria-hidden': 'true' }, symbol('muted'));
    this.root = el('li', { class: 'tile' }, this.video, this.still, this.soundOnly, this.overlay, this.sound,
      el('div', { class: 'tile-bar' }, this.number, this.name, this.state, this.mark, this.remove));
    this.sound.addEventListener('click', (e) => { if (e.detail < 2) act('sound'); });
    this.sound.addEventListener('dblclick', () => act('full'));
    this.remove.addEventListener('click', () => act('remove'));
    this.again.addEventListener('click', () => this.play());
    this.show();
  }

  // begin plays it; problem is why that cannot be, if so.
  begin(problem, wishes, permission) {
    this.#problem = problem;
    if (!problem) {
      this.player = new Player({
        mpegts: window.mpegts, video: this.video, still: this.still, key: this.key, over: 'ws',
        wishes: permitted(wishes, permission), known: this.#known, changed: () => this.show(),
      });
      this.player.start();
    }
    this.show();
  }

  // play goes on after a pause, or tries again.
  play() {
    if (!this.player) return location.reload();
    if (this.condition === 'paused') this.player.togglePause();
    else if (this.condition !== 'playing') this.player.tryNow();
  }

  close() {
    this.player?.stop();
    this.root.remove();
  }

  // heard takes the server's answer about all streams, or null when there is none.
  heard(answer) {
    ({ stream: this.#stream, known: this.#known } = standing(answer, this.key));
    this.player?.heard(this.#known, answer);
    this.show();
  }

  get condition() { return this.player?.state || (this.#problem ? 'failed' : 'connecting'); }

  get audible() { return !this.video.muted; }
  set audible(yes) {
    this.video.muted = !yes;
    if (yes && this.condition === 'paused') this.play();
    this.show();
  }

  show() {
    const { condition: state, player } = this, refusal = player?.refusal;
    this.root.dataset.state = state;
    this.overlay.dataset.state = state;
    show(this.overlay, state !== 'playing');
    text(this.headline, headline(state, refusal));
    text(this.detail, detail(state, player?.reason ?? this.#problem, player?.retryAt));
    show(this.soundOnly, state === 'playing' && player.soundOnly);
    show(this.again, state === 'failed' && !!player && refusal !== 'bad' || state === 'paused');
    text(this.again, state === 'paused' ? 'Play' : 'Try again');
    const size = this.#stream?.video?.height ? `${this.#stream.video.height}p` : '';
    text(this.state, state === 'playing'
      ? player.slow ? pill('slow') : [size, say.seconds(player.lag) + ' behind'].filter(Boolean).join(', ')
      : pill(state, refusal));
    this.root.classList.toggle('audible', this.audible);
    this.sound.setAttribute('aria-pressed', this.audible);
    this.sound.title = this.audible ? 'Turn the sound off' : 'Hear this one';
    icon(this.mark, this.audible ? 'sound' : 'muted');
    this.#changed();
  }
}
