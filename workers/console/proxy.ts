/**
 * The way of the page to services that are at other addresses: a page may call its own server only. What it sends goes on as it
 * is, with the token of the person whom it plays, and in the trace that began here.
 */
import { Readable } from 'node:stream';
import { context, propagation } from '@opentelemetry/api';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { request as send } from 'undici';
import { HttpError } from '../http/errors.ts';
import { noteStream } from '../http/realtime.ts';

/** Passed on as they come; all others are of this connection or nobody's business. */
const passed = ['authorization', 'content-type', 'idempotency-key', 'last-event-id'] as const;
const timeoutMs = 15_000;

/** @param ways by path of ours, where what is below it goes: a base address */
export function registerProxy(http: FastifyInstance, ways: Readonly<Record<string, string>>): void {
  http.register(async (scope) => {
    // A file goes on as it comes.
    scope.addContentTypeParser('multipart/form-data', (_request, payload, done) => done(null, payload));
    for (const [path, baseUrl] of Object.entries(ways))
      scope.route({
        method: ['GET', 'POST', 'PUT'],
        url: `${path}/*`,
        // Who may call is for the other side to say: it gets the token.
        config: { callers: 'anyone' },
        schema: { hide: true } as never,
        handler: (request, reply) =>
          passOn(request, reply, urlBelow(baseUrl, request.url.slice(path.length))),
      });
  });
}

function bodyOf({ body }: FastifyRequest) {
  if (body === undefined || body === null) return {};
  return { body: body instanceof Readable ? body : JSON.stringify(body) };
}

function urlBelow(baseUrl: string, path: string): URL {
  const url = new URL(baseUrl + path);
  if (!url.href.startsWith(`${baseUrl}/`))
    throw new HttpError(404, 'MUSTER_NOT_FOUND', 'there is no such path');
  return url;
}

/** Sends a request on to an address, and the answer back as it comes. */
export async function passOn(request: FastifyRequest, reply: FastifyReply, url: URL) {
  if (request.method !== 'GET' && request.headers.origin === undefined)
    throw new HttpError(403, 'MUSTER_FORBIDDEN', 'this is for the page of the console');
  const headers: Record<string, string> = {};
  for (const name of passed) {
    const value = request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  propagation.inject(context.active(), headers);
  const leaving = new AbortController();
  reply.raw.once('close', () => leaving.abort());
  const answer = await send(url, {
    method: request.method as 'GET' | 'POST' | 'PUT',
    headers,
    headersTimeout: timeoutMs,
    signal: leaving.signal,
    ...bodyOf(request),
  }).catch((cause: unknown) => {
    throw new HttpError(
      503,
      'MUSTER_SERVICE_AWAY',
      'the service does not answer: it is not known here whether it took place; try again',
      undefined,
      { cause },
    );
  });
  const body: Readable = answer.body;
  // It ends with the page that reads it; what it says then is nobody's.
  body.on('error', () => {});
  const type = answer.headers['content-type'];
  if (String(type).startsWith('text/event-stream')) noteStream(reply.raw, () => leaving.abort());
  return reply
    .code(answer.statusCode)
    .headers({
      ...(type === undefined ? {} : { 'content-type': type }),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
    .send(answer.statusCode === 204 ? null : body);
}
