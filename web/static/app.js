// The page: which view is shown, the figures both live on, and what tests see.

import { $, show, text } from './dom.js';
import { Lazy } from './lazy.js';
import { List } from './list.js';
import { Poller, streams } from './poll.js';
import { openBox } from './openbox.js';
import { Others } from './others.js';
import './skip.js';
import { Recordings } from './recordings.js';
import { Watch } from './watch.js';
import { clean, permission, wishes } from './addresses.js';

const list = new List();
let watch = null;      // the view of a stream, of a recording, or of a wall
let others = null;     // what else is live, beside a stream that does not play
let recordings = null; // the newest, below the list
let answers = 0, last = null;
let asked = ''; // the stream that the figures are of, empty for all

const poller = new Poller((signal) => streams(asked, signal), (answer, reason, late) => {
  last = answer ?? last;
  if (answer) answers++;
  show($('unreachable'), !answer);
  text($('unreachable'), answer ? '' : `The server does not answer (${reason}). Trying again by itself.`);
  if (watch) {
    watch.heard(answer, late);
    return;
  }
  if (answer) list.update(answer.streams, !!answer.private);
  else list.stale();
  state(!answer ? 'unreachable' : answer.private ? 'private' : answer.streams.length ? 'streams' : 'empty');
});

// What the addresses of this tab have shown for each stream: links within the page do not
// repeat it, and the history has it only where it was in an address.
const permissions = new Map();

function permissionFor(stream) {
  const shown = permission(location.search);
  if (shown) permissions.set(stream, shown);
  return permissions.get(stream) ?? '';
}

function state(name) {
  document.body.dataset.state = name;
}

// route shows what the address asks for: a stream, a recording, a wall of streams, or the list.
function route() {
  const query = new URLSearchParams(location.search);
  const recording = clean(query.get('recording') ?? '');
  const wall = !recording && query.has('wall');
  const key = recording || (wall ? '' : clean(query.get('stream') ?? ''));
  const view = recording ? 'recording' : wall ? 'wall' : key ? 'watch' : 'list';
  watch?.close();
  others?.close();
  recordings?.close();
  watch = others = recordings = null;
  show($('list'), view === 'list');
  show($('watch'), !!key);
  show($('wall'), wall);
  document.body.dataset.view = view;
  for (const part of document.querySelectorAll('[data-of]')) show(part, part.dataset.of === view);
  text($('summary'), '');
  asked = recording ? streamOf(recording) : key;
  poller.calm = false;
  if (view === 'list') {
    state('loading');
    document.title = 'Sluice';
    recordings = new Recordings({ root: $('newest'), limit: 6 });
    list.open(location.search);
  } else {
    list.close();
    state('connecting');
    others = view === 'watch' ? new Others(key) : null;
    const mine = watch = wall ? new Lazy(() => import('./wall.js').then(({ Wall }) => new Wall(walled(query), { permissionFor, changed })))
      : recording ? new Lazy(() => import('./recording.js').then(({ Recording }) => new Recording(recording, permissionFor(streamOf(recording)), changed)))
        : new Watch(key, wishes(location.search), permissionFor(key), changed);
    function changed(name) {
      if (watch !== mine) return;
      state(name);
      poller.calm = name === 'playing';
      if (others) others.wanted = ['waiting', 'ended', 'failed'].includes(name);
    }
    mine.open();
  }
  poller.now();
}

// travel shows another view, and brings the focus to where it begins: what had it is gone. On
// the way back to the list that is the stream that was watched.
function travel(change) {
  const from = document.body.dataset.view === 'watch' ? asked : '';
  change();
  switch (document.body.dataset.view) {
    case 'list': return list.focus(from);
    case 'wall': return $('wall').focus({ preventScroll: true });
    default: return $('title').focus({ preventScroll: true });
  }
}

// walled returns the streams that a wall is asked to show, each once.
const walled = (query) => [...new Set(query.getAll('wall').map(clean))].filter(Boolean);

// streamOf is the stream of a recording APP/NAME/ID.
function streamOf(recording) {
  return recording.replace(/\/[^/]*$/, '');
}

let listed = '/'; // the list as it was when it was left

function go(url) {
  if (document.body.dataset.view === 'list') {
    list.flush();
    listed = location.pathname + location.search;
  } else if (new URL(url, location.href).href === location.origin + '/') url = listed;
  history.pushState(null, '', url);
  scrollTo(0, 0);
  travel(route);
}

addEventListener('popstate', () => travel(route));
// A page that the browser keeps for the way back would keep its connection, too.
addEventListener('pagehide', () => watch?.close());
addEventListener('pageshow', (e) => { if (e.persisted) route(); });
document.addEventListener('click', (e) => {
  const link = e.target.closest?.('a[data-link][href]');
  if (!link || e.button || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  go(link.href);
});
openBox(() => (asked ? [] : last?.streams ?? []), go);

// For tests, and for whoever has the console open.
window.sluice = {
  get view() { return document.body.dataset.view; },
  get state() { return document.body.dataset.state; },
  get wall() { return watch?.view ?? null; },
  get reason() { return watch?.reason ?? ''; },
  get over() { return watch?.player?.over ?? ''; },
  get way() { return watch?.player?.way ?? ''; },
  get opened() { return watch?.player?.opened ?? 0; },
  get duration() { return watch?.player?.duration ?? 0; },
  get rewound() { return watch?.player?.rewound ?? false; },
  get lag() { return watch?.player?.lag ?? 0; },
  get buffered() { return watch?.player?.buffered ?? 0; },
  get target() { return watch?.player?.target ?? 0; },
  get time() { return $('video').currentTime; },
  get rate() { return $('video').playbackRate; },
  get muted() { return $('video').muted; },
  get figures() { return { ...watch?.player?.figures }; },
  get streams() { return last?.streams ?? []; },
  get answers() { return answers; },
  get slow() { return watch?.player?.slow ?? null; },
  get sample() { return watch?.player?.sample?.() ?? null; },
};

route();
