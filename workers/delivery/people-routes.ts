/** HTTP of riders who begin and end work, and of what people are told. */
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { refused } from '../http/errors.ts';
import { typed } from '../http/typed.ts';
import { type NotificationStore, textOf } from './notifications.ts';
import { answers, district, personOf, tags } from './routes.ts';
import type { DeliveryStore } from './store.ts';

export function registerRiderRoutes(
  http: FastifyInstance,
  options: { readonly deliveries: Pick<DeliveryStore, 'setRider'>; readonly pseudonymKey: Buffer },
): void {
  typed(http).put(
    '/delivery/riders/me',
    {
      config: { callers: ['rider'] },
      schema: {
        summary: 'Begin or end work in a district',
        description:
          'Who is free longest gets the next order. Not with an order under way: 409 MUSTER_RIDER_BUSY.',
        tags,
        body: Type.Object({ district, state: Type.Enum(['FREE', 'OFF']) }, { additionalProperties: false }),
        response: { 204: Type.Null(), ...answers },
      },
    },
    async (request, reply) => {
      const { who } = personOf(request, options.pseudonymKey);
      const done = await options.deliveries.setRider(who, request.body.district, request.body.state);
      if (!done.ok) throw refused(done.refusal);
      return reply.code(204).send(null);
    },
  );
}

export function registerNotificationRoutes(
  http: FastifyInstance,
  options: {
    readonly notifications: Pick<NotificationStore, 'unshown' | 'markShown'>;
    readonly pseudonymKey: Buffer;
  },
): void {
  const { notifications, pseudonymKey } = options;
  const app = typed(http);
  const people = { callers: ['customer', 'owner', 'rider'] } as const;

  app.get(
    '/delivery/notifications',
    {
      config: people,
      schema: {
        summary: 'What you were told and have not been shown yet, in order',
        description: 'It stays until POST /delivery/notifications/shown names it.',
        tags,
        querystring: Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }) }),
        response: {
          200: Type.Object({
            notifications: Type.Array(
              Type.Object({
                no: Type.Integer(),
                orderId: Type.String(),
                version: Type.Integer(),
                state: Type.String(),
                message: Type.String(),
                at: Type.String({ description: 'when the order changed' }),
              }),
            ),
          }),
          ...answers,
        },
      },
    },
    async (request) => {
      const { role, who } = personOf(request, pseudonymKey);
      const found = await notifications.unshown(who, role, request.query.limit);
      return {
        notifications: found.map(({ changedAtMs, ...one }) => ({
          ...one,
          message: textOf(one.state),
          at: new Date(changedAtMs).toISOString(),
        })),
      };
    },
  );

  app.post(
    '/delivery/notifications/shown',
    {
      config: people,
      schema: {
        summary: 'These were shown',
        tags,
        body: Type.Object(
          { nos: Type.Array(Type.Integer({ minimum: 1 }), { minItems: 1, maxItems: 200 }) },
          { additionalProperties: false },
        ),
        response: { 204: Type.Null(), ...answers },
      },
    },
    async (request, reply) => {
      const { role, who } = personOf(request, pseudonymKey);
      await notifications.markShown(who, role, request.body.nos);
      return reply.code(204).send(null);
    },
  );
}
