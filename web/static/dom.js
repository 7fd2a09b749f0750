// The little that the page needs to build its parts. Names of streams come from
// strangers: text gets in as text and nowhere as markup.

export const $ = (id) => document.getElementById(id);

// el makes an element: el('a', {class: 'x', href}, 'text', child, …).
export function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) e.setAttribute(key, value === true ? '' : value);
  }
  e.append(...children);
  return e;
}

// text sets an element's text, and leaves it alone when it is that already:
// no selection is lost, no screen reader repeats itself. Like show and icon it
// does nothing for null: not every page has every part.
export function text(e, value) {
  if (e && e.textContent !== value) e.textContent = value;
}

export function show(e, visible) {
  if (e && e.hidden === visible) e.hidden = !visible;
}

// icon points an element's <use> at another symbol of the page.
export function icon(e, name) {
  const use = e?.querySelector('use');
  if (use && use.getAttribute('href') !== '#i-' + name) use.setAttribute('href', '#i-' + name);
}

// symbol makes a picture of one of the symbols of the page.
export function symbol(name) {
  const make = (tag) => document.createElementNS('http://www.w3.org/2000/svg', tag);
  const svg = make('svg'), use = make('use');
  use.setAttribute('href', '#i-' + name);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

// rows fills a list of terms; those without a value hide.
export function rows(list, values) {
  for (const [label, value] of Object.entries(values)) {
    let row = list.querySelector(`[data-label="${label}"]`);
    if (!row) list.append(row = el('div', { 'data-label': label }, el('dt', {}, label), el('dd')));
    show(row, !!value);
    text(row.lastElementChild, value || '');
  }
}

// copyable is a line to copy: a label, the value, a button. What is secret in the value
// is copied, and not shown.
export function copyable(label, value, secret = '') {
  const shown = secret ? value.replaceAll(secret, '…') : value;
  // Where a line wraps, it wraps between words, not at the dash of an option.
  const code = el('code', {}, ...shown.split(/( )/).map((word) => el('span', {}, word)));
  const button = el('button', { type: 'button', class: 'copy', 'aria-label': `Copy: ${label}` }, 'Copy');
  let back;
  button.addEventListener('click', async () => {
    const done = await copy(value, code);
    button.textContent = done ? 'Copied' : 'Press Ctrl+C';
    button.classList.toggle('done', done);
    clearTimeout(back);
    back = setTimeout(() => { button.textContent = 'Copy'; button.classList.remove('done'); }, 1800);
  });
  return el('div', { class: 'copyable' }, el('span', { class: 'label' }, label), code, button);
}

// copyables are lines to copy, of [label, value] each, as one stop of the Tab key: the arrow
// keys, Home and End go from one button to the next. label is the name of all together.
export function copyables(label, lines, secret = '') {
  const all = el('div', { role: 'toolbar', 'aria-orientation': 'vertical', 'aria-label': label },
    ...lines.map(([name, value]) => copyable(name, value, secret)));
  const buttons = [...all.querySelectorAll('button')];
  const choose = (chosen) => { for (const b of buttons) b.tabIndex = b === chosen ? 0 : -1; };
  choose(buttons[0]);
  all.addEventListener('focusin', (e) => { if (buttons.includes(e.target)) choose(e.target); });
  all.addEventListener('keydown', (e) => {
    const at = buttons.indexOf(e.target), last = buttons.length - 1;
    const to = { ArrowDown: Math.min(at + 1, last), ArrowUp: Math.max(at - 1, 0), Home: 0, End: last }[e.key];
    if (at < 0 || to === undefined || e.altKey || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    buttons[to].focus();
  });
  return all;
}

// copy puts a text into the clipboard, and reports whether it could; shown is the element
// that shows it. Browsers have navigator.clipboard only
// on https and localhost; elsewhere the old command serves, and failing that
// the text is at least selected.
export async function copy(value, shown) {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch { /* the other way, then */ }
  const selection = getSelection();
  selection.selectAllChildren(shown);
  const whole = (e) => { // what is selected need not be all of it
    e.clipboardData.setData('text/plain', value);
    e.preventDefault();
  };
  document.addEventListener('copy', whole, { once: true });
  const done = document.execCommand('copy');
  document.removeEventListener('copy', whole);
  if (done) selection.removeAllRanges();
  return done;
}
