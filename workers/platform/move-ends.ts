/** What moves of money hear on Kafka: how a recharge or a firm banking ended. Pure. */
import { type FirmbankingDecided, firmbankingDecided } from '../../catalog/events/banking.ts';
import { type RechargeDecided, rechargeDecided } from '../../catalog/events/money.ts';
import { topics } from '../../catalog/topics.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import type { EndTold } from './move.ts';

const readRecharge = eventReader(rechargeDecided, 'MUSTER_EVENT_INVALID');
const readFirmbanking = eventReader(firmbankingDecided, 'MUSTER_EVENT_INVALID');

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
