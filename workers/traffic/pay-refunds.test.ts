import test from 'ava';
import { owedOf, refundPlans, refundsOf } from './pay-refunds.ts';

test('parts are all that was paid and differ, twice is twice all of it, and what comes after is too much', (t) => {
  for (const paidMinor of [1_000, 1_001, 1_002, 77_777]) {
    const { atOnce, after } = refundsOf('parts', paidMinor);
    t.is(
      atOnce.reduce((sum, part) => sum + part, 0),
      paidMinor,
    );
    t.is(new Set([...atOnce, ...after]).size, atOnce.length + after.length);
    t.deepEqual(refundsOf('twice', paidMinor), { atOnce: [paidMinor, paidMinor], after: [] });
    t.deepEqual(refundsOf('none', paidMinor), { atOnce: [], after: [] });
  }
  t.true(refundPlans.includes('parts') && refundPlans.includes('twice'));
});

test('of two at once one is carried out: the accepted one, else the one that nobody knows of', (t) => {
  const [accepted, refused, failed] = (['accepted', 'refused', 'failed'] as const).map((outcome) => ({
    outcome,
  }));
  const owed = (...sent: readonly { readonly outcome: 'accepted' | 'refused' | 'failed' }[]) =>
    owedOf('twice', sent).map(([{ outcome }, owes]) => `${outcome} ${owes}`);
  t.deepEqual(owed(refused!, accepted!), ['accepted DONE', 'refused refused']);
  t.deepEqual(owed(failed!, accepted!), ['accepted DONE', 'failed refused']);
  t.deepEqual(owed(refused!, failed!), ['failed DONE', 'refused refused']);
  t.deepEqual(
    owed(accepted!, accepted!),
    ['accepted DONE', 'accepted refused'],
    'the judge tells the second',
  );
  t.deepEqual(owed(refused!, refused!), ['refused DONE', 'refused refused'], 'the judge tells the first');
  t.deepEqual(
    owedOf('parts', [accepted!, refused!]).map(([, owes]) => owes),
    ['DONE', 'DONE'],
  );
});
