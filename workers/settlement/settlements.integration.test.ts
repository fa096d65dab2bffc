/** Settlement through the real money, banking and a bank of its own, on a real MySQL or MariaDB (MYSQL_*). */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import type { PaymentEvent } from '../../catalog/events/payment.ts';
import { daysOf } from '../base/days.ts';
import { uuidV7 } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { eventually, testLog } from '../kafka/testing.ts';
import { audit } from '../money/books.fixture.ts';
import { bookAll } from '../money/postings.ts';
import { ledgerStore } from '../money/store.ts';
import { eventsOf, openWorld, pseudonymKey, startPay, type World, won } from '../pay.fixture.ts';
import { cuttingRelay } from '../store/database.fixture.ts';
import { databaseOf, openDatabase } from '../store/database.ts';
import { readPayoutEnd } from './events.ts';
import { lineStore } from './lines.ts';
import { registerSettlementRoutes } from './routes.ts';
import { graceMs, runStore } from './runs.ts';
import { callsOf } from './services.ts';
import { afterMidnightMs } from './settlement.ts';
import { slipStore } from './slips.ts';
import { carryOut } from './work.ts';

let world: World;

test.before(async () => {
  world = await openWorld('settlements');
});
test.after.always(() => world?.end());

const rate = 300;
const { nextDayMs } = daysOf('Asia/Seoul');
const dayMs = 86_400_000;

/** What our accounts of a kind have together. */
async function houseOf(db: Kysely<unknown>, house: string): Promise<number> {
  const { rows } = await sql<{ sum: number | null }>`
    SELECT SUM(balance_minor) AS sum FROM ledger_account WHERE account_id LIKE ${`house:${house}:%`}`.execute(
    db,
  );
  return Number(rows[0]!.sum ?? 0);
}

/** Settlement, a customer who pays, and as many merchants as a test likes. */
async function setUp(t: ExecutionContext) {
  const pay = await startPay(t, world);
  const { way, clock, db } = pay;
  const database = async () => world.of('settlement');
  const slips = slipStore({ database, clock });
  const runs = runStore({ database, nextDayMs, clock });
  const lines = lineStore({ database, nextDayMs, clock });
  await slips.setDefaultRate(rate);
  await runs.closeDue();
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
  registerSettlementRoutes(http.app as never, { slips, runs, lines, pseudonymKey, onAccepted() {} });
  // The events are made here, so payment knows of none of them: it is as the test says.
  const owed = { refunded: false, asked: [] as object[] };
  http.app.post('/pay/payments/settlements', { config: { callers: ['service'] } }, async (request, reply) => {
    const { merchant, amount } = request.body as { merchant: string; amount: object };
    owed.asked.push(amount);
    const error = { code: 'MUSTER_REFUNDED_SINCE', message: 'some of it was given back since' };
    return owed.refunded ? reply.code(409).send({ error }) : { merchant };
  });
  await http.open();
  t.teardown(() => http.close(100));
  const as = pay.asker(http.address().port);
  const staff = as(operatorToken);
  const makeCall = callsOf({
    paymentUrl: `http://127.0.0.1:${http.address().port}`,
    moneyUrl: way.baseUrl,
    bankingUrl: way.baseUrl,
    token: pay.serviceToken,
    timeoutMs: 2_000,
    registry: pay.registry,
    stateOf: slips.stateOf,
    leftAloneMs: 100,
  });
  const common = { makeCall, leaseMs: 20_000, log: testLog, registry: pay.registry, everyMs: 20 };
  function work() {
    const working = carryOut({ ...common, runs, lines });
    t.teardown(working.stop);
    return working;
  }
  const customer = await pay.member('customer', { balanceMinor: 10_000_000 });

  /** A merchant with a bank account. */
  async function shop(state: 'ACTIVE' | 'SUSPENDED' | 'CLOSED' = 'ACTIVE') {
    const merchant = await pay.member('shop');
    let version = 0;
    const become = (next: 'ACTIVE' | 'SUSPENDED' | 'CLOSED') =>
      slips.follow([
        {
          member: merchant.account,
          type: 'MERCHANT',
          district: 'Gangnam-gu',
          state: next,
          version: ++version,
          changedAt: new Date().toISOString(),
        },
      ]);
    await become(state);
    const me = as(await tokenOf('merchant', merchant.memberId));
    const settled = async () => (await me('GET', '/settlements')).json.settlements;
    return { ...merchant, me, become, settled };
  }
  type Shop = Awaited<ReturnType<typeof shop>>;

  /** Moves the money at the ledger, as payment does, and is the event of it. */
  async function book(
    kind: 'PAID' | 'REFUNDED',
    { account }: Shop,
    amountMinor: number,
    more: Partial<PaymentEvent> = {},
  ): Promise<PaymentEvent> {
    const sides = [customer.account, 'house:merchants:KRW/7'];
    const [from, to] = kind === 'PAID' ? sides : sides.toReversed();
    const leg = { from: from!, to: to!, amountMinor, reason: kind.toLowerCase() };
    const eventId = uuidV7(Date.now());
    const operation = {
      kind: 'transfer',
      transferId: uuidV7(Date.now()),
      currency: 'KRW',
      legs: [leg],
    } as const;
    const [booked] = await bookAll(
      ledgerStore(async () => db),
      [{ operation, once: { scope: 'test', key: eventId, body: '' } }],
      Date.now,
    );
    t.true(booked!.ok);
    return {
      eventId,
      paymentId: uuidV7(Date.now()),
      merchantId: account,
      kind,
      amount: won(amountMinor),
      at: new Date(clock()).toISOString(),
      ...more,
    };
  }
  const start = async (key?: string) =>
    (await staff('POST', '/settlements', undefined, key)).json.runNo as number;
  const only = async (merchant: Shop) => (await merchant.settled())[0];
  const until = (merchant: Shop, wanted: object) =>
    pay.until(async () => (await only(merchant)) ?? {}, wanted, 200);
  const before = { merchants: await houseOf(db, 'merchants'), commission: await houseOf(db, 'commission') };
  /** What our accounts have gained since the test began. */
  const gained = async () => [
    (await houseOf(db, 'merchants')) - before.merchants,
    (await houseOf(db, 'commission')) - before.commission,
  ];
  /** Calls of the bank that were accepted for a merchant. */
  const payouts = async ({ account }: Shop) => {
    const { rows } = await sql<{ state: string; amount: number }>`
      SELECT state, amount_minor AS amount FROM firmbanking WHERE to_owner = ${account} ORDER BY firmbanking_id`.execute(
      world.of('banking'),
    );
    return rows.map(({ state, amount }) => `${state} ${amount}`);
  };
  return {
    ...pay,
    as,
    staff,
    payStaff: pay.staff,
    banks: world.banks,
    slips,
    runs,
    lines,
    work,
    common,
    owed,
    shop,
    book,
    start,
    only,
    until,
    gained,
    payouts,
    async tell() {
      for (const record of await eventsOf(world, 'banking', 'firmbanking-events'))
        await lines.told(readPayoutEnd(record), record.message);
    },
  };
}

test.serial(
  'paid less refunded less commission goes to the merchant, once, and the books say so',
  async (t) => {
    const { as, slips, shop, book, start, until, work, sendToBanks, gained, payouts, tell, staff, db } =
      await setUp(t);
    const [one, other] = [await shop(), await shop()];
    const events = [
      await book('PAID', one, 10_050),
      await book('PAID', one, 5_000),
      await book('PAID', other, 777),
    ];
    events.push(
      await book('REFUNDED', one, 50, { paymentId: events[0]!.paymentId, refundId: uuidV7(Date.now()) }),
    );
    await slips.take(events);
    await slips.take(events);
    const runNo = await start('by-hand');
    t.is(await start('by-hand'), runNo);
    work();
    sendToBanks();
    const done = await until(one, { state: 'DONE' });
    t.like(done, { runNo, paid: won(15_050), refunded: won(50), commission: won(450), net: won(14_550) });
    t.is(await one.atBank(), 14_550);
    await until(other, { state: 'DONE' });
    // 23.31: to the nearest.
    t.is(await other.atBank(), 777 - 23);
    t.deepEqual(await gained(), [0, 473]);
    await tell();
    t.deepEqual(await payouts(one), ['EXECUTED 14550']);
    t.is((await one.settled()).length, 1);
    t.like(await one.me('GET', `/settlements?merchantId=${encodeURIComponent(other.memberId)}`), {
      status: 403,
    });
    t.like(await one.me('POST', '/settlements'), { status: 403 });
    t.like(await as(await tokenOf('customer', one.memberId))('GET', '/settlements'), { status: 403 });
    const mine = await staff('GET', `/settlements?merchantId=${encodeURIComponent(one.memberId)}`);
    t.deepEqual(mine.json.settlements, [done]);
    const { runs } = (await staff('GET', '/settlements/runs?limit=1')).json;
    t.like(runs[0], {
      runNo,
      settlements: [{ state: 'DONE', count: 2, net: won(14_550 + 754), commission: won(473) }],
    });
    t.notRegex(JSON.stringify([mine.json, runs]), /shop|example/);
    t.deepEqual(await audit(db), []);
  },
);

test.serial('started many times at once it is one run; nothing is settled twice', async (t) => {
  const { slips, shop, book, staff, until, work, sendToBanks, payouts, start } = await setUp(t);
  const one = await shop();
  await slips.take([await book('PAID', one, 1_000)]);
  const answers = await Promise.all(Array.from({ length: 10 }, () => staff('POST', '/settlements')));
  t.deepEqual(
    answers.map(({ status }) => status),
    Array(10).fill(202),
  );
  const runNos = new Set(answers.map(({ json }) => json.runNo as number));
  t.is(runNos.size, 1);
  work();
  sendToBanks();
  await until(one, { state: 'DONE' });
  t.true(runNos.has(await start()), 'nothing has come since');
  t.deepEqual(await payouts(one), ['EXECUTED 970']);
});

test.serial(
  'once a day by itself; a slip that comes late is settled in the next period, and in no other',
  async (t) => {
    const { slips, runs, shop, book, until, work, sendToBanks, payouts, clock, jump, only, staff } =
      await setUp(t);
    const one = await shop();
    const late = await book('PAID', one, 5_000);
    await slips.take([await book('PAID', one, 1_000)]);
    const midnight = nextDayMs(clock());
    jump(midnight - clock());
    // On its way over midnight: still of the day that it was booked on; what is booked from then on is not.
    await slips.take([await book('PAID', one, 2_000, { at: new Date(midnight - 1).toISOString() })]);
    await slips.take([await book('PAID', one, 7_000, { at: new Date(midnight).toISOString() })]);
    work();
    sendToBanks();
    await runs.closeDue();
    t.is(await only(one), undefined, 'within the grace nothing is closed');
    jump(graceMs);
    await until(one, { state: 'DONE' });
    t.like(await only(one), { paid: won(3_000) });
    t.like((await staff('GET', '/settlements/runs?limit=1')).json.runs[0], { startedBy: 'schedule' });
    await slips.take([late]);
    jump(dayMs);
    await eventually('the next is settled', async () => (await payouts(one)).at(-1) === 'EXECUTED 11640');
    await until(one, { state: 'DONE' });
    t.deepEqual(await payouts(one), ['EXECUTED 2910', 'EXECUTED 11640']);
  },
);

test.serial(
  'a rate holds from its moment on: what was paid before keeps its own, and so does its refund',
  async (t) => {
    const { slips, shop, book, staff, start, until, work, sendToBanks, clock, jump, gained } = await setUp(t);
    const one = await shop();
    const path = `/commissions/${encodeURIComponent(one.memberId)}`;
    const before = await book('PAID', one, 10_000);
    await slips.take([before]);
    const from = new Date(clock() + 60_000).toISOString();
    t.is((await staff('PUT', path, { rateBasisPoints: 1_000, from })).status, 200);
    t.like(await staff('PUT', path, { rateBasisPoints: 0, from: new Date(clock() - 1_000).toISOString() }), {
      status: 422,
      code: 'MUSTER_COMMISSION_PAST',
    });
    t.like(await one.me('PUT', path, { rateBasisPoints: 0 }), { status: 403 });
    t.like(await staff('PUT', path, { rateBasisPoints: 10_001 }), { status: 422 });
    await slips.take([await book('PAID', one, 20_000)]);
    jump(61_000);
    await slips.take([
      await book('PAID', one, 30_000),
      await book('REFUNDED', one, 4_000, { paymentId: before.paymentId, refundId: uuidV7(Date.now()) }),
    ]);
    t.deepEqual(
      (await one.me('GET', path)).json.rates.map(
        ({ rateBasisPoints, ofAll }: { rateBasisPoints: number; ofAll: boolean }) => [rateBasisPoints, ofAll],
      ),
      [
        [rate, true],
        [1_000, false],
      ],
    );
    await start();
    // While the period is settled, too.
    t.is((await staff('PUT', path, { rateBasisPoints: 5_000 })).status, 200);
    work();
    sendToBanks();
    const commission = (26_000 * rate + 30_000 * 1_000) / 10_000;
    await until(one, { state: 'DONE' });
    t.deepEqual(await gained(), [0, commission]);
    t.is(await one.atBank(), 56_000 - commission);
  },
);

test.serial('a rate that changes while a period is being summed up changes nothing of it', async (t) => {
  const { slips, runs, shop, book, staff, start, until, work, sendToBanks } = await setUp(t);
  // More than are summed up in one transaction.
  const shops = await Promise.all(Array.from({ length: 60 }, () => shop()));
  for (const each of shops) await slips.take([await book('PAID', each, 10_000)]);
  await start();
  const [runNo] = await runs.claim(1, 20_000);
  t.true(await runs.sumNext(runNo!));
  for (const { memberId } of shops) {
    const path = `/commissions/${encodeURIComponent(memberId)}`;
    t.is((await staff('PUT', path, { rateBasisPoints: 5_000 })).status, 200);
  }
  while (await runs.sumNext(runNo!));
  work();
  sendToBanks();
  for (const each of shops)
    t.like(await until(each, { state: 'DONE' }), { commission: won(300), net: won(9_700) });
});

test.serial('a refund has the rate of its payment, whatever became of clock and rates since', async (t) => {
  const { slips, runs, shop, book, staff, start, until, clock, jump } = await setUp(t);
  const one = await shop();
  jump(60_000);
  const [paid, later] = [await book('PAID', one, 10_000), await book('PAID', one, 10_000)];
  await slips.take([paid]);
  jump(-60_000);
  // From now on: that is before both were booked.
  const path = `/commissions/${encodeURIComponent(one.memberId)}`;
  t.is((await staff('PUT', path, { rateBasisPoints: 1_000 })).status, 200);
  jump(120_000);
  const at = new Date(clock()).toISOString();
  const back = ({ paymentId }: PaymentEvent) =>
    book('REFUNDED', one, 10_000, { paymentId, refundId: uuidV7(Date.now()), at });
  // Also when the payment comes once more, or for the first time, together with its refund.
  await slips.take([later, await back(later), paid, await back(paid)]);
  await start();
  for (const runNo of await runs.claim(1, 20_000)) while (await runs.sumNext(runNo));
  t.like(await until(one, { state: 'DONE' }), { paid: won(20_000), commission: won(0), net: won(0) });
});

test.serial(
  'below zero nothing is paid: it is carried on into the next settlement of the merchant',
  async (t) => {
    const { slips, shop, book, start, until, work, sendToBanks, gained, payouts } = await setUp(t);
    const one = await shop();
    const paid = await book('PAID', one, 10_000);
    await slips.take([paid]);
    work();
    sendToBanks();
    await start();
    await until(one, { state: 'DONE' });
    const back = await book('REFUNDED', one, 10_000, {
      paymentId: paid.paymentId,
      refundId: uuidV7(Date.now()),
    });
    await slips.take([back]);
    const second = await start();
    t.like(await until(one, { runNo: second }), {
      state: 'CARRIED',
      net: won(-9_700),
      commission: won(-300),
    });
    await slips.take([await book('PAID', one, 4_000)]);
    const third = await start();
    t.like(await until(one, { runNo: third }), {
      state: 'CARRIED',
      carried: won(-10_000),
      carriedCommission: won(-300),
      net: won(-9_700 + 3_880),
    });
    await slips.take([await book('PAID', one, 7_000)]);
    const fourth = await start();
    await until(one, { runNo: fourth, state: 'DONE' });
    t.deepEqual(await payouts(one), ['EXECUTED 9700', 'EXECUTED 970']);
    t.deepEqual(await gained(), [0, 330]);
    t.is(await one.atBank(), 10_670);
  },
);

test.serial(
  'nothing is paid out that was given back since; when the refund comes, or has failed, it goes on',
  async (t) => {
    const { slips, shop, book, start, until, work, sendToBanks, gained, payouts, owed, jump } =
      await setUp(t);
    const [one, other] = [await shop(), await shop()];
    const paid = await book('PAID', one, 10_000);
    await slips.take([paid, await book('PAID', other, 10_000)]);
    owed.refunded = true;
    work();
    sendToBanks();
    const first = await start();
    await until(one, { state: 'OWED', reason: 'REFUNDED_SINCE' });
    await until(other, { state: 'OWED', reason: 'REFUNDED_SINCE' });
    t.deepEqual(owed.asked[0], won(10_000), 'with the commission');
    const refundId = uuidV7(Date.now());
    await slips.take([await book('REFUNDED', one, 10_000, { paymentId: paid.paymentId, refundId })]);
    await start();
    await until(one, { state: 'CARRIED' });
    jump(11_000);
    const ofFirst = async () => (await one.settled()).find(({ runNo }: { runNo: number }) => runNo === first);
    await eventually('it has taken the refund on', async () => (await ofFirst()).state === 'DONE');
    t.like(await ofFirst(), { carried: won(-10_000), carriedCommission: won(-300), net: won(0) });
    t.deepEqual(await payouts(other), []);
    owed.refunded = false;
    jump(11_000);
    await until(other, { state: 'DONE' });
    t.deepEqual([await payouts(one), await payouts(other)], [[], ['EXECUTED 9700']]);
    t.deepEqual(await gained(), [0, 300]);
  },
);

test.serial('what is refused stops and says why, and goes on when people try it again', async (t) => {
  const { slips, shop, book, staff, start, until, work, sendToBanks, payouts, banks, bank, gained } =
    await setUp(t);
  const [suspended, frozen, large] = [await shop('SUSPENDED'), await shop(), await shop()];
  const closed = await shop('CLOSED');
  await slips.take([
    await book('PAID', suspended, 1_000),
    await book('PAID', frozen, 2_000),
    // More than a call of the contract.
    await book('PAID', large, 2_000_000),
    await book('PAID', closed, 3_000),
  ]);
  await banks.setAccount(bank, frozen.accountNumber, { state: 'FROZEN' });
  work();
  sendToBanks();
  await start();
  t.like(await until(suspended, { state: 'STOPPED' }), { reason: 'MERCHANT_SUSPENDED' });
  t.like(await until(closed, { state: 'STOPPED' }), { reason: 'MERCHANT_CLOSED' });
  t.regex(String((await until(frozen, { state: 'STOPPED' })).reason), /^PAYOUT_/);
  t.like(await until(large, { state: 'STOPPED' }), { reason: 'LIMIT_CALL' });
  t.deepEqual((await gained())[1], 0, 'nothing is earned yet');
  const stopped = (await staff('GET', '/settlements?state=STOPPED')).json.settlements;
  t.is(stopped.length, 4);

  await suspended.become('ACTIVE');
  await banks.setAccount(bank, frozen.accountNumber, { state: 'NORMAL' });
  const retry = (settlement: { settlementId: string }, key?: string) =>
    staff('POST', `/settlements/${settlement.settlementId}/retry`, undefined, key);
  for (const each of stopped) t.is((await retry(each)).status, 202);
  t.like(await retry({ settlementId: uuidV7(Date.now()) }), {
    status: 404,
    code: 'MUSTER_SETTLEMENT_UNKNOWN',
  });
  await until(suspended, { state: 'DONE' });
  await until(frozen, { state: 'DONE' });
  t.like(await until(large, { state: 'STOPPED' }), { reason: 'LIMIT_CALL' });
  await until(closed, { state: 'DONE' });
  t.like(await retry((await suspended.settled())[0]), { status: 409, code: 'MUSTER_SETTLEMENT_NOT_STOPPED' });
  t.deepEqual(await payouts(suspended), ['EXECUTED 970']);
  t.deepEqual(await payouts(closed), ['EXECUTED 2910'], 'who has left is owed it all the same');
  t.deepEqual(await payouts(frozen), ['REJECTED 1940', 'EXECUTED 1940']);
  t.is(await frozen.atBank(), 1_940);
  t.deepEqual(await gained(), [2_000_000, 180]);
});

test.serial("more than the bank's day lets go waits for the next day by itself", async (t) => {
  const { slips, shop, book, start, until, work, sendToBanks, payouts, payStaff, bank, gained, clock, jump } =
    await setUp(t);
  const shops = [await shop(), await shop(), await shop()];
  for (const each of shops) await slips.take([await book('PAID', each, 90_000)]);
  const contract = {
    state: 'ACTIVE',
    expiresAt: '2100-01-01T00:00:00Z',
    fee: won(300),
    callLimitMinor: 1_000_000,
    dayLimitMinor: 180_000,
  };
  await setContract(contract);
  work();
  sendToBanks();
  await start();
  await eventually('two are paid, one waits', async () => {
    const states = await Promise.all(shops.map(async (each) => (await each.settled())[0]?.state));
    const waits = await Promise.all(shops.map(async (each) => (await each.settled())[0]?.reason));
    return states.filter((state) => state === 'DONE').length === 2 && waits.includes('LIMIT_DAY');
  });
  // Banking's clock stands here: its new day is a new contract.
  await setContract({ ...contract, dayLimitMinor: 10_000_000 });
  jump(nextDayMs(clock()) - clock() + afterMidnightMs);
  for (const each of shops) await until(each, { state: 'DONE' });
  for (const each of shops) t.deepEqual(await payouts(each), ['EXECUTED 87300']);
  t.deepEqual(await gained(), [0, 8_100]);

  async function setContract(body: object) {
    t.is((await payStaff('PUT', `/banking/contracts/${bank}`, body)).status, 200);
  }
});

test.serial(
  'the clock of the database is set back by a day: nothing waits for a day but what waits for a bank’s',
  async (t) => {
    const { slips, runs, lines, shop, book, start, only, until, work, sendToBanks, payouts, clock, jump } =
      await setUp(t);
    const [one, other] = [await shop(), await shop()];
    await slips.take([await book('PAID', one, 1_000), await book('PAID', other, 2_000)]);
    await start();
    for (const runNo of await runs.claim(1, 20_000)) while (await runs.sumNext(runNo));
    jump(dayMs);
    await lines.claim(100, 20_000);
    // Whoever claimed them dies.
    jump(-dayMs);
    t.true((await lines.nextInMs()) <= 0);
    const claimedOf = async ({ account }: typeof one) =>
      (await lines.claim(100, 0)).find(({ merchant }) => merchant === account)!;
    // That it is still owed, and where its account is.
    for (let step = 0; step < 2; step += 1)
      await lines.finish(await claimedOf(other), { kind: 'OK', id: other.accountId });
    await lines.finish(await claimedOf(other), { kind: 'REFUSED', reason: 'LIMIT_DAY' });
    work();
    sendToBanks();
    await until(one, { state: 'DONE' });
    t.deepEqual(await payouts(one), ['EXECUTED 970']);
    t.like(await only(other), { state: 'PAYOUT', reason: 'LIMIT_DAY' });
    t.true((await lines.nextInMs()) > 0, 'and nobody looks for it before');
    jump(nextDayMs(clock()) - clock() + afterMidnightMs);
    await until(other, { state: 'DONE' });
    t.deepEqual(await payouts(other), ['EXECUTED 1940']);
  },
);

test.serial(
  'answers are lost and services are away at every step: each call has its effect once',
  async (t) => {
    const { slips, shop, book, start, until, work, sendToBanks, payouts, way, gained, db } = await setUp(t);
    const shops = await Promise.all(Array.from({ length: 6 }, () => shop()));
    for (const each of shops) await slips.take([await book('PAID', each, 10_000)]);
    work();
    sendToBanks();
    way.losesEveryThird = true;
    await start();
    way.isDown = true;
    await sleep(300);
    way.isDown = false;
    for (const each of shops) {
      await until(each, { state: 'DONE' });
      t.deepEqual(await payouts(each), ['EXECUTED 9700']);
      t.is(await each.atBank(), 9_700);
    }
    t.deepEqual(await gained(), [0, 1_800]);
    t.deepEqual(await audit(db), []);
  },
);

test.serial(
  'killed 50 times and run again: the same totals to the unit, one transfer a merchant',
  async (t) => {
    t.timeout(300_000);
    const { slips, shop, book, start, until, sendToBanks, payouts, clock, jump, common, gained, db } =
      await setUp(t);
    const own = databaseOf(world.settings, 'settlement');
    const shops = await Promise.all(Array.from({ length: 60 }, () => shop()));
    const expected: { net: number; commission: number }[] = [];
    for (const [n, each] of shops.entries()) {
      const paid = [1_000 + n * 7, 333 + n];
      const events = [];
      for (const amount of paid) events.push(await book('PAID', each, amount));
      const back = n % 3 === 0 ? 111 : 0;
      if (back > 0)
        events.push(
          await book('REFUNDED', each, back, {
            paymentId: events[0]!.paymentId,
            refundId: uuidV7(Date.now()),
          }),
        );
      await slips.take(events);
      const gross = paid[0]! + paid[1]! - back;
      // A half goes down.
      const commission = Math.ceil((gross * rate) / 10_000 - 0.5);
      expected.push({ net: gross - commission, commission });
    }
    sendToBanks();
    await start();
    let kills = 0;
    for (; kills < 50; kills += 1) {
      const { at, cut, refuse } = await cuttingRelay(t, own);
      const far = openDatabase({ settings: at, connections: 6 });
      const life = storesOf(async () => far);
      const killed = Promise.withResolvers<boolean>();
      const kill = () => {
        refuse();
        cut();
        killed.resolve(true);
      };
      // Within a sum, before a call, after so many calls of which nobody has written down what came: each life elsewhere.
      let [begun, ended] = [0, 0];
      const working = carryOut({
        ...common,
        lines: life.lines,
        runs: {
          ...life.runs,
          sumNext(runNo) {
            const summing = life.runs.sumNext(runNo);
            if (kills % 2 === 0) setImmediate(kill);
            return summing;
          },
        },
        async makeCall(line) {
          begun += 1;
          if (kills % 3 === 0 && begun > kills % 5) kill();
          const word = await common.makeCall(line);
          ended += 1;
          if (kills % 3 > 0 && ended > kills % 7) kill();
          return word;
        },
      });
      const isKilled = await Promise.race([killed.promise, sleep(10_000, false)]);
      await working.stop();
      await far.destroy();
      if (!isKilled) break;
      jump(common.leaseMs);
    }
    t.is(kills, 50, 'there was work for all of them');
    const working = carryOut({ ...common, ...storesOf(async () => world.of('settlement')) });
    t.teardown(working.stop);
    for (const [n, each] of shops.entries()) {
      t.like(await until(each, { state: 'DONE' }), {
        net: won(expected[n]!.net),
        commission: won(expected[n]!.commission),
      });
      t.deepEqual(await payouts(each), [`EXECUTED ${expected[n]!.net}`]);
      t.is(await each.atBank(), expected[n]!.net);
      t.is((await each.settled()).length, 1);
    }
    t.deepEqual(await gained(), [0, expected.reduce((sum, { commission }) => sum + commission, 0)]);
    t.deepEqual(await audit(db), []);

    function storesOf(database: () => Promise<Kysely<unknown>>) {
      return {
        runs: runStore({ database, nextDayMs, clock }),
        lines: lineStore({ database, nextDayMs, clock }),
      };
    }
  },
);

test.serial(
  'how a payout ended is handled once a message, and the queue log says what came of it',
  async (t) => {
    const { slips, runs, lines, shop, book, start } = await setUp(t);
    const one = await shop();
    await slips.take([await book('PAID', one, 1_000)]);
    await start();
    for (const runNo of await runs.claim(1, 20_000)) while (await runs.sumNext(runNo));
    const step = async (id: string) => {
      const line = (await lines.claim(100, 20_000)).find(({ merchant }) => merchant === one.account);
      await lines.finish(line!, { kind: 'OK', id });
    };
    const firmbankingId = uuidV7(Date.now());
    for (const id of [one.accountId, one.accountId, firmbankingId]) await step(id);
    const end = { kind: 'ENDED', firmbankingId, done: false, reason: 'FROZEN', amountMinor: 970 } as const;
    const message = {
      ...{ topic: 'firmbanking-events', id: `${firmbankingId}-decided` },
      ...{ body: Buffer.from('rejected'), createdAtMs: Date.now() },
    };
    t.is((await lines.told(end, message))?.next.state, 'STOPPED');
    t.is(await lines.told(end, message), undefined, 'twice');
    await t.throwsAsync(lines.told({ ...end, done: true }, { ...message, body: Buffer.from('executed') }), {
      code: 'MUSTER_DUPLICATE_ID_OTHER_BODY',
    });
    const { rows } = await sql`
      SELECT queue, processed_status, result FROM queue_log WHERE message_id = ${Buffer.from(message.id)}`.execute(
      world.of('settlement'),
    );
    t.deepEqual(rows, [
      {
        queue: 'handled:settlement-ends:firmbanking-events',
        processed_status: 'failure',
        result: 'STOPPED',
      },
    ]);
  },
);
