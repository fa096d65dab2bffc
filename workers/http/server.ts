/**
 * The HTTP server of a process: probes, metrics, OpenAPI and the workers' routes; one error format for everything:
 * `{ "error": { "code": "MUSTER_*", "message": "...", "details": [{ "field": "...", "reason": "..." }] } }`.
 *
 * The socket listens before the workers have started, so that a slow dependency looks like "starting" to a probe and
 * not like a dead process.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import {
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { Registry } from 'prom-client';
import { type TObject, type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { metrics } from '../../catalog/metrics.ts';
import { fromText } from '../base/config.ts';
import { isNotNow, MusterError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { durationHistogram, exposition } from '../base/metrics.ts';

export interface ErrorDetail {
  readonly field: string;
  readonly reason: string;
}

/** An answer other than 2xx that a route gives on purpose; message and details must hold no personal data. */
export class HttpError extends MusterError {
  readonly status: number;
  readonly details: readonly ErrorDetail[] | undefined;
  constructor(
    status: number,
    code: `MUSTER_${string}`,
    message: string,
    details?: readonly ErrorDetail[],
    options?: ErrorOptions,
  ) {
    super(code, message, options);
    this.status = status;
    this.details = details;
  }
}

/** Body of every answer of 400 and above; for the `response` part of route schemas. */
export const errorBody = Type.Object(
  {
    error: Type.Object({
      code: Type.String({ pattern: '^MUSTER_', description: 'stable code' }),
      message: Type.String({ description: 'what is wrong, for people' }),
      details: Type.Optional(
        Type.Array(
          Type.Object({
            field: Type.String({ description: 'path of the field, e.g. items.0.price' }),
            reason: Type.String(),
          }),
        ),
      ),
    }),
  },
  { title: 'Error', description: 'the one error format' },
);

export type HttpServer = FastifyInstance<
  import('node:http').Server,
  IncomingMessage,
  ServerResponse,
  import('fastify').FastifyBaseLogger,
  TypeBoxTypeProvider
>;

export interface Readiness {
  readonly ready: boolean;
  /** What is missing, by worker. */
  readonly reasons: readonly { readonly worker: string; readonly reason: string }[];
}

export interface HttpOptions {
  readonly host: string;
  /** 0: any free port; `address()` tells which. */
  readonly port: number;
  readonly processName: string;
  readonly version: string;
  readonly log: Logger;
  readonly registry: Registry;
  readiness(): Readiness;
  /** Longest body in bytes. Default 1 MiB. */
  readonly bodyLimitBytes?: number;
}

export interface Http {
  /** Register routes here until `open()`. */
  readonly app: HttpServer;
  address(): AddressInfo;
  /** Lets requests through to the routes registered so far. */
  open(): Promise<void>;
  /** Refuses new requests (503 MUSTER_DRAINING; probes and metrics go on) and waits for the running ones. */
  drain(deadlineMs: number): Promise<void>;
  /** Ends streams, closes idle connections at once and the others after their answer or the deadline. */
  close(deadlineMs: number): Promise<void>;
}

/** Starts listening; routes of workers answer after `open()`. */
export async function startHttp(options: HttpOptions): Promise<Http> {
  const { log } = options;
  let route: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  let opened = false;
  let draining = false;
  const running = new Set<ServerResponse>();

  const server = createServer({ keepAliveTimeout: 65_000, requestTimeout: 30_000 }, (request, response) => {
    if (opened) route!(request, response);
    else answerWhileStarting(request, response, options);
  });
  server.on('clientError', refuseBadRequest);

  const app = fastify({
    bodyLimit: options.bodyLimitBytes ?? 1_048_576,
    serverFactory: (handler) => {
      route = handler;
      return server;
    },
    routerOptions: { ignoreTrailingSlash: true },
    forceCloseConnections: false,
    exposeHeadRoutes: false,
    frameworkErrors: (_error, _request, reply) => {
      (reply as FastifyReply)
        .code(400)
        .send(body('MUSTER_BAD_REQUEST', 'the path of the request is not a valid URL path'));
    },
  }).withTypeProvider<TypeBoxTypeProvider>() as unknown as HttpServer;

  app.setValidatorCompiler(compileValidator);
  // Response schemas document; answers are written as they are.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  acceptJson(app);
  answerErrors(app, log);
  observeRequests(app, options, running, () => draining);

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: `muster ${options.processName}`,
        description: 'Every answer of 400 and above has the body of the schema "Error".',
        version: options.version,
      },
    },
  });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // The validator badge would call a site outside.
    uiConfig: { validatorUrl: null, docExpansion: 'list', deepLinking: true } as never,
    staticCSP: true,
  });
  serveProbes(app, options);

  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new MusterError(
          'MUSTER_HTTP_LISTEN',
          `cannot listen on ${options.host}:${options.port} (${error.code}): ${
            error.code === 'EADDRINUSE'
              ? 'another process has the port; set HTTP_PORT'
              : 'check HTTP_HOST and HTTP_PORT'
          }`,
          { cause: error },
        ),
      ),
    );
    server.listen(options.port, options.host, resolve);
  });

  const settled = (deadlineMs: number, count: () => number) =>
    new Promise<void>((resolve) => {
      const endMs = Date.now() + deadlineMs;
      const look = () => (count() === 0 || Date.now() >= endMs ? resolve() : void setTimeout(look, 10));
      look();
    });

  return {
    app,
    address: () => server.address() as AddressInfo,
    async open() {
      await app.ready();
      opened = true;
    },
    async drain(deadlineMs) {
      draining = true;
      server.closeIdleConnections();
      await settled(deadlineMs, () => [...running].filter((response) => !isStream(response)).length);
    },
    async close(deadlineMs) {
      draining = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const response of running) if (isStream(response)) response.end();
      // Node keeps connections that never sent a request: with nothing running, all may go.
      await settled(deadlineMs, () => running.size);
      server.closeAllConnections();
      await closed;
      await app.close();
    },
  };
}

/** Routes that machines poll: no spans, no durations, open while draining. */
const probes = new Set(['/metrics', '/healthz', '/readyz']);

function serveProbes(app: HttpServer, options: HttpOptions): void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  app.addHook('onClose', async () => void delay.disable());
  const hidden = { schema: { hide: true } };
  app.get('/metrics', hidden, async (_request, reply) => {
    reply.type(options.registry.contentType);
    return reply.send(Readable.from(exposition(options.registry)));
  });
  app.get('/healthz', hidden, async () => {
    // Answering at all shows that the event loop moves; the lag says how well it did since the last question.
    const lagMs = Math.round(delay.max / 1e6);
    delay.reset();
    return { status: 'ok', uptimeSeconds: Math.round(process.uptime()), eventLoopLagMaxMs: lagMs };
  });
  app.get('/readyz', hidden, async (_request, reply) => {
    const { ready, reasons } = options.readiness();
    if (ready) return { status: 'ready' };
    return reply.code(503).send(notReady(reasons));
  });
}

const notReady = (reasons: Readiness['reasons']) =>
  body(
    'MUSTER_NOT_READY',
    'not ready',
    reasons.map(({ worker, reason }) => ({ field: worker, reason })),
  );

function answerWhileStarting(request: IncomingMessage, response: ServerResponse, options: HttpOptions): void {
  const path = request.url?.split('?')[0];
  const json = (status: number, value: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'retry-after': '1' });
    response.end(JSON.stringify(value));
    request.resume();
  };
  if (path === '/healthz') json(200, { status: 'ok', uptimeSeconds: Math.round(process.uptime()) });
  else if (path === '/metrics') {
    options.registry.metrics().then(
      (text) => {
        response.writeHead(200, { 'content-type': options.registry.contentType });
        response.end(text);
      },
      () => json(500, body('MUSTER_INTERNAL', 'metrics could not be read')),
    );
  } else json(503, notReady(options.readiness().reasons));
}

/** JSON bodies as bytes first: text that is not UTF-8 is refused, not repaired. */
function acceptJson(app: HttpServer): void {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    let text: string;
    try {
      text = decoder.decode(bytes as Buffer);
    } catch {
      done(new HttpError(400, 'MUSTER_INVALID_JSON', 'the body is not valid UTF-8'));
      return;
    }
    if (text.trim() === '') {
      done(new HttpError(400, 'MUSTER_INVALID_JSON', 'the body is empty; JSON is expected'));
      return;
    }
    parse(request as never, text, (error, value) => {
      if (error === null || error === undefined) done(null, value);
      else done(new HttpError(400, 'MUSTER_INVALID_JSON', jsonProblem(error.message)));
    });
  });
}

/** What is wrong with the JSON, without the text around it: that may be personal data. */
function jsonProblem(message: string): string {
  const position = /position (\d+)/.exec(message)?.[1];
  return position === undefined
    ? 'the body is not valid JSON'
    : `the body is not valid JSON (at character ${position})`;
}

function body(code: `MUSTER_${string}`, message: string, details?: readonly ErrorDetail[]) {
  return {
    error: { code, message, ...(details === undefined || details.length === 0 ? {} : { details }) },
  };
}

function answerErrors(app: HttpServer, log: Logger): void {
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send(body('MUSTER_NOT_FOUND', 'there is no such path or method')),
  );
  app.setErrorHandler((error: FastifyError | Error, request, reply) => {
    const answer = toHttpError(error);
    if (answer.status === 503) reply.header('retry-after', '1');
    if (answer.status >= 500) {
      trace.getSpan(contexts.get(request) ?? ROOT_CONTEXT)?.recordException(error);
      context.with(contexts.get(request) ?? ROOT_CONTEXT, () =>
        log[answer.status === 503 ? 'warn' : 'error']('request failed', {
          method: request.method,
          route: request.routeOptions.url,
          status: answer.status,
          error,
        }),
      );
    }
    if (reply.sent || reply.raw.headersSent) {
      reply.raw.destroy();
      return;
    }
    // The rest of a body that is too long is not read: this connection ends.
    if (answer.status === 413) reply.header('connection', 'close');
    reply
      .code(answer.status)
      .type('application/json; charset=utf-8')
      .serializer(JSON.stringify)
      .send(body(answer.code, answer.message, answer.details));
  });
}

/** The answer an error becomes. What we did not raise on purpose shows nothing of its inside. */
export function toHttpError(error: Error): HttpError {
  if (error instanceof HttpError) return error;
  const { validation, validationContext, statusCode, code } = error as FastifyError;
  if (validation !== undefined) {
    return new HttpError(
      422,
      'MUSTER_VALIDATION',
      `the ${validationContext === undefined ? 'request' : partNames[validationContext]} is not valid`,
      validationDetails(validation as unknown as readonly SchemaError[]),
    );
  }
  if (error instanceof MusterError) {
    if (isNotNow(error))
      return new HttpError(
        503,
        error.code,
        'a dependency is not available at the moment; try again',
        undefined,
        {
          cause: error,
        },
      );
    if (error.code === 'MUSTER_DUPLICATE_ID_OTHER_BODY') return new HttpError(409, error.code, error.message);
    return internal(error);
  }
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new HttpError(413, 'MUSTER_BODY_TOO_LARGE', 'the body is longer than the limit of this server');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new HttpError(
        415,
        'MUSTER_UNSUPPORTED_MEDIA_TYPE',
        'the content type is not supported; send application/json',
      );
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new HttpError(400, 'MUSTER_INVALID_JSON', 'the body is not valid JSON');
    default:
  }
  // Other 4xx of the framework; its messages may quote the request.
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 && code?.startsWith('FST_'))
    return new HttpError(statusCode, 'MUSTER_BAD_REQUEST', 'the request is not valid');
  return internal(error);
}

const internal = (cause: Error) =>
  new HttpError(
    500,
    'MUSTER_INTERNAL',
    'something went wrong here; the trace id in the traceparent header finds it in the logs',
    undefined,
    { cause },
  );

const partNames: Readonly<Record<string, string>> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'header',
};

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** At most 20 field errors, one per field, without any value of the request. */
export function validationDetails(errors: readonly SchemaError[]): readonly ErrorDetail[] {
  const details = new Map<string, string>();
  const add = (path: string, reason: string) => {
    const field = path.split('/').filter(Boolean).map(unescapePointer).join('.') || '(root)';
    if (!details.has(field) || reason.startsWith('must be one of')) details.set(field, reason);
  };
  const literals = new Map<string, unknown[]>();
  for (const { keyword, instancePath, params } of errors) {
    if (keyword !== 'const') continue;
    literals.set(instancePath, [...(literals.get(instancePath) ?? []), params.allowedValue]);
  }
  for (const { keyword, instancePath, params, message } of errors) {
    if (keyword === 'required')
      for (const name of params.requiredProperties as string[]) add(`${instancePath}/${name}`, 'is missing');
    else if (keyword === 'additionalProperties')
      for (const name of params.additionalProperties as string[])
        add(`${instancePath}/${String(name).slice(0, 60)}`, 'is not a known field');
    else if (keyword === 'boolean' || keyword === 'const') continue;
    else if (keyword === 'anyOf' && literals.has(instancePath))
      add(instancePath, `must be one of ${literals.get(instancePath)!.join(', ')}`);
    else add(instancePath, message);
  }
  for (const [path, allowed] of literals)
    if (!errors.some((error) => error.keyword === 'anyOf' && error.instancePath === path))
      add(path, `must be ${allowed.join(' or ')}`);
  return [...details].slice(0, 20).map(([field, reason]) => ({ field, reason }));
}

const unescapePointer = (part: string) => part.replace(/~1/g, '/').replace(/~0/g, '~');

/**
 * Validation by the TypeBox compiler. Bodies are checked as they are; texts of the query, the path and the headers are
 * read strictly as the numbers, booleans and literals that the schema asks for.
 */
function compileValidator({ schema, httpPart }: { schema: unknown; httpPart?: string }) {
  const check = Compile(schema as TSchema);
  const properties = httpPart === 'body' ? undefined : (schema as Partial<TObject>).properties;
  return (value: unknown) => {
    const read = properties === undefined ? value : readTexts(properties, value as Record<string, unknown>);
    return check.Check(read) ? { value: read } : { error: check.Errors(read) as never };
  };
}

function readTexts(properties: Record<string, TSchema>, texts: Record<string, unknown>) {
  const values: Record<string, unknown> = { ...texts };
  for (const [name, property] of Object.entries(properties)) {
    const text = texts[name];
    const preset = (property as { default?: unknown }).default;
    if (typeof text === 'string') values[name] = fromText(property, text);
    else if (text === undefined && preset !== undefined) values[name] = preset;
  }
  return values;
}

const contexts = new WeakMap<FastifyRequest, Context>();

/**
 * A span per request (HTTP semantic conventions, without address, query and concrete path: those may be personal),
 * the duration histogram and the access log (level `http`).
 */
function observeRequests(
  app: HttpServer,
  options: HttpOptions,
  running: Set<ServerResponse>,
  isDraining: () => boolean,
): void {
  const durations = durationHistogram(options.registry, {
    name: metrics.http.requestDuration,
    help: 'Duration of HTTP server requests.',
    labelNames: ['http_request_method', 'http_route', 'http_response_status_code'],
  });
  const tracer = trace.getTracer('muster/http');

  app.addHook('onRequest', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unmatched';
    if (probes.has(route) || route.startsWith('/docs')) {
      done();
      return;
    }
    running.add(reply.raw);
    watchForStream(reply.raw);
    const startedMs = performance.now();
    const method = knownMethods.has(request.method) ? request.method : '_OTHER';
    const parent = propagation.extract(ROOT_CONTEXT, request.headers);
    const span = tracer.startSpan(
      route === 'unmatched' ? method : `${method} ${route}`,
      {
        kind: SpanKind.SERVER,
        attributes: {
          'http.request.method': method,
          'url.scheme': 'http',
          ...(route === 'unmatched' ? {} : { 'http.route': route }),
        },
      },
      parent,
    );
    const spanContext = span.spanContext();
    if (spanContext.spanId !== '0000000000000000') {
      const flags = spanContext.traceFlags.toString(16).padStart(2, '0');
      reply.header('traceparent', `00-${spanContext.traceId}-${spanContext.spanId}-${flags}`);
    }
    const active = trace.setSpan(parent, span);
    contexts.set(request, active);
    reply.raw.once('close', () => {
      running.delete(reply.raw);
      finish(span, method, route, reply.raw, performance.now() - startedMs);
    });
    if (isDraining()) {
      reply.header('connection', 'close');
      done(new HttpError(503, 'MUSTER_DRAINING', 'this process is shutting down; try again'));
      return;
    }
    context.with(active, done);
  });
  // The body arrives in the socket's own context: enter ours again for validation and the handler.
  app.addHook('preValidation', (request, _reply, done) => {
    const active = contexts.get(request);
    if (active === undefined) done();
    else context.with(active, done);
  });

  function finish(span: Span, method: string, route: string, response: ServerResponse, durationMs: number) {
    // 499, as nginx logs a caller that left before its answer.
    const status = response.headersSent ? response.statusCode : 499;
    span.setAttribute('http.response.status_code', status);
    if (status >= 500) {
      span.setAttribute('error.type', String(status));
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end();
    // A stream lasts as long as its reader likes: that is no duration of ours.
    if (!isStream(response))
      durations.observe(
        { http_request_method: method, http_route: route, http_response_status_code: status },
        durationMs / 1_000,
        span,
      );
    context.with(trace.setSpan(ROOT_CONTEXT, span), () =>
      options.log.http('request', { method, route, status, durationMs: Math.round(durationMs * 10) / 10 }),
    );
  }
}

const knownMethods = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'PATCH',
  'CONNECT',
]);

const streams = new WeakSet<ServerResponse>();

/** Notes responses of server-sent events: those go on until somebody ends them. */
function watchForStream(response: ServerResponse): void {
  const writeHead = response.writeHead as (...parameters: unknown[]) => ServerResponse;
  response.writeHead = ((...parameters: unknown[]) => {
    const given = parameters.find((each) => typeof each === 'object' && each !== null) ?? {};
    const type =
      response.getHeader('content-type') ??
      Object.entries(given).find(([name]) => name.toLowerCase() === 'content-type')?.[1];
    if (String(type).startsWith('text/event-stream')) streams.add(response);
    return writeHead.apply(response, parameters);
  }) as typeof response.writeHead;
}

function isStream(response: ServerResponse): boolean {
  return streams.has(response);
}

/** Bytes that are no HTTP: the answer goes to the bare socket. */
function refuseBadRequest(
  error: NodeJS.ErrnoException,
  socket: import('node:stream').Duplex & { writable: boolean },
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, code, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? (['431 Request Header Fields Too Large', 'MUSTER_BAD_REQUEST', 'the headers are too long'] as const)
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? (['408 Request Timeout', 'MUSTER_BAD_REQUEST', 'the request did not arrive in time'] as const)
        : (['400 Bad Request', 'MUSTER_BAD_REQUEST', 'the request is not valid HTTP'] as const);
  const text = JSON.stringify(body(code, message));
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
