import test from 'ava';
import fc from 'fast-check';
import { type Account, changeState, decide, type LedgerAnswer, type Operation } from './ledger.ts';

const account = (accountId: string, change: Partial<Account> = {}): Account => ({
  accountId,
  currency: 'KRW',
  state: 'OPEN',
  mayOverdraw: false,
  balanceMinor: 100,
  heldMinor: 0,
  version: 1,
  ...change,
});
const bank = account('bank', { mayOverdraw: true, balanceMinor: -200 });

let ids = 0;
const send = (amountMinor: number, from = 'a', to = 'b', currency = 'KRW'): Operation => ({
  kind: 'transfer',
  transferId: `t-${++ids}`,
  currency,
  legs: [{ from, to, amountMinor, reason: 'transfer' }],
});

function run(
  operations: readonly Operation[],
  accounts: readonly Account[] = [account('a'), account('b'), bank],
) {
  const decision = decide(
    {
      accounts: new Map(accounts.map((one) => [one.accountId, one])),
      holds: new Map(),
      transfers: new Map(),
    },
    operations,
  );
  const after = (id: string) => decision.accounts.find(({ accountId }) => accountId === id);
  return { ...decision, after, codes: decision.answers.map(codeOf) };
}
const codeOf = (answer: LedgerAnswer) => (answer.ok ? 'ok' : answer.refusal.code.replace('MUSTER_', ''));

test('a transfer is a debit and a credit of one amount; balances and versions go on from what was', (t) => {
  const { codes, legs, after } = run([send(30)]);
  t.deepEqual(codes, ['ok']);
  t.deepEqual(legs[0]!.debit, { accountId: 'a', version: 2, amountMinor: -30, balanceMinor: 70 });
  t.deepEqual(legs[0]!.credit, { accountId: 'b', version: 2, amountMinor: 30, balanceMinor: 130 });
  t.like(after('a'), { balanceMinor: 70, version: 2 });
});

test('each is decided on what the ones before it left: the same money is spent once', (t) => {
  t.deepEqual(run([send(60), send(60), send(40)]).codes, ['ok', 'MONEY_SHORT', 'ok']);
  t.deepEqual(run([send(100), send(150, 'b', 'a')]).codes, ['ok', 'ok'], 'what has come in may go on');
});

test('the legs of a transfer are booked together or not at all', (t) => {
  const legs = [
    { from: 'a', to: 'b', amountMinor: 80, reason: 'payment' },
    { from: 'a', to: 'bank', amountMinor: 30, reason: 'fee' },
  ];
  const whole: Operation = { kind: 'transfer', transferId: 't', currency: 'KRW', legs };
  const { codes, legs: booked, accounts } = run([whole]);
  t.deepEqual([codes, booked, accounts], [['MONEY_SHORT'], [], []]);
  const cheaper = { ...whole, legs: [legs[0]!, { ...legs[1]!, amountMinor: 20 }] };
  t.deepEqual(run([cheaper, send(1)]).codes, ['ok', 'MONEY_SHORT']);
});

test('what is no amount, to oneself, unknown, of another currency or not open is refused, the first of these', (t) => {
  for (const amount of [0, -1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])
    t.deepEqual(run([send(amount, 'x', 'x')]).codes, ['AMOUNT_INVALID'], String(amount));
  t.deepEqual(run([send(1, 'x', 'x')]).codes, ['SAME_ACCOUNT']);
  t.deepEqual(run([send(1, 'x', 'b'), send(1, 'a', 'x')]).codes, ['ACCOUNT_UNKNOWN', 'ACCOUNT_UNKNOWN']);
  t.deepEqual(run([send(1, 'a', 'b', 'USD')]).codes, ['CURRENCIES_DIFFER']);
  t.deepEqual(
    run([send(1)], [account('a'), account('b', { currency: 'USD' })]).codes,
    ['CURRENCIES_DIFFER'],
    'no money changes its currency on the way',
  );
  for (const state of ['SUSPENDED', 'CLOSED'] as const) {
    t.deepEqual(run([send(1_000)], [account('a', { state }), account('b')]).codes, ['ACCOUNT_NOT_OPEN']);
    t.deepEqual(run([send(1)], [account('a'), account('b', { state })]).codes, ['ACCOUNT_NOT_OPEN']);
  }
  const most = Number.MAX_SAFE_INTEGER;
  t.deepEqual(run([send(1)], [account('a'), account('b', { balanceMinor: most })]).codes, [
    'BALANCE_TOO_LARGE',
  ]);
});

test('what is held cannot be spent until it is released; posting a part frees the rest', (t) => {
  const hold: Operation = {
    kind: 'hold',
    holdId: 'h',
    currency: 'KRW',
    leg: { from: 'a', to: 'b', amountMinor: 70, reason: 'transfer' },
  };
  t.deepEqual(run([hold, send(31), send(30)]).codes, ['ok', 'MONEY_SHORT', 'ok']);
  t.deepEqual(run([hold, { kind: 'release', holdId: 'h' }, send(100)]).codes, ['ok', 'ok', 'ok']);
  const post = { kind: 'post', transferId: 'p', holdId: 'h', amountMinor: 50 } as const;
  const posted = run([hold, post, send(51), send(50)]);
  t.deepEqual(posted.codes, ['ok', 'ok', 'MONEY_SHORT', 'ok']);
  t.like(posted.after('a'), { balanceMinor: 0, heldMinor: 0 });
  t.deepEqual(run([hold, { ...post, amountMinor: 71 }, post, post, { kind: 'release', holdId: 'h' }]).codes, [
    'ok',
    'HOLD_EXCEEDED',
    'ok',
    'HOLD_ENDED',
    'HOLD_ENDED',
  ]);
  t.deepEqual(run([post]).codes, ['HOLD_UNKNOWN']);
});

test('a promise made before a suspension is kept; to a closed account it cannot be', (t) => {
  const leg = { from: 'a', to: 'b', amountMinor: 70, reason: 'transfer' };
  const state = (change: Partial<Account>) => ({
    accounts: new Map([
      ['a', account('a', { heldMinor: 70, state: 'SUSPENDED' })],
      ['b', account('b', change)],
    ]),
    holds: new Map([['h', { holdId: 'h', currency: 'KRW', leg, state: 'OPEN' as const }]]),
    transfers: new Map(),
  });
  const post = { kind: 'post', transferId: 'p', holdId: 'h' } as const;
  t.deepEqual(decide(state({}), [post]).answers.map(codeOf), ['ok']);
  t.deepEqual(
    decide(state({ state: 'CLOSED' }), [post, { kind: 'release', holdId: 'h' }]).answers.map(codeOf),
    ['ACCOUNT_NOT_OPEN', 'ok'],
  );
});

test('a correction takes every leg back, once, and not what has been spent since', (t) => {
  const legs = [
    { from: 'a', to: 'b', amountMinor: 80, reason: 'transfer' },
    { from: 'b', to: 'bank', amountMinor: 130, reason: 'fee' },
  ];
  const transfers = new Map([['t', { transferId: 't', currency: 'KRW', legs, corrected: false }]]);
  const accounts = new Map(
    [account('a', { balanceMinor: 20 }), account('b', { balanceMinor: 50 }), bank].map((one) => [
      one.accountId,
      one,
    ]),
  );
  const correct = (id: string): Operation => ({ kind: 'correct', transferId: id, corrects: 't' });
  const { answers, accounts: after } = decide({ accounts, holds: new Map(), transfers }, [
    correct('c'),
    correct('d'),
  ]);
  t.deepEqual(answers.map(codeOf), ['ok', 'TRANSFER_CORRECTED']);
  t.deepEqual(
    after.map(({ accountId, balanceMinor }) => [accountId, balanceMinor]),
    [
      ['a', 100],
      ['b', 100],
      ['bank', -330],
    ],
  );
  const spent = { ...account('b', { balanceMinor: 0 }) };
  const one = new Map([['t', { ...transfers.get('t')!, legs: [legs[0]!] }]]);
  const later = decide({ accounts: new Map([...accounts, ['b', spent]]), holds: new Map(), transfers: one }, [
    correct('c'),
  ]);
  t.deepEqual(later.answers.map(codeOf), ['MONEY_SHORT']);
  t.deepEqual(run([correct('c')]).codes, ['TRANSFER_UNKNOWN']);
  const ofPayment = { ...transfers.get('t')!, legs: [{ ...legs[0]!, reason: 'payment' }] };
  const refused = decide({ accounts, holds: new Map(), transfers: new Map([['t', ofPayment]]) }, [
    correct('c'),
  ]);
  t.deepEqual(refused.answers.map(codeOf), ['TRANSFER_OF_PAYMENT'], 'the payment would not know of it');
  t.deepEqual(refused.legs, []);
});

test('an account is closed for good, and only when nothing is in it or under way', (t) => {
  const code = (from: Partial<Account>, to: Account['state']) => {
    const changed = changeState(account('a', from), to);
    return changed.ok ? changed.account.state : changed.refusal.code;
  };
  t.is(code({}, 'SUSPENDED'), 'SUSPENDED');
  t.is(code({ state: 'SUSPENDED' }, 'OPEN'), 'OPEN');
  t.is(code({}, 'CLOSED'), 'MUSTER_ACCOUNT_NOT_EMPTY');
  t.is(code({ balanceMinor: 0 }, 'CLOSED'), 'CLOSED');
  t.is(code({ state: 'CLOSED' }, 'OPEN'), 'MUSTER_ACCOUNT_NOT_OPEN');
});

const name = fc.constantFrom('a', 'b', 'c', 'bank');
const amount = fc.integer({ min: -2, max: 120 });
const leg = fc.record({ from: name, to: name, amountMinor: amount, reason: fc.constant('any') });

test('whatever is asked: nothing appears or disappears, nobody is below zero, no version is missing or twice', (t) => {
  fc.assert(
    fc.property(fc.array(fc.array(leg, { minLength: 1, maxLength: 3 }), { maxLength: 30 }), (all) => {
      const before = [account('a'), account('b'), account('c'), { ...bank, balanceMinor: -300 }];
      const operations = all.map(
        (legs, n): Operation => ({ kind: 'transfer', transferId: `${n}`, currency: 'KRW', legs }),
      );
      const { answers, legs, accounts } = run(operations, before);
      const after = new Map([...before, ...accounts].map((one) => [one.accountId, one]));
      t.is(
        [...after.values()].reduce((sum, { balanceMinor }) => sum + balanceMinor, 0),
        0,
      );
      for (const one of after.values()) {
        t.true(one.mayOverdraw || one.balanceMinor >= 0);
        const own = legs
          .flatMap(({ debit, credit }) => [debit, credit])
          .filter(({ accountId }) => accountId === one.accountId);
        t.deepEqual(
          own.map(({ version }) => version),
          own.map((_, index) => index + 2),
        );
        const start = before.find(({ accountId }) => accountId === one.accountId)!;
        let running = start.balanceMinor;
        for (const entry of own) {
          running += entry.amountMinor;
          t.is(entry.balanceMinor, running);
        }
        t.is(one.balanceMinor, running);
      }
      const booked = new Set(legs.map(({ transferId }) => transferId));
      for (const [n, answer] of answers.entries()) t.is(booked.has(`${n}`), answer.ok);
    }),
  );
});
