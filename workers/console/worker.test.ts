import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { promises } from '../../catalog/promises.ts';
import { createLog } from '../base/log.ts';
import { startTestHttp } from '../http/testing.ts';
import { makeTokenKeys, tokenVerifier } from '../http/tokens.ts';
import type { Worker } from '../platform/worker.ts';
import { worker } from './worker.ts';

const { signingKey, verifyKey } = makeTokenKeys();

/** The console, with my-pay at `payUrl`, food delivery at `deliveryUrl`, and the workers `lag` and `promises` at `watchUrl`. */
async function serve(t: ExecutionContext, payUrl = '', deliveryUrl = '', watchUrl = '') {
  const log = createLog({ process: 'api', level: 'error' });
  const http = await startTestHttp({ log, tokens: undefined });
  t.teardown(() => http.close(100));
  const config = {
    ...{ CONSOLE_GRAFANA_URL: '', CONSOLE_DASHBOARDS_FILE: '', CONSOLE_PROMETHEUS_URL: '' },
    ...{ CONSOLE_TRACES_URL: '', CONSOLE_LOGS_URL: '' },
    MUSTER_ENV: 'dev',
    CONSOLE_JAEGER_URL: '',
    CONSOLE_PAY_URL: payUrl,
    CONSOLE_BANKS_URL: payUrl === '' ? '' : `${payUrl}/banks`,
    CONSOLE_DELIVERY_URL: deliveryUrl,
    CONSOLE_LAG_URL: watchUrl,
    CONSOLE_PROMISES_URL: watchUrl,
    TOKEN_SIGNING_KEY: signingKey,
  };
  await (worker as unknown as Worker).start({ config, http: http.app, log } as never);
  await http.open();
  return `http://127.0.0.1:${http.address().port}`;
}

/** A service that tells what reached it. */
async function service(
  t: ExecutionContext,
  answer: (request: IncomingMessage, body: string, response: ServerResponse) => void,
) {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    answer(request, body, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('only a page of this server gets tokens for the people whom it plays', async (t) => {
  const url = await serve(t);
  const ask = (body: object, headers: Record<string, string>) =>
    fetch(`${url}/console/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  const people = { role: 'customer', users: ['u1', 'u2'] };

  const answer = await ask(people, { origin: url });
  t.is(answer.headers.get('cache-control'), 'no-store');
  const { tokens } = (await answer.json()) as { tokens: string[] };
  const principals = await Promise.all(tokens.map(tokenVerifier({ verifyKey })));
  t.deepEqual(
    principals.map(({ role, subject }) => `${role} ${subject}`),
    ['customer u1', 'customer u2'],
  );
  t.is((await ask(people, {})).status, 403);
  t.is((await ask(people, { origin: 'http://evil.example' })).status, 403);
  t.is((await ask({ role: 'root', users: ['u1'] }, { origin: url })).status, 422);
});

test('the page and all that it is made of is served, and nothing else runs in it', async (t) => {
  const url = await serve(t);
  const page = await fetch(`${url}/console`);
  const policy = page.headers.get('content-security-policy')!;
  t.regex(policy, /^default-src 'none'; script-src 'self' 'sha256-[\w+/]{43}='; /);
  const seen = new Set<string>();
  const html = await page.text();
  const imports = JSON.parse(/importmap">([\s\S]*?)<\/script>/.exec(html)![1]!).imports;
  const looks = [...html.matchAll(/href="([^"]+\.css)"/g)].map(([, path]) => path!);
  const todo = ['/console/app.js', ...looks, ...(Object.values(imports) as string[])];
  for (let path = todo.pop(); path !== undefined; path = todo.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const answer = await fetch(`${url}${path}`);
    t.is(answer.status, 200, path);
    t.regex(answer.headers.get('content-type')!, path.endsWith('.css') ? /^text\/css/ : /^text\/javascript/);
    for (const [, from] of (await answer.text()).matchAll(/from ?["']([^"']+)["']/g))
      todo.push(from!.startsWith('./') ? `/console/${from!.slice(2)}` : imports[from!]);
  }
  t.true(
    seen.has('/console/pay.js') &&
      seen.has('/console/food.js') &&
      seen.has('/console/modules/preact-hooks.js'),
  );
});

test('the address alone leads to the page', async (t) => {
  const answer = await fetch(await serve(t), { redirect: 'manual' });
  t.is(answer.status, 302);
  t.is(answer.headers.get('location'), '/console');
});

test('what the environment has not has neither a tab nor a way to it', async (t) => {
  const url = await serve(t);
  const has = { hasPay: false, hasDelivery: false, hasCluster: false, hasPromises: false };
  t.like(await (await fetch(`${url}/console/settings`)).json(), has);
  t.is((await fetch(`${url}/console/cluster`)).status, 404);
  t.is((await fetch(`${url}/console/promises`)).status, 404);
  t.like(await (await fetch(`${url}/console/settings`)).json(), { hasDashboards: false, hasTraces: false });
  for (const path of ['dashboards', 'traces/services'])
    t.is((await fetch(`${url}/console/${path}`)).status, 404, path);
  t.is((await fetch(`${url}/console/pay/members`)).status, 404);
  t.is((await fetch(`${url}/console/delivery/shops`)).status, 404);
});

test('what the page sends to my-pay goes on as it is, with the token of whom it plays, and no cookie', async (t) => {
  const target = await service(t, ({ method, url, headers }, body, response) => {
    const { authorization, cookie, origin, 'idempotency-key': key } = headers;
    response.writeHead(409, { 'content-type': 'application/json', 'set-cookie': 'a=b' });
    response.end(JSON.stringify({ method, url, authorization, cookie, origin, key, body }));
  });
  const url = await serve(t, target);
  const ask = (path: string, headers: Record<string, string>) =>
    fetch(`${url}${path}`, {
      method: 'POST',
      headers: {
        ...{ 'content-type': 'application/json', authorization: 'Bearer t', cookie: 'c=d' },
        ...{ 'idempotency-key': 'k', ...headers },
      },
      body: '{"amount": 1}',
    });
  const answer = await ask('/console/pay/money/recharges?limit=1', { origin: url });
  t.is(answer.status, 409, 'a refusal stays one');
  t.is(answer.headers.get('set-cookie'), null);
  t.deepEqual(await answer.json(), {
    method: 'POST',
    url: '/pay/money/recharges?limit=1',
    authorization: 'Bearer t',
    key: 'k',
    body: '{"amount":1}',
  });
  t.like(await (await ask('/console/banks/demo/transfers', { origin: url })).json(), {
    url: '/banks/demo/transfers',
  });
  t.is((await ask('/console/pay/money/recharges', {})).status, 403, 'only the page of this server');
  t.is((await fetch(`${url}/console/pay/%2e%2e/metrics`)).status, 404, 'nothing beside it');
});

test('a file goes on byte by byte, and a picture comes back as what it is', async (t) => {
  const target = await service(t, ({ method, headers }, body, response) => {
    if (method === 'GET') {
      response.writeHead(200, { 'content-type': 'image/jpeg' }).end(Buffer.from([0xff, 0xd8, 0xff]));
      return;
    }
    response.writeHead(201, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ type: headers['content-type'], body }));
  });
  const url = await serve(t, '', target);
  t.like(await (await fetch(`${url}/console/settings`)).json(), { hasDelivery: true });
  const photos = `${url}/console/delivery/orders/o/photos`;
  const sent = '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nab"{}\r\n--b--\r\n';
  const type = 'multipart/form-data; boundary=b';
  const headers = { origin: url, authorization: 'Bearer t', 'content-type': type };
  const answer = await fetch(photos, { method: 'POST', headers, body: sent });
  t.deepEqual([answer.status, await answer.json()], [201, { type, body: sent }]);
  const shown = await fetch(`${photos}/p`);
  t.is(shown.headers.get('content-type'), 'image/jpeg');
  t.is(shown.headers.get('x-content-type-options'), 'nosniff');
  t.deepEqual([...new Uint8Array(await shown.arrayBuffer())], [0xff, 0xd8, 0xff]);
});

test('events of my-pay reach the page one by one, and end when it leaves', async (t) => {
  const left = Promise.withResolvers<void>();
  let say = (_text: string) => {};
  const target = await service(t, (_request, _body, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    say = (text) => response.write(text);
    say('event: ready\n\n');
    response.once('close', () => left.resolve());
  });
  const url = await serve(t, target);
  const leaving = new AbortController();
  const answer = await fetch(`${url}/console/pay/remittances/events`, { signal: leaving.signal });
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  t.is((await reader.read()).value, 'event: ready\n\n');
  say('event: remittance-outcome\n\n');
  t.is((await reader.read()).value, 'event: remittance-outcome\n\n');
  leaving.abort();
  await left.promise;
  await reader.read().catch(() => {});
  t.pass();
});

test('while my-pay is away the page is told so, and that trying again helps', async (t) => {
  const url = await serve(t, 'http://127.0.0.1:9');
  const answer = await fetch(`${url}/console/pay/money/accounts/a`);
  t.is(answer.status, 503);
  t.is(((await answer.json()) as { error: { code: string } }).error.code, 'MUSTER_SERVICE_AWAY');
});

test('of the process that watches, the page reaches the cluster and the promises, and nothing else', async (t) => {
  const asked: string[] = [];
  const target = await service(t, ({ url }, _body, response) => {
    asked.push(url!);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"brokers":[]}');
  });
  const url = await serve(t, '', '', target);
  t.deepEqual(await (await fetch(`${url}/console/cluster`)).json(), { brokers: [] });
  t.is((await fetch(`${url}/console/cluster/metrics`)).status, 404);
  t.deepEqual(asked, ['/cluster']);
});

const [first, second] = promises;
const shownOf = async (answer: Response) =>
  ((await answer.json()) as { promises: { name: string; status: string; why: string | null }[] }).promises;

test('what is told of a promise is shown, and one of which nothing is told is not checked', async (t) => {
  const checkedAt = '2026-11-21T04:30:00.000Z';
  const target = await service(t, ({ headers: { authorization } }, _body, response) => {
    const known = { status: 'holds', checkedAt, broken: 0, ids: [], brokenSince: null, why: null };
    response.writeHead(authorization === 'Bearer t' ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ promises: [{ name: first!.name, ...known }] }));
  });
  const url = await serve(t, '', '', target);
  t.is((await fetch(`${url}/console/promises`)).status, 401);
  const shown = await shownOf(
    await fetch(`${url}/console/promises`, { headers: { authorization: 'Bearer t' } }),
  );
  t.deepEqual(
    shown.map(({ name }) => name),
    promises.map(({ name }) => name),
  );
  t.like(shown[0], { status: 'holds', checkedAt, checkedEveryMs: first!.periodMs, why: null });
  t.like(shown[1], { name: second!.name, status: 'not checked', why: 'the worker does not know it' });
});

test('while nobody checks no promise looks kept', async (t) => {
  const url = await serve(t, '', '', 'http://127.0.0.1:9');
  const shown = await shownOf(await fetch(`${url}/console/promises`));
  t.is(shown.length, promises.length);
  t.true(
    shown.every(
      ({ status, why }) => status === 'not checked' && why === 'the worker that checks it does not answer',
    ),
  );
});
