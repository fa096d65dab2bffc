/**
 * Orders on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): one order through
 * everything that follows from it, and many while MySQL and Redis are killed.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { topics } from '../catalog/topics.ts';
import { docker } from '../environment/docker.ts';
import { jaegerOf } from '../environment/jaeger.ts';
import { kafkaOf } from '../environment/kafka.ts';
import type { IncomingRecord } from '../workers/kafka/kafka.ts';
import { eventually } from '../workers/kafka/testing.ts';
import { runOrders } from '../workers/traffic/orders.ts';
import { isComplete } from '../workers/views/trace-tree.ts';
import {
  apiToken,
  apiUrl,
  asOperator,
  containerOf,
  crash,
  endsOf,
  environment,
  isHealthy,
  recordsSince,
} from './deployed.fixture.ts';

const kafka = kafkaOf(environment);
test.after.always(() => kafka.close());

/** Unlike anything else that is ever written, so that finding it anywhere is proof. */
const person = `e2e-person-${randomUUID().slice(0, 8)}`;
const card = '4111111111111111';
const patienceMs = 120_000;

async function call(method: string, path: string, body?: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${apiUrl}${path}`, {
    method,
    headers: {
      ...asOperator,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = (await response.json()) as Record<string, unknown>;
  return { status: response.status, json, traceparent: response.headers.get('traceparent') ?? '' };
}

interface Event {
  readonly orderId: string;
  readonly paymentId?: string;
}
const eventOf = ({ value }: IncomingRecord) => JSON.parse(String(value)) as Event;

const orderTopics = [topics.orderCompleted.name, topics.orderConfirmed.name, topics.externalEvents.name];

/** Quantities in the ranking of the given products. */
async function ranked(productIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const { status, json } = await call('GET', '/ranking/products?limit=1000');
  if (status !== 200) return new Map();
  const products = json.products as { productId: string; quantity: number }[];
  return new Map(
    products
      .filter(({ productId }) => productIds.includes(productId))
      .map(({ productId, quantity }) => [productId, quantity]),
  );
}

const asObject = (counts: ReadonlyMap<string, number>) =>
  Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));

let traceId = '';

test.serial(
  'a paid order is on its three topics, in the ranking and in the data platform, and names nobody',
  async (t) => {
    t.timeout(patienceMs * 2);
    const since = new Map(
      await Promise.all(orderTopics.map(async (topic) => [topic, await endsOf(kafka, topic)] as const)),
    );
    const product = await call('POST', '/products', {
      name: 'e2e mug',
      price: { amountMinor: 12_000, currency: 'KRW' },
      // Enough to be among the best-sellers, whatever was sold before.
      stock: 1_000_000,
    });
    t.is(product.status, 201);
    const productId = String(product.json.productId);
    const order = await call('POST', '/orders', {
      userId: person,
      items: [{ productId, quantity: 900_000 }],
    });
    t.is(order.status, 201);
    const orderId = String(order.json.orderId);
    const paid = await call(
      'POST',
      `/orders/${orderId}/pay`,
      { paymentInfo: { method: 'card', amount: order.json.totalAmount, card } },
      { 'idempotency-key': randomUUID() },
    );
    t.is(paid.status, 200);
    traceId = paid.traceparent.split('-')[1] ?? '';
    const found = new Map<string, IncomingRecord>();
    await eventually(
      'the order is on its three topics',
      async () => {
        for (const topic of orderTopics)
          for (const record of await recordsSince(kafka, topic, since.get(topic)!))
            if (eventOf(record).orderId === orderId) found.set(topic, record);
        return found.size === orderTopics.length;
      },
      patienceMs,
    );
    for (const record of found.values())
      t.notRegex(
        `${record.key} ${record.value} ${JSON.stringify(record.headers)}`,
        new RegExp(`${person}|${card}`),
      );
    await eventually(
      'the ranking has counted it',
      async () => (await ranked([productId])).get(productId) === 900_000,
      patienceMs,
    );
    await eventually(
      'the data platform has stored it, with the name of the product',
      async () => {
        const { json } = await call('GET', '/analytics/sales?limit=1000');
        const sold = json.products as { productId: string; name?: string; quantity: number }[] | undefined;
        return (
          sold?.some(
            (one) => one.productId === productId && one.name === 'e2e mug' && one.quantity === 900_000,
          ) === true
        );
      },
      patienceMs,
    );
    const seen = await call('GET', `/orders/${orderId}`);
    t.like(seen.json, { status: 'COMPLETED', paymentId: paid.json.paymentId });
    t.false(JSON.stringify(seen.json).includes(person));
  },
);

test.serial('one trace leads from the payment over order-completed to both of its consumers', async (t) => {
  t.timeout(patienceMs * 2);
  t.regex(traceId, /^[0-9a-f]{32}$/);
  const wanted = [
    'POST /orders/:orderId/pay',
    'commit payment',
    'send order-completed',
    'send order-confirmed',
    'send external-events',
  ];
  let names: string[] = [];
  await eventually(
    'the trace is whole',
    async () => {
      const trace = await jaegerOf(environment, AbortSignal.timeout(15_000))
        .find(traceId)
        .catch(() => undefined);
      names = trace?.spans.map(({ operationName }) => operationName) ?? [];
      return (
        trace !== undefined &&
        isComplete(trace) &&
        wanted.every((name) => names.includes(name)) &&
        names.filter((name) => name === 'process order-completed').length >= 2
      );
    },
    patienceMs,
  ).catch((error: unknown) => t.fail(`${(error as Error).message}: ${names.join(', ')}`));
  t.pass();
});

interface Unpaid {
  readonly orderId: string;
  readonly amount: unknown;
}

/** Orders of a product of their own, to be paid when MySQL is frozen. */
async function unpaidOrders(count: number): Promise<readonly Unpaid[]> {
  const price = { amountMinor: 5_000, currency: 'KRW' };
  const { json: product } = await call('POST', '/products', { name: 'e2e cup', price, stock: 1_000 });
  const items = [{ productId: product.productId, quantity: 1 }];
  return Promise.all(
    Array.from({ length: count }, async () => {
      const { json } = await call('POST', '/orders', { userId: person, items });
      return { orderId: String(json.orderId), amount: json.totalAmount };
    }),
  );
}

/** Pays until there is an answer below 500, for two minutes, with one key. */
async function payAtLast({ orderId, amount }: Unpaid) {
  const key = randomUUID();
  for (let tries = 1; ; tries += 1) {
    const { status, json } = await call(
      'POST',
      `/orders/${orderId}/pay`,
      { paymentInfo: { method: 'card', amount, card } },
      { 'idempotency-key': key },
    );
    if (status < 500 || tries > patienceMs / 1_000)
      return { orderId, status, paymentId: String(json.paymentId) };
    await sleep(1_000);
  }
}

test.serial(
  'orders paid while MySQL and Redis are killed are paid with their events or refused, never half',
  async (t) => {
    t.timeout(12 * 60_000);
    const since = new Map(
      await Promise.all(orderTopics.map(async (topic) => [topic, await endsOf(kafka, topic)] as const)),
    );
    const stock = 10_000;
    const running = runOrders({
      apiUrl,
      token: apiToken,
      rate: 40,
      durationMs: 24_000,
      products: 8,
      stock,
      userPrefix: person,
      retryForMs: 120_000,
      record: true,
    });
    const unpaid = await unpaidOrders(8);
    await sleep(5_000);
    // Frozen first: whatever is sent to it now is under way when it is killed.
    const { id } = await containerOf('mysql');
    await docker(['pause', id]);
    let answered = 0;
    const paying = Promise.all(
      unpaid.map(async (order) => {
        const met = await payAtLast(order);
        answered += 1;
        return met;
      }),
    );
    await sleep(1_000);
    // The other member may answer them at their first try, as soon as it takes the writes.
    t.is(answered, 0, 'a payment was answered by a MySQL that is frozen');
    // That one: another member may be about to take the writes.
    await docker(['restart', '--time', '0', id]);
    await sleep(8_000);
    await crash('redis');
    await sleep(2_000);
    await crash('mysql');
    const { orders, sold, productIds, ...report } = await running;
    const met = await paying;
    t.log(JSON.stringify(report));
    t.is(report.failed, 0, 'an order had no answer within two minutes');
    t.is(report.refused, 0);
    t.true(orders.length > 300, `only ${orders.length} orders were placed`);
    t.deepEqual(
      met.filter(({ status }) => status !== 200),
      [],
    );
    await eventually(
      'MySQL and Redis are healthy again',
      async () => (await isHealthy('mysql')) && (await isHealthy('redis')),
      patienceMs,
    );

    const paid = [...orders, ...met];
    const mine = new Map(paid.map((order) => [order.orderId, order]));
    for (const order of paid) {
      const { json } = await call('GET', `/orders/${order.orderId}`);
      const { status, paymentId } = json;
      if (status !== 'COMPLETED' || paymentId !== order.paymentId)
        t.fail(`${order.orderId} was answered ${order.paymentId} and is ${JSON.stringify(json)}`);
    }
    for (const topic of orderTopics) {
      const told = new Map<string, Event>();
      await eventually(
        `every order is on ${topic}`,
        async () => {
          for (const record of await recordsSince(kafka, topic, since.get(topic)!)) {
            const event = eventOf(record);
            if (mine.has(event.orderId)) told.set(event.orderId, event);
          }
          return told.size >= mine.size;
        },
        patienceMs,
      );
      for (const [orderId, { paymentId }] of told)
        if (paymentId !== undefined && paymentId !== mine.get(orderId)!.paymentId)
          t.fail(`${topic} tells of another payment of ${orderId}`);
    }

    const { json } = await call('GET', '/products?limit=500');
    const left = new Map(
      (json.products as { productId: string; stock: number }[]).map((product) => [
        product.productId,
        product.stock,
      ]),
    );
    for (const productId of productIds)
      t.is(left.get(productId), stock - (sold.get(productId) ?? 0), 'stock is not what was sold');
    await eventually(
      'the ranking equals the sum of the orders',
      async () => JSON.stringify(asObject(await ranked(productIds))) === JSON.stringify(asObject(sold)),
      patienceMs,
    ).catch(async (error: unknown) => {
      t.log((error as Error).message);
      t.deepEqual(asObject(await ranked(productIds)), asObject(sold));
    });
    await eventually(
      'the data platform has every order',
      async () => {
        for (const productId of productIds) {
          const { json } = await call('GET', `/analytics/sales?by=day&productId=${productId}`);
          const stored = (json.over as { orders: number }[] | undefined)?.reduce(
            (sum, one) => sum + one.orders,
            0,
          );
          const expected = orders.filter(({ items }) =>
            items.some((one) => one.productId === productId),
          ).length;
          if (stored !== expected) return false;
        }
        return true;
      },
      patienceMs,
    );
  },
);
