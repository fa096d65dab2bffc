/** The promises of banking: they hold while it is busy, and each breach made by hand is told by its id. */
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import type { PromisesOf } from '../../catalog/promises.ts';
import { bytesOfUuid } from '../base/ids.ts';
import { brokenNow, checksFrom } from '../platform/checks.fixture.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import type { StatementEntry } from './banks.ts';
import { bankingChecks } from './promises.ts';
import { reconcile } from './reconciliation.ts';
import { requestStore } from './requests.ts';
import { accountStore } from './store.ts';

const names = Object.keys(bankingChecks) as PromisesOf<'banking'>[];
const bank = 'hana';
let run = 0;
const once = () => ({ scope: 'banking:test', key: `key-${++run}`, body: '' });

/** A bank that is in memory here: what it says of an order, and its books. */
function memoryBank() {
  const entries: StatementEntry[] = [];
  return { entries, statement: async () => ({ entries }) };
}

async function open(db: Kysely<unknown>) {
  const stores = { database: async () => db, timeZone: 'Asia/Seoul' };
  const accounts = accountStore(stores);
  const requests = requestStore(stores);
  await accounts.setContract(
    {
      bank,
      state: 'ACTIVE',
      expiresAtMs: Date.UTC(2100, 0),
      currency: 'KRW',
      feeMinor: 1,
      callLimitMinor: 1_000,
      dayLimitMinor: 1_000_000,
    },
    'operator:test',
    once(),
  );
  const ids: string[] = [];
  for (const accountNumber of ['110-1', '110-2']) {
    const account = { owner: 'house', bank, accountNumber, currency: 'KRW' };
    const made = await accounts.registerAccount(account, 'OPEN', 'operator:test', once());
    if (!made.ok) throw new Error(made.refusal.code);
    ids.push(made.accountId);
  }
  const [fromId, toId] = ids as [string, string];
  return {
    async ask(): Promise<string> {
      const asked = await requests.accept({ fromId, toId, amountMinor: 10, currency: 'KRW' }, once());
      if (!asked.ok) throw new Error(asked.refusal.code);
      return asked.firmbankingId;
    },
    claim: async (bankDown = false) =>
      (await requests.claim(bank, { bankDown, most: 100, leaseMs: 20_000 })).claimed,
    finish: requests.finish,
  };
}

test('all hold while it is busy; each breach is told by its id, and by no other promise', async (t) => {
  t.timeout(120_000);
  const { db, drop } = await scratchDatabase('banking_promises', 'banking');
  try {
    const checks = checksFrom(bankingChecks, names, { database: async () => db });
    const found = () => brokenNow(checks);
    const { ask, claim, finish } = await open(db);
    const books = memoryBank();
    const change = (id: string, set: ReturnType<typeof sql>) =>
      sql`UPDATE firmbanking SET ${set} WHERE firmbanking_id = ${bytesOfUuid(id)}`.execute(db);
    const executed: string[] = [];
    for (let n = 0; n < 20; n++) {
      executed.push(await ask());
      for (const claimed of await claim()) {
        await finish(claimed, { word: { kind: 'EXECUTED' }, outcome: '2xx' });
        books.entries.push({
          transferId: claimed.one.firmbankingId,
          state: 'EXECUTED',
          from: '110-1',
          to: { bank, accountNumber: '110-2' },
          amountMinor: 10,
          currency: 'KRW',
        });
      }
      t.deepEqual(await found(), {});
    }
    t.like(await reconcile(db, books, bank), { compared: 20, differences: [] });
    t.deepEqual(await found(), {});

    const waits = await ask();
    t.deepEqual(await claim(true), [], 'the bank is down');
    await change(waits, sql`counts_from = counts_from - INTERVAL 1 HOUR`);
    t.deepEqual(await found(), {}, 'it was told so');
    await change(waits, sql`due_at = due_at - INTERVAL 10 MINUTE`);
    t.deepEqual(await found(), { 'firmbanking-decided': [waits] }, 'nobody looks');
    const [sent] = await claim();
    t.deepEqual(await found(), {}, 'its time counts from when the bank was back');
    await finish(sent!, { word: { kind: 'UNCLEAR' }, outcome: 'timeout' });
    await change(waits, sql`counts_from = counts_from - INTERVAL 10 MINUTE`);
    t.deepEqual(await found(), { 'firmbanking-decided': [waits] }, 'in doubt for too long');
    await sql`DELETE FROM firmbanking WHERE firmbanking_id = ${bytesOfUuid(waits)}`.execute(db);

    const [first, second, third] = executed as [string, string, string];
    await change(first, sql`confirmed_at = NULL, decided_at = decided_at - INTERVAL 27 HOUR`);
    t.deepEqual(await found(), { 'bank-books-equal': [first] }, 'nobody has compared it for a day');
    await reconcile(db, books, bank);
    t.deepEqual(await found(), {});
    await change(second, sql`state = 'REJECTED'`);
    await change(third, sql`amount_minor = 11`);
    t.is((await reconcile(db, books, bank)).differences.length, 2);
    const { 'bank-books-equal': broken, ...rest } = await found();
    t.deepEqual([broken!.toSorted(), rest], [[second, third].toSorted(), {}]);
  } finally {
    await drop();
  }
});
