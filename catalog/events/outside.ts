/** Business events that systems outside are told about, by webhook. */
import { type Static, Type } from 'typebox';
import { money } from './promotion.ts';

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
    timestamp: Type.String({
      pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
      description: 'when the payment was completed, ISO-8601 UTC with ms',
    }),
  },
  { $id: 'PaymentCompleted', title: 'PaymentCompleted', additionalProperties: false },
);
export type PaymentCompleted = Static<typeof paymentCompleted>;
