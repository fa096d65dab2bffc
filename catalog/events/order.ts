/**
 * Events of orders and products. No event of an order names a person: `userId` is the customer's pseudonym, the same
 * on every topic, so that counting and joining work.
 */
import { type Static, Type } from 'typebox';
import { money } from './promotion.ts';

const id = (description: string) => Type.String({ minLength: 1, maxLength: 200, description });
const utcTime = (description: string) =>
  Type.String({
    pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
    description: `${description}, ISO-8601 UTC with ms`,
  });
const pseudonym = Type.String({
  pattern: '^u_[A-Za-z0-9_-]{22}$',
  description: 'keyed pseudonym of the customer; never the user id itself',
});

const soldProduct = Type.Object(
  {
    id: id('product sold'),
    qty: Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'how many' }),
    unitAmountMinor: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description:
          'price of one in minor units of the total’s currency, as it was when the order was placed',
      }),
    ),
  },
  { additionalProperties: false },
);

const soldFields = {
  orderId: id('effects are keyed by it: an order is completed once, whatever comes twice'),
  userId: pseudonym,
  products: Type.Array(soldProduct, { minItems: 1, maxItems: 100, description: 'each product once' }),
  totalAmount: money,
};

/** A paid order, in the order of its customer's payments: topic `order-completed`. */
export const orderCompleted = Type.Object(
  { ...soldFields, completedAt: utcTime('when the payment was committed') },
  { $id: 'OrderCompleted', title: 'OrderCompleted', additionalProperties: false },
);
export type OrderCompleted = Static<typeof orderCompleted>;

/** The same fact for whoever is outside of the shop: topic `order-confirmed`. */
export const orderConfirmed = Type.Object(
  { ...soldFields, paymentId: id('its payment'), confirmedAt: utcTime('when the payment was committed') },
  { $id: 'OrderConfirmed', title: 'OrderConfirmed', additionalProperties: false },
);
export type OrderConfirmed = Static<typeof orderConfirmed>;

/** What happened to a product; each kind a change of the one before: topic `product-events`. */
export const productEvent = Type.Object(
  {
    productId: id('the product'),
    kind: Type.Enum(['CREATED', 'PRICE_CHANGED', 'STOCK_CHANGED', 'DEPLETED'], {
      description:
        'STOCK_CHANGED: added or taken by hand; DEPLETED: a sale took the last. Other sales are on order-completed.',
    }),
    version: Type.Integer({
      minimum: 1,
      description: 'grows by one with each event of the product; keep the highest',
    }),
    name: Type.String({ minLength: 1, maxLength: 200 }),
    price: money,
    stock: Type.Integer({ minimum: 0, description: 'what was left after this change' }),
    changedAt: utcTime('when the change was committed'),
  },
  { $id: 'ProductEvent', title: 'ProductEvent', additionalProperties: false },
);
export type ProductEvent = Static<typeof productEvent>;

/** The time of these orders to be paid is over: topic `order-expiry`. Those that were paid meanwhile are not meant. */
export const orderExpiryDue = Type.Object(
  { orderIds: Type.Array(id('order that was placed'), { minItems: 1, maxItems: 1_000 }) },
  { $id: 'OrderExpiryDue', title: 'OrderExpiryDue', additionalProperties: false },
);
export type OrderExpiryDue = Static<typeof orderExpiryDue>;
