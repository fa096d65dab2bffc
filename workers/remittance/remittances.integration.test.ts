/** Remittances through the real money, banking and a bank of its own, on a real MySQL or MariaDB (MYSQL_*). */
import test, { type ExecutionContext } from 'ava';
import { sql } from 'kysely';
import { promises } from '../../catalog/promises.ts';
import type { DatabaseName } from '../../catalog/tables.ts';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { audit } from '../money/books.fixture.ts';
import { findAccount } from '../money/store.ts';
import { eventsOf, openWorld, pseudonymKey, startPay, type World, won } from '../pay.fixture.ts';
import type { CheckDeps } from '../platform/checks.ts';
import { callsOf } from '../platform/move-calls.ts';
import { readEnd } from '../platform/move-ends.ts';
import { carryOut } from '../platform/saga-work.ts';
import { cuttingRelay } from '../store/database.fixture.ts';
import { databaseOf, openDatabase } from '../store/database.ts';
import { remittanceChecks } from './promises.ts';
import { registerRemittanceRoutes } from './routes.ts';
import { remittanceStore } from './store.ts';

let world: World;
let run = 0;

test.before(async () => {
  world = await openWorld('remittances');
});
test.after.always(() => world?.end());

const feeMinor = 500;

/** Alice with money here and at the bank, and Bob. */
async function setUp(t: ExecutionContext, { balanceMinor = 10_000, depositMinor = 100_000 } = {}) {
  const pay = await startPay(t, world);
  const { way, serviceToken, clock } = pay;
  const [alice, bob] = [await pay.member('alice', { balanceMinor, depositMinor }), await pay.member('bob')];
  const remittances = remittanceStore({ database: async () => world.of('remittance'), clock });
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
  registerRemittanceRoutes(http.app as never, { remittances, pseudonymKey, feeMinor, onAccepted() {} });
  await http.open();
  t.teardown(() => http.close(100));
  const as = pay.asker(http.address().port);
  const me = as(await tokenOf('customer', alice.memberId));
  const makeCall = callsOf({
    moneyUrl: way.baseUrl,
    bankingUrl: way.baseUrl,
    token: serviceToken,
    timeoutMs: 2_000,
    registry: pay.registry,
    leftAloneMs: 100,
  });
  function work() {
    const working = carryOut({
      what: 'remittances',
      sagas: remittances,
      makeCall,
      leaseMs: 20_000,
      log: testLog,
      everyMs: 20,
    });
    t.teardown(working.stop);
    return working;
  }
  const send = (body: object, key?: string) => me('POST', '/remittances', body, key);
  const find = async (id: string) => (await me('GET', `/remittances/${id}`)).json;
  /** All that carries it out, and everything that is told is told again and again. */
  function everything() {
    pay.recharge();
    pay.sendToBanks();
    return work();
  }
  async function tell() {
    for (const record of [
      ...(await eventsOf(world, 'money', 'recharge-events')),
      ...(await eventsOf(world, 'banking', 'firmbanking-events')),
    ])
      await remittances.told(readEnd(record), record.message);
  }
  /** An account of somebody at the bank, that Alice sends to. */
  async function payee(state?: string) {
    const number = `330-${++run}`;
    await world.banks.setAccount(pay.bank, number);
    const body = { bank: pay.bank, accountNumber: number, isPayee: true };
    const { accountId } = (await alice.me('POST', '/banking/accounts', body)).json;
    if (state !== undefined) await world.banks.setAccount(pay.bank, number, { state });
    return { accountId, atBank: () => world.banks.balance(pay.bank, number) };
  }
  const books = async (account: string) => {
    const found = await findAccount(pay.db, account);
    return [found?.balanceMinor, found?.heldMinor];
  };
  return {
    ...pay,
    as,
    alice,
    bob,
    me,
    send,
    find,
    work,
    everything,
    tell,
    payee,
    books,
    remittances,
    makeCall,
    until: (id: string, wanted: object, aLookMs?: number) => pay.until(() => find(id), wanted, aLookMs),
  };
}

test.serial(
  'to a member: accepted at once, sent once, seen by the sender only, told with nothing personal',
  async (t) => {
    const { as, alice, bob, me, send, find, work, until, books, db } = await setUp(t);
    const body = { to: bob.memberId, amount: won(4_000) };
    const asked = await send(body, 'once');
    t.is(asked.status, 202);
    t.deepEqual(await send(body, 'once'), asked);
    t.like(await send({ ...body, amount: won(1) }, 'once'), { code: 'MUSTER_IDEMPOTENCY_KEY_REUSED' });
    const { remittanceId } = asked.json;
    t.like(await find(remittanceId), {
      state: 'TRANSFER',
      amount: won(4_000),
      fee: won(0),
      receiver: bob.account,
    });
    const his = as(await tokenOf('customer', bob.memberId));
    t.like(await his('GET', `/remittances/${remittanceId}`), {
      status: 404,
      code: 'MUSTER_REMITTANCE_UNKNOWN',
    });
    t.like(await his('POST', '/remittances', { from: alice.memberId, to: bob.memberId, amount: won(1) }), {
      status: 403,
    });
    const shop = as(await tokenOf('merchant', alice.memberId));
    t.like(
      await shop('POST', '/remittances', body),
      { status: 403 },
      'a merchant of the same name is somebody else',
    );
    work();
    await until(remittanceId, { state: 'DONE' });
    t.deepEqual(await books(alice.account), [6_000, 0]);
    t.deepEqual(await books(bob.account), [4_000, 0]);
    t.is((await me('GET', '/remittances?limit=1')).json.remittances[0].remittanceId, remittanceId);
    const events = (await eventsOf(world, 'remittance', 'remittance-events')).map(({ value }) =>
      value.toString(),
    );
    t.like(JSON.parse(events.at(-1)!), {
      remittanceId,
      state: 'DONE',
      sender: alice.account,
      receiver: bob.account,
    });
    t.notRegex(events.join(), /alice|bob|example/);
    t.deepEqual(await audit(db), []);
  },
);

test.serial('what is no request is refused with the field, and nothing moves', async (t) => {
  const { as, alice, bob, send } = await setUp(t);
  const code = async (body: object) => {
    const { status, json } = await send(body);
    return `${status} ${json.error?.code} ${json.error?.details?.[0]?.field ?? ''}`.trim();
  };
  t.is(await code({ to: alice.memberId, amount: won(1) }), '422 MUSTER_SAME_ACCOUNT to');
  t.is(await code({ to: bob.memberId, amount: won(0) }), '422 MUSTER_AMOUNT_INVALID amount.amountMinor');
  t.is(await code({ to: bob.memberId, amount: won(-1) }), '422 MUSTER_VALIDATION amount.amountMinor');
  t.is(await code({ to: bob.memberId, amount: won(2 ** 53) }), '422 MUSTER_VALIDATION amount.amountMinor');
  t.is(await code({ amount: won(1) }), '422 MUSTER_VALIDATION to');
  const both = { to: bob.memberId, toAccountId: '01a22284-818f-7098-8c5c-8a5294ad9a08', amount: won(1) };
  t.is(await code(both), '422 MUSTER_VALIDATION to');
  const staff = as(operatorToken);
  t.like(
    await staff('POST', '/remittances', { to: bob.memberId, amount: won(1) }),
    { status: 422 },
    'of nobody',
  );
});

test.serial('short by s: recharged first by the smallest multiple of 10,000 that covers it', async (t) => {
  const { alice, bob, send, everything, until, books, db } = await setUp(t);
  everything();
  for (const [amountMinor, recharge] of [
    [10_001, 10_000],
    [19_999, 10_000],
    [10_001, 20_000],
  ] as const) {
    // She has 10,000, then 9,999, then 0.
    const { remittanceId } = (
      await send({ to: bob.memberId, amount: won(amountMinor), rechargeFrom: alice.accountId })
    ).json;
    const done = await until(remittanceId, { state: 'DONE' });
    t.deepEqual(done.recharge, won(recharge));
  }
  t.deepEqual(await books(alice.account), [9_999, 0]);
  t.deepEqual(await books(bob.account), [40_001, 0]);
  t.is(await alice.atBank(), 60_000);
  t.deepEqual(await audit(db), []);
});

test.serial(
  'short without a bank account, or with one that has too little, it fails with the reason',
  async (t) => {
    const { alice, bob, send, everything, until, books } = await setUp(t, { depositMinor: 9_000 });
    everything();
    const body = { to: bob.memberId, amount: won(10_001) };
    const plain = (await send(body)).json.remittanceId;
    t.like(await until(plain, { state: 'FAILED' }), { reason: 'MONEY_SHORT' });
    const poor = (await send({ ...body, rechargeFrom: alice.accountId })).json.remittanceId;
    t.regex(String((await until(poor, { state: 'FAILED' })).reason), /^RECHARGE_/);
    t.deepEqual(await books(alice.account), [10_000, 0]);
    t.deepEqual(await books(bob.account), [0, 0]);
  },
);

test.serial('to a bank account: held, paid out by the bank, booked with the fee', async (t) => {
  const { alice, send, everything, until, books, payee, db, tell } = await setUp(t, { balanceMinor: 20_500 });
  const { accountId, atBank } = await payee();
  everything();
  const first = (await send({ toAccountId: accountId, amount: won(20_001), rechargeFrom: alice.accountId }))
    .json;
  const done = await until(first.remittanceId, { state: 'DONE' });
  t.like(done, { fee: won(feeMinor), toAccountId: accountId, recharge: won(10_000) });
  t.is(await atBank(), 20_001);
  t.deepEqual(await books(alice.account), [20_500 + 10_000 - 20_001 - feeMinor, 0]);
  await tell();
  t.deepEqual(await books(alice.account), [9_999, 0], 'told again, nothing happens again');
  const { json } = await alice.me('GET', `${alice.path}/history?limit=2`);
  t.deepEqual(
    json.entries.map(({ reason, other }: { reason: string; other: string }) => [reason, other]),
    [
      ['fee', 'house:fee'],
      ['payout', 'house:bank'],
    ],
  );
  t.deepEqual(await audit(db), []);
});

test.serial('what the bank does not pay is free again, with the fee', async (t) => {
  const { alice, send, everything, until, books, payee } = await setUp(t, { balanceMinor: 5_500 });
  const { accountId, atBank } = await payee('CLOSED');
  everything();
  const { remittanceId } = (await send({ toAccountId: accountId, amount: won(5_000) })).json;
  const failed = await until(remittanceId, { state: 'FAILED' });
  t.regex(String(failed.reason), /^PAYOUT_/);
  t.is(await atBank(), 0);
  t.deepEqual(await books(alice.account), [5_500, 0]);
});

test.serial('what books or bank have otherwise than a remittance says is told by its promise', async (t) => {
  const { bob, send, everything, until, payee, db } = await setUp(t, { balanceMinor: 30_000 });
  const [own, banking] = [world.of('remittance'), world.of('banking')];
  const broken = async () => {
    const spec = promises.find(({ name }) => name === 'remittances-booked')!;
    const deps = { database: async (name: DatabaseName) => world.of(name) } as unknown as CheckDeps;
    // In the future: what has just ended is looked at, too.
    return (await remittanceChecks['remittances-booked'](deps, { ...spec, limitMs: -3_600_000 })()).ids;
  };
  const [open, closed] = [await payee(), await payee('CLOSED')];
  everything();
  const sent = async (body: object, state: string) => {
    const { remittanceId } = (await send({ amount: won(5_000), ...body })).json;
    await until(remittanceId, { state });
    const { rows } = await sql<{ firmbanking: Buffer; hold: Buffer; transfer: Buffer }>`
      SELECT firmbanking_id AS firmbanking, hold_id AS hold, transfer_id AS \`transfer\` FROM remittance
      WHERE remittance_id = ${bytesOfUuid(remittanceId)}`.execute(own);
    return { ...rows[0]!, id: remittanceId as string };
  };
  const toBank = await sent({ toAccountId: open.accountId }, 'DONE');
  const unpaid = await sent({ toAccountId: closed.accountId }, 'FAILED');
  const toBob = await sent({ to: bob.memberId }, 'DONE');
  await sent({ to: bob.memberId, amount: won(900_000) }, 'FAILED');
  t.deepEqual(await broken(), []);

  const bankSays = (state: string, { firmbanking }: { firmbanking: Buffer }) =>
    sql`UPDATE firmbanking SET state = ${state} WHERE firmbanking_id = ${firmbanking}`.execute(banking);
  const booksSay = (state: string, { hold }: { hold: Buffer }) =>
    sql`UPDATE ledger_hold SET state = ${state} WHERE hold_id = ${hold}`.execute(db);
  const isBookedBy = ({ id }: { id: string }, transfer: Buffer) =>
    sql`UPDATE remittance SET transfer_id = ${transfer} WHERE remittance_id = ${bytesOfUuid(id)}`.execute(
      own,
    );
  for (const [one, wrong, right] of [
    [toBank, () => bankSays('REJECTED', toBank), () => bankSays('EXECUTED', toBank)],
    [unpaid, () => bankSays('EXECUTED', unpaid), () => bankSays('REJECTED', unpaid)],
    [unpaid, () => booksSay('OPEN', unpaid), () => booksSay('RELEASED', unpaid)],
    [toBob, () => isBookedBy(toBob, toBank.transfer), () => isBookedBy(toBob, toBob.transfer)],
  ] as const) {
    await wrong();
    t.deepEqual(await broken(), [one.id]);
    await right();
    t.deepEqual(await broken(), []);
  }
  // Paid out for nobody.
  await sql`UPDATE remittance SET firmbanking_id = NULL WHERE remittance_id = ${bytesOfUuid(toBank.id)}`.execute(
    own,
  );
  t.deepEqual(await broken(), [toBank.id, uuidOfBytes(toBank.firmbanking)]);
  await sql`
    UPDATE remittance SET firmbanking_id = ${toBank.firmbanking}
    WHERE remittance_id = ${bytesOfUuid(toBank.id)}`.execute(own);
});

test.serial(
  'answers are lost and services are away at every step: each call has its effect once',
  async (t) => {
    const { alice, send, everything, until, books, payee, way, db } = await setUp(t, {
      balanceMinor: 20_000,
    });
    const { accountId, atBank } = await payee();
    everything();
    way.losesEveryThird = true;
    const ids: string[] = [];
    for (let n = 0; n < 6; n += 1) {
      ids.push(
        (await send({ toAccountId: accountId, amount: won(9_000), rechargeFrom: alice.accountId })).json
          .remittanceId,
      );
    }
    way.isDown = true;
    await new Promise((resolve) => setTimeout(resolve, 300));
    way.isDown = false;
    let paid = 0;
    for (const id of ids) {
      const { state, reason } = await ended(() => until(id, {}));
      if (state === 'DONE') paid += 1;
      else t.is(reason, 'MONEY_SHORT');
    }
    t.is(await atBank(), paid * 9_000);
    const recharged = 100_000 - (await alice.atBank());
    t.deepEqual(await books(alice.account), [20_000 + recharged - paid * (9_000 + feeMinor), 0]);
    t.deepEqual(await audit(db), []);
  },
);

/** Looks again and again until it is DONE or FAILED. */
async function ended(look: () => Promise<Record<string, unknown>>): Promise<Record<string, unknown>> {
  for (;;) {
    const found = await look();
    if (found.state === 'DONE' || found.state === 'FAILED') return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test.serial(
  'killed between a call and the commit, at every step: the next goes on, and nothing is twice',
  async (t) => {
    const { alice, send, recharge, sendToBanks, find, books, payee, remittances, makeCall, jump, db } =
      await setUp(t, {
        balanceMinor: 20_000,
      });
    const { accountId, atBank } = await payee();
    recharge();
    sendToBanks();
    const { remittanceId } = (
      await send({ toAccountId: accountId, amount: won(20_000), rechargeFrom: alice.accountId })
    ).json;
    const seen = new Set<string>();
    while (!['DONE', 'FAILED'].includes((await find(remittanceId)).state)) {
      jump(60_000);
      for (const claimed of await remittances.claim(100, 20_000)) {
        if (claimed.one.id !== remittanceId) continue;
        seen.add(claimed.one.state);
        // Dies: nobody writes down what came of it.
        await makeCall(claimed.one);
      }
      jump(21_000);
      for (const claimed of await remittances.claim(100, 20_000))
        await remittances.finish(claimed, await makeCall(claimed.one));
    }
    t.deepEqual(
      [...seen],
      ['HOLD', 'HOLD_FEE', 'RECHARGE', 'RECHARGING', 'PAYOUT', 'PAYING_OUT', 'POST', 'POST_FEE'],
    );
    t.is((await find(remittanceId)).state, 'DONE');
    t.is(await atBank(), 20_000);
    t.deepEqual(await books(alice.account), [9_500, 0]);
    t.deepEqual(await audit(db), []);
  },
);

test.serial(
  'accepted where there is room it is claimed as it is written; who dies then leaves it until the lease ends',
  async (t) => {
    const { alice, bob, remittances, makeCall, clock, jump, find, books } = await setUp(t);
    let room = 1;
    const own = remittanceStore({
      database: async () => world.of('remittance'),
      clock,
      claiming: { leaseMs: 20_000, room: () => room },
    });
    const wish = { sender: alice.account, to: { member: bob.account }, amountMinor: 1_000, feeMinor: 0 };
    const accept = (key: string) =>
      own.accept(
        { ...wish, currency: 'KRW', rechargeFrom: undefined },
        { scope: 'remittance:test', key, body: '' },
      );
    const [first, again, second] = await Promise.all([accept('first'), accept('first'), accept('second')]);
    t.is(again.remittanceId, first.remittanceId);
    const claimed = [first, again, second].flatMap((each) => each.claimed ?? []);
    t.is(claimed.length, 1, 'no more than there is room for, and one only for whoever asked twice');
    t.is(claimed[0]!.one.id, first.remittanceId);
    const others = await remittances.claim(100, 20_000);
    t.deepEqual(
      others.map(({ one }) => one.id),
      [second.remittanceId],
      'nobody else is at the first',
    );
    room = 0;
    t.is((await accept('third')).claimed, undefined);
    // Dies between the call and the commit.
    await makeCall(claimed[0]!.one);
    jump(21_000);
    const next = (await remittances.claim(100, 20_000)).find(({ one }) => one.id === first.remittanceId)!;
    t.is(await own.finish(claimed[0]!, { kind: 'REFUSED', reason: 'LATE' }), undefined, 'an older claim');
    await remittances.finish(next, await makeCall(next.one));
    t.is((await find(first.remittanceId)).state, 'DONE');
    t.deepEqual(await books(bob.account), [1_000, 0]);
  },
);

test.serial('an end that the database does not take holds up none of those that come with it', async (t) => {
  const { alice, bob, remittances, find } = await setUp(t);
  const wish = { sender: alice.account, amountMinor: 1_000, feeMinor: 0, currency: 'KRW' };
  const ids = await Promise.all(
    Array.from({ length: 3 }, async (_, n) => {
      const call = { scope: 'remittance:test', key: `one of three ${n}`, body: '' };
      return (
        await remittances.accept({ ...wish, to: { member: bob.account }, rechargeFrom: undefined }, call)
      ).remittanceId;
    }),
  );
  const claimed = (await remittances.claim(100, 20_000)).filter(({ one }) => ids.includes(one.id));
  const ends = await Promise.allSettled(
    claimed.map((each, n) =>
      // No id of a transfer, as no service would answer.
      remittances.finish(each, n === 1 ? { kind: 'OK', id: 'none' } : { kind: 'REFUSED', reason: 'NO' }),
    ),
  );
  t.deepEqual(
    ends.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  const states = await Promise.all(claimed.map(async ({ one }) => (await find(one.id)).state));
  t.deepEqual(states, ['FAILED', 'TRANSFER', 'FAILED']);
});

test.serial('suspended on the way: what is held is still paid out; what was not begun fails', async (t) => {
  const { alice, bob, send, everything, work, until, books, payee } = await setUp(t, {
    balanceMinor: 10_500,
  });
  const { accountId, atBank } = await payee();
  const first = (await send({ toAccountId: accountId, amount: won(5_000) })).json.remittanceId;
  const working = work();
  await until(first, { state: 'PAYING_OUT' });
  await working.stop();
  await alice.follow('SUSPENDED');
  const second = (await send({ to: bob.memberId, amount: won(1_000) })).json.remittanceId;
  everything();
  t.like(await until(second, { state: 'FAILED' }), { reason: 'ACCOUNT_NOT_OPEN' });
  await until(first, { state: 'DONE' });
  t.is(await atBank(), 5_000);
  t.deepEqual(await books(alice.account), [5_000, 0]);
});

test.serial('many at once never spend what is not there', async (t) => {
  const { alice, bob, send, work, until, books, db } = await setUp(t, { balanceMinor: 5_000 });
  work();
  const ids: string[] = await Promise.all(
    Array.from(
      { length: 20 },
      async () => (await send({ to: bob.memberId, amount: won(1_000) })).json.remittanceId,
    ),
  );
  const states = [];
  for (const id of ids) states.push((await ended(() => until(id, {}))).state);
  t.is(states.filter((state) => state === 'DONE').length, 5);
  t.deepEqual(await books(alice.account), [0, 0]);
  t.deepEqual(await books(bob.account), [5_000, 0]);
  t.deepEqual(await audit(db), []);
});

test.serial(
  'two workers, answers lost, connections to the database cut: all end, and money is where their ends say',
  async (t) => {
    t.timeout(120_000);
    const { alice, bob, send, recharge, sendToBanks, until, books, payee, way, makeCall, clock, db } =
      await setUp(t, {
        balanceMinor: 50_000,
        depositMinor: 1_000_000,
      });
    const { accountId, atBank } = await payee();
    const own = databaseOf(world.settings, 'remittance');
    const { at, cut } = await cuttingRelay(t, own);
    for (let n = 0; n < 2; n += 1) {
      const far = openDatabase({ settings: at, connections: 6 });
      const working = carryOut({
        what: 'remittances',
        sagas: remittanceStore({ database: async () => far, clock }),
        makeCall,
        leaseMs: 20_000,
        log: testLog,
        everyMs: 20,
      });
      t.teardown(async () => {
        await working.stop();
        await far.destroy();
      });
    }
    recharge();
    recharge();
    sendToBanks();
    way.losesEveryThird = true;
    const cutting = setInterval(cut, 150);
    t.teardown(() => clearInterval(cutting));
    const asked = await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const amountMinor = 1_000 + n * 137;
        const to = n % 2 === 0 ? { to: bob.memberId } : { toAccountId: accountId };
        const from = n % 3 === 0 ? {} : { rechargeFrom: alice.accountId };
        const { json } = await send({ ...to, ...from, amount: won(amountMinor) });
        return { id: json.remittanceId as string, amountMinor, toBank: n % 2 === 1 };
      }),
    );
    const sums = { bob: 0, bank: 0, fees: 0 };
    const ends: Record<string, number> = {};
    for (const { id, amountMinor, toBank } of asked) {
      const { state, reason } = await ended(() => until(id, {}));
      const end = state === 'DONE' ? 'DONE' : String(reason);
      ends[end] = (ends[end] ?? 0) + 1;
      if (state !== 'DONE') continue;
      sums[toBank ? 'bank' : 'bob'] += amountMinor;
      if (toBank) sums.fees += feeMinor;
    }
    t.log(ends);
    const recharged = 1_000_000 - (await alice.atBank());
    t.deepEqual(await books(bob.account), [sums.bob, 0]);
    t.is(await atBank(), sums.bank);
    t.deepEqual(await books(alice.account), [50_000 + recharged - sums.bob - sums.bank - sums.fees, 0]);
    t.true(ends.DONE! > 10);
    t.deepEqual(await audit(db), []);
  },
);
