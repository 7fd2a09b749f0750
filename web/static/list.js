// The list of streams: filtered, sorted, and shown as cards or as a table, all of which stands
// in the page's address.

import { $, copyable, el, show, text } from './dom.js';
import { ffmpeg, obs } from './addresses.js';
import { Card, Row } from './card.js';
import { keep, recall } from './prefs.js';
import { Stills, thrifty } from './stills.js';
import * as say from './format.js';

const looks = ['pictures', 'cards', 'table'];
const hold = 4000;  // so long an order by figures that change stays as it is, ms
const pause = 400;  // in typing, until the address has the filter, ms
const many = 9;     // streams, beyond which cards are small

// How streams are sorted; "-" before the name turns it around. Equal ones are sorted by name.
const collator = new Intl.Collator(undefined, { numeric: true });
const orders = {
  name: () => 0,
  viewers: (a, b) => b.viewers.total - a.viewers.total,
  bitrate: (a, b) => b.bitrate - a.bitrate,
  since: (a, b) => a.uptime_ms - b.uptime_ms,
};
const turned = { name: 'By name, backwards', viewers: 'Fewest viewers', bitrate: 'Lowest bitrate', since: 'Oldest' };
const steady = (sort) => ['name', 'since'].includes(sort.replace('-', ''));

export class List {
  #streams = [];
  #items = new Map();   // by key, shown or filtered out
  #shown = [];          // keys, in order
  #sortedAt = -Infinity;
  #look = ''; #sort = 'name'; #filter = '';
  #stills = null;
  #picker = null;      // while streams are chosen for a wall
  #typing = 0;          // timer
  #wanted = null;       // key of the stream that is to have the focus

  constructor() {
    $('how')?.append(
      el('section', {}, el('h2', {}, 'OBS Studio'),
        el('p', {}, 'Settings → Stream → Service: Custom'),
        ...obs('live/demo', 'Server', 'Stream key').map((line) => copyable(...line))),
      el('section', {}, el('h2', {}, 'ffmpeg'),
        el('p', {}, 'Any video file, as if it were live'),
        ...ffmpeg('live/demo', 'Command').map((line) => copyable(...line))),
    );
    $('filter').addEventListener('input', () => {
      this.#filter = $('filter').value;
      this.#arrange(true);
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.flush(), pause);
    });
    $('filter').addEventListener('keydown', (e) => { // with one stream left, it is that one
      if (e.key === 'Enter' && this.#shown.length === 1) this.#items.get(this.#shown[0]).link.click();
    });
    $('sort').addEventListener('change', () => this.#choose({ sort: $('sort').value }));
    for (const button of $('rows').tHead.querySelectorAll('button')) {
      const by = button.value;
      button.addEventListener('click', () => this.#choose({ sort: this.#sort === by ? '-' + by : by }));
    }
    for (const radio of document.querySelectorAll('input[name=look]')) {
      radio.addEventListener('change', () => {
        keep('look', radio.value);
        this.#choose({ look: radio.value });
      });
    }
    $('choose').addEventListener('click', async () => {
      const { Picker } = await import('./picker.js');
      if (this.#picker) return this.#picker.close();
      this.#picker = new Picker(() => { this.#picker = null; });
      for (const item of this.#items.values()) this.#picker.dress(item);
    });
  }

  // open shows what the page's address asks for.
  open(search) {
    const query = new URLSearchParams(search);
    const sort = query.get('sort') ?? 'name', look = query.get('look');
    this.#filter = (query.get('q') ?? '').slice(0, 250);
    this.#sort = Object.hasOwn(orders, sort.replace(/^-/, '')) ? sort : 'name';
    const chosen = looks.includes(look) ? look : recall('look', thrifty() ? 'cards' : 'pictures', looks);
    if (chosen !== this.#look) this.#dress(chosen);
    this.#arrange(true);
  }

  // close ends what is under way; what is shown stays for the way back, and costs nothing
  // while it is hidden.
  close() {
    clearTimeout(this.#typing);
    this.#picker?.close();
  }

  // flush brings the address up to date, before it is left.
  flush() {
    clearTimeout(this.#typing);
    const query = new URLSearchParams(location.search);
    const set = (name, value) => (value ? query.set(name, value) : query.delete(name));
    // What looks like an address may hold a permission, which the history need not have.
    set('q', /[?=]|:\/\//.test(this.#filter) ? '' : this.#filter);
    set('sort', this.#sort === 'name' ? '' : this.#sort);
    set('look', this.#look === 'pictures' && !query.has('look') ? '' : this.#look);
    const search = query.size ? `?${query}` : '';
    if (search !== location.search) history.replaceState(history.state, '', '/' + search);
  }

  // focus goes to a stream, now or as soon as it is there; without it, to the heading.
  focus(key) {
    this.#wanted = key;
    const link = this.#shown.includes(key) && this.#items.get(key).link;
    if (link) this.#wanted = null;
    (link || document.querySelector('#list > section:not([hidden]) > h1') || $('list')).focus({ preventScroll: !link });
  }

  // update takes the server's streams; isPrivate, that it shows none.
  update(streams, isPrivate) {
    const some = streams.length > 0;
    show($('empty'), !some && !isPrivate);
    show($('private'), isPrivate);
    show($('some'), some);
    show($('publishing'), some && !!$('how'));
    show($('tools'), streams.length > 1 || this.#filter !== '');
    const help = $(some ? 'publishing' : 'empty');
    if ($('how-to').parentElement !== help) help.append($('how-to'));
    $('streams').classList.toggle('many', streams.length > many);

    this.#streams = streams;
    delete $('some').dataset.stale;
    const gone = new Set(this.#items.keys());
    for (const stream of streams) {
      gone.delete(stream.key);
      let item = this.#items.get(stream.key);
      if (!item) {
        item = this.#look === 'table' ? new Row(stream.key) : new Card(stream.key, this.#stills);
        this.#items.set(stream.key, item);
        this.#picker?.dress(item);
      }
      item.update(stream);
    }
    for (const key of gone) this.#drop(key);
    this.#arrange(false);
    const live = streams.filter((s) => s.state === 'live').length;
    const viewers = streams.reduce((n, s) => n + s.viewers.total, 0);
    text($('summary'), some ? `${live} live, ${say.count(viewers, 'viewer')}` : '');
    const { activeElement } = document;
    if (this.#wanted && activeElement?.matches('body, #list, #list h1')) this.focus(this.#wanted);
    this.#wanted = null;
  }

  // stale tells that the server does not answer: what is shown is what it said last.
  stale() {
    if (!this.#streams.length) return;
    $('some').dataset.stale = '';
    for (const item of this.#items.values()) item.stale();
    text($('summary'), 'Not current');
  }

  #choose({ sort = this.#sort, look = this.#look }) {
    this.#sort = sort;
    if (look !== this.#look) this.#dress(look);
    this.#arrange(true);
    this.flush();
  }

  // dress makes the items anew, for another look.
  #dress(look) {
    for (const key of [...this.#items.keys()]) this.#drop(key);
    this.#stills?.close();
    this.#stills = look === 'pictures' ? new Stills() : null;
    this.#look = look;
    show($('streams'), look !== 'table');
    show($('rows'), look === 'table');
    $('streams').classList.toggle('pictured', look === 'pictures');
    if (this.#streams.length) this.update(this.#streams, false);
  }

  #drop(key) {
    const item = this.#items.get(key);
    item.close();
    item.root.remove();
    this.#items.delete(key);
    this.#picker?.forget(key);
  }

  // arrange shows what the filter lets through, in order. What changes every second is sorted
  // anew only now and then, or when somebody asked for it: nobody clicks on what jumps about.
  #arrange(asked) {
    const now = performance.now();
    const words = this.#filter.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = this.#streams.filter((s) => words.every((word) => described(s).includes(word)));
    const place = new Map(this.#shown.map((key, i) => [key, i]));
    const held = !asked && !steady(this.#sort) && now - this.#sortedAt < hold;
    const sign = this.#sort.startsWith('-') ? -1 : 1, order = orders[this.#sort.replace('-', '')];
    wanted.sort((a, b) => (held ? (place.get(a.key) ?? Infinity) - (place.get(b.key) ?? Infinity) : 0)
      || sign * (order(a, b) || collator.compare(a.key, b.key)));
    if (!held) this.#sortedAt = now;
    this.#shown = wanted.map((s) => s.key);
    this.#lay();
    this.#say(words.length > 0);
  }

  // lay puts the items where they belong. They are moved only when out of place, and the one
  // that has the focus keeps it.
  #lay() {
    const parent = this.#look === 'table' ? $('rows').tBodies[0] : $('streams');
    const { activeElement } = document, inside = parent.contains(activeElement);
    const shown = new Set(this.#shown);
    for (const [key, { root }] of this.#items) if (!shown.has(key)) root.remove();
    let place = parent.firstElementChild;
    for (const key of this.#shown) {
      const { root } = this.#items.get(key);
      if (root === place) place = place.nextElementSibling;
      else parent.insertBefore(root, place);
    }
    if (inside && activeElement.isConnected && document.activeElement !== activeElement) activeElement.focus({ preventScroll: true });
  }

  #say(filtered) {
    if ($('filter').value !== this.#filter) $('filter').value = this.#filter;
    const by = this.#sort.replace('-', '');
    const sort = $('sort'), more = sort.querySelector('[value^="-"]'); // turned around, it is a choice more
    if (more && more.value !== this.#sort) more.remove();
    if (by !== this.#sort && more?.value !== this.#sort) sort.append(el('option', { value: this.#sort }, turned[by]));
    if (sort.value !== this.#sort) sort.value = this.#sort;
    for (const button of $('rows').tHead.querySelectorAll('button')) {
      const way = button.value !== by ? null : (by === 'name') === this.#sort.startsWith('-') ? 'descending' : 'ascending';
      if (way) button.closest('th').setAttribute('aria-sort', way);
      else button.closest('th').removeAttribute('aria-sort');
    }
    for (const radio of document.querySelectorAll('input[name=look]')) radio.checked = radio.value === this.#look;
    text($('matches'), !filtered ? '' : this.#shown.length ? `${this.#shown.length} of ${this.#streams.length}`
      : `None of the ${this.#streams.length} streams matches.`);
  }
}

// described is what of a stream is searched.
function described(s) {
  return [s.key, say.state(s), s.protocol, say.videoCodec(s.video), say.size(s.video), say.audioCodec(s.audio),
    s.video ? '' : 'sound only'].join('\n').toLowerCase();
}
