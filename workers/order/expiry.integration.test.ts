/** Orders that expire, on a real database and a real cluster: MYSQL_*, KAFKA_BROKERS. Topics and tables of their own. */
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { createRegistry } from '../base/metrics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { createTopics, eventually, testKafka, testLog, uniqueName } from '../kafka/testing.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { outboxStore } from '../store/outbox.ts';
import { startOutboxRelay } from '../store/relay.ts';
import { expireOrders } from './expiry.ts';
import { startExpiry } from './expiry-consumer.ts';
import { payOrders } from './payments.ts';
import { findOrder, type OrderTables, paymentStore, placeOrders } from './store.ts';

let db: Kysely<OrderTables>;
let drop: () => Promise<void>;
let run = 0;
const price = { amountMinor: 1_000, currency: 'KRW' };

test.before(async () => {
  const scratch = await scratchDatabase('expiry');
  ({ drop } = scratch);
  db = scratch.db as Kysely<OrderTables>;
  await sql`
    INSERT INTO shop_product (product_id, name, amount_minor, currency, stock, version, created_at)
    VALUES ('mug', 'Mug', 1000, 'KRW', 100000, 1, UTC_TIMESTAMP(3))`.execute(db);
});
test.after.always(() => drop?.());

async function place(count: number, payWithinMs: number): Promise<readonly string[]> {
  const placed = await placeOrders(
    db,
    Array.from({ length: count }, (_, i) => ({
      user: `u_${i}`,
      items: [{ productId: 'mug', quantity: 1 }],
      call: undefined,
    })),
    Date.now(),
    payWithinMs,
  );
  return placed.map((one) => (one.ok ? one.order.orderId : ''));
}

async function pay(orderId: string) {
  const id = `pay-${++run}`;
  const [answer] = await payOrders(
    paymentStore(async () => db),
    [
      {
        orderId,
        idempotencyKey: id,
        requestHash: orderId,
        amount: price,
        paymentId: id,
        method: 'card',
        cardLast4: undefined,
        traceparent: undefined,
      },
    ],
    Date.now(),
  );
  return answer!;
}

const statusOf = async (orderId: string) => (await findOrder(db, orderId))?.status;

test.serial(
  'an order that is not paid in time expires, though nothing ran when its time came; one that was paid stays paid',
  async (t) => {
    t.timeout(120_000);
    const topic = uniqueName('order-expiry');
    const { remove } = await createTopics([
      { name: topic, partitions: 3 },
      { name: `${topic}.dlq`, partitions: 1 },
    ]);
    t.teardown(remove);
    const [late, paid] = await place(2, 1_000);
    const [open] = await place(1, 3_600_000);
    t.true((await pay(paid!)).ok);
    // The moment passes while neither a relay nor the worker is there.
    await sql`
      UPDATE muster_outbox_due SET take_at = take_at - INTERVAL 1 HOUR, due_at = due_at - INTERVAL 1 HOUR
      WHERE due_at < UTC_TIMESTAMP(3) + INTERVAL 1 MINUTE`.execute(db);
    t.is(await statusOf(late!), 'PENDING');

    const kafka = testKafka('test-expiry');
    t.teardown(() => kafka.close());
    const producer = await kafka.producer('test-expiry');
    const sent: OutgoingRecord[] = [];
    const relay = startOutboxRelay({
      store: outboxStore(db),
      database: 'shop',
      producer: {
        async send(records, options) {
          const timers = records.filter((record) => record.topic === topics.orderExpiry.name);
          sent.push(...(timers as OutgoingRecord[]));
          // Twice, as it may be.
          const own = [...timers, ...timers].map((record) => ({ ...record, topic }));
          await producer.send(own, options);
        },
      },
      registry: createRegistry(),
      log: testLog,
    });
    t.teardown(() => relay.stop());
    const registry = createRegistry();
    const worker = await startExpiry(
      { ...groups.orderExpiry, id: uniqueName('expiry'), topics: [{ ...topics.orderExpiry, name: topic }] },
      {
        database: async () => db as never,
        kafka,
        log: testLog,
        metrics: registry,
        fail: (error) => t.fail(error.message),
      },
    );
    t.teardown(() => worker.stop());
    await eventually('it expires', async () => (await statusOf(late!)) === 'EXPIRED', 60_000);
    t.is(await statusOf(paid!), 'COMPLETED');
    t.is(await statusOf(open!), 'PENDING');
    t.is(sent.length, 1);
    t.true(Number(sent[0]!.headers!['muster-timer-late-ms']) > 3_500_000);
    t.like(await pay(late!), { ok: false, refusal: { status: 409, code: 'MUSTER_ORDER_EXPIRED' } });
    t.regex(await registry.metrics(), /order_expired_total 1\n/);
  },
);

test.serial(
  'paying and expiring at the same moment: one of the two, and the answer says which',
  async (t) => {
    const orderIds = await place(60, 3_600_000);
    const payments = Promise.all(orderIds.map((orderId) => pay(orderId)));
    for (let from = 0; from < orderIds.length; from += 6)
      await expireOrders(db, orderIds.slice(from, from + 6));
    const answers = await payments;
    let paid = 0;
    for (const [index, orderId] of orderIds.entries()) {
      const order = await findOrder(db, orderId);
      const answer = answers[index]!;
      if (answer.ok) paid += 1;
      else t.is(answer.refusal.code, 'MUSTER_ORDER_EXPIRED');
      t.is(order?.status, answer.ok ? 'COMPLETED' : 'EXPIRED');
      t.is(order?.paymentId !== undefined, answer.ok);
    }
    t.log(`${paid} paid, ${orderIds.length - paid} expired`);
  },
);
