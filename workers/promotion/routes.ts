/** HTTP of the promotion capability: the inputs, and the streams for consumers. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type TSchema, Type } from 'typebox';
import { type EnrichedPurchase, enrichedPurchase } from '../../catalog/events/promotion.ts';
import { uuidOf, uuidV7 } from '../base/ids.ts';
import { type ErrorDetail, errorBody, HttpError } from '../http/errors.ts';
import { onlyOf, userOf } from '../http/principals.ts';
import { createStreams, type Message, type Reader } from '../http/realtime.ts';
import type { OutgoingRecord, Producer } from '../kafka/kafka.ts';
import type { Activity } from './activity.ts';
import type { Feed, FeedItem } from './feed.ts';
import { type Filterable, matches, parseFilter } from './filter.ts';
import { type InputKind, inputRecord, standardise } from './inputs.ts';

const maxBatch = 1_000;
const bodyLimitBytes = 2 * 1024 * 1024;
/** Records accepted and not yet acked; more would only pile up in memory while Kafka is slow. */
const maxInFlight = 20_000;

export interface InputRoutesOptions {
  readonly producer: Producer;
  readonly timeZone: string;
  /** Longest wait for Kafka's ack. Default 5,000. */
  readonly ackDeadlineMs?: number;
  now?(): number;
}

interface ItemProblem extends ErrorDetail {
  /** Position in the batch; absent for a single object. */
  readonly index?: number;
  readonly code: string;
}

/** The schema is for people and clients; checking is standardise's, which knows the notations. */
const acceptAll = () => (value: unknown) => ({ value });

const purchaseExamples = [
  {
    purchaseId: 'p-1001',
    userId: 'user-000123',
    productId: 'sku-7',
    productName: '무선 이어폰',
    quantity: 1,
    price: '₩59,000',
    purchasedAt: '2026-11-21T10:15:30+09:00',
    age: 34,
  },
  {
    purchase_id: 'p-1002',
    user_id: 'user-000124',
    product_id: 'sku-9',
    qty: 2,
    price: '12.50',
    currency: 'USD',
    ts: 1795223730,
  },
];
const behaviorExamples = [
  { userId: 'user-000123', promotionId: 'promo-11', action: 'click', actedAt: '2026-11-21T10:12:00+09:00' },
  { uid: 'user-000124', promotion_id: 'promo-11', action: 'view', ts: 1795223600123 },
];

const notations =
  'Field names may be camelCase, snake_case or a known alias. Times: ISO-8601 with or without offset (without: in the ' +
  'environment\'s zone), epoch seconds or milliseconds. Amounts: integers or texts such as "10,000", "₩10,000", with or ' +
  'without a currency code; never guessed: what cannot be understood is answered with 422.';

const inputs = {
  purchase: {
    path: '/purchases',
    summary: 'Take in one purchase or up to 1,000',
    examples: purchaseExamples,
    properties: {
      purchaseId: 'business id; made here and answered when absent (aliases such as purchase_id)',
      userId: 'the buyer (aliases such as user_id, uid); a customer may leave it out',
      productId: 'product bought (aliases such as product_id)',
      productName: 'name of the product',
      quantity: 'how many (aliases such as qty)',
      price: 'what was paid: number, text, or { amountMinor, currency }',
      currency: 'ISO-4217 code, when the price does not tell',
      purchasedAt: 'event time (aliases such as purchased_at, timestamp, ts)',
      ageBand: 'ten-year age band, or age in years as "age"',
      card: 'card number; only the last 4 digits are kept',
    },
  },
  promo_behavior: {
    path: '/promo-behaviors',
    summary: 'Take in one act on a promotion (click, view) or up to 1,000',
    examples: behaviorExamples,
    properties: {
      userId: 'who acted (aliases such as user_id, uid); a customer may leave it out',
      promotionId: 'promotion acted on (aliases such as promotion_id)',
      action: 'click or view',
      actedAt: 'event time (aliases such as acted_at, timestamp, ts)',
      productId: 'product the promotion is about',
      ageBand: 'ten-year age band, or age in years as "age"',
    },
  },
} as const;

function bodySchema(kind: InputKind): TSchema {
  const { properties, examples } = inputs[kind];
  const item = {
    type: 'object',
    additionalProperties: true,
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, description]) => [name, { description }]),
    ),
  };
  return Type.Unsafe({
    description: notations,
    anyOf: [item, { type: 'array', minItems: 1, maxItems: maxBatch, items: item }],
    examples: [examples[0], examples],
  });
}

const acceptedBody = Type.Object({
  accepted: Type.Integer({ description: 'how many were taken in' }),
  ids: Type.Array(Type.String(), {
    description: 'in the order of the request: purchase ids, or the message ids of acts',
  }),
});

/** Errors: 422 (nothing of the request is published), 503 MUSTER_KAFKA_SEND (may be published all the same: try again). */
export function registerInputRoutes(http: FastifyInstance, options: InputRoutesOptions): void {
  const now = options.now ?? Date.now;
  let inFlight = 0;

  for (const kind of ['purchase', 'promo_behavior'] as const) {
    const input = inputs[kind];
    http.post(
      input.path,
      {
        bodyLimit: bodyLimitBytes,
        validatorCompiler: acceptAll,
        config: { callers: ['customer', 'merchant', 'operator'] },
        schema: {
          summary: input.summary,
          description:
            `Answers when Kafka has acked all of it. A batch with an invalid item is refused as a whole, with every invalid item in error.details. ${notations} ` +
            'After 503 send the same again: a purchase counts once per purchase id; with an Idempotency-Key header the ids made here stay the same, too.',
          tags: ['promotion input'],
          headers: Type.Object({
            'idempotency-key': Type.Optional(
              Type.String({ maxLength: 200, description: 'the same key and body give the same ids' }),
            ),
          }),
          body: bodySchema(kind),
          response: { 202: acceptedBody, 400: errorBody, 413: errorBody, 422: errorBody, 503: errorBody },
        },
      },
      async (request, reply) => {
        const isBatch = Array.isArray(request.body);
        const items: readonly unknown[] = isBatch ? (request.body as unknown[]) : [request.body];
        if (items.length === 0 || items.length > maxBatch) {
          throw new HttpError(422, 'MUSTER_INPUT_INVALID', `a batch has 1 to ${maxBatch} items`, [
            { field: '(root)', reason: `has ${items.length} items` },
          ]);
        }
        const key = request.headers['idempotency-key'];
        if (typeof key === 'string' && (key.length === 0 || key.length > 200)) {
          throw new HttpError(422, 'MUSTER_INPUT_INVALID', 'the header Idempotency-Key is not valid', [
            { field: 'idempotency-key', reason: 'must have 1 to 200 characters' },
          ]);
        }
        const { records, ids } = understand(
          request,
          kind,
          items,
          isBatch,
          typeof key === 'string' ? key : undefined,
        );
        if (inFlight + records.length > maxInFlight) {
          throw new HttpError(503, 'MUSTER_OVERLOADED', 'too much is waiting for Kafka; try again');
        }
        inFlight += records.length;
        try {
          await options.producer.send(records, { deadlineMs: options.ackDeadlineMs ?? 5_000 });
        } finally {
          inFlight -= records.length;
        }
        return reply.code(202).send({ accepted: records.length, ids });
      },
    );
  }

  /** Throws 403 when a customer brings what another one did. */
  function understand(
    request: FastifyRequest,
    kind: InputKind,
    items: readonly unknown[],
    isBatch: boolean,
    key?: string,
  ) {
    const problems: ItemProblem[] = [];
    const records: OutgoingRecord[] = [];
    const ids: string[] = [];
    const contents = new Map<string, string>();
    const nowMs = now();
    items.forEach((raw, index) => {
      const position = isBatch ? { index } : {};
      const id = key === undefined ? uuidV7(nowMs) : uuidOf(kind, key, String(index), JSON.stringify(raw));
      const result = standardise(kind, raw, {
        timeZone: options.timeZone,
        fallbackId: id,
        fallbackUserId: onlyOf(request),
      });
      if (!result.ok) {
        const { code, field, reason } = result.rejection;
        problems.push({ ...position, field: field === '' ? '(root)' : field, reason, code });
        return;
      }
      userOf(request, result.value.userId);
      const record = inputRecord(kind, result.value, { id, source: '/muster/promotion-api', nowMs });
      if ('purchaseId' in result.value) {
        const { purchaseId, userId } = result.value;
        // A purchase id is its user's.
        const key = JSON.stringify([userId, purchaseId]);
        const known = contents.get(key);
        if (known !== undefined && known !== record.value) {
          problems.push({
            ...position,
            field: 'purchaseId',
            reason: 'another item of this batch has the same id and other content',
            code: 'MUSTER_DUPLICATE_ID_OTHER_BODY',
          });
          return;
        }
        contents.set(key, record.value as string);
        ids.push(purchaseId);
      } else ids.push(id);
      records.push(record);
    });
    if (problems.length > 0) {
      throw new HttpError(
        422,
        'MUSTER_INPUT_INVALID',
        isBatch
          ? `${problems.length} of ${items.length} items are not valid; nothing of the batch was taken in`
          : 'the input is not valid',
        problems,
      );
    }
    return { records, ids };
  }
}

export interface StreamRoutesOptions {
  readonly activity: Feed<Activity>;
  readonly enriched: Feed<EnrichedPurchase>;
}

const filterQuery = Type.Object({
  promotion: Type.Optional(Type.String({ description: 'promotion ids (repeated or a comma list)' })),
  product: Type.Optional(Type.String({ description: 'product ids' })),
  ageBand: Type.Optional(Type.String({ description: 'age bands such as 30s' })),
  user: Type.Optional(Type.String({ description: 'pseudonyms as in the field "user", never user ids' })),
});

/** Live streams as server-sent events; user ids are pseudonyms in them. */
export function registerStreamRoutes(http: FastifyInstance, options: StreamRoutesOptions): void {
  const streams = createStreams(http, { maxClients: 100, maxBufferedBytes: 1024 * 1024 });

  function route<T>(
    path: string,
    words: { readonly summary: string; readonly description: string; readonly schema?: TSchema },
    feed: Feed<T>,
    eventOf: (item: T) => string,
    filterable: (item: T) => Filterable,
  ): void {
    streams.route({
      path,
      transport: 'events',
      callers: ['merchant', 'operator'],
      validatorCompiler: acceptAll,
      schema: {
        summary: words.summary,
        description:
          `${words.description} Server-sent events: "ready" when the stream has begun, then the data; "gap" when a Last-Event-ID is no longer known, ` +
          '"dropped" when the client reads too slowly. Values of one filter are alternatives, different filters must all hold.',
        tags: ['promotion streams'],
        querystring: filterQuery,
      },
      open(request) {
        const parsed = parseFilter(request.query as Record<string, unknown>);
        if (!parsed.ok) {
          throw new HttpError(422, 'MUSTER_VALIDATION', 'the query is not valid', parsed.problems);
        }
        const lastEventId = request.headers['last-event-id'];
        return readFeed(feed, typeof lastEventId === 'string' ? lastEventId : undefined, ({ id, item }) =>
          matches(parsed.filter, filterable(item)) ? { id, type: eventOf(item), data: item } : undefined,
        );
      },
    });
  }

  route<Activity>(
    '/activity/stream',
    {
      summary: 'Both inputs as one stream, in order of time per user',
      description:
        'Purchases and acts, merged; an event that comes after a later one of its user is passed on with late: true. The filter "promotion" passes acts ' +
        'only, as a raw purchase belongs to no promotion: see /purchases/enriched/stream for purchases by promotion.',
    },
    options.activity,
    (item) => item.kind,
    (item) => ({
      user: item.user,
      productId: item.productId,
      ageBand: item.ageBand,
      promotionIds: item.kind === 'promo_behavior' ? [item.promotionId] : [],
    }),
  );
  route<EnrichedPurchase>(
    '/purchases/enriched/stream',
    {
      summary: 'Enriched purchases, with corrections',
      description: 'Keep the highest version per purchase id.',
      schema: enrichedPurchase,
    },
    options.enriched,
    () => 'purchase_enriched',
    (item) => ({
      user: item.user,
      productId: item.productId,
      ageBand: item.ageBand,
      promotionIds: item.promotions.map(({ promotionId }) => promotionId),
    }),
  );
}

/** Passes a feed on to a connection: what it missed, then what comes; `messageOf` leaves out what it answers nothing for. */
function readFeed<T>(
  feed: Feed<T>,
  lastEventId: string | undefined,
  messageOf: (entry: FeedItem<T>) => Message | undefined,
): Reader {
  let unsubscribe = () => {};
  let gone = false;
  return {
    async begin(connection) {
      const pass = (entry: FeedItem<T>) => {
        const message = messageOf(entry);
        if (message !== undefined) connection.send(message);
      };
      /** What arrives between subscribing and "ready" waits, so that missed items come first. */
      let waiting: FeedItem<T>[] | undefined = [];
      const subscription = await feed.subscribe(
        (entry) => (waiting === undefined ? pass(entry) : void waiting.push(entry)),
        (error) => connection.end(error),
        lastEventId,
      );
      unsubscribe = subscription.unsubscribe;
      if (gone) {
        unsubscribe();
        return;
      }
      connection.send({ type: 'ready', data: {} });
      if (subscription.missed === undefined)
        connection.send({
          type: 'gap',
          data: { message: 'events between the last event id and now are not known here any more' },
        });
      for (const entry of [...(subscription.missed ?? []), ...waiting]) pass(entry);
      waiting = undefined;
    },
    left() {
      gone = true;
      unsubscribe();
    },
  };
}
