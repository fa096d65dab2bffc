import test from 'ava';
import fc from 'fast-check';
import {
  afterMidnightMs,
  afterWord,
  type Band,
  bookedCommissionMinor,
  commissionOf,
  firstState,
  isOpen,
  keyOf,
  type Line,
  netOf,
  rateAt,
  retried,
  sumsOf,
  type Word,
  withCarried,
} from './settlement.ts';

const tomorrowMs = 3_600_000;
const base: Line = {
  lineId: 'l',
  runNo: 1,
  merchant: 'u_1',
  currency: 'KRW',
  paidMinor: 1_000,
  refundedMinor: 0,
  commissionMinor: 30,
  carriedMinor: 0,
  carriedCommissionMinor: 0,
  netMinor: 970,
  state: 'ACCOUNT',
  failure: undefined,
  waitsFor: undefined,
  attempt: 1,
  accountId: undefined,
  firmbankingId: undefined,
  transferId: undefined,
  commissionTransferId: undefined,
  tries: 0,
  claim: 0,
};
const ok = (id: string): Word => ({ kind: 'OK', id });
const refused = (reason: string): Word => ({ kind: 'REFUSED', reason });
const ended = (done: boolean, firmbankingId = 'f', amountMinor = 970): Word => ({
  kind: 'ENDED',
  firmbankingId,
  done,
  reason: done ? undefined : 'FROZEN',
  amountMinor,
});
const after = (line: Line, ...words: readonly Word[]): Line =>
  words.reduce((now, word) => afterWord(now, now.claim, word, tomorrowMs)?.next ?? now, line);

test('commission is rounded to the nearest unit, a half to the one nearer to zero', (t) => {
  t.is(commissionOf(10_000n, 300), 300n);
  t.is(commissionOf(50n, 100), 0n, '0.5');
  t.is(commissionOf(51n, 100), 1n);
  t.is(commissionOf(150n, 100), 1n, '1.5');
  t.is(commissionOf(-50n, 100), 0n);
  t.is(commissionOf(-151n, 100), -2n);
  t.is(commissionOf(BigInt(Number.MAX_SAFE_INTEGER), 10_000), BigInt(Number.MAX_SAFE_INTEGER));
});

const minor = fc.bigInt({ min: 0n, max: 2n ** 53n });
const bands: fc.Arbitrary<Band[]> = fc.array(
  fc.record({ rateBasisPoints: fc.integer({ min: 0, max: 10_000 }), paidMinor: minor, refundedMinor: minor }),
  { maxLength: 5 },
);

test('over any settlements, commission and what is paid out are all that came in, to the unit', (t) => {
  fc.assert(
    fc.property(fc.array(bands, { maxLength: 8 }), (periods) => {
      let left = { minor: 0n, commissionMinor: 0n };
      let [came, earned, out] = [0n, 0n, 0n];
      for (const period of periods) {
        const sums = sumsOf(period);
        for (const { paidMinor, refundedMinor, rateBasisPoints } of period) {
          const exact = (paidMinor - refundedMinor) * BigInt(rateBasisPoints);
          const off = exact - commissionOf(paidMinor - refundedMinor, rateBasisPoints) * 10_000n;
          t.true(off <= 5_000n && off >= -5_000n);
          came += paidMinor - refundedMinor;
        }
        const net = netOf(sums, left);
        const commissionMinor = sums.commissionMinor + left.commissionMinor;
        if (firstState(net, commissionMinor) === 'CARRIED') {
          left = { minor: sums.paidMinor - sums.refundedMinor + left.minor, commissionMinor };
          continue;
        }
        t.true(net >= 0n);
        out += net;
        earned += commissionMinor;
        left = { minor: 0n, commissionMinor: 0n };
      }
      t.is(out + earned + left.minor, came);
    }),
  );
});

test('the rate in force is the newest of those that have begun', (t) => {
  const rates = [
    { fromMs: 10, rateBasisPoints: 1 },
    { fromMs: 30, rateBasisPoints: 3 },
    { fromMs: 20, rateBasisPoints: 2 },
  ];
  t.deepEqual(
    [9, 10, 19, 20, 30, 99].map((ms) => rateAt(rates, ms)),
    [undefined, 1, 1, 2, 3, 3],
  );
});

test('with nothing to pay out it is booked only, or done; below zero it is carried', (t) => {
  t.is(firstState(0n, 0n), 'DONE');
  t.is(firstState(0n, 5n), 'OWED');
  t.is(firstState(-1n, 5n), 'CARRIED');
  t.is(firstState(1n, 0n), 'OWED');
  const owed = { ...base, state: 'OWED' } as const;
  t.is(after(owed, ok('l')).state, 'ACCOUNT');
  t.is(after({ ...owed, netMinor: 0, commissionMinor: 1_000 }, ok('l')).state, 'BOOK_COMMISSION');
});

test('found, paid out, booked with the commission', (t) => {
  const payingOut = after(base, ok('a'), ok('f'));
  t.like(payingOut, { state: 'PAYING_OUT', accountId: 'a', firmbankingId: 'f' });
  t.like(after(payingOut, ended(true), ok('t'), ok('c')), {
    state: 'DONE',
    transferId: 't',
    commissionTransferId: 'c',
  });
  t.is(after({ ...base, commissionMinor: 0 }, ok('a'), ok('f'), ended(true), ok('t')).state, 'DONE');
  t.is(after(payingOut, ended(true, 'f', 971)).state, 'PAYING_OUT', 'another amount ends nothing');
  t.is(after(payingOut, ended(true, 'g')).state, 'PAYING_OUT', 'nor does another payout');
});

test('a full day is waited for, under a key of its own; everything else that is refused waits for people', (t) => {
  const asking = { ...after(base, ok('a')), claim: 1 };
  const waits = afterWord(asking, 1, refused('LIMIT_DAY'), tomorrowMs)!;
  t.like(waits, { next: { state: 'PAYOUT', waitsFor: 'LIMIT_DAY', attempt: 2 } });
  t.is(waits.againInMs, tomorrowMs + afterMidnightMs, 'not while it is yesterday by the clock of banking');
  t.not(keyOf(waits.next), keyOf(asking));
  t.is(after({ ...asking, attempt: 7 }, refused('LIMIT_DAY')).state, 'STOPPED', 'not for ever');
  const stopped = after(asking, refused('LIMIT_CALL'));
  t.like(stopped, { state: 'STOPPED', failure: 'LIMIT_CALL' });
  t.like(retried(stopped)?.next, { state: 'ACCOUNT', failure: undefined, accountId: undefined, attempt: 2 });
  t.is(retried(asking), undefined);
  t.like(after(asking, ok('f'), ended(false)), { state: 'STOPPED', failure: 'PAYOUT_FROZEN' });
});

test('what was given back since is waited for, and taken on when it has come below zero', (t) => {
  const owed: Line = { ...base, state: 'OWED' };
  const waits = afterWord(owed, 0, refused('REFUNDED_SINCE'), tomorrowMs)!;
  t.like(waits, { next: { state: 'OWED', waitsFor: 'REFUNDED_SINCE' }, againInMs: 10_000 });
  t.not(keyOf(waits.next), keyOf(owed), 'a refusal is for good under its key');
  t.like(after(waits.next, ok('l')), { state: 'ACCOUNT', attempt: 1 }, 'the refund has failed');
  t.like(withCarried(waits.next, { minor: -400n, commissionMinor: -12n }), {
    next: {
      state: 'OWED',
      carriedMinor: -400,
      carriedCommissionMinor: -12,
      netMinor: 582,
      waitsFor: undefined,
    },
    againInMs: 0,
  });
  const whole = withCarried(waits.next, { minor: -1_000n, commissionMinor: -30n });
  t.like(whole, { next: { state: 'DONE', netMinor: 0 }, againInMs: undefined });
  t.like(withCarried(waits.next, { minor: -1_001n, commissionMinor: -30n }), {
    next: { state: 'CARRIED', netMinor: -1 },
    againInMs: undefined,
  });
});

test('an answer of somebody who was given up counts no more; a call that did not leave costs nothing', (t) => {
  t.is(afterWord({ ...base, claim: 2 }, 1, ok('a'), tomorrowMs), undefined);
  const claimed = { ...base, claim: 1, tries: 7 };
  t.like(afterWord(claimed, 1, { kind: 'AWAY' }, tomorrowMs), { againInMs: 10_000, next: { tries: 6 } });
  t.like(afterWord(claimed, 1, { kind: 'UNCLEAR' }, tomorrowMs), { againInMs: 60_000 });
});

/** Banking and money, which have one answer for good under a key, and a bank that decides as it likes. */
function outside(refusals: readonly boolean[], rejections: readonly boolean[]) {
  const answers = new Map<string, Word>();
  const payouts = new Map<string, boolean>();
  const booked: string[] = [];
  let asked = 0;
  return {
    payouts,
    booked,
    call(line: Line): Word {
      if (line.state === 'ACCOUNT') return ok('a');
      if (line.state === 'PAYING_OUT') {
        const done = payouts.get(line.firmbankingId!)!;
        return ended(done, line.firmbankingId!);
      }
      const key = keyOf(line);
      const known = answers.get(key);
      if (known !== undefined) return known;
      const answer = (() => {
        if (line.state !== 'PAYOUT') {
          booked.push(line.state);
          return ok(`${line.state} ${booked.length}`);
        }
        asked += 1;
        if (refusals[asked - 1]) return refused(asked % 2 === 0 ? 'LIMIT_DAY' : 'LIMIT_CALL');
        const id = `f${payouts.size}`;
        payouts.set(id, !rejections[payouts.size]);
        return ok(id);
      })();
      answers.set(key, answer);
      return answer;
    },
  };
}

test('whatever is lost, late, doubled, refused, rejected, killed and tried again: paid out once and booked once', (t) => {
  const act = fc.constantFrom('answer', 'answer', 'answer', 'lose', 'die', 'twin', 'event');
  fc.assert(
    fc.property(
      fc.array(act, { maxLength: 60 }),
      fc.array(fc.boolean(), { maxLength: 4 }),
      fc.array(fc.boolean(), { maxLength: 3 }),
      (acts, refusals, rejections) => {
        const world = outside(refusals, rejections);
        let line = base;
        const late: { readonly line: Line; readonly word: Word }[] = [];
        const take = (claim: number | undefined, word: Word) => {
          line = afterWord(line, claim, word, tomorrowMs)?.next ?? line;
        };
        // In the end everybody is in order.
        for (const each of [...acts, ...Array<'answer'>(60).fill('answer')]) {
          if (line.state === 'STOPPED') line = retried(line)!.next;
          if (!isOpen(line)) break;
          if (each === 'event') {
            for (const [id, done] of world.payouts) take(undefined, ended(done, id));
            continue;
          }
          line = { ...line, claim: line.claim + 1, tries: line.tries + 1 };
          const claimed = line;
          if (each === 'lose') {
            world.call(claimed);
            take(claimed.claim, { kind: 'UNCLEAR' });
          } else if (each === 'die') late.push({ line: claimed, word: world.call(claimed) });
          else {
            const word = world.call(claimed);
            take(claimed.claim, word);
            if (each === 'twin') {
              world.call(claimed);
              take(claimed.claim, word);
            }
          }
          // Those who were given up come back.
          const one = late.at(-1);
          if (each === 'twin' && one !== undefined) {
            world.call(one.line);
            take(one.line.claim, one.word);
          }
        }
        t.is(line.state, 'DONE');
        t.is([...world.payouts.values()].filter(Boolean).length, 1);
        t.true(world.payouts.get(line.firmbankingId!));
        t.deepEqual(world.booked, ['BOOK', 'BOOK_COMMISSION']);
      },
    ),
    { numRuns: 500 },
  );
  t.is(bookedCommissionMinor({ commissionMinor: 30, carriedCommissionMinor: -10 }), 20);
});
