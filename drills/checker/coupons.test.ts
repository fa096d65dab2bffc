import test from 'ava';
import type { CouponRushReport } from '../../workers/coupon/rush.ts';
import type { Reconciliation } from '../../workers/coupon/store.ts';
import { checkCoupons } from './coupons.ts';

const told = {
  couponId: 'c1',
  stock: 2,
  issued: 2,
  requests: 5,
  accepted: 5,
  failed: 0,
  unanswered: 0,
  usersTwice: 0,
  outcomes: { SUCCESS: 2, OUT_OF_STOCK: 3 },
} as unknown as CouponRushReport;

const store: Reconciliation = {
  stock: 2,
  issued: 2,
  historyRows: 2,
  usersTwice: 0,
  requests: 5,
  pending: 0,
  succeeded: 2,
  succeededWithoutCoupon: 0,
  failed: { OUT_OF_STOCK: 3 },
};

const kinds = (report: Partial<CouponRushReport>, rows: Partial<Reconciliation>) =>
  checkCoupons({ ...told, ...report }, { ...store, ...rows }).findings.map(({ kind }) => kind);

test('a rush whose clients and store agree is well', (t) => {
  t.deepEqual(kinds({}, {}), []);
  t.like(checkCoupons(told, store), { subject: 'coupons', acked: 5, inDoubt: 0 });
});

test('each way in which a rush can go wrong is found', (t) => {
  t.deepEqual(kinds({ unanswered: 1 }, {}), ['lost']);
  t.deepEqual(kinds({ usersTwice: 1 }, {}), ['doubled']);
  t.deepEqual(kinds({}, { usersTwice: 1 }), ['doubled']);
  t.true(kinds({}, { issued: 3, historyRows: 3, succeeded: 3 }).includes('over-issued'));
  t.deepEqual(kinds({}, { historyRows: 1 }), ['ledger']);
  t.deepEqual(kinds({}, { succeededWithoutCoupon: 1 }), ['ledger']);
  t.deepEqual(kinds({ outcomes: { SUCCESS: 1, OUT_OF_STOCK: 4 } }, {}), ['untold']);
  t.deepEqual(
    kinds(
      { issued: 1, outcomes: { SUCCESS: 1, OUT_OF_STOCK: 4 } },
      { issued: 1, historyRows: 1, succeeded: 1 },
    ),
    ['wrong'],
  );
});
