import type { IncomingMessage } from 'node:http';

const silenceMs = 5_000;
const mostMs = 20_000;

/**
 * Lets a client send the rest of a body that nobody wants, unless it falls silent or takes too long: most read their answer only when
 * they have sent all, and a gateway between us loses an answer that comes with the end of the connection.
 */
export async function hearOut(raw: IncomingMessage): Promise<void> {
  raw.unpipe();
  raw.resume();
  if (raw.complete || raw.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const silent = setTimeout(resolve, silenceMs).unref();
  const long = setTimeout(resolve, mostMs).unref();
  const heard = () => silent.refresh();
  raw.on('data', heard).once('close', resolve).once('end', resolve);
  await promise;
  raw.off('data', heard);
  clearTimeout(silent);
  clearTimeout(long);
}
