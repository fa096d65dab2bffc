/** How payments and refunds ended, told to the clients of their customers until one acknowledges it. */
import type { FastifyInstance } from 'fastify';
import type { Kysely } from 'kysely';
import { type PaymentDecided, paymentDecided } from '../../catalog/events/payment.ts';
import { pseudonym } from '../base/pseudonym.ts';
import type { Letter, Mailboxes } from '../http/mailbox.ts';
import { registerOutcomeStreams } from '../http/outcome-streams.ts';
import { userOf } from '../http/principals.ts';
import type { StreamLimits, Streams } from '../http/realtime.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { lettersOf } from '../platform/outcome-pusher.ts';
import { decided } from './events.ts';
import type { PaymentStore } from './store.ts';

const readDecided = eventReader(paymentDecided, 'MUSTER_EVENT_INVALID');
const table = { table: 'slip', id: 'slip_id', address: 'customer' };

const letterOf = ({ paymentId, refundId, state, reason, amount }: PaymentDecided): Letter => ({
  type: 'payment-outcome',
  id: refundId ?? paymentId,
  data: {
    paymentId,
    ...(refundId === undefined ? {} : { refundId }),
    state,
    ...(reason === undefined ? {} : { reason }),
    amount,
  },
});

/** Understands a record of payment-outcomes, or throws MUSTER_EVENT_INVALID. */
export function readPaymentLetter(record: Pick<IncomingRecord, 'value'>) {
  const told = readDecided(record);
  return { address: told.customer, letter: letterOf(told) };
}

export interface PaymentStreamsOptions extends StreamLimits {
  database(): Promise<Kysely<unknown>>;
  readonly payments: Pick<PaymentStore, 'findAll'>;
  readonly pseudonymKey: Buffer;
  readonly mailboxes: Mailboxes;
}

export function registerPaymentStreams(http: FastifyInstance, options: PaymentStreamsOptions): Streams {
  const { database, payments, pseudonymKey } = options;
  return registerOutcomeStreams(http, {
    ...options,
    path: '/pay/payments',
    tags: ['payment'],
    callers: ['customer', 'operator'],
    what: 'payments and refunds',
    type: 'payment-outcome',
    fields: '{paymentId, refundId?, state, reason?, amount}',
    addressOf: async (request, named) => pseudonym(pseudonymKey, userOf(request, named, 'memberId')),
    ...lettersOf(database, table, async (ids) =>
      (await payments.findAll(ids)).map(({ one, own, decidedAtMs }) =>
        letterOf(decided(one, own, decidedAtMs!)),
      ),
    ),
  });
}
