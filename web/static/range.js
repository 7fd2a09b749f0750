// How the bytes of a recording get to mpegts.js: by Range, from where it asks, and of a
// recording that grows, on and on.

const pause = 1000;   // between two looks at whether there is more, ms

// rangeLoader returns the loader class for one recording, as mpegts.js wants it. growing
// says whether more may come; failed is told why no more bytes will.
export function rangeLoader(mpegts, { growing, failed }) {
  const { kConnecting, kBuffering, kError, kComplete } = mpegts.LoaderStatus;

  return class extends mpegts.BaseLoader {
    constructor() { super('sluice-range'); }

    open({ url }, { from }) {
      this._status = kConnecting;
      this.stop = new AbortController();
      this.run(url, from).catch((e) => {
        if (this.stop.signal.aborted) return;
        this._status = kError;
        failed(e.message);
      });
    }

    async run(url, from) {
      const { signal } = this.stop;
      for (let at = from; ;) {
        const more = growing(); // asked before: what is written meanwhile is fetched, too
        const response = await fetch(url,
          { headers: { Range: `bytes=${at}-` }, cache: 'no-store', signal });
        if (response.status === 206 || response.status === 200 && at === 0) {
          at = await this.read(response, at);
        } else if (response.status !== 416) {
          const { reason } = await response.json().catch(() => ({}));
          throw new Error(reason || `HTTP ${response.status}`);
        }
        if (signal.aborted) return; // which is no end
        if (!more) {
          this._status = kComplete;
          this._onComplete?.(from, at - 1);
          return;
        }
        await new Promise((done) => { setTimeout(done, pause); });
        if (signal.aborted) return;
      }
    }

    // read hands on what a response brings from a position on, and returns the next one.
    async read(response, at) {
      this._status = kBuffering;
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.stop.signal.aborted) return at;
        const whole = value.byteLength === value.buffer.byteLength;
        const start = at;
        at += value.byteLength;
        this._onDataArrival(whole ? value.buffer : value.slice().buffer, start, at);
      }
    }

    abort() {
      this._status = kComplete;
      this.stop?.abort();
    }

    destroy() {
      this.abort();
      super.destroy();
    }
  };
}
