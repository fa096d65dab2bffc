/** What remittances say on Kafka. Pure; nothing in it names a person. */
import type { RemittanceDecided } from '../../catalog/events/remittance.ts';
import { topics } from '../../catalog/topics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Move } from '../platform/move.ts';

/** `traceparent`: of the work that ended it. */
export function decidedRecord(
  one: Move,
  decidedAtMs: number,
  traceparent: string | undefined,
): OutgoingRecord {
  const { name, event } = topics.remittanceEvents;
  const { id: remittanceId, sender, to, state, failure, amountMinor, feeMinor, currency, rechargeId } = one;
  return eventRecord({
    topic: name,
    key: `member:${sender}`,
    type: event.type,
    source: '/muster/remittance',
    id: `${remittanceId}-decided`,
    subject: remittanceId,
    timeMs: decidedAtMs,
    ...(traceparent === undefined ? {} : { traceparent }),
    data: {
      remittanceId,
      sender,
      ...('member' in to ? { receiver: to.member } : { toAccountId: to.bankAccountId }),
      state: state as 'DONE' | 'FAILED',
      ...(failure === undefined ? {} : { reason: failure }),
      amount: { amountMinor, currency },
      fee: { amountMinor: feeMinor, currency },
      ...(rechargeId === undefined ? {} : { rechargeId }),
      decidedAt: new Date(decidedAtMs).toISOString(),
    } satisfies RemittanceDecided,
  });
}
