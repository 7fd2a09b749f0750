// Where a stream is published and watched. Only the page knows under which host
// it was reached, so the addresses are made here.

const rtmpPort = Number(document.documentElement.dataset.rtmpPort);
const secure = location.protocol === 'https:';

// path writes a key for a URL. What a URL may hold but a shell would read is
// escaped as well: these lines are made for pasting into one, and names come
// from strangers.
function path(key) {
  return key.split('/').map((part) => encodeURIComponent(part)
    .replace(/[!'()*~]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase())).join('/');
}

// What a link may ask of the server, the same over every protocol.
const known = ['onlyaudio', 'onlyvideo', 'start', 'back', 'track', 'hevc'];

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

// Addresses of a stream, for a viewer with wishes where it watches.
export const rtmp = (rest, wishes = '') =>
  `rtmp://${location.hostname}${rtmpPort === 1935 ? '' : ':' + rtmpPort}/${path(rest)}${wishes}`;
export const http = (key, wishes = '') => `${location.origin}/${path(key)}.flv${wishes}`;
export const ws = (key, wishes = '') => `${secure ? 'wss' : 'ws'}://${location.host}/${path(key)}.flv${wishes}`;
export const page = (key, wishes = '') => `/?stream=${path(key)}${wishes.replace('?', '&')}`;

// split takes a key apart: the name is what follows the last slash.
export function split(key) {
  const cut = key.lastIndexOf('/');
  return { app: key.slice(0, Math.max(0, cut)), name: key.slice(cut + 1) };
}

// quoted makes one word for a shell of an address with a query; nothing in it means
// something between these quotes.
const quoted = (url) => (url.includes('?') ? `"${url}"` : url);

export function watching(key, wishes = '') {
  const file = split(key).name.replace(/[^A-Za-z0-9_]+/g, '-').replace(/^-/, '') || 'stream';
  return [
    ['This page', location.origin + page(key, wishes)],
    ['ffplay, RTMP', `ffplay -fflags nobuffer ${quoted(rtmp(key, wishes))}`],
    ['ffplay, HTTP-FLV', `ffplay -fflags nobuffer ${quoted(http(key, wishes))}`],
    ['VLC, OBS media source', http(key, wishes)],
    ['curl, into a file', `curl -o ${file}.flv ${quoted(http(key, wishes))}`],
    ['WebSocket-FLV', ws(key, wishes)],
  ];
}

export function obs(key) {
  const { app, name } = split(key);
  return [['OBS server', rtmp(app)], ['OBS stream key', name]];
}

export function ffmpeg(key) {
  return [['ffmpeg', `ffmpeg -re -i video.mp4 -c:v libx264 -preset veryfast -g 60 -c:a aac -f flv ${rtmp(key)}`]];
}

// Addresses of a recording {stream, id}.
export const recordingPage = ({ stream, id }) => `/?recording=${path(`${stream}/${id}`)}`;
export const recordingAsk = (key) => `/api/v1/recordings/${path(key)}`;
const file = ({ stream, id }) => `/rec/${path(`${stream}/${id}`)}`;
export const flvFile = (recording) => `${file(recording)}.flv`;
export const mp4File = (recording) => `${file(recording)}.mp4`;

// fileName is how a recording is called where it is downloaded, without an ending.
export const fileName = ({ stream, id }) =>
  `${split(stream).name}-${id}`.replace(/[^A-Za-z0-9_.-]+/g, '-').replace(/^[-.]+/, '') || 'recording';

export function playing(recording) {
  const { stream, id } = recording;
  const flv = location.origin + flvFile(recording), rtmpFile = rtmp(`rec/${stream}/${id}`);
  return [
    ['This page', location.origin + recordingPage(recording)],
    ['ffplay, RTMP', `ffplay ${rtmpFile}`],
    ['ffplay, HTTP-FLV', `ffplay ${flv}`],
    ['curl, into a file', `curl -f -o ${fileName(recording)}.flv ${flv}`],
    ['VLC, OBS media source', flv],
    ['RTMP', rtmpFile],
  ];
}
