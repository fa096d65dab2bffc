/**
 * The gateway of the deployed environment (`./muster test e2e`): a replica of the API is killed, and one ends in its own way,
 * and no request fails; who asks in a way that is not allowed is sent away by an answer.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { containersOf, docker } from '../environment/docker.ts';
import { readiness } from '../environment/health.ts';
import { aliasesOf } from '../stacks/config/index.ts';
import { eventually } from '../workers/kafka/testing.ts';
import { apiUrl, asOperator, containerOf, environment } from './deployed.fixture.ts';

const patienceMs = 120_000;
const run = `e2e-${randomUUID().slice(0, 8)}`;
const { hostname, port } = new URL(apiUrl);
const [, second] = aliasesOf(environment, 'api');

const isReady = async (alias: string) =>
  (await readiness(environment, await containersOf(environment))).get(alias) === true;

/** Purchases, and reads between them, by ten clients that try nothing again, until `stop`: how many ended how. */
function startRequests(headersOf: (id: string) => Record<string, string>) {
  const outcomes: Record<string, number> = {};
  let going = true;
  let count = 0;
  const purchase = (id: string) => ({
    method: 'POST',
    headers: { ...asOperator, 'content-type': 'application/json', ...headersOf(id) },
    body: JSON.stringify({
      purchaseId: id,
      userId: `${run}-person`,
      productId: 'e2e',
      quantity: 1,
      price: '₩1,000',
      purchasedAt: new Date().toISOString(),
    }),
  });
  const client = async () => {
    while (going) {
      count += 1;
      const [path, init] =
        count % 2 === 0 ? ['/coupons?limit=1', {}] : ['/purchases', purchase(`${run}-${count}`)];
      const outcome = await fetch(`${apiUrl}${path}`, init).then(
        async (answer) => {
          const text = await answer.text();
          return answer.ok ? 'answered' : `${answer.status} ${text}`;
        },
        (error: Error) => `${error.message} ${String(error.cause)}`,
      );
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      await sleep(20);
    }
  };
  const clients = Promise.all(Array.from({ length: 10 }, client));
  return {
    answered: () => outcomes.answered ?? 0,
    async stop() {
      going = false;
      await clients;
      return outcomes;
    },
  };
}

/** Sends requests before, while and after something is done to the second replica; none of them may fail. */
async function allAreAnswered(
  t: ExecutionContext,
  headersOf: (id: string) => Record<string, string>,
  disturb: (answeredMore: (what: string, count: number) => Promise<void>) => Promise<void>,
) {
  t.timeout(2 * patienceMs);
  const requests = startRequests(headersOf);
  t.teardown(() => requests.stop());
  const answeredMore = (what: string, count: number) => {
    const then = requests.answered();
    return eventually(what, () => requests.answered() > then + count, patienceMs);
  };
  await answeredMore('requests are answered', 100);
  await disturb(answeredMore);
  await eventually('it is ready again', () => isReady(second!), patienceMs);
  await answeredMore('both go on', 100);
  const outcomes = await requests.stop();
  t.log(JSON.stringify(outcomes));
  t.deepEqual(Object.keys(outcomes), ['answered']);
}

test.serial('a replica of the API is killed and comes back: no request fails', async (t) => {
  const { id } = await containerOf(second!);
  t.teardown(() => docker(['start', id]));
  await allAreAnswered(
    t,
    (key) => ({ 'idempotency-key': key }),
    async (answeredMore) => {
      await docker(['kill', id]);
      await answeredMore('the other one goes on', 500);
      await docker(['start', id]);
    },
  );
});

test.serial(
  'a replica ends in its own way: no request fails, also one that nobody may send twice',
  async (t) => {
    const { id } = await containerOf(second!);
    await allAreAnswered(
      t,
      () => ({}),
      () => docker(['restart', '--time', '30', id]).then(() => undefined),
    );
  },
);

/** What comes back for bytes until the gateway closes. */
async function raw(text: string): Promise<string> {
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket
    .setEncoding('utf8')
    .on('data', (more) => (answer += more))
    .on('error', () => {});
  await once(socket, 'connect');
  socket.write(text);
  await once(socket, 'close');
  return answer;
}
const request = (lines: readonly string[]) =>
  raw([`GET /coupons?limit=1 HTTP/1.1`, ...lines, 'connection: close', '', ''].join('\r\n'));

test.serial('a foreign Host, a foreign Origin, and what is too long are refused with a reason', async (t) => {
  t.timeout(patienceMs);
  const host = `host: ${hostname}:${port}`;
  t.regex(await request([host]), /^HTTP\/1\.1 200 /);
  t.regex(await request(['host: evil.example']), /^HTTP\/1\.1 421 [\s\S]*MUSTER_HOST_UNKNOWN/);
  t.regex(
    await request([host, 'origin: https://evil.example']),
    /^HTTP\/1\.1 403 [\s\S]*MUSTER_ORIGIN_REFUSED/,
  );
  t.regex(await request([host, `x-long: ${'x'.repeat(20_000)}`]), /^HTTP\/1\.1 400 /);
});

test.serial('a client that does not finish its request is cut off', async (t) => {
  t.timeout(patienceMs);
  t.regex(await raw(`GET / HTTP/1.1\r\nhost: ${hostname}:${port}\r\nx-slow`), /^HTTP\/1\.1 408 /);
});

/** Sends requests that no process is bothered with until one is answered 429. Runs in a container: the limit is an address's. */
const flood = `
  const many = 'GET / HTTP/1.1\\r\\nhost: nobody.example\\r\\n\\r\\n'.repeat(500);
  const socket = require('node:net').connect(${port}, 'gateway');
  const more = () => { while (socket.write(many)); socket.once('drain', more); };
  socket.on('connect', more).on('data', (data) => {
    if (!data.includes('MUSTER_TOO_MANY_REQUESTS')) return;
    console.log('told to wait');
    process.exit();
  });`;

test.serial('an address that asks too much is told to wait, and others are not', async (t) => {
  t.timeout(patienceMs);
  const { id } = await containerOf('promotion');
  t.is((await docker(['exec', id, 'timeout', '60', 'node', '-e', flood])).trim(), 'told to wait');
  t.is((await fetch(`${apiUrl}/coupons?limit=1`)).status, 200);
});
