// The list of relays: what is pulled from other servers, and pushed to them.

import { el, show } from './dom.js';
import * as act from './actions.js';
import { query } from './api.js';
import { bytes, sentence } from './format.js';
import { heading, choice, search, streamCell, clientCell, pillCell, button } from './parts.js';
import { go, to } from './route.js';
import { Table, Pager, plain } from './table.js';
import * as words from './words.js';

const limit = 50;

// about tells what there is to tell of a connection beside its state.
export function about(c) {
  const until = c.next_try && words.until(c.next_try);
  const next = until?.startsWith('in') && `Next try ${until}.`;
  const failed = c.error && c.error !== c.detail && `Failed last: ${sentence(c.error)}`;
  const resumed = c.joined + c.cuts > 0 && `Went on ${words.count(c.joined, 'time')} at the exact packet, ${words.count(c.cuts, 'time')} at a key frame.`;
  return [sentence(c.detail), next, failed, resumed].filter(Boolean).join(' ');
}

// rowsOf makes a row of each connection, and one of a relay that has none.
const rowsOf = (relay) => (relay.connections.length ? relay.connections.map((c) => ({ relay, c })) : [{ relay, c: null }]);

const figure = (of) => plain(({ c }) => (c ? of(c) : words.none));

// doings fills the cell with what can be done about a relay.
function doings(cell, { relay }) {
  cell.relay = relay;
  if (relay.by !== 'api') {
    cell.replaceChildren(el('span', { class: 'hint' }, relay.by));
    return;
  }
  if (!cell.querySelector('button')) cell.replaceChildren(button('End…', () => act.endRelay(cell.relay), 'small danger'));
  const label = `End ${relay.id}`;
  if (cell.firstElementChild.getAttribute('aria-label') !== label) cell.firstElementChild.setAttribute('aria-label', label);
}

const columns = [
  { label: 'Stream', kind: 'name', fill: (cell, { relay, c }) => {
    const stream = c?.stream ?? relay.stream;
    if (stream) streamCell(cell, stream);
    else {
      if (cell.querySelector('a')) cell.replaceChildren();
      clientCell(cell, relay.pattern);
    }
  } },
  { label: 'State', kind: 'state', fill: (cell, { c }) => pillCell(cell, c?.state ?? 'idle', words.relayState(c?.state ?? 'idle')) },
  { label: 'Relay', kind: 'over', fill: plain(({ relay }) => words.relayKind(relay.kind)) },
  { label: 'Server', kind: 'about', fill: (cell, { relay, c }) => clientCell(cell, c?.url || relay.urls.join(' ')) },
  { label: 'For', kind: 'number', fill: figure((c) => words.since(c.since)) },
  { label: 'Carried', kind: 'number', fill: figure((c) => bytes(c.bytes)) },
  { label: 'Dropped', kind: 'number', fill: figure((c) => words.n(c.dropped)) },
  { label: 'Lag', kind: 'number', fill: figure((c) => words.ms(c.lag_ms)) },
  { label: 'Tries', kind: 'number', fill: figure((c) => words.n(c.tries)) },
  { label: 'About', kind: 'about', fill: (cell, { c }) => clientCell(cell, c ? about(c) : '') },
  { label: 'Actions', kind: 'does', fill: doings },
];

export function relayTable(empty) {
  const table = new Table({ label: 'Relays', empty, columns, key: ({ relay, c }) => `${relay.id} ${c?.stream ?? ''}` });
  table.root.classList.add('relays');
  return table;
}

export const rows = (relays) => relays.flatMap(rowsOf);

const kinds = [['', 'Any'], ['pull', 'Pull'], ['origin', 'Origin'], ['push', 'Push']];

export function relays() {
  let now = {};
  const change = (values) => go(to('relays', [], { ...now, cursor: '', page: '', ...values }), true);
  const name = search('Search', 'Stream or server', (value) => { if (value !== (now.search ?? '')) change({ search: value }); });
  const kind = choice('Relay', kinds, (value) => change({ kind: value }));
  const state = choice('State', [['', 'Any'], ...words.relayStates], (value) => change({ state: value }));
  const table = relayTable('Nothing is relayed.');
  const more = el('p', { class: 'hint', hidden: true }, 'Of a relay with more than 100 streams, those are shown first that need a look.');
  const pager = new Pager('Pages of relays', (cursor, page) => go(to('relays', [], { ...now, cursor, page: page > 1 ? page : '' })));
  const add = button('Add…', () => act.addRelay());
  const none = el('p', { class: 'nothing', hidden: true }, 'This server relays nothing.');
  const shown = el('div', {}, el('p', { class: 'row actions' }, add),
    el('form', { class: 'filters', role: 'search' }, name.root, kind.root, state.root), table.root, more, pager.root);
  let filter = null;
  return {
    title: 'Relays',
    root: el('div', {}, heading('Relays'), none, shown),
    route: ({ query: asked }) => {
      now = asked;
      name.set(asked.search ?? '');
      kind.set(asked.kind ?? '');
      state.set(asked.state ?? '');
      const of = query({ search: asked.search, kind: asked.kind, state: asked.state });
      if (of !== filter) pager.forget();
      filter = of;
      pager.at(asked.cursor ?? '', Number(asked.page) || 1);
    },
    tasks: [{
      every: 2000,
      ask: () => '/api/v1/relays' + query({ limit, search: now.search, kind: now.kind, state: now.state, cursor: now.cursor }),
      heard: (answer) => {
        table.update(rows(answer.relays));
        show(more, answer.relays.some((r) => r.connections.length >= 100));
        pager.update({ shown: answer.relays.length, limit, total: answer.total, next: answer.next, one: 'relay' });
      },
      missing: () => {
        show(none, true);
        show(shown, false);
      },
    }],
  };
}
