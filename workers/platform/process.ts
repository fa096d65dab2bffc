/**
 * The life of a worker process: settings, telemetry, HTTP, Kafka, workers; then a drain on SIGTERM.
 *
 * Exit codes: 0 drained after a signal; 1 the drain missed its deadline; 70 a worker could not go on or an error
 * nobody handled (the engine restarts the process); 78 wrong settings (a restart would not help).
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Kysely } from 'kysely';
import type { Registry } from 'prom-client';
import type { RedisClientType } from 'redis';
import type { DatabaseName } from '../../catalog/tables.ts';
import {
  ConfigError,
  kafkaOnlySettings,
  type PlatformSettings,
  platformSettings,
  readAllSettings,
} from '../base/config.ts';
import { createLog, type Logger, silentLog } from '../base/log.ts';
import { createRegistry } from '../base/metrics.ts';
import { startTelemetry, type Telemetry } from '../base/telemetry.ts';
import { type Http, type Readiness, startHttp } from '../http/server.ts';
import type { TrustedKeys } from '../http/tokens.ts';
import type { Kafka } from '../kafka/kafka.ts';
import { kafkaMetrics } from '../kafka/kafka-metrics.ts';
import type { Relay } from '../store/relay.ts';
import { type LogPublisher, startLogPublisher } from './log-publisher.ts';
import type { Started, Worker } from './worker.ts';

export type ConnectKafka = (options: {
  brokers: string[];
  clientId: string;
  memberDirectory: string | undefined;
  log: Logger;
  metrics: Registry;
}) => Kafka | Promise<Kafka>;

export interface ProcessOptions {
  readonly workers: readonly Worker[];
  readonly connectKafka: ConnectKafka;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** For the last lines to reach Kafka. */
const lastLinesMs = 1_000;

const exit = { drained: 0, drainTooLong: 1, failed: 70, settings: 78 } as const;

/** One for all who use it, opened when the first asks; anew after a failure. */
function atFirstUse<T>(open: () => Promise<T>): { get(): Promise<T>; opened(): Promise<T> | undefined } {
  let opened: Promise<T> | undefined;
  return {
    get() {
      opened ??= open().catch((error: unknown) => {
        opened = undefined;
        throw error;
      });
      return opened;
    },
    opened: () => opened,
  };
}

/** Runs the workers until a signal or a failure ends the process. Resolves when all of them have started. */
export async function runProcess(options: ProcessOptions): Promise<void> {
  const { workers } = options;
  const settings = readSettingsOrExit(options);
  if (settings === undefined) return;
  const [platform, ...own] = settings as [PlatformSettings, ...Record<string, unknown>[]];

  const registry = createRegistry();
  const lines =
    platform.LOG_TOPIC === undefined
      ? undefined
      : startLogPublisher({
          topic: platform.LOG_TOPIC,
          process: platform.PROCESS_NAME,
          registry,
          onDropped: (dropped) => log.warn('log lines are on stdout only', { dropped }),
        });
  const log = createLog({
    process: platform.PROCESS_NAME,
    level: platform.LOG_LEVEL,
    ...(lines === undefined ? {} : { publish: lines.take }),
  });
  kafkaMetrics(registry, workers);
  const started = new Map<Worker, Started>();
  let telemetry: Telemetry | undefined;
  let http: Http | undefined;
  let kafka: Kafka | undefined;
  const databases = databasesOfProcess(platform, workers);
  const redis = atFirstUse(() => connectToRedis(platform, log));
  const relays = new Map<DatabaseName, Promise<Relay>>();
  let starting: Promise<unknown> | undefined;
  let ending = false;

  function readiness(): Readiness {
    const reasons = workers.flatMap((worker) => {
      const running = started.get(worker);
      if (ending) return [{ worker: worker.name, reason: 'shutting down' }];
      if (running === undefined)
        return [{ worker: worker.name, reason: kafka === undefined ? 'connecting to kafka' : 'starting' }];
      if (running.ready()) return [];
      return [{ worker: worker.name, reason: running.waitingFor?.() ?? 'not ready' }];
    });
    return { ready: reasons.length === 0, reasons };
  }

  /** Ends everything in the order of who needs whom, then the process. Only the first call counts. */
  async function end(code: number, why: string): Promise<void> {
    if (ending) return;
    ending = true;
    const startedMs = Date.now();
    const leftMs = () => Math.max(0, startedMs + platform.DRAIN_DEADLINE_MS - Date.now());
    log.info('shutting down', { why });
    setTimeout(() => {
      log.error('the shutdown took too long', { deadlineMs: platform.DRAIN_DEADLINE_MS });
      const late = () => process.exit(code === exit.drained ? exit.drainTooLong : code);
      if (lines === undefined) late();
      else void lines.close(lastLinesMs).finally(late);
    }, platform.DRAIN_DEADLINE_MS);

    let clean = true;
    const step = async (what: string, action: () => Promise<unknown> | undefined) => {
      try {
        await action();
      } catch (error) {
        clean = false;
        log.error(`${what} did not end well`, { error });
      }
    };
    // New requests are refused from the end of the notice on; those that run need the workers, Kafka and the stores.
    await step('http', () => drainHttp(http, code === exit.drained ? platform.DRAIN_NOTICE_MS : 0, leftMs));
    await starting?.catch(() => {});
    await Promise.all(
      [...started].map(([worker, running]) => step(`worker ${worker.name}`, () => running.stop())),
    );
    for (const relay of relays.values()) await step('outbox relay', async () => (await relay).stop());
    await step('kafka', () => kafka?.close());
    await step('database', async () => {
      for (const database of databases.values())
        await (await database.opened()?.catch(() => undefined))?.destroy();
    });
    await step('redis', async () => {
      const client = await redis.opened()?.catch(() => undefined);
      if (client !== undefined)
        await (await import('../store/redis.ts')).closeRedis(client, Math.min(2_000, leftMs() / 2));
    });
    await step('http', () => http?.close(Math.min(2_000, leftMs() / 2)));
    await step('telemetry', () => telemetry?.shutdown(Math.min(3_000, leftMs() / 2)));
    log.info('ended', { tookMs: Date.now() - startedMs, clean });
    await lines?.close(lastLinesMs);
    process.exit(code);
  }

  function fail(error: Error): void {
    log.error('the process cannot go on', { error });
    void end(exit.failed, 'failure');
  }

  onSignals((signal) => void end(exit.drained, signal));
  onUnhandled(log, () => telemetry, lines);

  try {
    telemetry = await startTelemetry({
      endpoint: platform.OTLP_ENDPOINT,
      processName: platform.PROCESS_NAME,
      environment: platform.MUSTER_ENV,
      sampleRatio: platform.TRACE_SAMPLE_RATIO,
      log,
    });
    http = await startHttp({
      ...httpSettings(platform),
      version: packageVersion(),
      log,
      registry,
      readiness,
    });
    const connection = { brokers: platform.KAFKA_BROKERS.split(','), metrics: registry };
    // A client of its own, which is the last to go and says nothing: what it said would be lines again.
    await lines?.connect(
      await options.connectKafka({
        ...connection,
        clientId: `${platform.PROCESS_NAME}-log`,
        memberDirectory: undefined,
        log: silentLog(),
      }),
    );
    log.info('listening', { host: platform.HTTP_HOST, port: http.address().port });
    kafka = await options.connectKafka({
      ...connection,
      clientId: platform.PROCESS_NAME,
      memberDirectory: platform.MEMBER_DIRECTORY,
      log,
    });
    if (ending) return;
    const { app } = http;
    const connected = kafka;
    starting = Promise.all(
      workers.map(async (worker, index) => {
        const running = await worker.start({
          config: own[index]!,
          log: log.child({ worker: worker.name }),
          kafka: connected,
          http: app as never,
          metrics: registry,
          database: databases.get(worker.database ?? 'shop')!.get,
          redis: redis.get,
          relayOutbox: () => {
            const own = worker.database ?? 'shop';
            const relay = relays.get(own) ?? startRelay(platform, own, { kafka: connected, registry, log });
            relays.set(own, relay);
            return relay;
          },
          // Not there for workers that use Kafka only; nor do they use it.
          secrets: { pseudonymKey: Buffer.from(platform.PSEUDONYM_KEY ?? '', 'hex') },
          fail,
        });
        started.set(worker, running);
        log.info('started', { worker: worker.name });
      }),
    );
    await starting;
    if (ending) return;
    await http.open();
    dropBootGarbage();
    if (!workers.some(({ staysSmall }) => staysSmall === true)) growWhenBusy();
  } catch (error) {
    if (!ending) fail(error instanceof Error ? error : new Error(String(error)));
  }
}

/** A gateway needs a moment to hear that it is to send requests elsewhere (/readyz): none of them is refused for it. */
async function drainHttp(http: Http | undefined, noticeMs: number, leftMs: () => number): Promise<void> {
  await sleep(Math.min(noticeMs, leftMs() / 2));
  await http?.drain(Math.min(8_000, leftMs() / 3));
}

/** Settings of the platform and of each worker; on problems a line each on stderr and exit 78. */
function readSettingsOrExit({ workers, env = process.env }: ProcessOptions) {
  try {
    const own = workers.every(({ kafkaOnly }) => kafkaOnly === true) ? kafkaOnlySettings : platformSettings;
    return readAllSettings([own, ...workers.map((worker) => worker.config)], env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const line of error.lines) process.stderr.write(`muster: ${line}\n`);
    process.exitCode = exit.settings;
    return undefined;
  }
}

const httpSettings = (settings: PlatformSettings) => ({
  host: settings.HTTP_HOST,
  port: settings.HTTP_PORT,
  processName: settings.PROCESS_NAME,
  allowedHosts: settings.HTTP_ALLOWED_HOSTS.split(',').filter(Boolean),
  behindGateway: settings.HTTP_BEHIND_GATEWAY,
  tokens: trustedKeys(settings),
});

function trustedKeys(settings: PlatformSettings): TrustedKeys | undefined {
  const { TOKEN_VERIFY_KEY: verifyKey, TOKEN_JWKS_URL: jwksUrl } = settings;
  if (jwksUrl !== undefined)
    return { jwksUrl, issuer: settings.TOKEN_ISSUER, audience: settings.TOKEN_AUDIENCE };
  return verifyKey === undefined ? undefined : { verifyKey };
}

const databasesOf = (workers: readonly Pick<Worker, 'database'>[]) => [
  ...new Set(workers.map(({ database = 'shop' }) => database)),
];

/** A process of many databases takes no more of the server's connections than four of one. */
const connectionsEach = (databases: number) => Math.min(10, Math.floor(42 / databases));
const relayConnections = 3;

/** Most connections that a process of these workers opens to our databases, but for those that workers open by themselves. */
export const mostConnections = (workers: readonly Pick<Worker, 'database'>[]): number => {
  const { length } = databasesOf(workers);
  return length * (connectionsEach(length) + relayConnections);
};

/** Each is connected at its first use. */
const databasesOfProcess = (settings: PlatformSettings, workers: readonly Worker[]) =>
  new Map(
    databasesOf(workers).map((name, _, { length }) => [
      name,
      atFirstUse(() => connectDatabase(settings, name, connectionsEach(length))),
    ]),
  );

async function connectDatabase(
  settings: PlatformSettings,
  name: DatabaseName,
  connections: number,
): Promise<Kysely<unknown>> {
  const { databaseOf, openDatabase, pingDatabase } = await import('../store/database.ts');
  const db = openDatabase({ settings: databaseOf(settings, name), connections });
  try {
    await pingDatabase(db);
    return db;
  } catch (error) {
    await db.destroy().catch(() => {});
    throw error;
  }
}

/** With connections of its own: publishing must not wait behind the work that fills the outbox. */
async function startRelay(
  settings: PlatformSettings,
  name: DatabaseName,
  { kafka, registry, log }: { readonly kafka: Kafka; readonly registry: Registry; readonly log: Logger },
): Promise<Relay> {
  const [{ databaseOf, openDatabase }, { outboxStore }, { startOutboxRelay }] = await Promise.all([
    import('../store/database.ts'),
    import('../store/outbox.ts'),
    import('../store/relay.ts'),
  ]);
  const producer = await kafka.producer('outbox');
  // Those without an order are many and can wait a moment for each other.
  const unordered = await kafka.producer('outbox-unordered', { lingerMs: 30, busyLingerMs: 60 });
  const db = openDatabase({ settings: databaseOf(settings, name), connections: relayConnections });
  const relay = startOutboxRelay({
    store: outboxStore(db),
    database: name,
    producer,
    unordered,
    registry,
    log: log.child({ worker: 'outbox', database: name }),
  });
  return {
    publish: relay.publish,
    async stop() {
      await relay.stop();
      await Promise.all([producer.close(), unordered.close()]);
      await db.destroy();
    },
  };
}

async function connectToRedis(settings: PlatformSettings, log: Logger): Promise<RedisClientType> {
  const { connectRedis } = await import('../store/redis.ts');
  return connectRedis({
    host: settings.REDIS_HOST,
    port: settings.REDIS_PORT,
    password: settings.REDIS_PASSWORD,
    clientName: settings.PROCESS_NAME,
    log,
  });
}

function onSignals(end: (signal: string) => void): void {
  let interrupts = 0;
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => {
    // A second Ctrl-C means now.
    if (++interrupts > 1) process.exit(130);
    end('SIGINT');
  });
}

/** The state is unknown after these: no drain, only the log, the traces and the end. */
function onUnhandled(
  log: Logger,
  telemetry: () => Telemetry | undefined,
  lines: LogPublisher | undefined,
): void {
  let dying = false;
  const die = (what: string) => async (error: unknown) => {
    log.error(what, { error });
    if (dying) return;
    dying = true;
    setTimeout(() => process.exit(exit.failed), 2_000);
    await Promise.all([telemetry()?.shutdown(1_000), lines?.close(lastLinesMs)]);
    process.exit(exit.failed);
  };
  process.on('uncaughtException', die('uncaught exception'));
  process.on('unhandledRejection', die('unhandled rejection'));
}

/**
 * Compacts the heap once: loading modules leaves a quarter of it as garbage and lazily compiled code that an idle
 * process would keep (measured: 27 MB of 120 MB resident). Takes some 50 ms, before there is work to hold up.
 */
function dropBootGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  setFlagsFromString('--no-expose-gc');
  collect({ type: 'major', flavor: 'last-resort' });
}

/**
 * A process begins with a young generation of 1 MiB that does not grow (workers/main.ts): right for one that waits. At work
 * the collector runs every half megabyte then (a fifth of the join's CPU at 200 events/s, measured), so from the first
 * five seconds that were busy for a tenth on it may grow. Only in a container of more than 512 MiB: in a smaller one V8 takes no
 * more than that 1 MiB unless a size is named (`semiSpaceMiB` in the catalog).
 */
function growWhenBusy(): void {
  let before = performance.eventLoopUtilization();
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    if (utilization < 0.1) return;
    clearInterval(timer);
    setFlagsFromString('--semi-space-growth-factor=2');
  }, 5_000);
  timer.unref();
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
