/**
 * Settlement: a period of 1,000,000 slips of 1,000 merchants, summed up and carried through, with business going on.
 *
 * `./muster bench settlement -- [--slips=1000000] [--merchants=1000] [--rate=100]`
 *
 * Runs on the deployed database, in a schema of its own; settlement runs in this process as in the worker. Slips come at
 * `--rate` a second meanwhile. Banking and money stand aside: they answer at once, so what is told of `carried` are the
 * steps of the sagas and their commits. It fails unless the settlements are the slips, to the unit.
 */
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import { throwIfInterrupted } from '../environment/interruption.ts';
import { ensureSecrets } from '../environment/secrets.ts';
import { hostVariables, secretsFile } from '../environment/variables.ts';
import { databaseSettings, readSettings } from '../workers/base/config.ts';
import { daysOf } from '../workers/base/days.ts';
import { uuidV7 } from '../workers/base/ids.ts';
import { silentLog } from '../workers/base/log.ts';
import { createRegistry } from '../workers/base/metrics.ts';
import { lineStore } from '../workers/settlement/lines.ts';
import { runStore } from '../workers/settlement/runs.ts';
import type { Line, Word } from '../workers/settlement/settlement.ts';
import { slipStore } from '../workers/settlement/slips.ts';
import { carryOut } from '../workers/settlement/work.ts';
import { openDatabase } from '../workers/store/database.ts';
import { foldersOf, migrate } from '../workers/store/migrate.ts';
import { keepPace } from '../workers/traffic/pace.ts';
import { type BenchOptions, context, optionsOf, say, writeReport } from './common/bench.ts';

const amountOf = 'MOD(seq * 7919, 99000) + 1000';

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { number } = optionsOf(options.args);
  const [slipCount, merchants, rate] = [
    number('slips', 1_000_000),
    number('merchants', 1_000),
    number('rate', 100),
  ];
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const settings = readSettings(databaseSettings, await hostVariables(environment, secrets));
  const own = { ...settings, MYSQL_DATABASE: `${settings.MYSQL_DATABASE}_test_bench_settlement` };
  const server = openDatabase({ settings, connections: 1, queryTimeoutMs: 60_000 });
  await sql`DROP DATABASE IF EXISTS ${sql.id(own.MYSQL_DATABASE)}`.execute(server);
  await sql`CREATE DATABASE ${sql.id(own.MYSQL_DATABASE)}`.execute(server);
  // As in the worker: its deadline of a statement, too.
  const db = openDatabase({ settings: own });
  const report: Record<string, unknown> = { ...context(), slips: slipCount, merchants, load: loadavg()[0] };
  try {
    await migrate(own, () => {}, { folders: foldersOf('settlement') });
    const database = async () => db;
    const { nextDayMs } = daysOf(environment.timeZone);
    const [slips, runs, lines] = [
      slipStore({ database }),
      runStore({ database, nextDayMs }),
      lineStore({ database, nextDayMs }),
    ];
    await slips.setDefaultRate(300);
    await runs.closeDue();
    say(`filling in ${slipCount} slips`);
    await fill(db, slipCount, merchants, signal);

    const business: number[] = [];
    let over = false;
    const going = keepPace(
      async () => {
        const beganMs = performance.now();
        await slips.take([
          {
            eventId: uuidV7(Date.now()),
            paymentId: uuidV7(Date.now()),
            merchantId: `m-${1 + Math.floor(Math.random() * merchants)}`,
            kind: 'PAID',
            amount: { amountMinor: 1_000, currency: 'KRW' },
            at: new Date().toISOString(),
          },
        ]);
        business.push(performance.now() - beganMs);
      },
      { rate, connections: 1, over: () => over || signal.aborted },
    );
    let mostBytes = 0;
    const watching = setInterval(() => {
      mostBytes = Math.max(mostBytes, process.memoryUsage().rss);
    }, 50);
    const beganMs = performance.now();
    await runs.start('bench', { scope: 'settlement:bench', key: 'run', body: '' });
    const working = carryOut({
      runs,
      lines,
      makeCall: async (line) => atOnce(line),
      leaseMs: 25_000,
      log: silentLog(),
      registry: createRegistry(),
    });
    const count = async (which: ReturnType<typeof sql>) => {
      const { rows } = await sql<{ n: number }>`SELECT COUNT(*) AS n FROM ${which}`.execute(db);
      return Number(rows[0]!.n);
    };
    while ((await count(sql`settlement_run WHERE due_at IS NULL`)) === 0 && !signal.aborted) await sleep(100);
    report.summedSeconds = secondsSince(beganMs);
    say(`summed in ${report.summedSeconds} s`);
    while ((await count(sql`settlement_line WHERE state = 'DONE'`)) < merchants && !signal.aborted)
      await sleep(200);
    report.carriedSeconds = secondsSince(beganMs);
    await working.stop();
    over = true;
    await going;
    clearInterval(watching);
    report.mostMiB = Math.round(mostBytes / 2 ** 20);
    const sorted = business.toSorted((a, b) => a - b);
    const at = (share: number) => Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? 0);
    report.business = { rate, taken: sorted.length, ms: { p50: at(0.5), p99: at(0.99), most: at(1) } };
    await checkSums(db);
  } finally {
    await db.destroy();
    await sql`DROP DATABASE ${sql.id(own.MYSQL_DATABASE)}`.execute(server);
    await server.destroy();
  }
  writeReport('settlement', report);
}

/** Banking and money at their best. */
const atOnce = (line: Line): Word =>
  line.state === 'PAYING_OUT'
    ? {
        kind: 'ENDED',
        firmbankingId: line.firmbankingId!,
        done: true,
        reason: undefined,
        amountMinor: line.netMinor,
      }
    : { kind: 'OK', id: uuidV7(Date.now()) };

const secondsSince = (beganMs: number) => Math.round((performance.now() - beganMs) / 100) / 10;

/** Every tenth is a refund; two rates. */
async function fill(
  db: Kysely<unknown>,
  slips: number,
  merchants: number,
  signal: AbortSignal,
): Promise<void> {
  const some = 50_000;
  for (let from = 1; from <= slips; from += some) {
    throwIfInterrupted(signal);
    await sql`
      INSERT INTO settlement_slip
        (event_id, payment_id, merchant, kind, amount_minor, currency, at, period_no, rate_basis_points)
      SELECT UNHEX(LPAD(HEX(seq), 32, '0')), UNHEX(LPAD(HEX(seq), 32, '0')), CONCAT('m-', 1 + MOD(seq, ${merchants})),
        IF(MOD(seq, 10) = 0, 'REFUNDED', 'PAID'), ${sql.raw(amountOf)}, 'KRW', UTC_TIMESTAMP(3), open_no,
        IF(MOD(seq, 3) = 0, 250, 300)
      FROM ${sql.id(`seq_${from}_to_${Math.min(slips, from + some - 1)}`)}
      JOIN settlement_clock`.execute(db);
  }
}

/** Throws unless the settlements of the run are its slips. */
async function checkSums(db: Kysely<unknown>): Promise<void> {
  const { rows } = await sql<{ slips: string; lines: string }>`
    SELECT (SELECT SUM(IF(kind = 'PAID', amount_minor, -amount_minor)) FROM settlement_slip
        WHERE period_no = (SELECT MIN(run_no) FROM settlement_run)) AS slips,
      (SELECT SUM(net_minor + commission_minor) FROM settlement_line) AS lines`.execute(db);
  if (rows[0]!.slips !== rows[0]!.lines) throw new Error(`they do not add up: ${JSON.stringify(rows[0])}`);
}
