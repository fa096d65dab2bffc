import test from 'ava';
import { type CouponRecords, type CouponRush, checkCoupons } from './coupons.ts';
import type { SeenRecord } from './reading.ts';
import { seen, trace } from './seen.fixture.ts';
import type { CouponRows } from './stores.ts';

const outcomes = {
  r1: 'SUCCESS',
  r2: 'SUCCESS',
  r3: 'DUPLICATE',
  r4: 'OUT_OF_STOCK',
  r5: 'OUT_OF_STOCK',
} as const;
const told: CouponRush = {
  couponId: 'c1',
  stock: 2,
  issued: 2,
  failed: 0,
  notAcknowledged: 0,
  usersTwice: 0,
  requestIds: Object.keys(outcomes),
  outcomeOf: new Map(Object.entries(outcomes)),
};

const users = { r1: 'a', r2: 'b', r3: 'a', r4: 'c', r5: 'c' } as const;
const row = (id: keyof typeof outcomes, status?: string): CouponRows['requests'][number] => {
  const won = outcomes[id] === 'SUCCESS';
  return {
    id,
    user: users[id],
    status: status ?? (won ? 'NOTIFIED' : 'FAILED'),
    reason: won || status !== undefined ? null : outcomes[id],
  };
};
const ids = Object.keys(outcomes) as (keyof typeof outcomes)[];
const store: CouponRows = {
  stock: 2,
  issued: 2,
  requests: ids.map((id) => row(id)),
  held: [
    { id: 'h1', requestId: 'r1', user: 'a' },
    { id: 'h2', requestId: 'r2', user: 'b' },
  ],
  unpublished: [],
  told: new Map([
    ['h1', 'COMPLETED'],
    ['h2', 'COMPLETED'],
  ]),
};

const record = (topic: string, key: string, offset: number, value: object) =>
  seen({ topic, key, offset, value: { couponId: 'c1', ...value } });
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
  commits: [{ committed: new Map([['coupon-requests-0', 0]]), ends: new Map([['coupon-results-0', 5]]) }],
};

const check = (
  report: Partial<CouponRush>,
  rows: Partial<CouponRows>,
  records: Partial<CouponRecords> = {},
) =>
  checkCoupons(
    { told: { ...told, ...report }, store: { ...store, ...rows }, personal: ['person-'] },
    { ...well, ...records },
  );
const kinds = (...args: Parameters<typeof check>) => check(...args).findings.map(({ kind }) => kind);
const named = (...args: Parameters<typeof check>) =>
  check(...args).findings.map(({ kind, id }) => `${kind} ${id}`);
/** With other results. */
const when = (...list: readonly SeenRecord[]) => kinds({}, {}, { results: list });

test('a rush whose clients, store and topics agree is well', (t) => {
  t.deepEqual(named({}, {}), []);
  t.like(check({}, {}), { subject: 'coupons', acked: 5, inDoubt: 0 });
});

// --- the store is wrong in one way

test('a held coupon that is gone is named: by the sum, and by the request that won it', (t) => {
  t.deepEqual(named({}, { held: store.held.slice(0, 1) }), ['ledger c1', 'ledger r2']);
});

test('a counter of issued ones that is not what people hold is named', (t) => {
  t.deepEqual(named({ issued: 1 }, { issued: 1 }), ['wrong c1', 'ledger c1']);
  t.deepEqual(named({ issued: 3 }, { issued: 3 }), ['over-issued c1', 'ledger c1']);
});

test('a request that is still PENDING is lost, whatever its topic says', (t) => {
  const requests = [...ids.slice(0, 4).map((id) => row(id)), row('r5', 'PENDING')];
  t.deepEqual(named({}, { requests }), ['wrong r5', 'lost r5', 'wrong r5']);
  const outcomeOf = new Map(Object.entries(outcomes).slice(0, 4));
  t.deepEqual(named({ outcomeOf }, { requests }, { results: results.slice(0, 4) }), ['lost r5']);
});

test('an accepted request that is not in the store is lost', (t) => {
  t.deepEqual(named({}, { requests: store.requests.slice(0, 4) }, { results: results.slice(0, 4) }), [
    'lost r5',
  ]);
});

test('a person who holds two is named by the second request', (t) => {
  const held = [...store.held, { id: 'h3', requestId: 'r3', user: 'a' }];
  const more = { stock: 3, issued: 3, held, told: new Map([...store.told, ['h3', 'COMPLETED']]) };
  t.deepEqual(
    named(
      { stock: 3, issued: 3 },
      { ...more, requests: store.requests.slice(0, 3) },
      {
        results: results.slice(0, 3),
      },
    ).filter((one) => !one.startsWith('lost')),
    ['doubled r3', 'ledger r3'],
  );
});

test('a coupon whose webhook is not done, or not even logged, is untold', (t) => {
  t.deepEqual(
    named(
      {},
      {
        told: new Map([
          ['h1', 'COMPLETED'],
          ['h2', 'DEAD_LETTER'],
        ]),
      },
    ),
    ['untold r2'],
  );
  t.deepEqual(named({}, { told: new Map([['h1', 'COMPLETED']]) }), ['untold r2']);
});

test('a record that is left in the outbox is named by its request', (t) => {
  const id = '01890000-0000-7000-8000-000000000001';
  const requests = [...store.requests, { ...row('r5'), id }];
  const left = JSON.stringify([['coupon-requests', 'user:x', JSON.stringify({ requestId: id }), {}]]);
  t.deepEqual(
    named(
      {},
      { requests, unpublished: [left] },
      { results: [...results, result(id, 'u_c', 5, 'OUT_OF_STOCK', 2)] },
    ),
    [`untold ${id}`],
  );
});

// --- clients were told something else

test('an outcome that a client was told and the store does not know is wrong', (t) => {
  const outcomeOf = new Map<string, string>([...told.outcomeOf, ['r4', 'SUCCESS']]);
  t.deepEqual(named({ outcomeOf }, {}), ['wrong r4']);
});

test('an accepted request that nobody was told the outcome of is lost', (t) => {
  t.deepEqual(named({ outcomeOf: new Map(Object.entries(outcomes).slice(1)) }, {}), ['lost r1']);
});

test('figures of the API that the store does not have are wrong', (t) => {
  t.deepEqual(named({ issued: 1 }, {}), ['wrong c1']);
  t.deepEqual(kinds({ usersTwice: 1 }, {}), ['doubled']);
  t.deepEqual(kinds({ notAcknowledged: 1 }, {}), ['untold']);
});

test('sold out may be said only when all are issued', (t) => {
  t.deepEqual(named({ stock: 3 }, { stock: 3 }), ['wrong c1']);
});

// --- a topic is wrong in one way

test('a result that says something else than the store is wrong, and is named with its trace', (t) => {
  const other = [...results.slice(0, 4), result('r5', 'u_c', 4, 'EXPIRED', 2)];
  t.like(check({}, {}, { results: other }).findings, [{ kind: 'wrong', id: 'r5', traceId: trace }]);
});

test('a result of a request that nobody made comes from nowhere', (t) => {
  t.deepEqual(named({}, {}, { results: [...results, result('r9', 'u_z', 5, 'DUPLICATE')] }), [
    'from-nowhere r9',
  ]);
});

test('an outcome told again is a repeat; told again with another content it is doubled', (t) => {
  const again = { ...results[0]!, offset: 9 };
  t.is(check({}, {}, { results: [...results, again] }).repeats, 1);
  t.deepEqual(when(...results, again), []);
  t.deepEqual(when(...results, result('r1', 'u_a', 9, 'DUPLICATE')), ['doubled']);
});

test('a decided request that is not on the results is untold', (t) => {
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
  const turned = [result('r1', 'u_a', 0, 'DUPLICATE'), r2!, result('r3', 'u_a', 2, 'SUCCESS'), r4!, r5!];
  t.true(when(...turned).includes('order'));
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
