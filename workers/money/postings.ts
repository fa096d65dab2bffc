/**
 * What operations on the ledger change, in one transaction: what is locked, what is decided on it (ledger.ts), what is
 * written. Rows come and go through a port; store.ts says it in SQL.
 */
import { refusedKey } from '../base/refusal.ts';
import { type OnceCall, type OnceRows, onceAll } from '../store/once.ts';
import {
  type Account,
  decide,
  expectedAnswer,
  type Hold,
  type LedgerAnswer,
  type LedgerDecision,
  type Operation,
  type Transfer,
} from './ledger.ts';

export interface LedgerCall {
  readonly operation: Operation;
  readonly once: OnceCall;
  /** The key has one answer for good, a refusal, too. Default: a refusal uses no key up. */
  readonly keepsRefusal?: boolean;
}

export type LedgerOutcome = LedgerAnswer & { readonly repeated: boolean };

export interface LedgerStore {
  /**
   * Runs `work` in a transaction: all of it or nothing. It may run more than once (a deadlock). Rejects with
   * MUSTER_DATABASE_DOWN when the store cannot be asked, or when it is not known whether the transaction was committed.
   */
  transaction<T>(work: (rows: LedgerRows) => Promise<T>): Promise<T>;
}

/** Rows within one transaction. */
export interface LedgerRows {
  readonly once: OnceRows;
  /** Those that there are, locked one after the other in an order that is the same for all. */
  lockHolds(holdIds: readonly string[]): Promise<readonly Hold[]>;
  /** As lockHolds(). */
  lockTransfers(transferIds: readonly string[]): Promise<readonly Transfer[]>;
  /** As lockHolds(). House accounts that are not there yet are opened. */
  lockAccounts(accountIds: readonly string[]): Promise<readonly Account[]>;
  write(decision: LedgerDecision, atMs: number): Promise<void>;
}

/**
 * Does operations in one transaction, each once per key: entries, balances, holds and keys of all of them commit together
 * or not at all, in as many round trips as for one. A repeat has the answer of the first. Rejects when the database is
 * down; when that happened during the commit it is not known here whether it took place, and the same calls again tell.
 * `clock` (UTC ms) is read under the locks of the accounts, right before what is booked is written: what has not committed
 * soon after never does (the server cuts who hangs in a transaction), so that a day's books are complete soon after it.
 */
export async function bookAll(
  store: LedgerStore,
  calls: readonly LedgerCall[],
  clock: () => number,
): Promise<readonly LedgerOutcome[]> {
  return store.transaction(async (rows) => {
    const outcomes = await onceAll(
      rows.once,
      calls.map(({ operation, once, keepsRefusal = false }) => ({
        ...once,
        expected: expectedAnswer(operation),
        operation,
        keepsRefusal,
      })),
      (first) =>
        bookWithin(
          rows,
          first.map(({ operation }) => operation),
          clock,
        ),
      ({ ok }, { keepsRefusal }) => ok || keepsRefusal,
    );
    return outcomes.map((outcome): LedgerOutcome => {
      if ('error' in outcome) return { ...refusedKey(outcome.error), repeated: false };
      return { ...outcome.answer, repeated: outcome.repeated };
    });
  });
}

async function bookWithin(
  rows: LedgerRows,
  operations: readonly Operation[],
  clock: () => number,
): Promise<readonly LedgerAnswer[]> {
  // Keys, holds, transfers, accounts: two transactions that need the same rows meet in the same order.
  const holds = await rows.lockHolds(unique(operations, (one) => ('holdId' in one ? [one.holdId] : [])));
  const transfers = await rows.lockTransfers(
    unique(operations, (one) => (one.kind === 'correct' ? [one.corrects] : [])),
  );
  const legs = [
    ...operations.flatMap((one) =>
      one.kind === 'transfer' ? one.legs : one.kind === 'hold' ? [one.leg] : [],
    ),
    ...holds.map(({ leg }) => leg),
    ...transfers.flatMap((transfer) => transfer.legs),
  ];
  const accounts = await rows.lockAccounts([...new Set(legs.flatMap(({ from, to }) => [from, to]))]);
  const decision = decide(
    {
      accounts: new Map(accounts.map((account) => [account.accountId, account])),
      holds: new Map(holds.map((hold) => [hold.holdId, hold])),
      transfers: new Map(transfers.map((transfer) => [transfer.transferId, transfer])),
    },
    operations,
  );
  await rows.write(decision, clock());
  return decision.answers;
}

function unique(
  operations: readonly Operation[],
  idsOf: (operation: Operation) => readonly string[],
): readonly string[] {
  return [...new Set(operations.flatMap(idsOf))];
}
