import test from 'ava';
import fc from 'fast-check';
import {
  afterCall,
  type Contract,
  type Firmbanking,
  invalidity,
  isOpen,
  masked,
  type RegisteredAccount,
  refusalOf,
  type Said,
  stepOf,
  type Word,
} from './firmbanking.ts';

const party = (accountId: string) => ({ accountId, owner: 'u', bank: 'hana', accountNumber: accountId });
const asked: Firmbanking = {
  firmbankingId: 'f',
  bank: 'hana',
  from: party('a'),
  to: party('b'),
  amountMinor: 5,
  currency: 'KRW',
  state: 'REQUESTED',
  reason: undefined,
  mayBeKnown: false,
  decidedBy: undefined,
  feeMinor: 1,
  tries: 0,
  claim: 0,
};
const up = { bankDown: false, contract: undefined };
const said = (word: Word): Said => ({ word, outcome: '2xx' });
const unclear = said({ kind: 'UNCLEAR' });

/** A call that is made and ends as said. */
function called(one: Firmbanking, answer: Said): Firmbanking {
  const step = stepOf(one, up);
  return afterCall(step.next, one, step.next.claim, step.call!, answer)!.next;
}

test('an answer that never came is asked for by its id, and sent again only when the bank knows none', (t) => {
  const inDoubt = called(asked, unclear);
  t.like(inDoubt, { state: 'IN_DOUBT', mayBeKnown: true });
  t.is(stepOf(inDoubt, up).call, 'ASK');
  t.is(stepOf(called(inDoubt, unclear), up).call, 'ASK', 'again and again');
  const unknown = called(inDoubt, said({ kind: 'UNKNOWN' }));
  t.like(unknown, { state: 'WAITING', reason: 'BANK_KNOWS_NONE', mayBeKnown: true });
  t.is(stepOf(unknown, up).call, 'SEND');
  t.like(called(inDoubt, said({ kind: 'EXECUTED' })), { state: 'EXECUTED', decidedBy: 'BANK' });
});

test('a bank that is at work is asked ever more seldom: each call costs', (t) => {
  const gaps: (number | undefined)[] = [];
  let one = asked;
  for (let calls = 0; calls < 8; calls += 1) {
    const { next, call } = stepOf(one, up);
    const after = afterCall(next, one, next.claim, call!, said({ kind: 'PENDING' }))!;
    t.like(after.next, { state: 'IN_DOUBT', reason: 'BANK_AT_WORK' });
    gaps.push(after.againInMs);
    one = after.next;
  }
  t.deepEqual(gaps, [5_000, 5_000, 5_000, 10_000, 20_000, 30_000, 60_000, 60_000]);
});

test('who died between the call and the commit leaves a row of which the bank is asked', (t) => {
  const { next } = stepOf(asked, up);
  t.is(next.state, 'SENT');
  t.is(stepOf(next, up).call, 'ASK');
});

test('what the bank may have heard of is never rejected by us, whatever becomes of the contract', (t) => {
  const expired = { bankDown: false, contract: 'CONTRACT_EXPIRED' };
  t.like(stepOf(asked, expired).next, { state: 'REJECTED', reason: 'CONTRACT_EXPIRED', decidedBy: 'US' });
  const unknown = called(called(asked, unclear), said({ kind: 'UNKNOWN' }));
  t.is(stepOf(unknown, expired).call, 'SEND');
  const notSent = called(asked, said({ kind: 'NOT_SENT' }));
  t.like(notSent, { state: 'WAITING', reason: 'BANK_DOWN', mayBeKnown: false, tries: 0 });
  t.is(stepOf(notSent, expired).next.state, 'REJECTED');
  const again = called(unknown, said({ kind: 'NOT_SENT' }));
  t.like(again, { state: 'WAITING', mayBeKnown: true }, 'the first may still arrive');
  t.is(stepOf(again, expired).call, 'SEND');
});

test('a bank that is down is not called: what was not sent waits, what was sent stays in doubt', (t) => {
  const down = { bankDown: true, contract: undefined };
  t.like(stepOf(asked, down), { call: undefined, next: { state: 'WAITING', reason: 'BANK_DOWN' } });
  t.like(stepOf(called(asked, unclear), down), { call: undefined, next: { state: 'IN_DOUBT' } });
});

test('the gaps between calls grow, and end at a minute', (t) => {
  let one = asked;
  const gaps: number[] = [];
  for (let n = 0; n < 12; n++) {
    const { call, next } = stepOf(one, up);
    const after = afterCall(next, one, next.claim, call!, unclear)!;
    gaps.push(after.againInMs!);
    one = after.next;
  }
  t.deepEqual(
    gaps,
    gaps.toSorted((a, b) => a - b),
  );
  t.is(gaps[0], 1_000);
  t.is(gaps.at(-1), 60_000);
});

test('what the bank does not know is sent again at once, however often it was tried', (t) => {
  const tried = { ...asked, state: 'IN_DOUBT', mayBeKnown: true, tries: 9 } as const;
  const { next } = stepOf(tried, up);
  const unknown = afterCall(next, tried, next.claim, 'ASK', said({ kind: 'UNKNOWN' }));
  t.like(unknown, { next: { state: 'WAITING', reason: 'BANK_KNOWS_NONE' }, againInMs: 0 });
});

test('an answer to a claim that was given up counts only when it is the bank’s last word', (t) => {
  const first = stepOf(asked, up).next;
  const second = stepOf(first, up).next;
  t.is(afterCall(second, asked, first.claim, 'SEND', unclear), undefined);
  t.is(afterCall(second, asked, first.claim, 'SEND', said({ kind: 'NOT_SENT' })), undefined);
  t.like(afterCall(second, asked, first.claim, 'SEND', said({ kind: 'EXECUTED' })), {
    next: { state: 'EXECUTED' },
  });
});

test('a decided request stays as it is', (t) => {
  const done = called(asked, said({ kind: 'EXECUTED' }));
  for (const kind of ['EXECUTED', 'NOT_SENT', 'UNCLEAR', 'OTHER'] as const)
    t.is(afterCall(done, asked, done.claim, 'SEND', said({ kind })), undefined);
  t.is(afterCall(done, asked, done.claim, 'SEND', said({ kind: 'REJECTED', reason: 'X' })), undefined);
});

interface Call {
  readonly called: 'SEND' | 'ASK';
  readonly one: Firmbanking;
  readonly before: Firmbanking;
  /** Where the request is; `LOST` for ever. */
  request: 'ON_ITS_WAY' | 'ARRIVED' | 'LOST';
  answer: Word | undefined;
  /** The caller has heard how it ended, given up, or died. */
  ended: boolean;
}

/** A request, a bank that keeps to its ids, and a network and workers that do whatever they are told. */
function world(rejects: boolean) {
  let row = asked;
  let executions = 0;
  let atBank: Word | undefined;
  const calls: Call[] = [];
  const end = (call: Call, word: Word) => {
    call.ended = true;
    row = afterCall(row, call.before, call.one.claim, call.called, said(word))?.next ?? row;
  };
  const pick = (n: number, which: (call: Call) => boolean) => {
    const some = calls.filter(which);
    // The newest most often: so old ones are late.
    return some.at(n % 4 > 0 ? -1 : n % some.length);
  };
  const reach = (call: Call) => {
    call.request = 'ARRIVED';
    if (call.called === 'SEND' && atBank === undefined) {
      atBank = rejects ? { kind: 'REJECTED', reason: 'MONEY_SHORT' } : { kind: 'EXECUTED' };
      if (!rejects) executions += 1;
    }
    call.answer = atBank ?? { kind: 'UNKNOWN' };
  };
  const actions: ((n: number) => void)[] = [
    // Anybody may claim at any time: as if every lease had just ended.
    (n) => {
      if (!isOpen(row)) return;
      const before = row;
      const contract = n % 3 === 0 ? 'CONTRACT_EXPIRED' : undefined;
      const step = stepOf(row, { bankDown: n % 7 === 0, contract });
      row = step.next;
      if (step.call !== undefined)
        calls.push({
          called: step.call,
          one: step.next,
          before,
          request: 'ON_ITS_WAY',
          answer: undefined,
          ended: false,
        });
    },
    // A request arrives, also one whose caller has long given up; the network may bring it again later.
    (n) => {
      const call = pick(n, ({ request }) => request !== 'LOST');
      if (call !== undefined) reach(call);
    },
    (n) => {
      const call = pick(n, ({ answer, ended }) => answer !== undefined && !ended);
      if (call !== undefined) end(call, call.answer!);
    },
    // No answer in time.
    (n) => {
      const call = pick(n, ({ ended }) => !ended);
      if (call !== undefined) end(call, { kind: 'UNCLEAR' });
    },
    // Certainly not sent.
    (n) => {
      const call = pick(n, ({ ended, request }) => !ended && request === 'ON_ITS_WAY');
      if (call === undefined) return;
      call.request = 'LOST';
      end(call, { kind: 'NOT_SENT' });
    },
    // The worker dies.
    (n) => {
      const call = pick(n, ({ ended }) => !ended);
      if (call !== undefined) call.ended = true;
    },
    // The network loses a request.
    (n) => {
      const call = pick(n, ({ request }) => request === 'ON_ITS_WAY');
      if (call !== undefined) call.request = 'LOST';
    },
  ];
  const claim = actions[0]!;
  return {
    act: (action: number, n: number) => actions[action % actions.length]!(n),
    /** All trouble has ended: it is worked on until it is decided, and what was on its way arrives. */
    settle() {
      for (let rounds = 0; isOpen(row); rounds++) {
        if (rounds > 20) throw new Error(`not decided after ${rounds} rounds: ${row.state}`);
        claim(1);
        // What is older arrives when it is over: as late as can be.
        const newest = calls.at(-1);
        if (newest !== undefined && newest.request !== 'LOST') reach(newest);
        for (const call of calls.filter(({ ended, answer }) => !ended && answer !== undefined))
          end(call, call.answer!);
      }
      for (const call of calls)
        if (call.request !== 'LOST') {
          reach(call);
          if (!call.ended) end(call, call.answer!);
        }
      return { row, executions, atBank };
    },
    open: () => isOpen(row),
  };
}

test('whatever is lost, late, doubled or dies: executed at most once, and we end with what the bank says', (t) => {
  const runs = { decidedByUs: 0, executed: 0, rejected: 0 };
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(fc.tuple(fc.nat(6), fc.nat(1_000)), { maxLength: 60 }),
      (rejects, steps) => {
        const it = world(rejects);
        for (const [action, n] of steps) it.act(action, n);
        const { row, executions, atBank } = it.settle();
        if (executions > 1) throw new Error(`executed ${executions} times`);
        if (row.decidedBy === 'US') {
          runs.decidedByUs += 1;
          if (atBank !== undefined) throw new Error(`rejected by us, ${atBank.kind} at the bank`);
          return;
        }
        if (row.state !== atBank?.kind) throw new Error(`${row.state} here, ${atBank?.kind} at the bank`);
        if (row.state === 'EXECUTED') runs.executed += 1;
        else runs.rejected += 1;
      },
    ),
    { numRuns: 20_000 },
  );
  t.log(runs);
  t.true(runs.decidedByUs > 50 && runs.executed > 50 && runs.rejected > 50);
});

// ---- acceptance

const contract: Contract = {
  bank: 'hana',
  state: 'ACTIVE',
  expiresAtMs: 1_000,
  currency: 'KRW',
  feeMinor: 1,
  callLimitMinor: 100,
  dayLimitMinor: 150,
};
const account = (accountId: string, more: Partial<RegisteredAccount> = {}): [string, RegisteredAccount] => [
  accountId,
  { ...party(accountId), currency: 'KRW', state: 'OPEN', ...more },
];
const wish = { fromId: 'a', toId: 'b', amountMinor: 100, currency: 'KRW', owner: 'u' };
const known = {
  accounts: new Map([account('a'), account('b')]),
  contract,
  usedMinor: 50,
  nowMs: 999,
};

test('a request is accepted up to its limits, and the first reason against it is told', (t) => {
  t.is(refusalOf(wish, known), undefined);
  const code = (more: Partial<typeof wish>, other: Partial<Parameters<typeof refusalOf>[1]> = {}) => {
    const { refusal } = refusalOf({ ...wish, ...more }, { ...known, ...other })!;
    return `${refusal.code} ${refusal.details?.[0]?.reason ?? ''}`.trim();
  };
  t.regex(code({ amountMinor: 0 }), /^MUSTER_AMOUNT_INVALID/);
  t.is(code({ toId: 'a' }), 'MUSTER_SAME_ACCOUNT');
  t.is(code({ toId: 'c' }), 'MUSTER_BANK_ACCOUNT_UNKNOWN is not registered');
  const closed = new Map([account('a'), account('b', { state: 'CLOSED' })]);
  t.is(code({}, { accounts: closed }), 'MUSTER_BANK_ACCOUNT_CLOSED is CLOSED');
  const theirs = new Map([account('a', { owner: 'v' }), account('b')]);
  t.is(code({}, { accounts: theirs }), 'MUSTER_BANK_ACCOUNT_UNKNOWN is not registered');
  const payee = new Map([account('a', { state: 'PAYEE' }), account('b')]);
  t.is(code({}, { accounts: payee }), 'MUSTER_BANK_ACCOUNT_PAYEE is PAYEE');
  const { owner: _, ...unnamed } = wish;
  t.is(refusalOf(unnamed, known)?.refusal.code, 'MUSTER_OWNER_UNNAMED');
  const ours = new Map([account('a', { owner: 'house' }), account('b', { state: 'PAYEE' })]);
  t.is(refusalOf(unnamed, { ...known, accounts: ours }), undefined);
  t.is(code({}, { contract: undefined }), 'MUSTER_CONTRACT_INVALID CONTRACT_MISSING');
  t.is(
    code({}, { contract: { ...contract, state: 'SUSPENDED' } }),
    'MUSTER_CONTRACT_INVALID CONTRACT_SUSPENDED',
  );
  t.is(code({}, { nowMs: 1_000 }), 'MUSTER_CONTRACT_INVALID CONTRACT_EXPIRED');
  const dollars = new Map([account('a'), account('b', { currency: 'USD' })]);
  t.regex(code({}, { accounts: dollars }), /^MUSTER_CURRENCIES_DIFFER/);
  t.is(code({ amountMinor: 101 }), 'MUSTER_LIMIT_CALL at most 100');
  t.is(code({}, { usedMinor: 51 }), 'MUSTER_LIMIT_DAY 99 are left of the day');
});

test('for a member nothing moves between two accounts of ours: it would be booked for them out of nothing', (t) => {
  const ours = account('a', { owner: 'house' });
  const code = (other: [string, RegisteredAccount]) =>
    refusalOf(wish, { ...known, accounts: new Map([ours, other]) })?.refusal.code;
  t.is(code(account('b', { owner: 'house' })), 'MUSTER_BANK_ACCOUNT_UNKNOWN');
  t.is(code(account('b')), undefined, 'to the member it is a payout');
});

test('a contract counts up to the moment at which it expires', (t) => {
  t.is(invalidity(contract, 999), undefined);
  t.is(invalidity(contract, 1_000), 'CONTRACT_EXPIRED');
});

test('of a number of an account its last four are shown, of a short one nothing', (t) => {
  t.is(masked('110-123-456789'), '****6789');
  t.is(masked('1234'), '****');
});
