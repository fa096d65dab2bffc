/**
 * The ledger: transfers a second between 10,000 members, the same when everybody pays one account, and reading from a full table.
 *
 * `./muster bench ledger -- [--only=members,hot,house,pages] [--seconds=15] [--clients=400] [--ledgers=1] [--members=10000] [--entries=1000000] [--rate=500]`
 *
 * Runs on the deployed database, in a schema of its own; the ledger runs in this process as in the worker, without HTTP.
 * A transfer counts when its commit was answered. `--ledgers` are writers with a group commit each, as so many processes
 * have. `pages` fills the table with `--entries` first, and asks for balances and pages of history at `--rate` a second.
 * Every phase ends with all balances summed: zero, or the bench fails.
 */
import { loadavg } from 'node:os';
import { sql } from 'kysely';
import { ensureSecrets } from '../environment/secrets.ts';
import { hostVariables, secretsFile } from '../environment/variables.ts';
import { databaseSettings, readSettings } from '../workers/base/config.ts';
import { uuidV7 } from '../workers/base/ids.ts';
import { houseAccounts } from '../workers/money/house.ts';
import { bookAll, type LedgerCall } from '../workers/money/postings.ts';
import { findAccount, history, ledgerStore } from '../workers/money/store.ts';
import { openDatabase } from '../workers/store/database.ts';
import { groupCommit } from '../workers/store/group-commit.ts';
import { foldersOf, migrate } from '../workers/store/migrate.ts';
import { keepPace } from '../workers/traffic/pace.ts';
import { type BenchOptions, context, optionsOf, say, writeReport } from './common/bench.ts';
import { balanced, fillAccounts, fillEntries } from './common/books.ts';
import { limits, usage } from './common/usage.ts';

/** What was just started compiles its hot code; that is not what is asked here. */
const warmUpMs = 5_000;
const member = (n: number) => `m-${n}`;

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { setting, number } = optionsOf(options.args);
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const settings = readSettings(databaseSettings, await hostVariables(environment, secrets));
  const own = { ...settings, MYSQL_DATABASE: `${settings.MYSQL_DATABASE}_test_bench_ledger` };
  const server = openDatabase({ settings, connections: 1, queryTimeoutMs: 60_000 });
  await sql`DROP DATABASE IF EXISTS ${sql.id(own.MYSQL_DATABASE)}`.execute(server);
  await sql`CREATE DATABASE ${sql.id(own.MYSQL_DATABASE)}`.execute(server);
  const db = openDatabase({ settings: own, connections: 8, queryTimeoutMs: 60_000 });
  const wanted = (setting('only') ?? 'members,hot,house,pages').split(',');
  const report: Record<string, unknown> = { ...context(), load: loadavg()[0] };
  const members = number('members', 10_000);
  const seconds = number('seconds', 15);
  try {
    await migrate(own, () => {}, { folders: foldersOf('money') });
    await fillAccounts(
      db,
      Array.from({ length: members }, (_, n) => member(n + 1)),
    );
    const any = () => member(1 + Math.floor(Math.random() * members));
    const phases: Record<string, (bank: string) => readonly [from: string, to: string]> = {
      members: () => [any(), any()],
      hot: () => [any(), member(1)],
      house: (bank) => [any(), bank],
    };
    for (const [name, pair] of Object.entries(phases)) {
      if (!wanted.includes(name) || signal.aborted) continue;
      say(`${name}: as fast as it goes, ${seconds} s`);
      report[name] = await transfers(pair);
      say(JSON.stringify(report[name]));
    }
    if (wanted.includes('pages') && !signal.aborted) report.pages = await pages();
  } finally {
    await db.destroy();
    await sql`DROP DATABASE ${sql.id(own.MYSQL_DATABASE)}`.execute(server);
    await server.destroy();
  }
  writeReport('ledger', report);

  async function transfers(pair: (bank: string) => readonly [from: string, to: string]) {
    const writers = Array.from({ length: number('ledgers', 1) }, (_, n) => {
      const store = ledgerStore(async () => db);
      const bank = houseAccounts(n)('bank', 'KRW');
      const book = groupCommit((calls: readonly LedgerCall[]) => bookAll(store, calls, Date.now), {
        most: 250,
        waiting: 10_000,
      });
      return { book, bank };
    });
    let tookMs: number[] = [];
    let begun = 0;
    const work = async () => {
      const { book, bank } = writers[begun++ % writers.length]!;
      const [from, to] = pair(bank);
      const transferId = uuidV7(Date.now());
      const beganMs = performance.now();
      const outcome = await book({
        operation: {
          kind: 'transfer',
          transferId,
          currency: 'KRW',
          legs: [{ from, to, amountMinor: 1, reason: 'transfer' }],
        },
        once: { scope: 'money:bench', key: transferId, body: `${from} ${to} 1` },
      });
      // To oneself: refused.
      if (outcome.ok) tookMs.push(performance.now() - beganMs);
    };
    const drive = async (forMs: number) => {
      const beganMs = performance.now();
      const over = () => performance.now() - beganMs >= forMs || signal.aborted;
      await keepPace(work, { rate: undefined, connections: number('clients', 400), over });
      return performance.now() - beganMs;
    };
    await drive(warmUpMs);
    tookMs = [];
    const before = await usage(environment);
    const durationMs = await drive(seconds * 1_000);
    const after = await usage(environment);
    await balanced(db);
    return {
      aSecond: Math.round(tookMs.length / (durationMs / 1_000)),
      ms: percentilesOf(tookMs),
      ...limits(before, after, tookMs.length),
    };
  }

  async function pages() {
    const entries = number('entries', 1_000_000);
    say(`pages: filling in ${entries} entries`);
    await fillEntries(db, entries, signal);
    const rate = number('rate', 500);
    say(`balances and pages at ${rate}/s, ${seconds} s`);
    const tookMs = { balance: [] as number[], page: [] as number[] };
    const endMs = performance.now() + seconds * 1_000;
    let n = 0;
    const work = async () => {
      const accountId = member(1 + Math.floor(Math.random() * members));
      const kind = n++ % 2 === 0 ? 'balance' : 'page';
      const beganMs = performance.now();
      if (kind === 'balance') await findAccount(db, accountId);
      else await history(db, accountId, { before: 4_294_967_295, limit: 50 });
      tookMs[kind].push(performance.now() - beganMs);
    };
    await keepPace(work, {
      rate,
      connections: 1,
      over: () => performance.now() >= endMs || signal.aborted,
    });
    return { entries, rate, balance: percentilesOf(tookMs.balance), page: percentilesOf(tookMs.page) };
  }
}

function percentilesOf(ms: readonly number[]) {
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round((sorted[Math.ceil(sorted.length * share) - 1] ?? 0) * 10) / 10;
  return { p50: at(0.5), p99: at(0.99), most: at(1) };
}
