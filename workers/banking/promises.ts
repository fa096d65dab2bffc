/** What banking promises, checked in its database by questions of its own. */
import { sql } from 'kysely';
import { uuidOfBytes } from '../base/ids.ts';
import { type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';

/** A comparison a day, and time to try it again while a bank is away. */
const uncomparedMs = 26 * 3_600_000;
const microseconds = (ms: number) => sql`INTERVAL ${ms * 1_000} MICROSECOND`;

export const bankingChecks: ChecksOf<'banking'> = {
  'firmbanking-decided': ({ database }, { limitMs }) => {
    const limit = microseconds(limitMs);
    return async () => {
      const overdue = (column: 'counts_from' | 'due_at') =>
        sql`${sql.ref(column)} < UTC_TIMESTAMP(3) - ${limit}`;
      // Who waits for a bank that is known to be down was told so; but somebody must look again and again.
      const { rows } = await sql<{ id: Buffer; since: Date }>`
        SELECT firmbanking_id AS id, counts_from + ${limit} AS since FROM firmbanking
        WHERE state IN ('REQUESTED', 'WAITING', 'SENT', 'IN_DOUBT')
          AND (CASE WHEN state = 'WAITING' AND reason = 'BANK_DOWN' THEN ${overdue('due_at')}
            ELSE ${overdue('counts_from')} END)
        LIMIT ${mostBroken}`.execute(await database('banking'));
      return evidenceOf(
        rows.map(({ id, since }) => ({ id: uuidOfBytes(id), sinceMs: new Date(since).getTime() })),
      );
    };
  },

  'bank-books-equal': ({ database }) => {
    const uncompared = microseconds(uncomparedMs);
    return async () => {
      const db = await database('banking');
      const differences = await sql<{ id: string; since: Date }>`
        SELECT transfer_id AS id, found_at AS since FROM bank_difference LIMIT ${mostBroken}`.execute(db);
      // By bank, as the index has it.
      const late = await sql<{ id: Buffer; since: Date }>`
        SELECT f.firmbanking_id AS id, f.decided_at + ${uncompared} AS since
        FROM bank_contract AS c STRAIGHT_JOIN firmbanking AS f ON f.bank = c.bank
        WHERE f.confirmed_at IS NULL AND f.decided_at < UTC_TIMESTAMP(3) - ${uncompared}
        LIMIT ${mostBroken}`.execute(db);
      const found = new Map(differences.rows.map(({ id, since }) => [id, since]));
      for (const { id, since } of late.rows)
        if (!found.has(uuidOfBytes(id))) found.set(uuidOfBytes(id), since);
      return evidenceOf([...found].map(([id, since]) => ({ id, sinceMs: new Date(since).getTime() })));
    };
  },
};
