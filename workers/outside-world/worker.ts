/**
 * Worker `webhook-stub`: the world outside in `dev` and `ci`. It receives webhooks and can be told to misbehave, and it
 * receives Alertmanager's notifications, to be looked at. What webhooks have brought survives it, the rest is in memory. Never
 * part of `prod`.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import type { CouponIssued } from '../../catalog/events/outside.ts';
import { errorBody, HttpError } from '../http/errors.ts';
import type { Worker } from '../platform/worker.ts';
import { openJournal } from './journal.ts';
import { type Behaviour, behaviour, createReceiver, type Receipt, type Receiver } from './receiver.ts';

/** About 0.5 KB a key, and 1 KB a notification. */
const keepKeys = 50_000;
const keepNotifications = 2_000;

const config = Type.Object({
  BANK_STATE_DIRECTORY: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'directory of the banks’ journal, and beside it of what webhooks have brought; unset: in memory',
    }),
  ),
});

export const worker: Worker<typeof config> = {
  name: 'webhook-stub',
  consumes: [],
  produces: [],
  config,
  async start({ config: { BANK_STATE_DIRECTORY: directory }, http }) {
    const journal =
      directory === undefined
        ? undefined
        : openJournal<Receipt>(join(directory, 'webhooks.jsonl'), { synced: false });
    registerWebhookRoutes(http, createReceiver(keepKeys, journal));
    registerAlertRoutes(http);
    return { ready: () => true, stop: async () => journal?.close() };
  },
};

function registerWebhookRoutes(http: FastifyInstance, receiver: Receiver): void {
  const tags = ['webhooks'];

  for (const [path, required] of [
    ['/webhooks/payment-completed', { paymentId: Type.String(), orderId: Type.String() }],
    ['/webhooks/coupon-issued', { couponHistoryId: Type.String(), user: Type.String() }],
  ] as const)
    http.post(
      path,
      {
        config: { callers: 'anyone' },
        schema: {
          summary: 'Receive a webhook, or misbehave as told',
          tags,
          headers: Type.Object({
            'idempotency-key': Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
          }),
          body: Type.Object(required, { additionalProperties: true }),
        },
      },
      async (request, reply) => {
        const key = request.headers['idempotency-key'];
        if (typeof key !== 'string')
          throw new HttpError(400, 'MUSTER_BAD_REQUEST', 'a webhook needs the header Idempotency-Key');
        const reaction = receiver.take(key, request.body, Date.now());
        if (reaction.kind === 'answer') {
          if (reaction.afterMs > 0) await sleep(reaction.afterMs);
          return reply.code(reaction.status).send({ received: reaction.status < 300 });
        }
        reply.hijack();
        // The one who waits ends it.
        if (reaction.kind === 'lose') request.raw.socket.destroy();
        return reply;
      },
    );

  http.get(
    '/notifications',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'What the notification service here has told people of their coupons, newest first',
        tags,
      },
    },
    async () => ({
      notifications: receiver.receipts().flatMap(({ body, effects, attempts }) => {
        const { user, couponId } = body as Partial<CouponIssued>;
        if (user === undefined || effects === 0) return [];
        return [{ user, at: attempts[0]!.at, message: `You have got coupon ${couponId}.` }];
      }),
    }),
  );

  http.put(
    '/behaviour',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'Say how webhooks are received from now on',
        tags,
        body: behaviour,
        response: { 200: behaviour, 422: errorBody },
      },
    },
    async (request) => {
      receiver.behaviour = request.body as Behaviour;
      return receiver.behaviour;
    },
  );
  http.get(
    '/behaviour',
    {
      config: { callers: 'anyone' },
      schema: { summary: 'How webhooks are received', tags, response: { 200: behaviour } },
    },
    async () => receiver.behaviour,
  );

  const query = Type.Object({
    key: Type.Optional(Type.String({ description: 'only this Idempotency-Key' })),
    orderId: Type.Optional(Type.String({ description: 'only webhooks about this order' })),
    limit: Type.Integer({ minimum: 1, maximum: keepKeys, default: 100, description: 'newest so many' }),
  });
  http.get(
    '/received',
    {
      config: { callers: 'anyone' },
      schema: { summary: 'Webhooks by Idempotency-Key, newest first', tags, querystring: query },
    },
    async (request) => {
      const { key, orderId, limit } = request.query as Static<typeof query>;
      const all = receiver
        .receipts()
        .filter(
          (receipt) =>
            (key === undefined || receipt.key === key) &&
            (orderId === undefined || (receipt.body as { orderId: string }).orderId === orderId),
        );
      const sum = (of: (receipt: (typeof all)[number]) => number) =>
        all.reduce((total, receipt) => total + of(receipt), 0);
      return {
        keys: all.length,
        attempts: sum(({ attempts }) => attempts.length),
        effects: sum(({ effects }) => effects),
        received: all.slice(0, limit),
      };
    },
  );
  http.delete(
    '/received',
    { config: { callers: 'anyone' }, schema: { summary: 'Forget all webhooks', tags } },
    async (_request, reply) => {
      receiver.clear();
      return reply.code(204).send();
    },
  );
}

const alert = Type.Object(
  {
    status: Type.String({ description: 'firing or resolved' }),
    labels: Type.Record(Type.String(), Type.String()),
    annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
    startsAt: Type.Optional(Type.String()),
    endsAt: Type.Optional(Type.String()),
  },
  { additionalProperties: true },
);
/** What Alertmanager sends (version 4), as far as it is looked at. */
const notification = Type.Object(
  { status: Type.String(), alerts: Type.Array(alert) },
  { additionalProperties: true },
);

interface Notification {
  /** The name in the path: page, ticket, deadman ... */
  readonly receiver: string;
  readonly receivedAt: string;
  readonly status: string;
  readonly alerts: readonly Static<typeof alert>[];
}

function registerAlertRoutes(http: FastifyInstance): void {
  let notifications: Notification[] = [];
  const tags = ['alerts'];

  http.post(
    '/alerts/:receiver',
    {
      bodyLimit: 4 * 1024 * 1024,
      config: { callers: 'anyone' },
      schema: {
        summary: 'Receive a notification of Alertmanager',
        tags,
        params: Type.Object({ receiver: Type.String({ pattern: '^[A-Za-z0-9_-]{1,60}$' }) }),
        body: notification,
      },
    },
    async (request) => {
      const { receiver } = request.params as { receiver: string };
      const { status, alerts } = request.body as Static<typeof notification>;
      notifications.push({ receiver, receivedAt: new Date().toISOString(), status, alerts });
      if (notifications.length > keepNotifications) notifications = notifications.slice(-keepNotifications);
      return { received: alerts.length };
    },
  );

  const query = Type.Object({
    receiver: Type.Optional(Type.String({ description: 'only this receiver' })),
    alertname: Type.Optional(Type.String({ description: 'only notifications with this alert' })),
  });
  http.get(
    '/alerts',
    {
      config: { callers: 'anyone' },
      schema: { summary: 'Notifications, newest first', tags, querystring: query },
    },
    async (request) => {
      const { receiver, alertname } = request.query as Static<typeof query>;
      const found = notifications.filter(
        (one) =>
          (receiver === undefined || one.receiver === receiver) &&
          (alertname === undefined || one.alerts.some(({ labels }) => labels.alertname === alertname)),
      );
      return { notifications: found.reverse() };
    },
  );
  http.delete(
    '/alerts',
    { config: { callers: 'anyone' }, schema: { summary: 'Forget all notifications', tags } },
    async (_request, reply) => {
      notifications = [];
      return reply.code(204).send();
    },
  );
}
