// The source of what a player plays: which stream, over what, and with which wishes.

import { http, ws, back, withBack, wishes } from './addresses.js';

// Wishes that leave something out of a stream, or take something else.
const parts = ['track', 'onlyaudio', 'onlyvideo'];

export class Source {
  over;      // 'ws' or 'http'
  #key;
  #query;    // the wishes and the permission

  constructor(key, query, over) {
    this.#key = key;
    this.#query = query;
    this.over = over;
  }

  // url is where the stream is, to begin so many seconds behind live if that is not 0; live
  // says that it is to begin at the live edge, whatever was wished.
  url(seconds, live) {
    let query = seconds || live ? withBack(this.#query, seconds) : this.#query;
    if (live) query = changed(query, { start: 'live' });
    return (this.over === 'http' ? http : ws)(this.#key, query);
  }

  // change sets wishes, or takes away those that are '', null or false.
  change(changes) {
    if (changes.onlyaudio) changes = { ...changes, onlyvideo: null };
    this.#query = changed(this.#query, changes);
  }

  // wishes are those there are, without the permission: '' or '?track=1'.
  get wishes() { return wishes(this.#query); }

  get back() { return back(this.#query); }

  // whole says whether nothing of the stream is left out.
  get whole() {
    const query = new URLSearchParams(this.#query);
    return !parts.some((name) => query.has(name));
  }
}

function changed(query, changes) {
  const asked = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value || value === 0) asked.set(name, value === true ? '1' : value);
    else asked.delete(name);
  }
  return asked.size ? `?${asked}` : '';
}
