import test from 'ava';
import { checkPromotion, type KnownMessage, type PromotionOutputs, type SentMessage } from './promotion.ts';
import { seen as record, trace } from './seen.fixture.ts';
import type { FindingKind } from './verdict.ts';

const run = 'r1';
const atMs = Date.UTC(2026, 10, 1);

function message(id: string, more: Partial<KnownMessage>): KnownMessage {
  return { id, userId: 'person-1', eventTimeMs: atMs, ...more };
}

const bought = (id: string, eventTimeMs = atMs, userId = 'person-1') =>
  message(id, {
    eventTimeMs,
    userId,
    purchase: { purchaseId: id },
  });
const acted = (id: string, eventTimeMs: number) =>
  message(id, { eventTimeMs, act: { promotionId: 'p1', action: 'click' } });
const sent = (
  one: SentMessage['message'],
  outcome: SentMessage['outcome'] = 'acked',
  way: SentMessage['way'] = 'api',
) => ({
  message: one,
  outcome,
  way,
});

const answer = (purchaseId: string, affected: boolean, version = affected ? 2 : 1, offset = 0) =>
  record({
    topic: 'purchase_enriched',
    offset,
    value: {
      purchaseId,
      version,
      promotion_affect: affected ? 1 : 0,
      promotions: affected ? [{ promotionId: 'p1', action: 'click', secondsBefore: 1 }] : [],
    },
  });

/** A run in which all is well: one purchase affected, one not, one poison message. */
const poison = { id: `${run}-x1`, poison: '{"broken' } as const;
const messages = [
  sent(acted(`${run}-a1`, atMs - 1_000)),
  sent(bought(`${run}-p1`)),
  sent(bought(`${run}-p2`, atMs, 'person-2')),
  sent(poison, 'acked', 'kafka'),
];
const well: PromotionOutputs = {
  purchases: [],
  movedPurchases: [],
  acts: [],
  commits: [],
  enriched: [answer(`${run}-p1`, false, 1), answer(`${run}-p1`, true), answer(`${run}-p2`, false)],
  promotion: [answer(`${run}-p1`, true)],
  deadLetters: [record({ value: poison.poison })],
};
const check = (outputs: Partial<PromotionOutputs>, list: readonly SentMessage[] = messages) =>
  checkPromotion(
    { sent: list, run, personal: ['person-', '4111111111111111'], disturbed: false },
    { ...well, ...outputs },
  );
const kinds = (outputs: Partial<PromotionOutputs>, list?: readonly SentMessage[]): readonly FindingKind[] =>
  check(outputs, list).findings.map(({ kind }) => kind);

test('a run in which all went well has no findings', (t) => {
  t.deepEqual(check({}), { subject: 'promotion', acked: 3, inDoubt: 0, repeats: 0, findings: [] });
});

test('an answer that is told twice is a repeat and no finding', (t) => {
  const verdict = check({ enriched: [...well.enriched, answer(`${run}-p2`, false)] });
  t.is(verdict.repeats, 1);
  t.deepEqual(verdict.findings, []);
});

test('an acked purchase without an answer is lost', (t) => {
  t.deepEqual(kinds({ enriched: well.enriched.slice(0, 2) }), ['lost']);
});

test('a last word other than the oracle’s is wrong, and names its trace', (t) => {
  const { findings } = check({
    enriched: [answer(`${run}-p1`, false), answer(`${run}-p2`, false)],
    promotion: [],
  });
  t.like(findings, [{ kind: 'wrong', id: `${run}-p1`, traceId: trace }]);
  t.is(findings.length, 1);
});

test('the seconds between an act and its purchase count, too', (t) => {
  const promotions = [{ promotionId: 'p1', action: 'click', secondsBefore: 1.001 }];
  const value = { purchaseId: `${run}-p1`, version: 2, promotion_affect: 1, promotions };
  const enriched = [record({ topic: 'purchase_enriched', value }), answer(`${run}-p2`, false)];
  t.like(check({ enriched }).findings, [{ kind: 'wrong', id: `${run}-p1` }]);
});

test('an affected purchase that is not re-published, or one that is though unaffected, is untold', (t) => {
  t.deepEqual(kinds({ promotion: [] }), ['untold']);
  t.deepEqual(kinds({ promotion: [...well.promotion, answer(`${run}-p2`, true)] }), ['untold']);
});

test('an answer to a purchase that nobody made comes from nowhere; those of other runs are not looked at', (t) => {
  t.deepEqual(kinds({ enriched: [...well.enriched, answer(`${run}-p9`, false)] }), ['from-nowhere']);
  t.deepEqual(kinds({ enriched: [...well.enriched, answer('other-p9', false)] }), []);
});

test('what is not understood and has no dead letter is lost', (t) => {
  t.deepEqual(kinds({ deadLetters: [] }), ['lost']);
});

test('an API that takes what it must refuse, or refuses what is valid, is wrong', (t) => {
  t.deepEqual(kinds({}, [...messages, sent(poison, 'acked', 'api')]), ['wrong']);
  t.deepEqual(kinds({}, [...messages, sent(bought(`${run}-p7`), 'refused')]), ['wrong']);
});

test('of a message without an ack nobody knows: its user’s answers may go either way, but must come', (t) => {
  const list = [...messages, sent(acted(`${run}-a2`, atMs - 5_000), 'failed')];
  t.deepEqual(kinds({}, list), []);
  t.deepEqual(kinds({ enriched: well.enriched.slice(2), promotion: [] }, list), ['lost']);
});

test('a user id or a card number on an output is personal data leaked', (t) => {
  const leak = record({
    value: { purchaseId: 'other', version: 1, promotion_affect: 0, promotions: [], user: 'person-1' },
  });
  t.deepEqual(kinds({ enriched: [...well.enriched, leak] }), ['personal-data']);
});

test('a correction with a lower version than the answer before it is out of order', (t) => {
  const enriched = [answer(`${run}-p1`, true, 3), answer(`${run}-p1`, true, 2), answer(`${run}-p2`, false)];
  t.deepEqual(kinds({ enriched }), ['order']);
});

// --- commits: p1's purchase is record 5 of its partition, its act record 9 of its own

const purchased = record({
  topic: 'purchase',
  offset: 5,
  key: 'person-1',
  value: { purchaseId: `${run}-p1`, userId: 'person-1' },
});
const actedOn = record({
  topic: 'promo_behavior',
  offset: 9,
  key: 'person-1',
  value: {
    userId: 'person-1',
    promotionId: 'p1',
    action: 'click',
    actedAt: new Date(atMs - 1_000).toISOString(),
  },
});
/** Two answers to p1: without and with its act. */
const inTurn = [
  answer(`${run}-p1`, false, 1, 20),
  answer(`${run}-p1`, true, 2, 21),
  answer(`${run}-p2`, false, 1, 22),
];
const noted = (committed: Record<string, number>, ends: Record<string, number>) => ({
  committed: new Map(Object.entries(committed)),
  ends: new Map(Object.entries(ends)),
});

test('a purchase that is committed before any answer is committed beyond work', (t) => {
  const outputs = { purchases: [purchased], enriched: inTurn };
  const commits = (ends: number) => [noted({ 'purchase-0': 6 }, { 'purchase_enriched-0': ends })];
  t.deepEqual(kinds({ ...outputs, commits: commits(21) }), []);
  t.like(check({ ...outputs, commits: commits(20) }).findings, [
    { kind: 'committed-beyond', id: `${run}-p1`, traceId: trace },
  ]);
});

test('an act that is committed before the correction that it causes is committed beyond work', (t) => {
  const outputs = { purchases: [purchased], acts: [actedOn], enriched: inTurn };
  const commits = (acts: number, ends: number) => [
    noted({ 'purchase-0': 6, 'promo_behavior-0': acts }, { 'purchase_enriched-0': ends }),
  ];
  t.deepEqual(kinds({ ...outputs, commits: commits(9, 21) }), []);
  t.deepEqual(kinds({ ...outputs, commits: commits(10, 22) }), []);
  t.deepEqual(kinds({ ...outputs, commits: commits(10, 21) }), ['committed-beyond']);
});

test('a purchase with a foreign key may be committed when it was moved to its user’s partition', (t) => {
  const foreign = { ...purchased, key: null };
  const movedPurchases = [{ ...purchased, topic: 'purchase_by_user', offset: 2 }];
  const commits = (moved: number) => [
    noted(
      { 'purchase-0': 6, 'purchase_by_user-0': 0 },
      { 'purchase_by_user-0': moved, 'purchase_enriched-0': 0 },
    ),
  ];
  const outputs = { purchases: [foreign], movedPurchases, enriched: inTurn };
  t.deepEqual(kinds({ ...outputs, commits: commits(3) }), []);
  t.deepEqual(kinds({ ...outputs, commits: commits(2) }), ['committed-beyond']);
});

test('what is not understood may be committed when its dead letter is there', (t) => {
  const purchases = [record({ topic: 'purchase', offset: 7, value: poison.poison })];
  const deadLetters = [
    record({
      topic: 'purchase.dlq',
      offset: 4,
      value: poison.poison,
      headers: { 'muster-source': 'purchase-0-7' },
    }),
  ];
  const commits = (ends: number) => [noted({ 'purchase-0': 8 }, { 'purchase.dlq-0': ends })];
  t.deepEqual(kinds({ purchases, deadLetters, commits: commits(5) }), []);
  t.deepEqual(kinds({ purchases, deadLetters, commits: commits(4) }), ['committed-beyond']);
});

test('a partition of which nothing was ever seen committed was not checked', (t) => {
  const outputs = { purchases: [purchased], enriched: inTurn, commits: [noted({ 'purchase-1': 6 }, {})] };
  t.like(check(outputs).findings, [{ kind: 'not-checked', id: 'purchase-0' }]);
});

test('a record of answers that is no answer is wrong, and ends no check', (t) => {
  const broken = record({ topic: 'purchase_enriched', offset: 9, value: '{"purchaseId"' });
  t.like(check({ enriched: [...well.enriched, broken] }).findings, [
    { kind: 'wrong', id: 'purchase_enriched-0-9' },
  ]);
});
