/** All that the page knows comes from the server that it is from: the public API, and others by way of `/console`. */
import { say } from './words.js';

/** What the page is told of its environment. */
export const settings = await (await fetch('/console/settings')).json();

/** The parsed answer with its trace id; throws what the API says is wrong, with the trace id too. A form is sent as it is. */
export async function call(method, path, body, { token, ...headers } = {}) {
  const isJson = body !== undefined && !(body instanceof FormData);
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(isJson ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isJson ? JSON.stringify(body) : body }),
    });
  } catch {
    throw new Error(say`The server cannot be reached. Try again in a moment.`);
  }
  const traceId = response.headers.get('traceparent')?.split('-')[1];
  const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (response.ok) return { traceId, ...answer };
  const { code, message, details = [] } = answer.error ?? {};
  const why = details.map(({ field, reason }) => `${field} ${reason}`).join(', ');
  const text = `${code ?? response.status}: ${message ?? say`no answer`}${why && ` (${why})`}`;
  throw Object.assign(new Error(text), { traceId, code });
}

/** A new key for each thing that is asked for once. */
export const once = () => ({ 'idempotency-key': crypto.randomUUID?.() ?? id() + id() });

/** Digits that nobody else has. */
export const id = () => crypto.getRandomValues(new Uint32Array(2)).join('');

/** Tokens of people whom the page plays, in the order of `users`. */
export const tokensOf = async (role, users) =>
  (await call('POST', '/console/tokens', { role, users })).tokens;

const kept = new Map();

/** The token of one of them; asked for when it is first needed. */
export function tokenOf(role, user) {
  const key = `${role} ${user}`;
  if (!kept.has(key)) {
    const asked = tokensOf(role, [user]).then(([token]) => token);
    asked.catch(() => kept.delete(key));
    kept.set(key, asked);
  }
  return kept.get(key);
}

/** Of the employee whom the page plays. */
export const operatorToken = () => tokenOf('operator', 'console');

/** Calls a route of my-pay (`/pay/...`) by a token. */
export const pay = (token, method, path, body, headers) =>
  call(method, `/console${path}`, body, { token, ...headers });

/** The same for what is done once. */
export const payOnce = (token, method, path, body) => pay(token, method, path, body, once());

/** A picture that only a token shows, as an address for `img`. */
export async function picture(path, token) {
  const response = await fetch(path, { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(String(response.status));
  const reader = new FileReader();
  const read = new Promise((resolve, reject) => {
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
  });
  reader.readAsDataURL(await response.blob());
  return read;
}

const againMs = 2_000;

/**
 * Follows an event stream by way of `/console` until the signal: `onEvent({type, id, data})`. Comes back when it breaks off; what was not
 * acknowledged comes again then.
 */
export async function follow(path, token, signal, onEvent) {
  while (!signal.aborted) {
    try {
      const response = await fetch(`/console${path}`, {
        headers: { authorization: `Bearer ${token}` },
        signal,
      });
      if (!response.ok) throw new Error(String(response.status));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
        text += chunk.value;
        const blocks = text.split('\n\n');
        text = blocks.pop();
        for (const block of blocks) {
          const event = eventIn(block);
          if (event !== undefined) onEvent(event);
        }
      }
    } catch {
      // It comes back below, unless it was given up.
    }
    await new Promise((resolve) => setTimeout(resolve, againMs));
  }
}

function eventIn(block) {
  const fields = Object.fromEntries(
    block
      .split('\n')
      .map((line) => /^(\w+): ?(.*)$/.exec(line))
      .filter((found) => found !== null)
      .map(([, name, value]) => [name, value]),
  );
  if (fields.event === undefined || fields.data === undefined) return undefined;
  return { type: fields.event, id: fields.id, data: JSON.parse(fields.data) };
}
