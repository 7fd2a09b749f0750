// Parts that several pages of the console have.

import { el, text, show } from './dom.js';
import { idOf, ownNode } from './api.js';
import { bdi, said } from './client.js';
import { toStream, toSession } from './route.js';
import * as words from './words.js';

export const heading = (title) => el('h1', { id: 'title', tabindex: '-1' }, title);

// section is a box with a heading.
export function section(title, ...children) {
  const head = el('h2', {}, title);
  const root = el('section', { class: 'box' }, head, ...children);
  root.head = head;
  return root;
}

export function button(label, does, kind = '') {
  const b = el('button', { type: 'button', class: kind || undefined }, label);
  b.addEventListener('click', does);
  return b;
}

// link fills a cell with a link whose words are a client's.
export function link(cell, href, shown) {
  const a = cell.querySelector('a') ?? cell.appendChild(el('a', {}, bdi()));
  if (a.getAttribute('href') !== href) a.setAttribute('href', href);
  said(a.firstElementChild, shown);
  return a;
}

// streamCell links to a stream; the cell is empty where there is none.
export function streamCell(cell, stream) {
  if (!stream) cell.replaceChildren(words.none);
  else {
    if (!cell.querySelector('a')) cell.replaceChildren();
    link(cell, toStream(stream), stream);
  }
}

export function sessionCell(cell, session) {
  link(cell, toSession(idOf(session)), String(session.id));
}

// clientCell shows the words of a client.
export function clientCell(cell, shown) {
  said(cell.querySelector('bdi') ?? cell.appendChild(bdi()), shown || words.none);
}

export function pillCell(cell, state, shown) {
  const pill = cell.firstElementChild ?? cell.appendChild(el('span', { class: 'pill' }));
  pill.dataset.state = state;
  text(pill, shown);
}

// clientRows fills a list of terms, as rows does, with words of clients.
export function clientRows(list, values) {
  for (const [label, value] of Object.entries(values)) {
    let row = list.querySelector(`[data-label="${label}"]`);
    if (!row) list.append(row = el('div', { 'data-label': label }, el('dt', {}, label), el('dd', {}, bdi())));
    show(row, !!value);
    said(row.lastElementChild.firstElementChild, value || '');
  }
}

// choice is a labelled select; changed is told the value.
export function choice(label, options, changed) {
  const select = el('select', {}, ...options.map(([value, shown]) => el('option', { value }, shown)));
  select.addEventListener('change', () => changed(select.value));
  const root = el('label', { class: 'filter' }, el('span', {}, label), select);
  return { root, select, set: (value) => { if (select.value !== value) select.value = value; } };
}

// nodeChoice is of which node a list is: changed is told its name, 'all', or '' for this one. Its task asks once which
// there are.
export function nodeChoice(changed) {
  const c = choice('Node', [['', `${ownNode()} (this one)`], ['all', 'All nodes']], changed);
  const add = (name) => { if (![...c.select.options].some(({ value }) => value === name)) c.select.append(el('option', { value: name }, name)); };
  const task = {
    every: 10000, ask: () => '/api/v1/nodes?limit=1',
    heard: ({ nodes }) => {
      for (const { name, self } of nodes) if (!self) add(name);
      task.done = true;
    },
  };
  return { ...c, task, set: (name) => { add(name); c.set(name); } }; // one in the address may be gone
}

// unanswered tells of which nodes an answer has nothing.
export function unanswered() {
  const root = el('p', { class: 'nothing', hidden: true });
  return {
    root,
    update: (nodes) => {
      show(root, !!nodes);
      text(root, nodes ? `What is at ${nodes.join(', ')} is not known: no answer.` : '');
    },
  };
}

// search is a labelled field that tells its text when typing pauses.
export function search(label, placeholder, changed) {
  const input = el('input', { type: 'search', placeholder, maxlength: '100', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' });
  let timer = 0;
  const now = () => { clearTimeout(timer); changed(input.value.trim()); };
  input.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(now, 350); });
  input.addEventListener('change', now);
  const root = el('label', { class: 'filter wide' }, el('span', {}, label), input);
  return { root, input, set: (value) => { if (document.activeElement !== input && input.value !== value) input.value = value; } };
}

// healthList shows what is wrong with publishers, each with a hint.
export class HealthList {
  constructor(withStream) {
    this.withStream = withStream;
    this.root = el('ul', { class: 'health' });
    this.items = new Map();
  }

  // update takes [{stream, health}], health with its word, sentence and hint.
  update(list) {
    const gone = new Set(this.items.keys());
    for (const { stream, health } of list) {
      const key = stream + '\n' + health.word;
      gone.delete(key);
      let item = this.items.get(key);
      if (!item) {
        item = { sentence: el('p', { class: 'sentence' }), hint: el('p', { class: 'hint' }), since: el('span', { class: 'when' }), where: el('p', { class: 'where' }) };
        item.root = el('li', {}, ...(this.withStream ? [item.where] : []), item.sentence, item.hint, item.since);
        this.items.set(key, item);
      }
      this.root.append(...(item.root.isConnected ? [] : [item.root]));
      if (this.withStream) link(item.where, toStream(stream), stream);
      text(item.sentence, health.sentence);
      text(item.hint, health.hint ?? '');
      text(item.since, health.since ? `For ${words.since(health.since)}` : '');
    }
    for (const key of gone) {
      this.items.get(key).root.remove();
      this.items.delete(key);
    }
  }
}
