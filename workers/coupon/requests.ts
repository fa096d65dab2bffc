/**
 * What happens to requests in which transaction: taken in together with what is to be published of them, decided together
 * with their effect. Rows come and go through a port: store.ts says it in SQL, the
 * simulation in memory (drills/simulation).
 */
import type { CouponReason, CouponRequest, OrderBy } from '../../catalog/events/coupon.ts';
import { MusterError } from '../base/errors.ts';
import { uuidV7 } from '../base/ids.ts';
import type { OutboxRecord } from '../store/outbox.ts';
import type { DueRow } from '../store/relay.ts';
import { type Asked, type CouponState, decide } from './issue.ts';

export interface NewRequest extends CouponRequest {
  readonly traceparent: string | undefined;
}

/** A row of the event log: what is not PENDING any more was decided. */
export interface RequestRow {
  readonly couponId: string;
  readonly userId: string;
  readonly status: 'PENDING' | 'COMPLETED' | 'FAILED' | 'NOTIFIED';
  readonly reason: CouponReason | undefined;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | undefined;
}

export interface Decided extends CouponRequest {
  /** False: this was decided before, and is only told again. */
  readonly first: boolean;
  readonly reason: CouponReason | undefined;
  /** Set exactly when the outcome is SUCCESS. */
  readonly couponHistoryId: string | undefined;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number;
}

export interface RequestStore {
  /**
   * Runs `work` in a transaction: all of it or nothing. It may run more than once (a deadlock), so it must have no other
   * effects. Rejects with MUSTER_DATABASE_DOWN when the store cannot be asked, or when it is not known whether the
   * transaction was committed.
   */
  transaction<T>(work: (rows: RequestRows) => Promise<T>): Promise<T>;
  /** What is in order for a coupon; undefined: there is no such coupon. */
  findOrderBy(couponId: string): Promise<OrderBy | undefined>;
}

/** Rows within one transaction. What is not locked may be changed by others before the next question. */
export interface RequestRows {
  /** Adds rows that are PENDING, stamped with the store's clock. */
  addRequests(requests: readonly NewRequest[]): Promise<void>;
  /** The same, leaving those alone that are there. */
  addMissingRequests(requests: readonly NewRequest[]): Promise<void>;
  /** Those that there are by request id, locked one after the other in the order of their ids. */
  lockRequests(requestIds: readonly string[]): Promise<ReadonlyMap<string, RequestRow>>;
  /** Undefined reason: SUCCESS. */
  settleRequests(
    requestIds: readonly string[],
    reason: CouponReason | undefined,
    decidedAtMs: number,
  ): Promise<void>;

  /** Published if and only if the transaction commits, in no order. */
  appendUnordered(records: readonly OutboxRecord[]): Promise<DueRow>;

  /** Those that there are by coupon id, as committed just now. */
  findCoupons(couponIds: readonly string[]): Promise<ReadonlyMap<string, CouponState>>;
  /** The same, locked one after the other in the order of their ids. */
  lockCoupons(couponIds: readonly string[]): Promise<ReadonlyMap<string, CouponState>>;
  /** holderKey() of those of the asked coupons that their users hold; and the store's clock then, UTC ms. */
  findHolders(
    asked: readonly Pick<Asked, 'couponId' | 'userId'>[],
  ): Promise<{ readonly holders: ReadonlySet<string>; readonly nowMs: number }>;
  /** Counts that many more as issued; false, and nothing done, when that is more than the stock. */
  takeStock(couponId: string, count: number): Promise<boolean>;
  /** Adds the coupons handed out to the history. Rejects when a user has the coupon already. */
  addHistory(winners: readonly Decided[]): Promise<void>;
  /** History ids by request id. */
  findHistory(requestIds: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Rows of the event log, PUBLISHED. */
  logPublished(records: readonly OutboxRecord[]): Promise<void>;
}

/** Makes the requests durable (PENDING), and with them the records that are to be published; resolves to those. */
export async function acceptRequests(
  store: RequestStore,
  requests: readonly NewRequest[],
  records: readonly OutboxRecord[],
): Promise<DueRow> {
  return store.transaction(async (rows) => {
    await rows.addRequests(requests);
    return rows.appendUnordered(records);
  });
}

/**
 * Decides requests in the order given, all in one transaction: coupons handed out, stock counted and event log moved on
 * commit together. The event log row is the inbox: what is not PENDING any more was decided before, and its outcome is told
 * again without an effect. A request that the log does not know (a foreign producer's) is taken in here.
 *
 * The truth are takeStock() and the history that holds nobody twice; the row lock on a coupon only puts those who compete
 * for it in a queue. A coupon that is sold out stays so: it is not locked any more.
 *
 * `issuedRecord`: what systems outside are told of a coupon handed out; its row of the event log commits, too, and who asked
 * for the decision publishes it.
 *
 * Throws MUSTER_DUPLICATE_ID_OTHER_BODY when a request id is known with another user or coupon.
 */
export async function decideRequests(
  store: RequestStore,
  requests: readonly NewRequest[],
  issuedRecord: (winner: Decided) => OutboxRecord,
): Promise<readonly Decided[]> {
  const wanted = new Map(requests.map((request) => [request.requestId, request]));
  return store.transaction(async (rows) => {
    const log = await lockRequests(rows, wanted);
    for (const { requestId, userId, couponId } of requests) {
      const row = log.get(requestId)!;
      if (row.couponId !== couponId || row.userId !== userId)
        throw new MusterError(
          'MUSTER_DUPLICATE_ID_OTHER_BODY',
          'this request id was used before for another user or coupon; a new request needs a new id',
        );
    }
    const distinct = [...wanted.values()];
    const isPending = ({ requestId }: NewRequest) => log.get(requestId)!.status === 'PENDING';
    const fresh = await decidePending(rows, distinct.filter(isPending), log, issuedRecord);
    const before = await toldBefore(
      rows,
      distinct.filter((request) => !isPending(request)),
      log,
    );
    const decided = new Map([...fresh, ...before].map((each) => [each.requestId, each]));
    return distinct.map(({ requestId }) => decided.get(requestId)!);
  });
}

/** The event log's rows of the requests, locked; a missing one is added. */
async function lockRequests(
  rows: RequestRows,
  wanted: ReadonlyMap<string, NewRequest>,
): Promise<ReadonlyMap<string, RequestRow>> {
  const found = await rows.lockRequests([...wanted.keys()]);
  const missing = [...wanted.values()].filter(({ requestId }) => !found.has(requestId));
  if (missing.length === 0) return found;
  // Another handler may add the same one just now; its row counts.
  await rows.addMissingRequests(missing);
  return rows.lockRequests([...wanted.keys()]);
}

async function decidePending(
  rows: RequestRows,
  pending: readonly NewRequest[],
  log: ReadonlyMap<string, RequestRow>,
  issuedRecord: (winner: Decided) => OutboxRecord,
): Promise<readonly Decided[]> {
  if (pending.length === 0) return [];
  const asked = pending.map((request) => ({
    ...request,
    requestedAtMs: log.get(request.requestId)!.requestedAtMs,
  }));
  const coupons = await couponsOf(rows, [...new Set(asked.map(({ couponId }) => couponId))]);
  const { holders, nowMs: decidedAtMs } = await rows.findHolders(
    asked.filter(({ couponId }) => coupons.has(couponId)),
  );
  const decisions = decide(asked, coupons, holders);
  const decided = asked.map((request, index): Decided => {
    const decision = decisions[index]!;
    const { requestId, userId, couponId, requestedAtMs } = request;
    return {
      requestId,
      userId,
      couponId,
      first: true,
      reason: decision.outcome === 'FAILED' ? decision.reason : undefined,
      couponHistoryId: decision.outcome === 'SUCCESS' ? uuidV7(decidedAtMs) : undefined,
      requestedAtMs,
      decidedAtMs,
    };
  });
  const winners = decided.filter(({ couponHistoryId }) => couponHistoryId !== undefined);
  await handOut(rows, winners);
  if (winners.length > 0) await rows.logPublished(winners.map(issuedRecord));
  for (const [reason, list] of Map.groupBy(decided, (each) => each.reason))
    await rows.settleRequests(
      list.map(({ requestId }) => requestId),
      reason,
      decidedAtMs,
    );
  return decided;
}

/** Coupons with what is left of them; those of which something is left are locked. */
async function couponsOf(
  rows: RequestRows,
  couponIds: readonly string[],
): Promise<ReadonlyMap<string, CouponState>> {
  const seen = await rows.findCoupons(couponIds);
  const open = [...seen].filter(([, { stock, issued }]) => issued < stock).map(([couponId]) => couponId);
  const locked = await rows.lockCoupons(open);
  return new Map([...seen, ...locked]);
}

async function handOut(rows: RequestRows, winners: readonly Decided[]): Promise<void> {
  if (winners.length === 0) return;
  for (const [couponId, { length }] of Map.groupBy(winners, (winner) => winner.couponId))
    if (!(await rows.takeStock(couponId, length)))
      throw new MusterError('MUSTER_COUPON_STOCK', 'the stock changed under its lock; nothing was issued');
  await rows.addHistory(winners);
}

async function toldBefore(
  rows: RequestRows,
  requests: readonly NewRequest[],
  log: ReadonlyMap<string, RequestRow>,
): Promise<readonly Decided[]> {
  const issued = requests.filter(({ requestId }) => log.get(requestId)!.reason === undefined);
  const history = await rows.findHistory(issued.map(({ requestId }) => requestId));
  return requests.map(({ requestId, userId, couponId }): Decided => {
    const { reason, requestedAtMs, decidedAtMs } = log.get(requestId)!;
    return {
      requestId,
      userId,
      couponId,
      first: false,
      reason,
      couponHistoryId: history.get(requestId),
      requestedAtMs,
      decidedAtMs: decidedAtMs!,
    };
  });
}
