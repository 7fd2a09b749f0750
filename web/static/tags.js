// The clock of an FLV stream, read from its bytes as they come, in pieces of any size: how
// far what has arrived reaches. Unlike the buffer of a <video> it goes on where nothing is
// decoded, one of two tracks has stopped, or the page is hidden. (FLV 10.1, annex E.4.1)

const start = 13, head = 11, after = 4; // bytes: the file's header, a tag's, its size behind it
const audio = 8, video = 9;

export class Tags {
  time = -1;         // the newest timestamp of a whole tag with sound or picture, ms; -1 before
  #skip = start;     // bytes up to the next tag
  #head = new Uint8Array(head);
  #have = 0;
  #due = -1;         // the timestamp of the tag that is being skipped

  // take reads on in a Uint8Array.
  take(bytes) {
    for (let at = 0; at < bytes.length;) {
      if (this.#skip) {
        const n = Math.min(this.#skip, bytes.length - at);
        at += n;
        this.#skip -= n;
        if (!this.#skip) this.time = Math.max(this.time, this.#due);
        continue;
      }
      this.#head[this.#have++] = bytes[at++];
      if (this.#have < head) continue;
      const [type, a, b, c, d, e, f, g] = this.#head;
      this.#have = 0;
      this.#skip = (a << 16 | b << 8 | c) + after;
      this.#due = type === audio || type === video ? (g << 24 | d << 16 | e << 8 | f) >>> 0 : -1;
    }
  }
}
