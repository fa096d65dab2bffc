/** The ledger's rows in SQL. */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import { bytesOfUuid, hexOfUuid, uuidOfBytes } from '../base/ids.ts';
import { transaction } from '../store/database.ts';
import { onceRows } from '../store/once.ts';
import { houseOf, isHouse } from './house.ts';
import type { Account, AccountState, Hold, LedgerDecision, Leg, Transfer } from './ledger.ts';
import type { LedgerRows, LedgerStore } from './postings.ts';

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

export function ledgerStore(database: () => Promise<Db>): LedgerStore {
  return {
    transaction: async (work) => transaction(await database(), (trx) => work(ledgerRows(trx))),
  };
}

/** The rows of the ledger within a transaction. */
export function ledgerRows(trx: Trx): LedgerRows {
  /** account_id -> account_no of what was locked. */
  const numbers = new Map<string, number>();

  return {
    once: onceRows(trx),

    async lockHolds(holdIds) {
      if (holdIds.length === 0) return [];
      const { rows } = await sql<StoredHold>`
        SELECT hold_id, from_no, to_no, amount_minor, currency, reason, state FROM ledger_hold
        WHERE hold_id IN (${sql.join(holdIds.map(bytesOfUuid))}) ORDER BY hold_id FOR UPDATE`.execute(trx);
      const legs = await legsOf(trx, rows);
      return rows.map(
        ({ hold_id, currency, state }, index): Hold => ({
          holdId: uuidOfBytes(hold_id),
          currency,
          leg: legs[index]!,
          state,
        }),
      );
    },

    async lockTransfers(transferIds) {
      if (transferIds.length === 0) return [];
      const these = sql.join(transferIds.map(bytesOfUuid));
      const { rows } = await sql<StoredLeg>`
        SELECT transfer_id, from_no, to_no, amount_minor, currency, reason FROM ledger_transfer
        WHERE transfer_id IN (${these}) ORDER BY transfer_id, leg FOR UPDATE`.execute(trx);
      const corrections = await sql<{ corrects: Buffer }>`
        SELECT corrects FROM ledger_transfer WHERE corrects IN (${these}) AND leg = 0`.execute(trx);
      const corrected = new Set(corrections.rows.map(({ corrects }) => uuidOfBytes(corrects)));
      const legs = await legsOf(trx, rows);
      const all = rows.map(({ transfer_id, currency }, index) => ({
        transferId: uuidOfBytes(transfer_id),
        currency,
        leg: legs[index]!,
      }));
      return [...Map.groupBy(all, ({ transferId }) => transferId)].map(
        ([transferId, own]): Transfer => ({
          transferId,
          currency: own[0]!.currency,
          legs: own.map(({ leg }) => leg),
          corrected: corrected.has(transferId),
        }),
      );
    },

    async lockAccounts(accountIds) {
      const house = accountIds.filter(isHouse);
      let rows = await lockAccounts(trx, accountIds);
      if (house.some((id) => !rows.some(({ account_id }) => account_id === id))) {
        await openHouse(trx, house);
        rows = await lockAccounts(trx, accountIds);
      }
      for (const { account_id, account_no } of rows) numbers.set(account_id, account_no);
      return rows.map(accountOf);
    },

    write: (decision, atMs) => write(trx, numbers, decision, new Date(atMs)),
  };
}

interface StoredAccount {
  readonly account_no: number;
  readonly account_id: string;
  readonly currency: string;
  readonly state: AccountState;
  readonly may_overdraw: number;
  readonly balance_minor: number;
  readonly held_minor: number;
  readonly version: number;
}

interface StoredLeg {
  readonly transfer_id: Buffer;
  readonly from_no: number;
  readonly to_no: number;
  readonly amount_minor: number;
  readonly currency: string;
  readonly reason: string;
}

interface StoredHold extends Omit<StoredLeg, 'transfer_id'> {
  readonly hold_id: Buffer;
  readonly state: Hold['state'];
}

const accountColumns = sql`account_no, account_id, currency, state, may_overdraw, balance_minor, held_minor, version`;

const accountOf = (row: StoredAccount): Account => ({
  accountId: row.account_id,
  currency: row.currency,
  state: row.state,
  mayOverdraw: row.may_overdraw === 1,
  balanceMinor: Number(row.balance_minor),
  heldMinor: Number(row.held_minor),
  version: row.version,
});

/** First their numbers, which never change, then the rows in the order of these: the indexes are named, so that a small table is not locked whole. */
async function lockAccounts(trx: Trx, accountIds: readonly string[]): Promise<readonly StoredAccount[]> {
  if (accountIds.length === 0) return [];
  const found = await sql<{ account_no: number }>`
    SELECT account_no FROM ledger_account FORCE INDEX (ledger_account_id)
    WHERE account_id IN (${sql.join(accountIds)})`.execute(trx);
  if (found.rows.length === 0) return [];
  const { rows } = await sql<StoredAccount>`
    SELECT ${accountColumns} FROM ledger_account FORCE INDEX (PRIMARY)
    WHERE account_no IN (${sql.join(found.rows.map(({ account_no }) => account_no))})
    ORDER BY account_no FOR UPDATE`.execute(trx);
  return rows;
}

async function openHouse(trx: Trx, accountIds: readonly string[]): Promise<void> {
  const rows = accountIds.map(
    (id) => sql`(${id}, ${houseOf(id).currency}, 'OPEN', TRUE, 0, 0, 0, UTC_TIMESTAMP(3))`,
  );
  await insertAccounts(trx, rows);
}

const insertAccounts = (trx: Trx, rows: readonly RawBuilder<unknown>[]) =>
  // Not INSERT IGNORE: that would also cut what does not fit.
  sql`
    INSERT INTO ledger_account
      (account_id, currency, state, may_overdraw, balance_minor, held_minor, version, opened_at)
    VALUES ${sql.join(rows)} ON DUPLICATE KEY UPDATE account_id = ledger_account.account_id`.execute(trx);

/** The legs of stored rows, with the names of their accounts; read without a lock, because a name never changes. */
async function legsOf(
  trx: Trx,
  rows: readonly Pick<StoredLeg, 'from_no' | 'to_no' | 'amount_minor' | 'reason'>[],
): Promise<readonly Leg[]> {
  if (rows.length === 0) return [];
  const wanted = [...new Set(rows.flatMap(({ from_no, to_no }) => [from_no, to_no]))];
  const named = await sql<{ account_no: number; account_id: string }>`
    SELECT account_no, account_id FROM ledger_account WHERE account_no IN (${sql.join(wanted)})`.execute(trx);
  const names = new Map(named.rows.map(({ account_no, account_id }) => [account_no, account_id]));
  return rows.map(({ from_no, to_no, amount_minor, reason }) => ({
    from: names.get(from_no)!,
    to: names.get(to_no)!,
    amountMinor: Number(amount_minor),
    reason,
  }));
}

/**
 * Rows go to the server as one JSON text for all: a statement costs the same text to make and to read whether it is about
 * one row or hundreds, and is short enough to be looked at.
 */
async function write(
  trx: Trx,
  numbers: ReadonlyMap<string, number>,
  { legs, accounts, newHolds, endedHolds }: LedgerDecision,
  at: Date,
): Promise<void> {
  const no = (accountId: string) => numbers.get(accountId)!;
  if (legs.length > 0) {
    const transfers = legs.map(
      ({ transferId, index, from, to, debit, credit, amountMinor, currency, reason, corrects }) => [
        ...[hexOfUuid(transferId), index, no(from), debit.version, no(to), credit.version],
        ...[amountMinor, currency, reason, corrects === undefined ? null : hexOfUuid(corrects)],
      ],
    );
    await sql`
      INSERT INTO ledger_transfer (transfer_id, leg, from_no, from_version, to_no, to_version, amount_minor, currency,
        reason, corrects, booked_at)
      SELECT UNHEX(transfer_id), leg, from_no, from_version, to_no, to_version, amount_minor, currency, reason,
        UNHEX(corrects), ${at}
      FROM JSON_TABLE(${JSON.stringify(transfers)}, '$[*]' COLUMNS (
        transfer_id CHAR(32) PATH '$[0]', leg INT PATH '$[1]', from_no INT UNSIGNED PATH '$[2]',
        from_version INT UNSIGNED PATH '$[3]', to_no INT UNSIGNED PATH '$[4]', to_version INT UNSIGNED PATH '$[5]',
        amount_minor BIGINT PATH '$[6]', currency CHAR(3) PATH '$[7]', reason VARCHAR(20) PATH '$[8]',
        corrects CHAR(32) PATH '$[9]')) AS leg`.execute(trx);
    const entries = legs
      .flatMap(({ transferId, index, from, to, debit, credit, reason }) => [
        { ...debit, other: to, transferId, index, reason },
        { ...credit, other: from, transferId, index, reason },
      ])
      .map(({ accountId, version, transferId, index, amountMinor, balanceMinor, other, reason }) => [
        ...[
          no(accountId),
          version,
          hexOfUuid(transferId),
          index,
          amountMinor,
          balanceMinor,
          no(other),
          reason,
        ],
      ]);
    await sql`
      INSERT INTO ledger_entry (account_no, version, transfer_id, leg, amount_minor, balance_minor, other_no, reason,
        booked_at)
      SELECT account_no, version, UNHEX(transfer_id), leg, amount_minor, balance_minor, other_no, reason, ${at}
      FROM JSON_TABLE(${JSON.stringify(entries)}, '$[*]' COLUMNS (
        account_no INT UNSIGNED PATH '$[0]', version INT UNSIGNED PATH '$[1]', transfer_id CHAR(32) PATH '$[2]',
        leg INT PATH '$[3]', amount_minor BIGINT PATH '$[4]', balance_minor BIGINT PATH '$[5]',
        other_no INT UNSIGNED PATH '$[6]', reason VARCHAR(20) PATH '$[7]')) AS entry`.execute(trx);
  }
  if (accounts.length > 0) {
    const changed = accounts.map(({ accountId, balanceMinor, heldMinor, version }) => [
      ...[no(accountId), balanceMinor, heldMinor, version],
    ]);
    await sql`
      UPDATE JSON_TABLE(${JSON.stringify(changed)}, '$[*]' COLUMNS (
        account_no INT UNSIGNED PATH '$[0]', balance_minor BIGINT PATH '$[1]', held_minor BIGINT PATH '$[2]',
        version INT UNSIGNED PATH '$[3]')) AS changed
      STRAIGHT_JOIN ledger_account AS account ON account.account_no = changed.account_no
      SET account.balance_minor = changed.balance_minor, account.held_minor = changed.held_minor,
        account.version = changed.version`.execute(trx);
  }
  if (newHolds.length > 0) {
    const rows = newHolds.map(
      ({ holdId, leg, currency, state, transferId }) =>
        sql`(${bytesOfUuid(holdId)}, ${no(leg.from)}, ${no(leg.to)}, ${leg.amountMinor}, ${currency}, ${leg.reason},
          ${state}, ${transferId === undefined ? null : bytesOfUuid(transferId)}, ${at}, ${state === 'OPEN' ? null : at})`,
    );
    await sql`
      INSERT INTO ledger_hold (hold_id, from_no, to_no, amount_minor, currency, reason, state, transfer_id, held_at,
        ended_at)
      VALUES ${sql.join(rows)}`.execute(trx);
  }
  for (const { holdId, state, transferId } of endedHolds)
    await sql`
      UPDATE ledger_hold SET state = ${state}, ended_at = ${at},
        transfer_id = ${transferId === undefined ? null : bytesOfUuid(transferId)}
      WHERE hold_id = ${bytesOfUuid(holdId)}`.execute(trx);
}

// ---- accounts, and what people ask of them

/** An account, locked; opened when there is none yet and a currency says in which. */
export async function lockOrOpenAccount(
  trx: Trx,
  accountId: string,
  currency: string | undefined,
): Promise<{ readonly accountNo: number; readonly account: Account } | undefined> {
  let [row] = await lockAccounts(trx, [accountId]);
  if (row === undefined && currency !== undefined) {
    await insertAccounts(trx, [sql`(${accountId}, ${currency}, 'OPEN', FALSE, 0, 0, 0, UTC_TIMESTAMP(3))`]);
    [row] = await lockAccounts(trx, [accountId]);
  }
  return row === undefined ? undefined : { accountNo: row.account_no, account: accountOf(row) };
}

export const saveState = (trx: Trx, accountNo: number, state: AccountState) =>
  sql`UPDATE ledger_account SET state = ${state} WHERE account_no = ${accountNo}`.execute(trx);

/** Accounts as they are now, those that there are. */
export async function findAccounts(db: Db, accountIds: readonly string[]): Promise<readonly Account[]> {
  if (accountIds.length === 0) return [];
  const { rows } = await sql<StoredAccount>`
    SELECT ${accountColumns} FROM ledger_account WHERE account_id IN (${sql.join(accountIds)})`.execute(db);
  return rows.map(accountOf);
}

/** An account as it is now. */
export async function findAccount(db: Db, accountId: string): Promise<Account | undefined> {
  return (await findAccounts(db, [accountId]))[0];
}

export interface HistoryEntry {
  readonly version: number;
  readonly transferId: string;
  readonly amountMinor: number;
  readonly balanceMinor: number;
  /** The account of the other entry. */
  readonly other: string;
  readonly reason: string;
  readonly bookedAtMs: number;
}

/** Entries of an account, the newest first, those below version `before`. */
export async function history(
  db: Db,
  accountId: string,
  { before, limit }: { readonly before: number; readonly limit: number },
): Promise<readonly HistoryEntry[]> {
  const { rows } = await sql<{
    version: number;
    transfer_id: Buffer;
    amount_minor: number;
    balance_minor: number;
    other: string;
    reason: string;
    booked_at: Date;
  }>`
    SELECT entry.version, entry.transfer_id, entry.amount_minor, entry.balance_minor, other.account_id AS other,
      entry.reason, entry.booked_at
    FROM ledger_entry AS entry STRAIGHT_JOIN ledger_account AS other ON other.account_no = entry.other_no
    WHERE entry.account_no = (SELECT account_no FROM ledger_account WHERE account_id = ${accountId})
      AND entry.version < ${before}
    ORDER BY entry.version DESC LIMIT ${limit}`.execute(db);
  return rows.map((row) => ({
    version: row.version,
    transferId: uuidOfBytes(row.transfer_id),
    amountMinor: Number(row.amount_minor),
    balanceMinor: Number(row.balance_minor),
    other: row.other,
    reason: row.reason,
    bookedAtMs: row.booked_at.getTime(),
  }));
}
