// What the address says behind its #: "#/stream/live%2Fdemo", "#/sessions?sort=-lag". The
// server never sees it.

import { query } from './api.js';

// parse returns {name, of, query} of the address as it is.
export function parse(hash = location.hash) {
  const [path, search = ''] = cut(hash.replace(/^#\/?/, ''), '?');
  const [name, ...of] = path.split('/').map(decoded);
  return { name: name || 'overview', of, query: Object.fromEntries(new URLSearchParams(search)) };
}

function cut(words, at) {
  const place = words.indexOf(at);
  return place < 0 ? [words] : [words.slice(0, place), words.slice(place + 1)];
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // somebody wrote it by hand
  }
}

// to returns the address of a page: to('stream', ['live/demo']).
export function to(name, of = [], values = {}) {
  return '#/' + [name, ...of.map(encodeURIComponent)].join('/') + query(values);
}

export const toStream = (stream) => to('stream', [stream]);
export const toSession = (id) => to('session', [id]);

// go opens a page; replace leaves none behind to go back to.
export function go(href, replace = false) {
  if (replace) location.replace(href);
  else location.hash = href;
}
