/** What money hears and says on Kafka. Pure; nothing in it names a person. */
import { firmbankingDecided } from '../../catalog/events/banking.ts';
import { memberEvent } from '../../catalog/events/membership.ts';
import type { RechargeDecided } from '../../catalog/events/money.ts';
import { topics } from '../../catalog/topics.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Recharge } from './recharge.ts';

export const readMemberEvent = eventReader(memberEvent, 'MUSTER_EVENT_INVALID');
export const readFirmbankingDecided = eventReader(firmbankingDecided, 'MUSTER_EVENT_INVALID');

/** How a recharge that has ended is told. */
export function decided(one: Recharge, decidedAtMs: number): RechargeDecided {
  const { rechargeId, account: member, state, reason, transferId, amountMinor, currency } = one;
  return {
    rechargeId,
    member,
    state: state as 'DONE' | 'FAILED',
    ...(reason === undefined ? {} : { reason }),
    ...(transferId === undefined ? {} : { transferId }),
    amount: { amountMinor, currency },
    decidedAt: new Date(decidedAtMs).toISOString(),
  };
}

/** `traceparent`: of the work that ended it. */
export const decidedRecord = (
  one: Recharge,
  decidedAtMs: number,
  traceparent: string | undefined,
): OutgoingRecord =>
  eventRecord({
    topic: topics.rechargeEvents.name,
    key: `member:${one.account}`,
    type: topics.rechargeEvents.event.type,
    source: '/muster/money',
    id: `${one.rechargeId}-decided`,
    subject: one.rechargeId,
    timeMs: decidedAtMs,
    ...(traceparent === undefined ? {} : { traceparent }),
    data: decided(one, decidedAtMs),
  });
