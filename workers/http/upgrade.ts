/** WebSockets: one listener for all of a process, with the same checks as any request. */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { HttpError, refuseSocket, toHttpError } from './errors.ts';
import type { CheckHost } from './hosts.ts';
import { type Authenticate, type Callers, challenge } from './principals.ts';
import type { Principal } from './tokens.ts';

export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly query: Readonly<Record<string, string>>;
  readonly principal: Principal | undefined;
}

/** Takes the socket over; what it throws is answered in the one error format. */
export type OnUpgrade = (upgrade: Upgrade) => void | Promise<void>;

declare module 'fastify' {
  interface FastifyInstance {
    /** Opens a path for WebSockets; the result closes it again. */
    webSocket(path: string, callers: Callers, onUpgrade: OnUpgrade): () => void;
  }
}

/** The subprotocol to answer with: clients that send their token as one (`bearer.<token>`) offer this beside it. */
export const chooseProtocol = (offered: ReadonlySet<string>): string | false =>
  offered.has('muster') ? 'muster' : false;

export function acceptUpgrades(
  server: Server,
  checkHost: CheckHost,
  authenticate: Authenticate,
  isDraining: () => boolean,
): (path: string, callers: Callers, onUpgrade: OnUpgrade) => () => void {
  const routes = new Map<string, { readonly callers: Callers; readonly onUpgrade: OnUpgrade }>();

  async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const refused = checkHost(request);
    if (refused !== undefined) throw refused;
    if (isDraining()) throw new HttpError(503, 'MUSTER_DRAINING', 'this process is shutting down; try again');
    const { pathname, searchParams } = new URL(`http://localhost${request.url ?? '/'}`);
    const route = routes.get(pathname);
    if (route === undefined)
      throw new HttpError(404, 'MUSTER_NOT_FOUND', 'there is no such path for a WebSocket');
    const principal = await authenticate(request, route.callers);
    await route.onUpgrade({ request, socket, head, query: Object.fromEntries(searchParams), principal });
  }

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    upgrade(request, socket, head).catch((error: Error) => {
      const answer = toHttpError(error);
      refuseSocket(socket, answer, answer.status === 401 ? { 'www-authenticate': challenge } : {});
    });
  });

  return (path, callers, onUpgrade) => {
    routes.set(path, { callers, onUpgrade });
    return () => void routes.delete(path);
  };
}
