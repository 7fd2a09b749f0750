// The page to be framed, /embed/APP/NAME: the picture of one stream and nothing else.
//
// Its query says, beside what is for the server (wishes, permission):
//
//   autoplay=0   nothing is fetched until somebody clicks
//   muted=0, 1   with sound as far as the browser lets it, or without; else without, but
//                with sound after a click that starts it

import { $, text, show } from './dom.js';
import { wishes, permission, permitted } from './addresses.js';
import { load } from './library.js';
import { Player } from './player.js';
import { Poller, json } from './poll.js';
import { Screen } from './screen.js';
import { detail, headline, remedies } from './states.js';
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
let alone = autoplay;   // whether nobody has touched it yet

const screen = new Screen({
  signal: new AbortController().signal, // for as long as the page is there
  toggle: () => (begun ? player?.togglePause() : begin()),
  move: () => false,
  audible: () => player?.state === 'playing' && (stream?.audio ?? player.media?.hasAudio) !== false
    && !!(stream?.audio ?? player.media?.hasAudio),
});

const poller = new Poller((signal) => json('/api/v1/streams?stream=' + encodeURIComponent(key), signal), (answer) => {
  stream = answer?.streams.find((s) => s.key === key) ?? null;
  known = !answer ? null : answer.private ? 'private' : stream?.state ?? '';
  player?.heard(known);
  update();
});

async function begin() {
  begun = true;
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
  const state = current(), reason = player?.reason ?? problem;
  if (state === 'playing') alone = false;
  if (begun && state === 'paused' && alone && !video.muted) { // the browser wants a click for sound
    alone = false;
    video.muted = true;
    return player.togglePause();
  }
  document.body.dataset.state = state;
  poller.calm = state === 'playing';
  screen.overlay({
    state, headline: headline(state, player?.refusal), detail: detail(state, reason, player?.retryAt),
    again: remedies[state] ?? '',
  });
  show($('other'), false);
  show($('controls'), ['playing', 'paused', 'buffering'].includes(state) && begun);
  const moving = state === 'playing' || state === 'buffering';
  text($('lag'), moving ? say.behind(player.lag) : '');
  show($('sound-only'), moving && (player.media?.hasVideo === false || stream?.state === 'live' && !stream.video && !!stream.audio));
  screen.paused(state === 'paused' || video.paused);
  screen.sound();
}

$('again').addEventListener('click', () => {
  if (!begun) begin();
  else if (!player) location.reload();
  else if (player.state === 'paused') player.togglePause();
  else player.tryNow();
});
for (const type of ['play', 'pause', 'loadedmetadata']) video.addEventListener(type, update);
setInterval(update, 500);
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

video.muted = flag('muted', autoplay);
poller.now();
if (autoplay) begin();
else update();
