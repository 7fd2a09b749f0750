// The page that asks for the token.

import { el, text, show } from './dom.js';
import { logIn } from './api.js';

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$|\.localhost$/;

// inClear says whether the token crosses a network unencrypted.
const inClear = () => location.protocol === 'http:' && !loopback.test(location.hostname);

// login shows the form; because says why somebody is here who was inside before. done is given
// the server's words on itself.
export function login(because, done) {
  const field = el('input', { id: 'token', type: 'password', autocomplete: 'current-password', required: true, spellcheck: 'false', autocapitalize: 'none', 'aria-describedby': 'token-help' });
  const wrong = el('p', { id: 'wrong', class: 'wrong', role: 'alert', hidden: true });
  const enter = el('button', { type: 'submit', class: 'primary' }, 'Log in');
  const form = el('form', { class: 'login box' },
    el('h1', { id: 'title', tabindex: '-1' }, 'Log in'),
    ...(because ? [el('p', { class: 'because' }, because)] : []),
    el('p', { class: 'field' }, el('label', { for: 'token' }, 'Token'), field),
    wrong, enter,
    el('p', { id: 'token-help', class: 'hint' }, 'It is SLUICE_ADMIN_TOKEN of the server. It stays in the memory of this tab: a reload asks for it again.'),
    ...(inClear() ? [el('p', { id: 'clear', class: 'banner' }, 'This address has no TLS: the token crosses the network in clear. Whoever can listen on the way can take it.')] : []));
  const { signal, ...closing } = closable();
  let busy = false;
  form.addEventListener('submit', async (e) => {
    e.preventDefault();
    const shown = field.value.trim();
    if (busy || !shown) return;
    busy = true;
    show(wrong, false);
    try {
      const info = await logIn(shown);
      field.value = '';
      if (!signal.aborted) done(info);
    } catch (failure) {
      if (!signal.aborted) refuse(failure);
    }
    busy = false;
  });

  function refuse(failure) {
    show(wrong, true);
    if (failure instanceof TypeError) text(wrong, 'The server does not answer.');
    else if (failure.status === 401) text(wrong, 'This is not the token.');
    else if (failure.status === 429) text(wrong, `Too many wrong tokens from your address. Try again in ${failure.wait} s.`);
    else text(wrong, failure.message);
    field.setAttribute('aria-invalid', 'true');
    field.focus();
    field.select();
  }

  return { title: 'Log in', root: form, focus: field, ...closing };
}

function closable() {
  const ends = new AbortController();
  return { signal: ends.signal, close: () => ends.abort() };
}
