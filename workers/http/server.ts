/**
 * The HTTP server of a process: probes, metrics, OpenAPI and the workers' routes.
 *
 * The socket listens before the workers have started, so that a slow dependency looks like "starting" to a probe and
 * not like a dead process.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { context, trace } from '@opentelemetry/api';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify';
import type { Registry } from 'prom-client';
import { MusterError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { bodyOf, HttpError, refuse, refuseSocket, toHttpError } from './errors.ts';
import { hearOut } from './hear-out.ts';
import { checkHosts } from './hosts.ts';
import { acceptJson } from './json.ts';
import { contextOf, observeRequests } from './observe.ts';
import { authenticator, type Callers, challenge, closeRoutes } from './principals.ts';
import { answerWhileStarting, serveProbes } from './probes.ts';
import { endStream, isStream, routeUpgrade } from './realtime.ts';
import type { TrustedKeys } from './tokens.ts';
import { compileValidator } from './validation.ts';

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
  /** Names under which it is reached, beside localhost and addresses. */
  readonly allowedHosts?: readonly string[];
  /** The address of a client is what X-Forwarded-For says, which a gateway has set. Default: the other end of the connection. */
  readonly behindGateway?: boolean;
  /** Whose tokens count; unset: every route must be open to anyone. */
  readonly tokens?: TrustedKeys | undefined;
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
  let route: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  let opened = false;
  let draining = false;
  const running = new Set<ServerResponse>();
  const checkHost = checkHosts(options.allowedHosts ?? []);
  const authenticate = authenticator(options.tokens);

  const serverOptions = {
    keepAliveTimeout: 65_000,
    requestTimeout: 30_000,
    // Other protocols (h2c, which Java's client offers with every request) are declined by plain answers.
    shouldUpgradeCallback: ({ headers }: IncomingMessage) => headers.upgrade?.toLowerCase() === 'websocket',
  };
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const refused = checkHost(request);
    if (refused !== undefined) refuse(response, refused);
    else if (opened) route!(request, response);
    else answerWhileStarting(request, response, options);
  };
  const server = createServer(serverOptions, answer);
  server.on('upgrade', (request, socket, head) => routeUpgrade(request, socket, head, answer));
  server.on('clientError', refuseBadRequest);

  const app = fastify({
    bodyLimit: options.bodyLimitBytes ?? 1_048_576,
    // Only what is before us, which says who is before it: everything further on the client may have made up.
    trustProxy: options.behindGateway === true && ((_address, hop) => hop === 0),
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
        .send(bodyOf('MUSTER_BAD_REQUEST', 'the path of the request is not a valid URL path'));
    },
  }).withTypeProvider<TypeBoxTypeProvider>() as unknown as HttpServer;

  app.setValidatorCompiler(compileValidator);
  // Response schemas document; answers are written as they are.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  acceptJson(app);
  answerErrors(app, options.log);
  observeRequests(app, options, running, () => draining);
  await describeRoutes(app, options);
  closeRoutes(app, authenticate, options.tokens);
  serveProbes(app, options);
  await listen(server, options);

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
      for (const response of running) endStream(response);
      // Node keeps connections that never sent a request: with nothing running, all may go.
      await settled(deadlineMs, () => running.size);
      server.closeAllConnections();
      await closed;
      await app.close();
    },
  };
}

async function describeRoutes(app: HttpServer, options: HttpOptions): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: `muster ${options.processName}`,
        description:
          'Every answer of 400 and above has the body of the schema "Error". Who may call what is in docs/security.md.',
        version: options.version,
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
    },
    transform: ({ schema, url, route }) => ({ schema: withCallers(schema, route.config?.callers), url }),
  });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // The validator badge would call a site outside.
    uiConfig: { validatorUrl: null, docExpansion: 'list', deepLinking: true } as never,
    staticCSP: true,
  });
}

/** The description of a route, with who may call it. */
function withCallers<Schema>(schema: Schema, callers: Callers | undefined): Schema {
  if (callers === undefined || callers === 'anyone') return schema;
  const { description } = (schema ?? {}) as { description?: string };
  const who = `For ${callers.join(', ')}.`;
  return {
    ...schema,
    description: description === undefined ? who : `${who} ${description}`,
    security: [{ token: [] }],
  };
}

/** Throws MUSTER_HTTP_LISTEN. */
function listen(server: Server, { host, port }: HttpOptions): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new MusterError(
          'MUSTER_HTTP_LISTEN',
          `cannot listen on ${host}:${port} (${error.code}): ${
            error.code === 'EADDRINUSE'
              ? 'another process has the port; set HTTP_PORT'
              : 'check HTTP_HOST and HTTP_PORT'
          }`,
          { cause: error },
        ),
      ),
    );
    server.listen(port, host, resolve);
  });
}

function answerErrors(app: HttpServer, log: Logger): void {
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send(bodyOf('MUSTER_NOT_FOUND', 'there is no such path or method')),
  );
  app.setErrorHandler((error: FastifyError | Error, request, reply) => {
    const answer = toHttpError(error);
    if (answer.status === 401) reply.header('www-authenticate', challenge);
    if (answer.status === 503 || answer.code === 'MUSTER_IDEMPOTENCY_KEY_IN_USE')
      reply.header('retry-after', '1');
    if (answer.status >= 500) {
      trace.getSpan(contextOf(request))?.recordException(error);
      context.with(contextOf(request), () =>
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
    const send = () =>
      void reply
        .code(answer.status)
        .type('application/json; charset=utf-8')
        .serializer(JSON.stringify)
        .send(bodyOf(answer.code, answer.message, answer.details));
    if (answer.status !== 413) return send();
    // After a while the rest of a body that is too long is not read: this connection ends.
    reply.header('connection', 'close');
    void hearOut(request.raw).then(send);
  });
}

/** Bytes that are no HTTP: the answer goes to the bare socket. */
function refuseBadRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ([431, 'the headers are too long'] as const)
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ([408, 'the request did not arrive in time'] as const)
        : ([400, 'the request is not valid HTTP'] as const);
  refuseSocket(socket, new HttpError(status, 'MUSTER_BAD_REQUEST', message));
}
