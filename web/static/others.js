// What else is live, while a stream is waited for or has ended.

import { $, el, show, text } from './dom.js';
import { page } from './addresses.js';
import { Poller, streams } from './poll.js';
import * as say from './format.js';

const most = 6;      // streams beside the picture
const within = 3;    // of them in it
const pace = { seen: 5000, calm: 5000, hidden: 0, slowest: 30000 }; // ms between two questions

export class Others {
  #key; #poller = null;
  #list = el('ul');
  #inside = el('p', { class: 'also', hidden: true });

  // key is the stream that is not to be shown, as it is what the visitor came for.
  constructor(key) {
    this.#key = key;
    $('others').replaceChildren(el('h2', { id: 'others-title' }, 'Also live'), this.#list);
    $('others').setAttribute('aria-labelledby', 'others-title');
    show($('others'), false);
  }

  // wanted says whether there is room for something else: nothing plays.
  set wanted(yes) {
    if (yes === !!this.#poller) return;
    if (yes) {
      this.#poller = new Poller((signal) => streams('', signal), (answer) => this.#heard(answer), pace);
      this.#poller.now();
    } else this.close();
  }

  close() {
    this.#poller?.close();
    this.#poller = null;
    show($('others'), false);
    this.#inside.remove();
  }

  #heard(answer) {
    if (answer?.private) this.#poller.close(); // nothing is ever told
    else if (answer) this.#show(answer.streams);
  }

  #show(streams) {
    const live = streams.filter((s) => s.state === 'live' && s.key !== this.#key)
      .sort((a, b) => b.viewers.total - a.viewers.total || (a.key < b.key ? -1 : 1)).slice(0, most);
    const link = ({ key }) => el('a', { href: page(key), title: key, dir: 'auto', 'data-link': true }, key);
    const keys = live.map((s) => s.key).join('\n');
    if (this.#list.dataset.keys !== keys) { // else links would lose the focus
      this.#list.dataset.keys = keys;
      this.#list.replaceChildren(...live.map((s) => el('li', {}, link(s), el('span'))));
      this.#inside.replaceChildren('Also live: ', ...live.slice(0, within).map(link));
    }
    live.forEach((s, i) => text(this.#list.children[i].lastElementChild, say.count(s.viewers.total, 'viewer')));
    show($('others'), live.length > 0);
    show(this.#inside, live.length > 0);
    if (this.#inside.parentElement !== $('overlay')) $('overlay').append(this.#inside);
  }
}
