/** Sagas that take too long, for the checks of what is promised. */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { uuidOfBytes } from '../base/ids.ts';

/**
 * Rows that are open for longer than the limit. Who waits for a bank that is known to be down was told so, and is excused as
 * long as somebody looks again and again.
 */
export async function overdueSagas(
  db: Kysely<unknown>,
  {
    table,
    id,
    waitsFor,
    open,
    limitMs,
    most,
  }: {
    readonly table: string;
    /** Columns: the key, and what it waits for. */
    readonly id: string;
    readonly waitsFor: string;
    readonly open: readonly string[];
    readonly limitMs: number;
    readonly most: number;
  },
): Promise<readonly { readonly id: string; readonly sinceMs: number }[]> {
  const limit = sql`INTERVAL ${limitMs * 1_000} MICROSECOND`;
  const overdue = (column: string): RawBuilder<unknown> =>
    sql`${sql.ref(column)} < UTC_TIMESTAMP(3) - ${limit}`;
  const { rows } = await sql<{ id: Buffer; since: Date }>`
    SELECT ${sql.ref(id)} AS id, counts_from + ${limit} AS since FROM ${sql.table(table)}
    WHERE state IN (${sql.join([...open])})
      AND (CASE WHEN ${sql.ref(waitsFor)} = 'BANK_DOWN' THEN ${overdue('due_at')} ELSE ${overdue('counts_from')} END)
    LIMIT ${most}`.execute(db);
  return rows.map((row) => ({ id: uuidOfBytes(row.id), sinceMs: new Date(row.since).getTime() }));
}
