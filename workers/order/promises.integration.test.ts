/** The promises of orders: they hold while the shop is busy, and each breach made by hand is told by its id, and by no other. */
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import type { RedisClientType } from 'redis';
import { uuidV7 } from '../base/ids.ts';
import { createTopics, testKafka, testLog, uniqueName } from '../kafka/testing.ts';
import { brokenNow, checksFrom } from '../platform/checks.fixture.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { closeRedis, connectRedis } from '../store/redis.ts';
import { payOrders } from './payments.ts';
import { orderChecks, ordersTold, rankingLook } from './promises.ts';
import { addToRanking } from './ranking.ts';
import { soldSums } from './sold-sums.ts';
import {
  createProduct,
  findOrder,
  type OrderTables,
  paymentStore,
  placeOrders,
  saveProductChange,
} from './store.ts';

test.beforeEach((t) => t.timeout(180_000));

const payWithinMs = 1_800_000;
const price = { amountMinor: 1_000, currency: 'KRW' };
const inDatabase = ['orders-paid-once', 'orders-expired', 'stock-conserved'] as const;

const checksOf = (db: Kysely<unknown>) =>
  checksFrom(orderChecks, inDatabase, { database: async () => db, payWithinMs });

const product = (db: Kysely<OrderTables>, stock: number) =>
  createProduct(db, { name: 'Mug', price, stock }, undefined, Date.now());

/** Orders placed and paid `agoMs` ago, two of each product. */
async function sell(
  db: Kysely<OrderTables>,
  productIds: readonly string[],
  { agoMs = 120_000, paid = true } = {},
): Promise<readonly { readonly orderId: string; readonly paymentId: string }[]> {
  const atMs = Date.now() - agoMs;
  const items = productIds.map((productId) => ({ productId, quantity: 2 }));
  const placed = await placeOrders(db, [{ user: 'u_1', items }], atMs, payWithinMs);
  const orders = placed.map((one) => (one.ok ? one.order.orderId : ''));
  const calls = orders.map((orderId) => ({
    orderId,
    idempotencyKey: orderId,
    requestHash: orderId,
    amount: { amountMinor: 2_000 * productIds.length, currency: 'KRW' },
    paymentId: uuidV7(atMs),
    method: 'card',
    cardLast4: undefined,
    traceparent: undefined,
  }));
  if (paid)
    for (const { ok } of await payOrders(
      paymentStore(async () => db),
      calls,
      atMs,
    ))
      if (!ok) throw new Error('not paid');
  return calls.map(({ orderId, paymentId }) => ({ orderId, paymentId }));
}

test('each breach is told by its own promise with its id; mended, it is over', async (t) => {
  const scratch = await scratchDatabase('promise_order');
  const db = scratch.db as Kysely<OrderTables>;
  try {
    const { productId: mug } = await product(db, 1_000);
    const { productId: jug } = await product(db, 1_000);
    const [kept] = await sell(db, [mug, jug]);
    await sell(db, [mug], { agoMs: 20 * 86_400_000 });
    const [pending] = await sell(db, [jug], { paid: false });
    await saveProductChange(db, jug, { addStock: 50 }, undefined, Date.now());
    await saveProductChange(db, jug, { addStock: -20, price }, undefined, Date.now());
    const checks = checksOf(scratch.db);
    t.deepEqual(await brokenNow(checks), {});

    await sql`UPDATE shop_product SET stock = stock + 1 WHERE product_id = ${mug}`.execute(db);
    t.deepEqual(await brokenNow(checks), { 'stock-conserved': [mug] });
    await sql`UPDATE shop_product SET stock = stock - 1 WHERE product_id = ${mug}`.execute(db);
    t.deepEqual(await brokenNow(checks), {});

    // An order that was never paid, and its timer is gone.
    await sql`DELETE FROM muster_outbox_due`.execute(db);
    await sql`
      UPDATE shop_order SET created_at = created_at - INTERVAL 1 DAY WHERE order_id = ${pending!.orderId}`.execute(
      db,
    );
    t.deepEqual(await brokenNow(checks), { 'orders-expired': [pending!.orderId] });
    await sql`UPDATE shop_order SET status = 'EXPIRED' WHERE order_id = ${pending!.orderId}`.execute(db);
    t.deepEqual(await brokenNow(checks), {});

    await sql`UPDATE shop_payment SET amount_minor = 1 WHERE order_id = ${kept!.orderId}`.execute(db);
    t.deepEqual(await brokenNow(checksOf(scratch.db)), { 'orders-paid-once': [kept!.orderId] });
    await sql`UPDATE shop_order SET status = 'PENDING' WHERE order_id = ${kept!.orderId}`.execute(db);
    t.deepEqual((await brokenNow(checksOf(scratch.db)))['orders-paid-once'], [
      kept!.orderId,
      `payment ${kept!.paymentId}`,
    ]);
    await sql`DELETE FROM shop_payment WHERE order_id = ${kept!.orderId}`.execute(db);
    await sql`UPDATE shop_order SET status = 'COMPLETED' WHERE order_id = ${kept!.orderId}`.execute(db);
    t.deepEqual((await brokenNow(checksOf(scratch.db)))['orders-paid-once'], [kept!.orderId]);
    t.is((await findOrder(db, kept!.orderId))?.paymentId, undefined);
  } finally {
    await scratch.drop();
  }
});

test('a breach of what was sold just now is told by a check that is running, and not only by a new one', async (t) => {
  const scratch = await scratchDatabase('promise_order_new');
  const db = scratch.db as Kysely<OrderTables>;
  try {
    const { productId: mug } = await product(db, 1_000);
    const checks = checksOf(scratch.db);
    t.deepEqual(await brokenNow(checks), {});
    // Older than the limit, and made since the last look: as if time had gone by.
    const [order] = await sell(db, [mug], { agoMs: 31_000 });
    await sql`DELETE FROM shop_payment WHERE order_id = ${order!.orderId}`.execute(db);
    t.deepEqual(await brokenNow(checks), {
      'orders-paid-once': [order!.orderId],
      'stock-conserved': [mug],
    });
  } finally {
    await scratch.drop();
  }
});

test('they hold while orders are placed, paid and refused, and stock is changed, all the time', async (t) => {
  const scratch = await scratchDatabase('promise_order_busy');
  const db = scratch.db as Kysely<OrderTables>;
  try {
    const products = [await product(db, 1_000_000), await product(db, 1_000_000)].map((one) => one.productId);
    let going = true;
    const busy = Promise.all([
      ...[0, 100_000, 1_000].map(async (agoMs) => {
        while (going) await sell(db, products, { agoMs });
      }),
      (async () => {
        while (going) await saveProductChange(db, products[0]!, { addStock: 3 }, undefined, Date.now());
      })(),
    ]);
    const checks = checksOf(scratch.db);
    // Not the stock: what is sold with a time of long ago comes too late for its sums.
    for (let n = 0; n < 15; n++) {
      const { 'orders-paid-once': paid, 'orders-expired': expired } = await brokenNow(checks);
      t.deepEqual([paid, expired], [undefined, undefined]);
    }
    going = false;
    await busy;
    t.deepEqual(await brokenNow(checksOf(scratch.db)), {});
  } finally {
    await scratch.drop();
  }
});

test('stock is conserved in one view of the data, however many sales commit meanwhile', async (t) => {
  const scratch = await scratchDatabase('promise_stock_busy');
  const db = scratch.db as Kysely<OrderTables>;
  try {
    const products = [await product(db, 1_000_000), await product(db, 1_000_000)].map((one) => one.productId);
    let going = true;
    const busy = Promise.all(
      [0, 0, 1_000].map(async (agoMs) => {
        while (going) await sell(db, products, { agoMs });
      }),
    );
    const check = checksOf(scratch.db).get('stock-conserved')!;
    for (let n = 0; n < 30; n++) t.like(await check(), { broken: 0 });
    going = false;
    await busy;
  } finally {
    await scratch.drop();
  }
});

test('a ranking that is not the sum is told by its product once that has lasted', async (t) => {
  const scratch = await scratchDatabase('promise_ranking');
  const db = scratch.db as Kysely<OrderTables>;
  const key = uniqueName('ranking');
  const redis: RedisClientType = await connectRedis({
    host: process.env.REDIS_HOST ?? '127.0.0.1',
    port: Number(process.env.REDIS_PORT ?? 6379),
    password: process.env.REDIS_PASSWORD || undefined,
    clientName: 'test',
    log: testLog,
  });
  try {
    const [mug, jug] = [(await product(db, 1_000)).productId, (await product(db, 1_000)).productId];
    await sell(db, [mug, jug]);
    await sell(db, [jug], { agoMs: 1_000 });
    const add = (productId: string, qty: number, offset: number) =>
      addToRanking(
        redis,
        [{ offset, order: { orderId: `o-${offset}`, products: [{ id: productId, qty }] } }],
        { partition: offset, expected: undefined, next: offset + 1 },
        key,
      );
    await add(mug, 2, 0);
    // What was sold within the last minute may be there or not.
    await add(jug, 2, 1);
    const look = rankingLook(soldSums(), 0, key);
    const wrong = async () => (await look(scratch.db, redis)).map(({ id }) => id);
    t.deepEqual(await wrong(), []);
    await add(jug, 2, 2);
    t.deepEqual(await wrong(), []);
    await add(mug, 1, 3);
    t.deepEqual(await wrong(), [mug]);
    await redis.zIncrBy(key, -1, mug);
    t.deepEqual(await wrong(), []);
    await redis.zRem(key, mug);
    await add('never-sold', 5, 4);
    t.deepEqual((await wrong()).sort(), ['never-sold', mug].sort());
    // Within the limit it may still come.
    t.deepEqual(await rankingLook(soldSums(), 60_000, key)(scratch.db, redis), []);
  } finally {
    const made = await redis.keys(`${key}*`);
    if (made.length > 0) await redis.del(made);
    await closeRedis(redis, 500);
    await scratch.drop();
  }
});

test('an event of a payment that is in no log, or on no topic, is told', async (t) => {
  const scratch = await scratchDatabase('promise_order_told');
  const db = scratch.db as Kysely<OrderTables>;
  const topic = uniqueName('promise-orders');
  const { remove } = await createTopics([{ name: topic, partitions: 3 }]);
  const kafka = testKafka();
  try {
    const { productId: mug } = await product(db, 1_000);
    const producer = await kafka.producer('test');
    const tell = (ids: readonly string[]) =>
      producer.send(ids.map((id) => ({ topic, key: id, value: '{}', headers: { ce_id: id } })));
    const [first] = await sell(db, [mug], { agoMs: 9_000 });
    const [second] = await sell(db, [mug], { agoMs: 9_000 });
    const check = ordersTold({ database: async () => scratch.db, kafka }, 8_000, [topic]);
    await tell([
      `${first!.orderId}-completed`,
      `${first!.orderId}-confirmed`,
      `${second!.orderId}-completed`,
    ]);
    t.deepEqual((await check()).ids, [`${second!.orderId}-confirmed`]);
    await tell([`${second!.orderId}-confirmed`]);
    t.like(await check(), { broken: 0 });
    const [third] = await sell(db, [mug], { agoMs: 9_000 });
    await tell([`${third!.orderId}-completed`, `${third!.orderId}-confirmed`]);
    await sql`DELETE FROM muster_event WHERE event_id = ${third!.paymentId}`.execute(db);
    const again = ordersTold({ database: async () => scratch.db, kafka }, 8_000, [topic]);
    t.deepEqual((await again()).ids, [`payment ${third!.paymentId}`]);
  } finally {
    await kafka.close();
    await remove();
    await scratch.drop();
  }
});
