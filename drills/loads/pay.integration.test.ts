/**
 * The load `pay` against the real routes and workers of money, banking, remittance, payment and settlement on a real database
 * (MYSQL_*), with a bank that misbehaves: what it says and what the rows say agree. An entrance that breaks a promise is caught by
 * the judges.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import type { PaymentEvent } from '../../catalog/events/payment.ts';
import type { DatabaseName } from '../../catalog/tables.ts';
import { daysOf } from '../../workers/base/days.ts';
import { createRegistry } from '../../workers/base/metrics.ts';
import { operatorToken, startTestHttp } from '../../workers/http/testing.ts';
import { testLog } from '../../workers/kafka/testing.ts';
import { eventsOf, openWorld, pseudonymKey, startPay, type World } from '../../workers/pay.fixture.ts';
import { registerPaymentRoutes } from '../../workers/payment/routes.ts';
import { paymentStore } from '../../workers/payment/store.ts';
import { callsOf } from '../../workers/platform/move-calls.ts';
import { readEnd } from '../../workers/platform/move-ends.ts';
import { carryOut } from '../../workers/platform/saga-work.ts';
import { registerRemittanceRoutes } from '../../workers/remittance/routes.ts';
import { remittanceStore } from '../../workers/remittance/store.ts';
import { readPayoutEnd } from '../../workers/settlement/events.ts';
import { lineStore } from '../../workers/settlement/lines.ts';
import { registerSettlementRoutes } from '../../workers/settlement/routes.ts';
import { runStore } from '../../workers/settlement/runs.ts';
import { callsOf as settlementCalls } from '../../workers/settlement/services.ts';
import { slipStore } from '../../workers/settlement/slips.ts';
import { carryOut as settle } from '../../workers/settlement/work.ts';
import { openPay } from '../../workers/traffic/pay.ts';
import { atBanksOf, balancesOf } from '../checker/claims.ts';
import { checkPay } from '../checker/pay.ts';
import { checkPayments } from '../checker/payments.ts';
import { checkSagas } from '../checker/sagas.ts';
import { seen } from '../checker/seen.fixture.ts';
import { checkSettlements } from '../checker/settlements.ts';
import { openStores } from '../checker/stores.ts';

let world: World;
let run = 0;
test.before(async () => {
  world = await openWorld('load_pay');
});
test.after.always(() => world?.end());

interface Request {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly headers: Record<string, string>;
}
type Answer = { readonly status: number; readonly body: string } | undefined;

/** Remittances, payments and settlements as a server of their own beside money and banking, and everything that carries out. */
async function serve(t: ExecutionContext, pay: Awaited<ReturnType<typeof startPay>>) {
  const { clock, registry, way, serviceToken: token } = pay;
  const remittances = remittanceStore({ database: async () => world.of('remittance'), clock });
  const payments = paymentStore({ database: async () => world.of('payment'), clock });
  const settlement = { database: async () => world.of('settlement'), clock, ...daysOf('Asia/Seoul') };
  const [slips, runs, lines] = [slipStore(settlement), runStore(settlement), lineStore(settlement)];
  await slips.setDefaultRate(300);
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
  const routes = { pseudonymKey, onAccepted() {} };
  registerRemittanceRoutes(http.app as never, { ...routes, remittances, feeMinor: 500 });
  registerPaymentRoutes(http.app as never, { ...routes, payments });
  registerSettlementRoutes(http.app as never, { ...routes, slips, runs, lines });
  await http.open();
  const [moneyUrl, bankingUrl] = [way.baseUrl, way.baseUrl];
  const paymentUrl = `http://127.0.0.1:${http.address().port}`;
  const calls = { moneyUrl, bankingUrl, token, timeoutMs: 2_000, registry, leftAloneMs: 100 };
  const how = { leaseMs: 20_000, log: testLog, registry, everyMs: 20, onChange() {} };
  const makeCall = callsOf(calls);
  const working = [
    carryOut({ ...how, what: 'remittances', sagas: remittances, makeCall }),
    carryOut({ ...how, what: 'payments', sagas: payments, makeCall }),
    settle({
      ...how,
      runs,
      lines,
      makeCall: settlementCalls({ ...calls, paymentUrl, stateOf: slips.stateOf }),
    }),
  ];
  pay.recharge();
  pay.sendToBanks();
  const ended = new AbortController();
  const heard = new Set<string>();
  const newOf = async (database: DatabaseName, topic: string) =>
    (await eventsOf(world, database, topic)).filter(({ value }) => {
      const isNew = !heard.has(String(value));
      heard.add(String(value));
      return isNew;
    });
  const told = (async () => {
    while (!ended.signal.aborted) {
      await pay.tell();
      const decided = await newOf('banking', 'firmbanking-events');
      for (const record of [...(await newOf('money', 'recharge-events')), ...decided]) {
        await remittances.told(readEnd(record), record.message);
        await payments.told(readEnd(record), record.message);
      }
      for (const record of decided) await lines.told(readPayoutEnd(record), record.message);
      await slips.take(await paymentEvents());
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  })();
  t.teardown(async () => {
    ended.abort();
    await told;
    await Promise.all(working.map((one) => one.stop()));
    await http.close(100);
  });
  return {
    url: `http://127.0.0.1:${http.address().port}`,
    /** As membership tells of a new merchant. */
    async follow(merchant: string) {
      const changedAt = new Date().toISOString();
      const known = {
        member: merchant,
        district: 'Jung-gu',
        state: 'ACTIVE',
        version: 1,
        changedAt,
      } as const;
      for (const each of [payments, slips]) await each.follow([{ ...known, type: 'MERCHANT' }]);
    },
  };
}

const paymentEvents = async (): Promise<readonly PaymentEvent[]> =>
  (await eventsOf(world, 'payment', 'payment-events')).map(({ value }) => JSON.parse(value.toString()));

/** Sends for some seconds through an entrance that treats what members ask for so (undefined: no answer), and judges. */
async function judged(
  t: ExecutionContext,
  treat: (asked: Request & { forward(): Promise<NonNullable<Answer>>; number: number }) => Promise<Answer>,
  retryForMs = 60_000,
) {
  t.timeout(240_000);
  const pay = await startPay(t, world);
  const others = await serve(t, pay);
  let asked = 0;
  const server = createServer(async (request, response) => {
    const path = request.url!;
    const headers = Object.fromEntries(
      ['authorization', 'content-type', 'idempotency-key'].flatMap((name) =>
        request.headers[name] === undefined ? [] : [[name, String(request.headers[name])]],
      ),
    );
    const one: Request = { method: request.method!, path, body: await text(request), headers };
    const forward = async (): Promise<NonNullable<Answer>> => {
      // Membership is not part of this: whoever joins is a member.
      if (path === '/pay/members') {
        const { name, type } = JSON.parse(one.body);
        const { memberId, account } = await pay.member(name);
        if (type === 'MERCHANT') await others.follow(account);
        return { status: 201, body: JSON.stringify({ memberId }) };
      }
      const base = /^\/pay\/(remittances|payments|settlements|commissions)/.test(path)
        ? others.url
        : pay.way.baseUrl;
      const answer = await fetch(`${base}${path}`, {
        method: one.method,
        headers,
        ...(one.body === '' ? {} : { body: one.body }),
      });
      return { status: answer.status, body: await answer.text() };
    };
    const isAsking =
      one.method === 'POST' && /^\/pay\/(remittances|money\/recharges|payments(\/.+)?)$/.test(path);
    const answer = await (isAsking ? treat({ ...one, forward, number: asked++ }) : forward()).catch(
      () => undefined,
    );
    if (answer === undefined) response.destroy();
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const payUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const outsideUrl = world.banks.url().replace(/\/banks$/, '');
  const stores = openStores(
    Object.fromEntries(Object.entries(world.settings).map(([key, value]) => [key, String(value)])),
  );
  t.teardown(async () => {
    server.close();
    server.closeAllConnections();
    await stores.close();
  });
  const since = await stores.now();
  const load = await openPay({
    payUrl,
    outsideUrl,
    token: operatorToken,
    prefix: `run-${++run}`,
    banks: [`bad-${run}-a`, `bad-${run}-b`],
    seed: 7,
    retryForMs,
  });
  t.teardown(load.close);
  const told = await load.run({ rate: 15, durationMs: 8_000, misbehave: true });
  const rows = await stores.sagas(since);
  const variables = {
    MUSTER_PAY_URL: payUrl,
    MUSTER_API_TOKEN: operatorToken,
    MUSTER_OUTSIDE_WORLD_URL: outsideUrl,
  };
  const places = told.members.flatMap(({ bank, payee }) => [bank, payee]);
  const { accounts: atBanks, sumMinor } = await atBanksOf(places, variables);
  const balances = await balancesOf(
    told.members.map(({ memberId }) => memberId),
    variables,
  );
  const verdict = checkPay({ told, rows, balances, atBanks, banksSumMinor: sumMinor });
  const ends = Map.groupBy(told.asked, ({ end, outcome }) => end ?? outcome);
  t.log({
    ends: Object.fromEntries([...ends].map(([end, list]) => [end, list.length])),
    problems: told.problems,
    endMs: told.endMs,
  });
  const events = (await paymentEvents()).map((event, offset) =>
    seen({ topic: 'payment-events', offset, key: `merchant:${event.merchantId}`, value: event }),
  );
  return {
    told,
    verdict,
    sagas: checkSagas(rows),
    payments: checkPayments(await stores.payments(since), events, [`run-${run}-`]),
    settlements: checkSettlements(await stores.settlements()),
    snapshot: await stores.snapshot(),
  };
}
const kinds = ({ findings }: { readonly findings: readonly { readonly kind: string }[] }) => [
  ...new Set(findings.map(({ kind }) => kind)),
];

test.serial(
  'lost answers and bad banks: all that was accepted has ended, and moved what it says',
  async (t) => {
    const { told, verdict, sagas, payments, settlements, snapshot } = await judged(
      t,
      async ({ number, forward }) => {
        if (number % 7 === 3) return { status: 503, body: '{}' };
        const answer = await forward();
        return number % 5 === 2 ? undefined : answer;
      },
    );
    t.deepEqual(verdict.findings, []);
    t.deepEqual(sagas.findings, []);
    t.deepEqual(payments.findings, []);
    t.deepEqual(settlements.findings, []);
    t.true(told.settlements.length > 0);
    t.true(told.settlements.every(({ state }) => state === 'DONE' || state === 'CARRIED'));
    const ends = (kind: string) =>
      told.asked.filter((one) => one.kind === kind).map(({ end, owes }) => `${owes} ${end}`);
    for (const kind of ['payment', 'refund'])
      for (const end of ['DONE DONE', 'refused undefined'])
        t.true(ends(kind).includes(end), `${kind} ${end}`);
    t.true(verdict.acked > 80, String(verdict.acked));
    t.true(verdict.repeats > 3, String(verdict.repeats));
    t.is(verdict.inDoubt, 0);
    for (const end of ['DONE', 'FAILED'] as const) t.true(told.asked.some((one) => one.end === end));
    t.true(told.asked.some(({ outcome }) => outcome === 'refused'));
    t.like(snapshot[0], { currency: 'KRW', balancesMinor: 0, overdrawn: 0 });
  },
);

test.serial(
  'an entrance that drops what it has accepted, and one that does it twice, are caught',
  async (t) => {
    let [recharges, dropped] = [0, 0];
    const rechargeId = '00000000-0000-7000-8000-000000000000';
    const { verdict } = await judged(
      t,
      async ({ number, path, headers, forward }) => {
        if (path.endsWith('recharges') && recharges++ % 5 === 1) {
          dropped += 1;
          return { status: 202, body: JSON.stringify({ rechargeId }) };
        }
        if (number % 20 === 8) {
          const key = headers['idempotency-key'];
          headers['idempotency-key'] = `${key}-again`;
          await forward();
          headers['idempotency-key'] = key!;
        }
        return forward();
      },
      // What is dropped has no end to wait for.
      15_000,
    );
    t.true(dropped > 0);
    t.true(
      verdict.findings.some(({ kind, id }) => kind === 'lost' && id === rechargeId),
      kinds(verdict).join(),
    );
    t.true(kinds(verdict).includes('from-nowhere'), kinds(verdict).join());
  },
);
