// The two publishers of a stream that has a backup: the one that viewers see, and the one that
// stands by.

import { el, text, show } from './dom.js';
import * as act from './actions.js';
import { bytes } from './format.js';
import { section, button, clientCell, pillCell, sessionCell } from './parts.js';
import { Table, plain } from './table.js';
import * as words from './words.js';

const silent = 1000; // ms; then the other one would be shown

// about tells what there is to tell of a publisher beside its state.
function about({ backup, stands, standby }) {
  return [backup ? 'The backup.' : 'The main one.', stands && standby?.switching && 'Shown at its next key frame.',
    stands && standby?.silence_ms >= silent && `Silent for ${words.ms(standby.silence_ms)}.`].filter(Boolean).join(' ');
}

const columns = [
  { label: 'Session', kind: 'id', fill: (cell, { session }) => sessionCell(cell, session) },
  { label: 'State', kind: 'state', fill: (cell, { session, stands }) => (stands ? pillCell(cell, 'standby', 'Stands by')
    : session.standby ? pillCell(cell, 'grace', 'Is to be shown') : pillCell(cell, 'live', 'Shown')) },
  { label: 'Address', kind: 'address', fill: plain(({ session: s }) => s.address || 'this server') },
  { label: 'Over', kind: 'over', fill: plain(({ session }) => words.over(session.protocol)) },
  { label: 'Subject', kind: 'who', fill: (cell, { session }) => clientCell(cell, session.subject) },
  { label: 'Since', kind: 'time', fill: plain(({ session }) => words.moment(session.since)) },
  { label: 'Bytes', kind: 'number', fill: plain(({ session }) => bytes(session.bytes)) },
  { label: 'Bitrate', kind: 'number rate', fill: plain(({ bitrate }) => words.bits(bitrate)) },
  { label: 'About', kind: 'about', fill: (cell, row) => text(cell, about(row)) },
];

// Publishers is a section that is there while the stream has two of them.
export class Publishers {
  #table = new Table({ label: 'Publishers', empty: '', columns, key: ({ session }) => session.id });

  // focus is told that what had the focus is gone.
  constructor(stream, focus) {
    this.focus = focus;
    this.root = section('Publishers', this.#table.root,
      el('p', { class: 'all' }, button('Switch…', () => act.switchTo(stream), 'small')));
    this.root.classList.add('publishers');
    show(this.root, false);
  }

  // update takes a stream, if there is one, and the sessions of its publishers.
  update(stream, sessions) {
    const standby = stream?.standby;
    const there = !!standby && sessions.some((s) => s.id === standby.session) && sessions.length > 1;
    if (there) {
      // The sessions are newer; while neither of the two is seen they do not say which stands by.
      const hidden = sessions.filter((s) => s.standby);
      const stands = hidden.length === 1 ? hidden[0].id : standby.session;
      this.#table.update(sessions.map((session) => ({
        session, stands: session.id === stands, ...(session.id === standby.session
          ? { bitrate: standby.bitrate, backup: standby.backup, standby } : { bitrate: stream.bitrate, backup: !standby.backup }),
      })).sort((a, b) => Number(a.stands) - Number(b.stands)));
    }
    const lost = !there && this.root.contains(document.activeElement);
    show(this.root, there);
    if (lost) this.focus();
  }
}
