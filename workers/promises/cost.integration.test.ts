/** What the checks cost the database, counted and not timed: statements a second, and rows read of large tables. */
import { join } from 'node:path';
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { type PromiseName, promises } from '../../catalog/promises.ts';
import { bankingChecks } from '../banking/promises.ts';
import { couponChecks } from '../coupon/promises.ts';
import { deliveryChecks } from '../delivery/promises.ts';
import { loggingChecks } from '../logging/promises.ts';
import { membershipChecks } from '../membership/promises.ts';
import { moneyChecks } from '../money/promises.ts';
import { orderChecks } from '../order/promises.ts';
import { outsideChecks } from '../outside/promises.ts';
import { paymentChecks } from '../payment/promises.ts';
import type { Check, CheckDeps } from '../platform/checks.ts';
import { platformChecks } from '../platform/promises.ts';
import { promotionChecks } from '../promotion/promises.ts';
import { remittanceChecks } from '../remittance/promises.ts';
import { settlementChecks } from '../settlement/promises.ts';
import { rowsLookedAt, scratchDatabase } from '../store/database.fixture.ts';
import { migrate } from '../store/migrate.ts';

const all = {
  ...platformChecks,
  ...couponChecks,
  ...orderChecks,
  ...outsideChecks,
  ...promotionChecks,
  ...moneyChecks,
  ...loggingChecks,
  ...membershipChecks,
  ...bankingChecks,
  ...remittanceChecks,
  ...paymentChecks,
  ...settlementChecks,
  ...deliveryChecks,
};
/** They go through all rows by and by, so many at a time; the others ask for what is wrong and nothing else. */
const sweeping: readonly PromiseName[] = [
  'coupon-success-held',
  'orders-paid-once',
  'orders-told',
  // Reads all accounts, 20,000 here: once in half a minute.
  'ledger-sums-to-zero',
  'ledger-entries-linked',
  'ledger-accounts-true',
  'members-have-accounts',
];
const most = { sweeping: 60_000, others: 3_000 };

/** Topics and Redis without anything in them: what the checks ask of the database does not hang on that. */
const empty = {
  kafka: {
    admin: { ends: async () => new Map(), offsets: async () => [], offsetsAt: async () => new Map() },
    async *read() {},
  },
  redis: async () => ({
    set: async () => 'OK',
    zScan: async () => ({ cursor: '0', members: [] }),
    zmScore: async (_: string, ids: readonly string[]) => ids.map(() => 0),
  }),
};

function checksOf(db: () => Kysely<unknown>): ReadonlyMap<PromiseName, Check> {
  const deps = {
    ...empty,
    database: async () => db(),
    pseudonymKey: Buffer.alloc(32, 1),
    payWithinMs: 1_800_000,
  } as unknown as CheckDeps;
  return new Map(promises.map((promise) => [promise.name, all[promise.name](deps, promise)]));
}

/** 40,000 requests, payments and events, decided and of long ago, and as many coupons and products as a shop has. */
async function fill(db: Kysely<unknown>): Promise<void> {
  const long = sql`UTC_TIMESTAMP(3) - INTERVAL 5 DAY`;
  await sql`
    INSERT INTO coupon (coupon_id, name, stock, issued, created_at)
    SELECT CONCAT('c-', seq), 'c', 10, 0, ${long} FROM seq_1_to_2000`.execute(db);
  await sql`
    INSERT INTO coupon_request (request_id, coupon_id, user_id, status, reason, requested_at, decided_at)
    SELECT UNHEX(LPAD(HEX(seq), 32, '0')), 'c-1', seq, 'FAILED', 'OUT_OF_STOCK', ${long}, ${long}
    FROM seq_1_to_40000`.execute(db);
  await sql`
    INSERT INTO shop_product (product_id, name, amount_minor, currency, stock, stocked, version, created_at)
    SELECT CONCAT('p-', seq), 'p', 10, 'KRW', 5, 5, 1, ${long} FROM seq_1_to_2000`.execute(db);
  await sql`
    INSERT INTO shop_order (order_id, user, status, order_lines, amount_minor, currency, created_at, settled_at)
    SELECT CONCAT('0-', LPAD(seq, 8, '0')), 'u', 'COMPLETED', '[{"productId":"old","quantity":1}]', 10, 'KRW', ${long}, ${long}
    FROM seq_1_to_40000`.execute(db);
  await sql`
    INSERT INTO shop_payment (payment_id, order_id, user, amount_minor, currency, method, paid_at)
    SELECT CONCAT('0-', LPAD(seq, 8, '0')), CONCAT('0-', LPAD(seq, 8, '0')), 'u', 10, 'KRW', 'card', ${long} + INTERVAL seq SECOND
    FROM seq_1_to_40000`.execute(db);
  await sql`
    INSERT INTO muster_event (event_id, type, subject, body, body_hash, state, published_at)
    SELECT CONCAT('0-', LPAD(seq, 8, '0')), 'PaymentCompleted', 'o', '{}', REPEAT('h', 32), 'COMPLETED', ${long}
    FROM seq_1_to_40000`.execute(db);
  // Timers that are not due for long.
  await sql`
    INSERT INTO muster_outbox_due (due_at, take_at, records, created_at)
    SELECT t, t, '[]', UTC_TIMESTAMP(3) FROM (SELECT UTC_TIMESTAMP(3) + INTERVAL 20 MINUTE AS t) AS due
    JOIN seq_1_to_40000`.execute(db);
  await sql`
    INSERT INTO ledger_account
      (account_id, currency, state, may_overdraw, balance_minor, held_minor, version, opened_at)
    SELECT CONCAT('m-', seq), 'KRW', 'OPEN', FALSE, 0, 0, 0, ${long} FROM seq_1_to_20000`.execute(db);
  await sql`
    INSERT INTO member (member_id, pseudonym, type, state, name, address, district, version, told_at, created_at)
    SELECT CONCAT('0-', LPAD(seq, 8, '0')), CONCAT('u_', seq), 'PERSON', 'CLOSED', 'm', 'a', 'd', 1, ${long}, ${long}
    FROM seq_1_to_40000`.execute(db);
  for (const table of [
    'ledger_account',
    'member',
    'coupon',
    'coupon_request',
    'shop_order',
    'shop_payment',
    'muster_event',
    'muster_outbox_due',
  ])
    await sql`ANALYZE TABLE ${sql.table(table)}`.execute(db);
}

test('no check reads a whole table, and together they make few statements a second', async (t) => {
  t.timeout(180_000);
  const { db, settings, drop } = await scratchDatabase('promise_cost');
  try {
    // The tables of my-pay beside the shop's: what is counted here is one connection.
    for (const name of ['money', 'membership', 'banking', 'remittance', 'payment', 'settlement', 'delivery'])
      await migrate(settings, () => {}, {
        folders: join(import.meta.dirname, `../${name}/${name}-migrations`),
      });
    await fill(db);
    let statements = 0;
    const perSecond = await db.connection().execute(async (connection) => {
      const counting = connection.withPlugin({
        transformQuery: ({ node }) => {
          statements += 1;
          return node;
        },
        transformResult: async ({ result }) => result,
      });
      const read = () => rowsLookedAt(connection);
      const checks = checksOf(() => counting);
      // Sums are added up once, from the beginning.
      for (const name of ['stock-conserved', 'ranking-is-sum'] as const) await checks.get(name)!();
      let sum = 0;
      for (const promise of promises) {
        // It asks the log store.
        if (promise.capability === 'logging') continue;
        const before = await read();
        statements = 0;
        t.like(await checks.get(promise.name)!(), { broken: 0 }, promise.name);
        const rows = (await read()) - before;
        const limit = sweeping.includes(promise.name) ? most.sweeping : most.others;
        t.true(rows < limit, `${promise.name}: ${rows} rows read`);
        t.true(statements > 0 || promise.name === 'purchases-answered', promise.name);
        t.log(promise.name, { statements, rows });
        sum += (statements * 1_000) / promise.periodMs;
      }
      return sum;
    });
    t.log('statements a second', perSecond);
    t.true(perSecond <= 20, `${perSecond} statements a second`);
  } finally {
    await drop();
  }
});
