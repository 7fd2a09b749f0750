// What a visitor chooses of how a stream is played: the delay, over what, which track.

import { el, show, text } from './dom.js';
import { forget, keep, recall } from './prefs.js';
import * as say from './format.js';

const modes = [
  ['low', 'Lowest delay', 'At the live edge, with half a second in store'],
  ['smooth', 'Smooth', 'A little later, so that it stalls less on a network that hesitates'],
];
const ways = [['ws', 'WebSocket'], ['http', 'HTTP']];
const parts = [['', 'Picture and sound'], ['1', 'Sound only']];

export class Choices {
  #player; #signal;
  #chosen;   // {mode, over}
  #groups = {};
  #track = el('select', { 'aria-label': 'Track' });
  #tracks;
  #options = ''; // those there are
  #note = el('p', { class: 'hint', role: 'status', hidden: true },
    'HTTP did not get through: a browser opens six connections to one server, and other tabs may have them. It plays over WebSocket now.');

  // player returns the player, if there is one yet.
  constructor({ root, signal, player }) {
    this.#player = player;
    this.#signal = signal;
    // What is asked for in the address holds for this visit. Over what is never remembered:
    // six tabs over HTTP would leave a seventh without a connection.
    forget('over');
    const asked = new URLSearchParams(location.search);
    this.#chosen = {
      mode: known(modes, asked.get('mode')) ?? recall('mode', 'low', modes.map(([name]) => name)),
      over: known(ways, asked.get('over')) ?? 'ws',
    };
    this.#tracks = el('div', { hidden: true }, el('h2', {}, 'Track'), this.#track);
    this.#track.addEventListener('change', () => this.#ask('track', this.#track.value), { signal });
    root.replaceChildren(
      this.#group('mode', 'Delay', modes, (mode) => {
        keep('mode', mode);
        this.#player()?.setMode(mode);
      }),
      this.#group('over', 'Play over', ways, (over) => this.#player()?.setOver(over)),
      this.#note,
      this.#group('onlyaudio', 'Play', parts, (only) => this.#ask('onlyaudio', only)),
      this.#tracks,
    );
    show(root, true);
    this.show(null);
  }

  get mode() { return this.#chosen.mode; }
  get over() { return this.#chosen.over; }

  // take is as if somebody had chosen a way: 'ws' or 'http'.
  take(over) {
    this.#chose('over', over);
    this.#player()?.setOver(over);
  }

  // show brings it up to date with the player, and with what the server tells of the stream,
  // or null.
  show(stream) {
    const player = this.#player(), wishes = new URLSearchParams(player?.wishes ?? location.search);
    const { hasVideo, hasAudio } = player?.media ?? {};
    this.#check('mode', player?.mode ?? this.mode);
    this.#check('over', player?.over ?? this.over);
    this.#check('onlyaudio', wishes.has('onlyaudio') ? '1' : '');
    show(this.#note, !!player?.fellBack);
    show(this.#groups.onlyaudio, wishes.has('onlyaudio') || !!(stream ? stream.video && stream.audio : hasVideo && hasAudio));
    const options = trackOptions(stream), track = wishes.get('track') || '';
    if (track && !options.some(([n]) => n === track)) options.push([track, track === 'all' ? 'All, as sent' : `Track ${track}`]);
    show(this.#tracks, options.length > 1);
    const all = JSON.stringify(options);
    if (all !== this.#options && document.activeElement !== this.#track) {
      this.#options = all;
      this.#track.replaceChildren(...options.map(([value, words]) => el('option', { value }, words)));
    }
    if (document.activeElement !== this.#track) this.#track.value = track;
  }

  // ask changes a wish, and the address with it, so that it can be passed on.
  #ask(name, value) {
    this.#player()?.ask({ [name]: value });
    address((query) => (value ? query.set(name, value) : query.delete(name)));
  }

  #chose(name, value) {
    this.#chosen[name] = value;
    address((query) => query.delete(name)); // the link no longer decides
  }

  #group(name, title, options, choose) {
    const id = `${name}-title`;
    const group = el('div', {}, el('h2', { id }, title), el('div', { class: 'choice', role: 'radiogroup', 'aria-labelledby': id },
      ...options.map(([value, words, hint]) => {
        const input = el('input', { type: 'radio', name, value });
        input.addEventListener('change', () => {
          if (name in this.#chosen) this.#chose(name, value);
          choose(value);
        }, { signal: this.#signal });
        return el('label', { title: hint }, input, el('span', {}, words));
      })));
    return this.#groups[name] = group;
  }

  #check(name, value) {
    for (const input of this.#groups[name].querySelectorAll('input')) {
      if (input.value === value && !input.checked) input.checked = true;
    }
  }
}

const known = (options, value) => options.find(([name]) => name === value)?.[0];

// trackOptions are the tracks of a stream, [value, words] each: '' is the one that everybody
// gets who does not choose.
function trackOptions(stream) {
  const byNumber = new Map();
  for (const { track, ...format } of stream?.tracks ?? []) byNumber.set(track, { ...byNumber.get(track), ...format });
  return [['', say.formats(stream ?? {}) || 'Main'], ...[...byNumber].map(([n, format]) => [String(n), `${n}: ${say.formats(format)}`])];
}

function address(change) {
  const url = new URL(location.href), before = url.search;
  change(url.searchParams);
  if (url.search !== before) history.replaceState(history.state, '', url.href.replaceAll('%2F', '/'));
}
