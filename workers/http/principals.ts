/** Who may call which route. Every route says it (`config.callers`); a route that does not cannot be registered. */
import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { MusterError } from '../base/errors.ts';
import { HttpError } from './errors.ts';
import type { HttpServer } from './server.ts';
import {
  type Principal,
  type Role,
  type TrustedKeys,
  tokenVerifier,
  unauthenticated,
  type VerifyToken,
} from './tokens.ts';

/** Roles that may call a route; `anyone` is for what changes nothing and shows no person's data, and for who has no token yet. */
export type Callers = 'anyone' | readonly Role[];

declare module 'fastify' {
  interface FastifyContextConfig {
    callers?: Callers;
  }
  interface FastifyRequest {
    /** Who calls; undefined on routes that are open to anyone. */
    principal: Principal | undefined;
  }
}

/** Says who calls. Throws 401 MUSTER_UNAUTHENTICATED, 403 MUSTER_FORBIDDEN. */
export type Authenticate = (
  request: IncomingMessage,
  callers: Callers,
) => Principal | undefined | Promise<Principal | undefined>;

/** @param trusted undefined: a process whose routes are all open to anyone */
export function authenticator(trusted: TrustedKeys | undefined): Authenticate {
  const verify: VerifyToken | undefined = trusted === undefined ? undefined : tokenVerifier(trusted);
  return (request, callers) => {
    if (callers === 'anyone') return undefined;
    const token = tokenOf(request);
    if (token === undefined || verify === undefined)
      throw unauthenticated('a token is needed: "Authorization: Bearer <token>"');
    const principal = verify(token);
    return principal instanceof Promise
      ? principal.then((known) => permitted(known, callers))
      : permitted(principal, callers);
  };
}

function permitted(principal: Principal, callers: readonly Role[]): Principal {
  if (callers.includes(principal.role)) return principal;
  throw new HttpError(
    403,
    'MUSTER_FORBIDDEN',
    `this is for ${callers.join(', ')}; the token is of a ${principal.role}`,
  );
}

/** A browser's WebSocket has no headers of its own: there the token is a subprotocol, never part of the address, which is logged. */
const asProtocol = 'bearer.';

function tokenOf({ headers }: IncomingMessage): string | undefined {
  const [, token] = /^Bearer +([\w.~+/-]+=*)$/i.exec(headers.authorization ?? '') ?? [];
  if (token !== undefined || headers.upgrade === undefined) return token;
  return headers['sec-websocket-protocol']
    ?.split(',')
    .map((protocol) => protocol.trim())
    .find((protocol) => protocol.startsWith(asProtocol))
    ?.slice(asProtocol.length);
}

/** What a 401 says of how to do better. */
export const challenge = 'Bearer realm="muster"';

/** Closes the routes that are registered from here on. */
export function closeRoutes(
  app: HttpServer,
  authenticate: Authenticate,
  trusted: TrustedKeys | undefined,
): void {
  app.decorateRequest('principal', undefined);
  app.addHook('onRoute', ({ method, url, config }) => {
    const { callers } = config ?? {};
    if (callers === undefined)
      throw new MusterError(
        'MUSTER_ROUTE_OPEN',
        `${method} ${url} does not say who may call it: config: { callers: [roles] }, or 'anyone'`,
      );
    checkKeys(`${method} ${url}`, callers, trusted);
  });
  app.addHook('onRequest', (request, _reply, done) => {
    try {
      const principal = authenticate(request.raw, request.routeOptions.config.callers ?? 'anyone');
      if (principal instanceof Promise)
        principal.then((known) => {
          request.principal = known;
          done();
        }, done);
      else {
        request.principal = principal;
        done();
      }
    } catch (error) {
      done(error as Error);
    }
  });
}

/** Throws MUSTER_TOKEN_KEYS_UNSET. */
export function checkKeys(route: string, callers: Callers, trusted: TrustedKeys | undefined): void {
  if (callers !== 'anyone' && trusted === undefined)
    throw new MusterError(
      'MUSTER_TOKEN_KEYS_UNSET',
      `${route} is for ${callers.join(', ')}, and nothing says whose tokens count: set TOKEN_VERIFY_KEY or TOKEN_JWKS_URL`,
    );
}

/** Who has things of their own in the shop, and in my-pay, where a merchant is a member like any other. */
const customers: readonly Role[] = ['customer'];
export const members: readonly Role[] = ['customer', 'merchant'];

type Asking = Pick<FastifyRequest, 'principal'>;

/**
 * The user that a request is about: of a caller who has things of their own (`own`) themselves, whether named (in `field`) or
 * not; others name one. Throws 403 MUSTER_FORBIDDEN when one of the former names somebody else, 422 MUSTER_VALIDATION when
 * nobody is named.
 */
export function userOf(
  request: Asking,
  named: string | undefined,
  field = 'userId',
  own: readonly Role[] = customers,
): string {
  const self = onlyOf(request, own);
  const user = named ?? self;
  if (user === undefined)
    throw new HttpError(422, 'MUSTER_VALIDATION', 'the request is not valid', [
      { field, reason: 'is missing' },
    ]);
  if (self === undefined || user === self) return user;
  throw new HttpError(403, 'MUSTER_FORBIDDEN', `a ${request.principal!.role} calls for themselves only`, [
    { field, reason: 'is not the one of the token' },
  ]);
}

/** The one user whose things the caller may know; undefined: everybody's. What is another's is answered as if it were not there. */
export function onlyOf({ principal }: Asking, own: readonly Role[] = customers): string | undefined {
  return principal !== undefined && own.includes(principal.role) ? principal.subject : undefined;
}
