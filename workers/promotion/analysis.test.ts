import test from 'ava';
import fc from 'fast-check';
import { ageBands } from '../../catalog/events/promotion.ts';
import { createReactionAnalysis, reactionSamples, reactionWindows } from './analysis.ts';

const nowMs = Date.UTC(2026, 10, 21, 10, 0, 0);
const purchase = (
  purchaseId: string,
  version: number,
  promotionIds: string[],
  agoMs = 0,
  ageBand = '30s',
) => ({
  purchaseId,
  version,
  timeMs: nowMs - agoMs,
  ageBand: ageBand as '30s',
  promotionIds,
});
const act = (userId: string, promotionId: string, agoMs = 0, ageBand = '30s') => ({
  userId,
  promotionId,
  action: 'click',
  timeMs: nowMs - agoMs,
  ageBand: ageBand as '30s',
});

test('reaction is affected purchases per purchase and per act', (t) => {
  const analysis = createReactionAnalysis();
  analysis.purchase(purchase('1', 2, ['x']), nowMs);
  analysis.purchase(purchase('2', 1, []), nowMs);
  analysis.act(act('a', 'x'), nowMs);
  analysis.act(act('b', 'x'), nowMs);
  analysis.act(act('b', 'x', 0, '20s'), nowMs);
  analysis.act(act('c', 'y', 0, '20s'), nowMs);
  const report = analysis.report(reactionWindows['1m'], nowMs);
  t.deepEqual(
    report.promotions.map(({ promotion, purchases, affected, acts }) => [
      promotion,
      purchases,
      affected,
      acts,
    ]),
    [
      ['x', 2, 1, 2],
      ['y', 2, 0, 1],
    ],
  );
  t.deepEqual(report.promotions[0]!.ageBands, [
    { ageBand: '30s', purchases: 2, affected: 1, acts: 2, affectedPerPurchase: 0.5, affectedPerAct: 0.5 },
  ]);
  t.is(report.total.acts, 3);
  t.is(report.promotions[1]!.ageBands[0]!.affectedPerPurchase, null);
});

test('a correction moves a purchase from not affected to affected, an old version changes nothing', (t) => {
  const analysis = createReactionAnalysis();
  t.is(analysis.purchase(purchase('1', 1, []), nowMs), 'counted');
  t.is(analysis.purchase(purchase('1', 2, ['x']), nowMs), 'corrected');
  t.is(analysis.purchase(purchase('1', 2, ['x']), nowMs), 'known');
  t.is(analysis.purchase(purchase('1', 1, []), nowMs), 'known');
  const { total } = analysis.report(reactionWindows['5m'], nowMs);
  t.is(total.purchases, 1);
  t.is(total.affected, 1);
});

test('a purchase that two promotions affected counts once in the total', (t) => {
  const analysis = createReactionAnalysis();
  analysis.purchase(purchase('1', 3, ['x', 'y', 'x']), nowMs);
  const report = analysis.report(reactionWindows['1m'], nowMs);
  t.is(report.total.affected, 1);
  t.deepEqual(
    report.promotions.map(({ promotion, affected }) => [promotion, affected]),
    [
      ['x', 1],
      ['y', 1],
    ],
  );
});

test('what is too old or too far in the future is not counted, and windows slide on', (t) => {
  const analysis = createReactionAnalysis();
  t.is(analysis.purchase(purchase('old', 1, [], 16 * 60_000), nowMs), 'outside');
  t.is(analysis.act(act('a', 'x', -120_000), nowMs), 'outside');
  analysis.purchase(purchase('1', 1, [], 120_000), nowMs);
  t.is(analysis.report(reactionWindows['1m'], nowMs).total.purchases, 0);
  t.is(analysis.report(reactionWindows['5m'], nowMs).total.purchases, 1);
  const later = nowMs + 20 * 60_000;
  t.is(analysis.report(reactionWindows['15m'], later).total.purchases, 0);
  analysis.act({ ...act('a', 'x'), timeMs: later }, later);
  t.deepEqual(analysis.size(), { buckets: 1, ids: 1 });
});

test('ids kept are bounded; counts of the oldest stay', (t) => {
  const analysis = createReactionAnalysis({ maxIds: 50 });
  for (let i = 0; i < 500; i += 1) analysis.purchase(purchase(String(i), 1, [], 600_000 - i * 1_000), nowMs);
  t.true(analysis.size().ids <= 60, String(analysis.size().ids));
  t.is(analysis.report(reactionWindows['15m'], nowMs).total.purchases, 500);
});

test('promotions of a bucket are bounded; the rest counts as other', (t) => {
  const analysis = createReactionAnalysis({ maxPromotions: 3 });
  for (let i = 0; i < 10; i += 1) analysis.act(act('a', `promo-${i}`), nowMs);
  const report = analysis.report(reactionWindows['1m'], nowMs);
  t.is(report.promotions.length, 4);
  t.is(report.promotions.find(({ promotion }) => promotion === 'other')?.acts, 7);
  t.is(report.total.acts, 10);
});

test('metrics name the top promotions and sum the rest up', (t) => {
  const analysis = createReactionAnalysis();
  for (let i = 0; i < 60; i += 1) {
    for (let n = 0; n <= i; n += 1) analysis.act(act(`u${n}`, `promo-${i}`), nowMs);
  }
  const samples = reactionSamples(analysis.report(reactionWindows['1m'], nowMs), 50);
  const names = new Set(samples.map(({ promotion }) => promotion));
  t.is(names.size, 52);
  t.true(names.has('all') && names.has('other') && names.has('promo-59') && !names.has('promo-9'));
  // promo-0 to promo-9 have 1 to 10 acts.
  t.is(samples.find(({ promotion }) => promotion === 'other')?.acts, 55);
});

test('counts equal those of a naive oracle, whatever comes twice, late, or corrected', (t) => {
  const bucketMs = 5_000;
  const item = fc.oneof(
    fc.record({
      type: fc.constant('purchase' as const),
      id: fc.integer({ min: 0, max: 8 }).map(String),
      acts: fc.subarray(['x', 'y', 'z']),
    }),
    fc.record({
      type: fc.constant('act' as const),
      user: fc.constantFrom('a', 'b'),
      promotion: fc.constantFrom('x', 'y', 'z'),
      agoMs: fc.integer({ min: 0, max: 1_000_000 }),
      band: fc.constantFrom(...ageBands),
    }),
  );
  fc.assert(
    fc.property(
      fc.array(item, { maxLength: 60 }),
      fc.array(
        fc.record({ agoMs: fc.integer({ min: 0, max: 1_000_000 }), band: fc.constantFrom(...ageBands) }),
        {
          minLength: 9,
          maxLength: 9,
        },
      ),
      fc.constantFrom(...(Object.values(reactionWindows) as number[])),
      (items, facts, windowMs) => {
        const analysis = createReactionAnalysis();
        const purchases = new Map<string, readonly string[]>();
        const acts = new Set<string>();
        const inside = (timeMs: number) =>
          Math.floor(timeMs / bucketMs) > Math.floor(nowMs / bucketMs) - Math.ceil(windowMs / bucketMs);
        for (const one of items) {
          if (one.type === 'purchase') {
            const { agoMs, band } = facts[Number(one.id)]!;
            // The version is 1 + number of acts, as the join makes it.
            analysis.purchase(
              { ...purchase(one.id, 1 + one.acts.length, one.acts, agoMs), ageBand: band },
              nowMs,
            );
            if ((purchases.get(one.id)?.length ?? -1) < one.acts.length) purchases.set(one.id, one.acts);
          } else {
            analysis.act({ ...act(one.user, one.promotion, one.agoMs), ageBand: one.band }, nowMs);
            acts.add(`${one.user} ${one.promotion} ${one.agoMs}`);
          }
        }
        const report = analysis.report(windowMs, nowMs);
        const within = [...purchases].filter(([id]) => inside(nowMs - facts[Number(id)]!.agoMs));
        const expected = ['x', 'y', 'z'].map((promotion) => [
          within.filter(([, touched]) => touched.includes(promotion)).length,
          [...acts].filter((key) => {
            const [, actOn, agoMs] = key.split(' ');
            return actOn === promotion && inside(nowMs - Number(agoMs));
          }).length,
        ]);
        const actual = ['x', 'y', 'z'].map((promotion) => {
          const row = report.promotions.find((one) => one.promotion === promotion);
          return [row?.affected ?? 0, row?.acts ?? 0];
        });
        if (JSON.stringify(actual) !== JSON.stringify(expected)) {
          throw new Error(`${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
        }
        if (report.total.purchases !== within.length) throw new Error('purchases');
        if (report.total.affected !== within.filter(([, touched]) => touched.length > 0).length)
          throw new Error('affected');
      },
    ),
  );
  t.pass();
});
