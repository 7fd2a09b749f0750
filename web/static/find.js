// What people type and paste to open a stream: its name, an address of any protocol, the
// page's own address, or a whole command line with an address in it.

import { clean, permission, permitted, split, wishes } from './addresses.js';

const longest = 4000; // characters that are looked at
const longestKey = 255; // bytes of APP/NAME
const most = 5;       // suggestions
const served = ['rtmp', 'rtmps', 'http', 'https', 'ws', 'wss'];
const recordingID = /^\d{8}T\d{6}\.\d{3}Z/;

// understand says what a text asks for: {key} of a stream, {recording}, or {wall} with several
// keys, each with a query for the page's address ('' or '?start=live&token=…'). Where that is
// not clear it is {error, suggestions}: a sentence, and for each suggestion its {key, query,
// words}. streams are those of the API; they help to guess, and need not hold what is asked for.
export function understand(text, streams = []) {
  const words = text.trim().slice(0, longest);
  if (!words) return fault('Type the name of a stream, or paste an address.');
  // Of several addresses in a line, the last is where the stream is; before it stands a file.
  const url = words.match(/\b[a-z][a-z0-9+.-]*:\/\/[^\s"'<>]*/gi)?.pop();
  if (url) return address(url, streams);
  const [name, query] = cut(words.replace(/^(["'])(.*)\1$/, '$2'), '?');
  if (/^\/?$/.test(name) && query) return page(new URLSearchParams(query), streams);
  const parts = name.split('/').filter(Boolean);
  // HOST/APP/NAME, or HOST:PORT/APP/NAME, without what stands before it.
  if (parts.length > 2 && (/:\d+$/.test(parts[0]) || parts[0] === location.hostname)) {
    return address(`http://${parts.join('/')}${query && '?' + query}`, streams);
  }
  const isLive = streams.some((s) => s.key === clean(name)); // as it stands, whatever it looks like
  return path(isLive ? name : decode(name), asked(query), streams);
}

// address understands a whole URL.
function address(text, streams) {
  const scheme = text.slice(0, text.indexOf(':')).toLowerCase();
  let url;
  try {
    url = new URL(text.replace(/^[^:]+/, 'http'));
  } catch {
    return fault('This is no whole address.');
  }
  const key = decode(url.pathname);
  if (!served.includes(scheme)) {
    return fault(`Streams have no ${scheme} address here.`, /[^/]\/+[^/]/.test(key) ? [suggest(clean(key), '')] : []);
  }
  if (/^\/(embed\/?)?$/.test(key) && url.search) return page(url.searchParams, streams);
  const query = asked(url.search);
  const [, recorded] = key.match(/^\/(?:rec|api\/v1\/recordings)\/(.+?)(\.flv|\.mp4)?$/) ?? [];
  if (recorded && recordingID.test(split(recorded).name)) return { recording: recorded, query };
  if (/^\/(api|assets)\//.test(key)) {
    return url.searchParams.has('stream') ? page(url.searchParams, streams) : fault('This address is of no stream.');
  }
  return path(key.replace(/^\/embed\//, ''), query, streams);
}

// page understands the query of the page's own address.
function page(query, streams) {
  const also = asked(query);
  const recording = clean(query.get('recording') ?? ''), wall = query.getAll('wall').map(clean).filter(Boolean);
  if (recording) return { recording, query: also };
  if (wall.length) return { wall, query: also };
  return query.get('stream') ? path(query.get('stream'), also, streams) : fault('This address is of no stream.');
}

// path understands APP/NAME, or NAME alone.
function path(text, query, streams) {
  const key = clean(text);
  if (!key) return fault('This address names no stream: behind the server stand the application and the name, as in live/cam1.');
  if (new TextEncoder().encode(key).length > longestKey) return fault('No stream has so long a name.');
  if (streams.some((s) => s.key === key)) return { key, query };
  const like = near(key, streams).map((s) => suggest(s.key, query));
  if (!key.includes('/')) {
    const named = streams.filter((s) => s.name === key);
    if (named.length === 1) return { key: named[0].key, query };
    if (named.length) {
      return fault(`${quote(key)} is live in ${named.length} applications. Which one?`, named.slice(0, most).map((s) => suggest(s.key, query)));
    }
    return fault(like.length ? `${quote(key)} is not live. Did you mean one of these?`
      : `A stream has an application and a name. Did you mean live/${key}?`,
    [...like, suggest(`live/${key}`, query, like.length ? `Wait for live/${key}` : '')]);
  }
  if (!like.length) return { key, query };
  return fault(`${quote(key)} is not live. Did you mean one of these?`, [...like, suggest(key, query, `Wait for ${key}`)]);
}

// near returns the streams whose names somebody may have meant.
function near(key, streams) {
  const low = key.toLowerCase(), name = split(low).name, whole = low.includes('/');
  const far = (s) => {
    const k = s.key.toLowerCase(), n = split(k).name;
    if (k === low) return 0;
    if (n === name) return 1;
    const slips = distance(whole ? k : n, low);
    return slips <= Math.min(2, low.length / 4) ? 1 + slips : !whole && low.length > 2 && n.includes(low) ? 4 : Infinity;
  };
  const all = streams.map((s) => [far(s), s]).filter(([d]) => d < Infinity).sort(([a], [b]) => a - b);
  return all.filter(([d]) => d <= all[0][0] + 1).slice(0, most).map(([, s]) => s);
}

// distance counts the slips between two words: letters added, left out, or wrong. What is over
// 2 is not counted to its end.
function distance(a, b) {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] !== b[j - 1]));
    }
    if (Math.min(...next) > 2) return 3;
    row = next;
  }
  return row[b.length];
}

// What the page takes from its address for itself: over what it plays, the delay, and where in
// a recording it begins.
const own = { over: /^(ws|http)$/, mode: /^(low|smooth)$/, t: /^\d+(\.\d+)?$/ };

// asked keeps of a query what the page takes: wishes, its own, and a permission.
function asked(query) {
  const search = new URLSearchParams(query), kept = new URLSearchParams();
  for (const [name, value] of Object.entries(own)) {
    if (value.test(search.get(name) ?? '')) kept.set(name, search.get(name));
  }
  return permitted(permitted(wishes(search), kept.toString()), permission(search));
}

function decode(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function cut(text, at) {
  const place = text.indexOf(at);
  return place < 0 ? [text, ''] : [text.slice(0, place), text.slice(place + 1)];
}

const quote = (name) => `“${name.length > 80 ? name.slice(0, 79) + '…' : name}”`;
const suggest = (key, query, words = '') => ({ key, query, words: words || key });
const fault = (error, suggestions = []) => ({ error, suggestions });
