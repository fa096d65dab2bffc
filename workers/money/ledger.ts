/**
 * What an operation does to the ledger: pure decisions, everything passed in.
 *
 * Double entry: a transfer has legs, and each leg two entries of the same amount, a debit (below zero) of the account that it
 * is from and a credit of the one that it is to. So the entries of every transfer, and all balances together, sum to zero.
 * A member's balance is what we owe the member; the house accounts stand for the other side (what lies at the bank).
 * A hold reserves an amount until it is posted as a transfer, in part or whole, or released. Nothing that was booked
 * changes: a correction is a transfer that takes another one back.
 */
import { type Refused, refuse } from '../base/refusal.ts';

export type AccountState = 'OPEN' | 'SUSPENDED' | 'CLOSED';

export interface Account {
  readonly accountId: string;
  readonly currency: string;
  readonly state: AccountState;
  /** House accounts only. */
  readonly mayOverdraw: boolean;
  /** Sum of its entries. */
  readonly balanceMinor: number;
  /** Sum of the open holds on it. */
  readonly heldMinor: number;
  /** Number of its entries. */
  readonly version: number;
}

export interface Leg {
  readonly from: string;
  readonly to: string;
  /** 1 to 2^53 - 1. */
  readonly amountMinor: number;
  /** A word for the history: what it was for. */
  readonly reason: string;
}

/** Ids of new transfers and holds are UUIDs made by the caller. */
export type Operation =
  /** The legs are booked together or not at all, one after the other. */
  | {
      readonly kind: 'transfer';
      readonly transferId: string;
      readonly currency: string;
      readonly legs: readonly Leg[];
      /** It was in order when it was accepted: a suspended account keeps the promise. */
      readonly promised?: true;
    }
  | { readonly kind: 'hold'; readonly holdId: string; readonly currency: string; readonly leg: Leg }
  /** Books what was held, or less; the rest is free again. */
  | {
      readonly kind: 'post';
      readonly transferId: string;
      readonly holdId: string;
      readonly amountMinor?: number;
    }
  | { readonly kind: 'release'; readonly holdId: string }
  /** Takes a transfer back, with all of its legs; once. */
  | { readonly kind: 'correct'; readonly transferId: string; readonly corrects: string };

export interface Hold {
  readonly holdId: string;
  readonly currency: string;
  readonly leg: Leg;
  readonly state: 'OPEN' | 'POSTED' | 'RELEASED';
  /** Of the transfer that posted it. */
  readonly transferId?: string;
}

export interface Transfer {
  readonly transferId: string;
  readonly currency: string;
  readonly legs: readonly Leg[];
  readonly corrected: boolean;
}

export interface Entry {
  readonly accountId: string;
  readonly version: number;
  /** Below zero: a debit. */
  readonly amountMinor: number;
  /** Of the account after it. */
  readonly balanceMinor: number;
}

export interface BookedLeg extends Leg {
  readonly transferId: string;
  /** From 0 on. */
  readonly index: number;
  readonly currency: string;
  readonly corrects: string | undefined;
  readonly debit: Entry;
  readonly credit: Entry;
}

/** What the store knows of everything that the operations name. */
export interface LedgerState {
  readonly accounts: ReadonlyMap<string, Account>;
  readonly holds: ReadonlyMap<string, Hold>;
  readonly transfers: ReadonlyMap<string, Transfer>;
}

/** `id`: of the transfer, or of the hold that was made or released. */
export type LedgerAnswer = { readonly ok: true; readonly id: string } | Refused;

export interface LedgerDecision {
  /** One per operation, in their order. */
  readonly answers: readonly LedgerAnswer[];
  readonly legs: readonly BookedLeg[];
  /** As they are afterwards. */
  readonly accounts: readonly Account[];
  readonly newHolds: readonly Hold[];
  /** Of before, posted or released now. */
  readonly endedHolds: readonly Hold[];
}

/** The answer that an operation gets if it succeeds. */
export function expectedAnswer(operation: Operation): LedgerAnswer {
  const { kind } = operation;
  return { ok: true, id: kind === 'hold' || kind === 'release' ? operation.holdId : operation.transferId };
}

/**
 * Decides operations one after the other, each on what the ones before it left. One that is refused changes nothing. When
 * several reasons hold, the first of this order is told: amount, same account, unknown, currency, state, cover, size.
 */
export function decide(before: LedgerState, operations: readonly Operation[]): LedgerDecision {
  const accounts = new Map(before.accounts);
  const holds = new Map(before.holds);
  const transfers = new Map(before.transfers);
  const legs: BookedLeg[] = [];

  const answers = operations.map((operation): LedgerAnswer => {
    const done = apply({ accounts, holds, transfers }, operation);
    if (!done.ok) return done;
    for (const account of done.accounts) accounts.set(account.accountId, account);
    legs.push(...done.legs);
    if (done.hold !== undefined) holds.set(done.hold.holdId, done.hold);
    if (operation.kind === 'correct')
      transfers.set(operation.corrects, { ...transfers.get(operation.corrects)!, corrected: true });
    return expectedAnswer(operation);
  });

  return {
    answers,
    legs,
    accounts: [...accounts.values()].filter((account) => account !== before.accounts.get(account.accountId)),
    newHolds: [...holds.values()].filter(({ holdId }) => !before.holds.has(holdId)),
    endedHolds: [...holds.values()].filter(
      (hold) => before.holds.has(hold.holdId) && hold !== before.holds.get(hold.holdId),
    ),
  };
}

interface Done {
  readonly ok: true;
  /** In the order in which they changed: the last of an account counts. */
  readonly accounts: readonly Account[];
  readonly legs: readonly BookedLeg[];
  readonly hold?: Hold;
}

function apply(state: LedgerState, operation: Operation): Done | Refused {
  switch (operation.kind) {
    case 'transfer':
      return book(state.accounts, {
        ...operation,
        corrects: undefined,
        promised: operation.promised === true,
      });
    case 'hold': {
      const { leg, currency, holdId } = operation;
      const checked = check(state.accounts, leg, currency, false);
      if (!checked.ok) return checked;
      const { from } = checked;
      const heldMinor = from.heldMinor + leg.amountMinor;
      if (!Number.isSafeInteger(heldMinor)) return tooLarge;
      return {
        ok: true,
        accounts: [{ ...from, heldMinor }],
        legs: [],
        hold: { holdId, currency, leg, state: 'OPEN' },
      };
    }
    case 'post': {
      const hold = state.holds.get(operation.holdId);
      const ended = endedOr(hold);
      if (ended !== undefined) return ended;
      const { leg, currency } = hold!;
      const amountMinor = operation.amountMinor ?? leg.amountMinor;
      if (amountMinor > leg.amountMinor)
        return refuse(409, 'MUSTER_HOLD_EXCEEDED', 'more is to be posted than is held', [
          { field: 'amount', reason: `at most ${leg.amountMinor} ${currency} are held` },
        ]);
      const accounts = new Map(state.accounts);
      const freed = free(accounts, leg);
      accounts.set(freed.accountId, freed);
      const { transferId } = operation;
      const booked = book(accounts, {
        transferId,
        currency,
        legs: [{ ...leg, amountMinor }],
        corrects: undefined,
        promised: true,
      });
      return booked.ok ? { ...booked, hold: { ...hold!, state: 'POSTED', transferId } } : booked;
    }
    case 'release': {
      const hold = state.holds.get(operation.holdId);
      const ended = endedOr(hold);
      if (ended !== undefined) return ended;
      return {
        ok: true,
        accounts: [free(state.accounts, hold!.leg)],
        legs: [],
        hold: { ...hold!, state: 'RELEASED' },
      };
    }
    case 'correct': {
      const transfer = state.transfers.get(operation.corrects);
      if (transfer === undefined) return refuse(404, 'MUSTER_TRANSFER_UNKNOWN', 'there is no such transfer');
      if (transfer.corrected)
        return refuse(409, 'MUSTER_TRANSFER_CORRECTED', 'the transfer was taken back before');
      // The payment would not know of it: its merchant would be settled with, and its customer given the money once more.
      if (transfer.legs.some(({ reason }) => reason === 'payment'))
        return refuse(409, 'MUSTER_TRANSFER_OF_PAYMENT', 'a payment is taken back by a refund of it');
      const { transferId, corrects } = operation;
      // The last leg first: the accounts go back the way that they came.
      const legs = transfer.legs
        .toReversed()
        .map(({ from, to, amountMinor }) => ({ from: to, to: from, amountMinor, reason: 'correction' }));
      return book(state.accounts, {
        transferId,
        currency: transfer.currency,
        legs,
        corrects,
        promised: true,
      });
    }
  }
}

/** The account that an open hold is on, without it. */
function free(accounts: LedgerState['accounts'], { from, amountMinor }: Leg): Account {
  const account = accounts.get(from)!;
  return { ...account, heldMinor: account.heldMinor - amountMinor };
}

function endedOr(hold: Hold | undefined): Refused | undefined {
  if (hold === undefined) return refuse(404, 'MUSTER_HOLD_UNKNOWN', 'there is no such hold');
  if (hold.state === 'OPEN') return undefined;
  return refuse(409, 'MUSTER_HOLD_ENDED', `the hold is ${hold.state} already`);
}

function book(
  before: LedgerState['accounts'],
  {
    transferId,
    currency,
    legs,
    corrects,
    promised,
  }: Pick<Transfer, 'transferId' | 'currency' | 'legs'> & {
    readonly corrects: string | undefined;
    readonly promised: boolean;
  },
): Done | Refused {
  const accounts = new Map<string, Account>();
  const booked: BookedLeg[] = [];
  for (const [index, leg] of legs.entries()) {
    const known = { get: (id: string) => accounts.get(id) ?? before.get(id) };
    const checked = check(known, leg, currency, promised);
    if (!checked.ok) return checked;
    const from = moved(checked.from, -leg.amountMinor);
    const to = moved(checked.to, leg.amountMinor);
    if (from === undefined || to === undefined) return tooLarge;
    accounts.set(leg.from, from);
    accounts.set(leg.to, to);
    const debit = entryOf(from, -leg.amountMinor);
    const credit = entryOf(to, leg.amountMinor);
    booked.push({ ...leg, transferId, index, currency, corrects, debit, credit });
  }
  return { ok: true, accounts: [...accounts.values()], legs: booked };
}

/**
 * Whether an amount may go from one account to the other. `promised`: it was in order when it was held or booked, so that
 * an account that was suspended since keeps the promise; one that is closed cannot.
 */
function check(
  accounts: Pick<LedgerState['accounts'], 'get'>,
  { from: fromId, to: toId, amountMinor }: Leg,
  currency: string,
  promised: boolean,
): Refused | { readonly ok: true; readonly from: Account; readonly to: Account } {
  if (!Number.isSafeInteger(amountMinor) || amountMinor < 1)
    return refuse(422, 'MUSTER_AMOUNT_INVALID', 'an amount is a whole number of minor units above zero', [
      { field: 'amount.amountMinor', reason: `must be an integer from 1 to ${Number.MAX_SAFE_INTEGER}` },
    ]);
  if (fromId === toId)
    return refuse(422, 'MUSTER_SAME_ACCOUNT', 'money cannot be sent to where it comes from');
  const from = accounts.get(fromId);
  const to = accounts.get(toId);
  if (from === undefined || to === undefined)
    return refuse(404, 'MUSTER_ACCOUNT_UNKNOWN', 'there is no such account', [
      { field: from === undefined ? 'from' : 'to', reason: 'has no account' },
    ]);
  for (const [field, account] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (account.currency !== currency)
      return refuse(422, 'MUSTER_CURRENCIES_DIFFER', 'an account has one currency', [
        { field: 'amount.currency', reason: `is not that of the account (${field})` },
      ]);
  }
  for (const [field, { state }] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (state === 'CLOSED' || (state === 'SUSPENDED' && !promised))
      return refuse(409, 'MUSTER_ACCOUNT_NOT_OPEN', `the account is ${state}`, [
        { field, reason: `is ${state}` },
      ]);
  }
  if (!from.mayOverdraw && from.balanceMinor - from.heldMinor < amountMinor)
    return refuse(409, 'MUSTER_MONEY_SHORT', 'there is less in the account, or more of it is held');
  return { ok: true, from, to };
}

function moved(account: Account, amountMinor: number): Account | undefined {
  const balanceMinor = account.balanceMinor + amountMinor;
  return Number.isSafeInteger(balanceMinor)
    ? { ...account, balanceMinor, version: account.version + 1 }
    : undefined;
}

const entryOf = ({ accountId, version, balanceMinor }: Account, amountMinor: number): Entry => ({
  accountId,
  version,
  amountMinor,
  balanceMinor,
});

const tooLarge = refuse(409, 'MUSTER_BALANCE_TOO_LARGE', 'that would be more than can be counted');

/** An account in its new state. Closing is for good, and only when nothing is in it or under way. */
export function changeState(
  account: Account,
  state: AccountState,
): { readonly ok: true; readonly account: Account } | Refused {
  if (account.state === 'CLOSED' && state !== 'CLOSED')
    return refuse(409, 'MUSTER_ACCOUNT_NOT_OPEN', 'the account is CLOSED, for good');
  if (state === 'CLOSED' && (account.balanceMinor !== 0 || account.heldMinor !== 0))
    return refuse(409, 'MUSTER_ACCOUNT_NOT_EMPTY', 'there is money in the account, or under way');
  return { ok: true, account: { ...account, state } };
}
