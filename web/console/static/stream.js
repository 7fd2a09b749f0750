// One stream: how well it comes in, who watches, and what can be done about it.

import { el, text, show, rows } from './dom.js';
import * as act from './actions.js';
import { everywhere, ownNode, query } from './api.js';
import { bdi } from './client.js';
import { bytes, videoCodec, audioCodec, size, tracks } from './format.js';
import { Graph } from './graph.js';
import { heading, section, HealthList, button } from './parts.js';
import { Publishers } from './publishers.js';
import { recordingTable } from './recordings.js';
import { relayTable, rows as relayRows } from './relays.js';
import { to, toSession } from './route.js';
import { sessionTable } from './sessions.js';
import * as words from './words.js';

// Bars show how many of something there are, by kind.
class Bars {
  constructor(label) {
    this.list = el('dl', { class: 'bars' });
    this.root = el('div', {}, el('h3', {}, label), this.list);
  }

  update(counts) {
    const most = Math.max(1, ...Object.values(counts));
    const gone = new Map([...this.list.children].map((row) => [row.dataset.label, row]));
    for (const [label, value] of Object.entries(counts)) {
      let row = gone.get(label);
      gone.delete(label);
      if (!row) {
        row = el('div', { 'data-label': label }, el('dt', {}, label), el('dd', {}, el('span', {}), el('progress', { 'aria-hidden': 'true' })));
        this.list.append(row);
      }
      const [number, bar] = row.lastElementChild.children;
      text(number, words.n(value));
      bar.max = most;
      bar.value = value;
    }
    for (const row of gone.values()) row.remove();
  }
}

function lagCounts(lags) {
  let before = 0;
  return Object.fromEntries(lags.map(({ below_ms: below, viewers }) => {
    const label = below === null ? `${words.ms(before)} and more` : `below ${words.ms(below)}`;
    before = below ?? before;
    return [label, viewers];
  }));
}

export function stream(name) {
  const state = el('span', { class: 'pill' }), about = el('p', { class: 'hint' });
  const title = heading('');
  title.append(bdi(name));
  const record = button('Record', () => act.record(name));
  const stop = button('Stop recording…', () => act.stopRecording(name));
  const publisher = el('a', { href: '#/', hidden: true }, 'The publisher’s session');
  const health = new HealthList(false);
  const sick = section('What is wrong with the publisher', health.root);
  const plots = {
    bitrate: new Graph('Bitrate', words.bits), frame_rate: new Graph('Frame rate', words.fps),
    key_frame_interval_ms: new Graph('Key-frame interval', words.ms), av_distance_ms: new Graph('Audio–video distance', words.ms, { least: 100 }),
    jitter_ms: new Graph('Arrival jitter', words.ms, { least: 50 }),
  };
  const charts = el('div', { class: 'graphs few' }, ...Object.values(plots).map((g) => g.root));
  const format = el('dl', { class: 'figures' }), sums = el('dl', { class: 'figures' });
  const protocols = new Bars('By protocol'), lags = new Bars('By lag');
  const bars = el('div', { class: 'pair' }, protocols.root, lags.root);
  const watching = section('Viewers', bars);
  const table = sessionTable(['id', 'role', 'state', 'address', 'over', 'subject', 'since', 'bytes', 'lag', 'dropped'], { empty: 'Nobody publishes or watches it.' });
  const people = section('Sessions', table.root, el('p', { class: 'all' }, el('a', { href: to('sessions', [], { stream: name }) }, 'All sessions of this stream')));
  const tapes = recordingTable('It has no recordings.', false);
  const recorded = section('Recordings', tapes.root, el('p', { class: 'all' }, el('a', { href: to('recordings', [], { stream: name }) }, 'All recordings of this stream')));

  const pair = new Publishers(name, () => title.focus());
  let current = null; // the stream

  const ways = relayTable('');
  const relayed = section('Pulled from, pushed to', ways.root);

  // recordable says which of the two can be done about recordings; where the server does not
  // know the stream, it does not tell, and either may be wanted.
  let records = true; // the server
  function recordable(s) {
    const focused = document.activeElement;
    show(record, records && !s?.recorded);
    show(stop, records && (!s || s.recorded));
    if (focused === record && record.hidden) stop.focus();
    if (focused === stop && stop.hidden) record.focus();
  }

  function heardStream({ streams: [s] }) {
    show(state, !!s);
    recordable(s);
    if (!s?.standby !== !current?.standby) publishers.due = 0;
    publishers.every = s?.standby ? 2000 : 10000;
    current = s;
    text(about, s ? (s.state === 'waiting' ? 'Nobody publishes it; there are viewers who wait.' : s.since ? `Live for ${words.since(s.since)}.` : '')
      : `${ownNode() ? 'At this node nobody' : 'Nobody'} publishes it, and nobody waits for it.`);
    if (!s) return;
    state.dataset.state = s.state;
    text(state, s.state === 'waiting' ? 'Wanted' : words.state(s.state));
    health.update((s.health ?? []).map((h) => ({ stream: name, health: h })));
    show(sick, !!s.health?.length);
    rows(format, {
      Video: [videoCodec(s.video), size(s.video)].filter(Boolean).join(', '),
      'Frame rate': s.frame_rate ? words.fps(s.frame_rate) : '',
      'Key frames': s.key_frame_interval_ms ? `every ${words.ms(s.key_frame_interval_ms)}` : '',
      Audio: audioCodec(s.audio), 'More tracks': tracks(s.tracks), Bitrate: words.bits(s.bitrate),
      Publisher: s.publisher, Protocol: s.protocol && words.over(s.protocol),
    });
    rows(sums, {
      Received: bytes(s.bytes_in), Sent: bytes(s.bytes_out), 'Packets dropped': words.n(s.dropped), 'GOPs cut': words.n(s.gop_cuts),
      'Clock jumps repaired': words.n(s.jumps), 'Frames of silence put in': words.n(s.filled),
      ...Object.fromEntries(Object.entries(s.skipped_tags).map(([why, n]) => [`Skipped: ${why}`, words.n(n)])),
    });
    text(watching.head, words.count(s.viewers.total, 'viewer'));
    show(bars, s.viewers.total > 0);
    protocols.update(Object.fromEntries(Object.entries(s.viewers.by_protocol).map(([over, n]) => [words.over(over), n])));
  }

  // Of two publishers more is to be seen, and more often.
  const publishers = {
    every: 10000, ask: () => '/api/v1/sessions' + query({ stream: name, role: 'publish', limit: 2 }),
    heard: ({ sessions }) => {
      const shown = sessions.find((s) => !s.standby) ?? sessions[0];
      show(publisher, !!shown);
      if (shown) publisher.href = toSession(shown.id);
      pair.update(current, sessions);
    },
  };

  show(sick, false);
  show(relayed, false);
  return {
    title: name,
    root: el('div', {},
      el('div', { class: 'titles' }, title, state, about),
      el('p', { class: 'row actions' }, record, stop, button('End…', () => act.endStream(name), 'danger'),
        button('Ban…', () => act.addBan({ stream: act.pattern(name) }), 'danger'), publisher),
      sick, pair.root, charts,
      el('div', { class: 'halves' }, section('Format', format), section('Sums', sums)),
      watching, relayed, people, recorded),
    tasks: [
      { every: 2000, ask: () => '/api/v1/streams' + query({ stream: name, limit: 1 }), heard: heardStream },
      {
        every: 2000, ask: () => '/api/v1/series' + query({ stream: name }),
        heard: ({ points, step_ms: step, end }) => {
          show(charts, true);
          for (const [of, graph] of Object.entries(plots)) graph.update(points[of], step, end);
        },
        missing: () => show(charts, false),
      },
      {
        every: 2000, ask: () => '/api/v1/sessions' + query({ stream: name, limit: 10, sort: '-lag' }),
        heard: (answer) => {
          table.update(answer.sessions);
          if (answer.lags) lags.update(lagCounts(answer.lags));
          text(people.head, answer.total > 10 ? `Sessions: 10 of ${words.n(answer.total)}, those with the most lag` : 'Sessions');
        },
      },
      publishers,
      {
        every: 5000, ask: () => '/api/v1/relays' + query({ stream: name, limit: 10 }),
        heard: ({ relays }) => {
          const here = relayRows(relays).filter(({ c }) => c);
          ways.update(here);
          show(relayed, here.length > 0);
        },
        missing: () => show(relayed, false),
      },
      {
        every: 5000, ask: () => '/api/v1/recordings' + query({ stream: name, limit: 10, node: everywhere() }),
        heard: (answer) => tapes.update(answer.recordings),
        missing: () => {
          records = false;
          for (const part of [recorded, record, stop]) show(part, false);
        },
      },
    ],
  };
}
