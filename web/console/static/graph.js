// A small graph of one figure over the last minutes: drawn as SVG, told in words for those
// who do not see it.

import { el, text } from './dom.js';
import { time, none } from './words.js';

const width = 300, height = 64; // in units of the picture

const svg = (name, attributes = {}) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  return e;
};

export class Graph {
  #say;
  #label;
  #points = [];
  #step = 0;
  #end = 0;

  // say tells a value in words; least is the lowest top of the scale.
  constructor(label, say, { least = 1 } = {}) {
    this.#say = say;
    this.#label = label;
    this.least = least;
    this.now = el('strong', { class: 'now' }, none);
    this.area = svg('path', { class: 'area' });
    this.line = svg('path', { class: 'line' });
    this.mark = svg('line', { class: 'mark', y1: 0, y2: height });
    this.picture = svg('svg', {
      class: 'plot', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label,
    });
    this.picture.append(this.area, this.line, this.mark);
    this.from = el('span', {});
    this.most = el('span', {});
    this.root = el('figure', { class: 'graph' },
      el('figcaption', {}, el('span', { class: 'label' }, label), this.now),
      this.picture, el('div', { class: 'axis', 'aria-hidden': 'true' }, this.from, this.most));
    this.picture.addEventListener('pointermove', (e) => this.#point(e));
    this.picture.addEventListener('pointerleave', () => this.#leave());
  }

  // update takes the points, oldest first, null where nothing was measured; current overrides
  // the last of them.
  update(points, step, end, current) {
    this.#points = points ?? [];
    this.#step = step;
    this.#end = new Date(end).getTime();
    const known = this.#points.filter((v) => v !== null);
    const last = current ?? this.#points.at(-1) ?? null;
    this.last = last;
    if (!this.pointing) text(this.now, last === null ? none : this.#say(last));
    // What is below 0, the picture late after the sound, is as far from it as what is above.
    const most = known.reduce((of, v) => (Math.abs(v) > Math.abs(of) ? v : of), 0);
    const top = Math.max(this.least, Math.abs(most));
    const path = this.#path(top);
    set(this.line, 'd', path.line);
    set(this.area, 'd', path.area);
    const minutes = Math.round(this.#points.length * step / 60000);
    text(this.from, known.length ? `${minutes} min` : 'nothing measured yet');
    text(this.most, known.length ? 'max ' + this.#say(most) : '');
    set(this.picture, 'aria-label', known.length
      ? `${this.#label} over the last ${minutes} minutes: now ${last === null ? 'unknown' : this.#say(last)}, highest ${this.#say(Math.max(...known))}, lowest ${this.#say(Math.min(...known))}`
      : `${this.#label}: nothing measured yet`);
  }

  #x(i) {
    return this.#points.length < 2 ? width : i * width / (this.#points.length - 1);
  }

  #path(top) {
    let line = '', area = '', from = null;
    const y = (v) => (height - 2 - Math.abs(v) / top * (height - 6)).toFixed(1);
    const close = (i) => {
      if (from !== null) area += `L${this.#x(i).toFixed(1)} ${height}L${this.#x(from).toFixed(1)} ${height}Z`;
      if (from === i) line += 'h1'; // one point alone
      from = null;
    };
    this.#points.forEach((v, i) => {
      if (v === null) {
        close(i - 1);
        return;
      }
      const to = `${from === null ? 'M' : 'L'}${this.#x(i).toFixed(1)} ${y(v)}`;
      from ??= i;
      line += to;
      area += to;
    });
    close(this.#points.length - 1);
    return { line, area };
  }

  // #point tells the value where the pointer is.
  #point(e) {
    const box = this.picture.getBoundingClientRect();
    const i = Math.round((e.clientX - box.left) / box.width * (this.#points.length - 1));
    const v = this.#points[i];
    this.pointing = v !== undefined;
    if (!this.pointing) return;
    const at = this.#end - (this.#points.length - 1 - i) * this.#step;
    text(this.now, `${v === null ? none : this.#say(v)} at ${time(at)}`);
    set(this.mark, 'x1', this.#x(i));
    set(this.mark, 'x2', this.#x(i));
    this.mark.classList.add('on');
  }

  #leave() {
    this.pointing = false;
    this.mark.classList.remove('on');
    text(this.now, this.last === null || this.last === undefined ? none : this.#say(this.last));
  }
}

function set(e, name, value) {
  if (e.getAttribute(name) !== String(value)) e.setAttribute(name, value);
}
