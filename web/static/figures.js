// What is counted of a player, over all of its sessions.

import { frames, Meter } from './picture.js';

export class Figures {
  bytes = 0;
  sessions = 0;
  reconnects = 0;
  stalls = 0;
  firstFrameMS = 0;
  framesDecoded = 0;
  framesDropped = 0;
  frozen = 0;
  closeCode = 0;
  closeReason = '';
  jumps = 0;       // sessions begun anew to be at the live edge again, on a slow line
  #meter = new Meter();
  #past = { decoded: 0, dropped: 0 }; // of sessions that are over

  // look brings the pictures up to date, and returns how many of this session are decoded.
  look(video) {
    const { decoded, dropped } = frames(video);
    this.framesDecoded = this.#past.decoded + decoded;
    this.framesDropped = this.#past.dropped + dropped;
    return decoded;
  }

  // first notes that the first picture of a session stands.
  first(session) {
    this.firstFrameMS ||= Math.round(performance.now() - session.began);
  }

  // sample returns what changes from moment to moment; rate is the pace of the video.
  sample(video) {
    const { framesDecoded: decoded, framesDropped: dropped, reconnects, stalls, frozen, jumps, bytes } = this;
    return {
      ...this.#meter.look(video, performance.now()),
      decoded, dropped, reconnects, stalls, frozen, jumps, bytes, rate: video.playbackRate,
    };
  }

  // over notes that a session is: the video counts from 0 again.
  over(video) {
    this.look(video);
    this.#past = { decoded: this.framesDecoded, dropped: this.framesDropped };
  }
}
