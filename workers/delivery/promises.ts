/** What food delivery promises, checked in its database by questions of its own. */
import { type Kysely, sql } from 'kysely';
import { uuidOfBytes } from '../base/ids.ts';
import { type Check, type CheckDeps, type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';
import { databaseNowMs } from '../store/database.ts';

export const deliveryChecks: ChecksOf<'delivery'> = {
  'deliveries-ended': ({ database }, { limitMs }) => {
    return async () => {
      const limit = sql`INTERVAL ${limitMs * 1_000} MICROSECOND`;
      const { rows } = await sql<{ id: Buffer; since: Date }>`
        SELECT order_id AS id, changed_at + ${limit} AS since FROM delivery_order
        WHERE state IN ('CALLED', 'ASSIGNED', 'DELIVERING') AND changed_at < UTC_TIMESTAMP(3) - ${limit}
        LIMIT ${mostBroken}`.execute(await database('delivery'));
      return evidenceOf(rows.map(({ id, since }) => ({ id: uuidOfBytes(id), sinceMs: since.getTime() })));
    };
  },

  'riders-one-place': ({ database }) => {
    return async () => {
      const { rows } = await sql<{ id: string }>`
        SELECT rider AS id FROM delivery_rider r WHERE order_id IS NOT NULL AND NOT EXISTS (
          SELECT 1 FROM delivery_order o
          WHERE o.order_id = r.order_id AND o.rider = r.rider AND o.state IN ('ASSIGNED', 'DELIVERING'))
        UNION ALL
        SELECT rider FROM delivery_order o WHERE state IN ('ASSIGNED', 'DELIVERING') AND NOT EXISTS (
          SELECT 1 FROM delivery_rider r WHERE r.order_id = o.order_id AND r.rider = o.rider)
        LIMIT ${mostBroken}`.execute(await database('delivery'));
      return evidenceOf(rows);
    };
  },

  'changes-notified': ({ database }, { limitMs }) => unnotifiedLook(database, limitMs),
};

/** Changes of so long before the start are looked at, too. */
const lookBackMs = 3_600_000;

interface Change {
  readonly order_id: Buffer;
  readonly version: number;
  readonly changed_at: Date;
}

/** Every change is told its customer: those that are old enough since the last look, and what was wrong until it is right. */
function unnotifiedLook(database: CheckDeps['database'], limitMs: number): Check {
  let fromMs: number | undefined;
  let wrong: readonly Change[] = [];
  return async () => {
    const db = await database('delivery');
    const untilMs = (await databaseNowMs(db)) - limitMs;
    fromMs ??= untilMs - lookBackMs;
    const these = wrong.map(
      ({ order_id, version }) => sql`(c.order_id = ${order_id} AND c.version = ${version})`,
    );
    const still = these.length === 0 ? [] : await unnotified(db, sql.join(these, sql` OR `));
    const found = await unnotified(
      db,
      sql`c.changed_at > ${new Date(fromMs)} AND c.changed_at <= ${new Date(untilMs)}`,
    );
    wrong = [...still, ...found].slice(0, mostBroken);
    fromMs = untilMs;
    return evidenceOf(
      wrong.map(({ order_id, version, changed_at }) => ({
        id: `${uuidOfBytes(order_id)}-${version}`,
        sinceMs: changed_at.getTime() + limitMs,
      })),
    );
  };
}

async function unnotified(db: Kysely<unknown>, which: ReturnType<typeof sql>): Promise<readonly Change[]> {
  const { rows } = await sql<Change>`
    SELECT c.order_id, c.version, c.changed_at FROM delivery_change c
    WHERE (${which}) AND NOT EXISTS (
      SELECT 1 FROM delivery_notification n
      WHERE n.order_id = c.order_id AND n.version = c.version AND n.role = 'customer')
    LIMIT ${mostBroken}`.execute(db);
  return rows;
}
