// The list of sessions: twenty thousand of them, of which the server finds, sorts and tells
// one page.

import { el, text, show } from './dom.js';
import { ownNode, placed, query } from './api.js';
import { said, bdi } from './client.js';
import { heading, choice, nodeChoice, search, streamCell, sessionCell, clientCell, unanswered } from './parts.js';
import { go, to } from './route.js';
import { Table, Pager, plain, part } from './table.js';
import { bytes } from './format.js';
import * as words from './words.js';

const limit = 50;

// What is nobody's fault.
const fine = new Set(['ok', 'recording', 'rewinding', 'paused', 'only_audio', 'video_off', 'no_video', 'starting']);

// stateCell tells what a session does, and what a viewer's picture lacks.
export function stateCell(cell, s) {
  const shown = part(cell, () => el('span', { class: 'troubles' }));
  const code = s.why?.code ?? 'ok';
  text(shown, code !== 'ok' ? words.why(code) : s.waits ? `Waits for ${s.waits}` : s.paused ? 'Paused' : s.standby ? 'Stands by' : words.state(s.state));
  shown.classList.toggle('warn', !fine.has(code));
  const whole = s.why?.sentence ?? '';
  if (shown.title !== whole) shown.title = whole;
}

const columns = {
  id: { label: 'Session', kind: 'id', sort: 'id', fill: (cell, s) => sessionCell(cell, s) },
  stream: { label: 'Stream', kind: 'name', sort: 'stream', fill: (cell, s) => streamCell(cell, s.stream) },
  role: { label: 'Role', kind: 'over', fill: plain((s) => words.role(s.role)) },
  state: { label: 'State', kind: 'trouble', fill: stateCell },
  node: { label: 'Node', kind: 'node', fill: plain((s) => s.node ?? '') },
  address: { label: 'Address', kind: 'address', sort: 'address', fill: plain((s) => s.address || 'this server') },
  over: { label: 'Over', kind: 'over', fill: plain((s) => words.over(s.protocol)) },
  subject: { label: 'Subject', kind: 'who', sort: 'subject', fill: (cell, s) => clientCell(cell, s.subject) },
  client: { label: 'Client', kind: 'who', fill: (cell, s) => said(part(cell, bdi), s.client || words.none) },
  since: { label: 'For', kind: 'number', sort: 'since', fill: plain((s) => words.since(s.since)) },
  bytes: { label: 'Bytes', kind: 'number', sort: 'bytes', down: true, fill: plain((s) => bytes(s.bytes)) },
  lag: { label: 'Lag', kind: 'number', sort: 'lag', down: true, fill: plain((s) => (s.role === 'watch' && s.state === 'running' ? words.ms(s.lag_ms) : words.none)) },
  dropped: { label: 'Dropped', kind: 'number', sort: 'dropped', down: true, fill: plain((s) => words.n(s.dropped)) },
};

// sessionTable shows some of the columns.
export function sessionTable(names, { empty, order }) {
  return new Table({ label: 'Sessions', empty, order, key: (s) => s.ref ?? s.id, columns: names.map((name) => columns[name]) });
}

const sorts = [['', 'Oldest'], ['-id', 'Newest'], ['-lag', 'Most lag'], ['-dropped', 'Most dropped'], ['-bytes', 'Most bytes'], ['stream', 'Stream'], ['address', 'Address'], ['subject', 'Subject']];

export function sessions() {
  let now = {}, filter = null;
  const change = (values) => go(to('sessions', [], { ...now, cursor: '', page: '', ...values }), true);
  const pick = (label, name, options) => ({ name, ...choice(label, options, (value) => change({ [name]: value })) });
  const type = (label, name, hint) => ({ name, ...search(label, hint, (value) => { if (value !== (now[name] ?? '')) change({ [name]: value }); }) });
  const node = { name: 'node', ...nodeChoice((value) => change({ node: value })) };
  const filters = [
    type('Search', 'search', 'Stream, address, subject, client'),
    type('Stream', 'stream', 'APP/NAME or a pattern'),
    pick('Role', 'role', [['', 'Any'], ['publish', 'Publishers'], ['watch', 'Viewers']]),
    pick('State', 'state', [['', 'Any'], ['running', 'Running'], ['waiting', 'Waits'], ['asking', 'Asks']]),
    pick('Over', 'protocol', [['', 'Any'], ['rtmp', 'RTMP'], ['http-flv', 'HTTP'], ['ws-flv', 'WebSocket']]),
    ...(ownNode() ? [node] : []),
  ];
  const sort = pick('Sort', 'sort', sorts);
  filters.push(sort);
  sort.root.classList.add('narrow'); // where there are columns, these are sorted by
  const order = (sort) => change({ sort: sort === 'id' ? '' : sort });
  const table = sessionTable(['id', 'stream', 'role', 'state', 'node', 'address', 'over', 'subject', 'since', 'bytes', 'lag', 'dropped'],
    { empty: 'No session fits.', order });
  const pager = new Pager('Pages of sessions', (cursor, page) => go(to('sessions', [], { ...now, cursor, page: page > 1 ? page : '' })));
  const asked = ({ search: words, stream, role, state, protocol, address, subject, node: at, sort: by }) => placed({ search: words, stream, role, state, protocol, address, subject, node: at, sort: by });
  const silent = unanswered();
  const heard = (answer) => {
    table.update(answer.sessions);
    silent.update(answer.unreached);
    pager.update({ shown: answer.sessions.length, limit, total: answer.total, next: answer.next, one: 'session' });
  };
  const form = el('form', { class: 'filters', role: 'search' }, ...filters.map((f) => f.root));
  return {
    title: 'Sessions',
    root: el('div', {}, heading('Sessions'), form, silent.root, table.root, pager.root),
    route: ({ query: values }) => {
      now = values;
      for (const f of filters) f.set(values[f.name] ?? '');
      const wanted = asked(values), of = query(wanted);
      if (of !== filter) pager.forget();
      filter = of;
      pager.at(values.cursor ?? '', Number(values.page) || 1);
      const all = wanted.node === 'all';
      show(sort.root, !all);
      table.root.classList.toggle('placed', !!wanted.node);
      table.sorted(all ? null : values.sort || 'id');
    },
    tasks: [{
      every: 2000,
      ask: () => '/api/v1/sessions' + query({ ...asked(now), limit, cursor: now.cursor }),
      heard, gone: [404, 504], missing: () => heard({ sessions: [], total: 0, unreached: [now.node || 'this server'] }),
    }, ...(ownNode() ? [node.task] : [])],
  };
}
