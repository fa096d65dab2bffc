/** The judges' own statements against a database as the platform's migrations make it. */
import { randomUUID } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { sql } from 'kysely';
import { createClient } from 'redis';
import { scratchDatabase } from '../../workers/store/database.fixture.ts';
import { type CouponRush, checkCoupons } from './coupons.ts';
import { openStores } from './stores.ts';
import { NotChecked } from './verdict.ts';

/** Not the platform's own: it is in use. */
const rankingKey = `test:checker:ranking:${process.pid}`;
const env = (name: string) => process.env[name] ?? '';

async function stage(t: ExecutionContext, name: string) {
  const scratch = await scratchDatabase(name);
  const { settings, db } = scratch;
  const variables = {
    ...Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, String(value)])),
    REDIS_HOST: env('REDIS_HOST'),
    REDIS_PORT: env('REDIS_PORT'),
    REDIS_PASSWORD: env('REDIS_PASSWORD'),
  };
  const stores = openStores(variables, rankingKey);
  t.teardown(async () => {
    await stores.close();
    await scratch.drop();
  });
  return { db, stores, variables };
}

const bytes = (id: string) => Buffer.from(id.replaceAll('-', ''), 'hex');

test.serial('a coupon’s rows are told, and a bug in each of them is named by its request', async (t) => {
  const { db, stores } = await stage(t, 'checker_coupon');
  const [won, refused, held] = [randomUUID(), randomUUID(), randomUUID()];
  await sql`INSERT INTO coupon (coupon_id, name, stock, issued, created_at) VALUES ('c1', 'c', 1, 1, NOW(3))`.execute(
    db,
  );
  await sql`INSERT INTO coupon_request (request_id, coupon_id, user_id, status, reason, requested_at) VALUES
    (${bytes(won)}, 'c1', 'anna', 'NOTIFIED', NULL, NOW(3)),
    (${bytes(refused)}, 'c1', 'ben', 'FAILED', 'OUT_OF_STOCK', NOW(3)),
    (${bytes(randomUUID())}, 'c2', 'ben', 'PENDING', NULL, NOW(3))`.execute(db);
  await sql`INSERT INTO coupon_history (coupon_history_id, coupon_id, user_id, request_id, issued_at)
    VALUES (${bytes(held)}, 'c1', 'anna', ${bytes(won)}, NOW(3))`.execute(db);
  await sql`INSERT INTO muster_event (event_id, type, subject, body, body_hash, state, published_at)
    VALUES (${held}, 'CouponIssued', 'c1', '{}', ${Buffer.alloc(32)}, 'COMPLETED', NOW(3))`.execute(db);
  const hex = (name: string) => Buffer.from(name).toString('hex').toUpperCase();
  t.deepEqual(await stores.coupon('c1'), {
    stock: 1,
    issued: 1,
    requests: [
      { id: won, user: hex('anna'), status: 'NOTIFIED', reason: null },
      { id: refused, user: hex('ben'), status: 'FAILED', reason: 'OUT_OF_STOCK' },
    ].sort((a, b) => (a.id < b.id ? -1 : 1)),
    held: [{ id: held, requestId: won, user: hex('anna') }],
    unpublished: [],
    told: new Map([[held, 'COMPLETED']]),
  });

  const told: CouponRush = {
    couponId: 'c1',
    stock: 1,
    issued: 1,
    requestIds: [won, refused],
    outcomeOf: new Map([
      [won, 'SUCCESS'],
      [refused, 'OUT_OF_STOCK'],
    ]),
    failed: 0,
    notAcknowledged: 0,
    usersTwice: 0,
  };
  const result = (requestId: string, offset: number, outcome: string) => ({
    topic: 'coupon-results',
    partition: 0,
    offset,
    key: null,
    value: Buffer.from(
      JSON.stringify({ requestId, couponId: 'c1', outcome, decidedAt: '', user: requestId }),
    ),
    headers: {},
  });
  const named = async () =>
    checkCoupons(
      { told, store: await stores.coupon('c1'), personal: [] },
      {
        requests: [],
        results: [result(won, 0, 'SUCCESS'), result(refused, 1, 'OUT_OF_STOCK')],
        deadLetters: [],
        commits: [],
      },
    ).findings.map(({ kind, id }) => `${kind} ${id}`);
  t.deepEqual(await named(), []);

  await sql`INSERT INTO muster_outbox_due (due_at, take_at, records, created_at)
    VALUES (NULL, NOW(3), ${JSON.stringify([['coupon-requests', 'k', JSON.stringify({ requestId: won }), {}]])}, NOW(3))`.execute(
    db,
  );
  t.deepEqual(await named(), [`untold ${won}`]);
  await sql`DELETE FROM muster_outbox_due`.execute(db);

  await sql`UPDATE coupon SET issued = 2`.execute(db);
  t.deepEqual(await named(), ['wrong c1', 'over-issued c1', 'ledger c1']);
  await sql`UPDATE coupon SET issued = 1`.execute(db);

  await sql`UPDATE coupon_request SET status = 'PENDING', reason = NULL WHERE user_id = 'ben'`.execute(db);
  t.deepEqual(await named(), [`wrong ${refused}`, `lost ${refused}`, `wrong ${refused}`]);
  await sql`UPDATE coupon_request SET status = 'FAILED', reason = 'OUT_OF_STOCK' WHERE user_id = 'ben'`.execute(
    db,
  );

  await sql`DELETE FROM coupon_history`.execute(db);
  t.deepEqual(await named(), ['ledger c1', `ledger ${won}`]);
});

test.serial('rows of orders since a moment are told, what is left to publish, and the ranking', async (t) => {
  const { db, stores, variables } = await stage(t, 'checker_orders');
  const productId = randomUUID();
  const since = await stores.now();
  await sql`INSERT INTO shop_product (product_id, name, amount_minor, currency, stock, version, created_at)
    VALUES (${productId}, 'p', 500, 'KRW', 98, 1, NOW(3))`.execute(db);
  const order = (id: string, minutes: number) => sql`
    INSERT INTO shop_order (order_id, user, status, order_lines, amount_minor, currency, created_at)
    VALUES (${id}, 'u_1', 'COMPLETED', ${JSON.stringify([{ productId, quantity: 2 }])}, 1000, 'KRW',
      UTC_TIMESTAMP(3) + INTERVAL ${minutes} MINUTE)`;
  await order('old', -10).execute(db);
  await order('o1', 0).execute(db);
  await sql`INSERT INTO shop_payment (payment_id, order_id, user, amount_minor, currency, method, paid_at)
    VALUES ('pay-o1', 'o1', 'u_1', 1000, 'KRW', 'card', UTC_TIMESTAMP(3))`.execute(db);
  await sql`INSERT INTO muster_event (event_id, type, subject, body, body_hash, state, published_at)
    VALUES ('pay-o1', 'PaymentCompleted', 'o1', '{}', ${Buffer.alloc(32)}, 'FAILED', UTC_TIMESTAMP(3))`.execute(
    db,
  );
  await sql`INSERT INTO muster_outbox (shard, topic, record_key, value, headers, created_at)
    VALUES (0, 'order-completed', 'k', '{"orderId":"o1"}', '{}', NOW(3))`.execute(db);
  const timer = (records: string | Buffer, seconds: number) => sql`
    INSERT INTO muster_outbox_due (due_at, take_at, records, created_at) VALUES
    (UTC_TIMESTAMP(3) + INTERVAL ${seconds} SECOND, UTC_TIMESTAMP(3) + INTERVAL ${seconds} SECOND, ${records}, NOW(3))`;
  await timer('overdue', -60).execute(db);
  await timer(deflateSync('["deflated"]'), -60).execute(db);
  await timer('not due', 60).execute(db);
  const redis = createClient({
    socket: { host: variables.REDIS_HOST, port: Number(variables.REDIS_PORT) },
    password: variables.REDIS_PASSWORD,
  });
  await redis.connect();
  t.teardown(async () => {
    await redis.del(rankingKey);
    redis.destroy();
  });
  await redis.zAdd(rankingKey, { value: productId, score: 2 });
  t.deepEqual(await stores.orders(since, [productId, 'unknown']), {
    orders: [{ id: 'o1', status: 'COMPLETED', amountMinor: 1000, items: [{ productId, quantity: 2 }] }],
    payments: [{ id: 'pay-o1', orderId: 'o1', amountMinor: 1000 }],
    stock: new Map([[productId, 98]]),
    overdue: [],
    events: [{ id: 'pay-o1', orderId: 'o1', state: 'FAILED' }],
    unpublished: ['{"orderId":"o1"}', 'overdue', '["deflated"]'],
    ranked: new Map([
      [productId, 2],
      ['unknown', 0],
    ]),
  });
});

test.serial('a store that is not there was not checked', async (t) => {
  const { stores, variables } = await stage(t, 'checker_away');
  await t.throwsAsync(stores.coupon('nobody'), { instanceOf: NotChecked });
  const away = openStores({ ...variables, MYSQL_PORT: '1', REDIS_PORT: '1' });
  t.teardown(() => away.close());
  await t.throwsAsync(away.now(), { instanceOf: NotChecked, message: /MySQL/ });
  const noRedis = openStores({ ...variables, REDIS_PORT: '1' });
  t.teardown(() => noRedis.close());
  await t.throwsAsync(noRedis.orders('2026-01-01', ['p']), { instanceOf: NotChecked, message: /Redis/ });
});
