// The sound of a <video>: on or off, and how loud, as the visitor chose last.

import { keep, recall } from './prefs.js';

const quietest = 0.05; // below, it is off

export class Sound {
  #video;

  // muted decides whether it begins without sound; undefined: as was chosen last, and
  // without at first.
  constructor(video, muted) {
    this.#video = video;
    const volume = Number(recall('volume', 1));
    video.volume = volume >= quietest && volume <= 1 ? volume : 1;
    video.muted = muted ?? recall('muted', 'true') !== 'false';
  }

  get off() { return this.#video.muted || this.#video.volume === 0; }
  get volume() { return this.off ? 0 : this.#video.volume; }

  // set turns the sound on or off.
  set(on) {
    if (on && this.#video.volume === 0) this.#video.volume = 1;
    this.#video.muted = !on;
    keep('muted', !on);
  }

  // level sets how loud it is, between 0 and 1, and returns that.
  level(volume) {
    volume = Math.min(1, Math.max(0, Math.round(volume * 100) / 100));
    if (volume >= quietest) {
      this.#video.volume = volume;
      keep('volume', volume);
    }
    this.set(volume >= quietest);
    return this.volume;
  }
}

// soundOnly says whether what a player plays in a state has no picture; stream is what the server
// tells of it, or null.
export const soundOnly = (state, player, stream) => ['playing', 'buffering'].includes(state)
  && (player?.soundOnly || stream?.state === 'live' && !stream.video && !!stream.audio);

// audible says whether it has sound that could be heard.
export function audible(state, player, stream) {
  const { hasAudio } = player?.media ?? {}; // of what is fetched, with what the link asks for
  return state === 'playing' && hasAudio !== false && !!(stream?.audio ?? hasAudio);
}

// play plays a video, without sound where the browser lets sound begin by a click only.
// Then what was chosen stays remembered.
export async function play(video) {
  try {
    await video.play();
  } catch (e) {
    if (e.name !== 'NotAllowedError' || video.muted) throw e;
    video.muted = true;
    await video.play();
  }
}
