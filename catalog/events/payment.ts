/** Events of payments. They name no person: members are pseudonyms. */
import { type Static, Type } from 'typebox';
import { money } from './promotion.ts';
import { uuid } from './uuid.ts';

const member = Type.String({
  pattern: '^u_[A-Za-z0-9_-]{22}$',
  description: 'keyed pseudonym of the member; never the id itself',
});
const moment = (description: string) =>
  Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$', description });

/** A payment or a refund was booked: topic `payment-events`. It does not say who paid. What is refunded of a payment is never more than what was paid. */
export const paymentEvent = Type.Object(
  {
    eventId: uuid('of the slip; effects are keyed by it'),
    paymentId: uuid('the answer to the request; of a REFUNDED: of the payment that it takes back'),
    merchantId: member,
    kind: Type.Enum(['PAID', 'REFUNDED']),
    amount: money,
    at: moment('when it came to be known here that it is booked, ISO-8601 UTC with ms'),
    refundId: Type.Optional(uuid('of a REFUNDED')),
  },
  { $id: 'PaymentEvent', title: 'PaymentEvent', additionalProperties: false },
);

export type PaymentEvent = Static<typeof paymentEvent>;

/** A payment or a refund has ended, for good: topic `payment-outcomes`. It is for the customer, who is named by pseudonym. */
export const paymentDecided = Type.Object(
  {
    paymentId: uuid('the answer to the request; of a refund: of the payment that it takes back'),
    refundId: Type.Optional(uuid('of a refund')),
    customer: member,
    state: Type.Enum(['DONE', 'FAILED']),
    reason: Type.Optional(Type.String({ maxLength: 60, description: 'of a failure: a word for programs' })),
    amount: money,
    decidedAt: moment('ISO-8601 UTC with ms'),
  },
  { $id: 'PaymentDecided', title: 'PaymentDecided', additionalProperties: false },
);
export type PaymentDecided = Static<typeof paymentDecided>;
