/** Recharges through the real banking and a bank of its own, on a real MySQL or MariaDB (MYSQL_*). */
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { sql } from 'kysely';
import { sendWith, serveMembership, spawnBanks } from '../banking/banking.fixture.ts';
import { createBanks } from '../banking/banks.ts';
import { askMembership } from '../banking/members.ts';
import { requestStore } from '../banking/requests.ts';
import { registerBankingRoutes } from '../banking/routes.ts';
import { accountStore } from '../banking/store.ts';
import { bytesOfUuid } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { eventually, testLog } from '../kafka/testing.ts';
import { countOf, scratchDatabases } from '../store/database.fixture.ts';
import { closeLeftAccounts, followMember } from './accounts.ts';
import { audit } from './books.fixture.ts';
import { readFirmbankingDecided } from './events.ts';
import { askBanking, wordOf } from './firmbankings.ts';
import { carryOut } from './recharge-worker.ts';
import { rechargeStore } from './recharges.ts';
import { registerMoneyRoutes } from './routes.ts';

const pseudonymKey = Buffer.alloc(32, 7);
const won = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
const houseAccount = (house: string, currency: string) => `house:${house}:${currency}/3`;
let scratch: Awaited<ReturnType<typeof scratchDatabases>>;
let banks: Awaited<ReturnType<typeof spawnBanks>>;
let run = 0;

test.before(async () => {
  scratch = await scratchDatabases('recharges');
  banks = await spawnBanks();
});
test.after.always(async () => {
  await banks?.end();
  await scratch?.drop();
});

/** A way to a server that can lose answers after the server has done its work, or let nobody through. */
async function openWay(t: ExecutionContext, port: number) {
  const way = { loses: 0, isDown: false, calls: 0, baseUrl: '' };
  const server = createServer((incoming, outgoing) => {
    way.calls += 1;
    if (way.isDown) {
      outgoing.destroy();
      return;
    }
    const { method, url, headers } = incoming;
    const passed = send({ port, method, path: url, headers }, (answer) => {
      if (way.loses > 0) {
        way.loses -= 1;
        answer.resume();
        answer.on('end', () => outgoing.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  way.baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return way;
}

/** Banking and money as servers; a member with an account in both and so much at the bank. */
async function setUp(t: ExecutionContext, { depositMinor = 100_000 } = {}) {
  const bank = `bank-${++run}`;
  const memberId = `alice@example.org ${run}`;
  const token = 'token-of-a-service';
  const membership = await serveMembership(token);
  const registry = createRegistry();
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry });
  const [bankingDb, db] = [scratch.of('banking'), scratch.of('money')];
  const stores = { database: async () => bankingDb, timeZone: 'Asia/Seoul' };
  registerBankingRoutes(http.app as never, {
    accounts: accountStore(stores),
    requests: requestStore(stores),
    banks: createBanks({ baseUrl: banks.url(), timeoutMs: 2_000, registry }),
    standingOf: askMembership({ baseUrl: membership.baseUrl, token, registry }),
    database: stores.database,
    pseudonymKey,
    onAccepted() {},
  });
  registerMoneyRoutes(http.app as never, { database: async () => db, pseudonymKey, registry });
  await http.open();
  t.teardown(async () => {
    await http.close(100);
    membership.close();
  });
  const { port } = http.address();
  const as =
    (who: string) =>
    async (method: string, path: string, body?: object, key = `key-${++run}`) => {
      const answer = await fetch(`http://127.0.0.1:${port}/pay${path}`, {
        method,
        headers: {
          authorization: `Bearer ${who}`,
          ...(method === 'GET' ? {} : { 'idempotency-key': key }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      // biome-ignore lint/suspicious/noExplicitAny: an answer of any route
      const json = (await answer.json()) as any;
      return { status: answer.status, json, code: json.error?.code as string | undefined };
    };
  const [staff, me] = [as(operatorToken), as(await tokenOf('customer', memberId))];
  await staff('PUT', `/banking/contracts/${bank}`, {
    state: 'ACTIVE',
    expiresAt: '2100-01-01T00:00:00Z',
    fee: won(300),
    callLimitMinor: 1_000_000,
    dayLimitMinor: 10_000_000,
  });
  await banks.setAccount(bank, '110-0001');
  await banks.setAccount(bank, '220-0001', { depositMinor });
  const ours = await staff('POST', '/banking/accounts', {
    ofTheHouse: true,
    bank,
    accountNumber: '110-0001',
  });
  await staff('PUT', `/banking/contracts/${bank}/corporate-account`, { accountId: ours.json.accountId });
  membership.states.set(memberId, 'ACTIVE');
  const { accountId } = (await me('POST', '/banking/accounts', { bank, accountNumber: '220-0001' })).json;
  const account = pseudonym(pseudonymKey, memberId);
  let version = 0;
  const follow = (state: 'ACTIVE' | 'SUSPENDED' | 'CLOSED') =>
    followMember(db, {
      member: account,
      type: 'PERSON',
      district: 'Gangnam-gu',
      state,
      version: ++version,
      changedAt: new Date().toISOString(),
    });
  await follow('ACTIVE');

  const way = await openWay(t, port);
  const serviceToken = await tokenOf('service', 'pay');
  const firmbankings = askBanking({ baseUrl: way.baseUrl, token: serviceToken, timeoutMs: 2_000, registry });
  // Time flies while a test waits: what is due in a minute is due soon.
  let aheadMs = 0;
  const clock = () => Date.now() + aheadMs;
  const recharges = rechargeStore({ database: async () => db, houseAccount, clock });
  /** Money's worker. */
  function work() {
    const working = carryOut({
      recharges,
      firmbankings,
      leaseMs: 20_000,
      log: testLog,
      registry,
      everyMs: 20,
    });
    t.teardown(working.stop);
    return working;
  }
  function sendToBanks() {
    const sender = sendWith(bankingDb, { banksUrl: banks.url(), timeoutMs: 2_000 }, clock);
    t.teardown(sender.stop);
  }
  /** Tells what banking has put on its topic, all of it, each time once more. */
  async function tell() {
    const { rows } = await sql<{ value: Buffer }>`
      SELECT value FROM muster_outbox WHERE topic = 'firmbanking-events' ORDER BY id`.execute(bankingDb);
    for (const { value } of rows) {
      const event = readFirmbankingDecided({ value });
      await recharges.told(event.firmbankingId, wordOf(event));
    }
  }
  const ask = async (amountMinor: number, key?: string) =>
    me('POST', '/money/recharges', { accountId, amount: won(amountMinor) }, key);
  const find = async (id: string) => (await me('GET', `/money/recharges/${id}`)).json;
  async function until(id: string, wanted: object, aLookMs = 1_000) {
    await eventually(`${id} is ${JSON.stringify(wanted)}`, async () => {
      aheadMs += aLookMs;
      const found = await find(id);
      return Object.entries(wanted).every(([name, value]) => found[name] === value);
    });
    return find(id);
  }
  const balance = async () => (await staff('GET', `/money/accounts/${encodeURIComponent(memberId)}`)).json;
  return {
    bank,
    memberId,
    accountId,
    account,
    db,
    recharges,
    jump(ms: number) {
      aheadMs += ms;
    },
    staff,
    me,
    as,
    way,
    firmbankings,
    follow,
    work,
    sendToBanks,
    tell,
    ask,
    find,
    until,
    balance,
    atBank: () => banks.balance(bank, '220-0001'),
  };
}

test.serial(
  'a recharge is accepted at once, taken at the bank, booked once, and told with nothing personal',
  async (t) => {
    const { me, as, ask, find, work, sendToBanks, until, tell, balance, atBank, db, memberId, accountId } =
      await setUp(t);
    const asked = await ask(30_000, 'once');
    t.is(asked.status, 202);
    const { rechargeId } = asked.json;
    t.deepEqual(await ask(30_000, 'once'), asked);
    t.like(await ask(30_001, 'once'), { status: 409, code: 'MUSTER_IDEMPOTENCY_KEY_REUSED' });
    t.like(await find(rechargeId), { state: 'REQUESTED', accountId, amount: won(30_000) });
    const bob = as(await tokenOf('customer', 'bob'));
    t.like(await bob('GET', `/money/recharges/${rechargeId}`), {
      status: 404,
      code: 'MUSTER_RECHARGE_UNKNOWN',
    });

    work();
    await until(rechargeId, { state: 'AT_BANK' });
    sendToBanks();
    const events = await countOf(db, 'muster_outbox');
    await eventually('the event has told it', async () => {
      await tell();
      return (await find(rechargeId)).state === 'DONE';
    });
    await tell();
    t.like(await balance(), { balance: won(30_000) });
    t.is(await atBank(), 70_000);
    t.is((await me('GET', '/money/recharges?limit=1')).json.recharges[0].rechargeId, rechargeId);
    const { json } = await me('GET', `/money/accounts/${encodeURIComponent(memberId)}/history`);
    t.like(json.entries, [
      { amountMinor: 30_000, reason: 'recharge', transferId: (await find(rechargeId)).transferId },
    ]);
    t.is(await countOf(db, 'muster_outbox'), events + 1);
    const { rows } = await sql<{
      value: Buffer;
    }>`SELECT value FROM muster_outbox ORDER BY id DESC LIMIT 1`.execute(db);
    t.like(JSON.parse(rows[0]!.value.toString()), { rechargeId, state: 'DONE', amount: won(30_000) });
    t.notRegex(rows[0]!.value.toString(), /alice|example|220/);
    t.deepEqual(await audit(db), []);
  },
);

test.serial(
  'without an event banking is asked by the id; a bank’s refusal ends it, and nothing is booked',
  async (t) => {
    const { ask, work, sendToBanks, until, balance } = await setUp(t, { depositMinor: 5_000 });
    const { rechargeId } = (await ask(5_001)).json;
    const first = work();
    await until(rechargeId, { state: 'AT_BANK' });
    await first.stop();
    sendToBanks();
    work();
    const failed = await until(rechargeId, { state: 'FAILED' });
    t.regex(failed.reason, /^[A-Z_]+$/);
    t.like(await balance(), { balance: won(0) });
  },
);

test.serial('answers of banking are lost, and it is away: each recharge is taken once', async (t) => {
  const { ask, work, sendToBanks, until, balance, atBank, way, find } = await setUp(t);
  way.isDown = true;
  const { rechargeId } = (await ask(10_000)).json;
  const first = work();
  await until(rechargeId, { state: 'ASKING' });
  await first.stop();
  way.isDown = false;
  way.loses = 2;
  sendToBanks();
  work();
  await until(rechargeId, { state: 'DONE' });
  t.true(way.calls >= 4);
  t.like(await balance(), { balance: won(10_000) });
  t.is(await atBank(), 90_000);
  t.is((await find(rechargeId)).reason, undefined);
});

test.serial('killed between the call and the commit: the next asks under the same id', async (t) => {
  const { ask, work, sendToBanks, until, balance, atBank, firmbankings, recharges, jump } = await setUp(t);
  const { rechargeId } = (await ask(10_000)).json;
  const claimed = (await recharges.claim(100, 20_000)).filter(({ one }) => one.rechargeId === rechargeId);
  t.is(claimed.length, 1);
  t.is((await firmbankings.ask(claimed[0]!.one)).kind, 'ACCEPTED');
  // It writes nothing down.
  t.deepEqual(await recharges.claim(100, 20_000), [], 'nobody else is at it until its lease ends');
  sendToBanks();
  jump(21_000);
  work();
  await until(rechargeId, { state: 'DONE' });
  t.like(await balance(), { balance: won(10_000) });
  t.is(await atBank(), 90_000);
});

test.serial(
  'a bank that is down is told as what they wait for, and then each is carried out once',
  async (t) => {
    const { bank, ask, work, sendToBanks, until, me, jump, balance, atBank } = await setUp(t);
    await banks.behave(bank, { mode: 'down' });
    const ids: string[] = await Promise.all(
      Array.from({ length: 20 }, async () => (await ask(1_000)).json.rechargeId),
    );
    work();
    for (const id of ids) await until(id, { state: 'AT_BANK' });
    sendToBanks();
    await eventually('they say so', async () => {
      jump(1_000);
      const { json } = await me('GET', '/money/recharges');
      return json.recharges.some(({ reason }: { reason?: string }) => reason === 'BANK_DOWN');
    });
    await banks.behave(bank, { mode: 'ok' });
    for (const id of ids) await until(id, { state: 'DONE', reason: undefined }, 5_000);
    t.like(await balance(), { balance: won(20_000) });
    t.is(await atBank(), 80_000);
  },
);

test.serial(
  'suspended before anybody was asked: nothing is taken; afterwards what is taken is theirs',
  async (t) => {
    const { ask, work, sendToBanks, until, follow, balance, atBank } = await setUp(t);
    const early = (await ask(10_000)).json.rechargeId;
    await follow('SUSPENDED');
    t.like(await ask(10_000), { status: 409, code: 'MUSTER_ACCOUNT_NOT_OPEN' });
    const working = work();
    t.like(await until(early, { state: 'FAILED' }), { reason: 'ACCOUNT_NOT_OPEN' });
    t.is(await atBank(), 100_000);
    await follow('ACTIVE');
    const late = (await ask(20_000)).json.rechargeId;
    await until(late, { state: 'AT_BANK' });
    await working.stop();
    await follow('SUSPENDED');
    sendToBanks();
    work();
    await until(late, { state: 'DONE' });
    t.like(await balance(), { balance: won(20_000), state: 'SUSPENDED' });
  },
);

test.serial(
  'whoever leaves while money is on its way keeps an account for it, until it is empty',
  async (t) => {
    const { ask, work, sendToBanks, until, follow, balance, db, staff, memberId } = await setUp(t);
    const { rechargeId } = (await ask(10_000)).json;
    const working = work();
    await until(rechargeId, { state: 'AT_BANK' });
    await working.stop();
    await follow('CLOSED');
    t.like(await balance(), { state: 'SUSPENDED' }, 'not closed, although it is empty');
    const path = `/money/accounts/${encodeURIComponent(memberId)}`;
    t.like(await staff('PUT', path, { state: 'CLOSED' }), { status: 409, code: 'MUSTER_ACCOUNT_NOT_EMPTY' });
    t.is(await closeLeftAccounts(db), 1);
    sendToBanks();
    work();
    await until(rechargeId, { state: 'DONE' });
    t.like(await balance(), { balance: won(10_000), state: 'SUSPENDED' });
    await staff('PUT', path, { state: 'OPEN' });
    await staff('POST', '/money/decreases', { memberId, amount: won(10_000) });
    t.is(await closeLeftAccounts(db), 0);
    t.like(await balance(), { state: 'CLOSED' });
  },
);

test.serial(
  'another member’s bank account, or one of nobody, is refused by banking, and that is the end',
  async (t) => {
    const { ask, work, until, as, staff, accountId, atBank } = await setUp(t);
    const eve = `eve ${++run}`;
    await staff('PUT', `/money/accounts/${encodeURIComponent(eve)}`, { state: 'OPEN' });
    const her = as(await tokenOf('customer', eve));
    const theft = await her('POST', '/money/recharges', { accountId, amount: won(10_000) });
    work();
    await eventually('it is refused', async () => {
      const { json } = await her('GET', `/money/recharges/${theft.json.rechargeId}`);
      return json.state === 'FAILED' && json.reason === 'BANK_ACCOUNT_UNKNOWN';
    });
    t.is(await atBank(), 100_000);
    const { rechargeId } = (await ask(2_000_000)).json;
    t.like(await until(rechargeId, { state: 'FAILED' }), { reason: 'LIMIT_CALL' });
  },
);

test.serial('a booking that the books refuse leaves it undecided, and is tried again', async (t) => {
  const { ask, work, sendToBanks, until, db, account, balance } = await setUp(t);
  const { rechargeId } = (await ask(10_000)).json;
  const working = work();
  await until(rechargeId, { state: 'AT_BANK' });
  await working.stop();
  await sql`UPDATE ledger_account SET state = 'CLOSED' WHERE account_id = ${account}`.execute(db);
  sendToBanks();
  const again = work();
  await until(rechargeId, { state: 'AT_BANK', reason: 'BOOKING_REFUSED' });
  await again.stop();
  await sql`UPDATE ledger_account SET state = 'OPEN' WHERE account_id = ${account}`.execute(db);
  work();
  await until(rechargeId, { state: 'DONE' });
  t.like(await balance(), { balance: won(10_000) });
  const id = bytesOfUuid(rechargeId);
  t.is((await sql`SELECT 1 FROM recharge WHERE recharge_id = ${id}`.execute(db)).rows.length, 1);
  t.deepEqual(await audit(db), []);
});
