// The events of the server as they come. One request waits for them while somebody looks: it
// holds one of the operators' connections.

import { get, Failure } from './api.js';

const kept = 500;     // events
const wait = '25s';
const slowest = 15000; // ms between attempts while the server fails
const beat = 500;      // ms between questions: where hundreds happen in a second, each would be answered at once

export class Feed {
  #next = null; // the number of the newest event that is known
  #going = null;
  #wanted = false;
  events = []; // newest first
  missed = 0;
  missing = false; // the server keeps none

  // heard is called when there is something new.
  constructor(heard) {
    this.#heard = heard;
    document.addEventListener('visibilitychange', () => this.#sees());
  }

  #heard;

  // watch says whether somebody looks.
  watch(wanted) {
    this.#wanted = wanted;
    this.#sees();
  }

  // forget is for the end of a login.
  forget() {
    this.watch(false);
    this.#next = null;
    this.events = [];
    this.missed = 0;
    this.missing = false;
  }

  #sees() {
    const asks = this.#wanted && !document.hidden;
    if (asks === (this.#going !== null)) return;
    if (!asks) {
      this.#going.abort();
      this.#going = null;
      return;
    }
    this.#going = new AbortController();
    this.#ask(this.#going.signal);
  }

  async #ask(signal) {
    for (let failures = 0; !signal.aborted;) {
      try {
        const first = this.#next === null;
        const answer = await get(first ? '/api/v1/events?limit=1000' : `/api/v1/events?limit=1000&wait=${wait}&after=${this.#next}`, signal);
        failures = 0;
        this.#add(answer, first);
        await pause(beat);
      } catch (e) {
        if (signal.aborted || e instanceof Failure && e.status === 401) return;
        if (e instanceof Failure && e.status === 404) {
          this.missing = true;
          this.#heard();
          return;
        }
        failures++;
        await pause(Math.min(slowest, 1000 * 2 ** (failures - 1)));
      }
    }
  }

  #add(answer, first) {
    // A server that has started anew counts from the beginning.
    if (!first && answer.next < this.#next) {
      this.#next = null;
      return;
    }
    this.#next = answer.next;
    if (!first) this.missed += answer.missed;
    if (answer.events.length) this.events = [...answer.events.reverse(), ...this.events].slice(0, kept);
    if (first || answer.events.length) this.#heard();
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
