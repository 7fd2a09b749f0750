// In which ways a recording can be played: as MP4 by the browser itself, or as FLV by
// mpegts.js.

const codecs = { // of the API, as RFC 6381 writes a usual one of each
  'H.264': 'avc1.640028', HEVC: 'hvc1.1.6.L120.B0', AV1: 'av01.0.08M.08', VP9: 'vp09.00.40.08',
  AAC: 'mp4a.40.2', MP3: 'mp3', Opus: 'opus', FLAC: 'flac', 'AC-3': 'ac-3', 'E-AC-3': 'ec-3',
};

// ways returns 'mp4' and 'flv', the better one first. Only what is finished is there as
// MP4. What a browser can play, it plays best by itself; of what it can't, mpegts.js may
// know more than canPlayType.
export function ways(recording, video) {
  if (recording.state === 'recording') return ['flv'];
  return video.canPlayType(type(recording)) ? ['mp4', 'flv'] : ['flv', 'mp4'];
}

function type({ video, audio }) {
  const list = [video, audio].filter(Boolean).map(({ codec }) => codecs[codec] ?? codec.toLowerCase());
  return `${video ? 'video' : 'audio'}/mp4; codecs="${list.join(', ')}"`;
}
