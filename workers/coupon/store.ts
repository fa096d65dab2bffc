/**
 * SQL of the coupons: MySQL 8.4 and MariaDB 10.11. Every time is the database's (UTC_TIMESTAMP): requests are stamped,
 * validity is judged and latencies are measured by one clock, whatever the hosts' clocks say.
 */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import type { CouponReason, CouponRequest } from '../../catalog/events/coupon.ts';
import { transaction } from '../platform/database.ts';
import { MusterError } from '../platform/errors.ts';
import { uuidV7 } from '../platform/ids.ts';
import { type CouponState, decide, holderKey } from './issue.ts';

type Db = Kysely<unknown> | Transaction<unknown>;

const bytesOf = (uuid: string) => Buffer.from(uuid.replaceAll('-', ''), 'hex');

function uuidOfBytes(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const userBytes = (userId: string) => Buffer.from(userId, 'utf8');
const ids = (uuids: readonly string[]) => sql.join(uuids.map(bytesOf));
const moment = (date: Date | null | undefined) => date?.getTime();

// ---- coupons

export interface Coupon extends CouponState {
  readonly couponId: string;
  readonly name: string;
  readonly createdAtMs: number;
}

interface CouponRow {
  readonly coupon_id: string;
  readonly name: string;
  readonly stock: number;
  readonly issued: number;
  readonly valid_from: Date | null;
  readonly valid_until: Date | null;
  readonly created_at: Date;
}

const couponOf = (row: CouponRow): Coupon => ({
  couponId: row.coupon_id,
  name: row.name,
  stock: row.stock,
  issued: row.issued,
  validFromMs: moment(row.valid_from),
  validUntilMs: moment(row.valid_until),
  createdAtMs: row.created_at.getTime(),
});

/** Creates a coupon and resolves to its id. */
export async function createCoupon(
  db: Db,
  coupon: Pick<Coupon, 'name' | 'stock'> & Partial<Pick<Coupon, 'validFromMs' | 'validUntilMs'>>,
): Promise<string> {
  const couponId = uuidV7(Date.now());
  const date = (ms: number | undefined) => (ms === undefined ? null : new Date(ms));
  await sql`
    INSERT INTO coupon (coupon_id, name, stock, valid_from, valid_until, created_at)
    VALUES (${couponId}, ${coupon.name}, ${coupon.stock}, ${date(coupon.validFromMs)}, ${date(coupon.validUntilMs)},
      UTC_TIMESTAMP(3))`.execute(db);
  return couponId;
}

export async function findCoupon(db: Db, couponId: string): Promise<Coupon | undefined> {
  const { rows } = await sql<CouponRow>`SELECT * FROM coupon WHERE coupon_id = ${couponId}`.execute(db);
  return rows[0] && couponOf(rows[0]);
}

/** Newest first. */
export async function listCoupons(db: Db, limit: number): Promise<readonly Coupon[]> {
  const { rows } = await sql<CouponRow>`SELECT * FROM coupon ORDER BY coupon_id DESC LIMIT ${limit}`.execute(
    db,
  );
  return rows.map(couponOf);
}

/**
 * Stock and issue of the newest coupons, for the gauges. Issued is the higher of the counter and of the coupons that
 * people hold: should the two ever differ, the alert must see it.
 */
export async function stockLevels(
  db: Db,
  limit: number,
): Promise<readonly { readonly couponId: string; readonly stock: number; readonly issued: number }[]> {
  const { rows } = await sql<{ coupon_id: string; stock: number; issued: number; held: number }>`
    SELECT c.coupon_id, c.stock, c.issued,
      (SELECT COUNT(*) FROM coupon_history h WHERE h.coupon_id = c.coupon_id) AS held
    FROM coupon c ORDER BY c.coupon_id DESC LIMIT ${limit}`.execute(db);
  return rows.map(({ coupon_id, stock, issued, held }) => ({
    couponId: coupon_id,
    stock,
    issued: Math.max(issued, Number(held)),
  }));
}

// ---- taking requests in

export interface NewRequest extends CouponRequest {
  readonly traceparent: string | undefined;
}

export interface RequestBatch {
  readonly batchId: string;
  readonly requests: readonly NewRequest[];
}

/** Makes the requests durable (PENDING), and with them the note that they are still to be published. */
export async function acceptRequests(
  db: Kysely<unknown>,
  { batchId, requests }: RequestBatch,
): Promise<void> {
  const note = JSON.stringify(
    requests.map(({ requestId, userId, couponId, traceparent }) => [
      requestId,
      userId,
      couponId,
      traceparent ?? null,
    ]),
  );
  await transaction(db, async (trx) => {
    await insertRequests(trx, requests, sql`INSERT INTO`);
    await sql`
      INSERT INTO coupon_unpublished (batch_id, requests, created_at)
      VALUES (${bytesOf(batchId)}, ${Buffer.from(note)}, UTC_TIMESTAMP(3))`.execute(trx);
  });
}

async function insertRequests(
  db: Db,
  requests: readonly NewRequest[],
  insert: RawBuilder<unknown>,
): Promise<void> {
  const rows = requests.map(
    ({ requestId, couponId, userId, traceparent }) =>
      sql`(${bytesOf(requestId)}, ${couponId}, ${userBytes(userId)}, UTC_TIMESTAMP(3), ${traceparent ?? null})`,
  );
  await sql`
    ${insert} coupon_request (request_id, coupon_id, user_id, requested_at, traceparent)
    VALUES ${sql.join(rows)}`.execute(db);
}

/** Kafka has acked these batches. */
export async function forgetPublished(db: Db, batchIds: readonly string[]): Promise<void> {
  if (batchIds.length === 0) return;
  await sql`DELETE FROM coupon_unpublished WHERE batch_id IN (${ids(batchIds)})`.execute(db);
}

/**
 * Publishes batches that are older than `olderThanMs`, whoever took them in, oldest first; `publish` rejects: they stay.
 * Several replicas at once share the work. Resolves to how many went out.
 */
export async function publishForgotten(
  db: Kysely<unknown>,
  options: { readonly olderThanMs: number; readonly limit: number },
  publish: (batch: RequestBatch) => Promise<void>,
): Promise<number> {
  return transaction(db, async (trx) => {
    const { rows } = await sql<{ batch_id: Buffer; requests: Buffer }>`
      SELECT batch_id, requests FROM coupon_unpublished
      WHERE created_at < UTC_TIMESTAMP(3) - INTERVAL ${options.olderThanMs * 1_000} MICROSECOND
      ORDER BY batch_id LIMIT ${options.limit} FOR UPDATE SKIP LOCKED`.execute(trx);
    const batches = rows.map(({ batch_id, requests }) => ({
      batchId: uuidOfBytes(batch_id),
      requests: (JSON.parse(requests.toString('utf8')) as [string, string, string, string | null][]).map(
        ([requestId, userId, couponId, traceparent]) => ({
          requestId,
          userId,
          couponId,
          traceparent: traceparent ?? undefined,
        }),
      ),
    }));
    for (const batch of batches) await publish(batch);
    await forgetPublished(
      trx,
      batches.map(({ batchId }) => batchId),
    );
    return batches.length;
  });
}

/** Batches that are not known to be published: how many, and the age of the oldest in seconds (0: there is none). */
export async function countUnpublished(
  db: Db,
): Promise<{ readonly batches: number; readonly oldestSeconds: number }> {
  const { rows } = await sql<{ batches: number; age: number | string | null }>`
    SELECT COUNT(*) AS batches, TIMESTAMPDIFF(MICROSECOND, MIN(created_at), UTC_TIMESTAMP(3)) / 1000000 AS age
    FROM coupon_unpublished`.execute(db);
  return { batches: Number(rows[0]!.batches), oldestSeconds: Math.max(0, Number(rows[0]!.age ?? 0)) };
}

// ---- deciding

export interface Decided extends CouponRequest {
  /** False: this was decided before, and is only told again. */
  readonly first: boolean;
  readonly reason: CouponReason | undefined;
  /** Set exactly when the outcome is SUCCESS. */
  readonly couponHistoryId: string | undefined;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number;
}

interface RequestRow {
  readonly request_id: Buffer;
  readonly coupon_id: string;
  readonly user_id: Buffer;
  readonly status: 'PENDING' | 'COMPLETED' | 'FAILED' | 'NOTIFIED';
  readonly reason: CouponReason | null;
  readonly requested_at: Date;
  readonly decided_at: Date | null;
}

/**
 * Decides requests in the order given, all in one transaction: coupons handed out, stock counted and event log moved on
 * commit together. The event log row is the inbox: what is not PENDING any more was decided before, and its outcome is told
 * again without an effect. A request that the log does not know (a foreign producer's) is taken in here.
 *
 * The truth are `UPDATE ... WHERE issued + n <= stock` and UNIQUE (coupon_id, user_id); the row lock on a coupon only puts
 * those who compete for it in a queue. A coupon that is sold out stays so: it is not locked any more.
 *
 * Throws MUSTER_DUPLICATE_ID_OTHER_BODY when a request id is known with another user or coupon.
 */
export async function decideRequests(
  db: Kysely<unknown>,
  requests: readonly NewRequest[],
): Promise<readonly Decided[]> {
  const wanted = new Map(requests.map((request) => [request.requestId, request]));
  return transaction(db, async (trx) => {
    const rows = await lockRequests(trx, wanted);
    for (const { requestId, userId, couponId } of requests) {
      const row = rows.get(requestId)!;
      if (row.coupon_id !== couponId || !row.user_id.equals(userBytes(userId)))
        throw new MusterError(
          'MUSTER_DUPLICATE_ID_OTHER_BODY',
          'this request id was used before for another user or coupon; a new request needs a new id',
        );
    }
    const distinct = [...wanted.values()];
    const pending = distinct.filter(({ requestId }) => rows.get(requestId)!.status === 'PENDING');
    const fresh = await decidePending(trx, pending, rows);
    const before = await toldBefore(
      trx,
      distinct.filter(({ requestId }) => rows.get(requestId)!.status !== 'PENDING'),
      rows,
    );
    const decided = new Map([...fresh, ...before].map((each) => [each.requestId, each]));
    return distinct.map(({ requestId }) => decided.get(requestId)!);
  });
}

/** The event log's rows of the requests, locked; a missing one is added. */
async function lockRequests(
  trx: Transaction<unknown>,
  wanted: ReadonlyMap<string, NewRequest>,
): Promise<ReadonlyMap<string, RequestRow>> {
  const read = async () => {
    const { rows } = await sql<RequestRow>`
      SELECT request_id, coupon_id, user_id, status, reason, requested_at, decided_at
      FROM coupon_request WHERE request_id IN (${ids([...wanted.keys()])}) ORDER BY request_id FOR UPDATE`.execute(
      trx,
    );
    return new Map(rows.map((row) => [uuidOfBytes(row.request_id), row]));
  };
  const found = await read();
  const missing = [...wanted.values()].filter(({ requestId }) => !found.has(requestId));
  if (missing.length === 0) return found;
  // IGNORE: another handler may add the same one just now; its row counts.
  await insertRequests(trx, missing, sql`INSERT IGNORE INTO`);
  return read();
}

async function decidePending(
  trx: Transaction<unknown>,
  pending: readonly NewRequest[],
  rows: ReadonlyMap<string, RequestRow>,
): Promise<readonly Decided[]> {
  if (pending.length === 0) return [];
  const asked = pending.map((request) => ({
    ...request,
    requestedAtMs: rows.get(request.requestId)!.requested_at.getTime(),
  }));
  const coupons = await lockCoupons(trx, [...new Set(asked.map(({ couponId }) => couponId))]);
  const holders = await findHolders(
    trx,
    asked.filter(({ couponId }) => coupons.has(couponId)),
  );
  const decisions = decide(asked, coupons, holders);
  const { rows: clock } = await sql<{ now: Date }>`SELECT UTC_TIMESTAMP(3) AS now`.execute(trx);
  const now = clock[0]!.now;
  const decided = asked.map((request, index): Decided => {
    const decision = decisions[index]!;
    const { requestId, userId, couponId, requestedAtMs } = request;
    return {
      requestId,
      userId,
      couponId,
      first: true,
      reason: decision.outcome === 'FAILED' ? decision.reason : undefined,
      couponHistoryId: decision.outcome === 'SUCCESS' ? uuidV7(now.getTime()) : undefined,
      requestedAtMs,
      decidedAtMs: now.getTime(),
    };
  });
  await handOut(
    trx,
    decided.filter(({ couponHistoryId }) => couponHistoryId !== undefined),
    now,
  );
  for (const [reason, list] of Map.groupBy(decided, (each) => each.reason)) {
    await sql`
      UPDATE coupon_request
      SET status = ${reason === undefined ? 'COMPLETED' : 'FAILED'}, reason = ${reason ?? null}, decided_at = ${now}
      WHERE request_id IN (${ids(list.map(({ requestId }) => requestId))})`.execute(trx);
  }
  return decided;
}

async function lockCoupons(
  trx: Transaction<unknown>,
  couponIds: readonly string[],
): Promise<ReadonlyMap<string, CouponState>> {
  const read = async (wanted: readonly string[], forUpdate: boolean) => {
    if (wanted.length === 0) return [];
    const { rows } = await sql<CouponRow>`
      SELECT * FROM coupon WHERE coupon_id IN (${sql.join(wanted)})
      ORDER BY coupon_id ${forUpdate ? sql`FOR UPDATE` : sql``}`.execute(trx);
    return rows.map(couponOf);
  };
  const seen = await read(couponIds, false);
  const open = seen.filter(({ stock, issued }) => issued < stock).map(({ couponId }) => couponId);
  const locked = await read(open, true);
  return new Map([...seen, ...locked].map((coupon) => [coupon.couponId, coupon]));
}

/** holderKey() of those of the asked coupons that their users hold. */
async function findHolders(
  trx: Transaction<unknown>,
  asked: readonly { readonly couponId: string; readonly userId: string }[],
): Promise<ReadonlySet<string>> {
  if (asked.length === 0) return new Set();
  const conditions = [...Map.groupBy(asked, ({ couponId }) => couponId)].map(
    ([couponId, list]) =>
      sql`(coupon_id = ${couponId} AND user_id IN (${sql.join([...new Set(list.map(({ userId }) => userId))].map(userBytes))}))`,
  );
  const { rows } = await sql<{ coupon_id: string; user_id: Buffer }>`
    SELECT coupon_id, user_id FROM coupon_history WHERE ${sql.join(conditions, sql` OR `)}`.execute(trx);
  return new Set(rows.map(({ coupon_id, user_id }) => holderKey(coupon_id, user_id.toString('utf8'))));
}

async function handOut(trx: Transaction<unknown>, winners: readonly Decided[], now: Date): Promise<void> {
  if (winners.length === 0) return;
  for (const [couponId, list] of Map.groupBy(winners, (winner) => winner.couponId)) {
    const { numAffectedRows } = await sql`
      UPDATE coupon SET issued = issued + ${list.length}
      WHERE coupon_id = ${couponId} AND issued + ${list.length} <= stock`.execute(trx);
    if (numAffectedRows !== 1n)
      throw new MusterError('MUSTER_COUPON_STOCK', 'the stock changed under its lock; nothing was issued');
  }
  const rows = winners.map(
    ({ couponHistoryId, couponId, userId, requestId }) =>
      sql`(${bytesOf(couponHistoryId!)}, ${couponId}, ${userBytes(userId)}, ${bytesOf(requestId)}, ${now})`,
  );
  await sql`
    INSERT INTO coupon_history (coupon_history_id, coupon_id, user_id, request_id, issued_at)
    VALUES ${sql.join(rows)}`.execute(trx);
}

async function toldBefore(
  trx: Transaction<unknown>,
  requests: readonly NewRequest[],
  rows: ReadonlyMap<string, RequestRow>,
): Promise<readonly Decided[]> {
  const issued = requests.filter(({ requestId }) => rows.get(requestId)!.reason === null);
  const history = await historyIds(
    trx,
    issued.map(({ requestId }) => requestId),
  );
  return requests.map(({ requestId, userId, couponId }): Decided => {
    const { reason, requested_at, decided_at } = rows.get(requestId)!;
    return {
      requestId,
      userId,
      couponId,
      first: false,
      reason: reason ?? undefined,
      couponHistoryId: history.get(requestId),
      requestedAtMs: requested_at.getTime(),
      decidedAtMs: decided_at!.getTime(),
    };
  });
}

async function historyIds(db: Db, requestIds: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (requestIds.length === 0) return new Map();
  const { rows } = await sql<{ request_id: Buffer; coupon_history_id: Buffer }>`
    SELECT request_id, coupon_history_id FROM coupon_history WHERE request_id IN (${ids(requestIds)})`.execute(
    db,
  );
  return new Map(rows.map((row) => [uuidOfBytes(row.request_id), uuidOfBytes(row.coupon_history_id)]));
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

type LoggedRow = RequestRow & {
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

export async function findRequest(db: Db, requestId: string): Promise<LoggedRequest | undefined> {
  const { rows } = await sql<LoggedRow>`${logged} WHERE r.request_id = ${bytesOf(requestId)}`.execute(db);
  return rows[0] && loggedOf(rows[0]);
}

/**
 * A user's outcomes that a client has not seen, in the order of their decisions, at most the newest `limit`: those decided
 * after the one it saw last, and all that were never pushed to anybody. Undefined `after` (or one that is not this user's):
 * only the latter.
 */
export async function missedOutcomes(
  db: Db,
  userId: string,
  after: string | undefined,
  limit: number,
): Promise<readonly LoggedRequest[]> {
  const last = after === undefined ? null : bytesOf(after);
  const { rows } = await sql<LoggedRow>`
    ${logged}
    LEFT JOIN coupon_request seen ON seen.request_id = ${last} AND seen.user_id = r.user_id
    WHERE r.user_id = ${userBytes(userId)} AND r.status <> 'PENDING'
      AND (r.status <> 'NOTIFIED' OR r.decided_at > seen.decided_at
        OR (r.decided_at = seen.decided_at AND r.request_id > seen.request_id))
    ORDER BY r.decided_at DESC, r.request_id DESC LIMIT ${limit}`.execute(db);
  return rows.map(loggedOf).reverse();
}

/** Notes that these outcomes were pushed to a client; what was noted before keeps its time. */
export async function markNotified(db: Db, requestIds: readonly string[]): Promise<void> {
  if (requestIds.length === 0) return;
  await sql`
    UPDATE coupon_request SET status = 'NOTIFIED', notified_at = UTC_TIMESTAMP(3)
    WHERE request_id IN (${ids(requestIds)}) AND status IN ('COMPLETED', 'FAILED')`.execute(db);
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
