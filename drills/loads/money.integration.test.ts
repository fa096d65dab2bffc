/**
 * The load `money` against the real routes on a real database (MYSQL_*), through an entrance that loses answers: what it
 * says and what the books say agree. An entrance that breaks a promise is caught by the judge.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { createRegistry } from '../../workers/base/metrics.ts';
import { operatorToken, startTestHttp } from '../../workers/http/testing.ts';
import { testLog } from '../../workers/kafka/testing.ts';
import { registerMoneyRoutes } from '../../workers/money/routes.ts';
import { scratchDatabases } from '../../workers/store/database.fixture.ts';
import { runMoney } from '../../workers/traffic/money.ts';
import { balancesOf } from '../checker/claims.ts';
import { checkMoney } from '../checker/money.ts';
import { openStores } from '../checker/stores.ts';

interface Asked {
  readonly request: IncomingMessage;
  readonly body: string;
  readonly number: number;
  /** What the routes answer, with these headers instead. */
  forward(headers?: Readonly<Record<string, string>>): Promise<{ status: number; body: string }>;
}
type Answer = { readonly status: number; readonly body: string } | undefined;

/** Sends for three seconds through an entrance that treats transfers so (undefined: no answer), and judges. */
async function judged(t: ExecutionContext, name: string, transfer: (asked: Asked) => Promise<Answer>) {
  t.timeout(120_000);
  const { of, settings, drop } = await scratchDatabases(name);
  const registry = createRegistry();
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry });
  registerMoneyRoutes(http.app as never, {
    database: async () => of('money'),
    pseudonymKey: Buffer.alloc(32, 7),
    registry,
  });
  await http.open();
  const routes = `http://127.0.0.1:${http.address().port}`;
  let transfers = 0;
  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const body = await text(request);
    const forward = async (headers = {}) => {
      const own = Object.fromEntries(
        ['authorization', 'content-type', 'idempotency-key'].flatMap((each) =>
          request.headers[each] === undefined ? [] : [[each, String(request.headers[each])]],
        ),
      );
      const answer = await fetch(`${routes}${request.url}`, {
        method: request.method!,
        headers: { ...own, ...headers },
        ...(body === '' ? {} : { body }),
      });
      return { status: answer.status, body: await answer.text() };
    };
    const isTransfer = request.method === 'POST' && request.url === '/pay/money/transfers';
    const answer = isTransfer
      ? await transfer({ request, body, number: transfers++, forward })
      : await forward();
    if (answer === undefined) response.destroy();
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const payUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stores = openStores(
    Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, String(value)])),
  );
  t.teardown(async () => {
    server.close();
    server.closeAllConnections();
    await http.close(100);
    await stores.close();
    await drop();
  });
  const since = await stores.now();
  const told = await runMoney({
    payUrl,
    token: operatorToken,
    rate: 40,
    durationMs: 3_000,
    memberPrefix: 'person',
    retryForMs: 10_000,
  });
  const members = told.members.map(({ member }) => member);
  const balances = await balancesOf(members, { MUSTER_PAY_URL: payUrl, MUSTER_API_TOKEN: operatorToken });
  const verdict = checkMoney({ told, rows: await stores.ledger(since), balances, personal: ['person'] });
  const ends = Map.groupBy(told.sent, ({ outcome }) => outcome);
  t.log({
    booked: ends.get('booked')?.length,
    refused: ends.get('refused')?.length,
    problems: told.problems,
  });
  return { told, verdict, kinds: new Set(verdict.findings.map(({ kind }) => kind)) };
}

test('lost answers, refusals, repeats and keys used twice: all that was told is in the books, once', async (t) => {
  const { told, verdict } = await judged(t, 'load_money', async ({ number, forward }) => {
    if (number % 7 === 3) return { status: 503, body: '{}' };
    if (number % 11 === 4)
      return { status: 409, body: JSON.stringify({ error: { code: 'MUSTER_IDEMPOTENCY_KEY_IN_USE' } }) };
    const answer = await forward();
    return number % 5 === 2 ? undefined : answer;
  });
  t.deepEqual(verdict.findings, []);
  t.true(verdict.acked > 50, String(verdict.acked));
  t.true(verdict.repeats > 5, String(verdict.repeats));
  t.is(verdict.inDoubt, 0);
  t.true(told.sent.filter(({ outcome }) => outcome === 'refused').length > 10);
});

test('keys that are not kept are told: amounts are booked twice, and others under a key that was used', async (t) => {
  const { kinds } = await judged(t, 'load_money_keys', async ({ number, forward }) =>
    forward({ 'idempotency-key': `another-${number}` }),
  );
  t.true(kinds.has('doubled'), [...kinds].join());
  t.true(kinds.has('wrong'), [...kinds].join());
});

test('a transfer that is answered and not booked is told', async (t) => {
  const { kinds } = await judged(t, 'load_money_lost', async ({ number, forward }) =>
    number % 10 === 0
      ? { status: 201, body: JSON.stringify({ transferId: `made-up-${number}` }) }
      : forward(),
  );
  t.true(kinds.has('lost'), [...kinds].join());
});

test('a refusal after the booking is told', async (t) => {
  const { kinds } = await judged(t, 'load_money_refused', async ({ number, forward }) => {
    const answer = await forward();
    return number % 10 === 0 ? { status: 409, body: '{}' } : answer;
  });
  t.deepEqual([...kinds].sort(), ['ledger', 'wrong']);
});
