// Styles of what is rarely shown, which are fetched with it.

import { el } from './dom.js';

const sheets = new Map();

// sheet brings in a style sheet that stands beside this script, once, and waits until it is
// there, or cannot be.
export function sheet(name) {
  if (!sheets.has(name)) {
    sheets.set(name, new Promise((done) => {
      const link = el('link', { rel: 'stylesheet', href: new URL(name, import.meta.url).pathname });
      link.onload = link.onerror = done;
      document.head.append(link);
    }));
  }
  return sheets.get(name);
}
