/** The promises of the ledger: they hold while it is busy, and each breach made by hand is told by its id. */
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import type { PromisesOf } from '../../catalog/promises.ts';
import { uuidV7 } from '../base/ids.ts';
import { brokenNow, checksFrom } from '../platform/checks.fixture.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { setAccount } from './accounts.ts';
import { houseAccounts } from './house.ts';
import { bookAll, type LedgerCall } from './postings.ts';
import { moneyChecks } from './promises.ts';
import { ledgerStore } from './store.ts';

type Name = PromisesOf<'money'>;
const names = (Object.keys(moneyChecks) as Name[]).filter((name) => name.startsWith('ledger-'));
const bank = houseAccounts(0)('bank', 'KRW');

/** What is broken, by promise. */
function checksOf(db: Kysely<unknown>): () => ReturnType<typeof brokenNow> {
  const checks = checksFrom(moneyChecks, names, { database: async () => db });
  return () => brokenNow(checks);
}

/** A transfer of two seconds ago: old enough to be judged. */
async function send(db: Kysely<unknown>, from: string, to: string, amountMinor: number): Promise<string> {
  const transferId = uuidV7(Date.now() - 2_000);
  const legs = [{ from, to, amountMinor, reason: 'transfer' }];
  const call: LedgerCall = {
    operation: { kind: 'transfer', transferId, currency: 'KRW', legs },
    once: { scope: 'money:test', key: transferId, body: '' },
  };
  const [outcome] = await bookAll(
    ledgerStore(async () => db),
    [call],
    Date.now,
  );
  if (!outcome!.ok) throw new Error(outcome!.refusal.code);
  return transferId;
}

test('all hold while it is busy; each breach is told by its id, and by no other promise', async (t) => {
  t.timeout(120_000);
  const { db, drop } = await scratchDatabase('ledger_promises', 'money');
  try {
    const found = checksOf(db);
    for (const name of ['a', 'b', 'c']) await setAccount(db, name, { currency: 'KRW', state: 'OPEN' });
    const busy = (async () => {
      for (let n = 0; n < 60; n++) {
        await send(db, bank, 'a', 10);
        await send(db, 'a', 'b', 5);
      }
    })();
    for (let looks = 0; looks < 5; looks++) t.deepEqual(await found(), {});
    await busy;
    t.deepEqual(await found(), {});

    const change = (statement: ReturnType<typeof sql>) => statement.execute(db);
    await change(sql`UPDATE ledger_account SET held_minor = 3 WHERE account_id = 'a'`);
    t.deepEqual(await found(), { 'ledger-accounts-true': ['a'] });
    await change(sql`UPDATE ledger_account SET held_minor = 0 WHERE account_id = 'a'`);
    await change(sql`UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE account_id = 'c'`);
    t.deepEqual(await found(), { 'ledger-accounts-true': ['c'], 'ledger-sums-to-zero': ['KRW'] });
    await change(sql`UPDATE ledger_account SET balance_minor = balance_minor - 1 WHERE account_id = 'c'`);
    t.deepEqual(await found(), {});

    // Only without its trigger: an entry of the middle, whose account still has what the last entry says.
    const wrong = await send(db, 'a', 'b', 7);
    await send(db, 'a', 'b', 1);
    await change(sql`DROP TRIGGER ledger_entry_unchanged`);
    await change(sql`
      UPDATE ledger_entry SET amount_minor = amount_minor + 1
      WHERE transfer_id = ${Buffer.from(wrong.replaceAll('-', ''), 'hex')} AND amount_minor > 0`);
    t.deepEqual(await found(), { 'ledger-entries-linked': [wrong] });
  } finally {
    await drop();
  }
});
