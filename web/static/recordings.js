// What is recorded: asked of the server, and shown as a list that is kept current.

import { el, text, show } from './dom.js';
import { recordingAsk, recordingPage } from './addresses.js';
import * as say from './format.js';

const growing = 5000, calm = 15000, hidden = 60000; // between two questions, ms
const off = 60000;          // after the answer that nothing is recorded here
let offUntil = -Infinity;

// Denied is thrown where the server says that this may not be seen; its message is why.
export class Denied extends Error {}

// ask returns the answer to a question about recordings, or null where there is none, as
// where nothing is recorded. It throws Denied, or another error if the server does not
// answer.
async function ask(url) {
  const response = await fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(8000) });
  if (response.status === 404) return null;
  if ([401, 403].includes(response.status)) {
    const { reason } = await response.json().catch(() => ({}));
    throw new Denied(reason || 'the server refuses it');
  }
  if (!response.ok) throw new Error(`it answers ${response.status}`);
  return response.json();
}

// recorded returns one recording by APP/NAME/ID, null if there is no such thing. It throws
// as ask does.
export async function recorded(key, permission) {
  const answer = await ask(recordingAsk(key, permission));
  return answer && proper(answer, isRecording(answer));
}

// proper returns an answer that is one: another than the server may answer (poll.js).
function proper(answer, is) {
  if (!is) throw new Error('something else answers');
  return answer;
}

const isRecording = (r) => [r?.stream, r?.id].every((text) => typeof text === 'string') && r.duration >= 0;

async function page(query) {
  if (performance.now() < offUntil) return null;
  const answer = await ask(`/api/v1/recordings?${query}`).catch((e) => {
    if (e instanceof Denied) return null; // a list of what may not be seen is empty
    throw e;
  });
  if (!answer) offUntil = performance.now() + off;
  return answer && proper(answer, Array.isArray(answer.recordings) && answer.recordings.every(isRecording));
}

// follows reports whether one recording begins where another ends, in the same format.
function follows(recording, before) {
  const format = ({ video, audio }) => JSON.stringify([video, audio]);
  const between = Date.parse(recording.begin) - Date.parse(before.begin) - before.duration * 1000;
  return Math.abs(between) < 2000 && format(recording) === format(before);
}

// Recordings is a list in a section of its own, which shows when there are any.
export class Recordings {
  #root; #list; #button; #stream; #limit; #current; #heard;
  #rows = new Map();        // by key: {recording, …}
  #first = [];              // keys of the first page, which is asked for again and again
  #more = [];               // of those behind it
  #next = '';               // where the next page begins, '' behind the last
  #timer = 0;
  #closed = false;

  // The list is of one stream, or of all with stream ''. current is the ID of the one
  // that is played. heard is called after each answer, with the newest recording, null
  // without one, and how much there is up to its end without a break, in s.
  constructor({ root, stream = '', limit, current = '', heard = () => {} }) {
    this.#root = root;
    this.#stream = stream;
    this.#limit = limit;
    this.#current = current;
    this.#heard = heard;
    this.#list = el('ol', { class: 'recordings' });
    this.#button = el('button', { type: 'button', hidden: true }, 'More recordings');
    this.#button.addEventListener('click', () => this.#further());
    const title = el('h2', { id: `${root.id}-title` }, 'Recordings');
    root.setAttribute('aria-labelledby', title.id);
    root.replaceChildren(title, this.#list, this.#button);
    this.#visible = () => { if (!document.hidden) this.refresh(); };
    document.addEventListener('visibilitychange', this.#visible);
    this.first = this.refresh();
  }

  first;                    // settles with the first answer
  #visible;

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.#visible);
    show(this.#root, false);
    this.#root.replaceChildren();
  }

  // refresh asks for the newest again.
  async refresh() {
    clearTimeout(this.#timer);
    const answer = await page(this.#query()).catch(() => undefined);
    if (this.#closed) return;
    clearTimeout(this.#timer);
    if (answer !== undefined) this.#take(answer);
    const newest = this.#rows.get(this.#first[0])?.recording ?? null;
    const pause = document.hidden || !answer ? hidden : newest?.state === 'recording' ? growing : calm;
    this.#timer = setTimeout(() => this.refresh(), pause * (0.95 + 0.1 * Math.random()));
    this.#heard(newest, this.#unbroken());
  }

  // A stream that is recorded in several files goes on from one to the next.
  #unbroken() {
    let seconds = 0, next = null;
    for (const key of [...this.#first, ...this.#more]) {
      const { recording } = this.#rows.get(key);
      if (next && !follows(next, recording)) break;
      seconds += recording.duration;
      next = recording;
    }
    return seconds;
  }

  #query(after = '') {
    const query = new URLSearchParams({ limit: this.#limit });
    if (this.#stream) query.set('stream', this.#stream);
    if (after) query.set('after', after);
    return query;
  }

  #take(answer) {
    const before = this.#first;
    this.#first = this.#keep(answer?.recordings ?? []);
    const here = new Set(this.#first);
    if (!answer?.next) {
      this.#more = [];
      this.#next = '';
    } else {
      if (!this.#more.length) this.#next = answer.next;
      // What newer ones pushed off the first page; the others of it are gone.
      const last = before.findIndex((key) => key === this.#first.at(-1));
      const pushed = this.#more.length && last >= 0 ? before.slice(last + 1) : [];
      this.#more = [...pushed, ...this.#more].filter((key) => !here.has(key));
    }
    this.#show();
  }

  async #further() {
    this.#button.disabled = true;
    const answer = await page(this.#query(this.#next)).catch(() => undefined);
    this.#button.disabled = false;
    if (this.#closed || !answer) return;
    const known = new Set([...this.#first, ...this.#more]);
    const keys = this.#keep(answer.recordings).filter((key) => !known.has(key));
    this.#more.push(...keys);
    this.#next = answer.next ?? '';
    this.#show();
    if (this.#next) this.#button.focus();
    else this.#rows.get(keys[0])?.link.focus();
  }

  // keep makes or mends the rows of recordings, and returns their keys.
  #keep(recordings) {
    return recordings.map((recording) => {
      const key = `${recording.stream}/${recording.id}`;
      let row = this.#rows.get(key);
      if (!row) this.#rows.set(key, row = new Row(recording, !this.#stream, recording.id === this.#current));
      row.update(recording);
      return key;
    });
  }

  #show() {
    const keys = [...this.#first, ...this.#more], wanted = new Set(keys);
    for (const [key, { root }] of this.#rows) {
      if (wanted.has(key)) continue;
      root.remove();
      this.#rows.delete(key);
    }
    let place = this.#list.firstElementChild;
    for (const key of keys) {
      const { root } = this.#rows.get(key);
      if (root === place) place = place.nextElementSibling;
      else this.#list.insertBefore(root, place);
    }
    show(this.#button, this.#next !== '');
    show(this.#root, keys.length > 0 || this.#next !== ''); // a page may be empty though more follow
  }
}

class Row {
  constructor(recording, named, current) {
    const time = el('time', { datetime: recording.begin ?? undefined, dir: 'auto' }, say.when(recording));
    this.link = el('a', { href: recordingPage(recording), 'data-link': true, 'aria-current': current && 'true' },
      ...(named ? [el('bdi', { class: 'name' }, recording.stream), ' '] : []), time);
    this.length = el('span', { class: 'length' });
    this.size = el('span', { class: 'size' });
    this.state = el('span', { class: 'pill' });
    this.gaps = el('span', { class: 'note' });
    this.root = el('li', {}, this.link, this.length, this.size, this.state, this.gaps);
  }

  update(recording) {
    this.recording = recording;
    text(this.length, say.clock(recording.duration));
    text(this.size, say.bytes(recording.bytes));
    text(this.state, say.recordingState(recording));
    this.state.dataset.state = recording.state;
    text(this.gaps, say.gaps(recording));
    show(this.gaps, recording.gaps > 0);
  }
}
