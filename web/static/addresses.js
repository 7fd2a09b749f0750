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

export const rtmp = (rest) =>
  `rtmp://${location.hostname}${rtmpPort === 1935 ? '' : ':' + rtmpPort}/${path(rest)}`;
export const http = (key) => `${location.origin}/${path(key)}.flv`;
export const ws = (key) => `${secure ? 'wss' : 'ws'}://${location.host}/${path(key)}.flv`;
export const page = (key) => `/?stream=${path(key)}`;

// split takes a key apart: the name is what follows the last slash.
export function split(key) {
  const cut = key.lastIndexOf('/');
  return { app: key.slice(0, Math.max(0, cut)), name: key.slice(cut + 1) };
}

export function watching(key) {
  const file = split(key).name.replace(/[^A-Za-z0-9_]+/g, '-').replace(/^-/, '') || 'stream';
  return [
    ['This page', location.origin + page(key)],
    ['ffplay, RTMP', `ffplay -fflags nobuffer ${rtmp(key)}`],
    ['ffplay, HTTP-FLV', `ffplay -fflags nobuffer ${http(key)}`],
    ['VLC, OBS media source', http(key)],
    ['curl, into a file', `curl -o ${file}.flv ${http(key)}`],
    ['WebSocket-FLV', ws(key)],
  ];
}

export function obs(key) {
  const { app, name } = split(key);
  return [['OBS server', rtmp(app)], ['OBS stream key', name]];
}

export function ffmpeg(key) {
  return [['ffmpeg', `ffmpeg -re -i video.mp4 -c:v libx264 -preset veryfast -g 60 -c:a aac -f flv ${rtmp(key)}`]];
}
