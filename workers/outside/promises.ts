/** What is promised to systems outside, checked in the event log. */
import { sql } from 'kysely';
import { type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';

export const outsideChecks: ChecksOf<'outside'> = {
  'outside-events-ended': ({ database }, { limitMs }) => {
    const limit = sql`INTERVAL ${limitMs * 1_000} MICROSECOND`;
    return async () => {
      const { rows } = await sql<{ id: string; since: Date }>`
        SELECT event_id AS id, published_at + ${limit} AS since FROM muster_event
        WHERE state IN ('PUBLISHED', 'IN_PROGRESS', 'FAILED') AND published_at < UTC_TIMESTAMP(3) - ${limit}
        LIMIT ${mostBroken}`.execute(await database());
      return evidenceOf(rows.map(({ id, since }) => ({ id, sinceMs: new Date(since).getTime() })));
    };
  },
};
