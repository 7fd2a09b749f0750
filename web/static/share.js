// Sharing what is watched. On a phone the button leads to what the phone has for that,
// elsewhere to a dialog (sharing.js), which is fetched when somebody asks for it.

import { el, symbol } from './dom.js';

// share puts its buttons into root, until signal. What is shared is
//   title      in words
//   link()     its address
//   secret()   what of that is nobody else's business, or ''
//   now()      its address as it is watched at the moment, as [words, address], or null
//   frame()    the address of its page for other pages to frame, if it has one
export function share(root, { signal, ...what }) {
  const button = (words, act) => {
    const b = el('button', { type: 'button', class: 'share-button', 'aria-label': words }, symbol('share'), el('span', { class: 'share-words' }, words));
    b.addEventListener('click', () => act(b), { signal });
    return b;
  };
  const open = async (from) => {
    const { Sharing } = await import('./sharing.js');
    if (!signal.aborted) new Sharing(what, signal, send).open(from);
  };
  const native = navigator.share && matchMedia('(pointer: coarse)').matches;
  root.replaceChildren(...native
    ? [button('Share', () => send(what.title, what.link())), button('Link', open)]
    : [button('Share', open)]);
  root.hidden = false;
  signal.addEventListener('abort', () => {
    root.replaceChildren();
    root.hidden = true;
  });
}

// send shares by what the system has for that; whoever thinks better of it is no error.
function send(title, url) {
  navigator.share({ title, url }).catch(() => {});
}
