/**
 * What becomes of money of a member that is moved (a remittance, a payment, a refund): pure decisions, everything passed in. It
 * is a saga: its state names the one call that is to be made next, of money or of banking, and the answer leads to the next
 * state. Each call has a key of its own, under which the other side has one answer for good: so a call is made as often as
 * needed, and who dies leaves a row that says what to do.
 *
 * To a member, or an account of ours that gives it back (`house:merchants`): TRANSFER. To a bank account: what leaves is held
 * (HOLD, HOLD_FEE), the bank is asked to pay it out (PAYOUT, PAYING_OUT), and then what is held is booked (POST, POST_FEE) or,
 * when the bank has not paid, freed (RELEASE, RELEASE_FEE). When the sender's money is short, once: RECHARGE, RECHARGING.
 */
import { again, type CallWord, eventWithinMs, gapMs } from './due-work.ts';
import type { Change as ChangeOf, Claimed as ClaimedOf } from './sagas.ts';

export const openStates = [
  'TRANSFER',
  'HOLD',
  'HOLD_FEE',
  'RECHARGE',
  'RECHARGING',
  'PAYOUT',
  'PAYING_OUT',
  'POST',
  'POST_FEE',
  'RELEASE',
  'RELEASE_FEE',
] as const;
export const states = [...openStates, 'DONE', 'FAILED'] as const;
export type OpenState = (typeof openStates)[number];
export type State = (typeof states)[number];

export interface Move {
  /** Of the remittance, payment or refund. */
  readonly id: string;
  /** Pseudonym of a member, or `house:merchants`. */
  readonly sender: string;
  /** A member or `house:merchants`, or a bank account that the sender has registered at banking. */
  readonly to: { readonly member: string } | { readonly bankAccountId: string };
  readonly amountMinor: number;
  /** Ours, on top of the amount; 0 to a member. */
  readonly feeMinor: number;
  readonly currency: string;
  /** The sender's bank account that short money is taken from; undefined: then it fails. */
  readonly rechargeFrom: string | undefined;
  readonly state: State;
  /** Why it fails or has failed: a word for programs. Set once. */
  readonly failure: string | undefined;
  readonly waitsFor: string | undefined;
  /** Of TRANSFER, HOLD and HOLD_FEE: a refusal for short money is for good under its key, so each attempt has one of its own. */
  readonly attempt: number;
  readonly rechargeMinor: number | undefined;
  readonly rechargeId: string | undefined;
  readonly firmbankingId: string | undefined;
  readonly holdId: string | undefined;
  readonly feeHoldId: string | undefined;
  /** That brought the amount to its receiver. */
  readonly transferId: string | undefined;
  /** Calls in a row that led nowhere. */
  readonly tries: number;
  /** Grows with each claim. */
  readonly claim: number;
}

export const isOpen = ({ state }: Pick<Move, 'state'>): boolean =>
  (openStates as readonly State[]).includes(state);

/** What came of a call, or by an event. */
export type Word =
  | CallWord
  /** Refused for short money; what the sender could spend just now. */
  | { readonly kind: 'SHORT'; readonly availableMinor: number }
  /** How the recharge or the payout ended, told by an event or found by its id. */
  | {
      readonly kind: 'ENDED';
      readonly of: 'RECHARGING' | 'PAYING_OUT';
      readonly done: boolean;
      readonly reason: string | undefined;
      readonly amountMinor: number;
    };

export type Change = ChangeOf<Move>;
export type Claimed = ClaimedOf<Move>;

/** How it begins. */
export const firstState = ({ to }: Pick<Move, 'to'>): OpenState => ('member' in to ? 'TRANSFER' : 'HOLD');

/** The key of the call that a state stands for. */
export function keyOf({ id, state, attempt }: Move): string {
  const isAttempt = state === 'TRANSFER' || state === 'HOLD' || state === 'HOLD_FEE';
  return `${id}-${state.toLowerCase()}${isAttempt ? `-${attempt}` : ''}`;
}

/** Short money is recharged in whole units of it. */
const rechargeUnitMinor = 10_000;
/** How often short money that was there a moment later is tried again. */
const mostAttempts = 5;

/** The smallest multiple of 10,000 that covers what is short. */
export const rechargeFor = (shortMinor: number): number =>
  Math.ceil(shortMinor / rechargeUnitMinor) * rechargeUnitMinor;

type Asked = Pick<Move, 'claim' | 'state' | 'attempt' | 'tries'>;
const isAsAsked = (now: Move, asked: Asked): boolean =>
  now.claim === asked.claim &&
  now.state === asked.state &&
  now.attempt === asked.attempt &&
  now.tries === asked.tries;

/**
 * The move after a word, undefined when it changes nothing. `asked`: the move as it was claimed for the call
 * that it answers; undefined: an event. An event counts whoever is at the row; an answer only when nothing has happened to it
 * since: a commit whose answer was lost is written again, and must not be taken for the answer to the next call.
 */
export function afterWord(now: Move, asked: Asked | undefined, word: Word): Change | undefined {
  if (!isOpen(now)) return undefined;
  if (word.kind === 'ENDED') return afterEnd(now, word);
  if (asked === undefined || !isAsAsked(now, asked)) return undefined;
  switch (word.kind) {
    case 'OK':
      return afterDone(now, word.id);
    case 'SHORT':
      return afterShort(now, word.availableMinor);
    case 'REFUSED':
      return fail(now, prefixed(now.state, word.reason));
    default:
      return again(now, word);
  }
}

function to(now: Move, state: State, more: Partial<Move> = {}, inMs = 0): Change {
  const next = { ...now, waitsFor: undefined, tries: 0, ...more, state };
  return { next, againInMs: isOpen(next) ? inMs : undefined };
}

/** What is held is freed first. */
const fail = (now: Move, failure: string): Change =>
  to(now, now.holdId === undefined ? 'FAILED' : 'RELEASE', { failure });

/** Whose refusal it was shows in the word. */
const prefixed = (state: State, reason: string): string =>
  (state === 'RECHARGE' || state === 'RECHARGING'
    ? `RECHARGE_${reason}`
    : state === 'PAYOUT' || state === 'PAYING_OUT'
      ? `PAYOUT_${reason}`
      : reason
  ).slice(0, 60);

function afterEnd(
  now: Move,
  { of, done, reason, amountMinor }: Word & { kind: 'ENDED' },
): Change | undefined {
  if (now.state !== of) return undefined;
  // Another amount is none of ours: it stays undecided, and people are told.
  if (amountMinor !== (of === 'RECHARGING' ? now.rechargeMinor : now.amountMinor)) return undefined;
  if (!done) return fail(now, prefixed(of, reason ?? 'FAILED'));
  return of === 'RECHARGING' ? to(now, spendAgain(now), { attempt: now.attempt + 1 }) : to(now, 'POST');
}

/** The state in which money was short. */
function spendAgain(now: Move): OpenState {
  return now.holdId === undefined ? firstState(now) : 'HOLD_FEE';
}

function afterDone(now: Move, id: string): Change {
  switch (now.state as OpenState) {
    case 'TRANSFER':
      return to(now, 'DONE', { transferId: id });
    case 'HOLD':
      return to(now, now.feeMinor > 0 ? 'HOLD_FEE' : 'PAYOUT', { holdId: id });
    case 'HOLD_FEE':
      return to(now, 'PAYOUT', { feeHoldId: id });
    case 'RECHARGE':
      return to(now, 'RECHARGING', { rechargeId: id }, eventWithinMs);
    case 'PAYOUT':
      return to(now, 'PAYING_OUT', { firmbankingId: id }, eventWithinMs);
    case 'POST':
      return to(now, now.feeHoldId === undefined ? 'DONE' : 'POST_FEE', { transferId: id });
    case 'POST_FEE':
      return to(now, 'DONE');
    case 'RELEASE':
      return to(now, now.feeHoldId === undefined ? 'FAILED' : 'RELEASE_FEE');
    case 'RELEASE_FEE':
      return to(now, 'FAILED');
    case 'RECHARGING':
    case 'PAYING_OUT':
      // Nothing is made in these; how they end is an ENDED.
      return { next: now, againInMs: gapMs(now.tries) };
  }
}

/** What was recharged and is spent otherwise meanwhile is not recharged again: it is in the sender's account. */
function afterShort(now: Move, availableMinor: number): Change {
  const needed = { TRANSFER: now.amountMinor, HOLD: now.amountMinor + now.feeMinor, HOLD_FEE: now.feeMinor };
  const shortMinor = needed[now.state as 'TRANSFER' | 'HOLD' | 'HOLD_FEE'] - availableMinor;
  const mayRecharge = now.rechargeFrom !== undefined && now.rechargeId === undefined;
  // Some has come in since it was refused.
  if (shortMinor <= 0 && now.attempt < mostAttempts)
    return to(now, now.state, { attempt: now.attempt + 1, tries: now.tries }, gapMs(now.tries));
  const rechargeMinor = rechargeFor(shortMinor);
  if (shortMinor <= 0 || !mayRecharge || !Number.isSafeInteger(rechargeMinor))
    return fail(now, 'MONEY_SHORT');
  return to(now, 'RECHARGE', { rechargeMinor });
}

/** The end of a recharge or of a firm banking, perhaps one of a move. */
export interface EndTold {
  readonly id: string;
  readonly word: Word & { readonly kind: 'ENDED' };
}
