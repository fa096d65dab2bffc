import test from 'ava';
import fc from 'fast-check';
import type { State } from '../platform/move.ts';
import { begunMove } from '../platform/move-sagas.ts';
import { refundOf, type Slip } from './payment.ts';
import { type Found, owedKey, type SlipRows, slipKind } from './slips.ts';

const won = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
const payment = (refundedMinor = 0, state: State = 'DONE', kind: Slip['kind'] = 'PAYMENT') => ({
  one: { ...won(1_000), state },
  own: { kind, refundedMinor },
});
const codeOf = (decided: ReturnType<typeof refundOf>) => (decided.ok ? undefined : decided.refusal.code);

test('what is left can be refunded, to the unit; the whole only when nothing was', (t) => {
  t.like(refundOf(payment(400), won(600)), { amountMinor: 600 });
  t.is(codeOf(refundOf(payment(400), won(601))), 'MUSTER_REFUND_TOO_LARGE');
  t.like(refundOf(payment(), undefined), { amountMinor: 1_000 });
  t.is(codeOf(refundOf(payment(1), undefined)), 'MUSTER_REFUND_TOO_LARGE');
});

test('only what was paid is refunded: not what is under way, has failed, or is a refund itself', (t) => {
  for (const state of ['TRANSFER', 'RECHARGE', 'RECHARGING', 'FAILED'] as const)
    t.is(codeOf(refundOf(payment(0, state), won(1))), 'MUSTER_PAYMENT_NOT_PAID');
  t.is(codeOf(refundOf(payment(0, 'DONE', 'REFUND'), won(1))), 'MUSTER_PAYMENT_IS_REFUND');
  t.is(codeOf(refundOf(payment(), { amountMinor: 1, currency: 'USD' })), 'MUSTER_CURRENCIES_DIFFER');
});

test('in any order of refunds that are asked for, booked and fail, no more is given back than was paid, and the rest always can be', (t) => {
  const step = fc.oneof(
    fc.record({ ask: fc.option(fc.integer({ min: 1, max: 1_200 })) }),
    fc.record({ end: fc.nat(), done: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let refundedMinor = 0;
      const open: number[] = [];
      const booked: number[] = [];
      const sum = (all: readonly number[]) => all.reduce((so, each) => so + each, 0);
      for (const each of steps) {
        if ('ask' in each) {
          const decided = refundOf(payment(refundedMinor), each.ask === null ? undefined : won(each.ask));
          const asked = each.ask ?? 1_000;
          if (decided.ok !== asked <= 1_000 - sum(open) - sum(booked)) return false;
          if (!decided.ok) continue;
          refundedMinor += decided.amountMinor;
          open.push(decided.amountMinor);
        } else if (open.length > 0) {
          const [ended] = open.splice(each.end % open.length, 1);
          if (each.done) booked.push(ended!);
          else refundedMinor -= ended!;
        }
        if (sum(open) + sum(booked) > 1_000) return false;
      }
      const left = 1_000 - sum(open) - sum(booked);
      return left === 0 || refundOf(payment(refundedMinor), won(left)).ok;
    }),
  );
  t.pass();
});

test('a merchant who is suspended or has left gives nothing back by themselves; staff does', async (t) => {
  const [paymentId, customer, merchant] = ['p', 'u_customer', 'u_merchant'];
  const way = { sender: customer, to: { member: 'house:merchants' }, feeMinor: 0, rechargeFrom: undefined };
  const paid: Found = {
    one: { ...begunMove(paymentId, { ...way, ...won(1_000) }), state: 'DONE' },
    own: { kind: 'PAYMENT', paymentId, customer, merchant, refundedMinor: 0 },
    requestedAtMs: 0,
    decidedAtMs: 1,
    traceparent: undefined,
  };
  const owedMinor = 1_000;
  for (const state of ['ACTIVE', 'SUSPENDED', 'CLOSED'] as const) {
    let refundedMinor = 0;
    const rows: Pick<SlipRows, 'merchants' | 'owed' | 'lock' | 'addRefunded'> = {
      merchants: async (which) => new Map(which.map((each) => [each, state])),
      owed: async () => new Map([[owedKey(merchant, 'KRW'), owedMinor]]),
      lock: async () => [paid],
      async addRefunded(sums) {
        refundedMinor += sums.get(paymentId)!;
      },
    };
    const refund = async (by: string | undefined) => {
      const wish = { kind: 'REFUND', paymentId, merchant: by, amount: won(300) } as const;
      const [begun] = await slipKind.begin(rows as SlipRows, [{ id: 'r', wish }]);
      return 'refusal' in begun! ? begun.refusal.code : begun!.one.amountMinor;
    };
    t.is(await refund(merchant), state === 'ACTIVE' ? 300 : 'MUSTER_MERCHANT_NOT_ACTIVE');
    t.is(await refund('u_other'), 'MUSTER_PAYMENT_UNKNOWN');
    t.is(await refund(undefined), 300);
    t.is(refundedMinor, state === 'ACTIVE' ? 600 : 300);
  }
});

test('of what is still owed to a merchant no more is given back than there is, however many ask at once; staff is not asked', async (t) => {
  const [customer, merchant] = ['u_customer', 'u_merchant'];
  const way = { sender: customer, to: { member: 'house:merchants' }, feeMinor: 0, rechargeFrom: undefined };
  const paid = (paymentId: string): Found => ({
    one: { ...begunMove(paymentId, { ...way, ...won(1_000) }), state: 'DONE' },
    own: { kind: 'PAYMENT', paymentId, customer, merchant, refundedMinor: 0 },
    ...{ requestedAtMs: 0, decidedAtMs: 1, traceparent: undefined },
  });
  const rows: Pick<SlipRows, 'merchants' | 'owed' | 'lock' | 'addRefunded'> = {
    merchants: async () => new Map([[merchant, 'ACTIVE']]),
    owed: async () => new Map([[owedKey(merchant, 'KRW'), 1_500]]),
    lock: async (ids) => ids.map(paid),
    async addRefunded() {},
  };
  const ask = (paymentId: string, by: string | undefined, amountMinor: number) => ({
    id: paymentId,
    wish: { kind: 'REFUND', paymentId, merchant: by, amount: won(amountMinor) } as const,
  });
  const begun = await slipKind.begin(rows as SlipRows, [
    ask('one', merchant, 1_000),
    ask('two', merchant, 501),
    ask('three', undefined, 400),
    ask('four', merchant, 101),
    ask('five', merchant, 100),
    ask('six', undefined, 1_000),
  ]);
  const uncovered = 'MUSTER_REFUND_NOT_COVERED';
  t.deepEqual(
    begun.map((each) => ('refusal' in each ? each.refusal.code : each.one.amountMinor)),
    [1_000, uncovered, 400, uncovered, 100, 1_000],
  );
});
