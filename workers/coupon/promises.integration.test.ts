/** The promises of coupons: they hold while the store is busy, and each breach made by hand is told by its id, and by no other. */
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { bytesOfUuid, uuidV7 } from '../base/ids.ts';
import { createTopics, testKafka, uniqueName } from '../kafka/testing.ts';
import { brokenNow, checksFrom } from '../platform/checks.fixture.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { couponChecks, outcomesTold } from './promises.ts';
import { acceptRequests, decideRequests, type NewRequest } from './requests.ts';
import { createCoupon, requestStore } from './store.ts';

test.beforeEach((t) => t.timeout(180_000));

const inDatabase = ['coupon-requests-decided', 'coupon-stock-kept', 'coupon-success-held'] as const;

const checksOf = (db: Kysely<unknown>) => checksFrom(couponChecks, inDatabase, { database: async () => db });

/** Asks for coupons, a user each, `agoMs` ago; decides all but `undecided` of them. */
async function ask(
  db: Kysely<unknown>,
  couponId: string,
  count: number,
  { agoMs = 120_000, undecided = 0 } = {},
): Promise<readonly string[]> {
  const store = requestStore(async () => db);
  const requests = Array.from({ length: count }, (): NewRequest => {
    const requestId = uuidV7(Date.now() - agoMs);
    return { requestId, userId: `u-${requestId}`, couponId, traceparent: undefined };
  });
  await acceptRequests(store, requests, [{ topic: 'requests', key: null, value: 'x' }]);
  const decided = requests.slice(undecided);
  if (decided.length > 0)
    await decideRequests(store, decided, () => ({ topic: 'none', key: null, value: '' }));
  await sql`
    UPDATE coupon_request SET requested_at = UTC_TIMESTAMP(3) - INTERVAL ${agoMs * 1_000} MICROSECOND
    WHERE request_id IN (${sql.join(requests.map(({ requestId }) => bytesOfUuid(requestId)))})`.execute(db);
  // Decided as long ago as it was asked for.
  await sql`
    UPDATE coupon_history SET coupon_history_id = request_id
    WHERE request_id IN (${sql.join(requests.map(({ requestId }) => bytesOfUuid(requestId)))})`.execute(db);
  return requests.map(({ requestId }) => requestId);
}

test('each breach is told by its own promise with its id; mended, it is over', async (t) => {
  const { db, drop } = await scratchDatabase('promise_coupon');
  try {
    const couponId = await createCoupon(db, { name: 'c', stock: 30 });
    const others = await createCoupon(db, { name: 'other', stock: 1_000 });
    await ask(db, others, 300);
    const [asked, ...rest] = await ask(db, couponId, 40);
    const checks = checksOf(db);
    t.deepEqual(await brokenNow(checks), {});

    // Accepted, and its record is lost: nobody decides it.
    const [forgotten] = await ask(db, couponId, 1, { undecided: 1 });
    t.deepEqual(await brokenNow(checks), { 'coupon-requests-decided': [forgotten] });
    await decideRequests(
      requestStore(async () => db),
      [{ requestId: forgotten!, userId: `u-${forgotten}`, couponId, traceparent: undefined }],
      () => ({ topic: 'none', key: null, value: '' }),
    );
    t.deepEqual(await brokenNow(checks), {});

    // One younger than the limit is no breach.
    await ask(db, couponId, 1, { agoMs: 30_000, undecided: 1 });
    t.deepEqual(await brokenNow(checks), {});

    await sql`UPDATE coupon SET issued = issued + 1 WHERE coupon_id = ${couponId}`.execute(db);
    t.deepEqual(await brokenNow(checks), { 'coupon-stock-kept': [couponId] });
    await sql`UPDATE coupon SET issued = issued - 1 WHERE coupon_id = ${couponId}`.execute(db);
    t.deepEqual(await brokenNow(checks), {});

    await sql`UPDATE coupon SET stock = issued - 1 WHERE coupon_id = ${couponId}`.execute(db);
    t.deepEqual(await brokenNow(checks), { 'coupon-stock-kept': [couponId] });
    await sql`UPDATE coupon SET stock = 30 WHERE coupon_id = ${couponId}`.execute(db);

    // Somebody who was told SUCCESS has no coupon.
    await sql`DELETE FROM coupon_history WHERE request_id = ${bytesOfUuid(asked!)}`.execute(db);
    t.deepEqual(await brokenNow(checks), { 'coupon-stock-kept': [couponId], 'coupon-success-held': [asked] });
    await sql`UPDATE coupon SET issued = issued - 1 WHERE coupon_id = ${couponId}`.execute(db);
    await sql`
      UPDATE coupon_request SET reason = 'OUT_OF_STOCK', status = 'FAILED'
      WHERE request_id = ${bytesOfUuid(asked!)}`.execute(db);
    t.deepEqual(await brokenNow(checks), {});

    // Somebody who was told that there is none left holds one.
    await sql`
      UPDATE coupon_request SET reason = 'OUT_OF_STOCK', status = 'FAILED'
      WHERE request_id = ${bytesOfUuid(rest[0]!)}`.execute(db);
    t.deepEqual(await brokenNow(checks), { 'coupon-success-held': [`coupon_history ${rest[0]}`] });
  } finally {
    await drop();
  }
});

test('what was changed long ago is found by the end of a round, also by a check that has just begun', async (t) => {
  const { db, drop } = await scratchDatabase('promise_coupon_old');
  try {
    const couponId = await createCoupon(db, { name: 'c', stock: 10_000 });
    const [old] = await ask(db, couponId, 5, { agoMs: 40 * 86_400_000 });
    for (let n = 0; n < 10; n++) await ask(db, couponId, 500, { agoMs: 86_400_000 });
    await sql`DELETE FROM coupon_history WHERE request_id = ${bytesOfUuid(old!)}`.execute(db);
    t.deepEqual(await brokenNow(checksOf(db)), {
      'coupon-stock-kept': [couponId],
      'coupon-success-held': [old],
    });
    // Its request went by retention, its history stays.
    await sql`DELETE FROM coupon_history WHERE issued_at IS NOT NULL`.execute(db);
    await sql`DELETE FROM coupon_request WHERE request_id IS NOT NULL`.execute(db);
    await sql`UPDATE coupon SET issued = 1 WHERE coupon_id = ${couponId}`.execute(db);
    await sql`
      INSERT INTO coupon_history (coupon_history_id, coupon_id, user_id, request_id, issued_at)
      VALUES (${bytesOfUuid(uuidV7(Date.now() - 91 * 86_400_000))}, ${couponId}, 'u', ${bytesOfUuid(old!)},
        UTC_TIMESTAMP(3) - INTERVAL 91 DAY)`.execute(db);
    t.deepEqual(await brokenNow(checksOf(db)), {});
  } finally {
    await drop();
  }
});

test('they hold while requests come, are decided and acknowledged all the time', async (t) => {
  const { db, drop } = await scratchDatabase('promise_coupon_busy');
  try {
    const coupons = [
      await createCoupon(db, { name: 'a', stock: 500 }),
      await createCoupon(db, { name: 'b', stock: 100_000 }),
    ];
    let going = true;
    const busy = Promise.all(
      coupons.map(async (couponId, index) => {
        while (going) await ask(db, couponId, 50, { agoMs: index * 100_000 });
      }),
    );
    const checks = checksOf(db);
    for (let n = 0; n < 15; n++) t.deepEqual(await brokenNow(checks), {});
    going = false;
    await busy;
    t.deepEqual(await brokenNow(checks), {});
  } finally {
    await drop();
  }
});

test('a decision whose result is on no topic is told by its request', async (t) => {
  const { db, drop } = await scratchDatabase('promise_coupon_told');
  const topic = uniqueName('promise-results');
  const { remove } = await createTopics([{ name: topic, partitions: 3 }]);
  const kafka = testKafka();
  try {
    const couponId = await createCoupon(db, { name: 'c', stock: 100 });
    const producer = await kafka.producer('test');
    const tell = (ids: readonly string[]) =>
      producer.send(ids.map((id) => ({ topic, key: id, value: '{}', headers: { ce_id: id } })));
    const check = outcomesTold({ database: async () => db, kafka }, 8_000, [topic]);
    const first = await ask(db, couponId, 20, { agoMs: 9_000 });
    await ask(db, couponId, 1, { agoMs: 9_000, undecided: 1 });
    await tell(first.slice(1));
    t.like(await check(), { broken: 1, ids: [first[0]] });
    // Told late.
    await tell(first.slice(0, 1));
    t.like(await check(), { broken: 0 });
  } finally {
    await kafka.close();
    await remove();
    await drop();
  }
});
