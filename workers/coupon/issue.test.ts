import test from 'ava';
import fc from 'fast-check';
import { type Asked, type CouponState, decide, holderKey } from './issue.ts';

const open: CouponState = { stock: 2, issued: 0, validFromMs: undefined, validUntilMs: undefined };
const ask = (userId: string, couponId = 'c', requestedAtMs = 1_000): Asked => ({
  userId,
  couponId,
  requestedAtMs,
});
const told = (asked: readonly Asked[], coupon: CouponState | undefined, holders: readonly string[] = []) =>
  decide(
    asked,
    new Map(coupon === undefined ? [] : [['c', coupon]]),
    new Set(holders.map((userId) => holderKey('c', userId))),
  ).map((decision) => (decision.outcome === 'FAILED' ? decision.reason : decision.outcome));

test('the first who ask get the coupons, the others are told that there are none left', (t) => {
  t.deepEqual(told([ask('a'), ask('b'), ask('c')], open), ['SUCCESS', 'SUCCESS', 'OUT_OF_STOCK']);
});

test('who asks again is told that he has one, also when nothing is left', (t) => {
  t.deepEqual(told([ask('a'), ask('a'), ask('b'), ask('b')], open), [
    'SUCCESS',
    'DUPLICATE',
    'SUCCESS',
    'DUPLICATE',
  ]);
  t.deepEqual(told([ask('a')], { ...open, issued: 2 }, ['a']), ['DUPLICATE']);
});

test('a coupon that does not exist is not found', (t) => {
  t.deepEqual(told([ask('a')], undefined), ['NOT_FOUND']);
});

test('validity begins with its first moment and ends before its last', (t) => {
  const coupon = { ...open, stock: 9, validFromMs: 1_000, validUntilMs: 2_000 };
  const at = (ms: number) => told([ask('a', 'c', ms)], coupon)[0];
  t.deepEqual([999, 1_000, 1_999, 2_000].map(at), ['EXPIRED', 'SUCCESS', 'SUCCESS', 'EXPIRED']);
});

test('a request outside of the validity takes nothing from those inside', (t) => {
  const coupon = { ...open, stock: 1, validUntilMs: 2_000 };
  t.deepEqual(told([ask('late', 'c', 2_000), ask('b')], coupon), ['EXPIRED', 'SUCCESS']);
});

/** One request after the other on plain objects, as slow and simple as can be. */
function oracle(
  asked: readonly Asked[],
  coupons: Map<string, CouponState>,
  holders: readonly string[],
): string[] {
  const left = new Map([...coupons].map(([id, { stock, issued }]) => [id, stock - issued]));
  const held = [...holders];
  const answers: string[] = [];
  for (const { couponId, userId, requestedAtMs } of asked) {
    const coupon = coupons.get(couponId);
    if (coupon === undefined) answers.push('NOT_FOUND');
    else if (requestedAtMs < (coupon.validFromMs ?? Number.NEGATIVE_INFINITY)) answers.push('EXPIRED');
    else if (requestedAtMs >= (coupon.validUntilMs ?? Number.POSITIVE_INFINITY)) answers.push('EXPIRED');
    else if (held.includes(`${couponId}/${userId}`)) answers.push('DUPLICATE');
    else if (left.get(couponId)! <= 0) answers.push('OUT_OF_STOCK');
    else {
      left.set(couponId, left.get(couponId)! - 1);
      held.push(`${couponId}/${userId}`);
      answers.push('SUCCESS');
    }
  }
  return answers;
}

const some = {
  coupon: fc.constantFrom('c1', 'c2', 'c3', 'gone'),
  user: fc.constantFrom('u1', 'u2', 'u3', 'u4', 'u 5'),
  time: fc.integer({ min: 0, max: 20 }),
};
const coupon = fc.record({
  stock: fc.integer({ min: 0, max: 4 }),
  validFromMs: fc.option(some.time, { nil: undefined }),
  validUntilMs: fc.option(some.time, { nil: undefined }),
});
const rush = fc.record({
  coupons: fc.tuple(coupon, coupon, coupon),
  holders: fc.uniqueArray(fc.tuple(fc.constantFrom(0, 1, 2), some.user), { selector: String, maxLength: 6 }),
  asked: fc.array(fc.record({ couponId: some.coupon, userId: some.user, requestedAtMs: some.time }), {
    maxLength: 40,
  }),
  cuts: fc.array(fc.nat(40), { maxLength: 4 }),
});

test('any rush in any batches ends as one request after the other would', (t) => {
  fc.assert(
    fc.property(rush, ({ coupons: shapes, holders, asked, cuts }) => {
      const names = ['c1', 'c2', 'c3'];
      const issuedOf = (index: number) => holders.filter(([of]) => of === index).length;
      // Those who hold one already were counted, whatever the stock was meant to be.
      const coupons = new Map(
        shapes.map((shape, index): [string, CouponState] => [
          names[index]!,
          { ...shape, issued: issuedOf(index), stock: Math.max(shape.stock, issuedOf(index)) },
        ]),
      );
      const expected = oracle(
        asked,
        coupons,
        holders.map(([of, user]) => `${names[of]}/${user}`),
      );

      const state = new Map(coupons);
      const held = new Set(holders.map(([of, user]) => holderKey(names[of]!, user)));
      const answers: string[] = [];
      const edges = [...new Set([0, ...cuts.filter((cut) => cut < asked.length), asked.length])].sort(
        (a, b) => a - b,
      );
      for (let i = 0; i + 1 < edges.length; i++) {
        const batch = asked.slice(edges[i], edges[i + 1]);
        decide(batch, state, held).forEach((decision, index) => {
          answers.push(decision.outcome === 'FAILED' ? decision.reason : decision.outcome);
          if (decision.outcome === 'FAILED') return;
          const { couponId, userId } = batch[index]!;
          held.add(holderKey(couponId, userId));
          const before = state.get(couponId)!;
          state.set(couponId, { ...before, issued: before.issued + 1 });
        });
      }
      t.deepEqual(answers, expected);
      for (const { stock, issued } of state.values()) t.true(issued <= stock);
    }),
    { numRuns: 500 },
  );
  t.pass();
});
