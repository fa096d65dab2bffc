/** The audit of a day on a real MySQL or MariaDB (MYSQL_*). */
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { daysOf } from '../base/days.ts';
import { uuidV7 } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { callerOf, operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { rowsRead, scratchDatabase } from '../store/database.fixture.ts';
import { setAccount } from './accounts.ts';
import { auditOf, auditRules } from './audit.ts';
import { registerBooksRoutes } from './books-routes.ts';
import { houseAccounts } from './house.ts';
import type { Operation } from './ledger.ts';
import { bookAll } from './postings.ts';
import { ledgerStore } from './store.ts';

const house = houseAccounts(5);
const limit = 10_000;
const day = '2026-03-05';
const { fromMs, toMs } = daysOf('Asia/Seoul').rangeOf(day)!;
const hour = 3_600_000;
let db: Kysely<unknown>;
let drop: (() => Promise<void>) | undefined;
let run = 0;

test.before(async () => {
  ({ db, drop } = await scratchDatabase('audit', 'money'));
});
test.after.always(() => drop?.());
test.beforeEach((t) => t.timeout(120_000));

async function bookAt(atMs: number, operation: Operation): Promise<string> {
  const call = { operation, once: { scope: 'money:test', key: `key-${++run}`, body: '' } };
  const [outcome] = await bookAll(
    ledgerStore(async () => db),
    [call],
    () => atMs,
  );
  if (!outcome!.ok) throw new Error(outcome!.refusal.code);
  return outcome!.id;
}

const send = (atMs: number, from: string, to: string, amountMinor: number, reason = 'transfer') =>
  bookAt(atMs, {
    kind: 'transfer',
    transferId: uuidV7(Date.now()),
    currency: 'KRW',
    legs: [{ from, to, amountMinor, reason }],
  });

/** A member who has so much from the day before. */
async function someone(amountMinor = 0): Promise<string> {
  const name = `u_${String(++run).padStart(22, '0')}`;
  await setAccount(db, name, { currency: 'KRW', state: 'OPEN' });
  if (amountMinor > 0) await send(fromMs - 1, house('bank', 'KRW'), name, amountMinor, 'recharge');
  return name;
}

async function found() {
  const { findings } = await auditOf(db, { fromMs, toMs }, limit);
  return (account: string) =>
    findings.filter((one) => one.account === account).map(({ rule, outMinor }) => `${rule} ${outMinor}`);
}

test.serial(
  'above the limit: what left on the day, over all of its hours, and on no other day',
  async (t) => {
    const [above, exactly, taken, paysFee, to] = [
      await someone(50_000),
      await someone(50_000),
      await someone(50_000),
      await someone(50_000),
      await someone(),
    ];
    await send(fromMs, above, to, 6_000);
    await send(toMs - 1, above, to, 4_001);
    await send(fromMs - 1, exactly, to, 9_000);
    await send(fromMs + hour, exactly, to, 10_000);
    await send(toMs, exactly, to, 9_000);
    const corrects = await send(fromMs + hour, taken, to, 10_001);
    await bookAt(fromMs + 2 * hour, { kind: 'correct', transferId: uuidV7(Date.now()), corrects });
    await send(fromMs + hour, paysFee, house('bank', 'KRW'), 9_999, 'payout');
    await send(fromMs + hour, paysFee, house('fee', 'KRW'), 500, 'fee');
    const of = await found();
    t.deepEqual(of(above), ['ABOVE_DAILY_LIMIT 10001']);
    t.deepEqual(of(exactly), []);
    t.deepEqual(of(taken), ['ABOVE_DAILY_LIMIT 10001'], 'it left, and it coming back is no income');
    t.deepEqual(of(paysFee), [], 'a fee is no movement of theirs');
    t.deepEqual(of(house('bank', 'KRW')), []);
  },
);

test.serial('just below the limit, and in and out on one day', async (t) => {
  const [below, twice, under, through, keeps, to] = [
    await someone(50_000),
    await someone(50_000),
    await someone(50_000),
    await someone(),
    await someone(),
    await someone(),
  ];
  for (const n of [0, 1, 2]) await send(fromMs + n * hour, below, to, 3_000);
  for (const n of [0, 1]) await send(fromMs + n * hour, twice, to, 4_900);
  for (const n of [0, 1, 2]) await send(fromMs + n * hour, under, to, n === 0 ? 2_999 : 3_000);
  for (const [member, out] of [
    [through, 4_500],
    [keeps, 4_499],
  ] as const) {
    await send(fromMs + hour, house('bank', 'KRW'), member, 5_000, 'recharge');
    await send(fromMs + 5 * hour, member, to, out);
  }
  const of = await found();
  t.deepEqual(of(below), ['JUST_BELOW_LIMIT 9000']);
  t.deepEqual(of(twice), []);
  t.deepEqual(of(under), []);
  t.deepEqual(of(through), ['IN_AND_OUT 4500']);
  t.deepEqual(of(keeps), []);
});

test.serial('two dozen counterparties that are new; who was paid before is not, however often', async (t) => {
  const [sprays, knows, often] = [await someone(1_000), await someone(1_000), await someone(1_000)];
  const others: string[] = [];
  for (let n = 0; n < 24; n++) others.push(await someone());
  await send(fromMs - hour, knows, others[7]!, 1);
  for (const [index, other] of others.entries()) {
    for (const member of [sprays, knows]) await send(fromMs + (index % 3) * hour, member, other, 1);
    await send(fromMs, often, others[0]!, 1);
    await send(fromMs, often, house('bank', 'KRW'), 1, 'payout');
  }
  const of = await found();
  t.deepEqual(of(sprays), ['NEW_COUNTERPARTIES 24']);
  t.deepEqual(of(knows), []);
  t.deepEqual(of(often), []);
});

test.serial('it reads the day and not the rest of the books', async (t) => {
  const [a, b] = [await someone(1_000), await someone()];
  const before = await rowsRead(db, (connection) => auditOf(connection, { fromMs, toMs }, limit));
  for (let n = 0; n < 100; n++) await send(toMs + n * hour, a, b, 1);
  const after = await rowsRead(db, (connection) => auditOf(connection, { fromMs, toMs }, limit));
  t.true(after <= before + 10, `${before} rows, then ${after}`);
});

test.serial(
  'an operator asks; the answer names rules, limit and pseudonyms; nothing is left in the database',
  async (t) => {
    const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
    registerBooksRoutes(http.app as never, {
      database: async () => db,
      timeZone: 'Asia/Seoul',
      dailyLimitMinor: limit,
      clock: () => toMs + hour,
    });
    await http.open();
    t.teardown(() => http.close(100));
    const as = callerOf(http, '/pay/money/audit');
    const [one, other] = await Promise.all([
      as(operatorToken)('GET', `?date=${day}`),
      as(operatorToken)('GET', `?date=${day}`),
    ]);
    t.deepEqual([one.status, other.status].toSorted(), [200, 503], 'one at a time');
    for (let again = 0; again < 3; again++) {
      const { status, json } = await as(operatorToken)('GET', `?date=${day}`);
      t.is(status, 200);
      t.like(json, { date: day, until: new Date(toMs).toISOString(), more: false });
      t.deepEqual(json.dailyLimit, { amountMinor: limit, currency: 'KRW' });
      t.deepEqual(
        json.rules.map(({ rule }: { rule: string }) => rule),
        auditRules.map(({ name }) => name),
      );
      for (const { account } of json.findings) t.regex(account, /^u_/);
    }
    t.is((await as(operatorToken)('GET', '?date=2026-02-30')).status, 422);
    for (const role of ['customer', 'merchant', 'service'] as const)
      t.is((await as(await tokenOf(role, 'x'))('GET', `?date=${day}`)).status, 403);
    await db.connection().execute(async (connection) => {
      await t.throwsAsync(sql`SELECT 1 FROM audit_day`.execute(connection));
    });
  },
);
