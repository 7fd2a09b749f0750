// The list of bans.

import { el, show } from './dom.js';
import * as act from './actions.js';
import { query } from './api.js';
import { heading, clientCell, button } from './parts.js';
import { go, to } from './route.js';
import { Table, Pager, plain } from './table.js';
import * as words from './words.js';

const limit = 100;

const about = (b) => [b.address || b.network, b.stream && `stream ${b.stream}`, b.subject && `subject ${b.subject}`].filter(Boolean).join(', ');

// doings fills the cell with what can be done about a ban.
function doings(cell, b) {
  cell.ban = b;
  if (!cell.firstElementChild) cell.append(button('Remove…', () => act.removeBan(cell.ban, about(cell.ban)), 'small danger'));
  const label = `Remove the ban of ${about(b)}`;
  if (cell.firstElementChild.getAttribute('aria-label') !== label) cell.firstElementChild.setAttribute('aria-label', label);
}

export function bans() {
  let now = {};
  const table = new Table({
    label: 'Bans', empty: 'Nobody is banned.', key: (b) => b.id,
    columns: [
      { label: 'Address', kind: 'address', fill: plain((b) => b.address || b.network || 'any') },
      { label: 'Stream', kind: 'who', fill: (cell, b) => clientCell(cell, b.stream || 'any') },
      { label: 'Subject', kind: 'who', fill: (cell, b) => clientCell(cell, b.subject || 'any') },
      { label: 'Who', kind: 'over', fill: plain((b) => (b.role ? words.role(b.role) + 's' : 'all')) },
      { label: 'Reason', kind: 'about', fill: (cell, b) => clientCell(cell, b.reason) },
      { label: 'Since', kind: 'date', fill: plain((b) => words.date(b.since)) },
      { label: 'Until', kind: 'date', fill: plain((b) => (b.until ? words.date(b.until) : 'for good')) },
      { label: 'Actions', kind: 'does', fill: doings },
    ],
  });
  const pager = new Pager('Pages of bans', (cursor, page) => go(to('bans', [], { cursor, page: page > 1 ? page : '' })));
  const add = button('Ban…', () => act.addBan());
  const none = el('p', { class: 'nothing', hidden: true }, 'This server keeps no list of bans.');
  const shown = el('div', {}, el('p', { class: 'row actions' }, add), table.root, pager.root);
  return {
    title: 'Bans',
    root: el('div', {}, heading('Bans'), none, shown),
    route: ({ query: values }) => {
      now = values;
      pager.at(values.cursor ?? '', Number(values.page) || 1);
    },
    tasks: [{
      every: 5000, ask: () => '/api/v1/bans' + query({ limit, cursor: now.cursor }),
      heard: (answer) => {
        table.update(answer.bans);
        pager.update({ shown: answer.bans.length, limit, total: answer.total, next: answer.next, one: 'ban' });
      },
      missing: () => {
        show(none, true);
        show(shown, false);
      },
    }],
  };
}
