/** Ranking and data platform on a real Kafka, Redis and MySQL or MariaDB: KAFKA_BROKERS, REDIS_*, MYSQL_*. */
import { randomUUID } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import { Registry } from 'prom-client';
import { RESP_TYPES, type RedisClientType } from 'redis';
import type { OrderCompleted, ProductEvent } from '../../catalog/events/order.ts';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { DatabaseSettings } from '../base/config.ts';
import type { Kafka, OutgoingRecord, Producer } from '../kafka/kafka.ts';
import {
  createTopics,
  deleteRecords,
  eventually,
  readTopic,
  testKafka,
  testLog,
  uniqueName,
} from '../kafka/testing.ts';
import { scratchDatabase, serverSettings } from '../store/database.fixture.ts';
import { databaseOf, openDatabase } from '../store/database.ts';
import { migrateDatabase } from '../store/migrate.ts';
import { closeRedis, connectRedis } from '../store/redis.ts';
import {
  type AnalyticsTables,
  customerBehaviour,
  productPreferences,
  salesByProduct,
  salesOverTime,
} from './analytics.ts';
import type { DataPlatformOptions } from './data-platform.ts';
import { startAnalytics, startProductEvents } from './data-platform.ts';
import { clearRanking, isPartial, topProducts } from './ranking.ts';
import { startRanking } from './ranking-consumer.ts';
import { salesHistory } from './sales-history.ts';

/** On a loaded machine a rebalance alone may take many seconds. */
const patienceMs = 60_000;
const redisAt = {
  host: process.env.REDIS_HOST ?? '127.0.0.1',
  port: Number(process.env.REDIS_PORT ?? 6379),
  password: process.env.REDIS_PASSWORD || undefined,
  clientName: 'test',
  log: testLog,
};

let kafka: Kafka;
let producer: Producer;
let settings: DatabaseSettings;
let drop: (() => Promise<void>) | undefined;
let analytics: Kysely<AnalyticsTables>;
let redis: RedisClientType;

test.before(async () => {
  kafka = testKafka();
  producer = await kafka.producer('test');
  redis = await connectRedis(redisAt);
  ({ settings, drop } = await scratchDatabase('figures'));
  await migrateDatabase(settings, 'analytics', () => {});
  analytics = openDatabase({ settings: databaseOf(settings, 'analytics'), connections: 2 });
  await sql`SELECT 1`.execute(analytics);
});
test.after.always(async () => {
  await analytics?.destroy();
  if (drop !== undefined) {
    const server = openDatabase({ settings: serverSettings, connections: 1 });
    await sql`DROP DATABASE IF EXISTS ${sql.id(databaseOf(settings, 'analytics').MYSQL_DATABASE)}`.execute(
      server,
    );
    await server.destroy();
    await drop();
  }
  if (redis !== undefined) await closeRedis(redis, 500);
  await kafka?.close();
});

/** A topic of its own with its dead letters, groups on it, and a key of its own in Redis. */
async function scene(t: ExecutionContext, like: 'orderCompleted' | 'productEvents' = 'orderCompleted') {
  const name = uniqueName('orders');
  const topic = { ...topics[like], name };
  const created = await createTopics([
    { name, partitions: 3 },
    { name: `${name}.dlq`, partitions: 1 },
  ]);
  t.teardown(created.remove);
  const key = `test:ranking:${randomUUID()}`;
  t.teardown(async () => {
    await clearRanking(redis, 3, key);
  });
  const failures: Error[] = [];
  const fail = (error: Error) => failures.push(error);
  const common = { kafka, log: testLog, registry: new Registry(), fail };
  const stopAtEnd = <T extends { stop(): Promise<void> }>(started: T): T => {
    let ended: Promise<void> | undefined;
    const stop = () => (ended ??= started.stop());
    t.teardown(stop);
    return { ...started, stop };
  };
  const platform = (group: keyof typeof groups): DataPlatformOptions => ({
    ...common,
    settings,
    group: { ...groups[group], id: `${name}-${group}`, topics: [topic] },
  });
  return {
    name,
    key,
    failures,
    ranking: async (from: () => Promise<RedisClientType> = async () => redis) =>
      stopAtEnd(
        await startRanking({
          ...common,
          key,
          redis: from,
          group: { ...groups.orderRanking, id: `${name}-ranking`, topics: [topic] },
          history: salesHistory(
            kafka,
            name,
            { ...groups.orderAnalytics, id: `${name}-orderAnalytics` },
            analytics,
          ),
        }),
      ),
    analytics: async () => stopAtEnd(await startAnalytics(platform('orderAnalytics'))),
    products: async () => stopAtEnd(await startProductEvents(platform('productEvents'))),
    send: (records: readonly Pick<OutgoingRecord, 'key' | 'value'>[]) =>
      producer.send(records.map((record) => ({ ...record, topic: name }))),
  };
}

const products = ['mug', 'pen', 'cup', 'jug'].map((name) => `${name}-${randomUUID().slice(0, 8)}`);

function orderOf(index: number, run: string): OrderCompleted {
  return {
    orderId: `${run}-${index}`,
    userId: `u_${String(index % 7).padStart(22, run)}`.slice(0, 24),
    products: [
      { id: products[index % 4]!, qty: 1 + (index % 3), unitAmountMinor: 100 },
      { id: products[(index + 1) % 4]!, qty: 1 },
    ],
    totalAmount: { amountMinor: 100 * (1 + (index % 3)) + 50, currency: 'KRW' },
    completedAt: new Date(Date.UTC(2026, 0, 1, index % 3)).toISOString(),
  };
}

const recordOf = (order: OrderCompleted) => ({ key: `user:${order.userId}`, value: JSON.stringify(order) });

function soldOf(orders: readonly OrderCompleted[]): Record<string, number> {
  const sold: Record<string, number> = {};
  for (const order of orders) for (const { id, qty } of order.products) sold[id] = (sold[id] ?? 0) + qty;
  return sold;
}

async function ranked(key: string): Promise<Record<string, number>> {
  const top = await topProducts(redis, 100, key);
  return Object.fromEntries(top.map(({ productId, quantity }) => [productId, quantity]));
}

async function rankingIs(t: ExecutionContext, key: string, orders: readonly OrderCompleted[]): Promise<void> {
  const expected = soldOf(orders);
  const total = (counts: Record<string, number>) => Object.values(counts).reduce((sum, one) => sum + one, 0);
  await eventually(
    'the ranking has counted everything',
    async () => total(await ranked(key)) >= total(expected),
    patienceMs,
  );
  t.deepEqual(await ranked(key), expected);
}

async function storedOrders(run: string): Promise<number> {
  const rows = await analytics
    .selectFrom('sale')
    .select('order_id')
    .where('order_id', 'like', `${run}-%`)
    .execute();
  return rows.length;
}

const allStored = (run: string, count: number) =>
  eventually(
    'the data platform has stored everything',
    async () => (await storedOrders(run)) >= count,
    patienceMs,
  );

test.serial(
  'ranking and data platform count each order once, whatever comes twice; what is no order is put aside by each',
  async (t) => {
    t.timeout(180_000);
    const run = randomUUID().slice(0, 8);
    const at = await scene(t);
    await Promise.all([at.ranking(), at.analytics()]);
    const orders = Array.from({ length: 200 }, (_, index) => orderOf(index, run));
    await at.send(orders.slice(0, 120).map(recordOf));
    await at.send([{ key: `user:${orders[0]!.userId}`, value: '{"orderId":' }]);
    // As a relay does that dies between sending and noting it.
    await at.send(orders.slice(80, 120).map(recordOf));
    await at.send(orders.slice(100).map(recordOf));
    await rankingIs(t, at.key, orders);
    await allStored(run, orders.length);
    t.is(await storedOrders(run), orders.length);
    let letters = await readTopic(kafka, `${at.name}.dlq`);
    await eventually(
      'both groups have put the record aside',
      async () => {
        letters = await readTopic(kafka, `${at.name}.dlq`);
        return letters.length >= 2;
      },
      patienceMs,
    );
    t.deepEqual(letters.map(({ headers }) => String(headers['muster-group'])).sort(), [
      `${at.name}-orderAnalytics`,
      `${at.name}-ranking`,
    ]);
    for (const { value, headers } of letters) {
      t.is(String(value), '{"orderId":');
      t.is(String(headers['muster-error-code']), 'MUSTER_EVENT_INVALID');
    }
    t.deepEqual(at.failures, []);

    const mine = sql<boolean>`order_id LIKE ${`${run}-%`}`;
    const items = await analytics.selectFrom('sale_item').selectAll().where(mine).execute();
    t.deepEqual(
      items.reduce<Record<string, number>>((sold, item) => {
        sold[item.product_id] = (sold[item.product_id] ?? 0) + item.quantity;
        return sold;
      }, {}),
      soldOf(orders),
    );
    const period = { fromMs: Date.UTC(2026, 0, 1), toMs: Date.UTC(2026, 0, 2) };
    const hours = await salesOverTime(analytics, period, 'hour');
    t.deepEqual(
      hours.map(({ start, orders: count }) => [start, count]),
      [
        ['2026-01-01T00:00:00.000Z', 67],
        ['2026-01-01T01:00:00.000Z', 67],
        ['2026-01-01T02:00:00.000Z', 66],
      ],
    );
    const [day] = await salesOverTime(analytics, period, 'day');
    t.is(
      day?.amountMinor,
      orders.reduce((sum, { totalAmount }) => sum + totalAmount.amountMinor, 0),
    );
    t.is((await salesByProduct(analytics, period, 10)).length, 4);
    const customers = await customerBehaviour(analytics, period, 3);
    t.like(customers, { customers: 7, returning: 7, orders: 200 });
    t.is(customers.top.length, 3);
    const preferences = await productPreferences(analytics, period, 10);
    t.true(preferences.every(({ customers: buyers, boughtAgain }) => buyers === 7 && boughtAgain === 7));
  },
);

test.serial(
  'an order that the data platform cannot store is put aside; those around it are stored',
  async (t) => {
    t.timeout(120_000);
    const run = randomUUID().slice(0, 8);
    const at = await scene(t);
    await at.analytics();
    const orders = Array.from({ length: 20 }, (_, index) => orderOf(index, run));
    const beyond = {
      ...orderOf(20, run),
      products: [{ id: 'yacht', qty: 1_000_000, unitAmountMinor: Number.MAX_SAFE_INTEGER }],
    };
    await at.send([...orders.slice(0, 10), beyond, ...orders.slice(10)].map(recordOf));
    await allStored(run, orders.length);
    await eventually(
      'the record is put aside',
      async () => (await readTopic(kafka, `${at.name}.dlq`)).length > 0,
      patienceMs,
    );
    t.is(await storedOrders(run), orders.length);
    t.is((await readTopic(kafka, `${at.name}.dlq`)).length, 1);
    t.deepEqual(at.failures, []);
  },
);

/** A TCP relay to Redis that refuses and cuts while it is off. */
async function redisRelay(t: ExecutionContext) {
  const sockets = new Set<Socket>();
  let on = true;
  const server = createServer((near) => {
    if (!on) {
      near.destroy();
      return;
    }
    const far = connect(redisAt.port, redisAt.host);
    near.pipe(far);
    far.pipe(near);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
        sockets.delete(socket);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const off = () => {
    on = false;
    for (const socket of sockets) socket.destroy();
  };
  const through = await connectRedis({ ...redisAt, port: (server.address() as { port: number }).port });
  t.teardown(async () => {
    await closeRedis(through, 200);
    server.close();
    off();
  });
  return {
    through,
    off,
    on: () => {
      on = true;
    },
  };
}

test.serial(
  'Redis down stops the ranking only: the data platform goes on, and the ranking catches up to the sum of orders',
  async (t) => {
    t.timeout(180_000);
    const run = randomUUID().slice(0, 8);
    const at = await scene(t);
    const relay = await redisRelay(t);
    await at.ranking(async () => relay.through);
    await at.analytics();
    const orders = Array.from({ length: 300 }, (_, index) => orderOf(index, run));
    await at.send(orders.slice(0, 100).map(recordOf));
    await rankingIs(t, at.key, orders.slice(0, 100));
    relay.off();
    await at.send(orders.slice(100, 200).map(recordOf));
    await at.send([{ key: 'user:u', value: 'poison' }]);
    await allStored(run, 200);
    t.deepEqual(await ranked(at.key), soldOf(orders.slice(0, 100)), 'Redis was not down');
    relay.on();
    await at.send(orders.slice(200).map(recordOf));
    await rankingIs(t, at.key, orders);
    await allStored(run, 300);
    t.deepEqual(at.failures, []);
  },
);

test.serial(
  'a ranking that Redis has lost, in part or whole, is counted anew; another worker goes on where one stopped',
  async (t) => {
    t.timeout(180_000);
    const run = randomUUID().slice(0, 8);
    const at = await scene(t);
    const first = await at.ranking();
    const orders = Array.from({ length: 300 }, (_, index) => orderOf(index, run));
    await at.send(orders.slice(0, 100).map(recordOf));
    await rankingIs(t, at.key, orders.slice(0, 100));
    // The positions last: a worker that looks in between must not see them go back before the rest has.
    const keys = [at.key, ...[0, 1, 2].map((p) => `${at.key}:recent:${p}`), `${at.key}:positions`];
    const bytes = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const dumps = await Promise.all(keys.map((key) => bytes.dump(key)));
    await at.send(orders.slice(100, 200).map(recordOf));
    await rankingIs(t, at.key, orders.slice(0, 200));

    // As after a crash of Redis that had not written its last second to the disk.
    for (const [index, key] of keys.entries()) {
      const dump: unknown = dumps[index];
      // What was not there yet (a partition without orders so far) is gone again.
      if (dump === null) await redis.del(key);
      else await redis.restore(key, 0, dump as never, { REPLACE: true });
    }
    await rankingIs(t, at.key, orders.slice(0, 200));
    await clearRanking(redis, 3, at.key);
    await rankingIs(t, at.key, orders.slice(0, 200));

    await first.stop();
    await at.send(orders.slice(200).map(recordOf));
    await at.ranking();
    await rankingIs(t, at.key, orders);
    t.deepEqual(at.failures, []);
  },
);

test.serial(
  'a ranking that Redis lost when the topic had lost its beginning is restored from the data platform, and goes on',
  async (t) => {
    t.timeout(180_000);
    const run = randomUUID().slice(0, 8);
    const at = await scene(t);
    await sql`DELETE FROM sale`.execute(analytics);
    await sql`DELETE FROM sale_item`.execute(analytics);
    const platform = await at.analytics();
    const orders = Array.from({ length: 400 }, (_, index) => orderOf(index, run));
    await at.ranking();
    await at.send(orders.slice(0, 300).map(recordOf));
    await rankingIs(t, at.key, orders.slice(0, 300));
    const stored = async () => {
      const committed = await kafka.admin.committed(`${at.name}-orderAnalytics`, at.name);
      const logs = await kafka.admin.offsets(at.name);
      return logs.every(({ partition, high }) => (committed.get(partition) ?? 0) === high);
    };
    await eventually('the data platform has all', stored, patienceMs);
    for (const { partition, high } of await kafka.admin.offsets(at.name))
      await deleteRecords(at.name, partition, Math.floor(high / 2));

    // Emptied while the worker runs; the data platform stands still, and what comes meanwhile is counted once.
    await platform.stop();
    await clearRanking(redis, 3, at.key);
    await at.send(orders.slice(300).map(recordOf));
    await rankingIs(t, at.key, orders);
    t.false(await isPartial(redis, at.key));
    t.deepEqual(at.failures, []);
  },
);

test.serial('a ranking that lacks orders which nobody has any more says so', async (t) => {
  t.timeout(180_000);
  const run = randomUUID().slice(0, 8);
  const at = await scene(t);
  const orders = Array.from({ length: 100 }, (_, index) => orderOf(index, run));
  await at.send(orders.map(recordOf));
  // No data platform has read them.
  for (const { partition, high } of await kafka.admin.offsets(at.name))
    await deleteRecords(at.name, partition, Math.floor(high / 2));
  await at.ranking();
  await eventually('it is marked', () => isPartial(redis, at.key), patienceMs);
  const sold = async () => Object.values(await ranked(at.key)).reduce((sum, n) => sum + n, 0);
  await eventually('what is left is counted', async () => (await sold()) > 0, patienceMs);
  t.deepEqual(at.failures, []);
});

test.serial('the data platform keeps products as their newest event says', async (t) => {
  t.timeout(120_000);
  const at = await scene(t, 'productEvents');
  await at.products();
  const productId = `mug-${randomUUID()}`;
  const event = (kind: ProductEvent['kind'], version: number, stock: number): ProductEvent => ({
    productId,
    kind,
    version,
    name: `Mug ${version}`,
    price: { amountMinor: 1_000 * version, currency: 'KRW' },
    stock,
    changedAt: new Date(Date.UTC(2026, 0, 1, 0, 0, version)).toISOString(),
  });
  const events = [
    event('CREATED', 1, 5),
    event('DEPLETED', 3, 0),
    event('PRICE_CHANGED', 2, 4),
    event('STOCK_CHANGED', 4, 9),
    event('CREATED', 1, 5),
  ];
  await at.send(events.map((one) => ({ key: `product:${productId}`, value: JSON.stringify(one) })));
  const read = () =>
    analytics.selectFrom('product').selectAll().where('product_id', '=', productId).executeTakeFirst();
  await eventually('the newest event is stored', async () => (await read())?.version === 4, patienceMs);
  t.like(await read(), {
    name: 'Mug 4',
    stock: 9,
    amount_minor: 4_000,
    depleted_at: new Date(Date.UTC(2026, 0, 1, 0, 0, 3)),
  });
  t.deepEqual(at.failures, []);
});
