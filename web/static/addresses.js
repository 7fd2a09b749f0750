// Where a stream is published and watched. Only the page knows under which host
// it was reached, so the addresses are made here.

const { rtmp: told, origin: given } = document.documentElement.dataset;

// origin is under which others reach the server, as it was told or as this browser does.
export const origin = given || location.origin;

// Where RTMP is: 'rtmp://host:port', 'rtmps://…' or both, encrypted first if the page is.
const servers = told.split(' ').filter(Boolean).map((at) => at.replace('//:', `//${location.hostname}:`)
  .replace(/^(rtmp:.+):1935$|^(rtmps:.+):443$/, '$1$2'));
if (location.protocol === 'https:') servers.sort((a, b) => b.startsWith('rtmps') - a.startsWith('rtmps'));
const over = (server) => server.split(':')[0].toUpperCase();
const isRTMP = (line) => /rtmps?:\/\//.test(line);

// path writes a key for a URL. What a URL may hold but a shell would read is
// escaped as well: these lines are made for pasting into one, and names come
// from strangers.
function path(key) {
  return key.split('/').map((part) => encodeURIComponent(part)
    .replace(/[!'()*~]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase())).join('/');
}

// What a link may ask of the server, the same over every protocol.
const known = ['onlyaudio', 'onlyvideo', 'start', 'back', 'track', 'hevc'];

// What a link may show so that its viewer may watch: a key, a token, or a signature in
// one of its forms.
const shown = ['key', 'token', 'expires', 'sign', 'bind', 'txSecret', 'txTime', 'auth_key'];

// permission takes from the page's query what permits to watch, escaped: '' or
// 'expires=…&sign=…'. It is a secret: it goes to the server and the clipboard, and
// nowhere else. Whether it is right, the server says, of what stands there twice, too.
export function permission(search) {
  const said = new URLSearchParams(search), kept = new URLSearchParams();
  for (const name of shown) {
    for (const value of said.getAll(name)) kept.append(name, value);
  }
  return kept.toString();
}

// permitted adds a permission to wishes, or to an address.
export const permitted = (wishes, permission) =>
  (permission ? `${wishes}${wishes.includes('?') ? '&' : '?'}${permission}` : wishes);

// inPath reports whether a permission is for one path alone, that over HTTP.
const inPath = (permission) => permission !== '' && [...new URLSearchParams(permission).keys()].every((k) => k === 'auth_key');

// wishes takes from the page's query what is meant for the server, each once and
// escaped: '' or '?track=1&start=live'. Whether it makes sense, the server says.
export function wishes(search) {
  const said = new URLSearchParams(search), asked = new URLSearchParams();
  for (const name of known) {
    const value = said.get(name);
    if (value) asked.set(name, value);
  }
  return asked.size ? `?${asked}` : '';
}

// back is how many seconds behind the live edge the wishes begin.
export function back(wishes) {
  const seconds = Number(new URLSearchParams(wishes).get('back'));
  return seconds > 0 && seconds < Infinity ? seconds : 0;
}

// withBack returns wishes that begin so many seconds behind the live edge, 0 for at it.
export function withBack(wishes, seconds) {
  const asked = new URLSearchParams(wishes);
  asked.delete('back');
  if (seconds > 0) {
    asked.delete('start'); // which is about the same
    asked.set('back', seconds.toFixed(1));
  }
  return asked.size ? `?${asked}` : '';
}

// Addresses of a stream, for a viewer with wishes where it watches: over HTTP and WebSocket on
// this page's server unless they are for others.
export const http = (key, wishes = '', at = location.origin) => `${at}/${path(key)}.flv${wishes}`;
export const ws = (...of) => http(...of).replace(/^http/, 'ws');
export const page = (key, wishes = '') => `/?stream=${path(key)}${wishes.replace('?', '&')}`;

// wallMost is how many streams a wall shows at the most (maxWall of the server).
export const wallMost = 9;

// wallPage shows several streams side by side.
export const wallPage = (keys) => `/?${keys.map((key) => `wall=${path(key)}`).join('&')}`;

// clean forgives what surrounds a key where people paste one: slashes around it and doubled
// ones, and the ending of an address.
export const clean = (key) => key.trim().replace(/\/{2,}/g, '/').replace(/^\/|\/$/g, '').replace(/\.(flv|m3u8)$/, '');

// framed is the page of a stream for other pages to frame.
export const framed = (key, wishes = '') => `${origin}/embed/${path(key)}${wishes}`;

// split takes a key apart: the name is what follows the last slash.
export function split(key) {
  const cut = key.lastIndexOf('/');
  return { app: key.slice(0, Math.max(0, cut)), name: key.slice(cut + 1) };
}

// quoted makes one word for a shell of an address with a query; nothing in it means
// something between these quotes.
const quoted = (url) => (url.includes('?') ? `"${url}"` : url);

// watching returns what to do elsewhere to watch a stream, with the permission in it.
export function watching(key, asked = '', permission = '') {
  const wishes = permitted(asked, permission);
  const file = split(key).name.replace(/[^A-Za-z0-9_]+/g, '-').replace(/^-/, '') || 'stream';
  const flv = http(key, wishes, origin);
  return [
    ['This page', origin + page(key, wishes)],
    ...servers.map((at) => [`ffplay, ${over(at)}`, `ffplay -fflags nobuffer ${quoted(`${at}/${path(key)}${wishes}`)}`]),
    ['ffplay, HTTP-FLV', `ffplay -fflags nobuffer ${quoted(flv)}`],
    ['VLC, OBS media source', flv],
    ['curl, into a file', `curl -f -o ${file}.flv ${quoted(flv)}`],
    ['WebSocket-FLV', ws(key, wishes, origin)],
  ].filter(([, value]) => !inPath(permission) || !isRTMP(value));
}

// each returns a line for each server of RTMP, which is named where there are several.
const each = (label, line) =>
  servers.map((at) => [servers.length > 1 ? `${label}, ${over(at)}` : label, line(at)]);

// obs returns what OBS is to be told, under these labels; ffmpeg, what to run.
export function obs(key, server = 'OBS server', streamKey = 'OBS stream key') {
  const { app, name } = split(key);
  return servers.length ? [...each(server, (at) => `${at}/${path(app)}`), [streamKey, name]] : [];
}

export const ffmpeg = (key, label = 'ffmpeg') => each(label, (at) =>
  `ffmpeg -re -i video.mp4 -c:v libx264 -preset veryfast -g 60 -c:a aac -f flv ${at}/${path(key)}`);

// stillAsk is where the newest key frame of a stream is.
export const stillAsk = (key, permission = '') => permitted(`/api/v1/still?stream=${path(key)}`, permission);

// Addresses of a recording {stream, id}.
export const recordingPage = ({ stream, id }) => `/?recording=${path(`${stream}/${id}`)}`;
export const recordingAsk = (key, permission) => permitted(`/api/v1/recordings/${path(key)}`, permission);
// away is the origin of the node of a cluster that has it, '' if that is this server.
export const away = ({ url }) => (/^https?:/.test(url ?? '') ? new URL(url).origin : '');
const file = (recording) => `${away(recording)}/rec/${path(`${recording.stream}/${recording.id}`)}`;
export const flvFile = (recording, permission) => permitted(`${file(recording)}.flv`, permission);
export const mp4File = (recording, permission) => permitted(`${file(recording)}.mp4`, permission);

// fileName is how a recording is called where it is downloaded, without an ending.
export const fileName = ({ stream, id }) =>
  `${split(stream).name}-${id}`.replace(/[^A-Za-z0-9_.-]+/g, '-').replace(/^[-.]+/, '') || 'recording';

// playing returns what to do elsewhere to play a recording, with the permission in it.
export function playing(recording, permission) {
  const { stream, id } = recording;
  const flv = new URL(flvFile(recording, permission), origin).href, own = permitted(`/${path(`rec/${stream}/${id}`)}`, permission);
  const here = away(recording) ? [] : servers; // of other nodes only the address over HTTP is known
  const all = [
    ['This page', origin + permitted(recordingPage(recording), permission)],
    ...here.map((at) => [`ffplay, ${over(at)}`, `ffplay ${quoted(at + own)}`]),
    ['ffplay, HTTP-FLV', `ffplay ${quoted(flv)}`],
    ['curl, into a file', `curl -f -o ${fileName(recording)}.flv ${quoted(flv)}`],
    ['VLC, OBS media source', flv],
    ...here.map((at) => [over(at), at + own]),
  ];
  return all.filter(([, value]) => !inPath(permission) || !isRTMP(value));
}
