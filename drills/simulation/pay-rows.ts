/** Rows of sagas and of the ledger in the simulated store: what saga-rows.ts and the stores of my-pay say in SQL, said again. */
import { houseOf, isHouse } from '../../workers/money/house.ts';
import type { Account, AccountState, BookedLeg, Hold, LedgerDecision } from '../../workers/money/ledger.ts';
import type { LedgerRows, LedgerStore } from '../../workers/money/postings.ts';
import type { Recharge } from '../../workers/money/recharge.ts';
import type { RechargeRows } from '../../workers/money/recharges.ts';
import type { Slip } from '../../workers/payment/payment.ts';
import type { SlipRows } from '../../workers/payment/slips.ts';
import type { Move } from '../../workers/platform/move.ts';
import type { Found, SagaOptions, SagaRows } from '../../workers/platform/sagas.ts';
import type { Life } from './kafka.ts';
import { simulatedOnce } from './order-rows.ts';
import { appendOutbox } from './relay.ts';
import type { Reader, Row, SimulatedStore, Transaction } from './store.ts';
import type { World } from './world.ts';

export interface PayRowsBugs {
  /** Payments are not locked when a refund is accepted, and no check of the table stands behind it. */
  readonly paymentsNotLocked?: boolean;
  /** What is told is not in the transaction that decides it. */
  readonly toldOutsideTransaction?: boolean;
}

export interface SagaRow<One, Own = undefined> extends Found<One, Own> {
  /** Undefined: it has ended. */
  readonly dueAtMs: number | undefined;
}

/** A table of sagas: its name, and where the ids stand of what ends by events. */
interface Table<One> {
  readonly name: 'remittance' | 'slip' | 'recharge';
  idOf(one: One): string;
  readonly columns: Readonly<Record<string, (one: One) => string | undefined>>;
}

const ofMoves = {
  idOf: ({ id }: Move) => id,
  columns: {
    recharge_id: ({ rechargeId }: Move) => rechargeId,
    firmbanking_id: ({ firmbankingId }: Move) => firmbankingId,
  },
};
export const remittanceTable: Table<Move> = { ...ofMoves, name: 'remittance' };
export const slipTable: Table<Move> = { ...ofMoves, name: 'slip' };
export const rechargeTable: Table<Recharge> = {
  name: 'recharge',
  idOf: ({ rechargeId }) => rechargeId,
  columns: { firmbanking_id: ({ firmbankingId }) => firmbankingId },
};

const rowsIn = (table: string, keys: readonly string[]): readonly Row[] =>
  keys.toSorted().map((key) => [table, key]);

/** Locks those of the rows that there are, and reads them. */
async function lockThere<T>(trx: Transaction, table: string, keys: readonly string[]): Promise<readonly T[]> {
  const there = (rows: Reader) => keys.filter((key) => rows.get(table, key) !== undefined).toSorted();
  return trx.statement(
    (rows) => rowsIn(table, there(rows)),
    (rows) => there(rows).map((key) => rows.get<T>(table, key)!),
  );
}

export function sagaRows<One, Own>(
  { store, life, trx }: { store: SimulatedStore; life: Life; trx: Transaction },
  { name, idOf, columns }: Table<One>,
  bugs: PayRowsBugs,
): SagaRows<One, Own> {
  type Stored = SagaRow<One, Own>;
  return {
    once: simulatedOnce(trx, false),
    async due(most, nowMs) {
      const isDue = (rows: Reader, id: string) =>
        (rows.get<Stored>(name, id)!.dueAtMs ?? Number.POSITIVE_INFINITY) <= nowMs;
      const got = await trx.lockFree(
        (rows) =>
          rowsIn(
            name,
            rows.keys(name).filter((id) => isDue(rows, id)),
          ),
        most,
      );
      // Another may have changed them between the look and the lock.
      return trx.statement([], (rows) =>
        got.filter(([, id]) => isDue(rows, id)).map(([, id]) => rows.get<Stored>(name, id)!),
      );
    },
    lock: (ids) => lockThere<Stored>(trx, name, ids),
    idsBy: (column, values) =>
      trx.statement([], (rows) => {
        const found = rows
          .keys(name)
          .map((id) => [columns[column]!(rows.get<Stored>(name, id)!.one), id] as const);
        return new Map(found.filter((pair): pair is readonly [string, string] => values.includes(pair[0]!)));
      }),
    add: (added, nowMs) =>
      trx.statement(
        rowsIn(
          name,
          added.map(({ one }) => idOf(one)),
        ),
        (rows) => {
          for (const { one, own, dueInMs, traceparent } of added)
            rows.set(name, idOf(one), {
              ...{ one, own, traceparent, dueAtMs: nowMs + dueInMs },
              ...{ requestedAtMs: nowMs, decidedAtMs: undefined },
            } satisfies Stored);
        },
      ),
    save: (saves, nowMs) =>
      trx.statement(
        rowsIn(
          name,
          saves.map(({ next }) => idOf(next)),
        ),
        (rows) => {
          for (const { next, againInMs } of saves) {
            const before = rows.get<Stored>(name, idOf(next))!;
            if ((next as { tries: number }).tries < 0)
              throw new Error(`${name} ${idOf(next)}: tries below zero`);
            rows.set(name, idOf(next), {
              ...before,
              one: next,
              dueAtMs: againInMs === undefined ? undefined : nowMs + againInMs,
              decidedAtMs: againInMs === undefined ? nowMs : undefined,
            } satisfies Stored);
          }
        },
      ),
    tell: (records) =>
      bugs.toldOutsideTransaction === true
        ? store.transaction(life, (other) => appendOutbox(other, records))
        : appendOutbox(trx, records),
  };
}

/** How sagas run in the simulated store. */
export function sagaOptionsIn<One, Own, Rows extends SagaRows<One, Own>>(
  world: World,
  {
    store,
    life,
    newId,
    claiming,
  }: { store: SimulatedStore; life: Life } & Pick<SagaOptions<Rows>, 'newId' | 'claiming'>,
  rowsOf: (trx: Transaction) => Rows,
): SagaOptions<Rows> {
  return {
    newId,
    claiming,
    within: (work) => store.transaction(life, (trx) => work(rowsOf(trx), world.now())),
  };
}

export const slipRowsIn = (
  place: { store: SimulatedStore; life: Life; trx: Transaction },
  bugs: PayRowsBugs,
): SlipRows => {
  const rows = sagaRows<Move, Slip>(place, slipTable, bugs);
  const { trx } = place;
  const read = (ids: readonly string[]) =>
    trx.statement([], (now) => ids.flatMap((id) => now.get<SagaRow<Move, Slip>>('slip', id) ?? []));
  let accepting = false;
  return {
    ...rows,
    lock: (ids) => (bugs.paymentsNotLocked === true && accepting ? read(ids) : rows.lock(ids)),
    // Asked of whoever begins: nobody else needs merchants.
    merchants: async (which) => new Map(which.map((merchant) => [merchant, 'ACTIVE' as const])),
    // Asked of merchants who give back: here staff does.
    owed: async () => new Map(),
    once: {
      ...rows.once,
      reserve(wanted) {
        accepting = true;
        return rows.once.reserve(wanted);
      },
    },
    addRefunded: (minorByPayment) =>
      trx.statement(rowsIn('slip', [...minorByPayment.keys()]), (now) => {
        for (const [id, minor] of minorByPayment) {
          const before = now.get<SagaRow<Move, Slip>>('slip', id)!;
          const refundedMinor = before.own.refundedMinor + minor;
          const covered = refundedMinor >= 0 && refundedMinor <= before.one.amountMinor;
          if (!covered && bugs.paymentsNotLocked !== true)
            throw new Error(`a check of the table: ${refundedMinor} refunded`);
          now.set('slip', id, { ...before, own: { ...before.own, refundedMinor } });
        }
      }),
  };
};

export const rechargeRowsIn = (
  place: { store: SimulatedStore; life: Life; trx: Transaction },
  bugs: PayRowsBugs,
): RechargeRows => ({
  ...sagaRows<Recharge, undefined>(place, rechargeTable, bugs),
  ledger: ledgerRowsIn(place.trx),
  accountStates: (accounts) =>
    place.trx.statement([], (rows) => {
      const found = accounts.flatMap((id) => rows.get<Account>('account', id) ?? []);
      return new Map(found.map(({ accountId, state }): [string, AccountState] => [accountId, state]));
    }),
});

/** A leg as it was booked; its key is the transfer's id and the leg's number. */
export type TransferRow = Omit<BookedLeg, 'debit' | 'credit'>;
/** Its key is the account and the version. */
export interface EntryRow {
  readonly accountId: string;
  readonly amountMinor: number;
  readonly balanceMinor: number;
}

export const ledgerStoreIn = (store: SimulatedStore, life: Life): LedgerStore => ({
  transaction: (work) => store.transaction(life, (trx) => work(ledgerRowsIn(trx))),
});

function ledgerRowsIn(trx: Transaction): LedgerRows {
  return {
    once: simulatedOnce(trx, false),
    lockHolds: (ids) => lockThere<Hold>(trx, 'hold', ids),
    // Nothing is taken back here.
    lockTransfers: async () => [],
    async lockAccounts(ids) {
      const houses = ids.filter(isHouse);
      await trx.statement(rowsIn('account', houses), (rows) => {
        for (const accountId of houses)
          if (rows.get('account', accountId) === undefined)
            rows.set('account', accountId, newAccount(accountId, houseOf(accountId).currency, true));
      });
      return lockThere<Account>(trx, 'account', ids);
    },
    write: (decision) => writeDecision(trx, decision),
  };
}

export const newAccount = (accountId: string, currency: string, mayOverdraw: boolean): Account => ({
  ...{ accountId, currency, mayOverdraw },
  ...{ state: 'OPEN', balanceMinor: 0, heldMinor: 0, version: 0 },
});

function writeDecision(trx: Transaction, { legs, accounts, newHolds, endedHolds }: LedgerDecision) {
  const transfers = legs.map((leg) => [`${leg.transferId}/${leg.index}`, leg] as const);
  const entries = legs.flatMap(({ debit, credit }) =>
    [debit, credit].map((entry) => [`${entry.accountId}/${entry.version}`, entry] as const),
  );
  const holds = [...newHolds, ...endedHolds];
  return trx.statement(
    [
      ...rowsIn(
        'transfer',
        transfers.map(([key]) => key),
      ),
      ...rowsIn(
        'entry',
        entries.map(([key]) => key),
      ),
      ...rowsIn(
        'account',
        accounts.map(({ accountId }) => accountId),
      ),
      ...rowsIn(
        'hold',
        holds.map(({ holdId }) => holdId),
      ),
    ],
    (rows) => {
      const add = (table: string, key: string, value: unknown) => {
        if (rows.get(table, key) !== undefined)
          throw Object.assign(new Error(`simulated: a duplicate key ${table}/${key}`), { errno: 1062 });
        rows.set(table, key, value);
      };
      for (const [key, { debit: _, credit: __, ...leg }] of transfers)
        add('transfer', key, leg satisfies TransferRow);
      for (const [key, { accountId, amountMinor, balanceMinor }] of entries)
        add('entry', key, { accountId, amountMinor, balanceMinor } satisfies EntryRow);
      for (const account of accounts) {
        if (!account.mayOverdraw && account.balanceMinor < account.heldMinor)
          throw new Error(`a check of the table: ${account.accountId} below what is held`);
        rows.set('account', account.accountId, account);
      }
      for (const hold of holds) rows.set('hold', hold.holdId, hold);
    },
  );
}
