/** For integration tests of my-pay: banking and money as real services, a bank of its own, and members. Not part of the product. */
import { randomUUID } from 'node:crypto';
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';
import type { DatabaseName } from '../catalog/tables.ts';
import { sendWith, serveMembership, spawnBanks } from './banking/banking.fixture.ts';
import { createBanks } from './banking/banks.ts';
import { askMembership } from './banking/members.ts';
import { requestStore } from './banking/requests.ts';
import { registerBankingRoutes } from './banking/routes.ts';
import { accountStore } from './banking/store.ts';
import { createRegistry } from './base/metrics.ts';
import { pseudonym } from './base/pseudonym.ts';
import { operatorToken, startTestHttp, tokenOf } from './http/testing.ts';
import { eventually, testLog } from './kafka/testing.ts';
import { followMember } from './money/accounts.ts';
import { askBanking } from './money/firmbankings.ts';
import { callFor, readEnd } from './money/recharge-worker.ts';
import { rechargeStore } from './money/recharges.ts';
import { registerMoneyRoutes } from './money/routes.ts';
import { carryOut } from './platform/saga-work.ts';
import { outboxRecords, scratchDatabases } from './store/database.fixture.ts';
import type { Message } from './store/queue-log.ts';

export const pseudonymKey = Buffer.alloc(32, 7);
export const won = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });

/** What the tests of a file share. */
export async function openWorld(name: string) {
  const scratch = await scratchDatabases(name);
  const banks = await spawnBanks();
  return {
    banks,
    of: scratch.of,
    settings: scratch.settings,
    async end() {
      await banks.end();
      await scratch.drop();
    },
  };
}
export type World = Awaited<ReturnType<typeof openWorld>>;

let run = 0;

/** A way to a server that can lose answers after the server has done its work, or let nobody through. */
async function openWay(t: ExecutionContext, port: number) {
  const way = { loses: 0, losesEveryThird: false, isDown: false, calls: 0, baseUrl: '' };
  const server = createServer((incoming, outgoing) => {
    way.calls += 1;
    // Not every second: a question that takes two calls would never end.
    const isThird = way.losesEveryThird && way.calls % 3 === 0;
    if (way.isDown) {
      outgoing.destroy();
      return;
    }
    const { method, url, headers } = incoming;
    const passed = send({ port, method, path: url, headers }, (answer) => {
      if (way.loses > 0 || isThird) {
        if (!isThird) way.loses -= 1;
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

/** Events of a topic that a database has put into its outbox, all of them, oldest first of each key. */
export async function eventsOf(world: World, database: DatabaseName, topic: string) {
  const records = await outboxRecords(world.of(database));
  return records
    .filter((record) => record.topic === topic)
    .map((record) => {
      const value = Buffer.from(record.value!);
      // An id of its own each time that it is told: what comes twice is borne without the queue log, too.
      const message: Message = { topic, id: randomUUID(), body: value, createdAtMs: Date.now() };
      return { topic, value, message };
    });
}

/** Banking and money as servers behind a way that may fail, with a bank; time flies as a test likes. */
export async function startPay(t: ExecutionContext, world: World) {
  const { banks } = world;
  const bank = `bank-${++run}`;
  const token = 'token-of-a-service';
  const membership = await serveMembership(token);
  const registry = createRegistry();
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry });
  const [bankingDb, db] = [world.of('banking'), world.of('money')];
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
  const asker =
    (port: number) => (who: string) => async (method: string, path: string, body?: object, key?: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}/pay${path}`, {
        method,
        headers: {
          authorization: `Bearer ${who}`,
          ...(method === 'GET' ? {} : { 'idempotency-key': key ?? `key-${++run}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      // biome-ignore lint/suspicious/noExplicitAny: an answer of any route
      const json = (await answer.json()) as any;
      return { status: answer.status, json, code: json.error?.code as string | undefined };
    };
  const as = asker(http.address().port);
  const staff = as(operatorToken);
  await staff('PUT', `/banking/contracts/${bank}`, {
    state: 'ACTIVE',
    expiresAt: '2100-01-01T00:00:00Z',
    fee: won(300),
    callLimitMinor: 1_000_000,
    dayLimitMinor: 10_000_000,
  });
  // Our corporate account has what members have here, and more.
  await banks.setAccount(bank, '110-0001', { depositMinor: 1_000_000 });
  const ours = await staff('POST', '/banking/accounts', {
    ofTheHouse: true,
    bank,
    accountNumber: '110-0001',
  });
  await staff('PUT', `/banking/contracts/${bank}/corporate-account`, { accountId: ours.json.accountId });

  let aheadMs = 0;
  const clock = () => Date.now() + aheadMs;
  const way = await openWay(t, http.address().port);
  const serviceToken = await tokenOf('service', 'pay');
  const houseAccount = (house: string, currency: string) => `house:${house}:${currency}/3`;
  const recharges = rechargeStore({ database: async () => db, houseAccount, clock });
  const firmbankings = askBanking({
    baseUrl: way.baseUrl,
    token: serviceToken,
    timeoutMs: 2_000,
    registry,
    leftAloneMs: 100,
  });

  /** A member with an account here, and one at the bank with so much in it. */
  async function member(name: string, { depositMinor = 0, balanceMinor = 0 } = {}) {
    const memberId = `${name}@example.org ${++run}`;
    const number = `220-${run}`;
    membership.states.set(memberId, 'ACTIVE');
    await banks.setAccount(bank, number, { depositMinor });
    const me = as(await tokenOf('customer', memberId));
    const { accountId } = (await me('POST', '/banking/accounts', { bank, accountNumber: number })).json;
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
    if (balanceMinor > 0) await staff('POST', '/money/increases', { memberId, amount: won(balanceMinor) });
    const path = `/money/accounts/${encodeURIComponent(memberId)}`;
    return {
      memberId,
      account,
      accountId: accountId as string,
      accountNumber: number,
      path,
      me,
      follow,
      balance: async () => (await staff('GET', path)).json,
      atBank: () => banks.balance(bank, number),
    };
  }

  return {
    bank,
    db,
    registry,
    way,
    serviceToken,
    staff,
    as,
    asker,
    member,
    recharges,
    firmbankings,
    clock,
    jump(ms: number) {
      aheadMs += ms;
    },
    /** Money's worker for recharges. */
    recharge() {
      const working = carryOut({
        what: 'recharges',
        sagas: recharges,
        makeCall: callFor(firmbankings),
        leaseMs: 20_000,
        log: testLog,
        everyMs: 20,
      });
      t.teardown(working.stop);
      return working;
    },
    /** Banking's sender. */
    sendToBanks() {
      const sender = sendWith(bankingDb, { banksUrl: banks.url(), timeoutMs: 2_000 }, clock);
      t.teardown(sender.stop);
    },
    /** Tells money what banking has put on its topic, all of it. */
    async tell() {
      for (const record of await eventsOf(world, 'banking', 'firmbanking-events'))
        await recharges.told(readEnd(record), record.message);
    },
    /** Waits, while time flies, until what is found looks like that. */
    async until(find: () => Promise<Record<string, unknown>>, wanted: object, aLookMs = 1_000) {
      await eventually(JSON.stringify(wanted), async () => {
        aheadMs += aLookMs;
        const found = await find();
        return Object.entries(wanted).every(([name, value]) => found[name] === value);
      });
      return find();
    },
  };
}
