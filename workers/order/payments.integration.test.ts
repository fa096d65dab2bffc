/** Orders and payments over HTTP on a real MySQL or MariaDB (MYSQL_*), also with its connections cut. */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import type { DatabaseSettings } from '../base/config.ts';
import { createRegistry } from '../base/metrics.ts';
import { asOperator, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { cuttingRelay, outboxRecords, scratchDatabase } from '../store/database.fixture.ts';
import { openDatabase } from '../store/database.ts';
import { payOrders } from './payments.ts';
import { registerOrderRoutes } from './routes.ts';
import { type OrderTables, paymentStore, placeOrders } from './store.ts';

let db: Kysely<OrderTables>;
let settings: DatabaseSettings;
let drop: (() => Promise<void>) | undefined;
let run = 0;

test.before(async () => {
  const scratch = await scratchDatabase('order');
  ({ settings, drop } = scratch);
  db = scratch.db as Kysely<OrderTables>;
});
test.after.always(() => drop?.());
test.beforeEach(async () => {
  await sql`DELETE FROM muster_outbox`.execute(db);
});

/** The routes on the platform's HTTP server, over connections of their own. */
async function serve(t: ExecutionContext, at: DatabaseSettings = settings) {
  const pool = openDatabase<OrderTables>({ settings: at, connections: 4, acquireTimeoutMs: 1_000 });
  const registry = createRegistry();
  const http = await startTestHttp({ log: testLog, registry });
  registerOrderRoutes(http.app as never, {
    database: async () => pool,
    payWithinMs: 3_600_000,
    pseudonymKey: Buffer.alloc(32, 7),
    registry,
  });
  await http.open();
  t.teardown(async () => {
    await http.close(100);
    await pool.destroy();
  });
  const call = async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const answer = await fetch(`http://127.0.0.1:${http.address().port}${path}`, {
      method,
      headers: {
        ...asOperator,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const json = (await answer.json()) as Record<string, string> & { error?: { code: string } };
    return { status: answer.status, json, code: json.error?.code };
  };
  return {
    registry,
    call,
    product: async (stock: number, amount = 1_000): Promise<string> =>
      (
        await call('POST', '/products', {
          name: 'Mug',
          price: { amountMinor: amount, currency: 'KRW' },
          stock,
        })
      ).json.productId!,
    order: async (productId: string, quantity = 1, userId = 'user-1'): Promise<string> =>
      (await call('POST', '/orders', { userId, items: [{ productId, quantity }] })).json.orderId!,
    pay: (orderId: string, key: string, amount = 1_000, card?: string) =>
      call(
        'POST',
        `/orders/${orderId}/pay`,
        {
          paymentInfo: {
            method: 'card',
            amount: { amountMinor: amount, currency: 'KRW' },
            ...(card ? { card } : {}),
          },
        },
        { 'idempotency-key': key },
      ),
  };
}

/** A key that no other test uses: keys belong to customers, and tests share theirs. */
const newKey = () => `key-${++run}`;

async function outboxOf(orderId: string): Promise<readonly string[]> {
  const records = await outboxRecords(db);
  return records
    .filter(({ value }) => String(value).includes(orderId))
    .map(({ topic }) => topic)
    .toSorted();
}

const threeEvents = ['external-events', 'order-completed', 'order-confirmed'];

test.serial(
  'an order is placed, paid once and seen; repeats and mistakes have their own answers',
  async (t) => {
    const { call, product, order, pay } = await serve(t);
    const mug = await product(5);
    const placed = await call('POST', '/orders', {
      userId: 'alice@example.org',
      items: [{ productId: mug, quantity: 3 }],
    });
    t.is(placed.status, 201);
    t.like(placed.json, { status: 'PENDING', totalAmount: { amountMinor: 3_000, currency: 'KRW' } });
    const orderId = placed.json.orderId!;
    const [first, second] = [newKey(), newKey()];

    t.like(await pay('nothing', first, 3_000), { status: 404, code: 'MUSTER_ORDER_UNKNOWN' });
    t.like(await pay(orderId, first, 2_999), { status: 422, code: 'MUSTER_AMOUNT_MISMATCH' });
    const paid = await pay(orderId, first, 3_000, '4111 1111 1111 1234');
    t.is(paid.status, 200);
    t.like(paid.json, { status: 'COMPLETED' });
    t.deepEqual(await pay(orderId, first, 3_000, '4111-1111-1111-1234'), paid, 'the same request again');
    t.like(await pay(orderId, first, 3_000, '4222 2222 2222 1234'), {
      status: 409,
      code: 'MUSTER_IDEMPOTENCY_KEY_REUSED',
    });
    t.like(await pay(orderId, second, 3_000), { status: 409, code: 'MUSTER_ORDER_ALREADY_PAID' });

    const late = await order(mug, 3, 'bob');
    t.like(await pay(late, first, 3_000), { status: 409, code: 'MUSTER_OUT_OF_STOCK' });
    t.like((await call('GET', `/orders/${late}`)).json, {
      status: 'FAILED',
      reason: 'OUT_OF_STOCK',
      productId: mug,
    });
    t.deepEqual(await outboxOf(late), []);

    const seen = await call('GET', `/orders/${orderId}`);
    t.like(seen.json, { status: 'COMPLETED', paymentId: paid.json.paymentId, orderId });
    t.notRegex(JSON.stringify(seen.json), /alice/);
    t.deepEqual(await outboxOf(orderId), threeEvents);
    const kept =
      await sql`SELECT * FROM shop_payment JOIN shop_order USING (order_id) WHERE order_id = ${orderId}`.execute(
        db,
      );
    t.like(kept.rows[0], { card_last4: '1234' });
    t.notRegex(JSON.stringify(kept.rows), /alice|4111|11111/);
  },
);

test.serial('what cannot be an order is refused with the field and the reason', async (t) => {
  const { call, product } = await serve(t);
  const mug = await product(5);
  const refusals = await Promise.all([
    call('POST', '/orders', { userId: 'a', items: [] }),
    call('POST', '/orders', { userId: 'a', items: [{ productId: mug, quantity: 0 }] }),
    call('POST', '/orders', { userId: 'a', items: [{ productId: 'nothing', quantity: 1 }] }),
    call('POST', '/products', { name: 'x', price: { amountMinor: 1.5, currency: 'KRW' }, stock: 1 }),
    call('POST', '/products', { name: 'x', price: { amountMinor: 1, currency: 'XQQ' }, stock: 1 }),
    call('POST', '/orders/x/pay', {
      paymentInfo: { method: 'card', amount: { amountMinor: 1, currency: 'KRW' } },
    }),
    call('PATCH', '/products/nothing', { addStock: 1 }, { 'idempotency-key': newKey() }),
    call('PATCH', `/products/${mug}`, { addStock: -6 }, { 'idempotency-key': newKey() }),
    call('GET', '/orders/nothing'),
  ]);
  t.deepEqual(
    refusals.map(({ status, code }) => `${status} ${code}`),
    [
      '422 MUSTER_VALIDATION',
      '422 MUSTER_VALIDATION',
      '422 MUSTER_PRODUCT_UNKNOWN',
      '422 MUSTER_VALIDATION',
      '422 MUSTER_VALIDATION',
      '422 MUSTER_VALIDATION',
      '404 MUSTER_PRODUCT_UNKNOWN',
      '409 MUSTER_STOCK_TOO_LOW',
      '404 MUSTER_ORDER_UNKNOWN',
    ],
  );
});

test.serial(
  'stock added under one key is added once, however often it is sent; without a key it is refused',
  async (t) => {
    const { call, product } = await serve(t);
    const mug = await product(5);
    const add = (addStock: number, key?: string) =>
      call('PATCH', `/products/${mug}`, { addStock }, key === undefined ? {} : { 'idempotency-key': key });
    t.like(await add(10), { status: 422, code: 'MUSTER_VALIDATION' });
    const key = newKey();
    const first = await add(10, key);
    t.like(first.json, { stock: 15 });
    t.is((await add(1, newKey())).json.stock as unknown, 16);
    t.deepEqual(await add(10, key), first, 'the answer of the first, although there is more by now');
    t.like(await add(11, key), { status: 409, code: 'MUSTER_IDEMPOTENCY_KEY_REUSED' });
    t.like(await add(-17, newKey()), { status: 409, code: 'MUSTER_STOCK_TOO_LOW' });
    const answers = await Promise.all(Array.from({ length: 5 }, (_, n) => add(1_000_000_000, `${key}-${n}`)));
    t.deepEqual(answers.map(({ status, code }) => (status === 200 ? 200 : `${status} ${code}`)).sort(), [
      200,
      200,
      200,
      200,
      '409 MUSTER_STOCK_TOO_HIGH',
    ]);
  },
);

test.serial('a product or an order that is asked for twice under one key is made once', async (t) => {
  const { call, product } = await serve(t);
  const mug = { name: `Mug ${newKey()}`, price: { amountMinor: 5, currency: 'KRW' }, stock: 3 };
  const key = { 'idempotency-key': newKey() };
  const made = await call('POST', '/products', mug, key);
  t.is(made.status, 201);
  t.deepEqual(await call('POST', '/products', mug, key), made);
  const order = { userId: 'user-9', items: [{ productId: await product(5), quantity: 1 }] };
  const orderKey = { 'idempotency-key': newKey() };
  const placed = await call('POST', '/orders', order, orderKey);
  t.is(placed.status, 201);
  const again = await Promise.all([1, 2, 3].map(() => call('POST', '/orders', order, orderKey)));
  for (const one of again) t.deepEqual(one, placed);
  t.like(await call('POST', '/orders', { ...order, items: [{ ...order.items[0], quantity: 2 }] }, orderKey), {
    status: 409,
    code: 'MUSTER_IDEMPOTENCY_KEY_REUSED',
  });
});

test.serial(
  'changes of a product are events with growing versions; the last one sold is one, too',
  async (t) => {
    const { call, product, order, pay } = await serve(t);
    const mug = await product(2);
    const orderId = await order(mug, 3);
    await call(
      'PATCH',
      `/products/${mug}`,
      { price: { amountMinor: 1_500, currency: 'KRW' }, addStock: 1 },
      { 'idempotency-key': newKey() },
    );
    await call('PATCH', `/products/${mug}`, { price: { amountMinor: 1_500, currency: 'KRW' } });
    t.is((await pay(orderId, newKey(), 3_000)).status, 200, 'an order keeps the price it was placed at');
    const { rows } = await sql<{ value: Buffer }>`
    SELECT value FROM muster_outbox WHERE topic = 'product-events' AND record_key = ${`product:${mug}`} ORDER BY id`.execute(
      db,
    );
    t.deepEqual(
      rows
        .map(({ value }) => JSON.parse(value.toString()))
        .map(({ kind, version, stock, price }) => [kind, version, stock, price.amountMinor]),
      [
        ['CREATED', 1, 2, 1_000],
        ['PRICE_CHANGED', 2, 3, 1_500],
        ['STOCK_CHANGED', 3, 3, 1_500],
        ['DEPLETED', 4, 0, 1_500],
      ],
    );
  },
);

test.serial(
  'two processes sell a best-seller: never more than there is, and every payment is of a completed order',
  async (t) => {
    const stores = [await serve(t), await serve(t)];
    const mug = await stores[0]!.product(40, 500);
    const orders = await Promise.all(
      Array.from({ length: 80 }, (_, i) => stores[i % 2]!.order(mug, 1, `user-${i}`)),
    );
    // Every order from both sides at once, under the same key.
    const keys = orders.map(newKey);
    const answers = await Promise.all(
      orders.flatMap((orderId, i) => stores.map(({ pay }) => pay(orderId, keys[i]!, 500))),
    );
    t.is(answers.filter(({ status }) => status === 200).length, 80, '40 orders, each answered twice');
    t.is(answers.filter(({ code }) => code === 'MUSTER_OUT_OF_STOCK').length, 80);
    for (let i = 0; i < answers.length; i += 2) t.deepEqual(answers[i], answers[i + 1]);
    const { rows } = await sql`
    SELECT (SELECT stock FROM shop_product WHERE product_id = ${mug}) AS stock, COUNT(*) AS payments,
      SUM(shop_payment.amount_minor) AS paid, SUM(shop_order.amount_minor) AS ordered
    FROM shop_payment JOIN shop_order USING (order_id)
    WHERE status = 'COMPLETED' AND order_id IN (${sql.join(orders)})`.execute(db);
    t.deepEqual(
      JSON.parse(
        JSON.stringify(rows[0], (_, value) => (Number.isNaN(Number(value)) ? value : Number(value))),
      ),
      {
        stock: 0,
        payments: 40,
        paid: 20_000,
        ordered: 20_000,
      },
    );
  },
);

test.serial(
  'a key that two processes use at once for two orders of a customer pays one of them',
  async (t) => {
    const stores = [await serve(t), await serve(t)];
    const mug = await stores[0]!.product(100);
    for (let round = 0; round < 10; round++) {
      const key = newKey();
      const orders = await Promise.all(stores.map(({ order }) => order(mug)));
      const answers = await Promise.all(stores.map(({ pay }, i) => pay(orders[i]!, key)));
      t.is(answers.filter(({ status }) => status === 200).length, 1);
      // The other came while the first was being handled, or after it.
      const { code } = answers.find(({ status }) => status === 409)!;
      t.regex(String(code), /^MUSTER_IDEMPOTENCY_KEY_(IN_USE|REUSED)$/);
      const again = await Promise.all(stores.map(({ pay }, i) => pay(orders[i]!, key)));
      t.deepEqual(
        again.map((one, i) => one.code ?? answers[i]!.json.paymentId),
        answers.map(({ status, json }) =>
          status === 200 ? json.paymentId : 'MUSTER_IDEMPOTENCY_KEY_REUSED',
        ),
      );
    }
  },
);

test.serial(
  'when the events cannot be written nothing else is: no payment, no stock taken, and the order can be paid later',
  async (t) => {
    const { call, product, order, pay } = await serve(t);
    const mug = await product(5);
    const orderId = await order(mug);
    const key = newKey();
    await sql`RENAME TABLE muster_outbox TO muster_outbox_away`.execute(db);
    try {
      t.is((await pay(orderId, key)).status, 500);
    } finally {
      await sql`RENAME TABLE muster_outbox_away TO muster_outbox`.execute(db);
    }
    t.like((await call('GET', `/orders/${orderId}`)).json, { status: 'PENDING' });
    const { products } = (await call('GET', '/products?limit=500')).json as unknown as {
      products: { productId: string; stock: number }[];
    };
    t.is(products.find(({ productId }) => productId === mug)?.stock, 5);
    t.is((await pay(orderId, key)).status, 200);
    t.deepEqual(await outboxOf(orderId), threeEvents);
  },
);

test.serial(
  'with connections cut at any moment an order is paid with its events or not at all, and asking again tells',
  async (t) => {
    t.timeout(180_000);
    const { at, cut } = await cuttingRelay(t, settings);
    const { call, product, pay } = await serve(t, at);
    const insist = async <T>(ask: () => Promise<T & { status: number }>): Promise<T & { status: number }> => {
      for (;;) {
        const answer = await ask();
        if (answer.status < 500) return answer;
        await sleep(10);
      }
    };
    const mug = await product(1_000_000);
    let cuts = 0;
    let cutting = true;
    const cutter = (async () => {
      // Not for ever: on a slow machine no transaction would get through between two cuts.
      for (; cutting && cuts < 60; cuts++) {
        await sleep(5 + Math.random() * 40);
        cut();
      }
    })();
    let unavailable = 0;
    const orders: string[] = [];
    const person = async () => {
      for (let i = 0; i < 15; i++) {
        const placed = await insist(() =>
          call('POST', '/orders', { userId: 'user-1', items: [{ productId: mug, quantity: 1 }] }),
        );
        const orderId = placed.json.orderId!;
        orders.push(orderId);
        const key = newKey();
        const paid = await insist(async () => {
          const answer = await pay(orderId, key);
          if (answer.status === 503) unavailable += 1;
          return answer;
        });
        t.is(paid.status, 200, paid.code);
      }
    };
    await Promise.all(Array.from({ length: 8 }, person));
    cutting = false;
    await cutter;
    t.log(`${orders.length} orders paid over ${cuts} cuts, ${unavailable} answers of 503`);
    t.true(unavailable > 0, 'nothing was cut');
    const { rows } = await sql<{ payments: number; completed: number; stock: number }>`
    SELECT
      (SELECT COUNT(*) FROM shop_payment WHERE order_id IN (${sql.join(orders)})) AS payments,
      (SELECT COUNT(*) FROM shop_order WHERE status = 'COMPLETED' AND order_id IN (${sql.join(orders)})) AS completed,
      (SELECT 1000000 - stock FROM shop_product WHERE product_id = ${mug}) AS stock`.execute(db);
    const events = (await outboxRecords(db)).filter(({ topic }) => topic === 'order-completed').length;
    const n = orders.length;
    t.deepEqual(
      [...Object.values(rows[0]!).map(Number), events],
      [n, n, n, n],
      'payments, completed orders, events and stock taken are not equal',
    );
  },
);

test.serial('a transaction takes as many statements for many payments as for one', async (t) => {
  const mug = await (await serve(t)).product(1_000);
  let statements = 0;
  const counting = openDatabase<OrderTables>({ settings, connections: 1 });
  t.teardown(() => counting.destroy());
  const watched = counting.withPlugin({
    transformQuery: ({ node }) => {
      statements += 1;
      return node;
    },
    transformResult: async ({ result }) => result,
  });
  const payAll = async (count: number): Promise<number> => {
    const placed = await placeOrders(
      watched,
      Array.from({ length: count }, (_, i) => ({ user: `u_${i}`, items: [{ productId: mug, quantity: 1 }] })),
      Date.now(),
      3_600_000,
    );
    statements = 0;
    const answers = await payOrders(
      paymentStore(async () => watched),
      placed.map((one, i) => ({
        orderId: one.ok ? one.order.orderId : '',
        idempotencyKey: newKey(),
        requestHash: String(i),
        amount: { amountMinor: 1_000, currency: 'KRW' },
        paymentId: `pay-${newKey()}`,
        method: 'card',
        cardLast4: undefined,
        traceparent: undefined,
      })),
      Date.now(),
    );
    t.true(answers.every(({ ok }) => ok));
    return statements;
  };
  t.is(await payAll(1), await payAll(100));
});

test.serial('a customer orders for himself, and neither sees nor pays the order of another', async (t) => {
  const { call, product } = await serve(t);
  const productId = await product(10);
  const as = async (role: 'customer' | 'merchant', subject: string) => ({
    authorization: `Bearer ${await tokenOf(role, subject)}`,
  });
  const mine = await as('customer', 'u1');
  const items = [{ productId, quantity: 1 }];
  const placed = await call('POST', '/orders', { items }, mine);
  t.is(placed.status, 201);
  t.is((await call('POST', '/orders', { userId: 'u1', items }, mine)).status, 201);
  const forOther = await call('POST', '/orders', { userId: 'u2', items }, mine);
  t.is(forOther.status, 403);
  t.is(forOther.code, 'MUSTER_FORBIDDEN');

  const path = `/orders/${placed.json.orderId}`;
  t.is((await call('GET', path, undefined, mine)).status, 200);
  t.is((await call('GET', path)).status, 200);
  const other = await as('customer', 'u2');
  const payment = { paymentInfo: { method: 'card', amount: { amountMinor: 1_000, currency: 'KRW' } } };
  t.is((await call('GET', path, undefined, other)).code, 'MUSTER_ORDER_UNKNOWN');
  t.is(
    (await call('POST', `${path}/pay`, payment, { ...other, 'idempotency-key': 'k' })).code,
    'MUSTER_ORDER_UNKNOWN',
  );
  t.is((await call('POST', `${path}/pay`, payment, { ...mine, 'idempotency-key': 'k' })).status, 200);
  t.is((await call('GET', path, undefined, await as('merchant', 'm1'))).status, 403);
  t.is((await call('POST', '/products', {}, mine)).status, 403);
  t.is((await call('GET', path, undefined, { authorization: '' })).status, 401);
});
