/** What remittances hear and say on Kafka. Pure; nothing in it names a person. */
import { type FirmbankingDecided, firmbankingDecided } from '../../catalog/events/banking.ts';
import { type RechargeDecided, rechargeDecided } from '../../catalog/events/money.ts';
import type { RemittanceDecided } from '../../catalog/events/remittance.ts';
import { topics } from '../../catalog/topics.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { IncomingRecord, OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Remittance, Word } from './remittance.ts';

const readRecharge = eventReader(rechargeDecided, 'MUSTER_EVENT_INVALID');
const readFirmbanking = eventReader(firmbankingDecided, 'MUSTER_EVENT_INVALID');

/** The end of a recharge or of a firm banking, perhaps one of a remittance. */
export interface EndTold {
  readonly id: string;
  readonly word: Word & { readonly kind: 'ENDED' };
}

/** Understands a record of recharge-events or firmbanking-events, or throws MUSTER_EVENT_INVALID. */
export function readEnd(record: Pick<IncomingRecord, 'topic' | 'value'>): EndTold {
  if (record.topic.startsWith(topics.rechargeEvents.name)) {
    const told = readRecharge(record);
    return { id: told.rechargeId, word: endOf('RECHARGING', told.state === 'DONE', told) };
  }
  const told = readFirmbanking(record);
  return { id: told.firmbankingId, word: endOf('PAYING_OUT', told.state === 'EXECUTED', told) };
}

const endOf = (
  of: 'RECHARGING' | 'PAYING_OUT',
  done: boolean,
  { reason, amount }: Pick<RechargeDecided | FirmbankingDecided, 'reason' | 'amount'>,
) => ({ kind: 'ENDED', of, done, reason, amountMinor: amount.amountMinor }) as const;

/** `traceparent`: of the work that ended it. */
export function decidedRecord(
  one: Remittance,
  decidedAtMs: number,
  traceparent: string | undefined,
): OutgoingRecord {
  const { name, event } = topics.remittanceEvents;
  const { remittanceId, sender, to, state, failure, amountMinor, feeMinor, currency, rechargeId } = one;
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
