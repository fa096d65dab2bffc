/** What settlement hears on Kafka. Pure; nothing in it names a person. */
import { firmbankingDecided } from '../../catalog/events/banking.ts';
import { memberEvent } from '../../catalog/events/membership.ts';
import { paymentEvent } from '../../catalog/events/payment.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import type { Word } from './settlement.ts';

/** Each understands a record of its topic, or throws MUSTER_EVENT_INVALID. */
export const readPayment = eventReader(paymentEvent, 'MUSTER_EVENT_INVALID');
export const readMember = eventReader(memberEvent, 'MUSTER_EVENT_INVALID');

const readFirmbanking = eventReader(firmbankingDecided, 'MUSTER_EVENT_INVALID');

/** The end of a firm banking, perhaps of a payout. */
export function readPayoutEnd(record: Pick<IncomingRecord, 'value'>): Word & { readonly kind: 'ENDED' } {
  const { firmbankingId, state, reason, amount } = readFirmbanking(record);
  return {
    kind: 'ENDED',
    firmbankingId,
    done: state === 'EXECUTED',
    reason,
    amountMinor: amount.amountMinor,
  };
}
