// The box that opens a stream, whatever form its name has.

import { $, el } from './dom.js';
import { page, recordingPage, split, wallPage } from './addresses.js';

const most = 100; // names to choose from

// openBox has a form open what is typed into it: streams returns what is live, and go shows
// an address of the page.
export function openBox(streams, go) {
  const input = $('open-key'), error = $('open-error');
  const clear = () => {
    error.replaceChildren();
    input.removeAttribute('aria-invalid');
  };
  input.addEventListener('input', clear);
  input.addEventListener('focus', () => {
    $('open-names').replaceChildren(...streams().slice(0, most).map((s) => el('option', { value: s.key })));
  });
  $('open').addEventListener('submit', async (e) => {
    e.preventDefault();
    clear();
    const asked = input.value;
    let found;
    try {
      const { understand } = await import('./find.js');
      found = understand(asked, streams());
    } catch {
      found = { error: 'The server does not answer. Try again.', suggestions: [] };
    }
    if (input.value !== asked) return;
    if (!found.error) {
      input.value = '';
      go(addressOf(found));
      return;
    }
    input.setAttribute('aria-invalid', 'true');
    error.append(el('p', {}, found.error));
    if (found.suggestions.length) {
      error.append(el('ul', { class: 'row' }, ...found.suggestions.map((s) => el('li', {},
        el('a', { class: 'button', dir: 'auto', href: addressOf(s), 'data-link': true }, s.words)))));
    }
    input.focus();
  });
}

// addressOf is the page's address of what was understood.
function addressOf({ key, recording, wall, query }) {
  if (wall) return wallPage(wall) + query.replace('?', '&');
  if (!recording) return page(key, query);
  const { app, name } = split(recording);
  return recordingPage({ stream: app, id: name }) + query.replace('?', '&');
}
