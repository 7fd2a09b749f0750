// What clients say of themselves. None of it is to be believed: it is shown as text, apart
// from what stands around it, with what cannot be seen made visible.

import { el, text } from './dom.js';

// Control characters; what changes the direction of the text around it; what has no width.
// The joiners U+200C and U+200D are left alone: scripts and emoji need them.
const unseen = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

export const visible = (words) =>
  String(words).replace(unseen, (c) => `‹U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}›`);

// bdi makes an element that shows such words, and cuts them off where there is no room.
export function bdi(words = '') {
  return said(el('bdi', { class: 'said-by-client', dir: 'auto' }), words);
}

// said sets the words of a bdi.
export function said(element, words) {
  const shown = visible(words ?? '');
  text(element, shown);
  if (element.title !== shown) element.title = shown;
  return element;
}
