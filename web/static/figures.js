// What is counted of a player, over all of its sessions.

import { frames } from './picture.js';

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
  #past = { decoded: 0, dropped: 0 }; // of sessions that are over

  // look brings the pictures up to date, and returns how many of this session are decoded.
  look(video) {
    const { decoded, dropped } = frames(video);
    this.framesDecoded = this.#past.decoded + decoded;
    this.framesDropped = this.#past.dropped + dropped;
    return decoded;
  }

  // over notes that a session is: the video counts from 0 again.
  over(video) {
    this.look(video);
    this.#past = { decoded: this.framesDecoded, dropped: this.framesDropped };
  }
}
