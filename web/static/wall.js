// Several streams side by side, without sound but for one: /?wall=APP/NAME&wall=APP/NAME

import { $, el, text, show } from './dom.js';
import { origin, permission, permitted, wallMost, wallPage, wishes } from './addresses.js';
import { load } from './library.js';
import { recall } from './prefs.js';
import { sheet } from './sheet.js';
import { Tile } from './tile.js';

const ratio = 16 / 9;
const gap = 6;           // between two pictures, px, as in wall.css
const looks = 500;       // between two looks at the figures, ms

export class Wall {
  #keys; #permissionFor; #changed;
  #tiles = [];
  #problem = null;       // why nothing can be played; null until that is known
  #columns = 1;
  #last = null;          // the server's last answer
  #shown = new Map();    // permissions that came with what was pasted, by stream
  #heard = '';           // who had the sound last
  #clock = 0;
  #quiet = new AbortController(); // ends all listeners
  #sizes = new ResizeObserver(() => this.#layout());

  // keys are the streams to show. permissionFor returns what the address shows so that a
  // stream may be watched; changed is called with the state of the wall.
  constructor(keys, { permissionFor, changed = () => {} }) {
    this.#keys = keys;
    this.#permissionFor = permissionFor;
    this.#changed = changed;
  }

  async open() {
    document.title = 'Wall · Sluice';
    const asked = this.#keys.length;
    this.#note(asked > wallMost ? `A wall has room for ${wallMost} streams: the first of ${asked} are shown.` : '');
    this.#listen();
    await sheet('wall.css');
    if (this.#quiet.signal.aborted) return;
    for (const key of this.#keys.slice(0, wallMost)) this.#add(key);
    this.#sizes.observe($('tiles'));
    this.#clock = setInterval(() => { for (const tile of this.#tiles) tile.show(); }, looks);
    this.#arranged();
    const problem = await load();
    if (this.#quiet.signal.aborted) return;
    this.#problem = problem;
    for (const tile of this.#tiles) this.#begin(tile);
  }

  close() {
    this.#quiet.abort();
    this.#sizes.disconnect();
    clearInterval(this.#clock);
    for (const tile of this.#tiles) tile.close();
    this.#tiles = [];
    $('wall-share').replaceChildren();
    if (document.fullscreenElement) document.exitFullscreen();
  }

  // heard takes the server's answer, or null when there is none.
  heard(answer) {
    this.#last = answer;
    for (const tile of this.#tiles) tile.heard(answer);
    this.#offer();
  }

  get state() {
    const states = this.#tiles.map((tile) => tile.condition);
    if (!states.length) return 'empty';
    for (const state of ['playing', 'buffering', 'connecting', 'reconnecting', 'waiting']) {
      if (states.includes(state)) return state;
    }
    return states[0];
  }

  get reason() { return this.#problem ?? ''; }

  // tiles are the streams in order, for tests.
  get tiles() {
    return this.#tiles.map(({ key, condition, audible, video, player }) => ({
      key, state: condition, audible, time: video.currentTime, over: player?.over ?? '', sessions: player?.figures.sessions ?? 0,
    }));
  }

  #add(key) {
    const acts = {
      sound: (tile) => this.#listenTo(tile.audible ? null : tile),
      remove: (tile) => this.#remove(tile),
      full: (tile) => full(tile.root),
    };
    const tile = new Tile(key, { act: (what) => acts[what](tile), changed: () => this.#changed(this.state) });
    this.#tiles.push(tile);
    $('tiles').append(tile.root);
    tile.heard(this.#last);
    if (this.#problem !== null) this.#begin(tile);
  }

  #begin(tile) {
    tile.begin(this.#problem, wishes(location.search), this.#shown.get(tile.key) ?? this.#permissionFor(tile.key));
  }

  #remove(tile) {
    const at = this.#tiles.indexOf(tile);
    this.#tiles.splice(at, 1);
    tile.close();
    this.#moved();
    (this.#tiles[at] ?? this.#tiles[at - 1])?.sound.focus();
    if (!this.#tiles.length) $('wall-key').focus();
  }

  // moved notes in the address what the wall shows now, with everything else that is there.
  #moved() {
    const others = [...new URLSearchParams(location.search)].filter(([name]) => name !== 'wall');
    const keys = this.#tiles.length ? this.#tiles.map((tile) => tile.key) : [''];
    const query = new URLSearchParams([...keys.map((key) => ['wall', key]), ...others]);
    history.replaceState(null, '', `/?${query}`.replaceAll('%2F', '/'));
    this.#note('');
    this.#arranged();
  }

  // arranged brings up to date what depends on how many there are.
  #arranged() {
    this.#tiles.forEach((tile, i) => {
      text(tile.number, String(i + 1));
      tile.sound.setAttribute('aria-keyshortcuts', String(i + 1));
    });
    this.#rove(this.#focused ?? this.#tiles[0]);
    if (!this.#tiles.length) this.#note(`Nothing is on this wall. Add two to ${wallMost} streams.`);
    this.#layout();
    this.#offer();
    this.#changed(this.state);
  }

  // layout makes the pictures as large as they all can be.
  #layout() {
    const list = $('tiles'), n = this.#tiles.length, { clientWidth: width, clientHeight: height } = list;
    let best = 0;
    for (let columns = 1; columns <= n; columns++) {
      const rows = Math.ceil(n / columns);
      const across = (width - gap * (columns - 1)) / columns, down = (height - gap * (rows - 1)) / rows;
      const size = Math.floor(Math.min(across, down * ratio));
      if (size <= best) continue;
      best = size;
      this.#columns = columns;
    }
    list.style.setProperty('--width', `${best}px`);
    list.style.setProperty('--height', `${Math.floor(best / ratio)}px`);
  }

  // offer lists what is live and not on the wall yet.
  #offer() {
    const here = new Set(this.#tiles.map((tile) => tile.key));
    const names = (this.#last?.streams ?? []).map((s) => s.key).filter((key) => !here.has(key));
    const list = $('wall-names');
    if (names.join('\n') === [...list.children].map((o) => o.value).join('\n')) return;
    list.replaceChildren(...names.map((value) => el('option', { value })));
  }

  // note says something, and offers streams to add in its place.
  #note(words, suggestions = []) {
    const buttons = suggestions.map(({ key, query, words: name }) => {
      const button = el('button', { type: 'button', dir: 'auto' }, name);
      button.addEventListener('click', () => {
        $('wall-key').value = '';
        this.#take([key], query);
        $('wall-key').focus();
      });
      return button;
    });
    $('wall-note').replaceChildren(words, ...buttons);
    show($('wall-note'), words !== '');
  }

  // listenTo gives one stream its sound, or none of them.
  #listenTo(tile) {
    for (const other of this.#tiles) if (other !== tile && other.audible) other.audible = false;
    if (!tile) return;
    this.#heard = tile.key;
    tile.audible = true;
  }

  #listen() {
    const { signal } = this.#quiet, on = (target, type, f) => target.addEventListener(type, f, { signal });
    on(document, 'keydown', (e) => this.#key(e));
    on($('tiles'), 'focusin', () => this.#rove(this.#focused));
    on($('wall-full'), 'click', () => full($('wall')));
    on($('wall-add'), 'submit', (e) => {
      e.preventDefault();
      this.#ask($('wall-key').value);
    });
    this.#share(signal);
  }

  async #share(signal) {
    const { share } = await import('./share.js');
    if (signal.aborted) return;
    const keys = () => this.#tiles.map((tile) => tile.key), secret = () => permission(location.search);
    share($('wall-share'), {
      signal, title: 'Wall', secret,
      link: () => origin + permitted(wallPage(keys()) + wishes(location.search).replace('?', '&'), secret()),
    });
  }

  // ask adds what somebody has typed or pasted, be it several streams of another wall.
  async #ask(value) {
    const { signal } = this.#quiet, { understand } = await import('./find.js');
    if (signal.aborted) return;
    const found = understand(value, this.#last?.streams ?? []);
    if (found.recording) return this.#note('A wall shows live streams, and no recordings.');
    if (found.error) return this.#note(found.error, found.suggestions);
    if ($('wall-key').value === value) $('wall-key').value = '';
    this.#take(found.wall ?? [found.key], found.query);
  }

  // take adds streams, with what was shown for them.
  #take(keys, query) {
    const here = new Set(this.#tiles.map((tile) => tile.key)), fresh = [...new Set(keys)].filter((key) => !here.has(key));
    const room = fresh.slice(0, wallMost - here.size), shown = permission(query);
    for (const key of room) {
      if (shown) this.#shown.set(key, shown);
      this.#add(key);
    }
    this.#moved();
    if (!fresh.length) this.#note(`${keys[0]} is on the wall.`);
    else if (room.length < fresh.length) this.#note(`The wall is full: ${wallMost} streams are the most. Remove one first.`);
  }

  get #focused() { return this.#tiles.find((tile) => tile.root.contains(document.activeElement)); }

  // rove leaves one tile in the order of the tab key, with all that belongs to it.
  #rove(current) {
    if (!current) return;
    for (const tile of this.#tiles) {
      for (const part of [tile.sound, tile.name, tile.remove]) part.tabIndex = tile === current ? 0 : -1;
    }
  }

  #key(e) {
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey || e.target.closest('input, dialog')) return;
    if (e.key.length === 1 && recall('keys', 'on') === 'off') return; // as on the page of one stream
    const tile = this.#focused, at = this.#tiles.indexOf(tile), all = this.#tiles;
    const step = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns, Home: -at, End: all.length - 1 - at,
    }[e.key];
    if (step !== undefined) {
      const next = tile ? all[at + step] : all[0];
      if (next) next.sound.focus();
    } else if (/^[1-9]$/.test(e.key) && all[e.key - 1]) {
      all[e.key - 1].sound.focus();
      all[e.key - 1].sound.click();
    } else if (e.key === 'm') {
      this.#listenTo(all.some((t) => t.audible) ? null : all.find((t) => t.key === this.#heard) ?? tile ?? all[0]);
    } else if (e.key === 'f') {
      full($('wall'));
    } else if ((e.key === 'Delete' || e.key === 'Backspace') && tile) {
      this.#remove(tile);
    } else {
      return;
    }
    e.preventDefault();
  }
}

// full makes something fill the screen, or ends that.
function full(element) {
  if (document.fullscreenElement) document.exitFullscreen();
  else element.requestFullscreen?.().catch(() => {});
}
