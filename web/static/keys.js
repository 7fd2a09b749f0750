// The keys of the screen, wherever on the page the focus is, as long as what has it leaves
// them to the screen.

import { $ } from './dom.js';
import { recall } from './prefs.js';

const steps = { ArrowLeft: -5, ArrowRight: 5, j: -10, l: 10, Home: -Infinity, End: Infinity }; // s
const louder = { ArrowUp: 0.05, ArrowDown: -0.05 };

// keys listens until signal ends that. acts are called by their keys; an act that returns
// false leaves the key to the browser. move(by) goes so many seconds on or back and reports
// whether it can; volume(by) changes how loud it is.
export function keys({ signal, acts, move, volume }) {
  document.addEventListener('keydown', (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey && e.key !== '?' || e.defaultPrevented) return;
    if (document.querySelector('dialog[open]') || !free(e)) return;
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if (/^[^ ?]$/.test(key) && recall('keys', 'on') === 'off') return;
    let done = false;
    if (Object.hasOwn(steps, key)) done = move(steps[key]);
    else if (Object.hasOwn(louder, key)) done = here(e.target) && volume(louder[key]) !== false;
    else if (Object.hasOwn(acts, key)) done = acts[key]() !== false;
    if (done) e.preventDefault();
  }, { signal });
}

// here reports whether up and down are the screen's: elsewhere they scroll the page.
function here(target) {
  return !!document.fullscreenElement || $('screen').contains(target)
    || document.documentElement.scrollHeight <= innerHeight;
}

// free reports whether what has the focus leaves a key to the screen.
function free({ key, target }) {
  if (target === $('seek')) return true; // it moves by the same steps
  if (target.closest('input, select, textarea')) return false;
  if (target.closest('button, a, summary')) {
    return key !== ' ' && (target.closest('#screen') !== null || !/^(Arrow|Home|End)/.test(key));
  }
  return true;
}
