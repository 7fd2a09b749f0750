// The list of streams, one card each.

import { el, text, show, copyable, $ } from './dom.js';
import { page, watching, obs, ffmpeg } from './addresses.js';
import * as say from './format.js';

export class List {
  #cards = new Map(); // by key

  constructor() {
    const [server, key] = obs('live/demo');
    $('how').append(
      el('section', {}, el('h2', {}, 'OBS Studio'),
        el('p', {}, 'Settings → Stream → Service: Custom'),
        copyable('Server', server[1]), copyable('Stream key', key[1])),
      el('section', {}, el('h2', {}, 'ffmpeg'),
        el('p', {}, 'Any video file, as if it were live'),
        copyable('Command', ffmpeg('live/demo')[0][1])),
    );
  }

  // update takes the server's streams; isPrivate, that it shows none.
  update(streams, isPrivate) {
    show($('empty'), streams.length === 0 && !isPrivate);
    show($('private'), isPrivate);
    show($('some'), streams.length > 0);
    const gone = new Set(this.#cards.keys());
    let place = $('streams').firstElementChild;
    for (const stream of streams) {
      gone.delete(stream.key);
      let card = this.#cards.get(stream.key);
      if (!card) this.#cards.set(stream.key, card = new Card(stream.key));
      card.update(stream);
      // Moved only when out of place: moving loses the focus.
      if (card.root === place) place = place.nextElementSibling;
      else $('streams').insertBefore(card.root, place);
    }
    for (const key of gone) {
      this.#cards.get(key).root.remove();
      this.#cards.delete(key);
    }
    const live = streams.filter((s) => s.state === 'live').length;
    const viewers = streams.reduce((n, s) => n + s.viewers.total, 0);
    text($('summary'), streams.length ? `${live} live, ${say.count(viewers, 'viewer')}` : '');
  }
}

class Card {
  constructor(key) {
    this.state = el('span', { class: 'pill' });
    this.picture = el('span');
    this.video = el('span', { class: 'chip' });
    this.audio = el('span', { class: 'chip' });
    this.protocol = el('span', { class: 'chip' });
    this.bitrate = el('dd');
    this.viewers = el('dd');
    this.uptime = el('dd');
    const more = el('details', { class: 'more' }, el('summary', {}, 'Addresses'));
    more.addEventListener('toggle', () => {
      if (!more.open || more.children.length > 1) return;
      more.append(el('div', { class: 'lines' },
        ...[...watching(key), ...obs(key)].map(([label, value]) => copyable(label, value))));
    });
    this.root = el('li', { class: 'card' },
      el('div', { class: 'head' },
        el('h2', {}, el('a', { href: page(key), 'data-link': true }, key)), this.state),
      el('p', { class: 'chips' }, this.protocol, this.video, this.picture, this.audio),
      el('dl', { class: 'numbers' },
        el('div', {}, el('dt', {}, 'Bitrate'), this.bitrate),
        el('div', {}, el('dt', {}, 'Viewers'), this.viewers),
        el('div', {}, el('dt', {}, 'Uptime'), this.uptime)),
      more);
    this.picture.className = 'chip';
  }

  update(stream) {
    this.root.dataset.state = stream.state;
    text(this.state, say.state(stream));
    this.state.dataset.state = stream.state;
    this.#chip(this.protocol, say.protocol(stream.protocol || ''));
    this.#chip(this.video, say.videoCodec(stream.video));
    this.#chip(this.picture, say.size(stream.video));
    this.#chip(this.audio, say.audioCodec(stream.audio));
    text(this.bitrate, say.bits(stream.bitrate));
    text(this.viewers, String(stream.viewers.total));
    this.viewers.title = say.viewers(stream.viewers);
    text(this.uptime, say.duration(stream.uptime_ms));
  }

  #chip(chip, words) {
    text(chip, words);
    show(chip, words !== '');
  }
}
