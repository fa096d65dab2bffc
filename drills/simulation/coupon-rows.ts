/** The rows that coupons are decided by in the simulated store: what workers/coupon/store.ts says in SQL, said again. */
import type { OrderBy } from '../../catalog/events/coupon.ts';
import { type CouponState, holderKey } from '../../workers/coupon/issue.ts';
import type { NewRequest, RequestRow, RequestRows, RequestStore } from '../../workers/coupon/requests.ts';
import { logPublished } from './event-log.ts';
import type { Life } from './kafka.ts';
import { appendUnordered } from './relay.ts';
import type { Row, Rows, SimulatedStore, Transaction } from './store.ts';
import type { World } from './world.ts';

export interface CouponRowsBugs {
  /** Neither row locks on coupons nor conditions nor unique keys: the lock in Redis is all there is. */
  readonly lockOnly?: boolean;
  /** What was decided is decided again. */
  readonly decidedNotAsked?: boolean;
  /** What is to be published is in memory only. */
  readonly notInOutbox?: boolean;
  /** Validity is judged by the time of handling. */
  readonly judgedByHandling?: boolean;
}

/** A request with the place of its decision among all decisions. */
export interface DecidedRow extends RequestRow {
  /** A number per transaction. */
  readonly decidedIn: number;
  /** Its place in the transaction. */
  readonly decidedAs: number;
}

export interface SimulatedCoupon extends CouponState {
  readonly orderBy: OrderBy;
}

export interface HistoryRow {
  readonly couponId: string;
  readonly userId: string;
  readonly requestId: string;
}

/** The port as a process sees it. */
export function simulatedRequests(
  world: World,
  store: SimulatedStore,
  bugs: CouponRowsBugs = {},
): (life: Life) => RequestStore {
  let decisions = 0;
  const nextDecision = () => {
    decisions += 1;
    return decisions;
  };
  return (life) => ({
    transaction: (work) => store.transaction(life, (trx) => work(rowsOf(world, trx, nextDecision, bugs))),
    findOrderBy: (couponId) =>
      store.transaction(life, (trx) =>
        trx.statement([], (rows) => rows.get<SimulatedCoupon>('coupon', couponId)?.orderBy),
      ),
  });
}

const rowsIn = (table: string, keys: readonly string[]): readonly Row[] =>
  keys.toSorted().map((key) => [table, key]);

function rowsOf(
  world: World,
  trx: Transaction,
  nextDecision: () => number,
  bugs: CouponRowsBugs,
): RequestRows {
  let decidedIn = 0;
  let inOrder: readonly string[] = [];
  const coupons = (rows: Rows, couponIds: readonly string[]) =>
    new Map(
      couponIds.flatMap((id) => {
        const coupon = rows.get<CouponState>('coupon', id);
        return coupon === undefined ? [] : [[id, coupon] as const];
      }),
    );

  const addRequests = (requests: readonly NewRequest[]) =>
    trx.statement(
      requests.map(({ requestId }) => ['request', requestId]),
      (rows) => {
        for (const { requestId, couponId, userId } of requests) {
          if (rows.get('request', requestId) !== undefined) continue;
          const row: DecidedRow = {
            couponId,
            userId,
            status: 'PENDING',
            reason: undefined,
            requestedAtMs: world.now(),
            decidedAtMs: undefined,
            decidedIn: 0,
            decidedAs: 0,
          };
          rows.set('request', requestId, row);
        }
      },
    );

  return {
    addRequests,
    addMissingRequests: addRequests,

    async lockRequests(requestIds) {
      inOrder = requestIds;
      let there: readonly string[] = [];
      const asSeen = (row: RequestRow): RequestRow => ({
        ...row,
        ...(bugs.decidedNotAsked === true ? { status: 'PENDING' } : {}),
        ...(bugs.judgedByHandling === true ? { requestedAtMs: world.now() } : {}),
      });
      return trx.statement(
        (rows) => {
          there = requestIds.filter((id) => rows.get('request', id) !== undefined);
          return rowsIn('request', there);
        },
        (rows) => new Map(there.map((id) => [id, asSeen(rows.get<RequestRow>('request', id)!)])),
      );
    },

    settleRequests: (requestIds, reason, decidedAtMs) =>
      trx.statement(rowsIn('request', requestIds), (rows) => {
        for (const id of requestIds) {
          const row = rows.get<DecidedRow>('request', id)!;
          const status = reason === undefined ? 'COMPLETED' : 'FAILED';
          const decidedAs = inOrder.indexOf(id);
          const settled: DecidedRow = { ...row, status, reason, decidedAtMs, decidedIn, decidedAs };
          rows.set('request', id, settled);
        }
      }),

    appendUnordered: async (records) =>
      bugs.notInOutbox === true
        ? { id: '0', records, timer: undefined }
        : appendUnordered(world, trx, records),

    findCoupons: (couponIds) => trx.statement([], (rows) => coupons(rows, couponIds)),
    lockCoupons: (couponIds) =>
      trx.statement(bugs.lockOnly === true ? [] : rowsIn('coupon', couponIds), (rows) =>
        coupons(rows, couponIds),
      ),

    findHolders: (asked) =>
      trx.statement([], (rows) => {
        const held = asked.map(({ couponId, userId }) => holderKey(couponId, userId));
        const holders = new Set(held.filter((holder) => rows.get('holder', holder) !== undefined));
        decidedIn = nextDecision();
        return { holders, nowMs: world.now() };
      }),

    logPublished: (records) => logPublished(trx, records),

    takeStock: (couponId, count) =>
      trx.statement([['coupon', couponId]], (rows) => {
        const coupon = rows.get<CouponState>('coupon', couponId)!;
        if (bugs.lockOnly !== true && coupon.issued + count > coupon.stock) return false;
        rows.set('coupon', couponId, { ...coupon, issued: coupon.issued + count });
        return true;
      }),

    addHistory: (winners) =>
      trx.statement(
        winners.flatMap(({ couponHistoryId, couponId, userId }): readonly Row[] => [
          ['history', couponHistoryId!],
          ['holder', holderKey(couponId, userId)],
        ]),
        (rows) => {
          for (const { couponHistoryId, couponId, userId, requestId } of winners) {
            const holder = holderKey(couponId, userId);
            if (bugs.lockOnly !== true && rows.get('holder', holder) !== undefined)
              throw Object.assign(new Error('simulated: a duplicate key'), { errno: 1062 });
            rows.set('holder', holder, requestId);
            rows.set('history', couponHistoryId!, { couponId, userId, requestId } satisfies HistoryRow);
          }
        },
      ),

    findHistory: (requestIds) =>
      trx.statement([], (rows) => {
        const wanted = new Set(requestIds);
        const found = rows
          .keys('history')
          .map((id) => ({ id, ...rows.get<HistoryRow>('history', id)! }))
          .filter(({ requestId }) => wanted.has(requestId));
        return new Map(found.map(({ id, requestId }) => [requestId, id]));
      }),
  };
}
