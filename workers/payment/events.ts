/** What payments hear and say on Kafka. Pure; nothing in it names a person. */
import { memberEvent } from '../../catalog/events/membership.ts';
import type { PaymentDecided, PaymentEvent } from '../../catalog/events/payment.ts';
import { topics } from '../../catalog/topics.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Move } from '../platform/move.ts';
import type { Slip } from './payment.ts';

export const readMemberEvent = eventReader(memberEvent, 'MUSTER_EVENT_INVALID');

/** The slip as others hear of it: its id is the event's, because it is booked once. `traceparent`: of the work that ended it. */
export function bookedRecord(
  { id, amountMinor, currency }: Move,
  { kind, paymentId, merchant }: Slip,
  bookedAtMs: number,
  traceparent: string | undefined,
): OutgoingRecord {
  const { name, event } = topics.paymentEvents;
  return eventRecord({
    topic: name,
    key: `merchant:${merchant}`,
    type: event.type,
    source: '/muster/payment',
    id,
    subject: paymentId,
    timeMs: bookedAtMs,
    ...(traceparent === undefined ? {} : { traceparent }),
    data: {
      eventId: id,
      paymentId,
      merchantId: merchant,
      kind: kind === 'PAYMENT' ? 'PAID' : 'REFUNDED',
      amount: { amountMinor, currency },
      at: new Date(bookedAtMs).toISOString(),
      ...(kind === 'REFUND' ? { refundId: id } : {}),
    } satisfies PaymentEvent,
  });
}

/** How a slip that has ended is told to its customer. */
export function decided(
  { id, state, failure, amountMinor, currency }: Move,
  { kind, paymentId, customer }: Slip,
  decidedAtMs: number,
): PaymentDecided {
  return {
    paymentId,
    ...(kind === 'REFUND' ? { refundId: id } : {}),
    customer,
    state: state as 'DONE' | 'FAILED',
    ...(failure === undefined ? {} : { reason: failure }),
    amount: { amountMinor, currency },
    decidedAt: new Date(decidedAtMs).toISOString(),
  };
}

/** `traceparent`: of the work that ended it. */
export function decidedRecord(
  one: Move,
  slip: Slip,
  decidedAtMs: number,
  traceparent: string | undefined,
): OutgoingRecord {
  const { name, event } = topics.paymentOutcomes;
  return eventRecord({
    topic: name,
    key: `member:${slip.customer}`,
    type: event.type,
    source: '/muster/payment',
    id: `${one.id}-decided`,
    subject: slip.paymentId,
    timeMs: decidedAtMs,
    ...(traceparent === undefined ? {} : { traceparent }),
    data: decided(one, slip, decidedAtMs),
  });
}
