// The page to be framed, /embed/APP/NAME: the picture of one stream and nothing else.
//
// Its query says, beside what is for the server (wishes, permission):
//
//   autoplay=0   nothing is fetched but a still until somebody clicks
//   muted=0, 1   with sound as far as the browser lets it, or without; else without, but
//                with sound after a click that starts it

import { $, text, show } from './dom.js';
import { wishes, permission, permitted, stillAsk } from './addresses.js';
import { hopeless, load } from './library.js';
import { freeze } from './picture.js';
import { Player } from './player.js';
import { Poller, streams } from './poll.js';
import { Screen } from './screen.js';
import { audible, soundOnly } from './sound.js';
import { detail, headline, pill, remedy, standing } from './states.js';
import * as say from './format.js';

const key = document.documentElement.dataset.key;
const query = new URLSearchParams(location.search);
const video = $('video');

// flag reads a yes or no of the query; without a value it is yes.
function flag(name, otherwise) {
  const value = query.get(name);
  return value === null ? otherwise : !['0', 'false', 'no', 'off'].includes(value.toLowerCase());
}

const autoplay = flag('autoplay', true);
let player = null, problem = '', known = null, stream = null;
let begun = false;      // whether it is to play

const screen = new Screen({
  signal: new AbortController().signal, // for as long as the page is there
  name: key, muted: flag('muted', autoplay), toggle,
  audible: () => audible(current(), player, stream),
  clicked: () => (silent() ? screen.mute(false) : toggle()),
});

function toggle() {
  if (!begun) begin();
  else player?.togglePause();
}

// silent says whether it plays, and there is nothing to see and nothing to hear.
const silent = () => current() === 'playing' && soundOnly('playing', player, stream) && screen.silent;

const poller = new Poller((signal) => streams(key, signal), (answer) => {
  ({ stream, known } = standing(answer, key));
  player?.heard(known, answer);
  update();
});

// poster shows a still of the stream until somebody clicks, if there is one.
function poster() {
  video.src = stillAsk(key, permission(location.search));
  video.onerror = () => video.removeAttribute('src');
}

async function begin() {
  begun = true;
  freeze(video, $('frozen'));
  video.onerror = null;
  video.removeAttribute('src');
  update();
  problem = await load();
  if (!problem) {
    player = new Player({
      mpegts: window.mpegts, video, still: $('frozen'), key, over: 'ws', known,
      wishes: permitted(wishes(location.search), permission(location.search)), changed: update,
    });
    player.start();
  }
  update();
}

function current() {
  if (!begun) return 'paused';
  return player?.state || (problem ? 'failed' : 'connecting');
}

function update() {
  const state = current(), seen = silent() ? 'silent' : state;
  document.body.dataset.state = state;
  poller.calm = state === 'playing';
  screen.overlay({
    state: seen, headline: headline(seen, player?.refusal), detail: detail(seen, player?.reason ?? problem, player?.retryAt),
    again: hopeless(problem) ? '' : remedy(seen, player?.refusal),
  });
  show($('controls'), ['playing', 'paused', 'buffering'].includes(state) && begun);
  text($('lag'), state === 'playing' || state === 'buffering'
    ? (player.slow ? `${pill('slow')}, ` : '') + say.behind(player.lag) : '');
  show($('sound-only'), soundOnly(state, player, stream) && seen !== 'silent');
  screen.paused(state === 'paused' || video.paused);
  screen.sound();
}

$('again').addEventListener('click', () => {
  if (!begun) begin();
  else if (!player) location.reload();
  else if (silent()) screen.mute(false);
  else if (player.state === 'paused') player.togglePause();
  else player.tryNow();
});
for (const type of ['play', 'pause', 'loadedmetadata', 'volumechange']) video.addEventListener(type, update);
setInterval(() => {
  update();
  if (player) screen.note(player.sample());
}, 500);
// A page that the browser keeps for the way back would keep its connection, too.
addEventListener('pagehide', () => { player?.stop(); });
addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); });

// For tests, and for whoever has the console open.
window.sluice = {
  get view() { return 'embed'; },
  get state() { return document.body.dataset.state; },
  get reason() { return player?.reason ?? problem; },
  get time() { return video.currentTime; },
  get muted() { return video.muted; },
  get figures() { return { ...player?.figures }; },
};

poller.now();
if (autoplay) {
  begin();
} else {
  poster();
  update();
}
