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
        settlements: [],
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

const paid = (differences: Partial<Saga> = {}): Saga => ({
  ...payout({ kind: 'payment', id: 'p1', account: 'u_1', amountMinor: 300, holds: [], rechargeId: null }),
  merchant: 'u_shop',
  legs: [{ transferId: 't5', from: 'u_1', to: 'house:merchants', amountMinor: 300 }],
  payment: undefined,
  ...differences,
});
const refunded = (differences: Partial<Saga> = {}): Saga => ({
  ...paid({ kind: 'refund', id: 'b1', amountMinor: 100 }),
  paymentId: 'p1',
  legs: [{ transferId: 't6', from: 'house:merchants', to: 'u_1', amountMinor: 100 }],
  ...differences,
});
const atShop = (sagas: readonly Saga[], legs = ['t5', 't6']): SagaRows =>
  rows({
    sagas,
    payments: [],
    legs: [
      { ...first, amountMinor: 1_000 },
      { transferId: 'ts', from: 'house:bank', to: 'u_shop', amountMinor: 7, reason: 'increase' },
      ...legs.map((transferId) => ({
        ...(transferId === 't5' ? paid() : refunded()).legs[0]!,
        transferId,
        reason: transferId === 't5' ? 'payment' : 'refund',
      })),
    ],
    accounts: new Map([
      ['u_1', { balanceMinor: 800, heldMinor: 0 }],
      ['u_shop', { balanceMinor: 7, heldMinor: 0 }],
    ]),
  });

test('a payment and its refund move what they say once, and nothing when they fail', (t) => {
  const judge = (sagas: readonly Saga[], legs?: string[]) => told(checkSagas(atShop(sagas, legs)));
  t.deepEqual(judge([paid(), refunded()]), []);
  t.deepEqual(judge([paid(), refunded({ state: 'TRANSFER' })]), ['lost b1']);
  t.deepEqual(judge([paid(), refunded()], ['t5']), ['lost b1']);
  t.deepEqual(judge([paid(), refunded({ state: 'FAILED' })]), ['from-nowhere t6']);
  t.deepEqual(judge([paid({ state: 'FAILED', legs: [] })], ['t5']), ['from-nowhere t5']);
  t.deepEqual(judge([paid(), paid({ id: 'p2' }), refunded()]), ['doubled p2']);
  t.deepEqual(judge([paid({ legs: [{ ...paid().legs[0]!, amountMinor: 299 }] }), refunded()]), ['wrong p1']);
});

test('payments and refunds are those that were asked for, of that merchant and payment; settlements ended as staff was told', (t) => {
  const payment = { kind: 'payment', ids: ['p1'], amountMinor: 300, merchant: 'shop' } as const;
  const refund = { ...payment, kind: 'refund', ids: ['b1'], amountMinor: 100, paymentId: 'p1' } as const;
  const settlement = (state: string): Saga => ({
    ...paid({ kind: 'settlement', id: 's1', account: 'u_shop', amountMinor: 200, legs: [] }),
    state,
  });
  const look = (
    list: readonly Partial<PayTold['asked'][number]>[],
    sagas: readonly Saga[] = [paid(), refunded()],
    settlements: PayTold['settlements'] = [],
  ) =>
    told(
      checkPay({
        told: {
          members: ['alice', 'shop'].map((memberId, index) => ({
            memberId,
            transferId: ['t0', 'ts'][index]!,
            amountMinor: [1_000, 7][index]!,
            bank: place('1', 0),
            payee: place('2', 0),
          })),
          asked: list.map(asked),
          settlements,
        },
        rows: atShop(sagas),
        balances: new Map([
          ['alice', 800],
          ['shop', 7],
        ]),
        atBanks: new Map([
          ['b 1', 0],
          ['b 2', 0],
        ]),
        banksSumMinor: 0,
      }),
    );
  t.deepEqual(look([payment, refund]), []);
  t.deepEqual(look([payment, { ...refund, outcome: 'failed', ids: [], end: undefined }]), []);
  t.deepEqual(look([payment, { ...refund, outcome: 'failed', ids: [], end: undefined, paymentId: 'p2' }]), [
    'from-nowhere b1',
  ]);
  t.deepEqual(look([payment]), ['from-nowhere b1']);
  t.deepEqual(look([payment, { ...refund, owes: 'refused' }]), ['wrong b1']);
  t.deepEqual(look([payment, { ...refund, paymentId: 'p2' }]), ['wrong b1']);
  t.deepEqual(look([{ ...payment, merchant: 'alice' }, refund]), ['wrong p1']);
  t.deepEqual(look([payment, refund], [paid({ merchant: 'u_other' }), refunded()]), ['wrong p1']);

  const settled = (state: string, said: string, merchant = 'shop') =>
    look([payment, refund], [paid(), refunded(), settlement(state)], [{ id: 's1', merchant, state: said }]);
  t.deepEqual(settled('DONE', 'DONE'), []);
  t.deepEqual(settled('CARRIED', 'PAYOUT'), [], 'it ended after somebody looked');
  t.deepEqual(settled('STOPPED', 'STOPPED'), ['lost s1']);
  t.deepEqual(settled('DONE', 'CARRIED'), ['wrong s1']);
  t.deepEqual(settled('DONE', 'DONE', 'alice'), ['wrong s1']);
  t.deepEqual(look([payment, refund], undefined, [{ id: 's1', merchant: 'shop', state: 'DONE' }]), [
    'lost s1',
  ]);
});
