// The states of a player in words, large over the picture and small beside it.
// "silent" and "slow" are none of a player: it plays, and there is nothing to see and nothing
// to hear, or the line is slower than the stream.

import { refusalHeadlines, refusalPills } from './ends.js';
import * as say from './format.js';

const headlines = {
  connecting: 'Connecting', waiting: 'Waiting for the publisher', buffering: 'Buffering',
  playing: 'Playing', paused: 'Paused', ended: 'The stream has ended',
  reconnecting: 'Reconnecting', failed: 'This cannot be played', silent: 'The sound is off',
  slow: 'Slow connection',
};
const pills = { ...headlines, waiting: 'Waiting for publisher', ended: 'Ended', failed: 'Failed' };

// standing returns what the server's answer, null for none, says of a stream: its figures, or
// null, and known as a player takes it (Player.heard).
export function standing(answer, key) {
  const stream = answer?.streams.find((s) => s.key === key) ?? null;
  return { stream, known: !answer ? null : answer.private ? 'private' : stream?.state ?? '' };
}

// headline and pill tell a state; refusal is that of the player (ends.js).
export const headline = (state, refusal) => (state === 'failed' && refusalHeadlines[refusal]) || (headlines[state] ?? state);
export const pill = (state, refusal) => (state === 'failed' && refusalPills[refusal]) || (pills[state] ?? state);

// detail is what more there is to say: the player's reason, and when it tries again.
export function detail(state, reason, retryAt = 0) {
  switch (state) {
    case 'waiting': return say.sentence(reason) || 'It starts by itself as soon as somebody publishes.';
    case 'silent': return 'There is nothing but sound, and it is turned off.';
    case 'ended': return 'It goes on by itself when the publisher comes back.';
    case 'reconnecting': {
      const left = Math.ceil((retryAt - performance.now()) / 1000);
      return [say.sentence(reason), left > 0 ? `Trying again in ${left} s.` : 'Trying again.'].filter(Boolean).join(' ');
    }
    default: return say.sentence(reason);
  }
}

const remedies = { failed: 'Try again', reconnecting: 'Try now', paused: 'Play', silent: 'Turn the sound on' };

// remedy is what the button over the picture says in a state, '' where nothing helps.
export const remedy = (state, refusal) => (state === 'failed' && refusal === 'bad' ? '' : remedies[state] ?? '');
