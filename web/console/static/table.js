// A table whose rows stay the same elements while what they show changes: focus, selection and
// scroll outlast a refresh. On a narrow screen each row is a card (console.css); the roles are
// written out since that takes them away.

import { el, text, show } from './dom.js';

// Columns are {label, fill(cell, item), sort, down, kind}: sort is the name by which the server
// sorts, down that it begins with the highest; kind is a class of its cells.
export class Table {
  #rows = new Map();
  #columns;
  #key;
  #order;

  // key returns what a row is known by; order is told what to sort by: "-lag".
  constructor({ label, columns, key, empty, order }) {
    this.#columns = columns;
    this.#key = key;
    this.#order = '';
    this.heads = columns.map((column) => this.#head(column, order));
    this.body = el('tbody', { role: 'rowgroup' });
    this.table = el('table', { role: 'table', 'aria-label': label },
      el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...this.heads)), this.body);
    this.empty = el('p', { class: 'nothing', hidden: true }, empty);
    this.root = el('div', { class: 'table', tabindex: '-1' }, this.table, this.empty);
  }

  #head(column, order) {
    const head = el('th', { role: 'columnheader', scope: 'col', class: column.kind });
    if (!column.sort || !order) {
      head.append(column.label);
      return head;
    }
    const button = el('button', { type: 'button', class: 'sort' }, column.label);
    button.addEventListener('click', () => {
      const first = column.down ? '-' + column.sort : column.sort;
      order(this.#order === first ? turned(first) : first);
    });
    head.append(button);
    return head;
  }

  // sorted marks the column by which the items are sorted; null is for items that cannot be.
  sorted(order) {
    this.#order = order;
    this.#columns.forEach((column, i) => {
      const button = this.heads[i].querySelector('button');
      if (!button) return;
      button.disabled = order === null;
      const way = order === column.sort ? 'ascending' : order === '-' + column.sort ? 'descending' : null;
      if (way) this.heads[i].setAttribute('aria-sort', way);
      else this.heads[i].removeAttribute('aria-sort');
    });
  }

  update(items) {
    const focused = document.activeElement;
    const inside = this.body.contains(focused);
    const gone = new Set(this.#rows.keys());
    let place = this.body.firstElementChild;
    for (const item of items) {
      const key = this.#key(item);
      gone.delete(key);
      let row = this.#rows.get(key);
      if (!row) this.#rows.set(key, row = this.#row());
      this.#columns.forEach((column, i) => column.fill(row.children[i], item));
      if (row === place) place = place.nextElementSibling;
      else this.body.insertBefore(row, place); // only when out of place: moving loses the focus
    }
    for (const key of gone) {
      this.#rows.get(key).remove();
      this.#rows.delete(key);
    }
    show(this.table, items.length > 0);
    show(this.empty, items.length === 0);
    if (inside && document.activeElement !== focused) {
      (focused.isConnected ? focused : this.root).focus({ preventScroll: true });
    }
  }

  #row() {
    return el('tr', { role: 'row' }, ...this.#columns.map((column) =>
      el('td', { role: 'cell', class: column.kind, 'data-label': column.label })));
  }
}

const turned = (order) => (order[0] === '-' ? order.slice(1) : '-' + order);

// Ways to fill a cell.

export const plain = (of) => (cell, item) => text(cell, of(item));

// part returns the one element of a cell, made when it is first wanted.
export function part(cell, make) {
  return cell.firstElementChild ?? cell.appendChild(make());
}

// Pager turns the pages of a list that only says what comes next. How one came to a page is
// remembered, so that there is a way back.
export class Pager {
  #trail = [];  // the places of the pages before this one
  #next = '';

  // turn is told where the next page begins, and its number.
  constructor(label, turn) {
    const button = (words, does) => {
      const b = el('button', { type: 'button', class: 'small' }, words);
      b.addEventListener('click', () => { if (b.getAttribute('aria-disabled') !== 'true') does(); });
      return b;
    };
    this.first = button('First', () => turn('', 1));
    this.previous = button('Previous', () => turn(this.#trail[this.page - 2] ?? '', this.page - 1));
    this.next = button('Next', () => turn(this.#next, this.page + 1));
    this.words = el('span', { class: 'pages' });
    this.root = el('nav', { class: 'pager', 'aria-label': label }, this.words, this.first, this.previous, this.next);
    this.page = 1;
  }

  // at says which page is shown.
  at(cursor, page) {
    this.page = cursor ? page : 1;
    this.#trail[this.page - 1] = cursor;
  }

  // forget is for another list: the places of this one mean nothing in it.
  forget() {
    this.#trail = [];
  }

  update({ shown, limit, total, next, one }) {
    this.#next = next ?? '';
    const from = (this.page - 1) * limit;
    text(this.words, shown === 0 || total === undefined && this.page === 1 && !this.#next ? '' : total === undefined ? `Page ${this.page}`
      : `${(from + 1).toLocaleString('en')}–${(from + shown).toLocaleString('en')} of ${total.toLocaleString('en')} ${total === 1 ? one : one + 's'}`);
    const off = (b, yes) => b.setAttribute('aria-disabled', String(yes));
    off(this.first, this.page === 1);
    off(this.previous, this.page === 1 || this.page > 2 && this.#trail[this.page - 2] === undefined);
    off(this.next, !this.#next);
    for (const b of [this.first, this.previous, this.next]) show(b, this.page > 1 || !!this.#next);
  }
}
