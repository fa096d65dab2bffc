import test from 'ava';
import { checkMoney, type LedgerRows, type MoneyInputs, type SentAmount } from './money.ts';

const members = ['anna', 'ben'].map((member) => ({
  member,
  transferId: `funds-${member}`,
  amountMinor: 1_000,
}));
const numbers = { bank: 1, anna: 2, ben: 3 };
type Name = keyof typeof numbers;
type Booked = readonly [transferId: string, from: Name, to: Name, amountMinor: number];

/** Books in order with these transfers. */
function books(booked: readonly Booked[]): LedgerRows {
  const accounts = new Map(
    Object.entries(numbers).map(([name, no]) => [
      no,
      { no, id: name === 'bank' ? 'house:bank:KRW/0' : `u_${no}`, balance: 0, version: 0 },
    ]),
  );
  const entries: LedgerRows['entries'][number][] = [];
  const enter = (transferId: string, no: number, amountMinor: number) => {
    const account = accounts.get(no)!;
    const beforeMinor = account.version === 0 ? null : account.balance;
    account.balance += amountMinor;
    account.version += 1;
    const { version, balance: balanceMinor } = account;
    entries.push({ no, version, transferId, leg: 0, amountMinor, balanceMinor, beforeMinor });
    return version;
  };
  const legs = booked.map(([transferId, from, to, amountMinor]) => ({
    transferId,
    leg: 0,
    fromNo: numbers[from],
    fromVersion: enter(transferId, numbers[from], -amountMinor),
    toNo: numbers[to],
    toVersion: enter(transferId, numbers[to], amountMinor),
    amountMinor,
  }));
  return {
    legs,
    entries,
    accounts: [...accounts.values()].map(({ no, id, balance, version }) => ({
      no,
      id,
      currency: 'KRW',
      balanceMinor: balance,
      heldMinor: 0,
      version,
      entriesMinor: balance,
      entries: version,
      openMinor: 0,
    })),
  };
}

const funds: readonly Booked[] = [
  ['funds-anna', 'bank', 'anna', 1_000],
  ['funds-ben', 'bank', 'ben', 1_000],
];
const sent = (one: Partial<SentAmount>): SentAmount => ({
  amountMinor: 10,
  from: 'anna',
  to: 'ben',
  owes: 'booked',
  outcome: 'booked',
  transferIds: ['t'],
  ...one,
});

function named(one: Partial<SentAmount>, booked: readonly Booked[], more: Partial<MoneyInputs> = {}) {
  const rows = books([...funds, ...booked]);
  const balances = new Map(
    members.map(({ member }) => [
      member,
      rows.accounts.find(({ no }) => no === numbers[member as Name])!.balanceMinor,
    ]),
  );
  const told = { members, sent: [sent(one)] };
  const { findings } = checkMoney({ told, rows, balances, personal: ['anna', 'ben'], ...more });
  return findings.map(({ kind, id }) => `${kind} ${id}`);
}
const once: Booked = ['t', 'anna', 'ben', 10];

test('what was booked once, refused and not booked, or is in doubt either way, is in order', (t) => {
  t.deepEqual(named({}, [once]), []);
  t.deepEqual(named({ transferIds: ['t', 't'] }, [once]), [], 'asked for again');
  t.deepEqual(named({ outcome: 'refused', owes: 'refused', transferIds: [] }, []), []);
  t.deepEqual(named({ outcome: 'failed', transferIds: [] }, []), []);
  t.deepEqual(named({ outcome: 'failed', transferIds: [] }, [once]), []);
});

test('what was acknowledged must be there, once, between its members; what was refused must not', (t) => {
  t.deepEqual(named({}, []), ['lost t', 'ledger u_2', 'ledger u_3']);
  t.deepEqual(named({}, [once, ['t2', 'anna', 'ben', 10]]), [
    'doubled t',
    'wrong t',
    'ledger u_2',
    'ledger u_3',
  ]);
  t.deepEqual(named({ transferIds: ['t', 't2'] }, [once]), ['doubled t']);
  t.deepEqual(named({}, [['t', 'ben', 'anna', 10]]), ['wrong t', 'ledger u_2', 'ledger u_3']);
  t.deepEqual(named({ outcome: 'refused', transferIds: [] }, []), ['wrong 10 minor units']);
  t.true(named({ outcome: 'refused', owes: 'refused', transferIds: [] }, [once]).includes('wrong t'));
  t.deepEqual(named({ owes: 'refused' }, [once]), ['wrong t']);
  t.deepEqual(named({ outcome: 'failed', owes: 'refused', transferIds: [] }, [once]), ['wrong t']);
  t.true(named({}, [once, ['x', 'anna', 'ben', 11]]).includes('from-nowhere x'));
  t.true(named({}, [once], { rows: books([funds[0]!, once]) }).includes('lost funds-ben'));
});

test('the API must say what the store says, and no account may have a member’s name', (t) => {
  t.deepEqual(named({}, [once], { balances: new Map([['anna', 990]]) }), ['wrong u_3']);
  t.deepEqual(named({}, [once], { personal: ['u_'] }), Array(2).fill('personal-data ledger_account'));
});

test('the books are judged whoever has booked: sums, accounts, holds, entries and what they stand on', (t) => {
  const rows = books([...funds, once, ['u', 'ben', 'anna', 1]]);
  const told = { members: [], sent: [] };
  const judged = (change: Partial<LedgerRows>) =>
    checkMoney({ told, rows: { ...rows, ...change }, balances: new Map(), personal: [] }).findings.map(
      ({ kind, id }) => `${kind} ${id}`,
    );
  const account = (change: Partial<LedgerRows['accounts'][number]>) => ({
    accounts: rows.accounts.map((one) => (one.no === numbers.ben ? { ...one, ...change } : one)),
  });
  const entry = (change: Partial<LedgerRows['entries'][number]>) => ({
    entries: rows.entries.map((one) =>
      one.transferId === 't' && one.no === 3 ? { ...one, ...change } : one,
    ),
  });
  t.deepEqual(judged({}), []);
  t.deepEqual(judged(account({ balanceMinor: 5 })), ['ledger KRW', 'ledger u_3']);
  t.deepEqual(judged(account({ version: 9 })), ['ledger u_3']);
  t.deepEqual(judged(account({ heldMinor: 3 })), ['ledger u_3']);
  t.deepEqual(judged(account({ heldMinor: 5_000, openMinor: 5_000 })), ['ledger u_3']);
  t.deepEqual(judged(entry({ amountMinor: 11 })), ['ledger t', 'ledger t']);
  t.deepEqual(judged(entry({ beforeMinor: 7 })), ['ledger t']);
  t.deepEqual(judged(entry({ version: 8 })), ['ledger t', 'ledger t']);
  t.deepEqual(judged({ legs: rows.legs.filter(({ transferId }) => transferId !== 't') }), [
    'ledger t',
    'ledger t',
  ]);
});
