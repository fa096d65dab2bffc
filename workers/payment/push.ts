/** How payments and refunds ended, told to the clients of their customers until one acknowledges it. */
import { paymentDecided } from '../../catalog/events/payment.ts';
import { eventReader } from '../kafka/event-reader.ts';
import { outcomesOf } from '../platform/outcomes.ts';
import { decided } from './events.ts';
import type { Found } from './slips.ts';

export const paymentOutcomes = outcomesOf({
  path: '/pay/payments',
  tags: ['payment'],
  callers: ['customer', 'operator'],
  what: 'how payments and refunds ended',
  type: 'payment-outcome',
  fields: '{paymentId, refundId?, state, reason?, amount}',
  table: { table: 'slip', id: 'slip_id', address: 'customer' },
  read: eventReader(paymentDecided, 'MUSTER_EVENT_INVALID'),
  decided: ({ one, own, decidedAtMs }: Found) => decided(one, own, decidedAtMs!),
  letter: ({ customer: address, paymentId, refundId, state, reason, amount }) => ({
    address,
    id: refundId ?? paymentId,
    data: { paymentId, refundId, state, reason, amount },
  }),
});
