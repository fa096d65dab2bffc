/** What banking says on Kafka. Pure; nothing in it names a person. */
import type { FirmbankingDecided } from '../../catalog/events/banking.ts';
import { topics } from '../../catalog/topics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import { type Firmbanking, masked, type Party } from './firmbanking.ts';

/** The result of a firm banking that is EXECUTED or REJECTED. */
export function decidedRecord(one: Firmbanking, decidedAtMs: number): OutgoingRecord {
  const { name, event } = topics.firmbankingEvents;
  return eventRecord({
    topic: name,
    key: one.firmbankingId,
    type: event.type,
    source: '/muster/banking',
    id: `${one.firmbankingId}-decided`,
    subject: one.firmbankingId,
    timeMs: decidedAtMs,
    data: {
      firmbankingId: one.firmbankingId,
      state: one.state as 'EXECUTED' | 'REJECTED',
      ...(one.reason === undefined ? {} : { reason: one.reason }),
      bank: one.bank,
      from: shown(one.from),
      to: shown(one.to),
      amount: { amountMinor: one.amountMinor, currency: one.currency },
      decidedAt: new Date(decidedAtMs).toISOString(),
    } satisfies FirmbankingDecided,
  });
}

const shown = ({ accountId, owner, bank, accountNumber }: Party) => ({
  accountId,
  owner,
  bank,
  accountNumber: masked(accountNumber),
});
