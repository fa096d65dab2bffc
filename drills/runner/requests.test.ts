import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { Pool } from 'undici';
import { asRequests, countsOf, longestFailureMs, type SeenRequest, watchRequests } from './requests.ts';

test.serial(
  'every try of every HTTP client is seen with its class and its problem, and those who only look are not',
  async (t) => {
    const server = createServer((request, response) => {
      if (request.url === '/orders/cut') request.socket.destroy();
      else response.writeHead(request.url === '/orders/away' ? 503 : 200).end('{}');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const watched = watchRequests(new Map([[url, '']]));
    const pool = new Pool(url);
    t.teardown(async () => {
      await pool.close();
      server.closeAllConnections();
      server.close();
    });
    const call = async (path: string) => (await pool.request({ method: 'GET', path })).body.dump();
    await call('/purchases?x=1');
    await call('/orders/away');
    await call('/readyz');
    await t.throwsAsync(call('/orders/cut'));
    await (await fetch(`${url}/coupons/1`)).text();
    watched.stop();
    await call('/purchases');
    t.deepEqual(
      watched.seen.map(({ of, problem }) => [of, problem]),
      [
        ['purchases', undefined],
        ['orders', '503'],
        ['orders', 'UND_ERR_SOCKET'],
        ['coupons', undefined],
      ],
    );
    t.true(watched.seen.every(({ tookMs, sentAtMs }) => tookMs >= 0 && sentAtMs > 0));
  },
);

test.serial('a named entrance is a class of its own, and nobody else’s requests are seen', async (t) => {
  // Nobody listens there any more.
  const ports: number[] = [];
  for (let nth = 0; nth < 2; nth++) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    ports.push((server.address() as AddressInfo).port);
    server.close();
  }
  const [own, foreign] = ports.map((port) => `http://127.0.0.1:${port}`);
  const watched = watchRequests(new Map([[own!, 'pay']]));
  await t.throwsAsync(fetch(`${own}/pay/money`));
  await t.throwsAsync(fetch(`${foreign}/pay/money`));
  watched.stop();
  t.deepEqual(
    watched.seen.map(({ of, problem }) => [of, problem]),
    [['pay', 'ECONNREFUSED']],
  );
});

const request = (sentAtMs: number, of: string, tookMs: number, problem?: string): SeenRequest => ({
  of,
  sentAtMs,
  tookMs,
  ...(problem === undefined ? {} : { problem }),
});

test('requests are counted by class before, while and after a change, by when they were sent', (t) => {
  const counts = countsOf(
    [
      request(500, 'orders', 9_000),
      request(1_000, 'orders', 10),
      request(1_900, 'kafka', 30),
      request(2_000, 'orders', 10, '503'),
      request(2_100, 'orders', 20),
      request(4_000, 'orders', 40),
      request(9_000, 'orders', 1, '503'),
    ],
    { fromMs: 1_000, untilMs: 5_000 },
    { fromMs: 2_000, untilMs: 3_000 },
  );
  t.deepEqual(
    counts.map(({ phase, of, sent, failed, p99Ms }) => [phase, of, sent, failed, p99Ms]),
    [
      ['before', 'all', 2, 0, 30],
      ['before', 'kafka', 1, 0, 30],
      ['before', 'orders', 1, 0, 10],
      ['while', 'all', 2, 1, 20],
      ['while', 'orders', 2, 1, 20],
      ['after', 'all', 1, 0, 40],
      ['after', 'orders', 1, 0, 40],
    ],
  );
  t.deepEqual(counts[3]!.problems, { 503: 1 });
});

test('failures without a second between them are one time of failing', (t) => {
  t.is(longestFailureMs([request(0, 'a', 5)]), 0);
  const failing = [
    request(0, 'a', 10, '503'),
    request(900, 'b', 100, '503'),
    request(1_500, 'a', 500, 'ECONNREFUSED'),
    request(9_000, 'a', 3, '503'),
  ];
  t.is(longestFailureMs(failing), 2_000);
});

test('a record without an ack is a request that failed', (t) => {
  const [acked, lost] = asRequests([
    { observer: 'x', sentAtMs: 10, settledAtMs: 25 },
    { observer: 'x', sentAtMs: 10 },
  ]);
  t.like(acked, { of: 'kafka', tookMs: 15 });
  t.is(lost!.problem, 'no ack');
});
