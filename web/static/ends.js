// What the end of a session means: whether it is tried again, and what to say.

import { ENDED, SHUTDOWN, LOST } from './loader.js';

// How the server begins what it says of who may not watch, over WebSocket with the reason
// before it; of who might once; and of what nobody can ask for.
const denied = /^(denied|expired)(: |$)/;
const ended = /^the permission has ended(: |$)/;
const bad = /^bad request(: |$)/;
const busy = 5000;           // the least pause where the server has too many viewers, ms

// meaning returns the state that follows, 'failed' if it is not tried again, the least
// pause before it is, in ms, what to say, Player.remedy and Player.refusal. The end is that
// of a loader (loader.js). It came
//   shown      after a picture was shown
//   state      in this state of the player
//   unopened   as the last of so many WebSockets in a row that did not get through
//              although the server answers
export function meaning({ code, reason, opened }, { shown, state, unopened }) {
  const again = { state: 'reconnecting', least: 0, words: reason, remedy: '', refusal: '' };
  switch (code) {
    case ENDED:
      if (/^codec changed/.test(reason)) return again; // it goes on, in another form
      // Without a picture there was nothing to end: still the old state.
      return { ...again, state: shown || state === 'ended' ? 'ended' : 'waiting' };
    case SHUTDOWN:
      return { ...again, words: reason || 'the server shuts down' };
    case 4404:
      return { ...again, state: state === 'ended' ? 'ended' : 'waiting', words: '' };
    case 4400:
      return { ...again, state: 'failed', words: reason.replace(bad, '') || 'the server refuses it', refusal: bad.test(reason) ? 'bad' : '' };
    case 4401: case 4403:
      return { ...again, state: 'failed', ...refusalOf(code, reason) };
    case 4503: case 1013:
      return { ...again, least: busy, words: reason || 'the server has too many viewers' };
    case LOST:
      if (unopened >= 2) {
        return {
          ...again, remedy: 'http',
          words: 'the WebSocket does not get through, though the server answers; '
            + 'a proxy on the way may not pass WebSockets',
        };
      }
      return { ...again, words: reason || (opened ? 'the connection was lost' : 'the server cannot be reached') };
  }
  return { ...again, words: reason || `the server closed the connection (${code})` };
}

// pace returns how it goes on after an end, with the state that follows it, where known is what
// the server says of the stream (Player.heard): by pauses (attempts.js), or 'heard', when the
// server says that there is a publisher.
export function pace({ code, opened }, state, known) {
  if (state === 'reconnecting') {
    return code === SHUTDOWN || code === LOST && (opened || known === null) ? 'soon' : 'again';
  }
  return known === '' ? 'heard' : known === 'private' ? 'wait' : 'again';
}

// refusalOf returns what a refusal, or an end without permission, is: refusal is 'expired'
// or 'denied', and words what there is to say beyond that.
export function refusalOf(code, reason) {
  const words = reason.replace(denied, '');
  return {
    refusal: code === 4401 || ended.test(words) ? 'expired' : 'denied',
    words: words.replace(ended, ''),
  };
}

// What the page says of the two, large and small.
export const refusalHeadlines = { denied: 'You may not watch this', expired: 'Your permission has ended' };
export const refusalPills = { denied: 'Denied', expired: 'Expired' };

// mediaMeaning returns what to say of an error of mpegts.js or the browser, and whether
// trying again can't help (failed).
export function mediaMeaning(mpegts, detail, info) {
  const words = info?.msg || String(info ?? '');
  const { MEDIA_CODEC_UNSUPPORTED, MEDIA_FORMAT_UNSUPPORTED } = mpegts.ErrorDetails;
  if (detail === MEDIA_CODEC_UNSUPPORTED || info?.code === DOMException.NOT_SUPPORTED_ERR) {
    return { failed: true, words: `this browser cannot play the codec of this stream (${words})` };
  }
  if (detail === MEDIA_FORMAT_UNSUPPORTED) return { failed: true, words: 'what the server sends is no FLV' };
  return { failed: false, words };
}
