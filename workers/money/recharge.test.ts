import test from 'ava';
import fc from 'fast-check';
import type { AccountState } from './ledger.ts';
import { afterWord, isOpenRecharge, type Recharge, type RechargeWord, rechargeStep } from './recharge.ts';

const asked: Recharge = {
  rechargeId: 'r',
  account: 'u_1',
  bankAccountId: 'a',
  amountMinor: 10_000,
  currency: 'KRW',
  state: 'REQUESTED',
  reason: undefined,
  firmbankingId: undefined,
  transferId: undefined,
  tries: 0,
  claim: 0,
};
const executed = { kind: 'EXECUTED', amountMinor: 10_000, currency: 'KRW' } as const;

/** A call that is made and answered so. */
function called(one: Recharge, word: RechargeWord, account: AccountState = 'OPEN'): Recharge {
  const { next } = rechargeStep(one, account);
  return afterWord(next, next.claim, word)?.next ?? next;
}

test('a recharge is asked for, told by the event, and booked once', (t) => {
  t.is(rechargeStep(asked, 'OPEN').call, 'ASK');
  const atBank = called(asked, { kind: 'ACCEPTED', firmbankingId: 'f' });
  t.like(atBank, { state: 'AT_BANK', firmbankingId: 'f' });
  const done = afterWord(atBank, undefined, executed)!;
  t.like(done, { book: true, againInMs: undefined, next: { state: 'DONE' } });
  t.is(afterWord(done.next, undefined, executed), undefined, 'the same again');
});

test('while nobody was asked a suspended member ends it; afterwards what the bank does is booked', (t) => {
  t.like(rechargeStep(asked, 'SUSPENDED'), {
    call: undefined,
    next: { state: 'FAILED', reason: 'ACCOUNT_NOT_OPEN' },
  });
  const inDoubt = called(asked, { kind: 'UNCLEAR' });
  t.is(inDoubt.state, 'ASKING');
  t.is(rechargeStep(inDoubt, 'SUSPENDED').call, 'ASK', 'banking may have heard of it');
});

test('while banking is away the call is none: it is made again soon, and the next is not later for it', (t) => {
  const { next } = rechargeStep({ ...asked, tries: 6 }, 'OPEN');
  t.like(afterWord(next, next.claim, { kind: 'AWAY' }), {
    againInMs: 10_000,
    next: { state: 'ASKING', tries: 6 },
  });
});

test('an answer that never came is asked for again; a refusal of banking is the end', (t) => {
  t.is(called(called(asked, { kind: 'UNCLEAR' }), { kind: 'UNCLEAR' }).state, 'ASKING');
  t.like(called(asked, { kind: 'REFUSED', reason: 'LIMIT_DAY' }), { state: 'FAILED', reason: 'LIMIT_DAY' });
});

test('when the event does not come banking is asked by the id, and what it waits for is told', (t) => {
  const atBank = called(asked, { kind: 'ACCEPTED', firmbankingId: 'f' });
  t.is(rechargeStep(atBank, 'OPEN').call, 'FIND');
  const waits = called(atBank, { kind: 'OPEN', reason: 'BANK_DOWN' });
  t.like(waits, { state: 'AT_BANK', reason: 'BANK_DOWN' });
  t.like(called(waits, { kind: 'REJECTED', reason: 'MONEY_SHORT' }), {
    state: 'FAILED',
    reason: 'MONEY_SHORT',
  });
});

test('another amount than was asked for books nothing', (t) => {
  const atBank = called(asked, { kind: 'ACCEPTED', firmbankingId: 'f' });
  t.is(afterWord(atBank, undefined, { ...executed, amountMinor: 9_999 }), undefined);
});

// ---- any interleaving

/** Banking, as far as a recharge can see it: one answer under its key, for good. */
function banking() {
  let answer: RechargeWord | undefined;
  let bank: 'OPEN' | 'EXECUTED' | 'REJECTED' = 'OPEN';
  const state = (): RechargeWord =>
    bank === 'EXECUTED' ? executed : { kind: bank, reason: bank === 'OPEN' ? 'BANK_DOWN' : 'NO' };
  return {
    ask(refuses: boolean): RechargeWord {
      answer ??= refuses ? { kind: 'REFUSED', reason: 'NO' } : { kind: 'ACCEPTED', firmbankingId: 'f' };
      return answer;
    },
    state,
    decides(how: 'EXECUTED' | 'REJECTED') {
      if (answer?.kind === 'ACCEPTED' && bank === 'OPEN') bank = how;
    },
    bank: () => bank,
  };
}

const actions = fc.array(
  fc.constantFrom(
    // The row's time has come: a step begins, perhaps while one that was given up is still under way.
    'step',
    // The call reaches banking, now or late; its answer comes back, or is lost.
    'reaches',
    'refused',
    'answers',
    'lost',
    'executes',
    'rejects',
    'event',
    'suspend',
    'open',
  ),
  { maxLength: 40 },
);

test('whatever is lost, late, doubled or dies: booked once if the bank has executed it, and else not', (t) => {
  const runs = { done: 0, failed: 0 };
  fc.assert(
    fc.property(actions, (script) => {
      const it = banking();
      let row = asked;
      let booked = 0;
      let account: AccountState = 'OPEN';
      const calls: { call: 'ASK' | 'FIND'; claim: number; word?: RechargeWord }[] = [];
      const take = (claim: number | undefined, word: RechargeWord) => {
        const change = afterWord(row, claim, word);
        if (change === undefined) return;
        if (change.book) booked += 1;
        row = change.next;
      };
      const step = () => {
        if (!isOpenRecharge(row)) return;
        const { call, next } = rechargeStep(row, account);
        row = next;
        if (call !== undefined) calls.push({ call, claim: next.claim });
      };
      const reach = (index: number, refuses: boolean) => {
        const one = calls.at(index);
        if (one === undefined) return;
        one.word ??= one.call === 'ASK' ? it.ask(refuses) : it.state();
      };
      const act: Record<string, () => void> = {
        step,
        reaches: () => reach(0, false),
        refused: () => reach(-1, true),
        answers() {
          const index = calls.findIndex(({ word }) => word !== undefined);
          const [one] = index < 0 ? [] : calls.splice(index, 1);
          if (one !== undefined) take(one.claim, one.word!);
        },
        lost() {
          const one = calls[0];
          if (one !== undefined) take(one.claim, { kind: 'UNCLEAR' });
        },
        executes: () => it.decides('EXECUTED'),
        rejects: () => it.decides('REJECTED'),
        // Found by the id of the firm banking: unknown before its answer was written down.
        event() {
          if (it.bank() !== 'OPEN' && row.firmbankingId !== undefined) take(undefined, it.state());
        },
        suspend() {
          account = 'SUSPENDED';
        },
        open() {
          account = 'OPEN';
        },
      };
      for (const action of script) act[action]!();
      // From here on everything answers: it ends within some steps.
      for (let n = 0; n < 4; n += 1) {
        step();
        for (const one of calls.splice(0))
          take(one.claim, one.word ?? (one.call === 'ASK' ? it.ask(false) : it.state()));
        it.decides('EXECUTED');
      }
      t.false(isOpenRecharge(row));
      t.is(booked, it.bank() === 'EXECUTED' ? 1 : 0);
      t.is(row.state, it.bank() === 'EXECUTED' ? 'DONE' : 'FAILED');
      if (row.state === 'DONE') runs.done += 1;
      else runs.failed += 1;
    }),
    { numRuns: 10_000 },
  );
  t.log(runs);
  t.true(runs.done > 50 && runs.failed > 50);
});
