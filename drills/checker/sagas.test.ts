import test from 'ava';
import { checkPay, type PayTold } from './pay.ts';
import { checkSagas, type Saga, type SagaRows } from './sagas.ts';

const recharge = (differences: Partial<Saga> = {}): Saga => ({
  kind: 'recharge',
  id: 'r1',
  state: 'DONE',
  isNew: true,
  account: 'u_1',
  amountMinor: 10_000,
  legs: [{ transferId: 't1', from: 'house:bank', to: 'u_1', amountMinor: 10_000 }],
  payment: { firmbankingId: 'f1', from: 'u_1', to: 'house', amountMinor: 10_000 },
  holds: [],
  rechargeId: null,
  ...differences,
});
const payout = (differences: Partial<Saga> = {}): Saga => ({
  kind: 'remittance',
  id: 'm1',
  state: 'DONE',
  isNew: true,
  account: 'u_1',
  amountMinor: 4_000,
  legs: [
    { transferId: 't2', from: 'u_1', to: 'house:bank', amountMinor: 4_000 },
    { transferId: 't3', from: 'u_1', to: 'house:fee', amountMinor: 500 },
  ],
  payment: { firmbankingId: 'f2', from: 'house', to: 'u_1', amountMinor: 4_000 },
  holds: ['POSTED', 'POSTED'],
  rechargeId: 'r1',
  ...differences,
});
const first = { transferId: 't0', from: 'house:bank', to: 'u_1', amountMinor: 7, reason: 'increase' };
const rows = (differences: Partial<SagaRows> = {}): SagaRows => ({
  sagas: [recharge(), payout()],
  legs: [
    first,
    { ...recharge().legs[0]!, transferId: 't1', reason: 'recharge' },
    { ...payout().legs[0]!, transferId: 't2', reason: 'payout' },
    { ...payout().legs[1]!, transferId: 't3', reason: 'fee' },
  ],
  payments: [
    { ...recharge().payment!, firmbankingId: 'f1', state: 'EXECUTED', isNew: true },
    { ...payout().payment!, firmbankingId: 'f2', state: 'EXECUTED', isNew: true },
  ],
  accounts: new Map([['u_1', { balanceMinor: 5_507, heldMinor: 0 }]]),
  ...differences,
});
const without = <Item>(list: readonly Item[], index: number) => list.filter((_one, at) => at !== index);
const changed = <Item extends object>(list: readonly Item[], index: number, change: Partial<Item>) =>
  list.map((one, at) => (at === index ? { ...one, ...change } : one));
const told = ({ findings }: ReturnType<typeof checkSagas>) => findings.map(({ kind, id }) => `${kind} ${id}`);
const found = (differences: Partial<SagaRows>) => told(checkSagas(rows(differences)));

test('what has ended and moved what its end says is in order; what had ended before the run is not judged', (t) => {
  t.deepEqual(found({}), []);
  t.deepEqual(found({ sagas: [recharge({ isNew: false, state: 'AT_BANK' }), payout()] }), []);
  const failed = payout({ state: 'FAILED', holds: ['RELEASED'], legs: [] });
  const { legs, payments } = rows();
  t.deepEqual(
    found({
      sagas: [recharge(), failed],
      legs: legs.slice(0, 2),
      payments: changed(payments, 1, { state: 'REJECTED' }),
    }),
    [],
  );
});

test('each wrong is told by its id', (t) => {
  const { legs, payments } = rows();
  const only = (saga: Saga) => [
    saga.kind === 'recharge' ? saga : recharge(),
    ...(saga.kind === 'recharge' ? [payout()] : [saga]),
  ];
  t.deepEqual(found({ sagas: only(recharge({ state: 'AT_BANK' })) }), ['lost r1']);
  t.deepEqual(found({ legs: without(legs, 1) }), ['lost r1']);
  t.deepEqual(found({ legs: changed(legs, 1, { to: 'u_2' }) }), ['wrong r1']);
  t.deepEqual(found({ payments: changed(payments, 0, { state: 'REJECTED' }) }), ['ledger f1']);
  t.deepEqual(found({ payments: changed(payments, 0, { amountMinor: 9_999 }) }), ['ledger f1']);
  t.deepEqual(found({ payments: without(payments, 1) }), ['ledger f2']);
  t.deepEqual(found({ sagas: only(payout({ holds: ['POSTED', 'OPEN'] })) }), ['wrong m1']);
  t.deepEqual(found({ sagas: only(payout({ rechargeId: 'r2' })) }), ['wrong m1']);
  t.deepEqual(found({ sagas: only(recharge({ account: 'u_2' })) }), ['wrong m1']);
  t.deepEqual(found({ sagas: only(payout({ state: 'FAILED', holds: ['RELEASED', 'RELEASED'] })) }), [
    'ledger f2',
    'from-nowhere t2',
    'from-nowhere t3',
  ]);
  t.deepEqual(found({ legs: [...legs, { ...legs[1]!, transferId: 't4' }] }), ['from-nowhere t4']);
  t.deepEqual(found({ payments: [...payments, { ...payments[0]!, firmbankingId: 'f3' }] }), [
    'from-nowhere f3',
  ]);
  t.deepEqual(found({ sagas: [...rows().sagas, recharge({ id: 'r9' })] }), ['doubled r9']);
});

const place = (accountNumber: string, depositMinor: number) => ({ bank: 'b', accountNumber, depositMinor });
const asked = (differences: Partial<PayTold['asked'][number]> = {}): PayTold['asked'][number] => ({
  kind: 'remittance',
  ids: ['m1'],
  from: 'alice',
  amountMinor: 4_000,
  owes: 'ended',
  outcome: 'accepted',
  end: 'DONE',
  ...differences,
});
const judged = (
  list: readonly PayTold['asked'][number][],
  more: Partial<Parameters<typeof checkPay>[0]> = {},
) =>
  told(
    checkPay({
      told: {
        members: [
          {
            memberId: 'alice',
            transferId: 't0',
            amountMinor: 7,
            bank: place('1', 90_000),
            payee: place('2', 0),
          },
        ],
        asked: list,
      },
      rows: rows(),
      balances: new Map([['alice', 5_507]]),
      atBanks: new Map([
        ['b 1', 80_000],
        ['b 2', 4_000],
      ]),
      banksSumMinor: 0,
      ...more,
    }),
  );

test('what members were told is what is there, and they have what follows from it, here and at the bank', (t) => {
  t.deepEqual(judged([asked({ ids: ['m1', 'm1'] })]), []);
  t.deepEqual(judged([asked({ outcome: 'failed', ids: [], end: undefined })]), [], 'in doubt');
  t.deepEqual(judged([asked(), asked({ amountMinor: 5, owes: 'refused', outcome: 'refused', ids: [] })]), []);
});

test('each difference between what members were told and what is there is found', (t) => {
  t.deepEqual(judged([]), ['from-nowhere m1']);
  t.deepEqual(judged([asked(), asked({ ids: ['m2'], amountMinor: 1 })]), ['lost m2']);
  t.deepEqual(judged([asked({ ids: ['m1', 'm2'] })]), ['doubled m1']);
  t.deepEqual(judged([asked({ end: 'FAILED' })]), ['wrong m1']);
  const open = rows({ sagas: [recharge(), payout({ state: 'PAYOUT' })] });
  t.true(judged([asked({ end: undefined })], { rows: open }).includes('untold m1'));
  t.false(judged([asked({ end: undefined })]).includes('untold m1'), 'it ended after its member had gone');
  t.deepEqual(judged([asked({ owes: 'FAILED' })]), ['wrong m1']);
  t.deepEqual(judged([asked({ owes: 'refused' })]), ['wrong m1']);
  t.deepEqual(judged([asked({ amountMinor: 4_001 })]), ['wrong m1']);
  t.deepEqual(judged([asked()], { balances: new Map([['alice', 5_508]]) }), ['ledger u_1']);
  t.deepEqual(judged([asked()], { atBanks: new Map([['b 1', 80_000]]) }), ['ledger u_1']);
  t.deepEqual(judged([asked()], { banksSumMinor: 1 }), ['ledger banks']);
  t.deepEqual(
    judged([asked()], {
      rows: rows({ accounts: new Map([['u_1', { balanceMinor: 5_507, heldMinor: 1 }]]) }),
    }),
    ['ledger u_1'],
  );
  t.deepEqual(judged([asked()], { rows: rows({ legs: rows().legs.slice(1) }) }), ['lost t0', 'wrong m1']);
});
