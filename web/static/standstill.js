// Finds out that nothing moves although data comes: a track that the publisher no
// longer sends but the browser waits for, or a decoder that has given up.
//
// Data comes as long as no two arrivals are further apart than a gap. One late
// picture of a stream that has few of them is no flow, so such a stream does not
// stand still, however long its pictures stand.

const gap = 2000; // ms

export class Standstill {
  #since = 0;           // when the flow began, or something last moved in it
  #arrived = -Infinity; // when data last came
  #looked = -Infinity;
  #time = 0;
  #frames = 0;

  // data notes that some came.
  data(now) {
    if (now - this.#arrived > gap) this.#since = now;
    this.#arrived = now;
  }

  // look returns for how long data has come without anything moving, ms; to be
  // called a few times a second. A jump to another place is no movement until there
  // is a picture. Excused is what stands for a good reason, and so is a page that
  // was kept from looking, as hidden ones are.
  look(video, frames, excused, now) {
    const goesOn = video.currentTime !== this.#time && !video.seeking && video.readyState > 1;
    if (goesOn || frames !== this.#frames || excused || now - this.#looked > gap) this.#since = now;
    this.#looked = now;
    this.#time = video.currentTime;
    this.#frames = frames;
    return this.#arrived - this.#since;
  }
}
