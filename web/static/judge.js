// What is the matter with a session, by what is seen of it.

const waitShown = 600;       // without data for so long, say what we wait for, ms
const frozen = 700;          // without a new picture for so long, it has stalled
const standing = 3000;       // with data but without a new picture for so long, it is opened anew
const slow = 10000;          // where that data comes late: then it is the line
const silent = 10000;        // without data for so long, the connection is dead
const parked = 30000;        // paused for so long, the connection is given back
const unopened = 5000;       // a connection that has not opened in that time will not
const kept = 12000;          // nor one over HTTP, which the server may keep waiting for a publisher

export const silence = silent / 1000; // s

// trouble names what a session is to be ended for: 'unopened', 'silent', 'standstill', 'parked',
// or ''. facts are
//   over       'ws' or 'http'
//   known      what the server says of the stream, see Player.heard
//   paused     by hand
//   pause      before this attempt, ms
//   late       how late data comes, s
//   deferred   the browser may load nothing yet: the page was never seen to play
//   still      for so long nothing has moved although data came (standstill.js), ms
export function trouble(session, { over, known, paused, pause, late, deferred, still }, now) {
  if (!session.lastData) {
    const waited = now - session.began;
    // Whoever waits for a publisher waits for the answer over HTTP, too.
    const patience = over === 'ws' || known === 'live' || known === null ? unopened : known ? kept : Infinity;
    return !session.opened && waited > patience && !deferred ? 'unopened' : '';
  }
  if (now - session.lastData > silent && known !== 'grace') return 'silent';
  // Where a picture never came, the line may be slow: each attempt has longer.
  if (still > (late > 1 ? slow : standing) + (session.shown ? 0 : pause)) return 'standstill';
  return paused && session.heldAt && now - session.heldAt > parked ? 'parked' : '';
}

// condition returns the state that a session is in, and the reason in words; or nothing, where
// the state until now is right. standstills are those since it last played for a while.
export function condition(session, { state, known, paused, standstills }, now) {
  if (!session.lastData) {
    if (state !== 'ended' && now - session.began > waitShown && !['live', 'private', null].includes(known)) {
      return { state: 'waiting', reason: '' };
    }
    return state === 'waiting' && known === 'live' ? { state: 'connecting', reason: '' } : null;
  }
  if (paused) return { state: 'paused', reason: '' };
  const stuck = now - session.moved > frozen;
  if (session.shown && !stuck) return { state: 'playing', reason: '' };
  if (stuck && known === 'grace') return { state: 'waiting', reason: 'the publisher is gone; it may come back' };
  return session.shown || state !== 'reconnecting' || !standstills ? { state: 'buffering', reason: '' } : null;
}
