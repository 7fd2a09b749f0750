// The dialog of what can be shared: the link, also as it is watched now, as a QR code, and
// the lines by which another page shows it.

import { el, show, text, copyable } from './dom.js';
import { origin } from './addresses.js';
import { sheet } from './sheet.js';

const root = document.documentElement;
let named = 0; // dialogs so far

export class Sharing {
  #what; #secret; #now; #send;
  #dialog;
  #link = el('div');
  #code = el('div', { class: 'share-code', hidden: true });
  #canvas = el('canvas', { role: 'img', 'aria-label': 'QR code of the link' });
  #exact = el('input', { type: 'checkbox' });

  // what is as share takes it; send(title, url) hands a link to the system.
  constructor(what, signal, send) {
    this.#what = what;
    this.#send = send;
    this.#secret = what.secret?.() ?? '';
    this.#now = what.now?.() ?? null;
    const id = `sharing-${++named}`;
    const close = el('button', { type: 'button', class: 'share-close', 'aria-label': 'Close' }, '×');
    this.#dialog = el('dialog', { class: 'sharing', 'aria-labelledby': id },
      el('div', { class: 'share-top' }, el('h2', { id }, 'Share ', el('bdi', {}, what.title)), close),
      this.#link, ...this.#parts());
    close.addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('click', (e) => { if (e.target === this.#dialog) this.#dialog.close(); }); // beside it
    this.#exact.addEventListener('change', () => this.#show());
    signal.addEventListener('abort', () => this.#dialog.close());
  }

  // open shows it until it is closed; then the focus goes back.
  async open(from) {
    await sheet('share.css');
    if (document.querySelector('dialog.sharing')) return; // two clicks
    this.#show();
    const place = document.fullscreenElement ?? document.body;
    place.append(this.#dialog);
    this.#dialog.addEventListener('close', () => {
      this.#dialog.remove();
      if (from.isConnected) from.focus();
    }, { once: true });
    this.#dialog.showModal();
  }

  get #url() { return this.#exact.checked ? this.#now[1] : this.#what.link(); }

  #parts() {
    const parts = [];
    if (this.#now) {
      parts.push(el('label', { class: 'share-now' }, this.#exact, el('span', {}, `As it is now: ${this.#now[0]}`)));
    }
    if (this.#secret) {
      parts.push(el('p', { class: 'share-warning' },
        'The link holds your permission: whoever gets it may watch as you do.'));
    }
    const buttons = el('div', { class: 'row' });
    if (navigator.share) buttons.append(this.#button('Send …', () => this.#send(this.#what.title, this.#url)));
    if (root.dataset.qr) {
      const code = this.#button('QR code', () => this.#toggle(code));
      code.setAttribute('aria-expanded', 'false');
      buttons.append(code);
    }
    if (buttons.childElementCount) parts.push(buttons, this.#code);
    if (this.#what.frame) parts.push(...this.#framing());
    return parts;
  }

  #button(words, act) {
    const button = el('button', { type: 'button' }, words);
    button.addEventListener('click', act);
    return button;
  }

  // framing tells how another page shows it, or what that lacks.
  #framing() {
    const { embed } = root.dataset, title = el('h3', {}, 'On another page');
    if (!embed) {
      return [title, el('p', { class: 'share-hint' }, 'Only pages of this server may show it. Whoever runs the server '
        + 'can let others: ', el('code', {}, 'SLUICE_EMBED_ORIGINS'), ' lists the sites that may.')];
    }
    const hints = [];
    if (embed === 'some') hints.push('It works on the sites that this server lets show it (SLUICE_EMBED_ORIGINS).');
    if (origin.startsWith('http:')) hints.push('A page under https:// shows it only if this server has https, too.');
    return [title, copyable('Lines for a page', snippet(this.#what.title, this.#what.frame()), quoted(this.#secret)),
      ...hints.map((words) => el('p', { class: 'share-hint' }, words))];
  }

  #show() {
    this.#link.replaceChildren(copyable('Link', this.#url, this.#secret));
    if (!this.#code.hidden) this.#draw();
  }

  #toggle(button) {
    const shown = this.#code.hidden;
    show(this.#code, shown);
    button.setAttribute('aria-expanded', shown);
    if (shown) this.#draw();
  }

  async #draw() {
    const url = this.#url;
    try {
      const { generate } = await import(root.dataset.qr);
      if (url !== this.#url) return;
      // The margin that readers need is a part of the picture, whatever lies around it.
      generate(url).toCanvas(this.#canvas, { on: [0, 0, 0], off: [255, 255, 255], padX: 4, padY: 4 });
      this.#code.replaceChildren(this.#canvas);
    } catch {
      text(this.#code, 'There is no QR code of so long a link.');
    }
  }
}

const quoted = (s) => s.replace(/[&"<>]/g, (c) => ({ '&': '&amp;', '"': '&quot;', '<': '&lt;', '>': '&gt;' })[c]);

// snippet is what a page holds to show a stream. The address is escaped already, the title is
// not.
function snippet(title, address) {
  return `<iframe src="${quoted(address)}" title="${quoted(title)}" width="640" height="360" `
    + 'allow="autoplay; fullscreen; picture-in-picture" style="border:0"></iframe>';
}
