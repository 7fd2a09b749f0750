// Figures and states of the console in words.

import { bits as rate, protocol, duration } from './format.js';

const number = new Intl.NumberFormat('en');
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export const none = '–';

export const n = (value) => (Number.isFinite(value) ? number.format(value) : none);
export const count = (value, one, many = one + 's') => `${n(value)} ${value === 1 ? one : many}`;
export const bits = (value) => (value === 0 ? '0 bit/s' : Number.isFinite(value) ? rate(value) : none);
export const ms = (value) => (!Number.isFinite(value) ? none
  : Math.abs(value) < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 9950 ? 1 : 0)} s`);
export const fps = (value) => (Number.isFinite(value) ? `${+value.toFixed(1)} fps` : none);
export const cores = (value) => (Number.isFinite(value) ? `${value.toFixed(2)} cores` : none);
export const time = (value) => (value ? clock.format(new Date(value)) : none);
// moment tells the time of something that is mostly of today.
export const moment = (value) => (value && new Date(value).toDateString() === new Date().toDateString() ? time(value) : date(value));
export const date = (value) => (value ? day.format(new Date(value)) : none);

// Times of the server are compared with its own clock.
let ahead = 0; // ms by which the server's clock is ahead of this one

export function setClock(now) {
  ahead = new Date(now) - Date.now();
}

// since tells how long ago something was.
export const since = (value) => (value ? duration(Math.max(1000, Date.now() + ahead - new Date(value))) : none);

// until tells how long it is to something: "in 1.2 s".
export function until(value) {
  const left = new Date(value) - Date.now() - ahead;
  return left > 0 ? 'in ' + ms(left) : ms(-left) + ' ago';
}

export const over = (name) => (name === 'pull' ? 'Pulled' : name ? protocol(name) : none);

const states = { asking: 'Asks for permission', waiting: 'Waits', running: 'Running', live: 'Live', grace: 'Publisher lost' };
export const state = (name) => states[name] ?? name;

// States of relays, those first that need a look.
export const relayStates = [
  ['refused', 'Refused'], ['backing off', 'Backing off'], ['slow', 'Slow'], ['held', 'Held'], ['connecting', 'Connecting'], ['live', 'Live'], ['idle', 'Idle'],
];
export const relayState = (name) => relayStates.find(([state]) => state === name)?.[1] ?? name;
export const relayKind = (name) => ({ pull: 'Pull', origin: 'Origin', push: 'Push' }[name] ?? name);

export const role = (name) => ({ publish: 'Publisher', watch: 'Viewer' }[name] ?? name);

// health tells the words of a publisher's health in short.
const short = {
  frame_rate: 'Frame rate', key_frame_interval: 'Key frames', bitrate_swings: 'Bitrate swings',
  audio_video_apart: 'Audio and video apart', clock_jumps: 'Clock jumps', uneven_arrival: 'Uneven arrival',
  no_reorder_room: 'B-frames', browser_codec: 'Codec for browsers',
};
export const health = (word) => short[word] ?? spaced(word);

// why tells in short why a viewer has no picture.
const reasons = {
  ok: 'Picture is sent', recording: 'Recording', waits_permission: 'Waits for permission', waits_publisher: 'Waits for publisher',
  waits_track: 'Waits for a track', waits_codec_header: 'Waits for codec header', waits_key_frame: 'Waits for key frame',
  only_audio: 'Audio only, as it asked', no_video: 'The stream has no video', video_off: 'Video switched off', ended: 'Stream has ended', unplayable_codec: 'Codec it cannot play',
};
export const why = (code) => reasons[code] ?? spaced(code);

export function spaced(word) {
  const words = String(word).replaceAll('_', ' ');
  return words && words[0].toUpperCase() + words.slice(1);
}
