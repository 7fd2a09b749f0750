// One stream in the list: as a card, with its picture or without, or as the row of a table.

import { copyables, el, show, text } from './dom.js';
import { obs, page, split, watching } from './addresses.js';
import * as say from './format.js';

// link leads to a stream. The name is what counts: what stands before it is pale, and of a long
// one the title has the whole.
function link(key) {
  const { app, name } = split(key);
  return el('a', { href: page(key), title: key, dir: 'auto', 'data-link': true }, el('span', { class: 'app' }, app + '/'), name);
}

// put sets a text that may be cut off, and hides it when there is none.
function put(e, words) {
  if (e.textContent === words) return;
  e.textContent = e.title = words;
  show(e, words !== '');
}

// Item is what cards and rows have in common.
class Item {
  state = el('span', { class: 'pill' });
  bitrate; viewers; uptime;

  constructor(key, root, cell) {
    this.key = key;
    this.root = root;
    this.link = link(key);
    [this.bitrate, this.viewers, this.uptime] = ['Bitrate', 'Viewers', 'Live for'].map((title) => el(cell, { title }));
  }

  update(stream) {
    this.root.dataset.state = this.state.dataset.state = stream.state;
    text(this.state, say.state(stream));
    text(this.bitrate, say.bits(stream.bitrate));
    text(this.uptime, say.duration(stream.uptime_ms));
    this.viewers.title = `Viewers: ${say.viewers(stream.viewers)}`;
  }

  // stale says that nobody knows any more how the stream is.
  stale() {
    this.state.dataset.state = this.root.dataset.state = 'unknown';
    text(this.state, 'Unknown');
  }

  close() {}
}

// Publishers come over RTMP; only another protocol is worth a word.
const unusual = (protocol) => (protocol && protocol !== 'rtmp' ? say.protocol(protocol) : '');

export class Card extends Item {
  #stills; #canvas;

  // stills draws the picture; without it there is none.
  constructor(key, stills) {
    super(key, el('li', { class: 'card' }), 'span');
    this.#stills = stills;
    this.formats = el('p', { class: 'formats' });
    if (stills) {
      this.#canvas = el('canvas', { width: 0, height: 0 });
      this.blank = el('span', { class: 'blank' });
      this.root.append(el('div', { class: 'picture', 'aria-hidden': 'true' }, this.blank, this.#canvas));
    }
    const more = el('details', { class: 'more' }, el('summary', {}, 'Addresses'));
    more.addEventListener('toggle', () => {
      if (!more.open || more.children.length > 1) return;
      const lines = copyables(`Addresses of ${key}`, [...watching(key), ...obs(key)]);
      lines.className = 'lines';
      more.append(lines);
    });
    this.root.append(
      el('div', { class: 'head' }, el('h2', {}, this.link), this.state),
      this.formats,
      el('p', { class: 'facts' }, this.bitrate, this.viewers, this.uptime),
      more);
  }

  update(stream) {
    super.update(stream);
    text(this.viewers, say.count(stream.viewers.total, 'viewer'));
    put(this.formats, [unusual(stream.protocol), say.videoCodec(stream.video), say.size(stream.video), say.audioCodec(stream.audio)]
      .filter(Boolean).join(' · '));
    if (!this.#stills) return;
    text(this.blank, !stream.video && stream.audio ? 'Sound only' : '');
    if (stream.video) this.#stills.watch(this.root, this.key, this.#canvas);
  }

  close() {
    this.#stills?.forget(this.root);
  }
}

export class Row extends Item {
  constructor(key) {
    super(key, el('tr'), 'td');
    this.video = el('td', { class: 'wide' });
    this.audio = el('td', { class: 'wide' });
    this.root.append(el('th', { scope: 'row' }, this.link), el('td', {}, this.state), this.video, this.audio,
      this.bitrate, this.viewers, this.uptime);
  }

  update(stream) {
    super.update(stream);
    text(this.viewers, String(stream.viewers.total));
    text(this.video, [unusual(stream.protocol), say.videoCodec(stream.video), say.size(stream.video)].filter(Boolean).join(', ') || '–');
    text(this.audio, say.audioCodec(stream.audio) || '–');
  }
}
