/** HTTP and WebSocket of the coupons. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { couponId, couponReasons, couponUserId, orderBys } from '../../catalog/events/coupon.ts';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { errorBody, HttpError } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { type Mailboxes, messageOf } from '../http/mailbox.ts';
import { onlyOf, userOf } from '../http/principals.ts';
import { createStreams, type Reader, type StreamLimits, type Streams } from '../http/realtime.ts';
import { groupCommit } from '../store/group-commit.ts';
import type { Intake } from './intake.ts';
import { letterOf, loggedOutcome } from './result-consumer.ts';
import {
  type Acknowledgement,
  type Coupon,
  createCoupon,
  findCoupon,
  findRequest,
  type LoggedRequest,
  listCoupons,
  markNotified,
  missedOutcomes,
  requestsOfUser,
} from './store.ts';

export interface RoutesOptions extends StreamLimits {
  readonly database: () => Promise<Kysely<unknown>>;
  readonly intake: Intake;
  readonly mailboxes: Mailboxes;
  readonly pseudonymKey: Buffer;
}

const tags = ['coupons'];
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
    orderBy: Type.Optional(
      Type.Enum([...orderBys], {
        default: 'user',
        description: 'what is handled in order: the requests of each user, or all of the coupon',
      }),
    ),
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
  orderBy: Type.Enum([...orderBys], { description: 'what is handled in order' }),
  validFrom: Type.Optional(time('valid from')),
  validUntil: Type.Optional(time('valid until')),
  createdAt: time('created'),
});
const newRequest = Type.Object(
  {
    userId: Type.Optional({ ...couponUserId, description: 'who asks; a customer may leave it out' }),
    couponId,
  },
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
    { description: 'NOTIFIED: decided, and acknowledged by a client of the user' },
  ),
  ...outcomeFields,
  times: Type.Object({
    requestedAt: time('when it was made durable'),
    decidedAt: Type.Optional(time('when it was decided')),
    notifiedAt: Type.Optional(time('when a client acknowledged it')),
  }),
});
/** A request id, perhaps with the stream on which it was sent. */
const eventId = Type.String({ pattern: uuidPattern.replace('$', '(\\.[0-9a-f]{8})?$') });
const clientQuery = Type.Object({
  userId: Type.Optional(couponUserId),
  lastEventId: Type.Optional({ ...eventId, description: 'as the header Last-Event-ID' }),
});
const requestsQuery = Type.Object({
  userId: Type.Optional(couponUserId),
  notified: Type.Optional(Type.Boolean()),
  limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 50 }),
});
const isEventId = Compile(eventId);
const newAcks = Type.Object(
  {
    userId: Type.Optional(couponUserId),
    ids: Type.Array(eventId, {
      minItems: 1,
      maxItems: 1_000,
      description: 'request ids, or the ids of events',
    }),
  },
  {
    additionalProperties: false,
    examples: [{ userId: 'user-000123', ids: ['019a9f3c-5b1e-7c3e-9a57-0d3f9f3c5b1e'] }],
  },
);

const maxMissed = 1_000;
const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());

export function registerRoutes(http: FastifyInstance, options: RoutesOptions): Streams {
  registerCoupons(http, options);
  registerRequests(http, options);
  return registerOutcomes(http, options);
}

function registerCoupons(http: FastifyInstance, { database, pseudonymKey }: RoutesOptions): void {
  http.post(
    '/coupons',
    {
      config: { callers: ['merchant', 'operator'] },
      schema: {
        summary: 'Create a coupon',
        tags,
        headers: idempotencyKey.optional,
        body: newCoupon,
        response: { 201: couponBody, 400: errorBody, 409: errorBody, 422: errorBody, 503: errorBody },
      },
    },
    async (request, reply) => {
      const {
        name,
        stock,
        orderBy = 'user',
        validFrom,
        validUntil,
      } = request.body as Static<typeof newCoupon>;
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
          orderBy,
          ...(validFromMs === undefined ? {} : { validFromMs }),
          ...(validUntilMs === undefined ? {} : { validUntilMs }),
        },
        onceOf(request, 'coupon', pseudonymKey),
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
}

function registerRequests(http: FastifyInstance, { database, intake }: RoutesOptions): void {
  http.post(
    '/coupons/issue',
    {
      config: { callers: ['customer', 'operator'] },
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
      const userId = userAsked(request, asked.userId);
      const requestId = await intake.request({ userId, couponId: asked.couponId });
      return reply.code(202).send({ requestId, status: 'PENDING' });
    },
  );

  http.get(
    '/coupons/requests/:requestId',
    {
      config: { callers: ['customer', 'operator'] },
      schema: {
        summary: 'What became of a request',
        tags,
        params: Type.Object({ requestId }),
        response: { 200: requestBody, 404: errorBody, 422: errorBody, 503: errorBody },
      },
    },
    async (request) => {
      const { requestId } = request.params as { requestId: string };
      const logged = await findRequest(await database(), requestId, onlyOf(request));
      if (logged === undefined)
        throw new HttpError(404, 'MUSTER_COUPON_REQUEST_UNKNOWN', 'there is no request of this id');
      return requestAnswer(logged);
    },
  );

  http.get(
    '/coupons/requests',
    {
      config: { callers: ['customer', 'operator'] },
      schema: {
        summary: 'A user’s newest requests',
        description:
          'notified=false: those that are not decided yet, or whose outcome no client has acknowledged.',
        tags,
        querystring: requestsQuery,
        response: { 200: Type.Object({ requests: Type.Array(requestBody) }), 422: errorBody, 503: errorBody },
      },
    },
    async (request) => {
      const { userId, notified, limit } = request.query as Static<typeof requestsQuery>;
      const found = await requestsOfUser(await database(), userAsked(request, userId), { notified, limit });
      return { requests: found.map(requestAnswer) };
    },
  );
}

/** Outcomes, live: how they are told, acknowledged and told again. */
function registerOutcomes(http: FastifyInstance, options: RoutesOptions): Streams {
  const { database } = options;
  const acknowledge = groupCommit(
    async (acknowledgements: readonly Acknowledgement[]) => {
      await markNotified(await database(), acknowledgements);
      return acknowledgements;
    },
    { most: 200, waiting: 10_000 },
  );

  http.post(
    '/coupons/events/acks',
    {
      config: { callers: ['customer', 'operator'] },
      schema: {
        summary: 'Acknowledge outcomes',
        description:
          'An outcome that was acknowledged by a client of the user is NOTIFIED: it is not sent again, and not listed with notified=false. ' +
          'Ids that are not of decided requests of the user change nothing.',
        tags,
        body: newAcks,
        response: { 204: Type.Null(), 400: errorBody, 422: errorBody, 503: errorBody },
      },
    },
    async (request, reply) => {
      const { userId, ids } = request.body as Static<typeof newAcks>;
      await acknowledge({ userId: userAsked(request, userId), requestIds: ids.map(messageOf) });
      return reply.code(204).send();
    },
  );

  const streams = createStreams(http, options);
  const open = (request: FastifyRequest): Reader => {
    const { userId: named, lastEventId } = request.query as Static<typeof clientQuery>;
    const userId = userAsked(request, named);
    const header = request.headers['last-event-id'];
    return options.mailboxes.open({
      address: pseudonym(options.pseudonymKey, userId),
      lastEventId: isEventId.Check(header) ? header : lastEventId,
      async unread(after) {
        const missed = await missedOutcomes(await database(), userId, after, maxMissed);
        return missed.map((logged) => letterOf(loggedOutcome(logged)));
      },
      acknowledge: async (requestIds) => void (await acknowledge({ userId, requestIds })),
    });
  };
  const again =
    'Every client first gets what no client of the user has acknowledged; what comes twice has the same requestId.';
  streams.route({
    path: '/coupons/events',
    transport: 'events',
    callers: ['customer', 'operator'],
    open,
    schema: {
      summary: 'Outcomes of a user’s requests, live',
      description:
        'Server-sent events: "ready" when the stream has begun, then "coupon-outcome" with {requestId, couponId, outcome, reason?, couponHistoryId?, ' +
        `traceId?}. ${again} To be acknowledged by POST /coupons/events/acks, or by coming back with Last-Event-ID: that acknowledges the ` +
        'event and what was sent on the same stream before it. "dropped": the client reads too slowly, reconnect; "failed": not now, reconnect.',
      tags,
      querystring: clientQuery,
      headers: Type.Object({ 'last-event-id': Type.Optional(Type.String({ maxLength: 100 })) }),
    },
  });
  streams.route({
    path: '/coupons/ws',
    transport: 'websocket',
    callers: ['customer', 'operator'],
    open,
    schema: {
      summary: 'Outcomes of a user’s requests, live, over a WebSocket',
      description:
        'To be opened as a WebSocket. Messages are JSON: {"type": "ready"}, then {"type": "coupon-outcome", "id": "…", "data": {…}} as in ' +
        `GET /coupons/events. ${again} To be acknowledged by {"type": "ack", "ids": ["…"]}, answered by {"type": "acked", "data": {"ids": ["…"]}} ` +
        'when that is durable. The server pings every 15 s and ends connections that do not answer.',
      tags,
      querystring: clientQuery,
    },
  });
  return streams;
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

/** The user that a request is about. */
function userAsked(request: FastifyRequest, named: string | undefined): string {
  const userId = userOf(request, named);
  checkUserId(userId);
  return userId;
}

/** Half of a surrogate pair would not survive UTF-8: two users could become one. */
function checkUserId(userId: string): void {
  if (!userId.isWellFormed())
    throw new HttpError(422, 'MUSTER_VALIDATION', 'the request is not valid', [
      { field: 'userId', reason: 'must be well-formed Unicode' },
    ]);
}

function couponAnswer(coupon: Coupon) {
  const { couponId, name, stock, issued, orderBy, validFromMs, validUntilMs, createdAtMs } = coupon;
  return {
    couponId,
    name,
    stock,
    issued,
    orderBy,
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
