import test from 'ava';
import fc from 'fast-check';
import Value from 'typebox/value';
import { enrichedPurchase, promotionLogic } from '../../catalog/events/promotion.ts';
import { answerJson, answerRecords } from './enriched.ts';
import type { Answer } from './join.ts';
import type { HeldPurchase } from './join-state.ts';

const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 30 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }),
);
const anyAnswer: fc.Arbitrary<Answer> = fc
  .record({
    purchaseId: text,
    productId: text,
    productName: fc.option(text, { nil: undefined }),
    quantity: fc.integer({ min: 1, max: 1_000_000 }),
    amountMinor: fc.maxSafeNat(),
    currency: fc.constantFrom('KRW', 'USD'),
    ageBand: fc.constantFrom('30s' as const, '80+' as const, undefined),
    cardLast4: fc.constantFrom('0123', undefined),
    purchasedMs: fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2099, 0) }),
    touches: fc.array(
      fc.record({
        promotionId: text,
        action: fc.constantFrom('click' as const, 'view' as const),
        secondsBefore: fc.integer({ min: 0, max: 300_000 }).map((ms) => ms / 1000),
      }),
      { maxLength: 4 },
    ),
  })
  .map(({ touches, ...purchase }) => ({
    purchase: { ...purchase, userId: 'clear-user' } as unknown as HeldPurchase,
    version: touches.length + 1,
    touches,
    correction: false,
    run: { source: 0, nextOffset: 1, open: 1 },
    heldBy: undefined,
  }));
const user = `u_${'A'.repeat(22)}`;

test('the answer written by hand is what JSON.stringify writes, and fits the schema', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(anyAnswer, (answer) => {
        const json = answerJson(answer, user);
        const value = JSON.parse(json);
        const { purchase, touches, version } = answer;
        t.is(JSON.stringify(value), json);
        t.is(value.purchaseId, purchase.purchaseId);
        t.is(value.productName, purchase.productName);
        t.is(value.version, version);
        t.deepEqual(value.promotions, touches);
        t.is(value.promotion_affect, touches.length > 0 ? 1 : 0);
        t.false(json.includes('clear-user'));
        return (
          Value.Check(enrichedPurchase, value) && (touches.length === 0 || Value.Check(promotionLogic, value))
        );
      }),
    ),
  );
});

test('a hit goes to both topics under one id, a miss to one', (t) => {
  fc.assert(
    fc.property(anyAnswer, (answer) => {
      const records = answerRecords(answer, user, { enriched: 'a', promotion: undefined });
      t.deepEqual(
        records.map(({ topic }) => topic),
        answer.touches.length > 0 ? ['purchase_enriched', 'promotion'] : ['purchase_enriched'],
      );
      for (const { key, headers } of records) {
        t.is(key, `${user}:${answer.purchase.purchaseId}`);
        t.is(headers?.ce_id as string, `${key}:${answer.version}`);
      }
      t.is(records[0]!.headers?.traceparent as string, 'a');
    }),
    { numRuns: 20 },
  );
});
