/** Events of food delivery. They name no person: people are pseudonyms, and what they write to each other is not in them. */
import { type Static, Type } from 'typebox';
import { uuid } from './uuid.ts';

const person = (description: string) =>
  Type.String({
    pattern: '^u_[A-Za-z0-9_-]{22}$',
    description: `${description}; keyed pseudonym, never the id itself`,
  });
const version = (description: string) => Type.Integer({ minimum: 1, description });
const state = Type.String({ pattern: '^[A-Z_]{1,20}$', description: 'as in the table of docs/delivery.md' });
const eventId = (description: string) =>
  Type.String({
    pattern: '^[0-9a-f-]{36}(-[0-9a-z]{1,10}){1,2}$',
    description: `${description}; effects are keyed by it`,
  });

/** An order was placed or has taken a step: topic `delivery-order-events`. Those of an order have versions without a gap. */
export const deliveryOrderEvent = Type.Object(
  {
    eventId: eventId('order id and version'),
    orderId: uuid('the answer to the request'),
    version: version('1 when it was placed, one more with each step'),
    userId: person('who ordered'),
    name: Type.String({ minLength: 1, maxLength: 100, description: 'of the dish' }),
    quantity: Type.Integer({ minimum: 1 }),
    price: Type.Integer({ minimum: 1, description: 'of all of it, minor units of its currency' }),
    currency: Type.String({ pattern: '^[A-Z]{3}$' }),
    status: Type.Enum(['created', 'completed', 'failed'], {
      description: 'completed: delivered. failed: not delivered, or called off. created: all else',
    }),
    state,
    tells: Type.Array(
      Type.Object(
        { role: Type.Enum(['customer', 'owner', 'rider']), userId: person('who is to be told') },
        { additionalProperties: false },
      ),
      { maxItems: 3 },
    ),
    at: Type.String({ description: 'when it changed, ISO-8601 UTC with ms' }),
  },
  { $id: 'DeliveryOrderEvent', title: 'DeliveryOrderEvent', additionalProperties: false },
);
export type DeliveryOrderEvent = Static<typeof deliveryOrderEvent>;

/** How a delivery ended: topic `delivery-events`. It may be told again; only at the version that it names does it count. */
export const deliveryEvent = Type.Object(
  {
    eventId: eventId('order id, version and status'),
    orderId: uuid('of the order'),
    version: version('of the order when it was assigned, or called when there was nobody'),
    status: Type.Enum(['succeeded', 'failed'], {
      description: 'failed: all riders of the district are busy',
    }),
  },
  { $id: 'DeliveryEvent', title: 'DeliveryEvent', additionalProperties: false },
);
export type DeliveryEvent = Static<typeof deliveryEvent>;

/** Somebody was notified: topic `delivery-log-events`. */
export const deliveryLogEvent = Type.Object(
  {
    eventId: eventId('order id, version and role'),
    userId: person('who was notified'),
    message: Type.String({
      minLength: 1,
      maxLength: 200,
      description: 'what was said; one of our own texts',
    }),
  },
  { $id: 'DeliveryLogEvent', title: 'DeliveryLogEvent', additionalProperties: false },
);
export type DeliveryLogEvent = Static<typeof deliveryLogEvent>;
