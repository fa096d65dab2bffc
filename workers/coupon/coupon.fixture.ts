/**
 * The coupons on topics and tables of their own, for tests: in this process, or the deciding part as a child process that
 * can be killed (`node coupon.fixture.ts <ordering> <id>`, settings from the environment).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Kysely } from 'kysely';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { DatabaseSettings } from '../base/config.ts';
import { createRegistry } from '../base/metrics.ts';
import { createMailboxes } from '../http/mailbox.ts';
import { asOperator, startTestHttp } from '../http/testing.ts';
import type { Kafka } from '../kafka/kafka.ts';
import { createTopics, eventually, testKafka, testLog } from '../kafka/testing.ts';
import { serverSettings } from '../store/database.fixture.ts';
import { openDatabase } from '../store/database.ts';
import { outboxStore } from '../store/outbox.ts';
import { connectRedis } from '../store/redis.ts';
import { startOutboxRelay } from '../store/relay.ts';
import { startIntake } from './intake.ts';
import { startHandler } from './issue-consumer.ts';
import { type Locks, noLocks, redisLocks } from './lock.ts';
import { type Ordering, type Orderings, orderings } from './ordering.ts';
import { startPusher } from './result-consumer.ts';
import { registerRoutes } from './routes.ts';
import { requestStore } from './store.ts';

export const pseudonymKey = Buffer.alloc(32, 5);

/** The ordering on topics and a group whose names begin with `id`. */
export function testOrdering(name: Ordering['name'], id: string): Ordering {
  const base = orderings[name];
  const success = name === 'user' ? `${id}.results` : `${id}.succeeded`;
  return {
    ...base,
    requestTopic: `${id}.requests`,
    successTopic: success,
    failureTopic: name === 'user' ? success : `${id}.failed`,
    outsideTopic: `${id}.outside`,
    group: {
      ...base.group,
      id: `${id}.group`,
      topics: base.group.topics.map((topic) => ({ ...topic, name: `${id}.requests` })),
    },
  };
}

/** The topics of an ordering and their dead letters. */
function topicsOf(ordering: Ordering): readonly { readonly name: string; readonly partitions: number }[] {
  const { requestTopic, successTopic, failureTopic, outsideTopic } = ordering;
  const names = [...new Set([requestTopic, successTopic, failureTopic, outsideTopic])];
  return names.flatMap((name) => [
    { name, partitions: ordering.name === 'user' ? 3 : 5 },
    { name: `${name}.dlq`, partitions: 1 },
  ]);
}

/** Creates the topics, and waits until a broker that is asked knows them. */
export async function createCouponTopics(list: readonly Ordering[]): Promise<() => Promise<void>> {
  const wanted = list.flatMap(topicsOf);
  const { remove } = await createTopics(wanted);
  const kafka = testKafka('test-coupon-topics');
  const known = async () => {
    for (const { name, partitions } of wanted) {
      const offsets = await kafka.admin.offsets(name).catch(() => []);
      if (offsets.length !== partitions) return false;
    }
    return true;
  };
  await eventually('the topics are known', known, 60_000);
  await kafka.close();
  return remove;
}

/** Out of the consumer, where nobody would hear it. */
function fail(error: Error): void {
  setImmediate(() => {
    throw error;
  });
}

/** The API on a free port of this process. `group` names who reads the results. */
export async function startApi(options: {
  readonly orderings: Orderings;
  readonly db: Kysely<unknown>;
  readonly kafka: Kafka;
  readonly group: string;
}) {
  const { orderings, db, kafka } = options;
  const database = async () => db;
  const http = await startTestHttp({ log: testLog });
  const mailboxes = createMailboxes();
  const producer = await kafka.producer('test-api');
  const relay = startOutboxRelay({
    store: outboxStore(db),
    database: 'shop',
    producer,
    registry: createRegistry(),
    log: testLog,
  });
  const intake = startIntake({ store: requestStore(database), relay, orderings });
  const pusher = await startPusher({
    kafka,
    producer,
    mailboxes,
    group: {
      ...groups.couponResult,
      id: options.group,
      topics: [
        ...new Set(
          Object.values(orderings).flatMap(({ successTopic, failureTopic }) => [successTopic, failureTopic]),
        ),
      ].map((name) => ({ ...topics.couponResults, name })),
    },
    log: testLog,
    onFatal: fail,
  });
  registerRoutes(http.app as never, { database, intake, mailboxes, pseudonymKey, maxClients: 100 });
  await http.open();
  return {
    url: `http://127.0.0.1:${http.address().port}`,
    ready: pusher.ready,
    async stop() {
      await Promise.all([relay.stop(), pusher.stop()]);
      await producer.close();
      await http.close(500);
    },
  };
}

export interface SeenEvent {
  readonly id: string;
  readonly requestId: string;
}

/** The event stream of a user, until closed or cut; it does not come back by itself, and acknowledges nothing. */
export async function openEvents(
  url: string,
  userId: string,
  lastEventId?: string,
): Promise<{ readonly seen: readonly SeenEvent[]; close(): void }> {
  const ending = new AbortController();
  const response = await fetch(`${url}/coupons/events?userId=${encodeURIComponent(userId)}`, {
    headers: { ...asOperator, ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }) },
    signal: ending.signal,
  });
  const seen: SeenEvent[] = [];
  const begun = Promise.withResolvers<void>();
  const read = async () => {
    let text = '';
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      const blocks = (text + Buffer.from(chunk).toString()).split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const found = /^id: (.*)\nevent: coupon-outcome\ndata: (.*)$/.exec(block);
        if (found !== null) seen.push({ id: found[1]!, requestId: JSON.parse(found[2]!).requestId });
        else if (block.includes('event: ready')) begun.resolve();
      }
    }
  };
  // It ends by the signal, or with the process that it comes from.
  read().catch(() => undefined);
  await begun.promise;
  return { seen, close: () => ending.abort() };
}

/** The deciding part in this process. */
export async function startIssuing(options: {
  readonly ordering: Ordering;
  readonly db: Kysely<unknown>;
  readonly kafka: Kafka;
  readonly locks?: Locks;
}) {
  const producer = await options.kafka.producer('test-issue');
  const handler = await startHandler({
    kafka: options.kafka,
    store: requestStore(async () => options.db),
    producer,
    ordering: options.ordering,
    locks: options.locks ?? noLocks,
    pseudonymKey,
    log: testLog,
    maxBatch: 50,
    onFatal: fail,
  });
  return {
    ready: handler.ready,
    async stop() {
      await handler.stop();
      await producer.close();
    },
  };
}

/** The deciding part as a process, with locks in Redis; resolves when it has its partitions. */
export async function spawnIssuing(
  ordering: Ordering['name'],
  id: string,
  database: DatabaseSettings,
): Promise<{ kill(): Promise<void> }> {
  const child: ChildProcess = spawn(process.execPath, [import.meta.filename, ordering, id], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, MYSQL_DATABASE: database.MYSQL_DATABASE },
  });
  const ended = once(child, 'exit');
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout!.on('data', (text) => String(text).includes('ready') && resolve());
    child.once('exit', (code) => reject(new Error(`the process ended with ${code} before it was ready`)));
  });
  await ready;
  return {
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** A client of the environment's Redis. */
export const testRedis = () =>
  connectRedis({
    host: process.env.REDIS_HOST ?? '127.0.0.1',
    port: Number(process.env.REDIS_PORT ?? 6379),
    password: process.env.REDIS_PASSWORD,
    clientName: 'test-coupon',
    log: testLog,
  });

if (import.meta.main) {
  const [name, id] = process.argv.slice(2) as [Ordering['name'], string];
  const issuing = await startIssuing({
    ordering: testOrdering(name, id),
    db: openDatabase({ settings: serverSettings }),
    kafka: testKafka('test-issue'),
    locks: redisLocks(testRedis, testLog),
  });
  const look = setInterval(() => {
    if (!issuing.ready()) return;
    clearInterval(look);
    process.stdout.write('ready\n');
  }, 20);
}
