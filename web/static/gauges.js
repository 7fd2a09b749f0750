// Figures over the picture: how it plays now, with graphs of the last minute.

import { el, text, show, copy } from './dom.js';
import * as say from './format.js';

const width = 120, height = 20; // of a graph, one unit for a sample
const none = '–';

// What is told: its name, how a sample says it, and what the graph is of, with the lowest
// top of its scale. Of what a sample knows nothing, nothing is shown.
const lines = [
  { label: 'Picture', words: (s) => (s.width > 0 ? `${s.width}×${s.height}` : none) },
  { label: 'Frame rate', words: (s) => `${s.fps.toFixed(1)} fps`, of: 'fps', least: 10 },
  { label: 'Bitrate', words: (s) => say.bits(s.bitrate), of: 'bitrate', least: 1e5 },
  { label: 'Behind live', words: (s) => `${s.lag.toFixed(2)} s`, of: 'lag', least: 1 },
  { label: 'Buffer', words: (s) => `${s.buffered.toFixed(2)} s`, of: 'buffered', least: 1 },
  { label: 'Dropped', words: (s) => `${s.dropped} of ${s.decoded}`, of: 'dropped', least: 5, grows: true },
  { label: 'Stalls', words: (s) => String(s.stalls), of: 'stalls', least: 1, grows: true },
  { label: 'Reconnects', words: (s) => String(s.reconnects), of: 'reconnects', least: 1, grows: true },
];

export class Gauges {
  #samples; #name;
  #lines;

  // samples are filled by who made them; show draws them. name is what is watched. close is
  // called by the button for that.
  constructor({ root, samples, name, close }) {
    this.#samples = samples;
    this.#name = name;
    this.#lines = lines.map((line) => {
      const value = el('dd'), plot = graph();
      const row = el('div', {}, el('dt', {}, line.label), value, el('dd', { class: 'plot', 'aria-hidden': 'true' }, plot.picture));
      return { ...line, value, row, draw: plot.draw };
    });
    const copied = el('button', { type: 'button' }, 'Copy');
    const list = el('dl', {}, ...this.#lines.map(({ row }) => row));
    copied.addEventListener('click', async () => {
      text(copied, await copy(this.words, list) ? 'Copied' : 'Press Ctrl+C');
    });
    const shut = el('button', { type: 'button', 'aria-label': 'Close the figures', title: 'Close (i)' }, '✕');
    shut.addEventListener('click', close);
    this.root = el('section', { class: 'gauges', 'aria-label': 'Figures of the last minute' },
      list, el('div', { class: 'row' }, copied, shut));
    root.append(this.root);
    this.show();
  }

  // show draws the newest.
  show() {
    const last = this.#samples.at(-1);
    for (const { row, value, of = 'width', words, draw, least, grows } of this.#lines) {
      const known = Number.isFinite(last?.[of]);
      show(row, known);
      if (!known) continue;
      text(value, words(last));
      if (least) draw(values(this.#samples, of, grows), least);
    }
  }

  // words tells all of it as text, with what was lowest and highest.
  get words() {
    const last = this.#samples.at(-1);
    const told = this.#lines.filter(({ of = 'width' }) => Number.isFinite(last?.[of])).map(({ label, words, of, grows }) => {
      const all = of && !grows ? values(this.#samples, of).filter(Number.isFinite) : [];
      const range = all.length ? ` (${words({ ...last, [of]: Math.min(...all) })} to ${words({ ...last, [of]: Math.max(...all) })})` : '';
      return `${label}: ${words(last)}${range}`;
    });
    return [this.#name, new Date().toISOString(), ...told, navigator.userAgent].join('\n');
  }

  close() {
    this.root.remove();
  }
}

// values are those of one kind, oldest first; of what grows, by how much it did.
function values(samples, of, grows = false) {
  return samples.map((s, i) => (grows ? Math.max(0, s[of] - (samples[i - 1] ?? s)[of]) : s[of]));
}

// graph makes an empty one. draw draws values, the newest at the right end.
function graph() {
  const svg = (name, attributes) => {
    const e = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    return e;
  };
  const picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none' });
  const line = svg('path', { d: '' });
  picture.append(line);
  const draw = (all, least) => {
    const top = Math.max(least, ...all.filter(Number.isFinite));
    let d = '', pen = 'M';
    all.forEach((v, i) => {
      if (!Number.isFinite(v)) { pen = 'M'; return; }
      d += `${pen}${width - all.length + i} ${(height - 1 - Math.max(0, v) / top * (height - 2)).toFixed(1)}`;
      pen = 'L';
    });
    line.setAttribute('d', d);
  };
  return { picture, draw };
}
