/**
 * Timers of the outbox: 10,000 that are due at the same moment, and what a relay costs while nothing is due.
 *
 * `./muster bench timers -- [--timers=10000] [--relays=1] [--idle-seconds=20]`
 *
 * Runs on the deployed database, in a schema of its own, and on the deployed brokers, on a topic of its own; the relays run
 * in this process. Everything else of the environment goes on and shares the machine. How late a timer is, is counted from
 * its moment to the ack of its record, by the database's clock; it is early when its send begins before that.
 */
import { loadavg } from 'node:os';
import { sql } from 'kysely';
import { pause } from '../environment/interruption.ts';
import { ensureSecrets } from '../environment/secrets.ts';
import { hostVariables, secretsFile } from '../environment/variables.ts';
import { databaseSettings, readSettings } from '../workers/base/config.ts';
import { createRegistry } from '../workers/base/metrics.ts';
import { createTopics, testKafka, testLog, uniqueName } from '../workers/kafka/testing.ts';
import { openDatabase, transaction } from '../workers/store/database.ts';
import { migrate } from '../workers/store/migrate.ts';
import { outboxStore, setTimer } from '../workers/store/outbox.ts';
import { type Relay, startOutboxRelay } from '../workers/store/relay.ts';
import { type BenchOptions, context, optionsOf, say, writeReport } from './common/bench.ts';

export async function run(options: BenchOptions): Promise<void> {
  const { signal } = options;
  const { number } = optionsOf(options.args);
  const count = number('timers', 10_000);
  const { secrets } = await ensureSecrets(secretsFile(options.environment));
  const variables = await hostVariables(options.environment, secrets);
  Object.assign(process.env, { KAFKA_BROKERS: variables.KAFKA_BROKERS });
  const settings = readSettings(databaseSettings, variables);
  const schema = `${settings.MYSQL_DATABASE}_test_bench_timers`;
  const server = openDatabase({ settings, connections: 1 });
  await sql`CREATE DATABASE IF NOT EXISTS ${sql.id(schema)}`.execute(server);
  const own = { ...settings, MYSQL_DATABASE: schema };
  const topic = uniqueName('bench-timers');
  const { remove } = await createTopics([{ name: topic, partitions: 3 }]);
  const kafka = testKafka('bench-timers');
  const db = openDatabase({ settings: own, connections: 4 });
  const relays: Relay[] = [];
  try {
    await migrate(own, () => {});
    const offsetMs = await clockOffset(db);
    const producer = await kafka.producer('bench-timers', { lingerMs: 30 });
    const lateMs: number[] = [];
    let early = 0;
    const send: typeof producer.send = async (records, more) => {
      const dues = records.map(({ headers }) => Date.parse(String(headers?.['muster-timer-due'])));
      const beganMs = Date.now() + offsetMs;
      early += dues.filter((due) => beganMs < due - 1).length;
      await producer.send(records, more);
      const ackedMs = Date.now() + offsetMs;
      lateMs.push(...dues.map((due) => ackedMs - due));
    };
    for (let i = 0; i < number('relays', 1); i++)
      relays.push(
        startOutboxRelay({
          store: outboxStore(db),
          database: 'shop',
          producer: { send },
          registry: createRegistry(),
          log: testLog,
        }),
      );
    // Compiles what is hot.
    await setMany(500, 1_000);
    while (lateMs.length < 500) await pause(50, signal);
    lateMs.length = 0;

    // Far enough away that all are written before the first is due.
    say(`${count} timers due at the same moment`);
    const dueInMs = await setMany(count, 20_000 + count * 3);
    const idleSeconds = Math.min(number('idle-seconds', 20), Math.floor(dueInMs / 1_000) - 3);
    const idle = await idleShare(idleSeconds, signal);
    while (lateMs.length < count) await pause(20, signal);
    const sorted = lateMs.toSorted((a, b) => a - b);
    const at = (share: number) => Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? 0);
    writeReport('timers', {
      ...context(),
      load: loadavg()[0],
      timers: count,
      fired: sorted.length,
      early,
      lateMs: { first: at(0), p50: at(0.5), p99: at(0.99), last: at(1) },
      idle,
    });

    /** Sets timers to one moment; resolves to how far away it is when all are written. */
    async function setMany(timers: number, aheadMs: number): Promise<number> {
      const dueAtMs = Date.now() + aheadMs;
      for (let done = 0; done < timers; )
        await transaction(db, async (trx) => {
          for (const until = Math.min(timers, done + 500); done < until; done++)
            await setTimer(trx, [{ topic, key: String(done), value: `timer ${done}` }], 0);
          await sql`
            UPDATE muster_outbox_due SET due_at = ${new Date(dueAtMs + offsetMs)}, take_at = ${new Date(dueAtMs + offsetMs)}
            WHERE due_at = take_at AND due_at < ${new Date(dueAtMs + offsetMs)}`.execute(trx);
        });
      return dueAtMs - Date.now();
    }
  } finally {
    await Promise.all(relays.map((relay) => relay.stop()));
    await kafka.close();
    await remove();
    await db.destroy();
    await sql`DROP DATABASE ${sql.id(schema)}`.execute(server);
    await server.destroy();
  }
}

/** What this process takes of a core while its relays only look, with all timers still to come. */
async function idleShare(
  seconds: number,
  signal: AbortSignal,
): Promise<{ seconds: number; shareOfCore: number }> {
  const before = process.cpuUsage();
  const beganMs = performance.now();
  await pause(seconds * 1_000, signal);
  const { user, system } = process.cpuUsage(before);
  return { seconds, shareOfCore: (user + system) / 1_000 / (performance.now() - beganMs) };
}

/** What the database's clock is ahead of this host's, within a round trip. */
async function clockOffset(db: ReturnType<typeof openDatabase>): Promise<number> {
  const beganMs = Date.now();
  const { rows } = await sql<{ now: Date }>`SELECT UTC_TIMESTAMP(3) AS now`.execute(db);
  return rows[0]!.now.getTime() - (beganMs + Date.now()) / 2;
}
