/** What membership says on Kafka. Pure. Nothing in it names a person. */
import type { MemberEvent } from '../../catalog/events/membership.ts';
import { topics } from '../../catalog/topics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Member } from './member.ts';

/** A member as others may know it, keyed by its pseudonym. */
export function memberRecord(member: Member, pseudonym: string, changedAtMs: number): OutgoingRecord {
  const { type, district, state, version } = member;
  return eventRecord({
    topic: topics.memberEvents.name,
    key: `member:${pseudonym}`,
    type: topics.memberEvents.event.type,
    source: '/muster/membership',
    id: `${pseudonym}-${version}`,
    subject: pseudonym,
    timeMs: changedAtMs,
    data: {
      member: pseudonym,
      type,
      district,
      state,
      version,
      changedAt: new Date(changedAtMs).toISOString(),
    } satisfies MemberEvent,
  });
}
