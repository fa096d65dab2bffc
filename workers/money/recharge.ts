/**
 * What becomes of a recharge: pure decisions, everything passed in.
 *
 * The bank's word is the only one that ends what banking may have heard of: EXECUTED is booked, REJECTED ends it. Banking has
 * one answer for good under the recharge's id, so it can be asked as often as needed. Before anybody was asked the recharge is
 * ours to end.
 */
import { eventWithinMs, gapMs, putOffMs } from '../platform/due-work.ts';
import type { AccountState } from './ledger.ts';

/** `REQUESTED`: accepted, nobody was asked. `ASKING`: banking may have heard of it. `AT_BANK`: it has, and says how it ends. */
export const openRecharges = ['REQUESTED', 'ASKING', 'AT_BANK'] as const;
export const rechargeStates = [...openRecharges, 'DONE', 'FAILED'] as const;
export type RechargeState = (typeof rechargeStates)[number];

export interface Recharge {
  readonly rechargeId: string;
  /** Of the ledger: the pseudonym of its member. */
  readonly account: string;
  /** The member's, registered at banking. */
  readonly bankAccountId: string;
  readonly amountMinor: number;
  readonly currency: string;
  readonly state: RechargeState;
  /** Why it failed, or what it waits for: a word for programs. */
  readonly reason: string | undefined;
  readonly firmbankingId: string | undefined;
  /** That it was booked by. */
  readonly transferId: string | undefined;
  /** Calls in a row that have not ended it. */
  readonly tries: number;
  /** Grows with each claim. */
  readonly claim: number;
}

export const isOpenRecharge = ({ state }: Pick<Recharge, 'state'>): boolean =>
  (openRecharges as readonly RechargeState[]).includes(state);

export type RechargeStep = { readonly call: 'ASK' | 'FIND' | undefined; readonly next: Recharge };

/** The step of a recharge whose time has come. `account`: the state of its account. */
export function rechargeStep(one: Recharge, account: AccountState | undefined): RechargeStep {
  if (one.state === 'REQUESTED' && account !== 'OPEN')
    return { call: undefined, next: { ...one, state: 'FAILED', reason: 'ACCOUNT_NOT_OPEN' } };
  const claimed = { ...one, tries: one.tries + 1, claim: one.claim + 1 };
  return one.state === 'AT_BANK'
    ? { call: 'FIND', next: claimed }
    : { call: 'ASK', next: { ...claimed, state: 'ASKING' } };
}

/** What banking said, to an ASK, to a FIND or by its event. */
export type RechargeWord =
  | { readonly kind: 'ACCEPTED'; readonly firmbankingId: string }
  | { readonly kind: 'REFUSED' | 'REJECTED'; readonly reason: string }
  | { readonly kind: 'EXECUTED'; readonly amountMinor: number; readonly currency: string }
  /** Not decided yet; `reason`: what it waits for. */
  | { readonly kind: 'OPEN'; readonly reason: string | undefined }
  | { readonly kind: 'UNCLEAR' }
  /** Banking is away: the call did not leave. */
  | { readonly kind: 'AWAY' };

export type RechargeChange = {
  readonly next: Recharge;
  /** Undefined: it has ended. */
  readonly againInMs: number | undefined;
  /** The amount is to be booked in the same transaction; if that is refused nothing of the change holds. */
  readonly book: boolean;
};

/**
 * The recharge after a word, undefined when it changes nothing. `claim`: of the call that it answers; undefined: an event.
 * How the bank has ended it counts whoever brings it; everything else only when nobody has claimed the recharge since.
 */
export function afterWord(
  now: Recharge,
  claim: number | undefined,
  word: RechargeWord,
): RechargeChange | undefined {
  if (!isOpenRecharge(now)) return undefined;
  const ended = (more: Partial<Recharge>, book = false): RechargeChange => ({
    next: { ...now, reason: undefined, ...more },
    againInMs: undefined,
    book,
  });
  if (word.kind === 'EXECUTED') {
    // Another amount is none of ours: it stays undecided, and people are told.
    if (word.amountMinor !== now.amountMinor || word.currency !== now.currency) return undefined;
    return ended({ state: 'DONE' }, true);
  }
  if (word.kind === 'REJECTED') return ended({ state: 'FAILED', reason: word.reason });
  if (now.claim !== claim) return undefined;
  const again = (more: Partial<Recharge>, inMs = gapMs(now.tries)): RechargeChange => ({
    next: { ...now, ...more },
    againInMs: inMs,
    book: false,
  });
  switch (word.kind) {
    case 'ACCEPTED':
      return again(
        { state: 'AT_BANK', firmbankingId: word.firmbankingId, reason: undefined, tries: 0 },
        eventWithinMs,
      );
    case 'REFUSED':
      return ended({ state: 'FAILED', reason: word.reason });
    case 'OPEN':
      return again({ reason: word.reason });
    case 'AWAY':
      // A call that was none does not make the next one later.
      return again({ tries: now.tries - 1, reason: undefined }, putOffMs);
    default:
      // What was said last of a bank that is down may be old: nobody is excused by it.
      return again({ reason: undefined });
  }
}
