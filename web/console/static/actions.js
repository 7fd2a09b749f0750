// What an operator can do about streams, sessions, recordings, relays and bans. All that cannot be
// taken back is asked first, and says what will happen.

import { idOf, post, remove, query } from './api.js';
import { bdi } from './client.js';
import { ask, tell } from './dialog.js';
import { count } from './words.js';

const whileBanned = [['0', 'may come back at once'], ['1m', '1 minute'], ['10m', '10 minutes'], ['1h', '1 hour'], ['24h', '1 day']];
const banned = [['10m', '10 minutes'], ['1h', '1 hour'], ['24h', '1 day'], ['168h', '1 week'], ['', 'For good']];

const reason = { name: 'reason', label: 'Reason', value: '', max: 200, help: 'The clients are told. It may be empty.' };
const away = { name: 'ban', label: 'May not come back for', kind: 'select', value: '1m', options: whileBanned };

const unsaved = (answer) => (answer?.unsaved ? ' The list of bans cannot be written: a restart will lose this.' : '');

function ended(answer) {
  const bans = answer.bans ? `, ${count(answer.bans, 'ban')} made` : '';
  const free = answer.unbanned ? `, ${answer.unbanned} of them may come back` : '';
  tell(`${count(answer.ended, 'session')} ended${bans}${free}.${unsaved(answer)}`);
}

// endStream asks who of a stream is to be ended.
export const endStream = (stream) => ask({
  title: 'End a stream',
  says: [['Ends sessions of ', bdi(stream), '. Encoders such as OBS come back by themselves unless they are banned for a while.']],
  fields: [
    { name: 'who', label: 'Whose', kind: 'radio', value: 'publisher', options: [['publisher', 'The publisher’s'], ['viewers', 'The viewers’'], ['all', 'Both']] },
    reason, away,
  ],
  action: 'End',
  run: async ({ who, reason: words, ban }) => {
    ended(await post('/api/v1/streams/kick', { stream, who, reason: words, ban }));
  },
});

// endSession asks whether one session is to be ended.
export const endSession = (session) => ask({
  title: `End session ${session.id}`,
  says: [[session.role === 'publish' ? 'Ends the publisher of ' : 'Ends a viewer of ', bdi(session.stream || 'no stream'), '.']],
  fields: [reason, away],
  action: 'End',
  run: async ({ reason: words, ban }) => {
    ended(await remove(`/api/v1/sessions/${idOf(session)}${query({ reason: words, ban })}`));
  },
});

// switchTo asks whether a stream is to go on with the publisher that stands by.
export const switchTo = (stream) => ask({
  title: 'Switch publishers',
  says: [['Viewers of ', bdi(stream), ' see the publisher that stands by, from its next key frame on. The one that they see now stands by then.'],
    'Nobody notices where both are set up alike. Where they are not, players open the stream anew.'],
  action: 'Switch',
  run: async () => {
    await post('/api/v1/streams/switch', { stream });
    tell('The stream goes on with the other publisher at its next key frame.');
  },
});

// addBan asks for a ban; of, for what it is known to be about.
export const addBan = (of = {}) => ask({
  title: 'Ban',
  says: ['Whoever fits all that is filled in may not come in any more. Leave empty what does not matter; an address, a stream or a subject there must be.'],
  fields: [
    { name: 'address', label: 'Address or network', value: of.address ?? '', help: '192.0.2.7 or 192.0.2.0/24. An IPv6 client is its whole /64.' },
    { name: 'stream', label: 'Stream', value: of.stream ?? '', help: 'APP/NAME, or a pattern: live/* fits one segment, live/** any number.' },
    { name: 'subject', label: 'Subject', value: of.subject ?? '' },
    { name: 'role', label: 'Who', kind: 'select', value: of.role ?? '', options: [['', 'Publishers and viewers'], ['publish', 'Publishers'], ['watch', 'Viewers']] },
    { name: 'for', label: 'For', kind: 'select', value: '1h', options: banned },
    reason,
    { name: 'end', label: 'End those who are there now', kind: 'check', value: true },
  ],
  action: 'Ban',
  run: async (values) => {
    const { address, ...rest } = values;
    const where = address.trim();
    const body = { ...rest, stream: rest.stream.trim(), ...(where.includes('/') ? { network: where } : { address: where }) };
    const answer = await post('/api/v1/bans', Object.fromEntries(Object.entries(body).filter(([, v]) => v !== '')));
    tell(`Banned. ${count(answer.ended, 'session')} ended.${unsaved(answer)}`);
  },
});

// pattern writes the name of one stream as a pattern of bans.
export const pattern = (stream) => stream.replace(/%/g, '%25').replace(/\*/g, '%2A').replace(/ /g, '%20')
  .replace(/;/g, '%3B').replace(/^!/, '%21');

export const removeBan = (ban, about) => ask({
  title: 'Remove a ban',
  says: [['Who is banned by it may come in again: ', bdi(about), '.']],
  action: 'Remove',
  run: async () => {
    const answer = await remove('/api/v1/bans/' + encodeURIComponent(ban.id));
    tell('The ban is removed.' + unsaved(answer));
  },
});

// record begins to record a stream, which takes nothing away and is not asked.
export async function record(stream) {
  try {
    const answer = await post('/api/v1/streams/record', { stream, action: 'start' });
    tell(answer.live ? 'The stream is recorded from now on.' : 'The stream will be recorded when it is live.');
  } catch (e) {
    tell(e instanceof TypeError ? 'The server does not answer.' : e.message);
  }
}

export const stopRecording = (stream) => ask({
  title: 'Stop recording',
  says: [['The recording of ', bdi(stream), ' is finished, and no other begins until the server starts anew or you record it again.']],
  action: 'Stop',
  run: async () => {
    await post('/api/v1/streams/record', { stream, action: 'stop' });
    tell('The stream is not recorded any more.');
  },
});

const kept = (answer) => (answer?.unsaved ? ' It cannot be written: a restart will undo this.' : '');

// addRelay asks what is to be relayed.
export const addRelay = () => ask({
  title: 'Add a relay',
  says: ['Pulls a stream from another server, or pushes streams to one. The server and its key are shown to nobody again.'],
  fields: [
    { name: 'kind', label: 'Relay', kind: 'select', value: 'push', options: [['push', 'Push: send streams on'], ['pull', 'Pull: always fetch a stream'], ['origin', 'Origin: fetch streams for their viewers']] },
    { name: 'of', label: 'Stream', value: '', help: 'APP/NAME. But for a pull also a pattern: live/* fits one segment, live/** any number.' },
    { name: 'url', label: 'Server', value: '', help: 'rtmp://HOST/APP/KEY; of a pull or an origin also http, https, ws or wss, and several with spaces between them. {app} and {name} stand for the stream’s, but in a pull.' },
  ],
  action: 'Add',
  run: async ({ kind, of, url }) => {
    const about = kind === 'pull' ? { stream: of.trim() } : { pattern: of.trim() };
    const answer = await post('/api/v1/relays', { kind, ...about, urls: url.split(/\s+/).filter(Boolean) });
    tell(`The relay is added as ${answer.relay.id}.${kept(answer)}`);
  },
});

export const endRelay = (relay) => ask({
  title: 'End a relay',
  says: [[`Ends ${relay.id}: `, bdi(relay.stream ?? relay.pattern), relay.kind === 'push' ? ' is not pushed to ' : ' is not pulled from ', bdi(relay.urls.join(' ')), ' any more.']],
  action: 'End',
  run: async () => {
    const answer = await remove('/api/v1/relays/' + encodeURIComponent(relay.id));
    tell('The relay is ended.' + kept(answer));
  },
});

const path = ({ stream, id }) => '/api/v1/recordings/' + [...stream.split('/'), id].map(encodeURIComponent).join('/');

export const deleteRecording = (recording) => ask({
  title: 'Delete a recording',
  says: [['Deletes the recording ', bdi(recording.id), ' of ', bdi(recording.stream), ' from the disk. It cannot be brought back.']],
  action: 'Delete',
  run: async () => {
    await remove(path(recording) + query({ node: recording.node }));
    tell('The recording is deleted.');
  },
});

export async function pin(recording) {
  try {
    await post(`${path(recording)}/${recording.pinned ? 'unpin' : 'pin'}${query({ node: recording.node })}`);
    tell(recording.pinned ? 'The recording may be deleted to make room.' : 'The recording is kept, whatever room is wanted.');
  } catch (e) {
    tell(e instanceof TypeError ? 'The server does not answer.' : e.message);
  }
}
