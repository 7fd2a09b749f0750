// Figures of the server, kept current: every second or so while somebody looks, rarely or
// never when the page is hidden, ever more rarely while the server fails.

const pace = { seen: 1000, calm: 2000, hidden: 15000, slowest: 15000 }; // ms
const longest = 8000; // ms until a question is given up

export class Poller {
  #ask;
  #heard;
  #pace;
  #calm = false;
  #timer = 0;
  #failures = 0;
  #turn = 0; // tells an answer to an old question
  #going = null; // ends the question that is on its way
  #closed = new AbortController();

  // ask is given a signal at which it gives up, and returns the answer or throws. heard is
  // called after each question, with the answer, or with null, the reason in words, and whether
  // there was none in time.
  // The times are in ms; hidden: 0 asks nothing while the page is hidden.
  constructor(ask, heard, times = {}) {
    this.#ask = ask;
    this.#heard = heard;
    this.#pace = { ...pace, ...times };
    const now = () => {
      if (!document.hidden) this.now();
      else if (!this.#pace.hidden) this.#stop();
    };
    document.addEventListener('visibilitychange', now, { signal: this.#closed.signal });
    addEventListener('online', now, { signal: this.#closed.signal });
  }

  // calm makes the poller ask less often: the picture is what counts now.
  set calm(yes) {
    this.#calm = yes;
  }

  // now asks at once; what was asked before is not waited for.
  now() {
    this.#stop();
    if (this.#closed.signal.aborted || document.hidden && !this.#pace.hidden) return;
    this.#question(this.#turn);
  }

  close() {
    this.#closed.abort();
    this.#stop();
  }

  #stop() {
    this.#turn++;
    clearTimeout(this.#timer);
    this.#going?.abort();
  }

  async #question(turn) {
    let answer = null, reason = '', late = false;
    const going = this.#going = new AbortController();
    const timer = setTimeout(() => { late = true; going.abort(); }, longest);
    try {
      answer = await this.#ask(going.signal);
    } catch (e) {
      reason = late ? 'it takes too long' : e instanceof TypeError ? 'no connection' : e.message;
    }
    clearTimeout(timer);
    if (turn !== this.#turn) return;
    this.#failures = answer ? 0 : this.#failures + 1;
    this.#timer = setTimeout(() => this.now(), this.#pause());
    this.#heard(answer, reason, late);
  }

  #pause() {
    const { seen, calm, hidden, slowest } = this.#pace;
    const failing = this.#failures && Math.min(slowest, seen * 2 ** (this.#failures - 1));
    const pause = Math.max(document.hidden ? hidden : this.#calm ? calm : seen, failing);
    return pause * (0.95 + 0.1 * Math.random()); // pages opened together drift apart
  }
}

// streams asks the server for its streams, or for the one with a key. What comes may be another's
// answer, such as that of a network which wants a password first: one without a list is none, and
// what is no stream is left out.
export async function streams(key, signal) {
  const response = await fetch('/api/v1/streams' + (key && '?stream=' + encodeURIComponent(key)), { cache: 'no-store', signal });
  if (!response.ok) throw new Error(`it answers ${response.status}`);
  const answer = await response.json().catch((e) => {
    if (!(e instanceof SyntaxError)) throw e;
  });
  if (!Array.isArray(answer?.streams)) throw new Error('something else answers');
  return { ...answer, streams: answer.streams.filter(isStream) };
}

const isStream = (s) => typeof s?.key === 'string' && s.key.includes('/') && typeof s.state === 'string'
  && s.viewers?.total >= 0 && Array.isArray(s.tracks ?? []);
