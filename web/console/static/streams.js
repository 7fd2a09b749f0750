// The list of streams.

import { el, text, show } from './dom.js';
import { ownNode, placed, query } from './api.js';
import { heading, choice, nodeChoice, search, streamCell, pillCell, unanswered } from './parts.js';
import { go, to } from './route.js';
import { Table, Pager, plain, part } from './table.js';
import { videoCodec, audioCodec, size } from './format.js';
import * as words from './words.js';

const limit = 100;

// healthCell shows in a few words what is wrong with a publisher.
export function healthCell(cell, stream) {
  const list = part(cell, () => el('span', { class: 'troubles' }));
  const said = (stream.health ?? []).map((h) => words.health(h.word)).join(', ');
  text(list, said || (stream.state === 'live' ? 'Good' : words.none));
  list.classList.toggle('warn', said !== '');
}

const media = (s) => [videoCodec(s.video), size(s.video), audioCodec(s.audio)].filter(Boolean).join(', ') || words.none;

const columns = {
  stream: { label: 'Stream', kind: 'name', sort: 'stream', fill: (cell, s) => streamCell(cell, s.stream) },
  state: { label: 'State', kind: 'state', fill: (cell, s) => pillCell(cell, s.state, s.state === 'waiting' ? 'Wanted' : words.state(s.state)) },
  health: { label: 'Health', kind: 'trouble', sort: 'health', down: true, fill: healthCell },
  node: { label: 'Node', kind: 'node', fill: plain((s) => s.node ?? '') },
  over: { label: 'Publisher', kind: 'over', fill: plain((s) => words.over(s.protocol) + (s.standby ? ', standby' : '')) },
  bitrate: { label: 'Bitrate', kind: 'number rate', sort: 'bitrate', down: true, fill: plain((s) => words.bits(s.bitrate)) },
  viewers: { label: 'Viewers', kind: 'number', sort: 'viewers', down: true, fill: plain((s) => words.n(s.viewers.total)) },
  since: { label: 'For', kind: 'number', sort: 'since', down: true, fill: plain((s) => words.since(s.since)) },
  format: { label: 'Format', kind: 'about', fill: plain(media) },
};

// streamTable shows some of the columns; order is told what to sort by, where it can be sorted.
export function streamTable(names, empty, order) {
  return new Table({ label: 'Streams', empty, order, key: (s) => `${s.node ?? ''} ${s.stream}`, columns: names.map((name) => columns[name]) });
}

const sorts = [['', 'Name'], ['-health', 'Most wrong'], ['-viewers', 'Most viewers'], ['-bitrate', 'Highest bitrate'], ['-since', 'Newest'], ['since', 'Oldest']];

export function streams() {
  let now = {};
  const change = (values) => go(to('streams', [], { ...now, cursor: '', page: '', ...values }), true);
  const name = search('Search', 'Name or publisher', (value) => { if (value !== (now.search ?? '')) change({ search: value }); });
  const state = choice('State', [['', 'Any'], ['live', 'Live'], ['grace', 'Publisher lost'], ['waiting', 'Wanted']], (value) => change({ state: value }));
  const node = nodeChoice((value) => change({ node: value }));
  const sort = choice('Sort', sorts, (value) => change({ sort: value }));
  sort.root.classList.add('narrow'); // where there are columns, these are sorted by
  const order = (by) => change({ sort: by === 'stream' ? '' : by });
  const table = streamTable(['stream', 'state', 'health', 'node', 'over', 'bitrate', 'viewers', 'since', 'format'], 'No stream fits.', order);
  const pager = new Pager('Pages of streams', (cursor, page) => go(to('streams', [], { ...now, cursor, page: page > 1 ? page : '' })));
  const asked = ({ search: words, state: of, node: at, sort: by }) => placed({ search: words, state: of, node: at, sort: by });
  const silent = unanswered();
  const heard = (answer) => {
    table.update(answer.streams);
    silent.update(answer.unreached);
    pager.update({ shown: answer.streams.length, limit, total: answer.total, next: answer.next, one: 'stream' });
  };
  const form = el('form', { class: 'filters', role: 'search' }, name.root, state.root, ...(ownNode() ? [node.root] : []), sort.root);
  let filter = null;
  return {
    title: 'Streams',
    root: el('div', {}, heading('Streams'), form, silent.root, table.root, pager.root),
    route: ({ query: values }) => {
      now = values;
      name.set(values.search ?? '');
      state.set(values.state ?? '');
      node.set(values.node ?? '');
      sort.set(values.sort ?? '');
      const wanted = asked(values), of = query(wanted);
      const all = wanted.node === 'all';
      show(sort.root, !all);
      table.root.classList.toggle('placed', !!wanted.node);
      table.sorted(all ? null : values.sort || 'stream');
      if (of !== filter) pager.forget();
      filter = of;
      pager.at(values.cursor ?? '', Number(values.page) || 1);
    },
    tasks: [{
      every: 2000,
      ask: () => '/api/v1/streams' + query({ ...asked(now), limit, cursor: now.cursor }),
      heard, gone: [404, 504], missing: () => heard({ streams: [], total: 0, unreached: [now.node || 'this server'] }),
    }, ...(ownNode() ? [node.task] : [])],
  };
}
