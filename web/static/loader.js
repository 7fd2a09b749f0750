// How the bytes of a stream get to mpegts.js.
//
// mpegts.js has loaders of its own, but they keep back why a stream ended: of a
// WebSocket the close code and its reason, of an HTTP refusal the JSON body.
// Both decide here what is said and whether it is tried again. So these two
// take their place (mpegts.js: Config.customLoader).

// A listener is told, each at most once per loader but for data:
//   opened()           the server has accepted
//   data(bytes)        these came (Uint8Array)
//   ended(end)         no more will come: {code, reason, opened}
// and is asked, where the server can be kept waiting,
//   full()             whether nothing more should come for now
// with the close codes of WebSocket for HTTP too:
export const ENDED = 1000;      // properly: the stream is over, or begins anew
export const SHUTDOWN = 1001;
export const LOST = 1006;       // nobody said good-bye
const patience = 200;           // between two looks at whether it is still full, ms
const httpCodes = { 400: 4400, 401: 4403, 403: 4403, 404: 4404, 409: 4409, 429: 4503, 503: 4503 };

// loaderFor returns the loader class for one session, as mpegts.js wants it.
export function loaderFor(mpegts, over, listener) {
  const { kConnecting, kBuffering, kError, kComplete } = mpegts.LoaderStatus;

  class Loader extends mpegts.BaseLoader {
    received = 0;
    opened = false;
    done = false;

    accepted() {
      this._status = kBuffering;
      this.opened = true;
      listener.opened();
    }

    // take hands bytes on. What mpegts.js throws at them ends the stream, and
    // must not get lost in an event handler.
    take(buffer) {
      if (this.done || !buffer.byteLength) return;
      const start = this.received;
      this.received += buffer.byteLength;
      listener.data(new Uint8Array(buffer));
      try {
        this._onDataArrival(buffer, start, this.received);
      } catch (e) {
        this.end(4400, `the data cannot be read (${e.message})`);
        this.abort();
      }
    }

    end(code, reason) {
      if (this.done) return;
      this.done = true;
      this._status = code === ENDED ? kComplete : kError;
      listener.ended({ code, reason, opened: this.opened });
      // Lets what is held back be played to its end.
      if (code === ENDED && this._onComplete) this._onComplete(0, this.received - 1);
    }

    destroy() {
      this.abort();
      super.destroy();
    }
  }

  class WebSocketLoader extends Loader {
    constructor() { super('sluice-websocket'); }

    open(source) {
      this._status = kConnecting;
      const socket = this.socket = new WebSocket(source.url);
      socket.binaryType = 'arraybuffer';
      socket.onopen = () => this.accepted();
      socket.onmessage = ({ data }) => {
        if (data instanceof ArrayBuffer) return this.take(data);
        this.end(4400, 'the server sent text where data belongs');
        this.abort();
      };
      socket.onclose = ({ code, reason }) => this.end(code, reason);
    }

    abort() {
      this.done = true;
      this._status = kComplete;
      if (!this.socket) return;
      this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
      this.socket.close();
      this.socket = null;
    }
  }

  class HTTPLoader extends Loader {
    constructor() { super('sluice-http'); }

    open(source) {
      this._status = kConnecting;
      this.stop = new AbortController();
      this.run(source.url).catch((e) => this.end(LOST, this.opened ? '' : e.message));
    }

    async run(url) {
      const response = await fetch(url,
        { cache: 'no-store', signal: this.stop.signal });
      if (!response.ok) {
        const { reason } = await response.json().catch(() => ({}));
        const code = httpCodes[response.status] ?? LOST;
        this.end(code, reason || `HTTP ${response.status} ${response.statusText}`);
        return;
      }
      this.accepted();
      const reader = response.body.getReader();
      for (;;) {
        while (listener.full() && !this.done) await new Promise((on) => { setTimeout(on, patience); });
        const { done, value } = await reader.read();
        if (done) break;
        const whole = value.byteLength === value.buffer.byteLength;
        this.take(whole ? value.buffer : value.slice().buffer);
      }
      this.end(ENDED, '');
    }

    abort() {
      this.done = true;
      this._status = kComplete;
      this.stop?.abort();
    }
  }

  return over === 'http' ? HTTPLoader : WebSocketLoader;
}
