// The figures of the server, kept current: every second while somebody looks,
// rarely when the page is hidden, ever more rarely while the server fails.

const seen = 1000, calm = 2000, hidden = 15000, slowest = 15000; // ms

export class Poller {
  #query = '';
  #calm = false;
  #timer = 0;
  #failures = 0;
  #turn = 0; // tells an answer to an old question
  #heard;

  // heard is called after each question, with the answer ({streams, …}), or
  // with null and the reason in words.
  constructor(heard) {
    this.#heard = heard;
    const now = () => { if (!document.hidden) this.now(); };
    document.addEventListener('visibilitychange', now);
    addEventListener('online', now);
  }

  // watch asks for one stream from now on, or with null for all.
  watch(key) {
    this.#query = key === null ? '' : '?stream=' + encodeURIComponent(key);
    this.now();
  }

  // calm makes the poller ask less often: the picture is what counts now.
  set calm(yes) {
    this.#calm = yes;
  }

  now() {
    clearTimeout(this.#timer);
    this.#ask(++this.#turn);
  }

  async #ask(turn) {
    let answer = null, reason = '';
    try {
      const response = await fetch('/api/v1/streams' + this.#query,
        { cache: 'no-store', signal: AbortSignal.timeout(8000) });
      if (!response.ok) throw new Error(`it answers ${response.status}`);
      answer = await response.json();
    } catch (e) {
      reason = e.name === 'TimeoutError' ? 'it takes too long'
        : e instanceof TypeError ? 'no connection' : e.message;
    }
    if (turn !== this.#turn) return;
    this.#failures = answer ? 0 : this.#failures + 1;
    this.#timer = setTimeout(() => this.now(), this.#pause());
    this.#heard(answer, reason);
  }

  #pause() {
    const failing = this.#failures && Math.min(slowest, seen * 2 ** (this.#failures - 1));
    const pause = Math.max(document.hidden ? hidden : this.#calm ? calm : seen, failing);
    return pause * (0.95 + 0.1 * Math.random()); // pages opened together drift apart
  }
}
