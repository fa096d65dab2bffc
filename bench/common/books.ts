/** Books of many members, filled for a measurement and looked at after it. */
import { type Kysely, sql } from 'kysely';
import { throwIfInterrupted } from '../../environment/interruption.ts';
import { uuidV7 } from '../../workers/base/ids.ts';
import { houseAccounts } from '../../workers/money/house.ts';
import { bookAll, type LedgerCall } from '../../workers/money/postings.ts';
import { ledgerStore } from '../../workers/money/store.ts';

/** Opens accounts in the home currency and books a million into each. */
export async function fillAccounts(db: Kysely<unknown>, accountIds: readonly string[]): Promise<void> {
  await sql`
    INSERT INTO ledger_account (account_id, currency, state, may_overdraw, balance_minor, held_minor, version, opened_at)
    SELECT account_id, 'KRW', 'OPEN', FALSE, 0, 0, 0, UTC_TIMESTAMP(3)
    FROM JSON_TABLE(${JSON.stringify(accountIds)}, '$[*]' COLUMNS (account_id VARCHAR(40) PATH '$')) AS given`.execute(
    db,
  );
  const bank = houseAccounts(0)('bank', 'KRW');
  const store = ledgerStore(async () => db);
  for (let n = 0; n < accountIds.length; n += 250) {
    const calls = accountIds.slice(n, n + 250).map((to): LedgerCall => {
      const transferId = uuidV7(Date.now());
      const leg = { from: bank, to, amountMinor: 1_000_000, reason: 'increase' };
      return {
        operation: { kind: 'transfer', transferId, currency: 'KRW', legs: [leg] },
        once: { scope: 'money:bench', key: transferId, body: '' },
      };
    });
    await bookAll(store, calls, Date.now);
  }
}

/** Entries as members' accounts would have after so many, one won to and fro, behind those that there are. */
export async function fillEntries(db: Kysely<unknown>, entries: number, signal: AbortSignal): Promise<void> {
  const members = sql`FROM ledger_account WHERE NOT may_overdraw`;
  const { rows } = await sql<{ least: number; most: number; n: number }>`
    SELECT MIN(account_no) AS least, MAX(account_no) AS most, COUNT(*) AS n ${members}`.execute(db);
  const { least, most, n } = rows[0]!;
  const each = Math.ceil(entries / Number(n));
  const many = Math.max(1, Math.floor(100_000 / each));
  for (let from = least; from <= most; from += many) {
    throwIfInterrupted(signal);
    await sql`
      INSERT INTO ledger_entry
      SELECT account_no, version + place.seq, UNHEX(MD5(CONCAT(account_no, '/', place.seq))), 0,
        IF(place.seq % 2, -1, 1), balance_minor - (place.seq % 2), account_no, 'transfer', UTC_TIMESTAMP(3)
      FROM (SELECT account_no, version, balance_minor ${members} AND account_no BETWEEN ${from} AND ${from + many - 1}) AS account
      JOIN ${sql.id(`seq_1_to_${each}`)} AS place`.execute(db);
  }
}

/** Throws unless nothing has appeared or disappeared. */
export async function balanced(db: Kysely<unknown>): Promise<void> {
  const { rows } = await sql<{ balances: string; entries: string }>`
    SELECT (SELECT SUM(balance_minor) FROM ledger_account) AS balances,
      (SELECT SUM(amount_minor) FROM ledger_entry) AS entries`.execute(db);
  if (Number(rows[0]!.balances) !== 0 || Number(rows[0]!.entries) !== 0)
    throw new Error(`the books do not balance: ${JSON.stringify(rows[0])}`);
}
