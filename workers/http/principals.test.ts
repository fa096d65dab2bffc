import { request } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { generateKeyPair, SignJWT } from 'jose';
import { WebSocket } from 'ws';
import { createLog } from '../base/log.ts';
import { createRegistry } from '../base/metrics.ts';
import { userOf } from './principals.ts';
import { createStreams } from './realtime.ts';
import { type Http, startHttp } from './server.ts';
import { makeTokenKeys, type Role, signToken, type TrustedKeys } from './tokens.ts';

const { signingKey, verifyKey } = makeTokenKeys();
const hourMs = 3_600_000;
const tokenOf = (role: Role, subject: string, ttlMs = hourMs) =>
  signToken(signingKey, { role, subject, ttlMs });

async function start(
  t: ExecutionContext,
  options: { readonly tokens?: TrustedKeys | undefined; readonly allowedHosts?: readonly string[] } = {},
): Promise<Http> {
  const http = await startHttp({
    host: '127.0.0.1',
    port: 0,
    processName: 'api',
    version: '1',
    log: createLog({ process: 'api', level: 'error', stream: process.stderr }),
    registry: createRegistry(),
    readiness: () => ({ ready: true, reasons: [] }),
    tokens: { verifyKey },
    ...options,
  });
  t.teardown(() => http.close(100));
  return http;
}

async function serve(t: ExecutionContext, options: Parameters<typeof start>[1] = {}): Promise<string> {
  const http = await start(t, options);
  const { app } = http;
  app.get('/open', { config: { callers: 'anyone' } }, async () => ({}));
  app.get('/staff', { config: { callers: ['operator'] } }, async (request) => request.principal);
  app.get('/mine', { config: { callers: ['customer', 'operator'] } }, async (request) => ({
    userId: userOf(request, (request.query as { userId?: string }).userId),
  }));
  createStreams(app as never, { maxClients: 100 }).route({
    path: '/ws',
    transport: 'websocket',
    callers: ['customer', 'operator'],
    schema: {},
    open: ({ principal }) => ({
      begin: (connection) => void connection.send({ type: 'ready', data: principal!.subject }),
      left() {},
    }),
  });
  await http.open();
  return `http://127.0.0.1:${http.address().port}`;
}

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly challenge: string | undefined;
  readonly body: Record<string, unknown>;
}

/** Not by fetch(), which does not let Host and Origin be set. */
function get(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request(url, { headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const body = JSON.parse(text) as { error?: { code: string } };
        resolve({
          status: response.statusCode!,
          code: body.error?.code,
          challenge: response.headers['www-authenticate'],
          body: body as Record<string, unknown>,
        });
      });
    })
      .on('error', reject)
      .end();
  });
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

function open(url: string, headers: Readonly<Record<string, string>>, protocols: string[] = []) {
  return new Promise<string>((resolve) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, protocols, { headers });
    socket.once('message', (data) => {
      resolve(`${JSON.parse(String(data)).data} ${socket.protocol}`);
      socket.terminate();
    });
    socket.once('unexpected-response', (_request, response) => {
      resolve(String(response.statusCode));
      socket.terminate();
    });
    socket.once('error', () => resolve('failed'));
  });
}

test('a route that does not say who may call it cannot be registered', async (t) => {
  const { app } = await start(t);
  t.throws(() => app.get('/forgotten', async () => ({})), {
    code: 'MUSTER_ROUTE_OPEN',
    message: /\/forgotten/,
  });
});

test('a closed route needs to know whose tokens count', async (t) => {
  const { app } = await start(t, { tokens: undefined });
  t.throws(() => app.get('/staff', { config: { callers: ['operator'] } }, async () => ({})), {
    code: 'MUSTER_TOKEN_KEYS_UNSET',
    message: /TOKEN_VERIFY_KEY/,
  });
});

test('probes, metrics and docs are open, closed routes are 401 without a token', async (t) => {
  const url = await serve(t);
  for (const path of ['/open', '/healthz', '/readyz', '/docs/json'])
    t.is((await get(url + path)).status, 200, path);
  t.is((await fetch(`${url}/metrics`)).status, 200);
  const refused = await get(`${url}/staff`);
  t.is(refused.status, 401);
  t.is(refused.code, 'MUSTER_UNAUTHENTICATED');
  t.is(refused.challenge, 'Bearer realm="muster"');
});

test('a token says who calls, and another role is 403', async (t) => {
  const url = await serve(t);
  const operator = await get(`${url}/staff`, bearer(await tokenOf('operator', 'kim')));
  t.is(operator.status, 200);
  t.like(operator.body, { role: 'operator', subject: 'kim' });
  const customer = await get(`${url}/staff`, bearer(await tokenOf('customer', 'u1')));
  t.is(customer.status, 403);
  t.is(customer.code, 'MUSTER_FORBIDDEN');
});

test('a customer is himself, named or not; who may act for others names them', async (t) => {
  const url = await serve(t);
  const mine = bearer(await tokenOf('customer', 'u1'));
  t.deepEqual((await get(`${url}/mine`, mine)).body, { userId: 'u1' });
  t.deepEqual((await get(`${url}/mine?userId=u1`, mine)).body, { userId: 'u1' });
  t.is((await get(`${url}/mine?userId=u2`, mine)).code, 'MUSTER_FORBIDDEN');
  const operator = bearer(await tokenOf('operator', 'kim'));
  t.deepEqual((await get(`${url}/mine?userId=u2`, operator)).body, { userId: 'u2' });
  t.is((await get(`${url}/mine`, operator)).status, 422);
});

test('forged, foreign, expired and unsigned tokens are 401, each with its reason', async (t) => {
  const url = await serve(t);
  const claims = (role = 'operator') =>
    new SignJWT({ role }).setSubject('kim').setIssuer('muster').setAudience('muster').setExpirationTime('1h');
  const { privateKey: stranger } = await generateKeyPair('EdDSA');
  const good = await tokenOf('operator', 'kim');
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const [, payload, signature] = good.split('.');
  const bad: Record<string, string> = {
    'by another key': await claims().setProtectedHeader({ alg: 'EdDSA' }).sign(stranger),
    // The public key as if it were a shared secret.
    'of a shared secret': await claims()
      .setProtectedHeader({ alg: 'HS256' })
      .sign(Buffer.from(verifyKey, 'base64url')),
    unsigned: `${part({ alg: 'none' })}.${payload}.`,
    'unsigned, with a signature': `${part({ alg: 'none' })}.${payload}.${signature}`,
    altered: `${good.split('.')[0]}.${part({ role: 'operator', sub: 'eve', iss: 'muster', aud: 'muster', exp: 9e9 })}.${signature}`,
    'no token': 'x',
    empty: '',
    'expired an hour ago': await tokenOf('operator', 'kim', -hourMs),
    'of an unknown role': await signToken(signingKey, {
      role: 'root' as Role,
      subject: 'kim',
      ttlMs: hourMs,
    }),
    'of nobody': await tokenOf('operator', ''),
  };
  for (const [what, token] of Object.entries(bad)) {
    const answer = await get(`${url}/staff`, bearer(token));
    t.is(answer.status, 401, what);
    t.is(answer.code, 'MUSTER_UNAUTHENTICATED', what);
    if (token.length > 5) t.false(JSON.stringify(answer.body).includes(token), what);
  }
  t.regex(
    JSON.stringify((await get(`${url}/staff`, bearer(bad['expired an hour ago']!))).body),
    /has expired/,
  );
});

test('a token that was seen before still ends when it ends', async (t) => {
  const url = await serve(t);
  // Shorter than the tolerance for other clocks: good at first, remembered, and refused once that is over.
  const token = bearer(await tokenOf('operator', 'kim', -2_000));
  t.is((await get(`${url}/staff`, token)).status, 200);
  let status = 200;
  for (let i = 0; i < 100 && status === 200; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    status = (await get(`${url}/staff`, token)).status;
  }
  t.is(status, 401);
});

test('a token by a site’s keys: issuer and audience must be its own, and keys that are away are "not now"', async (t) => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const { exportJWK } = await import('jose');
  const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] };
  let up = true;
  const { createServer } = await import('node:http');
  const site = createServer((_request, response) => {
    response.writeHead(up ? 200 : 500, { 'content-type': 'application/json' }).end(JSON.stringify(keys));
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  t.teardown(() => site.close());
  const { port } = site.address() as { port: number };
  const tokens = { jwksUrl: `http://127.0.0.1:${port}/jwks`, issuer: 'https://login', audience: 'shop' };
  const sign = (issuer: string, audience: string) =>
    new SignJWT({ role: 'operator' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setSubject('kim')
      .setIssuer(issuer)
      .setAudience(audience)
      .setExpirationTime('1h')
      .sign(privateKey);
  const url = await serve(t, { tokens });
  t.is((await get(`${url}/staff`, bearer(await sign('https://login', 'shop')))).status, 200);
  for (const [issuer, audience] of [
    ['https://elsewhere', 'shop'],
    ['https://login', 'other'],
  ] as const)
    t.is((await get(`${url}/staff`, bearer(await sign(issuer, audience)))).code, 'MUSTER_UNAUTHENTICATED');
  t.is((await get(`${url}/staff`, bearer(await tokenOf('operator', 'kim')))).status, 401);
  up = false;
  const away = await serve(t, { tokens });
  const answer = await get(`${away}/staff`, bearer(await sign('https://login', 'shop')));
  t.is(answer.status, 503);
  t.is(answer.code, 'MUSTER_TOKEN_KEYS_AWAY');
});

test('a foreign Host is 421 everywhere; localhost, addresses and names of the settings are answered', async (t) => {
  const url = await serve(t, { allowedHosts: ['api', 'shop.example'] });
  const { port } = new URL(url);
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    'localhost.evil.example',
    'api.evil',
    'a@b',
    '::',
  ]) {
    for (const path of ['/open', '/healthz', '/docs/json']) {
      const answer = await get(url + path, { host });
      t.is(answer.status, 421, `${host}${path}`);
      t.is(answer.code, 'MUSTER_HOST_UNKNOWN');
    }
  }
  for (const host of [
    'localhost',
    `localhost:${port}`,
    'LOCALHOST:1',
    '127.0.0.1:80',
    '[::1]:80',
    'api:8080',
    'Shop.Example',
    'shop.example.',
  ])
    t.is((await get(`${url}/open`, { host })).status, 200, host);
});

test('a page of another origin is 403, one of this server or of an allowed host is answered', async (t) => {
  const url = await serve(t, { allowedHosts: ['shop.example'] });
  for (const origin of [
    'http://evil.example',
    'http://127.0.0.1:1',
    'http://localhost:1',
    'null',
    'file://',
    'x',
    '',
  ]) {
    const answer = await get(`${url}/open`, { origin });
    t.is(answer.status, 403, origin);
    t.is(answer.code, 'MUSTER_ORIGIN_REFUSED');
  }
  for (const origin of [
    url,
    url.replace('http', 'https'),
    'https://shop.example',
    'http://shop.example:8080',
  ])
    t.is((await get(`${url}/open`, { origin })).status, 200, origin);
});

test('a WebSocket is held to Host, Origin and token like any request', async (t) => {
  const url = await serve(t);
  const token = await tokenOf('customer', 'u1');
  t.is(await open(url, bearer(token)), 'u1 ');
  t.is(await open(url, {}, ['muster', `bearer.${token}`]), 'u1 muster');
  t.is(await open(url, { origin: url }, ['muster', `bearer.${token}`]), 'u1 muster');
  t.is(await open(url, { ...bearer(token), origin: 'http://evil.example' }), '403');
  t.is(await open(url, { ...bearer(token), host: 'evil.example' }), '421');
  t.is(await open(url, {}), '401');
  t.is(await open(url, bearer(await tokenOf('merchant', 'm1'))), '403');
  t.is(await open(`${url}/elsewhere`, bearer(token)), '404');
});

test('one caller cannot take the streams that are there for all', async (t) => {
  const url = await serve(t);
  const held: WebSocket[] = [];
  const hold = (headers: Readonly<Record<string, string>>) =>
    new Promise<void>((resolve) => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, { headers });
      t.teardown(() => socket.terminate());
      held.push(socket);
      socket.once('message', () => resolve());
    });
  const mine = bearer(await tokenOf('customer', 'u1'));
  for (let i = 0; i < 20; i += 1) await hold(mine);
  t.is(await open(url, mine), '429');
  t.is(await open(url, bearer(await tokenOf('customer', 'u1', 2 * hourMs))), '429', 'by another token, too');
  t.is(await open(url, bearer(await tokenOf('customer', 'u2'))), 'u2 ');
  const operator = bearer(await tokenOf('operator', 'u1'));
  for (let i = 0; i < 21; i += 1) await hold(operator);
  held[0]!.close();
  let answer = '429';
  for (let i = 0; i < 500 && answer === '429'; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    answer = await open(url, mine);
  }
  t.is(answer, 'u1 ', 'who closes one may open another');
});

test('a stream lasts no longer than the token that opened it', async (t) => {
  const url = await serve(t);
  // exp is in whole seconds: this one ends within the next two.
  const headers = bearer(await tokenOf('customer', 'u1', 2_000));
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, { headers });
  const code = await new Promise((resolve) => socket.once('close', resolve));
  t.is(code, 1001);
});

test('a client that offers another protocol than WebSocket gets a plain answer', async (t) => {
  const url = await serve(t);
  const answer = await get(`${url}/open`, { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c' });
  t.is(answer.status, 200);
});
