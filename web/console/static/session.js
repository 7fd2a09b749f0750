// One session, and why its picture is black.

import { el, text, show, rows } from './dom.js';
import * as act from './actions.js';
import { bytes } from './format.js';
import { heading, section, clientRows, button, streamCell } from './parts.js';
import * as words from './words.js';

function whyFigures(w) {
  const at = (value) => (value ? `${words.time(value)}, ${words.until(value)}` : '');
  return {
    Reason: words.why(w.code), Since: w.since ? `${words.date(w.since)}, for ${words.since(w.since)}` : '', Expected: at(w.expected),
    Behind: Number.isFinite(w.behind_ms) ? words.ms(w.behind_ms) : '', 'Not yet written': bytes(w.unwritten),
    'Not yet acknowledged': w.unacknowledged === null || w.unacknowledged === undefined ? '' : bytes(w.unacknowledged),
    'Last written': at(w.written), 'Last acknowledged': at(w.acknowledged),
    'Tracks it was told of': (w.told ?? []).join(', ') || 'none', 'Tracks it gets': (w.got ?? []).join(', ') || 'none',
    'Not played by it': w.codec,
  };
}

export function session(id) {
  let now = null;
  const title = `Session ${id.replace(/.*-/, '')}`; // without that of its node
  const state = el('span', { class: 'pill' }), about = el('p', { class: 'hint' });
  const where = el('p', { class: 'where' });
  const list = el('dl', { class: 'figures' }), own = el('dl', { class: 'figures' }), fields = el('dl', { class: 'figures' });
  const sentence = el('p', { class: 'why' });
  const why = section('Why is it black?', sentence, fields);
  const who = section('Who it is', own);
  const end = button('End…', () => act.endSession(now), 'danger');
  const ban = button('Ban…', () => act.addBan({
    ...(now.subject ? { subject: now.subject } : { address: now.address }), role: now.role,
    stream: now.stream ? act.pattern(now.stream) : '',
  }), 'danger');
  const actions = el('p', { class: 'row actions', hidden: true }, end, ban);

  function heard(s) {
    now = s;
    show(actions, true);
    show(ban, !!(s.subject || s.address));
    state.dataset.state = s.standby ? 'standby' : s.state === 'running' ? 'playing' : 'grace';
    text(state, s.standby ? 'Stands by' : s.waits ? `Waits for ${s.waits}` : words.state(s.state));
    text(about, `${words.role(s.role)} over ${words.over(s.protocol)}, for ${words.since(s.since)}.`);
    streamCell(where, s.stream);
    rows(list, {
      Node: s.node, Address: s.address ? `${s.address}${s.port ? `, port ${s.port}` : ''}` : 'a part of this server', Encrypted: s.secure ? 'yes' : 'no',
      Since: words.date(s.since), Bytes: bytes(s.bytes), Lag: s.role === 'watch' ? words.ms(s.lag_ms) : '',
      'Packets dropped': s.role === 'watch' ? words.n(s.dropped) : '', Paused: s.paused ? 'yes, by itself' : '', 'Granted by': s.method,
    });
    clientRows(own, { Subject: s.subject, Client: s.client, Recording: s.recording });
    show(who, !!(s.subject || s.client || s.recording));
    show(why, !!s.why);
    if (!s.why) return;
    text(sentence, s.why.sentence);
    why.dataset.code = s.why.code;
    text(why.head, s.why.code === 'ok' ? 'Why is it black? It is not, as far as this server sees' : 'Why is it black?');
    rows(fields, whyFigures(s.why));
  }

  show(why, false);
  const task = {
    every: 2000, ask: () => `/api/v1/sessions/${encodeURIComponent(id)}`, heard,
    missing: () => {
      task.done = true;
      show(actions, false);
      state.dataset.state = 'ended';
      text(state, 'Ended');
      text(about, now ? 'It has ended. This is what was known of it last.' : 'There is no such session, or no longer.');
      if (now) return;
      show(why, false);
    },
  };
  return {
    title,
    root: el('div', {},
      el('div', { class: 'titles' }, heading(title), state, about), where, actions, why,
      el('div', { class: 'halves' }, section('Connection', list), who)),
    tasks: [task],
  };
}
