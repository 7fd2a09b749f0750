// The overview: what the server does, what is wrong, and what happens.

import { el, text, show, rows } from './dom.js';
import { said } from './client.js';
import { eventTable, fits } from './events.js';
import { bytes } from './format.js';
import { Graph } from './graph.js';
import { heading, section, HealthList, streamCell, clientCell, pillCell } from './parts.js';
import { to } from './route.js';
import { streamTable } from './streams.js';
import { Table, plain } from './table.js';
import * as words from './words.js';

// How many streams are asked for: those first with which something is wrong, then the most watched.
const most = 50;

const all = (label, href) => el('p', { class: 'all' }, el('a', { href }, label));

// graphs are those of the server, by the name of their series.
function graphs() {
  return {
    streams: new Graph('Streams', words.n), viewers: new Graph('Viewers', words.n),
    bits_in: new Graph('In', words.bits), bits_out: new Graph('Out', words.bits),
    cpu: new Graph('CPU', words.cores, { least: 0.1 }), memory: new Graph('Memory', bytes),
    refused: new Graph('Refusals', (n) => `${words.n(n)} in 5 s`),
  };
}

const sum = (totals, role, of) => totals.filter((t) => t.role === role).reduce((all, t) => all + of(t), 0);
const every = (counts) => Object.values(counts).reduce((all, n) => all + n, 0);

function limits({ limits: set, parts }) {
  const names = { connections: 'Connections', connections_per_address: 'Connections per address', viewers: 'Viewers', sessions_per_identity: 'Sessions per identity' };
  const open = parts.connections?.open;
  const shown = {};
  for (const [name, label] of Object.entries(names)) shown[`Limit of ${label.toLowerCase()}`] = set[name] ? words.n(set[name]) : '';
  return { 'Open connections': open === undefined ? '' : words.n(open), ...shown };
}

// A certificate with fewer days is told of in the log, too.
const fewDays = 14;

// certificates lists those for TLS: how long each lasts, and why it is not replaced.
function certificates() {
  return new Table({
    label: 'Certificates', empty: 'There are none.', key: (c) => c.key,
    columns: [
      { label: 'Name', kind: 'name', fill: (cell, c) => clientCell(cell, c.names.join(' ')) },
      {
        label: 'Left', kind: 'trouble', fill: (cell, c) => pillCell(cell, c.days_left >= fewDays && !c.problem ? 'playing' : 'grace',
          !c.not_after ? 'None yet' : c.days_left > 0 ? words.count(Math.floor(c.days_left), 'day') : 'Expired'),
      },
      { label: 'Problem', fill: (cell, c) => said(cell, c.problem || words.none) },
    ],
  });
}

export function overview(feed) {
  const pill = el('span', { class: 'pill' });
  const about = el('p', { class: 'hint' });
  const plots = graphs();
  const health = new HealthList(true);
  const troubles = section('What is wrong', health.root);
  const table = streamTable(['stream', 'state', 'health', 'bitrate', 'viewers', 'since'], 'Nothing is live.');
  const streams = section('Streams', table.root, all('All streams', to('streams')));
  const recent = eventTable('No events yet.');
  const happened = section('Events', recent.root, all('All events', to('events')));
  const recording = new Table({
    label: 'Recordings that are being written', empty: 'Nothing is recorded now.', key: (r) => r.stream + '/' + r.id,
    columns: [
      { label: 'Stream', kind: 'name', fill: (cell, r) => streamCell(cell, r.stream) },
      { label: 'For', kind: 'number', fill: plain((r) => words.since(r.begin)) },
      { label: 'Size', kind: 'number', fill: plain((r) => bytes(r.bytes)) },
    ],
  });
  const disk = el('p', { class: 'disk' }), meter = el('meter', { min: '0', max: '1', 'aria-label': 'Disk in use' });
  const recorded = section('Recordings', recording.root, disk, meter, all('All recordings', to('recordings')));
  const issued = certificates();
  const secured = section('Certificates', issued.root);
  const sums = el('dl', { class: 'figures' }), server = el('dl', { class: 'figures' });

  function heardInfo(info) {
    words.setClock(info.now);
    text(pill, info.ready ? 'Ready' : info.draining ? 'Draining' : 'Not ready');
    pill.dataset.state = info.ready ? 'playing' : 'grace';
    text(about, info.ready ? `Runs for ${words.since(info.started)}.` : `${words.spaced(info.reason)}.`);
    rows(server, {
      Version: info.version, Started: words.date(info.started),
      ...Object.fromEntries(Object.entries(info.addresses).map(([name, address]) => [name.toUpperCase(), address])), ...limits(info),
    });
    const t = info.totals;
    rows(sums, {
      Publishers: words.n(sum(t, 'publish', (x) => x.running)), Viewers: words.n(sum(t, 'watch', (x) => x.running)),
      'Sessions that ended': words.n(t.reduce((n, x) => n + every(x.ended), 0)), Refused: words.n(t.reduce((n, x) => n + every(x.refused), 0)),
      Received: bytes(sum(t, 'publish', (x) => x.bytes)), Sent: bytes(sum(t, 'watch', (x) => x.bytes)), 'Packets dropped': words.n(sum(t, 'watch', (x) => x.dropped)),
    });
    const { disk: room, recordings, certificates: list } = info.parts;
    issued.update((list ?? []).map((c, i) => ({ ...c, key: String(i) })));
    show(secured, !!list);
    text(disk, [room && `${bytes(room.free)} of ${bytes(room.total)} free.`, recordings?.disk_full && 'The disk is full: nothing is recorded.'].filter(Boolean).join(' '));
    show(meter, !!room);
    if (room) meter.value = 1 - room.free / (room.total || 1);
  }

  function heardStreams({ streams: list, total }) {
    const sick = list.filter((s) => s.health?.length);
    health.update(sick.flatMap((s) => s.health.map((h) => ({ stream: s.stream, health: h }))).slice(0, most));
    show(troubles, sick.length > 0);
    text(troubles.head, `What is wrong with ${words.count(sick.length, 'publisher')}${sick.length < most ? '' : ' or more'}`);
    table.update(list.slice(0, 10));
    text(streams.head, total > 10 ? `Streams: ${Math.min(10, total)} of ${words.n(total)}` : 'Streams');
  }

  show(troubles, false);
  show(secured, false);
  return {
    title: 'Overview',
    feed: () => {
      show(happened, !feed.missing);
      recent.update(feed.events.filter((e) => fits('', e)).slice(0, 12));
    },
    root: el('div', { class: 'overview' },
      el('div', { class: 'titles' }, heading('Overview'), pill, about),
      el('div', { class: 'graphs' }, ...Object.values(plots).map((g) => g.root)),
      troubles, el('div', { class: 'columns' },
        el('div', {}, streams, secured, happened),
        el('div', {}, recorded, section('Since the start', sums), section('Server', server)))),
    tasks: [
      { every: 2000, ask: () => '/api/v1/info', heard: heardInfo },
      {
        every: 5000, ask: () => '/api/v1/series',
        heard: ({ points, step_ms: step, end }) => {
          for (const [name, graph] of Object.entries(plots)) graph.update(points[name], step, end);
        },
        missing: () => show(plots.streams.root.parentElement, false),
      },
      { every: 10000, ask: () => `/api/v1/streams?sort=-health&limit=${most}`, heard: heardStreams },
      {
        every: 10000, ask: () => '/api/v1/recordings?state=recording&limit=20',
        heard: (answer) => recording.update(answer.recordings), missing: () => show(recorded, false),
      },
    ],
  };
}
