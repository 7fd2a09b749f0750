// The operators' API, and the token that it wants. The token is in this module's memory and
// nowhere else: not in the address, not in a cookie, not in what the browser stores.

let token = '';
let ended = () => {}; // is told when the server does not take the token any more

// Failure is what the server refuses. status 0 is for a token that cannot be sent.
export class Failure extends Error {
  constructor(status, message, wait = 0) {
    super(message);
    this.status = status;
    this.wait = wait; // s, until it is worth asking again
  }
}

export const loggedIn = () => token !== '';

export function logOut() {
  token = '';
}

export function whenEnded(told) {
  ended = told;
}

// logIn tries a token; it throws a Failure if that is not the one.
export async function logIn(shown) {
  if (!/^[\x21-\x7e]+$/.test(shown)) throw new Failure(0, 'This cannot be the token: it has characters that a token cannot have.');
  const info = await send('GET', '/api/v1/info', { shown });
  token = shown;
  return info;
}

export const get = (path, signal) => send('GET', path, { signal });
export const post = (path, body) => send('POST', path, { body });
export const remove = (path) => send('DELETE', path, {});

async function send(method, path, { shown = token, body, signal }) {
  const headers = { Authorization: 'Bearer ' + shown };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const response = await fetch(path, {
    method, headers, signal, body: body && JSON.stringify(body),
    cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
  });
  if (response.ok) return response.status === 204 ? null : response.json();
  const failure = await refused(response);
  // A session that is over already is not ended by an answer to its last question.
  if (failure.status === 401 && shown === token) ended(failure);
  throw failure;
}

async function refused(response) {
  const wait = Number(response.headers.get('Retry-After')) || 0;
  let reason = `The server answers ${response.status}.`;
  try {
    const words = (await response.json()).reason;
    if (words) reason = words[0].toUpperCase() + words.slice(1).replace(/\.?$/, '.');
  } catch { /* then its status says it all */ }
  return new Failure(response.status, reason, wait);
}

let own = ''; // the name of the node that the server is in a cluster; '' where it is alone

export function setNode(name) {
  own = name;
}

export const ownNode = () => own;

// everywhere is the node that a list is asked of: all, where there are others.
export const everywhere = () => own && 'all';

// placed is what a list is asked for. The lists of all nodes follow one on the other: they have no order in common.
export const placed = ({ node, sort, ...rest }) => ({ ...rest, node: own && node, sort: own && node === 'all' ? '' : sort });

// idOf is how a session is called: one of another node by what counts at any.
export const idOf = (session) => (session.node && session.node !== own ? session.ref : session.id);

// query makes ?a=b of those that are not empty.
export function query(values) {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== null && value !== '') all.set(name, value);
  }
  const text = all.toString();
  return text && '?' + text;
}
