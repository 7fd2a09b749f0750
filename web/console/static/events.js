// The page of events, and the list of them that the overview has, too.

import { el, text } from './dom.js';
import { said, bdi } from './client.js';
import { heading, choice, streamCell, sessionCell } from './parts.js';
import { go, to } from './route.js';
import { Table, plain } from './table.js';
import * as words from './words.js';

const types = {
  'server.started': 'Server started', draining: 'Server ends', publish: 'Publisher begins', unpublish: 'Publisher ends',
  play: 'Viewer begins', stop: 'Viewer ends', tracks: 'Tracks', wanted: 'Wanted', unwanted: 'Not wanted',
  denied: 'Denied', kicked: 'Ended by operator', 'record.begun': 'Recording begins', 'record.finished': 'Recording ends',
  switched: 'Goes on with standby', update: 'Update', gap: 'Events are missing', health: 'Health', relay: 'Relay',
};

// Of a publisher that viewers do not see.
const aside = { publish: 'Standby begins', unpublish: 'Standby ends' };
const what = (e) => (e.standby && aside[e.type]) || (types[e.type] ?? words.spaced(e.type));

const bad = new Set(['denied', 'kicked', 'gap', 'draining']);

// about tells what there is to tell of an event, part of it in the words of clients.
function about(e) {
  switch (e.type) {
    case 'tracks': return (e.tracks ?? []).map((t) => [t.kind, t.codec, t.width && `${t.width}×${t.height}`].filter(Boolean).join(' ')).join(', ');
    case 'update': return words.count(e.sessions?.length ?? 0, 'session');
    case 'gap': return words.count(e.lost ?? 0, 'event') + ' lost';
    case 'health': return e.health ? (e.health.begins === false ? 'Over: ' : '') + e.health.sentence : '';
    case 'relay': return e.relay ? [words.relayKind(e.relay.kind), words.relayState(e.relay.state), e.relay.url, e.detail].filter(Boolean).join(', ') : '';
    case 'record.begun': case 'record.finished': return [e.recording?.id, e.recording?.state, e.reason].filter(Boolean).join(', ');
    default: return [words.over(e.session?.protocol) === words.none ? '' : words.over(e.session.protocol), e.session?.address || e.address,
      e.session?.subject, e.reason, e.detail, e.left_out && `${e.left_out} more like this`].filter(Boolean).join(', ');
  }
}

export function eventTable(empty) {
  return new Table({
    label: 'Events', empty, key: (e) => e.id,
    columns: [
      { label: 'Time', kind: 'time', fill: plain((e) => words.moment(e.time)) },
      { label: 'Event', kind: 'what', fill: (cell, e) => {
        text(cell, what(e));
        cell.classList.toggle('warn', bad.has(e.type) || e.type === 'health' && e.health?.begins !== false
          || e.type === 'relay' && ['refused', 'backing off'].includes(e.relay?.state));
      } },
      { label: 'Stream', kind: 'name', fill: (cell, e) => streamCell(cell, e.stream) },
      { label: 'Session', kind: 'id', fill: (cell, e) => { if (e.session?.id) sessionCell(cell, e.session.id); else cell.textContent = words.none; } },
      { label: 'About', kind: 'about', fill: (cell, e) => said(cell.firstElementChild ?? cell.appendChild(bdi()), about(e) || words.none) },
    ],
  });
}

// Updates tell what the lists show anyway.
const groups = [['', 'All but updates'], ['streams', 'Publishers and tracks'], ['viewers', 'Viewers'], ['refused', 'Denied and ended'], ['health', 'Health'], ['recordings', 'Recordings'], ['relays', 'Relays'], ['all', 'All']];
const members = {
  streams: ['publish', 'unpublish', 'switched', 'tracks', 'wanted', 'unwanted'], viewers: ['play', 'stop'], refused: ['denied', 'kicked'],
  health: ['health'], recordings: ['record.begun', 'record.finished'], relays: ['relay'],
};

// The group may be any word that somebody wrote into the address.
export const fits = (group, e) => (group === 'all' || (Object.hasOwn(members, group) ? members[group].includes(e.type) : e.type !== 'update'));

export function events(feed) {
  let group = '';
  const shown = choice('Show', groups, (value) => go(to('events', [], { show: value }), true));
  const table = eventTable('No events yet.');
  const missed = el('p', { class: 'hint' });
  const update = () => {
    table.update(feed.events.filter((e) => fits(group, e)).slice(0, 200));
    text(missed, feed.missing ? 'This server keeps no events.'
      : feed.missed ? `${words.count(feed.missed, 'event')} came faster than they could be shown.` : 'The newest 200, as they come.');
  };
  return {
    title: 'Events', feed: update, tasks: [],
    root: el('div', {}, heading('Events'), el('div', { class: 'filters' }, shown.root), table.root, missed),
    route: ({ query }) => {
      group = query.show ?? '';
      shown.set(group);
      update();
    },
  };
}
