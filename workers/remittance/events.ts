/** What remittances say on Kafka. Pure; nothing in it names a person. */
import type { RemittanceDecided } from '../../catalog/events/remittance.ts';
import { topics } from '../../catalog/topics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Move } from '../platform/move.ts';

/** How a remittance that has ended is told. */
export function decided(one: Move, decidedAtMs: number): RemittanceDecided {
  const { id: remittanceId, sender, to, state, failure, amountMinor, feeMinor, currency, rechargeId } = one;
  return {
    remittanceId,
    sender,
    ...('member' in to ? { receiver: to.member } : { toAccountId: to.bankAccountId }),
    state: state as 'DONE' | 'FAILED',
    ...(failure === undefined ? {} : { reason: failure }),
    amount: { amountMinor, currency },
    fee: { amountMinor: feeMinor, currency },
    ...(rechargeId === undefined ? {} : { rechargeId }),
    decidedAt: new Date(decidedAtMs).toISOString(),
  };
}

/** `traceparent`: of the work that ended it. */
export const decidedRecord = (
  one: Move,
  decidedAtMs: number,
  traceparent: string | undefined,
): OutgoingRecord =>
  eventRecord({
    topic: topics.remittanceEvents.name,
    key: `member:${one.sender}`,
    type: topics.remittanceEvents.event.type,
    source: '/muster/remittance',
    id: `${one.id}-decided`,
    subject: one.id,
    timeMs: decidedAtMs,
    ...(traceparent === undefined ? {} : { traceparent }),
    data: decided(one, decidedAtMs),
  });
