// Questions that are asked before something is done.

import { $, el, text, show } from './dom.js';

let number = 0; // makes the ids of fields

// A field is {name, label, kind, value, options, help}: kind is "select", "radio", "check", or
// left out for a text of up to max characters; options are [value, words].
function field(f) {
  const id = `field-${++number}`;
  const help = f.help && el('span', { class: 'help', id: id + '-help' }, f.help);
  const described = help ? id + '-help' : undefined;
  if (f.kind === 'radio') {
    return el('fieldset', {}, el('legend', {}, f.label), ...f.options.map(([value, words]) =>
      el('label', {}, el('input', { type: 'radio', name: f.name, value, checked: value === f.value }), words)));
  }
  if (f.kind === 'check') {
    return el('p', { class: 'field' }, el('label', { class: 'check' },
      el('input', { type: 'checkbox', name: f.name, checked: !!f.value }), f.label), ...(help ? [help] : []));
  }
  const input = f.kind === 'select'
    ? el('select', { id, name: f.name, 'aria-describedby': described },
      ...f.options.map(([value, words]) => el('option', { value, selected: value === f.value }, words)))
    : el('input', { id, name: f.name, type: 'text', value: f.value, maxlength: f.max, 'aria-describedby': described,
      autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' });
  return el('p', { class: 'field' }, el('label', { for: id }, f.label), input, ...(help ? [help] : []));
}

// ask opens a dialog: what it is about, what will happen (elements or words), fields, and the
// words on the button that does it. run is given the values and does it; if it throws, the
// dialog stays and says why.
export function ask({ title, says = [], fields = [], action, run }) {
  const wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  const does = el('button', { type: 'submit', class: 'danger' }, action);
  const cancel = el('button', { type: 'button' }, 'Cancel');
  const form = el('form', {}, el('h2', { id: 'dialog-title' }, title),
    ...says.map((words) => el('p', {}, ...[words].flat())), ...fields.map(field), wrong,
    el('p', { class: 'row buttons' }, cancel, does));
  // One of its own for each question: what a closed one still has to say ends no other.
  const dialog = el('dialog', { id: 'dialog', class: 'dialog', 'aria-labelledby': 'dialog-title' }, form);
  let busy = false;
  cancel.addEventListener('click', dismiss);
  form.addEventListener('submit', async (e) => {
    e.preventDefault();
    if (busy) return;
    busy = true;
    show(wrong, false);
    try {
      await run(values(form));
      if (open === dialog) dismiss();
    } catch (error) {
      text(wrong, error instanceof TypeError ? 'The server does not answer.' : error.message);
      show(wrong, true);
    }
    busy = false;
  });
  dialog.addEventListener('cancel', (e) => { // the Escape key
    e.preventDefault();
    dismiss();
  });
  dialog.addEventListener('close', () => { if (open === dialog) dismiss(); }); // the browser has closed it
  dismiss();
  document.body.append(dialog);
  open = dialog;
  dialog.showModal();
  (form.querySelector('.field input[type=text], select, input:checked') ?? cancel).focus();
}

let open = null; // the dialog that there is

// dismiss closes the dialog, if there is one; the focus goes back to where it was.
export function dismiss() {
  open?.close();
  open?.remove();
  open = null;
}

function values(form) {
  const all = Object.fromEntries(new FormData(form));
  for (const box of form.querySelectorAll('[type=checkbox]')) all[box.name] = box.checked;
  return all;
}

let fading = 0;

// tell says what has been done, for a while; the page shows what has come of it ("acted").
export function tell(words) {
  const said = $('said');
  said.textContent = words;
  said.classList.add('on');
  document.dispatchEvent(new Event('acted'));
  clearTimeout(fading);
  fading = setTimeout(() => { said.classList.remove('on'); said.textContent = ''; }, 8000);
}
