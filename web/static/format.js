// Numbers and formats in words.

const protocols = {
  rtmp: 'RTMP', 'http-flv': 'HTTP', http: 'HTTP', 'ws-flv': 'WebSocket',
  'websocket-flv': 'WebSocket', ws: 'WebSocket', websocket: 'WebSocket',
};

export const protocol = (name) => protocols[name] || name;

// bits tells bits per second.
export function bits(n) {
  if (!(n > 0)) return '–';
  if (n >= 999.5e6) return (n / 1e9).toFixed(n < 9.95e9 ? 1 : 0) + ' Gbit/s';
  if (n >= 999500) return (n / 1e6).toFixed(n < 9.95e6 ? 1 : 0) + ' Mbit/s';
  return Math.max(1, Math.round(n / 1e3)) + ' kbit/s';
}

// duration tells milliseconds as a clock: 0:07, 12:34, 3:02:01, 2 d 4 h.
export function duration(ms) {
  if (!(ms > 0)) return '–';
  const s = Math.floor(ms / 1000);
  if (s >= 86400) return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
  const two = (n) => String(n).padStart(2, '0');
  const h = Math.floor(s / 3600), m = Math.floor(s % 3600 / 60);
  return (h ? `${h}:${two(m)}` : m) + ':' + two(s % 60);
}

export const seconds = (s) => (s < 10 ? s.toFixed(1) : Math.round(s)) + ' s';

export const count = (n, one, many = one + 's') => `${n} ${n === 1 ? one : many}`;

// size tells a picture's size and rate: "1280×720, 30 fps".
export function size(video) {
  if (!video || !video.width || !video.height) return '';
  const fps = video.fps > 0 ? `, ${+video.fps.toFixed(2)} fps` : '';
  return `${video.width}×${video.height}${fps}`;
}

export function videoCodec(video) {
  return video ? [video.codec, video.profile].filter(Boolean).join(' ') : '';
}

export function audioCodec(audio) {
  if (!audio) return '';
  const channels = { 1: 'mono', 2: 'stereo', 6: '5.1', 8: '7.1' }[audio.channels]
    || (audio.channels ? audio.channels + ' channels' : '');
  const rate = audio.sample_rate ? +(audio.sample_rate / 1000).toFixed(2) + ' kHz' : '';
  return [audio.codec, [rate, channels].filter(Boolean).join(' '), audio.muted && 'muted'].filter(Boolean).join(', ');
}

// tracks tells of further tracks: "1: AV1 Main, 640×360; 2: Opus, 48 kHz stereo".
export function tracks(list) {
  return (list || []).map((t) => `${t.track}: ${formats(t)}`).join('; ');
}

// formats tells of the picture and the sound of a stream or of a track of it: "AV1 Main, 640×360,
// Opus, 48 kHz stereo".
export const formats = ({ video, audio }) => [videoCodec(video), size(video), audioCodec(audio)].filter(Boolean).join(', ');

// viewers tells who watches: "3 (2 WebSocket, 1 RTMP)".
export function viewers(v) {
  const parts = Object.entries(v.by_protocol || {}).filter(([, n]) => n > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, n]) => `${n} ${protocol(name)}`);
  return v.total + (parts.length ? ` (${parts.join(', ')})` : '');
}

export function state(stream) {
  switch (stream.state) {
    case 'live': return 'Live';
    case 'grace': return 'Publisher lost';
    default: return stream.state;
  }
}

// clock tells a place in a recording, s: 0:07, 12:34, 26:03:02.
export function clock(s) {
  const all = Math.max(0, Math.floor(s)), two = (n) => String(n).padStart(2, '0');
  const h = Math.floor(all / 3600), m = Math.floor(all % 3600 / 60);
  return (h ? `${h}:${two(m)}` : m) + ':' + two(all % 60);
}

// behind tells how far behind live: "0.8 s behind live", "12:34 behind live".
export const behind = (s) => `${s < 100 ? seconds(s) : clock(s)} behind live`;

// bytes tells a size in bytes: "824 kB", "1.2 GB".
export function bytes(n) {
  if (!(n > 0)) return '0 kB';
  const [unit, of] = n < 999500 ? ['kB', 1e3] : n < 999.5e6 ? ['MB', 1e6] : n < 999.5e9 ? ['GB', 1e9] : ['TB', 1e12];
  return `${(n / of).toFixed(n / of < 9.95 && unit !== 'kB' ? 1 : 0)} ${unit}`;
}

// when tells when a recording began, as the visitor's clock and calendar do; of a file that
// does not say, its name.
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
export const when = ({ begin, id }) => (begin ? date.format(new Date(begin)) : id);

export function recordingState(recording) {
  switch (recording.state) {
    case 'recording': return 'Recording';
    case 'finished': return 'Finished';
    case 'disk full': return 'Disk was full';
    default: return recording.state;
  }
}

// gaps tells what a recording lacks: "2 gaps, 3.5 s in all are missing".
export function gaps({ gaps: n, gap_seconds: s }) {
  if (!n) return '';
  return `${count(n, 'gap')}, ${seconds(s || 0)} ${n === 1 ? 'is' : 'in all are'} missing`;
}

export const sentence = (words) => (words ? words[0].toUpperCase() + words.slice(1).replace(/\.?$/, '.') : '');

// fileStem is how a file about a stream is called, without an ending: what no file system
// minds of its name, 80 letters at most.
export const fileStem = (name) =>
  Array.from(name.replace(/[\u0000-\u001f\u007f<>:"/\\|?*\u200e\u200f\u202a-\u202e\u2066-\u2069\s]+/g, '-'))
    .slice(0, 80).join('').replace(/^[-.]+|[-.]+$/g, '') || 'picture';

// wishes tells what a link asks of the server: "track 1, sound only".
export function wishes(query) {
  const asked = new URLSearchParams(query), back = Number(asked.get('back'));
  return [
    asked.has('track') && `track ${asked.get('track')}`, asked.has('onlyaudio') && 'sound only',
    asked.has('onlyvideo') && 'picture only', asked.has('start') && 'at the live edge',
    back > 0 && behind(back), asked.has('hevc') && `${asked.get('hevc')} HEVC`,
  ].filter(Boolean).join(', ');
}
