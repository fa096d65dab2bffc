/** Payments and refunds through the real money, banking and a bank of its own, on a real MySQL or MariaDB (MYSQL_*). */
import { hash } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { sql } from 'kysely';
import type { PaymentEvent } from '../../catalog/events/payment.ts';
import { promises } from '../../catalog/promises.ts';
import { bytesOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { audit } from '../money/books.fixture.ts';
import { eventsOf, openWorld, pseudonymKey, startPay, type World, won } from '../pay.fixture.ts';
import { callsOf } from '../platform/move-calls.ts';
import { readEnd } from '../platform/move-ends.ts';
import { carryOut } from '../platform/saga-work.ts';
import { cuttingRelay } from '../store/database.fixture.ts';
import { databaseOf, openDatabase } from '../store/database.ts';
import { paymentChecks } from './promises.ts';
import { registerPaymentRoutes } from './routes.ts';
import { paymentStore } from './store.ts';

let world: World;
let run = 0;

test.before(async () => {
  world = await openWorld('payments');
});
test.after.always(() => world?.end());

/** Alice with money here and at the bank, and a shop. */
async function setUp(t: ExecutionContext, { balanceMinor = 10_000, depositMinor = 100_000 } = {}) {
  t.timeout(300_000);
  const pay = await startPay(t, world);
  const { way, serviceToken, clock } = pay;
  const alice = await pay.member('alice', { balanceMinor, depositMinor });
  const own = world.of('payment');
  const payments = paymentStore({ database: async () => own, clock });
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
  registerPaymentRoutes(http.app as never, { payments, pseudonymKey, onAccepted() {} });
  await http.open();
  t.teardown(() => http.close(100));
  const as = pay.asker(http.address().port);
  const me = as(await tokenOf('customer', alice.memberId));
  const makeCall = callsOf({
    moneyUrl: way.baseUrl,
    bankingUrl: undefined,
    token: serviceToken,
    timeoutMs: 2_000,
    registry: pay.registry,
    leftAloneMs: 100,
  });
  function work(moves = payments) {
    const working = carryOut({
      what: 'payments',
      sagas: moves,
      makeCall,
      leaseMs: 20_000,
      log: testLog,
      everyMs: 20,
    });
    t.teardown(working.stop);
    return working;
  }
  /** A merchant, as membership tells of one. */
  async function merchant() {
    const memberId = `shop ${++run}`;
    const account = pseudonym(pseudonymKey, memberId);
    let version = 0;
    const follow = (state: 'ACTIVE' | 'SUSPENDED' | 'CLOSED', at = ++version) =>
      payments.follow([
        {
          member: account,
          type: 'MERCHANT',
          district: 'Jung-gu',
          state,
          version: at,
          changedAt: new Date().toISOString(),
        },
      ]);
    await follow('ACTIVE');
    return { memberId, account, follow, call: as(await tokenOf('merchant', memberId)) };
  }
  const shop = await merchant();
  const buy = (amountMinor: number, more: object = {}, key?: string) =>
    me('POST', '/payments', { merchantId: shop.memberId, amount: won(amountMinor), ...more }, key);
  const find = async (id: string) => (await me('GET', `/payments/${id}`)).json;
  const until = (id: string, wanted: object, aLookMs?: number) => pay.until(() => find(id), wanted, aLookMs);
  const refund = (id: string, amountMinor: number, key?: string) =>
    shop.call('POST', `/payments/${id}/refunds`, { amount: won(amountMinor) }, key);
  /** Of a payment: how its refunds stand. */
  const refundStates = async (id: string): Promise<readonly string[]> =>
    (await find(id)).refunds.map(({ state }: { state: string }) => state);
  const refundsEnd = (id: string) =>
    pay.until(async () => ({ open: (await refundStates(id)).filter((s) => s === 'TRANSFER').length }), {
      open: 0,
    });
  /** What others heard of this shop, in order. */
  const told = async (): Promise<readonly PaymentEvent[]> =>
    (await eventsOf(world, 'payment', 'payment-events'))
      .map(({ value }) => JSON.parse(value.toString()) as PaymentEvent)
      .filter(({ merchantId }) => merchantId === shop.account);
  /** What the promises say, those of a limit from now on. */
  const broken = async () => {
    const found: Record<string, readonly string[]> = {};
    for (const spec of promises)
      if (spec.capability === 'payment') {
        const check = paymentChecks[spec.name as keyof typeof paymentChecks](
          { database: async (name: never) => world.of(name) } as never,
          // In the future: what has just ended is looked at, too.
          { ...spec, limitMs: spec.name === 'payments-booked' ? -3_600_000 : spec.limitMs },
        );
        const { ids } = await check();
        if (ids.length > 0) found[spec.name] = ids;
      }
    return found;
  };
  return {
    ...{ ...pay, as, me, alice, shop, merchant, payments, own, work, buy, find, until, refund, refundsEnd },
    ...{ refundStates, told, broken, staff: as(operatorToken), moneyStaff: pay.staff },
  };
}

test.serial('a merchant is paid once, both see it and nobody else; the slip names no customer', async (t) => {
  const { alice, shop, merchant, me, as, staff, buy, work, until, told, find, db } = await setUp(t);
  const asked = await buy(4_000, {}, 'once');
  t.is(asked.status, 202);
  t.deepEqual(await buy(4_000, {}, 'once'), asked);
  t.like(await buy(4_001, {}, 'once'), { status: 409, code: 'MUSTER_IDEMPOTENCY_KEY_REUSED' });
  const { paymentId } = asked.json;
  work();
  const paid = await until(paymentId, { state: 'DONE' });
  t.like(paid, { amount: won(4_000), merchant: shop.account, customer: alice.account, refunds: [] });
  t.like(await alice.balance(), { balance: won(6_000) });
  const events = await told();
  t.is(events.length, 1);
  t.like(events[0], { kind: 'PAID', paymentId, merchantId: shop.account, amount: won(4_000) });
  t.false(JSON.stringify(events).includes(alice.account));

  t.deepEqual((await shop.call('GET', `/payments/${paymentId}`)).json, await find(paymentId));
  const [other, bob] = [await merchant(), as(await tokenOf('customer', 'bob'))];
  for (const call of [other.call, bob])
    t.like(await call('GET', `/payments/${paymentId}`), { status: 404, code: 'MUSTER_PAYMENT_UNKNOWN' });
  t.is((await me('GET', '/payments')).json.payments.length, 1);
  t.is((await shop.call('GET', '/payments')).json.payments.length, 1);
  t.is((await other.call('GET', '/payments')).json.payments.length, 0);
  const ofStaff = `/payments?memberId=${encodeURIComponent(shop.memberId)}`;
  t.is((await staff('GET', `${ofStaff}&as=merchant`)).json.payments.length, 1);
  t.is((await staff('GET', ofStaff)).json.payments.length, 0);
  t.deepEqual(await audit(db), []);
});

test.serial('only an active merchant is paid; what is no payment is refused with the field', async (t) => {
  const { me, shop, buy, as, alice } = await setUp(t);
  t.like(await buy(1, { merchantId: 'nobody' }), { status: 404, code: 'MUSTER_MERCHANT_UNKNOWN' });
  await shop.follow('SUSPENDED');
  t.like(await buy(1, {}, 'again'), { status: 409, code: 'MUSTER_MERCHANT_NOT_ACTIVE' });
  await shop.follow('ACTIVE', 1);
  t.like(await buy(1), { code: 'MUSTER_MERCHANT_NOT_ACTIVE' }, 'an older event does not count');
  await shop.follow('ACTIVE');
  t.is((await buy(1, {}, 'again')).status, 202, 'a refusal does not use the key up');
  t.like(await buy(1, { merchantId: alice.memberId }), { status: 422, code: 'MUSTER_SAME_ACCOUNT' });
  for (const amountMinor of [0, -1, 0.5, 2 ** 53])
    t.is(
      (await me('POST', '/payments', { merchantId: shop.memberId, amount: won(amountMinor) })).status,
      422,
    );
  t.is((await shop.call('POST', '/payments', { merchantId: 'x', amount: won(1) })).status, 403);
  t.is((await as(await tokenOf('service', 'x'))('GET', '/payments')).status, 403);
});

test.serial(
  'short money is recharged first in whole units; without that it fails, and nothing moves',
  async (t) => {
    const { alice, buy, work, until, recharge, sendToBanks, tell, payments, told, db } = await setUp(t, {
      balanceMinor: 3_000,
    });
    const short = await buy(5_000);
    const { json } = await buy(15_000, { rechargeFrom: alice.accountId });
    recharge();
    sendToBanks();
    work();
    t.like(await until(short.json.paymentId, { state: 'FAILED' }), { reason: 'MONEY_SHORT' });
    const paid = await until(json.paymentId, { state: 'DONE' });
    t.like(paid, { recharge: won(20_000) });
    t.like(await alice.balance(), { balance: won(8_000) });
    // Told late, and twice: nothing changes.
    await tell();
    for (const record of await eventsOf(world, 'money', 'recharge-events')) {
      t.is(await payments.told(readEnd(record), record.message), undefined);
    }
    t.deepEqual(
      (await told()).map(({ kind, amount }) => [kind, amount.amountMinor]),
      [['PAID', 15_000]],
    );
    t.deepEqual(await audit(db), []);
  },
);

test.serial('given back in parts and never more than was paid; cancelled is the whole of it', async (t) => {
  const { alice, shop, merchant, me, staff, buy, refund, refundsEnd, work, until, told, find, db, broken } =
    await setUp(t);
  const { paymentId } = (await buy(5_000)).json;
  t.like(await refund(paymentId, 1), { status: 409, code: 'MUSTER_PAYMENT_NOT_PAID' });
  work();
  await until(paymentId, { state: 'DONE' });
  const first = await refund(paymentId, 2_000, 'r1');
  t.is(first.status, 202);
  t.deepEqual(await refund(paymentId, 2_000, 'r1'), first);
  t.like(await refund(paymentId, 3_001), { status: 409, code: 'MUSTER_REFUND_TOO_LARGE' });
  const cancel = (id: string, call = shop.call) => call('POST', `/payments/${id}/cancel`);
  t.like(await cancel(paymentId), { status: 409, code: 'MUSTER_REFUND_TOO_LARGE' });
  t.is((await staff('POST', `/payments/${paymentId}/refunds`, { amount: won(3_000) })).status, 202);
  t.like(await refund(paymentId, 1), { code: 'MUSTER_REFUND_TOO_LARGE' });
  t.like(await refund(first.json.refundId, 1), { status: 409, code: 'MUSTER_PAYMENT_IS_REFUND' });
  await refundsEnd(paymentId);
  t.like(await find(paymentId), { refunded: won(5_000) });
  t.like(await alice.balance(), { balance: won(10_000) });

  const second = (await buy(1_000)).json.paymentId;
  await until(second, { state: 'DONE' });
  await shop.follow('SUSPENDED');
  t.like(await cancel(second), { status: 409, code: 'MUSTER_MERCHANT_NOT_ACTIVE' });
  await shop.follow('ACTIVE');
  t.like(await cancel(second, (await merchant()).call), { status: 404, code: 'MUSTER_PAYMENT_UNKNOWN' });
  t.is((await cancel(second, me)).status, 403, 'who has paid asks the merchant');
  t.is((await cancel(second)).status, 202);
  t.like(await cancel(second), { status: 409, code: 'MUSTER_REFUND_TOO_LARGE' });
  await refundsEnd(second);
  const sums = Map.groupBy(await told(), ({ paymentId: of }) => of);
  for (const [id, paid] of [
    [paymentId, 5_000],
    [second, 1_000],
  ] as const) {
    const sum = (kind: string) =>
      sums
        .get(id)!
        .filter((each) => each.kind === kind)
        .reduce((so, { amount }) => so + amount.amountMinor, 0);
    t.deepEqual([sum('PAID'), sum('REFUNDED')], [paid, paid]);
  }
  t.deepEqual(await broken(), {});
  t.deepEqual(await audit(db), []);
});

test.serial(
  'what the version before has accepted ends here, and its key has the answer that it had',
  async (t) => {
    const { alice, shop, own, payments, work, until } = await setUp(t);
    const paymentId = uuidV7(Date.now());
    const id = bytesOfUuid(paymentId);
    // As it wrote them: a statement of its own, claimed once by a process that died.
    await sql`
    INSERT INTO slip (slip_id, kind, payment_id, customer, merchant, amount_minor, currency, refunded_minor, recharge_from,
      state, attempt, tries, claim, due_at, requested_at, counts_from, traceparent)
    VALUES (${id}, 'PAYMENT', ${id}, ${alice.account}, ${shop.account}, 4000, 'KRW', 0, NULL, 'TRANSFER', 1, 1, 1,
      UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), NULL)`.execute(own);
    await sql`
    INSERT INTO muster_once (scope, once_key, body_hash, answer, made_at)
    VALUES ('payment:before', 'key', ${hash('sha256', 'body', 'buffer')}, ${JSON.stringify({ ok: true, paymentId })},
      UTC_TIMESTAMP(3))`.execute(own);
    const wish = { customer: alice.account, merchant: shop.account, ...won(4_000), rechargeFrom: undefined };
    t.like(await payments.accept(wish, { scope: 'payment:before', key: 'key', body: 'body' }), {
      ok: true,
      paymentId,
    });
    work();
    await until(paymentId, { state: 'DONE' });
    t.like(await alice.balance(), { balance: won(6_000) });
  },
);

test.serial('a refund to an account that is not open fails, and can be asked for again', async (t) => {
  const { alice, buy, refund, refundsEnd, refundStates, work, until, find } = await setUp(t);
  const { paymentId } = (await buy(5_000)).json;
  work();
  await until(paymentId, { state: 'DONE' });
  await alice.follow('SUSPENDED');
  t.is((await refund(paymentId, 5_000)).status, 202);
  await refundsEnd(paymentId);
  t.deepEqual(await refundStates(paymentId), ['FAILED']);
  t.like(await find(paymentId), { refunded: won(0) });
  await alice.follow('ACTIVE');
  t.is((await refund(paymentId, 5_000)).status, 202);
  await refundsEnd(paymentId);
  t.deepEqual(await refundStates(paymentId), ['FAILED', 'DONE']);
  t.like(await alice.balance(), { balance: won(10_000) });
});

test.serial(
  'a merchant gives back by itself only what it is still owed; staff gives back the rest, and it is owed less',
  async (t) => {
    const { alice, shop, me, as, staff, serviceToken, buy, refund, refundsEnd, work, until } = await setUp(t);
    const service = as(serviceToken);
    const settle = (amountMinor: number, key?: string) =>
      service('POST', '/payments/settlements', { merchant: shop.account, amount: won(amountMinor) }, key);
    work();
    const paid = async (amountMinor: number): Promise<string> => {
      const { paymentId } = (await buy(amountMinor)).json;
      await until(paymentId, { state: 'DONE' });
      return paymentId;
    };
    const first = await paid(5_000);
    t.is((await me('POST', '/payments/settlements', { merchant: shop.account, amount: won(1) })).status, 403);
    t.is((await settle(4_000, 'line-1')).status, 200);
    t.is((await settle(4_000, 'line-1')).status, 200, 'it counts once');
    t.like(await refund(first, 1_001), { status: 409, code: 'MUSTER_REFUND_NOT_COVERED' });
    t.is((await refund(first, 1_000)).status, 202);
    const refused = { status: 409, code: 'MUSTER_REFUNDED_SINCE' };
    t.like(await settle(1, 'line-2'), refused);
    t.is((await staff('POST', `/payments/${first}/refunds`, { amount: won(4_000) })).status, 202);
    await refundsEnd(first);
    const second = await paid(4_000);
    t.like(await refund(second, 1), { code: 'MUSTER_REFUND_NOT_COVERED' }, 'that makes up for it');
    const third = await paid(100);
    t.is((await refund(second, 100)).status, 202);
    t.like(await refund(third, 1), { code: 'MUSTER_REFUND_NOT_COVERED' });
    t.like(await settle(1, 'line-2'), refused, 'a key has one answer for good');

    // A refund that fails is owed again.
    const fourth = await paid(200);
    await alice.follow('SUSPENDED');
    t.is((await refund(fourth, 200)).status, 202);
    t.like(await settle(200, 'line-3'), refused);
    await refundsEnd(fourth);
    t.is((await settle(200, 'line-4')).status, 200);
  },
);

test.serial(
  'staff takes a payment back by a refund: its transfer cannot be corrected beside it',
  async (t) => {
    const { alice, moneyStaff, buy, refund, refundsEnd, work, until, own } = await setUp(t);
    work();
    const { paymentId } = (await buy(5_000)).json;
    await until(paymentId, { state: 'DONE' });
    const { rows } = await sql<{ id: Buffer }>`
    SELECT transfer_id AS id FROM slip WHERE slip_id = ${bytesOfUuid(paymentId)}`.execute(own);
    const correct = moneyStaff('POST', `/money/transfers/${uuidOfBytes(rows[0]!.id)}/correction`);
    t.like(await correct, { status: 409, code: 'MUSTER_TRANSFER_OF_PAYMENT' });
    t.is((await refund(paymentId, 5_000)).status, 202);
    await refundsEnd(paymentId);
    t.like(await alice.balance(), { balance: won(10_000) });
  },
);

test.serial('of a refund and a settlement of the same money at the same moment one has it', async (t) => {
  const { shop, as, serviceToken, buy, refund, work, until } = await setUp(t);
  const service = as(serviceToken);
  work();
  const won20 = { merchant: shop.account, amount: won(20) };
  for (let n = 0; n < 20; n += 1) {
    const { paymentId } = (await buy(20)).json;
    await until(paymentId, { state: 'DONE' });
    const both = await Promise.all([refund(paymentId, 20), service('POST', '/payments/settlements', won20)]);
    t.is(both.filter(({ status }) => status === 409).length, 1);
  }
});

test.serial('what is wrong in the rows is told by the promise that it breaks', async (t) => {
  const { buy, refund, refundsEnd, work, until, broken, own, db } = await setUp(t);
  const { paymentId } = (await buy(5_000)).json;
  const working = work();
  await until(paymentId, { state: 'DONE' });
  await refund(paymentId, 2_000);
  await refundsEnd(paymentId);
  await working.stop();
  t.deepEqual(await broken(), {});
  const at = sql`slip_id = UNHEX(${paymentId.replaceAll('-', '')})`;
  const transferOf = async () => {
    const { rows } = await sql<{ id: string }>`
      SELECT LOWER(HEX(transfer_id)) AS id FROM slip WHERE ${at}`.execute(own);
    return rows[0]!.id.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  };
  const transferId = await transferOf();
  const setRefund = (amountMinor: number) =>
    sql`UPDATE slip SET amount_minor = ${amountMinor}
      WHERE payment_id = UNHEX(${paymentId.replaceAll('-', '')}) AND kind = 'REFUND'`.execute(own);
  // As if it had been refunded without the lock.
  await setRefund(6_000);
  const over = await broken();
  t.deepEqual(over['refunds-covered'], [paymentId]);
  t.is(over['payments-booked']?.length, 1, 'and the books have another amount');
  await setRefund(2_000);
  t.deepEqual(await broken(), {});
  // Booked twice: a transfer that no slip knows.
  await sql`UPDATE slip SET transfer_id = UNHEX(REPLACE(UUID(), '-', '')) WHERE ${at}`.execute(own);
  t.true((await broken())['payments-booked']!.includes(transferId));
  await sql`UPDATE slip SET transfer_id = UNHEX(${transferId.replaceAll('-', '')}) WHERE ${at}`.execute(own);
  const open = (await buy(1)).json.paymentId;
  t.deepEqual(await broken(), {});
  await sql`UPDATE slip SET counts_from = UTC_TIMESTAMP(3) - INTERVAL 1 DAY
    WHERE slip_id = UNHEX(${open.replaceAll('-', '')})`.execute(own);
  t.deepEqual(await broken(), { 'payments-decided': [open] });
  t.deepEqual(await audit(db), []);
});

test.serial(
  '500 payments, each refunded twice at the same moment, by workers whose connections are cut and calls whose answers are lost: 500 refunds, 500 refusals, and the ledger sums to zero',
  async (t) => {
    const { alice, shop, buy, refund, until, way, own, clock, work, jump, told, broken, db } = await setUp(
      t,
      {
        balanceMinor: 500_000,
      },
    );
    const { at, cut } = await cuttingRelay(t, databaseOf(world.settings, 'payment'));
    const far = openDatabase({ settings: at, connections: 6 });
    t.teardown(() => far.destroy());
    const working = [work(), work(paymentStore({ database: async () => far, clock }))];
    way.losesEveryThird = true;
    const paid: string[] = [];
    for (let n = 0; n < 500; n += 50) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => buy(1_000)));
      paid.push(...answers.map(({ json }) => json.paymentId));
      cut();
    }
    const open = async () => {
      jump(500);
      const { rows } = await sql<{ n: number }>`
        SELECT COUNT(*) AS n FROM slip WHERE merchant = ${shop.account} AND state NOT IN ('DONE', 'FAILED')`.execute(
        own,
      );
      return { open: Number(rows[0]!.n) };
    };
    for (let looks = 0; (await open()).open > 0; looks += 1) {
      if (looks % 10 === 5) cut();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    t.like(await alice.balance(), { balance: won(0) });
    const codes: Record<string, number> = {};
    for (let n = 0; n < 500; n += 50) {
      const both = paid.slice(n, n + 50).flatMap((id) => [refund(id, 1_000), refund(id, 1_000)]);
      for (const { status, code } of await Promise.all(both)) {
        const word = code ?? String(status);
        codes[word] = (codes[word] ?? 0) + 1;
      }
      cut();
    }
    t.deepEqual(codes, { 202: 500, MUSTER_REFUND_TOO_LARGE: 500 });
    for (let looks = 0; (await open()).open > 0; looks += 1) {
      if (looks % 10 === 5) cut();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    way.losesEveryThird = false;
    await until(paid[0]!, { state: 'DONE' });
    await Promise.all(working.map(({ stop }) => stop()));
    t.like(await alice.balance(), { balance: won(500_000), available: won(500_000) });
    const events = await told();
    t.is(events.filter(({ kind }) => kind === 'PAID').length, 500);
    t.is(events.filter(({ kind }) => kind === 'REFUNDED').length, 500);
    t.is(new Set(events.map(({ eventId }) => eventId)).size, 1_000);
    t.deepEqual(await broken(), {});
    t.deepEqual(await audit(db), []);
  },
);
