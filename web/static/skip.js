// The link to the content, before everything else. The view is not in the fragment of the
// address, so it goes to the one that is shown.

import { $ } from './dom.js';

$('skip').addEventListener('click', (e) => {
  e.preventDefault();
  const main = document.querySelector('main:not([hidden])');
  const to = main?.querySelector('h1[tabindex]') ?? main;
  to?.focus();
  to?.scrollIntoView({ block: 'nearest' });
});
