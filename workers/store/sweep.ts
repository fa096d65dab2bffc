/**
 * Goes through a table whose rows cannot all be looked at each time, by a key that sorts by time (a UUID version 7): new rows
 * once each when they are old enough to be judged, all older ones round and round, some at a time, and whatever was found
 * wrong each time until it is right. So what breaks now is seen at once, and what was changed long ago by the end of a round.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely';

interface SweptTable<Key> {
  /** Its name, and that of its primary key's column. */
  readonly table: string;
  readonly key: string;
  /** Below all keys of that time and later, above those of before. */
  keyAt(ms: number): Key;
  idOf(key: Key): string;
  /** How long after it was made a row can be judged. */
  readonly judgedAfterMs: number;
  /** A query that answers the column `id` (the key) of rows that are wrong among those of the condition. */
  wrong(among: RawBuilder<unknown>): RawBuilder<{ readonly id: Key }>;
  /** Rows of one look: new ones, and of the round. Default 20,000 and 2000. */
  readonly freshRows?: number;
  readonly roundRows?: number;
}

/** How far back it begins with new rows. */
const beginBeforeMs = 30_000;
/** What is found wrong again and again is remembered up to here. */
const mostFound = 1_000;

/**
 * A look, to be called from time to time; resolves to the ids that are wrong now, as far as is known. Rejects while it
 * cannot keep up with new rows.
 */
export function sweep<Key extends Buffer | string>(
  options: SweptTable<Key>,
): (db: Kysely<unknown>, nowMs?: number) => Promise<readonly string[]> {
  const { table, key, keyAt, idOf, wrong, freshRows = 20_000, roundRows = 2_000 } = options;
  const column = sql.ref(key);
  const found = new Map<string, Key>();
  let fresh: Key | undefined;
  let round: Key | undefined;

  /** Looks at the next rows after `after`, up to `upTo`; resolves to where it ended. */
  async function page(db: Kysely<unknown>, after: Key | undefined, upTo: Key, rows: number): Promise<Key> {
    const within = (end: Key) =>
      after === undefined ? sql`${column} <= ${end}` : sql`${column} > ${after} AND ${column} <= ${end}`;
    const last = await sql<{ id: Key }>`
      SELECT ${column} AS id FROM ${sql.table(table)} WHERE ${within(upTo)}
      ORDER BY ${column} LIMIT 1 OFFSET ${rows - 1}`.execute(db);
    const end = last.rows[0]?.id ?? upTo;
    const bad = await wrong(within(end)).execute(db);
    for (const { id } of bad.rows) if (found.size < mostFound) found.set(idOf(id), id);
    return end;
  }

  return async (db, nowMs = Date.now()) => {
    if (found.size > 0) {
      const again = await wrong(sql`${column} IN (${sql.join([...found.values()])})`).execute(db);
      found.clear();
      for (const { id } of again.rows) found.set(idOf(id), id);
    }
    const upTo = keyAt(nowMs - options.judgedAfterMs);
    fresh ??= keyAt(nowMs - options.judgedAfterMs - beginBeforeMs);
    const before = fresh;
    fresh = await page(db, fresh, upTo, freshRows);
    const end = await page(db, round, before, roundRows);
    // At the end of what is old it begins again.
    round = same(end, before) ? undefined : end;
    if (!same(fresh, upTo)) throw new Error('it is behind: there are more new rows than it may look at');
    return [...found.keys()];
  };
}

const same = (a: Buffer | string, b: Buffer | string) =>
  typeof a === 'string' || typeof b === 'string' ? a === b : a.equals(b);
