/**
 * What a merchant gets for a period, and what becomes of it: pure decisions, everything passed in.
 *
 * A line is what was paid less what was refunded, less the commission: the rest (net) goes to the merchant's bank account. It is
 * a saga: its state names the one call that is to be made next, and the answer leads to the next state. OWED: payment takes it out
 * of what the merchant is owed, so that the merchant cannot give it back as well; ACCOUNT: which bank account is the merchant's; PAYOUT, PAYING_OUT: the bank is asked to pay; BOOK, BOOK_COMMISSION: what has left, and what we have
 * earned, is booked. What was refused rests as STOPPED until people try it again. A line below zero is CARRIED: the next line of
 * the merchant takes it on.
 */
import { again, type CallWord, eventWithinMs, gapMs } from '../platform/due-work.ts';
import type { Change as ChangeOf } from '../platform/sagas.ts';

export const openStates = ['OWED', 'ACCOUNT', 'PAYOUT', 'PAYING_OUT', 'BOOK', 'BOOK_COMMISSION'] as const;
export const states = [...openStates, 'STOPPED', 'CARRIED', 'DONE'] as const;
export type OpenState = (typeof openStates)[number];
export type State = (typeof states)[number];

// ---- sums

/** Slips of one merchant, period and rate; minor units. */
export interface Band {
  readonly rateBasisPoints: number;
  readonly paidMinor: bigint;
  readonly refundedMinor: bigint;
}

export interface Sums {
  readonly paidMinor: bigint;
  readonly refundedMinor: bigint;
  readonly commissionMinor: bigint;
}

/** What is left of a line below zero, for the next one: `minor` without its commission. */
export interface Carried {
  readonly minor: bigint;
  readonly commissionMinor: bigint;
}

/** Our share of an amount, in whole minor units: to the nearest one, and of a half to the one nearer to zero. */
export function commissionOf(amountMinor: bigint, rateBasisPoints: number): bigint {
  const parts = amountMinor * BigInt(rateBasisPoints);
  const rest = parts % 10_000n;
  return parts / 10_000n + (rest > 5_000n ? 1n : rest < -5_000n ? -1n : 0n);
}

/** Rounded once a rate, of what was paid less what was refunded. */
export const sumsOf = (bands: readonly Band[]): Sums =>
  bands.reduce(
    (sums, { paidMinor, refundedMinor, rateBasisPoints }) => ({
      paidMinor: sums.paidMinor + paidMinor,
      refundedMinor: sums.refundedMinor + refundedMinor,
      commissionMinor: sums.commissionMinor + commissionOf(paidMinor - refundedMinor, rateBasisPoints),
    }),
    { paidMinor: 0n, refundedMinor: 0n, commissionMinor: 0n },
  );

/** What goes to the merchant: with the commission it is what was paid less what was refunded, always. */
export const netOf = (sums: Sums, carried: Carried): bigint =>
  sums.paidMinor - sums.refundedMinor + carried.minor - sums.commissionMinor - carried.commissionMinor;

/** How a line begins. */
export function firstState(netMinor: bigint, commissionMinor: bigint): State {
  if (netMinor < 0n) return 'CARRIED';
  return netMinor === 0n && commissionMinor === 0n ? 'DONE' : 'OWED';
}

/** Rates of a merchant, or of those without one. */
export interface Rate {
  readonly fromMs: number;
  readonly rateBasisPoints: number;
}

/** The rate in force at a moment; undefined: none yet. */
export function rateAt(rates: readonly Rate[], ms: number): number | undefined {
  let found: Rate | undefined;
  for (const rate of rates)
    if (rate.fromMs <= ms && (found === undefined || found.fromMs < rate.fromMs)) found = rate;
  return found?.rateBasisPoints;
}

// ---- a line on its way

export interface Line {
  readonly lineId: string;
  readonly runNo: number;
  /** Pseudonym. */
  readonly merchant: string;
  readonly currency: string;
  readonly paidMinor: number;
  readonly refundedMinor: number;
  readonly commissionMinor: number;
  readonly carriedMinor: number;
  readonly carriedCommissionMinor: number;
  readonly netMinor: number;
  readonly state: State;
  /** Why it stopped: a word for programs. */
  readonly failure: string | undefined;
  readonly waitsFor: string | undefined;
  /** To pay it out: a refusal is for good under its key, so each attempt has one of its own. */
  readonly attempt: number;
  readonly accountId: string | undefined;
  readonly firmbankingId: string | undefined;
  readonly transferId: string | undefined;
  readonly commissionTransferId: string | undefined;
  /** Calls in a row that led nowhere. */
  readonly tries: number;
  /** Grows with each claim and each change: so an answer that is written down twice counts once. */
  readonly claim: number;
}

export const isOpen = ({ state }: Pick<Line, 'state'>): boolean =>
  (openStates as readonly State[]).includes(state);

/** With that of lines that it took on: what is booked as earned, or given back when it is below zero. */
export const bookedCommissionMinor = (line: Pick<Line, 'commissionMinor' | 'carriedCommissionMinor'>) =>
  line.commissionMinor + line.carriedCommissionMinor;

/** What was paid less what was refunded, with that of lines that it took on: what the merchant is owed no longer. */
export const grossMinor = ({ paidMinor, refundedMinor, carriedMinor }: Line) =>
  paidMinor - refundedMinor + carriedMinor;

/** Payment knows of refunds that did not come yet when the slips were summed up: they come, or fail. */
export const refundedSince = 'REFUNDED_SINCE';
const refundsComeWithinMs = 10_000;

/** The contract with the bank lets no more go on this day. */
export const dayIsFull = 'LIMIT_DAY';

/** What came of a call, or by an event. */
export type Word =
  | CallWord
  /** How the payout ended, told by an event or found by its id. */
  | {
      readonly kind: 'ENDED';
      readonly firmbankingId: string;
      readonly done: boolean;
      readonly reason: string | undefined;
      readonly amountMinor: number;
    };

/** `againInMs` undefined: it rests. */
export type Change = ChangeOf<Line>;

/** The key of the call that a state stands for. */
export const keyOf = ({ lineId, state, attempt }: Line): string =>
  `${lineId}-${state.toLowerCase()}${state === 'PAYOUT' || state === 'OWED' ? `-${attempt}` : ''}`;

/** What a week of days has no room for waits for people. */
const mostDays = 7;
/** A day of a bank begins by banking's clock: who asks a moment before that waits for another day. */
export const afterMidnightMs = 60_000;

/**
 * The line after a word, undefined when it changes nothing. `claim`: of the call that it answers; undefined: an event.
 * An event counts whoever is at the row; an answer only when nobody has claimed it since. `untilTomorrowMs`: when a bank's
 * day begins anew.
 */
export function afterWord(
  now: Line,
  claim: number | undefined,
  word: Word,
  untilTomorrowMs: number,
): Change | undefined {
  const change = isOpen(now) ? changeBy(now, claim, word, untilTomorrowMs) : undefined;
  return change && { ...change, next: { ...change.next, claim: now.claim + 1 } };
}

function changeBy(
  now: Line,
  claim: number | undefined,
  word: Word,
  untilTomorrowMs: number,
): Change | undefined {
  if (word.kind === 'ENDED') return afterEnd(now, word);
  if (now.claim !== claim) return undefined;
  switch (word.kind) {
    case 'OK':
      return afterDone(now, word.id);
    case 'REFUSED':
      if (now.state === 'OWED')
        return to(now, 'OWED', { attempt: now.attempt + 1, waitsFor: refundedSince }, refundsComeWithinMs);
      // Not the merchant's fault and nobody's to decide: it goes out when it may.
      if (now.state === 'PAYOUT' && word.reason === dayIsFull && now.attempt < mostDays)
        return to(
          now,
          'PAYOUT',
          { attempt: now.attempt + 1, waitsFor: dayIsFull },
          untilTomorrowMs + afterMidnightMs,
        );
      return stop(now, word.reason);
    default:
      return again(now, word);
  }
}

/** A line that waits for refunds takes on what lines below zero have left: these may be the refunds. */
export function withCarried(now: Line, { minor, commissionMinor }: Carried): Change {
  const carriedMinor = now.carriedMinor + Number(minor);
  const carriedCommissionMinor = now.carriedCommissionMinor + Number(commissionMinor);
  const netMinor = now.netMinor + Number(minor - commissionMinor);
  const earned = bookedCommissionMinor({ ...now, carriedCommissionMinor });
  const state = firstState(BigInt(netMinor), BigInt(earned));
  return to(now, state, { carriedMinor, carriedCommissionMinor, netMinor });
}

/** A line that has stopped, tried again: the merchant may have another account by now, the bank another contract. */
export function retried(now: Line): Change | undefined {
  if (now.state !== 'STOPPED') return undefined;
  const afresh = { failure: undefined, accountId: undefined, firmbankingId: undefined };
  return to(now, 'ACCOUNT', { ...afresh, attempt: now.attempt + 1 });
}

function to(now: Line, state: State, more: Partial<Line> = {}, inMs = 0): Change {
  const next = { ...now, waitsFor: undefined, tries: 0, ...more, state };
  return { next, againInMs: isOpen(next) ? inMs : undefined };
}

const stop = (now: Line, reason: string): Change => to(now, 'STOPPED', { failure: reason.slice(0, 60) });

function afterEnd(
  now: Line,
  { firmbankingId, done, reason, amountMinor }: Word & { kind: 'ENDED' },
): Change | undefined {
  if (now.state !== 'PAYING_OUT' || now.firmbankingId !== firmbankingId) return undefined;
  // Another amount is none of ours: it stays undecided, and people are told.
  if (amountMinor !== now.netMinor) return undefined;
  return done ? to(now, 'BOOK') : stop(now, `PAYOUT_${reason ?? 'FAILED'}`);
}

function afterDone(now: Line, id: string): Change {
  switch (now.state as OpenState) {
    case 'OWED':
      // What it takes to pay it out is counted anew.
      return to(now, now.netMinor > 0 ? 'ACCOUNT' : 'BOOK_COMMISSION', { attempt: 1 });
    case 'ACCOUNT':
      return to(now, 'PAYOUT', { accountId: id });
    case 'PAYOUT':
      return to(now, 'PAYING_OUT', { firmbankingId: id }, eventWithinMs);
    case 'BOOK':
      return to(now, bookedCommissionMinor(now) === 0 ? 'DONE' : 'BOOK_COMMISSION', { transferId: id });
    case 'BOOK_COMMISSION':
      return to(now, 'DONE', { commissionTransferId: id });
    case 'PAYING_OUT':
      // Nothing is made in it; how it ends is an ENDED.
      return { next: now, againInMs: gapMs(now.tries) };
  }
}
