// The list of recordings. Their files are on the public address, which may ask for a
// permission of its own: there is no link to them here.

import { el, text, show } from './dom.js';
import * as act from './actions.js';
import { everywhere, query } from './api.js';
import { duration, bytes, recordingState, gaps } from './format.js';
import { heading, choice, search, streamCell, pillCell, clientCell, button } from './parts.js';
import { go, to } from './route.js';
import { Table, Pager, plain } from './table.js';
import * as words from './words.js';

const limit = 50;

// doings fills the cell with what can be done about a recording.
function doings(cell, r) {
  cell.recording = r;
  if (!cell.firstElementChild) {
    cell.append(button('', () => act.pin(cell.recording), 'small'), button('Delete…', () => act.deleteRecording(cell.recording), 'small danger'));
  }
  const [pin, remove] = cell.children;
  text(pin, r.pinned ? 'Unpin' : 'Pin');
  show(remove, r.state !== 'recording');
  for (const [b, does] of [[pin, r.pinned ? 'Unpin' : 'Pin'], [remove, 'Delete']]) {
    const label = `${does} the recording of ${r.stream}, ${words.date(r.begin)}`;
    if (b.getAttribute('aria-label') !== label) b.setAttribute('aria-label', label);
  }
}

export function recordingTable(empty, withStream = true) {
  return new Table({
    label: 'Recordings', empty, key: (r) => (r.node ?? '') + ' ' + r.stream + '/' + r.id,
    columns: [
      ...(withStream ? [{ label: 'Stream', kind: 'name', fill: (cell, r) => streamCell(cell, r.stream) }] : []),
      { label: 'Begin', kind: 'date', fill: (cell, r) => (r.begin ? text(cell, words.date(r.begin)) : clientCell(cell, r.id)) },
      { label: 'Length', kind: 'number', fill: plain((r) => duration(r.duration * 1000)) },
      { label: 'Size', kind: 'number', fill: plain((r) => bytes(r.bytes)) },
      { label: 'State', kind: 'state', fill: (cell, r) => pillCell(cell, r.state, recordingState(r)) },
      { label: 'About', kind: 'about', fill: plain((r) => [r.node && `At ${r.node}`, r.pinned && 'Pinned', r.foreign && 'Put there by hand', gaps(r)].filter(Boolean).join(', ') || words.none) },
      { label: 'Actions', kind: 'does', fill: doings },
    ],
  });
}

export function recordings() {
  let now = {}, filter = null;
  const change = (values) => go(to('recordings', [], { ...now, cursor: '', page: '', ...values }), true);
  const name = search('Stream', 'APP/NAME or a pattern', (value) => { if (value !== (now.stream ?? '')) change({ stream: value }); });
  const state = choice('State', [['', 'Any'], ['recording', 'Recording'], ['finished', 'Finished'], ['disk full', 'Disk was full']], (value) => change({ state: value }));
  const table = recordingTable('No recording fits.');
  const pager = new Pager('Pages of recordings', (cursor, page) => go(to('recordings', [], { ...now, cursor, page: page > 1 ? page : '' })));
  const none = el('p', { class: 'nothing', hidden: true }, 'Nothing is recorded by this server: SLUICE_RECORD_DIR is not set.');
  const silent = el('p', { class: 'nothing', hidden: true });
  const shown = el('div', {}, el('form', { class: 'filters', role: 'search' }, name.root, state.root), silent, table.root, pager.root);
  return {
    title: 'Recordings',
    root: el('div', {}, heading('Recordings'), none, shown),
    route: ({ query: values }) => {
      now = values;
      name.set(values.stream ?? '');
      state.set(values.state ?? '');
      const of = query({ stream: values.stream, state: values.state });
      if (of !== filter) pager.forget();
      filter = of;
      pager.at(values.cursor ?? '', Number(values.page) || 1);
    },
    tasks: [{
      every: 5000,
      ask: () => '/api/v1/recordings' + query({ limit, stream: now.stream, state: now.state, cursor: now.cursor, node: everywhere() }),
      heard: (answer) => {
        table.update(answer.recordings);
        show(silent, !!answer.unreached);
        text(silent, answer.unreached ? `The recordings at ${answer.unreached.join(', ')} are missing: no answer.` : '');
        pager.update({ shown: answer.recordings.length, limit, next: answer.next });
      },
      missing: () => {
        show(none, true);
        show(shown, false);
      },
    }],
  };
}
