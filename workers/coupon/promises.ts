/** What coupons promise, checked in the database and on the topics of results, by questions of its own. */
import { type Kysely, sql } from 'kysely';
import { topics } from '../../catalog/topics.ts';
import { bytesOfUuid, uuidOfBytes, uuidV7Floor } from '../base/ids.ts';
import { headerText } from '../kafka/records.ts';
import { arrived } from '../platform/arrived.ts';
import { type Check, type CheckDeps, type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';
import { sweep } from '../store/sweep.ts';

const keyAt = (ms: number) => bytesOfUuid(uuidV7Floor(ms));
/** Younger than retention makes them: a row that is missing beside an older one may have been deleted. */
const keptDays = 80;

export const couponChecks: ChecksOf<'coupon'> = {
  'coupon-requests-decided': ({ database }, { limitMs }) => {
    return async () => {
      const { rows } = await sql<{ id: Buffer; since: Date }>`
        SELECT request_id AS id, requested_at + INTERVAL ${limitMs * 1_000} MICROSECOND AS since FROM coupon_request
        WHERE status = 'PENDING' AND requested_at < UTC_TIMESTAMP(3) - INTERVAL ${limitMs * 1_000} MICROSECOND
        ORDER BY requested_at LIMIT ${mostBroken}`.execute(await database());
      return evidenceOf(
        rows.map(({ id, since }) => ({ id: uuidOfBytes(id), sinceMs: new Date(since).getTime() })),
      );
    };
  },

  'coupon-stock-kept': ({ database }) => {
    const look = stockLook();
    return async () => evidenceOf((await look(await database())).map((id) => ({ id })));
  },

  'coupon-success-held': ({ database }, { limitMs }) => {
    const common = { keyAt, idOf: uuidOfBytes, judgedAfterMs: limitMs };
    const told = sweep<Buffer>({
      ...common,
      table: 'coupon_request',
      key: 'request_id',
      wrong: (among) => sql`
        SELECT r.request_id AS id FROM (SELECT * FROM coupon_request WHERE ${among}) AS r
        LEFT JOIN coupon_history h ON h.request_id = r.request_id
        WHERE r.status IN ('COMPLETED', 'NOTIFIED') AND r.reason IS NULL
          AND (h.request_id IS NULL OR h.coupon_id <> r.coupon_id OR h.user_id <> r.user_id)`,
    });
    const held = sweep<Buffer>({
      ...common,
      table: 'coupon_history',
      key: 'coupon_history_id',
      wrong: (among) => sql`
        SELECT h.coupon_history_id AS id FROM (SELECT * FROM coupon_history WHERE ${among}) AS h
        LEFT JOIN coupon_request r ON r.request_id = h.request_id
        WHERE (r.request_id IS NULL AND h.issued_at > UTC_TIMESTAMP(3) - INTERVAL ${keptDays} DAY)
          OR r.status IN ('PENDING', 'FAILED') OR r.reason IS NOT NULL`,
    });
    return async () => {
      const db = await database();
      const requests = await told(db);
      const histories = await held(db);
      return evidenceOf([
        ...requests.map((id) => ({ id })),
        ...histories.map((id) => ({ id: `coupon_history ${id}` })),
      ]);
    };
  },

  'coupon-outcomes-told': (deps, { limitMs }) => outcomesTold(deps, limitMs),
};

/** Rows of the history that are counted in one look: an index range each, some 30 ms in all. */
const countedAtOnce = 100_000;
const newest = 20;
const couponsAtOnce = 100;

/** Counts the newest coupons each time and the others round and round; one with many holders the less often. */
function stockLook(): (db: Kysely<unknown>) => Promise<readonly string[]> {
  let looks = 0;
  let after = '';
  const wrong = new Set<string>();
  /** The look in which a coupon with many holders comes again. */
  const again = new Map<string, number>();
  return async (db) => {
    looks += 1;
    const { rows } = await sql<{ id: string; issued: number; part: number }>`
      (SELECT coupon_id AS id, issued, 1 AS part FROM coupon ORDER BY coupon_id DESC LIMIT ${newest})
      UNION ALL
      (SELECT coupon_id, issued, 2 FROM coupon WHERE coupon_id > ${after}
       ORDER BY coupon_id LIMIT ${couponsAtOnce})
      ORDER BY part, id`.execute(db);
    const chosen = new Set(wrong);
    let room = countedAtOnce;
    let last: string | undefined;
    for (const { id, issued, part } of rows) {
      if (room <= 0) break;
      if (Number(part) === 2) last = id;
      if ((again.get(id) ?? 0) > looks) continue;
      room -= issued;
      chosen.add(id);
      if (issued > countedAtOnce / 4) again.set(id, looks + Math.ceil((4 * issued) / countedAtOnce));
      else again.delete(id);
    }
    // The newest come each time: behind them the round begins anew.
    after = last === undefined || (room > 0 && rows.length < newest + couponsAtOnce) ? '' : last;
    if (chosen.size === 0) return [];
    // One statement, one view of the data: what commits meanwhile is in both or in neither.
    const counted = await sql<{ id: string }>`
      SELECT c.coupon_id AS id FROM coupon c WHERE c.coupon_id IN (${sql.join([...chosen])})
        AND (c.issued > c.stock
          OR c.issued <> (SELECT COUNT(*) FROM coupon_history h WHERE h.coupon_id = c.coupon_id))`.execute(
      db,
    );
    wrong.clear();
    for (const { id } of counted.rows) wrong.add(id);
    return [...wrong];
  };
}

/** Each request that is decided when its limit comes; one that is decided later (an outage) is not looked at. */
export function outcomesTold(
  { database, kafka }: Pick<CheckDeps, 'database' | 'kafka'>,
  limitMs: number,
  on = [topics.couponResults.name, topics.couponIssueSucceeded.name, topics.couponIssueFailed.name],
): Check {
  return arrived({
    kafka,
    limitMs,
    topics: on,
    idOf: (record) => headerText(record, 'ce_id'),
    async expected(fromMs, toMs) {
      const { rows } = await sql<{ id: Buffer }>`
        SELECT request_id AS id FROM coupon_request
        WHERE request_id >= ${keyAt(fromMs)} AND request_id < ${keyAt(toMs)} AND status <> 'PENDING'`.execute(
        await database(),
      );
      return rows.map(({ id }) => uuidOfBytes(id));
    },
  });
}
