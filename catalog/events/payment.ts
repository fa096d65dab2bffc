/** Events of payments. They name no person: merchants are pseudonyms, and who paid is not in them. */
import { type Static, Type } from 'typebox';
import { money } from './promotion.ts';
import { uuid } from './uuid.ts';

/** A payment or a refund was booked: topic `payment-events`. What is refunded of a payment is never more than what was paid. */
export const paymentEvent = Type.Object(
  {
    eventId: uuid('of the slip; effects are keyed by it'),
    paymentId: uuid('the answer to the request; of a REFUNDED: of the payment that it takes back'),
    merchantId: Type.String({
      pattern: '^u_[A-Za-z0-9_-]{22}$',
      description: 'keyed pseudonym of the merchant; never the id itself',
    }),
    kind: Type.Enum(['PAID', 'REFUNDED']),
    amount: money,
    at: Type.String({
      pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
      description: 'when it came to be known here that it is booked, ISO-8601 UTC with ms',
    }),
    refundId: Type.Optional(uuid('of a REFUNDED')),
  },
  { $id: 'PaymentEvent', title: 'PaymentEvent', additionalProperties: false },
);

export type PaymentEvent = Static<typeof paymentEvent>;
