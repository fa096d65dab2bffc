/**
 * SQL of the coupons, for MariaDB 10.11. Every time is the database's (UTC_TIMESTAMP): requests are stamped,
 * validity is judged and latencies are measured by one clock, whatever the hosts' clocks say.
 */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import type { CouponReason, OrderBy } from '../../catalog/events/coupon.ts';
import { bytesOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { transaction } from '../store/database.ts';
import { logPublished } from '../store/event-log.ts';
import { type OnceCall, once } from '../store/once.ts';
import { appendUnordered } from '../store/outbox.ts';
import { type CouponState, holderKey } from './issue.ts';
import type { NewRequest, RequestRow, RequestRows, RequestStore } from './requests.ts';

type Db = Kysely<unknown> | Transaction<unknown>;

const userBytes = (userId: string) => Buffer.from(userId, 'utf8');
const ids = (uuids: readonly string[]) => sql.join(uuids.map(bytesOfUuid));
const moment = (date: Date | null | undefined) => date?.getTime();

// ---- coupons

export interface Coupon extends CouponState {
  readonly couponId: string;
  readonly name: string;
  /** What is handled in order: the requests of each user, or all of this coupon. */
  readonly orderBy: OrderBy;
  readonly createdAtMs: number;
}

interface CouponRow {
  readonly coupon_id: string;
  readonly name: string;
  readonly stock: number;
  readonly issued: number;
  readonly valid_from: Date | null;
  readonly valid_until: Date | null;
  readonly order_by: OrderBy;
  readonly created_at: Date;
}

const couponOf = (row: CouponRow): Coupon => ({
  couponId: row.coupon_id,
  name: row.name,
  orderBy: row.order_by,
  stock: row.stock,
  issued: row.issued,
  validFromMs: moment(row.valid_from),
  validUntilMs: moment(row.valid_until),
  createdAtMs: row.created_at.getTime(),
});

/** Creates a coupon, once per call, and resolves to its id. By default the requests of each user are in order. */
export async function createCoupon(
  db: Kysely<unknown>,
  coupon: Pick<Coupon, 'name' | 'stock'> & Partial<Pick<Coupon, 'orderBy' | 'validFromMs' | 'validUntilMs'>>,
  call?: OnceCall,
): Promise<string> {
  const date = (ms: number | undefined) => (ms === undefined ? null : new Date(ms));
  return transaction(db, (trx) =>
    once(trx, call, async () => {
      const couponId = uuidV7(Date.now());
      await sql`
        INSERT INTO coupon (coupon_id, name, stock, order_by, valid_from, valid_until, created_at)
        VALUES (${couponId}, ${coupon.name}, ${coupon.stock}, ${coupon.orderBy ?? 'user'}, ${date(coupon.validFromMs)}, ${date(coupon.validUntilMs)},
          UTC_TIMESTAMP(3))`.execute(trx);
      return couponId;
    }),
  );
}

export async function findCoupon(db: Db, couponId: string): Promise<Coupon | undefined> {
  const { rows } = await sql<CouponRow>`SELECT * FROM coupon WHERE coupon_id = ${couponId}`.execute(db);
  return rows[0] && couponOf(rows[0]);
}

async function findOrderBy(db: Db, couponId: string): Promise<OrderBy | undefined> {
  const { rows } = await sql<{
    order_by: OrderBy;
  }>`SELECT order_by FROM coupon WHERE coupon_id = ${couponId}`.execute(db);
  return rows[0]?.order_by;
}

/** Newest first. */
export async function listCoupons(db: Db, limit: number): Promise<readonly Coupon[]> {
  const { rows } = await sql<CouponRow>`SELECT * FROM coupon ORDER BY coupon_id DESC LIMIT ${limit}`.execute(
    db,
  );
  return rows.map(couponOf);
}

// ---- requests

interface LogRow {
  readonly request_id: Buffer;
  readonly coupon_id: string;
  readonly user_id: Buffer;
  readonly status: RequestRow['status'];
  readonly reason: CouponReason | null;
  readonly requested_at: Date;
  readonly decided_at: Date | null;
}

/**
 * The rows that requests are taken in and decided by. The truth about what is issued are the statement of takeStock() and
 * UNIQUE (coupon_id, user_id) of the history.
 */
export function requestStore(database: () => Promise<Kysely<unknown>>): RequestStore {
  return {
    transaction: async (work) => transaction(await database(), (trx) => work(rowsOf(trx))),
    findOrderBy: async (couponId) => findOrderBy(await database(), couponId),
  };
}

function rowsOf(trx: Transaction<unknown>): RequestRows {
  const insertRequests = async (requests: readonly NewRequest[], insert: RawBuilder<unknown>) => {
    const rows = requests.map(
      ({ requestId, couponId, userId, traceparent }) =>
        sql`(${bytesOfUuid(requestId)}, ${couponId}, ${userBytes(userId)}, UTC_TIMESTAMP(3), ${traceparent ?? null})`,
    );
    await sql`
      ${insert} coupon_request (request_id, coupon_id, user_id, requested_at, traceparent)
      VALUES ${sql.join(rows)}`.execute(trx);
  };

  const readCoupons = async (couponIds: readonly string[], lock: RawBuilder<unknown>) => {
    if (couponIds.length === 0) return new Map<string, Coupon>();
    const { rows } = await sql<CouponRow>`
      SELECT * FROM coupon WHERE coupon_id IN (${sql.join(couponIds)}) ORDER BY coupon_id ${lock}`.execute(
      trx,
    );
    return new Map(rows.map((row) => [row.coupon_id, couponOf(row)]));
  };

  return {
    addRequests: (requests) => insertRequests(requests, sql`INSERT INTO`),
    addMissingRequests: (requests) => insertRequests(requests, sql`INSERT IGNORE INTO`),

    async lockRequests(requestIds) {
      const { rows } = await sql<LogRow>`
        SELECT request_id, coupon_id, user_id, status, reason, requested_at, decided_at
        FROM coupon_request WHERE request_id IN (${ids(requestIds)}) ORDER BY request_id FOR UPDATE`.execute(
        trx,
      );
      return new Map(
        rows.map((row) => [
          uuidOfBytes(row.request_id),
          {
            couponId: row.coupon_id,
            userId: row.user_id.toString('utf8'),
            status: row.status,
            reason: row.reason ?? undefined,
            requestedAtMs: row.requested_at.getTime(),
            decidedAtMs: moment(row.decided_at),
          },
        ]),
      );
    },

    async settleRequests(requestIds, reason, decidedAtMs) {
      await sql`
        UPDATE coupon_request
        SET status = ${reason === undefined ? 'COMPLETED' : 'FAILED'}, reason = ${reason ?? null},
          decided_at = ${new Date(decidedAtMs)}
        WHERE request_id IN (${ids(requestIds)})`.execute(trx);
    },

    appendUnordered: (records) => appendUnordered(trx, records),

    findCoupons: (couponIds) => readCoupons(couponIds, sql``),
    lockCoupons: (couponIds) => readCoupons(couponIds, sql`FOR UPDATE`),

    async findHolders(asked) {
      const conditions = [...Map.groupBy(asked, ({ couponId }) => couponId)].map(
        ([couponId, list]) =>
          sql`(coupon_id = ${couponId} AND user_id IN (${sql.join([...new Set(list.map(({ userId }) => userId))].map(userBytes))}))`,
      );
      const { rows } = await sql<{ now: Date | null; coupon_id: string; user_id: Buffer }>`
        SELECT UTC_TIMESTAMP(3) AS now, NULL AS coupon_id, NULL AS user_id
        ${
          conditions.length === 0
            ? sql``
            : sql`UNION ALL SELECT NULL, coupon_id, user_id FROM coupon_history WHERE ${sql.join(conditions, sql` OR `)}`
        }`.execute(trx);
      const held = rows.filter(({ now }) => now === null);
      return {
        holders: new Set(
          held.map(({ coupon_id, user_id }) => holderKey(coupon_id, user_id.toString('utf8'))),
        ),
        nowMs: rows.find(({ now }) => now !== null)!.now!.getTime(),
      };
    },

    async takeStock(couponId, count) {
      const { numAffectedRows } = await sql`
        UPDATE coupon SET issued = issued + ${count}
        WHERE coupon_id = ${couponId} AND issued + ${count} <= stock`.execute(trx);
      return numAffectedRows === 1n;
    },

    async addHistory(winners) {
      const rows = winners.map(
        ({ couponHistoryId, couponId, userId, requestId, decidedAtMs }) =>
          sql`(${bytesOfUuid(couponHistoryId!)}, ${couponId}, ${userBytes(userId)}, ${bytesOfUuid(requestId)}, ${new Date(decidedAtMs)})`,
      );
      await sql`
        INSERT INTO coupon_history (coupon_history_id, coupon_id, user_id, request_id, issued_at)
        VALUES ${sql.join(rows)}`.execute(trx);
    },

    async findHistory(requestIds) {
      if (requestIds.length === 0) return new Map();
      const { rows } = await sql<{ request_id: Buffer; coupon_history_id: Buffer }>`
        SELECT request_id, coupon_history_id FROM coupon_history WHERE request_id IN (${ids(requestIds)})`.execute(
        trx,
      );
      return new Map(rows.map((row) => [uuidOfBytes(row.request_id), uuidOfBytes(row.coupon_history_id)]));
    },

    logPublished: (records) => logPublished(trx, records),
  };
}

// ---- telling

/** A request as the event log has it. */
export interface LoggedRequest {
  readonly requestId: string;
  readonly couponId: string;
  readonly status: RequestRow['status'];
  readonly reason: CouponReason | undefined;
  readonly couponHistoryId: string | undefined;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | undefined;
  readonly notifiedAtMs: number | undefined;
  readonly traceparent: string | undefined;
}

type LoggedRow = LogRow & {
  readonly notified_at: Date | null;
  readonly traceparent: Buffer | null;
  readonly coupon_history_id: Buffer | null;
};

const loggedOf = (row: LoggedRow): LoggedRequest => ({
  requestId: uuidOfBytes(row.request_id),
  couponId: row.coupon_id,
  status: row.status,
  reason: row.reason ?? undefined,
  couponHistoryId: row.coupon_history_id === null ? undefined : uuidOfBytes(row.coupon_history_id),
  requestedAtMs: row.requested_at.getTime(),
  decidedAtMs: moment(row.decided_at),
  notifiedAtMs: moment(row.notified_at),
  traceparent: row.traceparent?.toString('ascii'),
});

const logged = sql`
  SELECT r.*, h.coupon_history_id FROM coupon_request r
  LEFT JOIN coupon_history h ON h.request_id = r.request_id`;

export async function findRequest(
  db: Db,
  requestId: string,
  /** Only when it is this user's. */
  only?: string,
): Promise<LoggedRequest | undefined> {
  const whose = only === undefined ? sql`` : sql`AND r.user_id = ${userBytes(only)}`;
  const { rows } = await sql<LoggedRow>`
    ${logged} WHERE r.request_id = ${bytesOfUuid(requestId)} ${whose}`.execute(db);
  return rows[0] && loggedOf(rows[0]);
}

/** A user's newest requests; with `notified` only those that are, or are not, acknowledged. */
export async function requestsOfUser(
  db: Db,
  userId: string,
  options: { readonly notified: boolean | undefined; readonly limit: number },
): Promise<readonly LoggedRequest[]> {
  const { notified, limit } = options;
  const which =
    notified === undefined
      ? sql``
      : notified
        ? sql`AND r.status = 'NOTIFIED'`
        : sql`AND r.status <> 'NOTIFIED'`;
  const { rows } = await sql<LoggedRow>`
    ${logged} WHERE r.user_id = ${userBytes(userId)} ${which}
    ORDER BY r.request_id DESC LIMIT ${limit}`.execute(db);
  return rows.map(loggedOf);
}

/**
 * A user's outcomes that a client has not seen, in the order of their decisions, at most the newest `limit`: all that no
 * client has acknowledged, and those decided after the one it saw last (another client may have acknowledged them).
 * Undefined `after` (or one that is not this user's): only the former.
 */
export async function missedOutcomes(
  db: Db,
  userId: string,
  after: string | undefined,
  limit: number,
): Promise<readonly LoggedRequest[]> {
  const last = after === undefined ? null : bytesOfUuid(after);
  const { rows } = await sql<LoggedRow>`
    ${logged}
    LEFT JOIN coupon_request seen ON seen.request_id = ${last} AND seen.user_id = r.user_id
    WHERE r.user_id = ${userBytes(userId)} AND r.status <> 'PENDING'
      AND (r.status <> 'NOTIFIED' OR r.decided_at > seen.decided_at
        OR (r.decided_at = seen.decided_at AND r.request_id > seen.request_id))
    ORDER BY r.decided_at DESC, r.request_id DESC LIMIT ${limit}`.execute(db);
  return rows.map(loggedOf).reverse();
}

export interface Acknowledgement {
  readonly userId: string;
  readonly requestIds: readonly string[];
}

/** Notes that users have these outcomes, each only its own; what was noted before keeps its time. */
export async function markNotified(db: Db, acknowledgements: readonly Acknowledgement[]): Promise<void> {
  const theirs = acknowledgements
    .filter(({ requestIds }) => requestIds.length > 0)
    .map(
      ({ userId, requestIds }) =>
        sql`(user_id = ${userBytes(userId)} AND request_id IN (${ids([...requestIds].sort())}))`,
    );
  if (theirs.length === 0) return;
  await sql`
    UPDATE coupon_request SET status = 'NOTIFIED', notified_at = UTC_TIMESTAMP(3)
    WHERE status IN ('COMPLETED', 'FAILED') AND (${sql.join(theirs, sql` OR `)})`.execute(db);
}

// ---- checking

export interface Reconciliation {
  readonly stock: number;
  /** The counter that the stock condition guards. */
  readonly issued: number;
  /** Coupons that people hold. */
  readonly historyRows: number;
  /** People who hold it more than once. */
  readonly usersTwice: number;
  readonly requests: number;
  /** Requests without an outcome. */
  readonly pending: number;
  /** Requests whose outcome is SUCCESS, and those of them without a coupon in the history. */
  readonly succeeded: number;
  readonly succeededWithoutCoupon: number;
  readonly failed: Readonly<Partial<Record<CouponReason, number>>>;
}

/** Everything the store says about one coupon, counted row by row: for tests, benchmarks and people in doubt. */
export async function reconcile(db: Db, couponId: string): Promise<Reconciliation> {
  const { rows } = await sql<{ stock: number; issued: number; held: number; people: number }>`
    SELECT c.stock, c.issued, COUNT(h.user_id) AS held, COUNT(DISTINCT h.user_id) AS people
    FROM coupon c LEFT JOIN coupon_history h ON h.coupon_id = c.coupon_id
    WHERE c.coupon_id = ${couponId} GROUP BY c.coupon_id, c.stock, c.issued`.execute(db);
  const coupon = rows[0];
  const log = await sql<{ decided: number; reason: CouponReason | null; requests: number; bare: number }>`
    SELECT r.status <> 'PENDING' AS decided, r.reason, COUNT(*) AS requests, COUNT(*) - COUNT(h.request_id) AS bare
    FROM coupon_request r LEFT JOIN coupon_history h ON h.request_id = r.request_id AND h.user_id = r.user_id
    WHERE r.coupon_id = ${couponId} GROUP BY r.status <> 'PENDING', r.reason`.execute(db);
  const sum = (list: typeof log.rows) => list.reduce((total, row) => total + Number(row.requests), 0);
  const decided = log.rows.filter((row) => Number(row.decided) === 1);
  const succeeded = decided.filter(({ reason }) => reason === null);
  return {
    stock: coupon?.stock ?? 0,
    issued: coupon?.issued ?? 0,
    historyRows: Number(coupon?.held ?? 0),
    usersTwice: Number(coupon?.held ?? 0) - Number(coupon?.people ?? 0),
    requests: sum(log.rows),
    pending: sum(log.rows.filter((row) => Number(row.decided) === 0)),
    succeeded: sum(succeeded),
    succeededWithoutCoupon: succeeded.reduce((total, row) => total + Number(row.bare), 0),
    failed: Object.fromEntries(
      decided.filter(({ reason }) => reason !== null).map((row) => [row.reason!, Number(row.requests)]),
    ),
  };
}
