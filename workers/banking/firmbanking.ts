/**
 * What becomes of a firm banking: pure decisions, everything passed in.
 *
 * Money between two bank accounts moves at the bank and nowhere else, so only the bank's own word ends a request that may have
 * reached it. An answer that never came is asked for by the request's id; when the bank says that it knows none of that id,
 * the same request is sent again, under the same id, which the bank executes once. What never can have left the house is
 * ours to reject.
 */
import { type Refused, refuse } from '../base/refusal.ts';
import type { Outcome } from '../http/outgoing.ts';
import { gapMs, putOffMs } from '../platform/due-work.ts';

/**
 * `REQUESTED`: accepted, not sent yet. `WAITING`: not with the bank, and to be sent when its time comes (`reason` says what
 * for). `SENT`: a call is under way. `IN_DOUBT`: sent, and nobody knows how it ended; the bank is asked by its id.
 */
export const openStates = ['REQUESTED', 'WAITING', 'SENT', 'IN_DOUBT'] as const;
export const states = [...openStates, 'EXECUTED', 'REJECTED'] as const;
export type State = (typeof states)[number];

export interface Firmbanking {
  readonly firmbankingId: string;
  /** That carries it out. */
  readonly bank: string;
  readonly from: Party;
  readonly to: Party;
  readonly amountMinor: number;
  readonly currency: string;
  readonly state: State;
  readonly reason: string | undefined;
  /** The bank may have heard of it: from then on nobody but the bank decides it. */
  readonly mayBeKnown: boolean;
  readonly decidedBy: 'BANK' | 'US' | undefined;
  /** Of the contract when it was sent last. */
  readonly feeMinor: number;
  /** Calls so far. */
  readonly tries: number;
  /** Grows with each claim. */
  readonly claim: number;
}

export interface Party {
  readonly accountId: string;
  /** Pseudonym of the member, or `house`. */
  readonly owner: string;
  readonly bank: string;
  /** In clear: for the bank only. */
  readonly accountNumber: string;
}

/** What is to be done about a request whose time has come. */
export type Step =
  | { readonly call: 'SEND' | 'ASK'; readonly next: Firmbanking }
  /** Without a call. */
  | { readonly call: undefined; readonly next: Firmbanking };

/**
 * What a bank said of a transfer. `NOT_SENT`: it is certain that the call did not reach it. `UNKNOWN`: the bank answers that
 * it has none of that id. `PENDING`: it has it and has not decided. `UNCLEAR`: no answer, or none that says how it ended.
 */
export type Word =
  | { readonly kind: 'EXECUTED' }
  | { readonly kind: 'REJECTED'; readonly reason: string }
  | { readonly kind: 'NOT_SENT' | 'UNKNOWN' | 'PENDING' | 'UNCLEAR' }
  /** It has another transfer under this id. */
  | { readonly kind: 'OTHER' };

/** How a call ended: what it means, and what the HTTP client saw. */
export interface Said {
  readonly word: Word;
  readonly outcome: Outcome;
}

export const isOpen = ({ state }: Pick<Firmbanking, 'state'>): boolean =>
  (openStates as readonly State[]).includes(state);

/** A bank that answers that it is still at it has our request: it is not asked sooner, and ever more seldom. */
const pendingMs = 5_000;

/**
 * The step of a request whose time has come: also one that is SENT, whose process then died between call and commit.
 * `bankDown`: its calls are not let through at the moment. `contract`: undefined while one is valid, else why not.
 */
export function stepOf(
  one: Firmbanking,
  { bankDown, contract }: { readonly bankDown: boolean; readonly contract: string | undefined },
): Step {
  if (one.state === 'SENT' || one.state === 'IN_DOUBT')
    return bankDown
      ? { call: undefined, next: { ...one, state: 'IN_DOUBT', reason: 'BANK_DOWN' } }
      : { call: 'ASK', next: { ...claimed(one), state: 'IN_DOUBT' } };
  // What was begun under a contract is ended under it.
  if (contract !== undefined && !one.mayBeKnown)
    return { call: undefined, next: { ...one, state: 'REJECTED', reason: contract, decidedBy: 'US' } };
  if (bankDown) return { call: undefined, next: { ...one, state: 'WAITING', reason: 'BANK_DOWN' } };
  return { call: 'SEND', next: { ...claimed(one), state: 'SENT', reason: undefined, mayBeKnown: true } };
}

const claimed = (one: Firmbanking): Firmbanking => ({ ...one, claim: one.claim + 1, tries: one.tries + 1 });

/**
 * The request after a call of claim `claim` has ended, undefined when that changes nothing. `before`: what was known of it
 * before the call, so that a call that certainly did not leave the house leaves it as it was.
 *
 * The bank's last word counts whoever brings it, also one who was given up; everything else counts only when nobody has
 * claimed the request since.
 */
export function afterCall(
  now: Firmbanking,
  before: Pick<Firmbanking, 'mayBeKnown'>,
  claim: number,
  called: 'SEND' | 'ASK',
  { word }: Said,
): { readonly next: Firmbanking; readonly againInMs: number | undefined } | undefined {
  if (!isOpen(now)) return undefined;
  if (word.kind === 'EXECUTED')
    return {
      next: { ...now, state: 'EXECUTED', reason: undefined, decidedBy: 'BANK' },
      againInMs: undefined,
    };
  if (word.kind === 'REJECTED')
    return {
      next: { ...now, state: 'REJECTED', reason: word.reason, decidedBy: 'BANK' },
      againInMs: undefined,
    };
  if (now.claim !== claim) return undefined;
  const again = (state: State, reason: string, more: Partial<Firmbanking> = {}, inMs = gapMs(now.tries)) => ({
    next: { ...now, state, reason, ...more },
    againInMs: inMs,
  });
  switch (word.kind) {
    case 'NOT_SENT': {
      // A call that was none costs nothing, so it does not make the next one later.
      const tries = now.tries - 1;
      return called === 'ASK'
        ? again('IN_DOUBT', 'BANK_DOWN', { tries }, putOffMs)
        : again('WAITING', 'BANK_DOWN', { tries, mayBeKnown: before.mayBeKnown }, putOffMs);
    }
    case 'UNKNOWN':
      // To an ASK it is an answer, of a bank that is there: it is sent at once. To a SEND it is none.
      return called === 'ASK' ? again('WAITING', 'BANK_KNOWS_NONE', {}, 0) : again('IN_DOUBT', 'NO_ANSWER');
    case 'PENDING':
      return again('IN_DOUBT', 'BANK_AT_WORK', {}, Math.max(pendingMs, gapMs(now.tries)));
    case 'OTHER':
      return again('IN_DOUBT', 'BANK_HAS_ANOTHER');
    case 'UNCLEAR':
      return again('IN_DOUBT', 'NO_ANSWER');
  }
}

// ---- acceptance

export interface Contract {
  readonly bank: string;
  readonly state: 'ACTIVE' | 'SUSPENDED';
  readonly expiresAtMs: number;
  readonly currency: string;
  /** Of each executed call. */
  readonly feeMinor: number;
  readonly callLimitMinor: number;
  readonly dayLimitMinor: number;
}

/** Owner of the accounts that stand for the house itself. */
export const house = 'house';

/** `PAYEE`: an account that its owner here only pays to; whose it is nobody asks, and nothing is taken from it. */
export const accountStates = ['OPEN', 'CLOSED', 'PAYEE'] as const;
export type BankAccountState = (typeof accountStates)[number];

export interface RegisteredAccount extends Party {
  readonly currency: string;
  readonly state: BankAccountState;
}

/** Why a bank may not be called; undefined: it may. */
export function invalidity(contract: Contract | undefined, nowMs: number): string | undefined {
  if (contract === undefined) return 'CONTRACT_MISSING';
  if (contract.state !== 'ACTIVE') return 'CONTRACT_SUSPENDED';
  return contract.expiresAtMs <= nowMs ? 'CONTRACT_EXPIRED' : undefined;
}

const contractWords: Readonly<Record<string, string>> = {
  CONTRACT_MISSING: 'there is no contract with the bank',
  CONTRACT_SUSPENDED: 'the contract with the bank is suspended',
  CONTRACT_EXPIRED: 'the contract with the bank has expired',
};

/** The refusal of what needs a valid contract. */
export const refuseContract = (why: string): Refused =>
  refuse(409, 'MUSTER_CONTRACT_INVALID', contractWords[why]!, [{ field: 'bank', reason: why }]);

export interface Wish {
  readonly fromId: string;
  readonly toId: string;
  readonly amountMinor: number;
  readonly currency: string;
  /** Pseudonym of the member on whose behalf it is asked: one account is theirs, and no other member's may be in it. */
  readonly owner?: string | undefined;
}

/**
 * Whether a request is accepted. The first reason in this order is told: amount, same account, unknown (another member's is
 * unknown, too, and one of ours in place of the member's), closed, payee, owner, contract, currency, limit a call, limit a day
 * (`usedMinor`: of the day so far).
 */
export function refusalOf(
  { fromId, toId, amountMinor, currency, owner }: Wish,
  {
    accounts,
    contract,
    usedMinor,
    nowMs,
  }: {
    readonly accounts: ReadonlyMap<string, RegisteredAccount>;
    readonly contract: Contract | undefined;
    readonly usedMinor: number;
    readonly nowMs: number;
  },
): Refused | undefined {
  if (amountMinor < 1)
    return refuse(422, 'MUSTER_AMOUNT_INVALID', 'an amount is a whole number of minor units above zero', [
      { field: 'amount.amountMinor', reason: `must be an integer from 1 to ${Number.MAX_SAFE_INTEGER}` },
    ]);
  if (fromId === toId)
    return refuse(422, 'MUSTER_SAME_ACCOUNT', 'money cannot be sent to where it comes from');
  const both = [
    ['fromAccountId', accounts.get(fromId)],
    ['toAccountId', accounts.get(toId)],
  ] as const;
  const unknown = (field: string) =>
    refuse(404, 'MUSTER_BANK_ACCOUNT_UNKNOWN', 'no such bank account is registered', [
      { field, reason: 'is not registered' },
    ]);
  for (const [field, account] of both)
    if (account === undefined || (owner !== undefined && ![owner, house].includes(account.owner)))
      return unknown(field);
  // What is moved for a member is booked for them: between two accounts of ours it would be booked out of nothing.
  if (owner !== undefined && both.every(([, account]) => account!.owner === house))
    return unknown('fromAccountId');
  for (const [field, account] of both)
    if (account!.state === 'CLOSED')
      return refuse(409, 'MUSTER_BANK_ACCOUNT_CLOSED', 'the bank account was closed here', [
        { field, reason: 'is CLOSED' },
      ]);
  const from = both[0][1]!;
  if (from.state === 'PAYEE')
    return refuse(409, 'MUSTER_BANK_ACCOUNT_PAYEE', 'nothing is taken from an account that is only paid to', [
      { field: 'fromAccountId', reason: 'is PAYEE' },
    ]);
  // What is taken from a member is booked for them: only who does that names them.
  if (from.owner !== house && owner === undefined)
    return refuse(409, 'MUSTER_OWNER_UNNAMED', 'money is taken from a member by a service that names them', [
      { field: 'owner', reason: 'is missing' },
    ]);
  const why = invalidity(contract, nowMs);
  if (why !== undefined) return refuseContract(why);
  if ([from.currency, both[1][1]!.currency, contract!.currency].some((each) => each !== currency))
    return refuse(422, 'MUSTER_CURRENCIES_DIFFER', 'both accounts and the contract have one currency', [
      { field: 'amount.currency', reason: 'is not that of all of them' },
    ]);
  if (amountMinor > contract!.callLimitMinor)
    return refuse(409, 'MUSTER_LIMIT_CALL', 'more than the contract lets one call move', [
      { field: 'amount.amountMinor', reason: `at most ${contract!.callLimitMinor}` },
    ]);
  if (amountMinor > contract!.dayLimitMinor - usedMinor)
    return refuse(409, 'MUSTER_LIMIT_DAY', 'more than the contract lets a day move', [
      { field: 'amount.amountMinor', reason: `${contract!.dayLimitMinor - usedMinor} are left of the day` },
    ]);
  return undefined;
}

/** All but the last four characters are hidden; of a short one, all. */
export const masked = (accountNumber: string): string =>
  accountNumber.length > 4 ? `****${accountNumber.slice(-4)}` : '****';
