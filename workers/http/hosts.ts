/**
 * Which Host and Origin are answered. A page of another site reaches a server here in two ways: from its own origin (the
 * browser says so in Origin), or by a name of its own that it lets resolve to our address (DNS rebinding: the name is in Host).
 */
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { HttpError } from './errors.ts';

export type CheckHost = (request: IncomingMessage) => HttpError | undefined;

/**
 * @param names names under which the process may be reached, without ports, beside localhost and addresses: rebinding
 *   needs a name. Pages of these hosts may call it too, as those of the very host and port that the request is for.
 */
export function checkHosts(names: readonly string[]): CheckHost {
  // An address is no name: any program on that machine may serve a page on another port of it.
  const known = new Set(names.filter((name) => isIP(name) === 0).map((name) => name.toLowerCase()));
  return ({ headers: { host, origin } }) => {
    // Only a client of HTTP/1.0 can leave it out, and no browser is one.
    if (host !== undefined) {
      const name = hostName(host);
      if (name === undefined || !(name === 'localhost' || isIP(name) !== 0 || known.has(name)))
        return new HttpError(
          421,
          'MUSTER_HOST_UNKNOWN',
          'this server does not answer under the name in the header Host; HTTP_ALLOWED_HOSTS adds names',
        );
    }
    if (origin === undefined || sameOrigin(origin, host)) return undefined;
    const from = URL.canParse(origin) ? new URL(origin).hostname : undefined;
    if (from !== undefined && known.has(from)) return undefined;
    return new HttpError(
      403,
      'MUSTER_ORIGIN_REFUSED',
      'pages of this origin may not call this server; HTTP_ALLOWED_HOSTS adds hosts',
    );
  };
}

/** The name or address of a Host header, in lower case, without port, brackets and the last dot. */
function hostName(host: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([0-9a-f:.]+)\]|([^\s:@/?#[\]]+))(?::\d{1,5})?$/i.exec(host) ?? [];
  return (bracketed ?? plain)?.toLowerCase().replace(/\.$/, '');
}

/** The scheme may differ: a gateway that ends TLS keeps the host. */
function sameOrigin(origin: string, host: string | undefined): boolean {
  if (host === undefined || !/^https?:/.test(origin) || !URL.canParse(origin)) return false;
  const { host: from, protocol } = new URL(origin);
  return URL.canParse(`${protocol}//${host}`) && new URL(`${protocol}//${host}`).host === from;
}
