/** What membership promises, checked in its database and on its topic. */
import { sql } from 'kysely';
import { topics } from '../../catalog/topics.ts';
import { headerText } from '../kafka/records.ts';
import { arrived } from '../platform/arrived.ts';
import type { Check, CheckDeps, ChecksOf } from '../platform/checks.ts';

export const membershipChecks: ChecksOf<'membership'> = {
  'members-told': (deps, { limitMs }) => membersTold(deps, limitMs),
};

export function membersTold(
  { database, kafka }: Pick<CheckDeps, 'database' | 'kafka'>,
  limitMs: number,
  on = topics.memberEvents.name,
): Check {
  return arrived({
    kafka,
    limitMs,
    topics: [on],
    idOf: (record) => headerText(record, 'ce_id'),
    async expected(fromMs, toMs) {
      const { rows } = await sql<{ id: string }>`
        SELECT CONCAT(pseudonym, '-', version) AS id FROM member
        WHERE told_at >= ${new Date(fromMs)} AND told_at < ${new Date(toMs)}`.execute(
        await database('membership'),
      );
      return rows.map(({ id }) => id);
    },
  });
}
