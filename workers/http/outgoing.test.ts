import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { createRegistry } from '../base/metrics.ts';
import { type Call, createOutgoing, type OutgoingOptions } from './outgoing.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A system outside that does as the handler says, and a client of it. */
async function outside(t: ExecutionContext, handler: Handler, options: Partial<OutgoingOptions> = {}) {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const registry = createRegistry();
  const client = createOutgoing({
    name: 'shop',
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    timeoutMs: 30_000,
    registry,
    ...options,
  });
  return { ...client, registry, requests: () => requests };
}

const post: Call = { method: 'POST', path: '/work', idempotencyKey: 'e-1', body: '{"orderId":"o"}' };
const status =
  (code: number): Handler =>
  (_, response) =>
    void response.writeHead(code, { location: '/' }).end();

test('the body goes out with its key', async (t) => {
  let seen: unknown;
  const { call } = await outside(t, async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const { method, url, headers } = request;
    seen = { method, url, key: headers['idempotency-key'], type: headers['content-type'], text };
    response.writeHead(204).end();
  });
  t.deepEqual(await call(post), { outcome: '2xx', status: 204, inDoubt: false });
  t.deepEqual(seen, {
    method: 'POST',
    url: '/work',
    key: 'e-1',
    type: 'application/json',
    text: '{"orderId":"o"}',
  });
});

test('an answer is no doubt, whatever it says; a redirect is not followed', async (t) => {
  for (const [code, outcome] of [
    [302, '3xx'],
    [399, '3xx'],
    [400, '4xx'],
    [499, '4xx'],
    [500, '5xx'],
    [503, '5xx'],
  ] as const)
    t.deepEqual(await (await outside(t, status(code))).call(post), { outcome, status: code, inDoubt: false });
});

test('a gateway that got no answer leaves a doubt: it had sent the request on', async (t) => {
  for (const code of [502, 504])
    t.deepEqual(await (await outside(t, status(code))).call(post), {
      outcome: '5xx',
      status: code,
      inDoubt: true,
    });
});

test('no answer in time, or a connection that breaks, leaves a doubt', async (t) => {
  t.deepEqual(await (await outside(t, () => {}, { timeoutMs: 300 })).call(post), {
    outcome: 'timeout',
    status: null,
    inDoubt: true,
  });
  t.deepEqual(await (await outside(t, (request) => void request.socket.destroy())).call(post), {
    outcome: 'network',
    status: null,
    inDoubt: true,
  });
});

test('nobody there: nothing was sent, so there is no doubt', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const { call } = await outside(t, () => {}, { baseUrl: `http://127.0.0.1:${port}` });
  t.deepEqual(await call(post), { outcome: 'network', status: null, inDoubt: false });
});

test('a status counts although its body never ends or is cut off', async (t) => {
  const endless = await outside(t, (_, response) => {
    response.writeHead(200);
    const more = setInterval(() => response.write('x'.repeat(16_384)), 1);
    response.once('close', () => clearInterval(more));
  });
  t.is((await endless.call(post)).outcome, '2xx');
  const cut = await outside(t, (_, response) => {
    response.writeHead(500, { 'content-length': '100' });
    response.write('x');
    setImmediate(() => response.destroy());
  });
  t.is((await cut.call(post)).outcome, '5xx');
});

test('what the other side can know again is tried again; a doubt stays until a try succeeds', async (t) => {
  let count = 0;
  const flaky: Handler = (request, response) => {
    count += 1;
    if (count === 1) request.socket.destroy();
    else response.writeHead(count === 2 ? 503 : 200).end();
  };
  const twice = await outside(t, flaky, { tries: 2 });
  t.deepEqual(await twice.call(post), { outcome: '5xx', status: 503, inDoubt: true });
  count = 0;
  const thrice = await outside(t, flaky, { tries: 3 });
  t.deepEqual(await thrice.call(post), { outcome: '2xx', status: 200, inDoubt: false });
  const blind = await outside(t, status(503), { tries: 3 });
  await blind.call({ method: 'POST', path: '/work', body: '{}' });
  t.is(blind.requests(), 1, 'without a key nothing is sent twice');
  const refused = await outside(t, status(422), { tries: 3 });
  await refused.call(post);
  t.is(refused.requests(), 1, 'a refusal stays one');
});

test('retries are a share of the calls: a system on its knees is not asked twice as much', async (t) => {
  const { call, requests } = await outside(t, status(503), { tries: 2, failuresInARow: 1_000 });
  await Promise.all(Array.from({ length: 100 }, () => call({ method: 'GET', path: '/state' })));
  t.true(requests() >= 110 && requests() <= 121, `${requests()} requests of 100 calls`);
  // What was kept for a quiet time is used up: one in ten from here on.
  const before = requests();
  for (let n = 0; n < 50; n += 1) await call({ method: 'GET', path: '/state' });
  const more = requests() - before;
  t.true(more >= 54 && more <= 56, `${more} requests of 50 calls`);
});

test('a system that fails again and again is left alone, then one call finds out whether it is back', async (t) => {
  let code = 500;
  const { call, mayCall, requests, registry } = await outside(
    t,
    (_, response) => void response.writeHead(code).end(),
    {
      failuresInARow: 3,
      leftAloneMs: 300,
    },
  );
  const metric = async (text: string) => (await registry.metrics()).includes(text);
  for (let i = 0; i < 3; i += 1) await call(post);
  t.false(mayCall());
  t.true(await metric('http_client_breaker_open{client="shop"} 1'));
  t.deepEqual(await call(post), { outcome: 'breaker', status: null, inDoubt: false });
  t.is(requests(), 3);
  while (!mayCall()) await new Promise((resolve) => setTimeout(resolve, 10));
  t.is((await call(post)).outcome, '5xx', 'it is not back');
  t.false(mayCall());
  t.is(requests(), 4);
  code = 200;
  while (!mayCall()) await new Promise((resolve) => setTimeout(resolve, 10));
  t.is((await call(post)).outcome, '2xx');
  t.true(mayCall());
  t.true(await metric('http_client_breaker_open{client="shop"} 0'));
  t.true(await metric('http_client_calls_total{client="shop",outcome="breaker"} 1'));
});

test('what has a schedule of its own is sent all the same, and its success ends the wait of the others', async (t) => {
  let code = 500;
  const { call, mayCall } = await outside(t, (_, response) => void response.writeHead(code).end(), {
    failuresInARow: 3,
    leftAloneMs: 3_600_000,
  });
  for (let i = 0; i < 3; i += 1) await call(post);
  t.is((await call({ ...post, evenIfDown: true })).outcome, '5xx');
  t.false(mayCall());
  code = 200;
  t.is((await call({ ...post, evenIfDown: true })).outcome, '2xx');
  t.true(mayCall());
  code = 500;
  await call(post);
  t.true(mayCall(), 'it counts from the beginning');
});

test('an answer that is no success comes from a system that is up', async (t) => {
  const { call, mayCall } = await outside(t, status(429), { failuresInARow: 2 });
  for (let i = 0; i < 5; i += 1) await call(post);
  t.true(mayCall());
});

const json =
  (code: number, text: string): Handler =>
  (_, response) =>
    void response.writeHead(code, { 'content-type': 'application/json' }).end(text);
const get: Call = { method: 'GET', path: '/state', wantsBody: true };

test('the JSON of an answer comes back where it is wanted, of a refusal too', async (t) => {
  const found = await outside(t, json(200, '{"state":"ACTIVE"}'));
  t.deepEqual(await found.call(get), {
    outcome: '2xx',
    status: 200,
    inDoubt: false,
    body: { state: 'ACTIVE' },
  });
  t.deepEqual(await found.call({ ...get, wantsBody: undefined } as never), {
    outcome: '2xx',
    status: 200,
    inDoubt: false,
  });
  const refused = await outside(t, json(404, '{"code":"UNKNOWN"}'));
  t.deepEqual(await refused.call(get), {
    outcome: '4xx',
    status: 404,
    inDoubt: false,
    body: { code: 'UNKNOWN' },
  });
  const plain = await outside(t, json(502, '<html>bad gateway</html>'));
  t.deepEqual(await plain.call(get), { outcome: '5xx', status: 502, inDoubt: true });
});

test('a success that cannot be read is no success: nobody knows what was done', async (t) => {
  const unreadable = { outcome: 'unreadable', status: 200, inDoubt: true };
  const letters = (bytes: number) => JSON.stringify('x'.repeat(bytes - 2));
  for (const [what, text] of [
    ['empty', ''],
    ['no JSON', '<html>please log in</html>'],
    ['a byte too large', letters(65_537)],
  ] as const)
    t.deepEqual(await (await outside(t, json(200, text))).call(get), unreadable, what);
  t.is((await (await outside(t, json(200, letters(65_536)))).call(get)).outcome, '2xx', 'the largest');

  const bytes = await outside(t, (_, response) => void response.end(Buffer.from([0x22, 0xff, 0x22])));
  t.deepEqual(await bytes.call(get), unreadable, 'not UTF-8');
  const cut = await outside(t, (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('{');
    setImmediate(() => response.destroy());
  });
  t.deepEqual(await cut.call(get), unreadable, 'cut off');
  const silent = await outside(t, (_, response) => void response.writeHead(200).write('{'), {
    timeoutMs: 300,
  });
  t.deepEqual(await silent.call(get), { outcome: 'timeout', status: null, inDoubt: true }, 'never ends');
  const down = await outside(t, json(200, ''), { failuresInARow: 2 });
  for (let n = 0; n < 3; n += 1) await down.call(get);
  t.is(down.requests(), 2, 'it counts as down');
});

test('a call says who calls, and a token is in no answer', async (t) => {
  let seen: string | undefined;
  const { call } = await outside(
    t,
    (request, response) => {
      seen = request.headers.authorization;
      response.writeHead(204).end();
    },
    { token: 'abc' },
  );
  await call(post);
  t.is(seen, 'Bearer abc');
});
