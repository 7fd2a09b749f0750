// The keys of the screen, in a dialog.

import { el } from './dom.js';
import { keep, recall } from './prefs.js';

const all = [
  [['Space', 'K'], 'Play or pause'],
  [['M'], 'Sound on or off'],
  [['↑', '↓'], 'Louder or quieter, with the focus on the picture'],
  [['←', '→'], '5 seconds back or on'],
  [['J', 'L'], '10 seconds back or on'],
  [['Home', 'End'], 'To the beginning or the end'],
  [['F'], 'Full screen'],
  [['T'], 'Theatre mode'],
  [['P'], 'Picture in picture'],
  [['S'], 'Save the picture as a file'],
  [['I'], 'Figures over the picture'],
  [['Esc'], 'Leave full screen, figures, theatre mode'],
  [['?'], 'These keys'],
];

// shortcuts shows the dialog.
export function shortcuts() {
  if (document.querySelector('dialog.shortcuts')) return;
  const rows = all.map(([keys, words]) =>
    el('div', {}, el('dt', {}, ...keys.flatMap((key) => [' ', el('kbd', {}, key)])), el('dd', {}, words)));
  const letters = el('input', { type: 'checkbox' });
  letters.checked = recall('keys', 'on') === 'on';
  letters.addEventListener('change', () => keep('keys', letters.checked ? 'on' : 'off'));
  const dialog = el('dialog', { class: 'shortcuts', 'aria-labelledby': 'shortcuts-title', closedby: 'any' },
    el('h2', { id: 'shortcuts-title' }, 'Keys'),
    el('dl', {}, ...rows),
    el('label', {}, letters, ' Single letters are keys, too'),
    el('form', { method: 'dialog', class: 'row' }, el('button', { class: 'primary', autofocus: true }, 'Close')));
  dialog.addEventListener('close', () => dialog.remove());
  (document.fullscreenElement ?? document.body).append(dialog); // only what is in it is seen
  dialog.showModal();
}
