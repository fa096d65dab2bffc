/** What was told to whom, of a table whose rows end: for streams that tell until it is acknowledged. */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';

/** A table of ours with the columns `state` (DONE, FAILED), `decided_at` and `notified_at`. */
export interface LetterTable {
  readonly table: string;
  /** Its key, a UUID; and whose it is. */
  readonly id: string;
  readonly address: string;
}

const ended = sql`state IN ('DONE', 'FAILED')`;

/**
 * Ids of what has ended and is not acknowledged, oldest first, and with `after` what ended after that, too; the newest `most`.
 */
export async function unreadIds(
  db: Kysely<unknown>,
  { table, id, address }: LetterTable,
  whose: string,
  after: string | undefined,
  most: number,
): Promise<readonly string[]> {
  const [key, owner] = [sql.ref(`r.${id}`), sql.ref(`r.${address}`)];
  const since: RawBuilder<unknown> =
    after === undefined
      ? sql`FALSE`
      : sql`r.decided_at > (SELECT seen.decided_at FROM ${sql.table(table)} AS seen
          WHERE ${sql.ref(`seen.${id}`)} = ${bytesOfUuid(after)} AND ${sql.ref(`seen.${address}`)} = ${whose})`;
  const { rows } = await sql<{ id: Buffer }>`
    SELECT ${key} AS id FROM ${sql.table(table)} AS r
    WHERE ${owner} = ${whose} AND r.state IN ('DONE', 'FAILED') AND (r.notified_at IS NULL OR ${since})
    ORDER BY r.decided_at DESC, ${key} DESC LIMIT ${most}`.execute(db);
  return rows.map((row) => uuidOfBytes(row.id)).reverse();
}

/** Notes that these were acknowledged, each only by whose it is; what was noted before keeps its time. */
export async function markRead(
  db: Kysely<unknown>,
  { table, id, address }: LetterTable,
  all: readonly { readonly address: string; readonly ids: readonly string[] }[],
): Promise<void> {
  const theirs = all
    .filter(({ ids }) => ids.length > 0)
    .map(
      (one) =>
        sql`(${sql.ref(address)} = ${one.address} AND ${sql.ref(id)} IN (${sql.join([...one.ids].sort().map(bytesOfUuid))}))`,
    );
  if (theirs.length === 0) return;
  await sql`
    UPDATE ${sql.table(table)} SET notified_at = UTC_TIMESTAMP(3)
    WHERE ${ended} AND notified_at IS NULL AND (${sql.join(theirs, sql` OR `)})`.execute(db);
}
