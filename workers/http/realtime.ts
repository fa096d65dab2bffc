/**
 * Realtime delivery: streams of messages to clients, by server-sent events or WebSocket, any number of kinds of streams in a
 * process. Both are routes of the HTTP server like any other: validation, hooks (who calls, Host, Origin), limits, draining
 * and traces hold for both. Here is what a connection is: begun with what its reader has to say, kept alive, bounded in
 * what a slow client may hold in our memory, and ended with a word when the server goes.
 *
 * Message on an event stream: `id`, `event` (the type) and `data`; on a WebSocket: JSON `{type, id?, data}`.
 */
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { type WebSocket, WebSocketServer } from 'ws';
import { errorBody, HttpError } from './errors.ts';
import type { Callers } from './principals.ts';
import { roomEach } from './room-each.ts';

export interface Message {
  readonly type: string;
  readonly data: unknown;
  /** By which a client knows it again. */
  readonly id?: string;
}

export interface Connection {
  /** False: it is gone, or was dropped because it reads too slowly. */
  send(message: Message): boolean;
  /** Ends it; what was sent before still goes out. With an error the client is told `failed`. It comes back, sooner or later. */
  end(error?: Error): void;
}

/** Who has something to say on a connection. */
export interface Reader {
  /** Called once, when the connection stands. Rejects: the client is told `failed` and comes back. */
  begin(connection: Connection): void | Promise<void>;
  /** A WebSocket's client has these messages for good; resolves to those of which that is durable now. Absent: none need it. */
  acknowledge?(ids: readonly string[]): Promise<readonly string[]>;
  /** Called once, when the client is gone or was sent away. */
  left(): void;
}

export interface StreamRoute {
  readonly path: string;
  readonly transport: 'events' | 'websocket';
  readonly callers: Callers;
  /** As of fastify; answers of the errors are added. */
  readonly schema: Readonly<Record<string, unknown>>;
  readonly validatorCompiler?: unknown;
  /** Called with a valid request; throws HttpError to refuse it. */
  open(request: FastifyRequest): Reader;
}

export interface Streams {
  /** Connections of these routes. */
  readonly size: number;
  route(route: StreamRoute): void;
}

export interface StreamLimits {
  /** Connections at the same time, event streams and WebSockets together; more get 503 MUSTER_TOO_MANY_STREAMS. */
  readonly maxClients: number;
  /** Sign of life to clients; a WebSocket that has not answered the one before is ended. Default 15,000. */
  readonly heartbeatMs?: number;
  /** With more unsent than this a client is told `dropped`, and its connection ends. Default 256 KiB. */
  readonly maxBufferedBytes?: number;
}

interface Limits {
  readonly heartbeatMs: number;
  readonly maxBufferedBytes: number;
}

const dropped: Message = {
  type: 'dropped',
  data: {
    code: 'MUSTER_CLIENT_TOO_SLOW',
    message: 'events came faster than they were read; reconnect, with a narrower filter if you can',
  },
};
const failed: Message = {
  type: 'failed',
  data: {
    code: 'MUSTER_STREAM_FAILED',
    message: 'the source is not available at the moment; reconnect',
  },
};
/** What a client may say at once: some hundred ids. */
const maxClientBytes = 16 * 1024;
/** Time for a goodbye to arrive and to be answered. */
const goodbyeMs = 1_000;
/** Connections of one caller: tabs and devices of a person. */
const maxEach = 20;
/** Of setTimeout; whoever holds a longer token comes back once in 24 days. */
const longestTimerMs = 2 ** 31 - 1;

/** Routes of streams that share their limits. */
export function createStreams(http: FastifyInstance, options: StreamLimits): Streams {
  const limits = {
    heartbeatMs: options.heartbeatMs ?? 15_000,
    maxBufferedBytes: options.maxBufferedBytes ?? 256 * 1024,
  };
  let size = 0;
  const takeOne = roomEach(maxEach);

  function admit(request: FastifyRequest, route: StreamRoute): Reader {
    if (size >= options.maxClients)
      throw new HttpError(
        503,
        'MUSTER_TOO_MANY_STREAMS',
        `at most ${options.maxClients} clients at a time; try again later`,
      );
    const reader = route.open(request);
    const giveBack = takeOne(request);
    if (giveBack === undefined)
      throw new HttpError(
        429,
        'MUSTER_TOO_MANY_STREAMS',
        `at most ${maxEach} streams of one caller at a time; close one first`,
      );
    size += 1;
    let expiry: NodeJS.Timeout | undefined;
    return {
      ...reader,
      begin(connection) {
        expiry = endWithToken(request, connection);
        return reader.begin(connection);
      },
      left() {
        size -= 1;
        giveBack();
        clearTimeout(expiry);
        reader.left();
      },
    };
  }

  return {
    get size() {
      return size;
    },
    route(route) {
      http.get(
        route.path,
        {
          ...(route.validatorCompiler === undefined
            ? {}
            : { validatorCompiler: route.validatorCompiler as never }),
          config: { callers: route.callers },
          schema: {
            ...route.schema,
            ...(route.transport === 'events' ? { produces: ['text/event-stream'] } : {}),
            response: {
              422: errorBody,
              429: errorBody,
              503: errorBody,
              ...(route.transport === 'events' ? {} : { 426: errorBody }),
            },
          } as never,
        },
        async (request: FastifyRequest, reply: FastifyReply) => {
          if (route.transport === 'websocket') {
            const upgrade = upgrades.get(request.raw);
            if (upgrade === undefined) {
              reply.header('upgrade', 'websocket').header('connection', 'Upgrade');
              throw new HttpError(426, 'MUSTER_WEBSOCKET_EXPECTED', 'open this path as a WebSocket');
            }
            const reader = admit(request, route);
            reply.hijack();
            openWebSocket(request.raw, reply.raw, upgrade, limits, reader);
            return;
          }
          const reader = admit(request, route);
          reply.hijack();
          // Headers that hooks have set (traceparent) are fastify's until it sends; here we send.
          for (const [name, value] of Object.entries(reply.getHeaders()))
            if (value !== undefined) reply.raw.setHeader(name, value as string);
          openEventStream(reply.raw, limits, reader);
        },
      );
    },
  };
}

/** A stream lasts no longer than the token that opened it: its client comes back with another one. */
function endWithToken({ principal }: FastifyRequest, connection: Connection): NodeJS.Timeout | undefined {
  if (principal === undefined) return undefined;
  const leftMs = Math.min(principal.expiresAtMs - Date.now(), longestTimerMs);
  return setTimeout(() => connection.end(), Math.max(0, leftMs)).unref();
}

const endings = new WeakMap<ServerResponse, () => void>();

/** Says of a response that it goes on until somebody calls `end`: draining does not wait for it, closing ends it. */
export function noteStream(response: ServerResponse, end: () => void): void {
  endings.set(response, end);
}

export const isStream = (response: ServerResponse): boolean => endings.has(response);
export const endStream = (response: ServerResponse): void => endings.get(response)?.();

/** Gives the reader its connection, and tells the client when that fails. */
function begin(reader: Reader, connection: Connection): void {
  // What is thrown at once counts, too.
  Promise.resolve()
    .then(() => reader.begin(connection))
    .catch((error) => connection.end(error));
}

function openEventStream(
  response: ServerResponse,
  { heartbeatMs, maxBufferedBytes }: Limits,
  reader: Reader,
): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // nginx would hold events back.
    'x-accel-buffering': 'no',
  });
  response.write('retry: 2000\n\n');
  const heartbeat = setInterval(() => response.write(': still here\n\n'), heartbeatMs);
  let ended = false;
  const left = onceOnly(() => {
    ended = true;
    clearInterval(heartbeat);
    reader.left();
  });
  const write = ({ type, data, id }: Message) =>
    response.write(
      `${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`,
    );
  const end = (error?: Error) => {
    if (ended) return;
    if (error !== undefined) write(failed);
    left();
    response.end();
    // A client that does not read would keep the buffer alive.
    const timer = setTimeout(() => response.destroy(), 5_000).unref();
    response.once('close', () => clearTimeout(timer));
  };
  noteStream(response, end);
  response.once('close', left);
  if (response.destroyed) left();
  else
    begin(reader, {
      send(message) {
        if (ended) return false;
        if (response.writableLength > maxBufferedBytes) {
          write(dropped);
          end();
          return false;
        }
        write(message);
        return true;
      },
      end,
    });
}

// ---- WebSockets

interface Upgrade {
  readonly socket: Duplex;
  readonly head: Buffer;
}

const upgrades = new WeakMap<IncomingMessage, Upgrade>();
const handshakes = new WebSocketServer({
  noServer: true,
  maxPayload: maxClientBytes,
  // Clients that send their token as a subprotocol (`bearer.<token>`) offer this beside it.
  handleProtocols: (offered) => offered.has('muster') && 'muster',
});

/** Sends a request to become a WebSocket the way of all requests: what refuses it answers it as it answers any other. */
export function routeUpgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  route: (request: IncomingMessage, response: ServerResponse) => void,
): void {
  socket.on('error', () => socket.destroy());
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as never);
  response.once('finish', () => socket.end());
  upgrades.set(request, { socket, head });
  route(request, response);
}

const isAck = Compile(
  Type.Object(
    {
      type: Type.Literal('ack'),
      ids: Type.Array(Type.String({ maxLength: 100 }), { minItems: 1, maxItems: 300 }),
    },
    { additionalProperties: false },
  ),
);

function openWebSocket(
  request: IncomingMessage,
  response: ServerResponse,
  { socket, head }: Upgrade,
  limits: Limits,
  reader: Reader,
): void {
  const left = onceOnly(() => reader.left());
  socket.once('close', left);
  response.statusCode = 101;
  noteStream(response, () => socket.destroy());
  if (socket.destroyed) left();
  else
    handshakes.handleUpgrade(request, socket, head, (client) => {
      const end = (error?: Error) => {
        if (error !== undefined && client.readyState === client.OPEN) client.send(JSON.stringify(failed));
        const [code, reason] = error === undefined ? [1001, 'going away'] : [1011, 'not now'];
        sayGoodbye(client, code, `${reason}; reconnect`);
      };
      noteStream(response, end);
      keepAlive(client, limits.heartbeatMs);
      client.on('error', () => client.terminate());
      client.on('message', (bytes) => heard(client, String(bytes), reader));
      begin(reader, {
        send(message) {
          if (client.readyState !== client.OPEN) return false;
          if (client.bufferedAmount > limits.maxBufferedBytes) {
            client.send(JSON.stringify(dropped));
            sayGoodbye(client, 1013, 'too slow; reconnect');
            return false;
          }
          client.send(JSON.stringify(message));
          return true;
        },
        end,
      });
    });
}

/** Acknowledgements: `{"type":"ack","ids":[…]}`, answered by `{"type":"acked","data":{"ids":[…]}}` when they are durable. */
function heard(client: WebSocket, text: string, reader: Reader): void {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    message = undefined;
  }
  if (reader.acknowledge === undefined || !isAck.Check(message)) {
    sayGoodbye(client, 1008, 'not understood; a client says {"type":"ack","ids":[…]} or nothing');
    return;
  }
  reader.acknowledge(message.ids).then(
    (ids) =>
      client.readyState === client.OPEN && client.send(JSON.stringify({ type: 'acked', data: { ids } })),
    // Not noted: it is told again when the client comes back, and known there by its id.
    () => undefined,
  );
}

function keepAlive(client: WebSocket, heartbeatMs: number): void {
  let alive = true;
  client.on('pong', () => {
    alive = true;
  });
  const heartbeat = setInterval(() => {
    if (!alive) client.terminate();
    alive = false;
    if (client.readyState === client.OPEN) client.ping();
  }, heartbeatMs);
  client.once('close', () => clearInterval(heartbeat));
}

/** Closes; those that do not answer the goodbye are cut off. */
function sayGoodbye(client: WebSocket, code: number, reason: string): void {
  client.close(code, reason);
  setTimeout(() => client.terminate(), goodbyeMs).unref();
}

function onceOnly(work: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    work();
  };
}

/** Names a stream or a run of one, so that an id of another one is recognised. */
export const streamName = (): string => randomUUID().slice(0, 8);
