/** Business events that systems outside are told about, by webhook. */
import { type Static, Type } from 'typebox';
import { money } from './promotion.ts';

const utcTime = (description: string) =>
  Type.String({
    pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
    description: `${description}, ISO-8601 UTC with ms`,
  });
const id = (description: string) => Type.String({ minLength: 1, maxLength: 200, description });

/**
 * A payment is completed: topic `external-events`. Its event id (header ce_id) becomes the webhook's Idempotency-Key. It
 * says nothing of the person: it leaves the house.
 */
export const paymentCompleted = Type.Object(
  {
    paymentId: id('the payment'),
    orderId: id('the order that it pays'),
    amount: money,
    timestamp: utcTime('when the payment was completed'),
  },
  { $id: 'PaymentCompleted', title: 'PaymentCompleted', additionalProperties: false },
);
export type PaymentCompleted = Static<typeof paymentCompleted>;

/**
 * Somebody has got a coupon: topic `external-events`. Its event id, the webhook's Idempotency-Key, is the couponHistoryId.
 * The user is a pseudonym: a notification service of the house finds the person by it, nobody else does.
 */
export const couponIssued = Type.Object(
  {
    couponHistoryId: id('the coupon that the user now holds'),
    couponId: id('of which it is one'),
    user: Type.String({ pattern: '^u_[A-Za-z0-9_-]{22}$', description: 'keyed pseudonym of the user' }),
    issuedAt: utcTime('when it was issued'),
  },
  { $id: 'CouponIssued', title: 'CouponIssued', additionalProperties: false },
);
export type CouponIssued = Static<typeof couponIssued>;
