// What a visitor has chosen, kept by the browser for the next time: "sluice.NAME" in
// localStorage, which the browser may refuse to keep; then it holds for this page only.

const here = new Map();

// recall returns what was chosen last, or otherwise: one of allowed, if that is given.
export function recall(name, otherwise, allowed) {
  let value = here.get(name) ?? null;
  try { value ??= localStorage.getItem('sluice.' + name); } catch { /* blocked */ }
  return value !== null && (!allowed || allowed.includes(value)) ? value : otherwise;
}

// forget has nothing chosen.
export function forget(name) {
  here.delete(name);
  try { localStorage.removeItem('sluice.' + name); } catch { /* blocked */ }
}

// keep remembers a choice.
export function keep(name, value) {
  here.set(name, String(value));
  try { localStorage.setItem('sluice.' + name, value); } catch { /* then for this page only */ }
}
