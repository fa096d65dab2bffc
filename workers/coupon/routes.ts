/** HTTP and WebSocket of the coupons. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { WebSocketServer } from 'ws';
import { couponId, couponReasons, couponUserId } from '../../catalog/events/coupon.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { errorBody, HttpError } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { openEventStream } from '../http/sse.ts';
import { chooseProtocol, type Upgrade } from '../http/upgrade.ts';
import type { Client, Hub } from './hub.ts';
import type { Intake } from './intake.ts';
import { loggedOutcome } from './push.ts';
import {
  type Coupon,
  createCoupon,
  findCoupon,
  findRequest,
  type LoggedRequest,
  listCoupons,
  markNotified,
  missedOutcomes,
} from './store.ts';

export interface RoutesOptions {
  readonly database: () => Promise<Kysely<unknown>>;
  readonly intake: Intake;
  readonly hub: Hub;
  readonly pseudonymKey: Buffer;
  /** Clients at the same time, event streams and WebSockets together. */
  readonly maxClients: number;
  /** Default 15,000. */
  readonly heartbeatMs?: number;
}

const tags = ['coupons'];
const uuidPattern = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
const requestId = Type.String({ pattern: uuidPattern, description: 'as answered by POST /coupons/issue' });
const dateTime = (description: string) =>
  Type.String({
    pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}(:\\d{2}(\\.\\d{1,3})?)?(Z|[+-]\\d{2}:\\d{2})$',
    description: `${description}; ISO-8601 with offset`,
  });
const time = (description: string) => Type.String({ description: `${description}, ISO-8601 UTC with ms` });

const newCoupon = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
    stock: Type.Integer({ minimum: 0, maximum: 100_000_000, description: 'how many there are' }),
    validFrom: Type.Optional(dateTime('requests from then on count')),
    validUntil: Type.Optional(dateTime('requests before then count')),
  },
  { additionalProperties: false, examples: [{ name: 'Opening day', stock: 100 }] },
);
const couponBody = Type.Object({
  couponId,
  name: Type.String(),
  stock: Type.Integer(),
  issued: Type.Integer({ description: 'how many are handed out' }),
  validFrom: Type.Optional(time('valid from')),
  validUntil: Type.Optional(time('valid until')),
  createdAt: time('created'),
});
const newRequest = Type.Object(
  { userId: couponUserId, couponId },
  {
    additionalProperties: false,
    examples: [{ userId: 'user-000123', couponId: '019a9f3c-5b1e-7c3e-9a57-0d3f9f3c5b1e' }],
  },
);
const outcomeFields = {
  outcome: Type.Optional(Type.Union([Type.Literal('SUCCESS'), Type.Literal('FAILED')])),
  reason: Type.Optional(Type.Enum([...couponReasons])),
  couponHistoryId: Type.Optional(
    Type.String({ description: 'with SUCCESS: the coupon that the user now holds' }),
  ),
};
const requestBody = Type.Object({
  requestId,
  couponId,
  status: Type.Union(
    ['PENDING', 'COMPLETED', 'FAILED', 'NOTIFIED'].map((status) => Type.Literal(status)),
    { description: 'NOTIFIED: decided, and pushed to a client' },
  ),
  ...outcomeFields,
  times: Type.Object({
    requestedAt: time('when it was made durable'),
    decidedAt: Type.Optional(time('when it was decided')),
    notifiedAt: Type.Optional(time('when it was first pushed to a client')),
  }),
});
const clientQuery = Type.Object({
  userId: couponUserId,
  lastEventId: Type.Optional(
    Type.String({ pattern: uuidPattern, description: 'as the header Last-Event-ID' }),
  ),
});
const isClientQuery = Compile(clientQuery);
const isRequestId = Compile(requestId);

const maxMissed = 1_000;
const maxBufferedBytes = 256 * 1024;
const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());

/** Registers the routes; the result ends what they have opened beside the HTTP server. */
export function registerRoutes(http: FastifyInstance, options: RoutesOptions): { close(): void } {
  const { database, intake, hub } = options;
  const heartbeatMs = options.heartbeatMs ?? 15_000;

  http.post(
    '/coupons',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'Create a coupon',
        tags,
        headers: idempotencyKey.optional,
        body: newCoupon,
        response: { 201: couponBody, 400: errorBody, 409: errorBody, 422: errorBody, 503: errorBody },
      },
    },
    async (request, reply) => {
      const { name, stock, validFrom, validUntil } = request.body as Static<typeof newCoupon>;
      const validFromMs = readTime('validFrom', validFrom);
      const validUntilMs = readTime('validUntil', validUntil);
      if (validFromMs !== undefined && validUntilMs !== undefined && validUntilMs <= validFromMs)
        throw new HttpError(422, 'MUSTER_VALIDATION', 'the body is not valid', [
          { field: 'validUntil', reason: 'must be after validFrom' },
        ]);
      const db = await database();
      const id = await createCoupon(
        db,
        {
          name,
          stock,
          ...(validFromMs === undefined ? {} : { validFromMs }),
          ...(validUntilMs === undefined ? {} : { validUntilMs }),
        },
        onceOf(request, 'coupon', options.pseudonymKey),
      );
      // As it was made, also to a repeat.
      return reply.code(201).send(couponAnswer({ ...(await findCoupon(db, id))!, issued: 0 }));
    },
  );

  http.get(
    '/coupons',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'The newest coupons',
        tags,
        querystring: Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 50 }) }),
        response: { 200: Type.Object({ coupons: Type.Array(couponBody) }), 422: errorBody, 503: errorBody },
      },
    },
    async (request) => {
      const { limit } = request.query as { limit: number };
      return { coupons: (await listCoupons(await database(), limit)).map(couponAnswer) };
    },
  );

  http.get(
    '/coupons/:couponId',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'A coupon: stock, and how many are issued',
        tags,
        params: Type.Object({ couponId }),
        response: { 200: couponBody, 404: errorBody, 422: errorBody, 503: errorBody },
      },
    },
    async (request) => {
      const coupon = await findCoupon(await database(), (request.params as { couponId: string }).couponId);
      if (coupon === undefined)
        throw new HttpError(404, 'MUSTER_COUPON_UNKNOWN', 'there is no coupon of this id');
      return couponAnswer(coupon);
    },
  );

  http.post(
    '/coupons/issue',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'Ask for a coupon',
        description:
          'Answers when the request is durable; it is decided in the background, first come, first served, and its outcome is pushed to ' +
          'GET /coupons/events and the WebSocket, and shown by GET /coupons/requests/{requestId}. After 503 ask again: a user gets a ' +
          'coupon once, however often he asks.',
        tags,
        body: newRequest,
        response: {
          202: Type.Object({ requestId, status: Type.Literal('PENDING') }),
          400: errorBody,
          422: errorBody,
          503: errorBody,
        },
      },
    },
    async (request, reply) => {
      const asked = request.body as Static<typeof newRequest>;
      checkUserId(asked.userId);
      return reply.code(202).send({ requestId: await intake.request(asked), status: 'PENDING' });
    },
  );

  http.get(
    '/coupons/requests/:requestId',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'What became of a request',
        tags,
        params: Type.Object({ requestId }),
        response: { 200: requestBody, 404: errorBody, 422: errorBody, 503: errorBody },
      },
    },
    async (request) => {
      const logged = await findRequest(await database(), (request.params as { requestId: string }).requestId);
      if (logged === undefined)
        throw new HttpError(404, 'MUSTER_COUPON_REQUEST_UNKNOWN', 'there is no request of this id');
      return requestAnswer(logged);
    },
  );

  const refuseWhenFull = () => {
    if (hub.size >= options.maxClients)
      throw new HttpError(
        503,
        'MUSTER_TOO_MANY_STREAMS',
        `at most ${options.maxClients} clients at a time; try again later`,
      );
  };

  /** Joins, and looks up what the client missed. `begin` tells it that. */
  async function admit(userId: string, lastEventId: string | undefined, client: Client) {
    refuseWhenFull();
    const membership = hub.join(pseudonym(options.pseudonymKey, userId), client);
    try {
      const missed = (await missedOutcomes(await database(), userId, lastEventId, maxMissed)).map(
        loggedOutcome,
      );
      return {
        leave: membership.leave,
        async begin() {
          const told = membership.begin(missed);
          // Not noted: it is told again when the client comes back, and known there by its id.
          if (told.length > 0)
            await database()
              .then((db) => markNotified(db, told))
              .catch(() => undefined);
        },
      };
    } catch (error) {
      membership.leave();
      throw error;
    }
  }

  http.get(
    '/coupons/events',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'Outcomes of a user’s requests, live',
        description:
          'Server-sent events: "ready" when the stream has begun, then "coupon-outcome" with {requestId, couponId, outcome, reason?, couponHistoryId?, ' +
          'traceId?}; the event id is the request id. A client that returns with Last-Event-ID gets what was decided after that; every client ' +
          'first gets what was never pushed to anybody. "dropped": the client reads too slowly, reconnect.',
        tags,
        querystring: clientQuery,
        headers: Type.Object({ 'last-event-id': Type.Optional(Type.String({ maxLength: 100 })) }),
        produces: ['text/event-stream'],
        response: { 422: errorBody, 503: errorBody },
      } as never,
    },
    async (request: FastifyRequest, reply: FastifyReply) => {
      const { userId, lastEventId } = request.query as Static<typeof clientQuery>;
      checkUserId(userId);
      const header = request.headers['last-event-id'];
      const last = isRequestId.Check(header) ? header : lastEventId;
      let stream: ReturnType<typeof openEventStream> | undefined;
      const admitted = await admit(userId, last, {
        send: (outcome) => stream?.send('coupon-outcome', outcome, outcome.requestId) ?? false,
        close: () => stream?.end(),
      });
      reply.raw.once('close', admitted.leave);
      if (reply.raw.destroyed) admitted.leave();
      reply.hijack();
      // Headers that hooks have set (traceparent) are fastify's until it sends; here we send.
      for (const [name, value] of Object.entries(reply.getHeaders()))
        if (value !== undefined) reply.raw.setHeader(name, value as string);
      stream = openEventStream(reply.raw, { heartbeatMs, maxBufferedBytes });
      stream.send('ready', {});
      await admitted.begin();
    },
  );

  http.get(
    '/coupons/ws',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'Outcomes of a user’s requests, live, over a WebSocket',
        description:
          'To be opened as a WebSocket. Messages are JSON: {"type": "ready"}, then {"type": "coupon-outcome", "data": {…}} as in GET /coupons/events; ' +
          'lastEventId resumes. The server pings every 15 s and ends connections that do not answer.',
        tags,
        querystring: clientQuery,
        response: { 426: errorBody },
      },
    },
    async (_request, reply) => {
      reply.header('upgrade', 'websocket').header('connection', 'Upgrade');
      throw new HttpError(426, 'MUSTER_WEBSOCKET_EXPECTED', 'open this path as a WebSocket');
    },
  );

  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: 1_024,
    clientTracking: true,
    handleProtocols: chooseProtocol,
  });
  async function upgrade({ request, socket, head, query }: Upgrade): Promise<void> {
    if (!isClientQuery.Check(query)) throw new HttpError(422, 'MUSTER_VALIDATION', 'the query is not valid');
    checkUserId(query.userId);
    let send: Client['send'] = () => false;
    let close: Client['close'] = () => socket.destroy();
    const admitted = await admit(query.userId, query.lastEventId, {
      send: (outcome) => send(outcome),
      close: () => close(),
    });
    socket.once('close', admitted.leave);
    if (socket.destroyed) {
      admitted.leave();
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => {
      client.on('error', () => client.terminate());
      let alive = true;
      client.on('pong', () => {
        alive = true;
      });
      const heartbeat = setInterval(() => {
        if (!alive) client.terminate();
        alive = false;
        client.ping();
      }, heartbeatMs);
      client.once('close', () => clearInterval(heartbeat));
      close = () => client.close(1001, 'the server is going away; reconnect');
      send = (outcome) => {
        if (client.readyState !== client.OPEN) return false;
        if (client.bufferedAmount > maxBufferedBytes) {
          client.close(1013, 'events came faster than they were read; reconnect');
          return false;
        }
        client.send(JSON.stringify({ type: 'coupon-outcome', data: outcome }));
        return true;
      };
      client.send(JSON.stringify({ type: 'ready' }));
      void admitted.begin();
    });
  }
  const closeSockets = http.webSocket('/coupons/ws', 'anyone', upgrade);

  return {
    close() {
      closeSockets();
      hub.closeAll();
      const left = [...sockets.clients];
      // Those that do not answer the goodbye.
      setTimeout(() => {
        for (const client of left) client.terminate();
      }, 1_000).unref();
    },
  };
}

function readTime(field: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = Date.parse(text);
  // Date.parse takes the 31st of any month.
  const [year, month, day] = text.slice(0, 10).split('-').map(Number) as [number, number, number];
  if (Number.isNaN(ms) || day > new Date(Date.UTC(year, month, 0)).getUTCDate())
    throw new HttpError(422, 'MUSTER_VALIDATION', 'the body is not valid', [
      { field, reason: 'is not a date' },
    ]);
  return ms;
}

/** Half of a surrogate pair would not survive UTF-8: two users could become one. */
function checkUserId(userId: string): void {
  if (!userId.isWellFormed())
    throw new HttpError(422, 'MUSTER_VALIDATION', 'the request is not valid', [
      { field: 'userId', reason: 'must be well-formed Unicode' },
    ]);
}

function couponAnswer({ couponId, name, stock, issued, validFromMs, validUntilMs, createdAtMs }: Coupon) {
  return {
    couponId,
    name,
    stock,
    issued,
    validFrom: iso(validFromMs),
    validUntil: iso(validUntilMs),
    createdAt: iso(createdAtMs),
  };
}

function requestAnswer(logged: LoggedRequest) {
  const { requestId, couponId, status, reason, couponHistoryId, requestedAtMs, decidedAtMs, notifiedAtMs } =
    logged;
  const { outcome } = loggedOutcome(logged);
  return {
    requestId,
    couponId,
    status,
    ...(status === 'PENDING' ? {} : { outcome, reason, couponHistoryId }),
    times: { requestedAt: iso(requestedAtMs), decidedAt: iso(decidedAtMs), notifiedAt: iso(notifiedAtMs) },
  };
}
