// The nodes of the cluster: which there are, how the engine is, and at which of them each stream is.

import { el, show, rows } from './dom.js';
import { query } from './api.js';
import { said } from './client.js';
import { sentence } from './format.js';
import { heading, section, search, streamCell, clientCell, pillCell, unanswered } from './parts.js';
import { go, to } from './route.js';
import { Table, Pager, plain } from './table.js';
import * as words from './words.js';

const limit = 50;

const states = { running: 'Running', draining: 'Draining', silent: 'Silent', owner: 'Owner', copying: 'Copies', looking: 'Looks for it' };
const pills = { running: 'playing', owner: 'live', copying: 'playing', draining: 'connecting', looking: 'silent', silent: 'silent' };
const stateCell = (cell, { state }) => pillCell(cell, pills[state], states[state] ?? state);

// clock tells by how much a clock is wrong: the way of a message is no mistake of it.
const clock = (ms) => (Math.abs(ms) < 250 ? 'Same' : `${words.ms(Math.abs(ms))} ${ms > 0 ? 'ahead' : 'behind'}`);
const known = (of) => plain((node) => (node.boot ? of(node) : words.none));

const nodeColumns = [
  { label: 'Node', kind: 'name', fill: (cell, n) => clientCell(cell, n.self ? `${n.name} (this one)` : n.name) },
  { label: 'State', kind: 'state', fill: stateCell },
  { label: 'Runs for', kind: 'number', fill: known((n) => words.since(n.started)) },
  { label: 'Heard', kind: 'number rate', fill: known((n) => (n.self ? words.none : `${words.since(n.heard)} ago`)) },
  { label: 'Clock', kind: 'number rate', fill: known((n) => (n.self ? words.none : clock(n.clock_ms))) },
  { label: 'Owns', kind: 'number', fill: known((n) => words.n(n.owned)) },
  { label: 'Copies', kind: 'number', fill: known((n) => words.n(n.copied)) },
  { label: 'Sessions', kind: 'number', fill: known((n) => words.n(n.sessions)) },
  { label: 'Version', kind: 'about', fill: (cell, n) => clientCell(cell, n.version) },
];

// about tells what there is to tell of a stream at a node beside its state.
function about({ place: p }) {
  return [
    p.provisional && 'Nothing is recorded of this yet.',
    p.state !== 'owner' && p.from && `From ${p.from}.`,
    p.standby && 'A publisher stands by here.',
    p.since && `For ${words.since(p.since)}.`,
    p.breaks > 0 && `Broke ${words.count(p.breaks, 'time')}, went on with the next packet ${words.count(p.joined, 'time')}.`,
    p.lost > 0 && `${words.count(p.lost, 'packet')} lost.`, sentence(p.detail),
  ].filter(Boolean).join(' ') || words.none;
}

const placeColumns = [
  { label: 'Stream', kind: 'name', fill: (cell, { stream, first }) => {
    streamCell(cell, stream);
    cell.classList.toggle('again', !first);
  } },
  { label: 'Node', kind: 'at', fill: (cell, { place }) => {
    clientCell(cell, place.node);
    cell.classList.toggle('branch', place.state !== 'owner');
  } },
  { label: 'State', kind: 'state', fill: (cell, { place }) => stateCell(cell, place) },
  { label: 'Viewers', kind: 'number', fill: plain(({ place }) => words.n(place.viewers)) },
  { label: 'Epoch', kind: 'number', fill: plain(({ place }) => (place.epoch ? words.n(place.epoch) : words.none)) },
  { label: 'About', kind: 'about', fill: (cell, row) => clientCell(cell, about(row)) },
];

const placeRows = (streams) => streams.flatMap(({ stream, places }) => places.map((place, i) => ({ stream, place, first: i === 0 })));

export function nodes() {
  let now = {};
  const name = search('Search', 'Stream', (value) => { if (value !== (now.search ?? '')) go(to('nodes', [], { search: value }), true); });
  const table = new Table({ label: 'Nodes', empty: 'There are none.', columns: nodeColumns, key: (n) => n.name + ' ' + n.boot });
  const places = new Table({ label: 'Streams', empty: 'No node has a stream.', columns: placeColumns, key: ({ stream, place }) => place.node + ' ' + stream });
  const pager = new Pager('Pages of streams', (cursor, page) => go(to('nodes', [], { ...now, cursor, page: page > 1 ? page : '' })));
  const pill = el('span', { class: 'pill' }), trouble = el('p', { class: 'hint' }), engine = el('dl', { class: 'figures' });
  const silent = unanswered();
  const none = el('p', { class: 'nothing', hidden: true }, 'This server is alone: it is no node of a cluster.');
  const of = section('Streams', el('form', { class: 'filters', role: 'search' }, name.root), places.root, silent.root, pager.root);
  const shown = el('div', { class: 'nodes' }, section('Nodes', table.root),
    section('Engine', el('p', {}, pill), trouble, engine), of);
  let filter = null;
  return {
    title: 'Nodes',
    root: el('div', {}, heading('Nodes'), none, shown),
    route: ({ query: asked }) => {
      now = asked;
      name.set(asked.search ?? '');
      if ((asked.search ?? '') !== filter) pager.forget();
      filter = asked.search ?? '';
      pager.at(asked.cursor ?? '', Number(asked.page) || 1);
    },
    tasks: [{
      every: 2000,
      ask: () => '/api/v1/nodes' + query({ limit, search: now.search, cursor: now.cursor }),
      heard: (answer) => {
        const e = answer.engine;
        table.update(answer.nodes);
        pillCell(pill.parentElement, e.connected && e.writable ? 'playing' : 'silent',
          !e.connected ? 'Not connected' : e.writable ? 'Connected' : 'Nothing can be written');
        said(trouble, sentence(e.detail) ?? '');
        show(trouble, !!e.detail);
        rows(engine, {
          Leader: e.leader || words.none, 'Nodes that vote': e.voters ? `${e.reachable} of ${e.voters} there` : words.none,
          'For': words.since(e.since), 'Last answer took': words.ms(e.roundtrip_ms),
        });
        places.update(placeRows(answer.streams));
        silent.update(answer.unreached);
        pager.update({ shown: answer.streams.length, limit, next: answer.next, one: 'stream' });
      },
      missing: () => {
        show(none, true);
        show(shown, false);
      },
    }],
  };
}
