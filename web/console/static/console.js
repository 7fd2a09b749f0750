// The console: who is logged in, which page is shown, and what keeps it current.

import { $, show, text } from './dom.js';
import { get, logOut, loggedIn, setNode, whenEnded, Failure } from './api.js';
import { bans } from './bans.js';
import { dismiss } from './dialog.js';
import { events } from './events.js';
import { Feed } from './feed.js';
import { login } from './login.js';
import { nodes } from './nodes.js';
import { overview } from './overview.js';
import { Poller } from './poll.js';
import { recordings } from './recordings.js';
import { relays } from './relays.js';
import { parse } from './route.js';
import { session } from './session.js';
import { sessions } from './sessions.js';
import { stream } from './stream.js';
import { streams } from './streams.js';
import * as words from './words.js';

// A page is {title, root, tasks, route, feed, close}. Its tasks are what it asks the server for,
// one after the other: {every (ms), ask() → path, heard(answer), missing(), gone}; missing is told of
// answers with the statuses of gone, which is 404 if left out. route is told when the address changes
// and the page stays; feed, that there are events.
const pages = {
  // What has a * in it would be a pattern for the server, and nothing would be all streams.
  overview: () => overview(feed), streams, stream: ([name]) => (!name || name.includes('*') ? streams() : stream(name)), sessions, session: ([id]) => session(id ?? ''),
  events: () => events(feed), relays, nodes, recordings, bans,
};

let page = null, shown = ''; // what shown says tells whether the page stays
let hash = ''; // of the address that is shown
let rounds = 0;
let heard = 0; // when the server has answered last

const feed = new Feed(() => page?.feed?.());

// ask does what is due of the page's tasks, one request at a time.
async function ask(signal) {
  const mine = page;
  for (const task of mine.tasks ?? []) {
    if (task.done || performance.now() < (task.due ?? 0)) continue;
    let answer;
    try {
      answer = await get(task.ask(), signal);
    } catch (e) {
      if (!(e instanceof Failure)) throw e;
      if ((task.gone ?? [404]).includes(e.status) && task.missing) {
        task.missing();
        task.due = performance.now() + 10000;
        continue;
      }
      return { refused: e.message };
    }
    if (signal.aborted || page !== mine) return {};
    task.due = performance.now() + task.every * 0.9;
    task.heard(answer);
  }
  return {};
}

const poller = new Poller(ask, (answer, reason) => {
  if (!loggedIn()) return;
  const trouble = !answer ? `The server does not answer (${reason}). ${heard ? `What is shown is of ${words.time(heard)}. ` : ''}Trying again by itself.`
    : answer.refused ? `The server refuses this: ${answer.refused}` : '';
  if (answer) heard = Date.now();
  show($('unreachable'), trouble !== '');
  text($('unreachable'), trouble);
  state(!answer ? 'unreachable' : answer.refused ? 'refused' : 'ready');
  rounds++;
}, { seen: 2000, calm: 2000, hidden: 0 });

function state(name) {
  document.body.dataset.state = name;
}

function open(next, view) {
  page?.close?.();
  page = next;
  document.body.dataset.view = view;
  document.title = `${next.title} – Sluice console`;
  $('main').replaceChildren(next.root);
}

// route shows what the address asks for.
function route() {
  if (!loggedIn()) return;
  const at = parse();
  const known = Object.hasOwn(pages, at.name) ? at.name : 'overview';
  const name = [known, ...at.of].join('/');
  const stays = name === shown;
  if (!stays) open(pages[known](at.of), known);
  state('loading');
  shown = name;
  hash = location.hash;
  page.route?.(at);
  for (const link of $('nav').children) mark(link, parse(link.hash).name === { stream: 'streams', session: 'sessions' }[known] || parse(link.hash).name === known);
  feed.watch(!!page.feed);
  page.feed?.();
  refresh();
  if (!stays) {
    scrollTo(0, 0);
    $('title').focus({ preventScroll: true });
  }
}

// refresh asks for all of the page at once.
function refresh() {
  for (const task of page.tasks ?? []) task.due = 0;
  poller.now();
}

function mark(link, here) {
  if (here) {
    link.setAttribute('aria-current', 'page');
    link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  } else link.removeAttribute('aria-current');
}

function inside(yes) {
  show($('nav'), yes);
  show($('logout'), yes);
}

// leave goes back to the login; because tells why.
function leave(because = '') {
  logOut();
  feed.forget();
  dismiss();
  shown = '';
  heard = 0;
  show($('unreachable'), false);
  text($('said'), '');
  text($('server'), '');
  inside(false);
  open(login(because, enter), 'login');
  state('login');
  page.focus.focus();
}

function enter(info) {
  words.setClock(info.now);
  const served = $('server').dataset.console;
  text($('server'), info.version === served ? '' : `The server is ${info.version} by now: reload this page.`);
  show($('nodes'), !!info.parts.cluster);
  setNode(info.parts.cluster?.node ?? '');
  inside(true);
  route();
}

whenEnded((failure) => leave(`${failure.message} Log in again with the one that the server has now.`));
$('logout').addEventListener('click', () => leave());
$('skip').addEventListener('click', (e) => {
  e.preventDefault();
  $('main').focus();
});
document.addEventListener('acted', () => { if (loggedIn()) refresh(); });
document.addEventListener('submit', (e) => e.preventDefault()); // no form leaves the page
addEventListener('hashchange', route);
// What the browser keeps for the way back must not keep the token.
addEventListener('pagehide', () => { if (loggedIn()) leave(); });

// For tests, and for whoever has the browser's console open.
window.sluice = {
  get hash() { return hash; },
  get rounds() { return rounds; },
  get view() { return document.body.dataset.view; },
  get state() { return document.body.dataset.state; },
};

leave();
