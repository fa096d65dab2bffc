import test from 'ava';
import type { Reconciliation } from '../../workers/coupon/store.ts';
import { type CouponRecords, type CouponRush, checkCoupons } from './coupons.ts';
import type { SeenRecord } from './promotion.ts';

const told: CouponRush = {
  couponId: 'c1',
  stock: 2,
  issued: 2,
  accepted: 5,
  failed: 0,
  unanswered: 0,
  notAcknowledged: 0,
  usersTwice: 0,
  outcomes: { SUCCESS: 2, OUT_OF_STOCK: 3 },
  requestIds: ['r1', 'r2', 'r3', 'r4', 'r5'],
};

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

const trace = '0123456789abcdef0123456789abcdef';
const record = (topic: string, key: string, offset: number, body: object): SeenRecord => ({
  topic,
  partition: 0,
  offset,
  key: Buffer.from(key),
  value: Buffer.from(JSON.stringify({ couponId: 'c1', ...body })),
  headers: { traceparent: `00-${trace}-0123456789abcdef-01` },
});
const asked = (requestId: string, person: string, offset: number) =>
  record('coupon-requests', `user:person-${person}`, offset, { requestId, userId: `person-${person}` });
const result = (requestId: string, user: string, offset: number, outcome: string, decided = 1) =>
  record('coupon-results', `user:${user}`, offset, {
    requestId,
    user,
    decidedAt: `2026-11-01T10:00:0${decided}.000Z`,
    ...(outcome === 'SUCCESS' ? { outcome } : { outcome: 'FAILED', reason: outcome }),
  });

/** Persons a and b come first, then c; a and c ask twice. */
const requests = [asked('r1', 'a', 0), asked('r2', 'b', 1), asked('r3', 'a', 2), asked('r4', 'c', 3)];
const results = [
  result('r1', 'u_a', 0, 'SUCCESS'),
  result('r2', 'u_b', 1, 'SUCCESS'),
  result('r3', 'u_a', 2, 'DUPLICATE', 2),
  result('r4', 'u_c', 3, 'OUT_OF_STOCK', 2),
  result('r5', 'u_c', 4, 'OUT_OF_STOCK', 2),
];
const well: CouponRecords = {
  requests: [...requests, asked('r5', 'c', 4)],
  results,
  deadLetters: [],
  commits: [],
};

const check = (
  report: Partial<CouponRush>,
  rows: Partial<Reconciliation>,
  records: Partial<CouponRecords> = {},
) =>
  checkCoupons(
    { told: { ...told, ...report }, store: { ...store, ...rows }, personal: ['person-'] },
    { ...well, ...records },
  );
const kinds = (...args: Parameters<typeof check>) => check(...args).findings.map(({ kind }) => kind);
/** With other results. */
const when = (...list: readonly SeenRecord[]) => kinds({}, {}, { results: list });

test('a rush whose clients and store agree is well', (t) => {
  t.deepEqual(kinds({}, {}), []);
  t.like(check({}, {}), { subject: 'coupons', acked: 5, inDoubt: 0 });
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

test('an outcome told again is a repeat; told again with another content it is doubled', (t) => {
  const again = { ...results[0]!, offset: 9 };
  t.is(check({}, {}, { results: [...results, again] }).repeats, 1);
  t.deepEqual(when(...results, again), []);
  t.deepEqual(when(...results, result('r1', 'u_a', 9, 'DUPLICATE')), ['doubled']);
});

test('an accepted request that is not on the results is untold', (t) => {
  t.deepEqual(when(...results.slice(0, 4)), ['untold']);
});

test('results of one person in another order than the requests are out of order, with their trace', (t) => {
  const [r1, r2, r3, r4, r5] = results as [SeenRecord, SeenRecord, SeenRecord, SeenRecord, SeenRecord];
  t.like(check({}, {}, { results: [r1, r2, r3, { ...r5, offset: 3 }, { ...r4, offset: 4 }] }).findings, [
    { kind: 'order', id: 'r5', traceId: trace },
  ]);
  // Between persons there is no order to keep.
  t.deepEqual(when(r2, { ...r1, offset: 1 }, r3, r4, r5), []);
});

test('results of one person on two partitions have no order', (t) => {
  const [r1, r2, r3, ...rest] = results;
  t.deepEqual(when(r1!, r2!, { ...r3!, partition: 1 }, ...rest), ['order']);
});

test('a request that was decided before an earlier one of its person is out of order', (t) => {
  const [, ...rest] = results;
  t.deepEqual(when(result('r1', 'u_a', 0, 'SUCCESS', 3), ...rest), ['order']);
});

test('nobody gets by a later request what an earlier one was refused', (t) => {
  const [, r2, , r4, r5] = results;
  t.deepEqual(when(result('r1', 'u_a', 0, 'DUPLICATE'), r2!, result('r3', 'u_a', 2, 'SUCCESS'), r4!, r5!), [
    'order',
  ]);
});

test('a repeat that comes late is no matter of order', (t) => {
  t.deepEqual(when(...results, { ...results[0]!, offset: 9 }), []);
});

test('a request that is committed before its result is there is committed beyond work', (t) => {
  const commits = (ends: number) => [
    {
      committed: new Map([['coupon-requests-0', 4]]),
      ends: new Map([['coupon-results-0', ends]]),
    },
  ];
  t.deepEqual(kinds({}, {}, { commits: commits(4) }), []);
  t.like(check({}, {}, { commits: commits(3) }).findings, [{ kind: 'committed-beyond', id: 'r4' }]);
});

test('a user id on a result is personal data leaked', (t) => {
  const shown = record('coupon-results', 'user:person-a', 7, { couponId: 'another' });
  t.deepEqual(when(...results, shown), ['personal-data']);
});
