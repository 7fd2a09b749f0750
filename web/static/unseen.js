// A page that is hidden. Who hears it goes on; where there is nothing to hear, the
// connection is given back after a while, and opened anew when the page is seen again.

const patience = 30000; // ms

export class Unseen {
  #since = performance.now();

  // hidden notes that the page is, from now on.
  hidden() {
    this.#since = performance.now();
  }

  // enough reports whether nobody has seen or heard a video for long enough. silent says
  // that it has no sound.
  enough(video, silent) {
    return document.hidden && (silent || video.muted || video.volume === 0)
      && document.pictureInPictureElement !== video && performance.now() - this.#since > patience;
  }
}
