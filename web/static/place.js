// Where a viewer is who has gone back in a live stream by hand.
//
// Live goes on while this viewer's connection is lost, so whoever comes back to the same
// place is further behind live by then.

export class Place {
  #behind = 0;  // s
  #at = 0;      // when that was so, ms

  // keep notes how far behind live the picture is now, s.
  keep(behind, now) {
    this.#behind = Math.max(0, behind);
    this.#at = now;
  }

  // leave ends it, and returns how far behind live the viewer is to be: not at all.
  leave() {
    return this.#behind = 0;
  }

  get kept() { return this.#behind > 0; }

  // behind is how far behind live the place is by now, s; 0 without one.
  behind(now) {
    return this.kept ? this.#behind + (now - this.#at) / 1000 : 0;
  }
}
