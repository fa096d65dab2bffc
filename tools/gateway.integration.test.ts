/** The gateway as the real HAProxy runs it, before small servers: what reaches whom, once or twice, and who is sent away. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect as connectHttp2, constants as http2 } from 'node:http2';
import { request as requestTls } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { execa } from 'execa';
import { Agent, type Dispatcher, Pool } from 'undici';
import WebSocket, { WebSocketServer } from 'ws';
import { environments, type GatewayLimits } from '../catalog/environments.ts';
import { makeAuthority, makeCertificate } from '../environment/certificate.ts';
import { authorityPem } from '../stacks/config/certificate.ts';
import {
  certificateIn,
  type Entrance,
  gatewayOf,
  handOver,
  renderGateway,
  renderMaster,
  renderReload,
} from '../stacks/config/gateway.ts';
import { createStreams } from '../workers/http/realtime.ts';
import { startTestHttp } from '../workers/http/testing.ts';
import { sendsTo } from './gateway-control.ts';
import { needProgram, systemFolders } from './programs.ts';

test.beforeEach((t) => t.timeout(120_000));

const limits: GatewayLimits = {
  connections: 500,
  connectionsEach: 400,
  buffers: 500,
  requestsEachIn10s: 100_000,
  bodyBytes: 50_000,
  requestMs: 1_000,
  silenceMs: 1_500,
  idleMs: 5_000,
};

let lastPort = 21_000 + Math.floor(Math.random() * 5_000);

/** Below those that the system gives to connections, of which there are many here: HAProxy finds it as free as it was. */
async function freePort(): Promise<number> {
  for (;;) {
    lastPort += 1;
    const port = lastPort;
    const server = createTcpServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.close();
    if (isFree) return port;
  }
}

async function until(what: string, holds: () => boolean | Promise<boolean>) {
  for (let tries = 0; tries < 1_000; tries += 1) {
    if (await holds()) return;
    await sleep(20);
  }
  throw new Error(`never: ${what}`);
}

interface Running {
  readonly port: number;
  readonly controlPort: number;
  readonly url: string;
  /** State of each server by its name, as HAProxy's own metrics say. */
  states(): Promise<Map<string, string>>;
  /** What it has said. */
  readonly lines: string[];
  /** Gives it another configuration while it runs: with other limits, other replicas, or a text that is none. */
  change(other: {
    replicas?: Replicas;
    limits?: Partial<GatewayLimits>;
    text?: string;
    pem?: string;
  }): Promise<void>;
}

type Replicas = Readonly<Record<string, number>>;

/** What is taken for netcat: not every machine has one. */
const netcat = `#!/bin/bash
exec 3<>"/dev/tcp/$1/$2"
cat >&3
cat <&3
`;

const advice = 'Debian: apt-get install haproxy.';

/** HAProxy before the replicas, which are at these ports of this machine, when it has asked each of them. */
async function gateway(
  t: ExecutionContext,
  replicas: Replicas,
  other: Partial<GatewayLimits> = {},
  { pem, ...isPage }: Pick<Entrance, 'isPage'> & { readonly pem?: string } = {},
): Promise<Running> {
  const haproxy = await needProgram(['haproxy'], ['haproxy'], advice, () => {});
  const [port, metricsPort, controlPort] = [await freePort(), await freePort(), await freePort()];
  const folder = await mkdtemp(join(tmpdir(), 'muster-gateway-'));
  const file = (name: string) => join(folder, name);
  const textOf = (at: Replicas, changed: Partial<GatewayLimits>, shown: string | undefined) =>
    renderGateway({
      name: 'gateway',
      entrances: [
        {
          process: 'api',
          ...isPage,
          port,
          replicas: Object.entries(at).map(([alias, own]) => ({ alias, address: `127.0.0.1:${own}` })),
        },
      ],
      hostNames: ['shop.example'],
      limits: { ...limits, ...other, ...changed },
      metricsPort,
      controlPort,
      ...(shown === undefined ? {} : { certificate: certificateIn(folder, shown) }),
    });
  const put = async (text: string) => {
    await writeFile(file('next'), text);
    await rename(file('next'), file('haproxy.cfg'));
  };
  const show = async (shown: string | undefined) => {
    if (shown !== undefined) await writeFile(certificateIn(folder, shown), shown);
  };
  await show(pem);
  await put(textOf(replicas, {}, pem));
  const reloading = { config: file('haproxy.cfg'), script: file('reload.sh'), folder, controlPort };
  await writeFile(file('master.cfg'), renderMaster(reloading));
  await writeFile(reloading.script, renderReload(reloading));
  await writeFile(file('nc'), netcat);
  await chmod(file('nc'), 0o755);
  const files = ['-f', file('master.cfg'), '-f', file('haproxy.cfg')];
  const child: ChildProcess = spawn(haproxy, ['-W', '-db', ...files], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
    detached: true,
  });
  const lines: string[] = [];
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', (said: string) => lines.push(...said.split('\n').filter(Boolean)));
  t.teardown(async () => {
    // With all that it has started.
    process.kill(-child.pid!, 'SIGKILL');
    await once(child, 'close');
    await rm(folder, { recursive: true });
  });
  const change: Running['change'] = async ({
    replicas: at = replicas,
    limits: changed = {},
    text,
    pem: shown = pem,
  }) => {
    await show(shown);
    await put(text ?? textOf(at, changed, shown));
  };
  const states = async () => {
    const answer = await fetch(`http://127.0.0.1:${metricsPort}/metrics?scope=server`);
    const found = /^haproxy_server_status\{proxy="api",server="([^"]+)",state="(\w+)"\} 1$/gm;
    return new Map([...(await answer.text()).matchAll(found)].map(([, name, state]) => [name!, state!]));
  };
  await until(`the gateway runs: ${lines.join('\n')}`, async () =>
    fetch(`http://127.0.0.1:${metricsPort}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  const scheme = pem === undefined ? 'http' : 'https';
  return { port, controlPort, url: `${scheme}://127.0.0.1:${port}`, states, lines, change };
}

/** The same with a certificate, and what a client trusts that is to check it. */
async function securedGateway(t: ExecutionContext, replicas: Replicas, other: Partial<GatewayLimits> = {}) {
  const authority = await makeAuthority();
  const make = () => makeCertificate(authority, ['localhost', 'shop.example', '127.0.0.1']);
  const gate = await gateway(t, replicas, other, { pem: await make() });
  /** A connection of HTTP/2, when it is there. */
  const session = async () => {
    const made = connectHttp2(gate.url, { ca: authorityPem(authority) });
    t.teardown(() => made.destroy());
    made.on('error', () => {});
    // Who is refused is closed, with an error or without.
    await new Promise<void>((resolve) => {
      made.once('remoteSettings', () => resolve());
      made.once('close', () => resolve());
    });
    return made;
  };
  return { ...gate, ca: authorityPem(authority), make, session };
}

type Session = Awaited<ReturnType<Awaited<ReturnType<typeof securedGateway>>['session']>>;

/** One request of HTTP/2, and the answer to it. */
async function asked(
  session: Session,
  headers: Record<string, string | number> = {},
  body?: string,
  isWhole = true,
) {
  const stream = session.request({ ':path': '/', ...headers }, { endStream: body === undefined });
  if (body !== undefined) stream.write(body);
  if (isWhole) stream.end();
  let text = '';
  stream.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
  await once(stream, 'end');
  stream.close();
  return { status: answer[http2.HTTP2_HEADER_STATUS], text };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A small server; what it is asked beside what the gateway asks goes to `handler`, and is counted. */
async function server(t: ExecutionContext, handler: Handler, port = 0) {
  const seen: string[] = [];
  const http = createServer((ask, answer) => {
    if (ask.url === '/readyz' || ask.url === '/healthz') {
      answer.end();
      return;
    }
    seen.push(`${ask.method} ${ask.url}`);
    handler(ask, answer);
  });
  http.listen(port, '127.0.0.1');
  await once(http, 'listening');
  t.teardown(() => {
    http.close();
    http.closeAllConnections();
  });
  return { http, seen, port: (http.address() as AddressInfo).port };
}

const says =
  (name: string): Handler =>
  (ask, answer) => {
    ask.resume();
    ask.on('end', () => answer.end(name));
  };
const dies: Handler = (ask) =>
  ask.on('data', () => ask.socket.destroy()).on('end', () => ask.socket.destroy());

/** Writes bytes and resolves to everything that comes back until the other side closes. */
async function raw(port: number, write: (socket: ReturnType<typeof connect>) => unknown): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.setEncoding('utf8').on('data', (more) => {
    text += more;
  });
  socket.on('error', () => {});
  await once(socket, 'connect');
  await write(socket);
  await once(socket, 'close');
  return text;
}

test('a process that says it is not ready, goes on for its notice, drains and ends loses no request', async (t) => {
  const replica = async (alias: string) => {
    let ready = true;
    const http = await startTestHttp({
      processName: alias,
      allowedHosts: [alias],
      readiness: () => ({ ready, reasons: [] }),
    });
    const notReady = () => {
      ready = false;
    };
    let running = 0;
    http.app.post('/work', { config: { callers: 'anyone' } }, async () => {
      running += 1;
      await sleep(5 + running);
      running -= 1;
      return { by: alias };
    });
    await http.open();
    return { http, port: http.address().port, notReady };
  };
  const [one, two] = [await replica('api'), await replica('api-2')];
  t.teardown(() => two.http.close(1_000));
  // However slow the machine is: what is looked at is who is asked, not how long it takes.
  const gate = await gateway(t, { api: one.port, 'api-2': two.port }, { silenceMs: 60_000 });
  const agent = new Agent({ connections: 20, pipelining: 1 });
  t.teardown(() => agent.destroy());
  const outcomes: Record<string, number> = {};
  let going = true;
  t.teardown(() => {
    going = false;
  });
  const load = Array.from({ length: 20 }, async () => {
    while (going) {
      const outcome = await agent
        .request({
          origin: gate.url,
          path: '/work',
          method: 'POST',
          body: '{}',
          headers: { 'content-type': 'application/json' },
        })
        .then(
          async ({ statusCode, body }) => `${statusCode} ${await body.text()}`,
          (error: Error) => error.message,
        );
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
  });
  const answered = (by: string) => outcomes[`200 {"by":"${by}"}`] ?? 0;
  await until('both work', () => answered('api') > 50 && answered('api-2') > 50);
  one.notReady();
  await until('the gateway has noticed', async () => (await gate.states()).get('api') === 'DOWN');
  await one.http.drain(5_000);
  await one.http.close(1_000);
  const then = answered('api-2');
  await until('the other one goes on', () => answered('api-2') > then + 100);
  going = false;
  await Promise.all(load);
  t.deepEqual(Object.keys(outcomes).sort(), ['200 {"by":"api"}', '200 {"by":"api-2"}']);
});

test('a reserve that the gateway is told of takes the requests of the only replica, until that is back', async (t) => {
  const first = await server(t, says('first'));
  const reserve = await server(t, says('reserve'));
  const gate = await gateway(t, { api: first.port });
  const tell = (command: string) => raw(gate.controlPort, (socket) => socket.write(`${command}\n`));
  const asked = async () => (await fetch(gate.url, { method: 'POST', body: 'once' })).text();
  t.is(await asked(), 'first');
  t.regex(await tell('get weight api/api-reserve'), /initial/);
  t.notRegex(await tell('get weight api-2/api-2-reserve'), /initial/);
  const serves = async () => sendsTo(await tell('show servers state api'), 'api');
  t.true(await serves());
  t.regex(await tell(`set server api/api-reserve addr 127.0.0.1 port ${reserve.port}`), /changed/);
  t.is((await tell('set server api/api-reserve state ready')).trim(), '');
  first.http.close();
  first.http.closeAllConnections();
  for (let count = 0; count < 20; count += 1) t.is(await asked(), 'reserve');
  await until('the gateway says that it is gone', async () => !(await serves()));
  const next = await server(t, says('next'), first.port);
  await until('it is back', async () => (await gate.states()).get('api') === 'UP');
  await tell('set server api/api-reserve state maint');
  for (let count = 0; count < 5; count += 1) t.is(await asked(), 'next');
  t.is(next.seen.length, 5);
});

test('what was never sent goes to another replica, whatever it is', async (t) => {
  const gone = await server(t, says('gone'));
  const there = await server(t, says('there'));
  const gate = await gateway(t, { api: gone.port, 'api-2': there.port });
  gone.http.close();
  gone.http.closeAllConnections();
  for (let count = 0; count < 20; count += 1) {
    const answer = await fetch(gate.url, { method: 'POST', body: 'once' });
    t.is(await answer.text(), 'there');
  }
  t.is(there.seen.length, 20);
});

test('what may have arrived is sent again only when twice is as good as once', async (t) => {
  const deadly = await server(t, dies);
  const other = await server(t, says('other'));
  const gate = await gateway(t, { api: deadly.port, 'api-2': other.port });
  type Ask = Pick<Dispatcher.RequestOptions, 'method' | 'body' | 'headers'>;
  /** Until the one that dies has had it first; each time over a connection of its own, unless there is one. */
  const send = async (options: Ask, agent?: Agent) => {
    for (;;) {
      await until('the one that dies is asked', async () => (await gate.states()).get('api') === 'UP');
      const before = deadly.seen.length;
      const dispatcher = agent ?? new Agent();
      const answer = await dispatcher.request({ origin: gate.url, path: '/work', ...options }).then(
        async ({ statusCode, body }) => ({ status: statusCode, text: await body.text() }),
        (error: Error) => ({ status: 0, text: error.message }),
      );
      if (agent === undefined) await dispatcher.destroy();
      if (deadly.seen.length > before) return { ...answer, times: deadly.seen.length - before };
    }
  };
  const lost = await send({ method: 'POST', body: 'buy' });
  t.like(lost, { status: 502, times: 1 });
  t.is(JSON.parse(lost.text).error.code, 'MUSTER_GATEWAY_LOST');
  t.like(await send({ method: 'PATCH', body: 'add' }), { status: 502, times: 1 });
  const keyed: Ask = { method: 'POST', body: 'buy', headers: { 'idempotency-key': 'k1' } };
  t.deepEqual(await send(keyed), { status: 200, text: 'other', times: 1 });
  t.deepEqual(await send({ method: 'GET' }), { status: 200, text: 'other', times: 1 });
  // On a connection that was used before HAProxy says by closing it what it says by 502 on a new one.
  const agent = new Agent({ connections: 1 });
  t.teardown(() => agent.destroy());
  const again = await send({ method: 'POST', body: 'buy' }, agent);
  t.is(again.times, 1);
  t.not(again.status, 200);
});

test('with no replica ready a request goes to one all the same, which says itself what is missing', async (t) => {
  const http = await startTestHttp({
    allowedHosts: ['api'],
    readiness: () => ({ ready: false, reasons: [{ worker: 'coupon-api', reason: 'an assignment' }] }),
  });
  http.app.get('/things', { config: { callers: 'anyone' } }, () => ({ ok: true }));
  await http.open();
  t.teardown(() => http.close(1_000));
  const gate = await gateway(t, { api: http.address().port });
  await until('it counts as not ready', async () => (await gate.states()).get('api') === 'DOWN');
  t.is((await fetch(`${gate.url}/things`)).status, 200);
  const ready = await fetch(`${gate.url}/readyz`);
  t.is(ready.status, 503);
  t.regex(await ready.text(), /an assignment/);
});

test('a server that answers at the address of a replica under another name gets nothing', async (t) => {
  const http = await startTestHttp({ processName: 'commerce', allowedHosts: ['commerce'] });
  await http.open();
  t.teardown(() => http.close(1_000));
  const right = await server(t, says('right'));
  const gate = await gateway(t, { api: http.address().port, 'api-2': right.port });
  await until('it is found out', async () => (await gate.states()).get('api') === 'DOWN');
  for (let count = 0; count < 10; count += 1) t.is(await (await fetch(gate.url)).text(), 'right');
});

test('a client that is slow with its headers or its body is cut off, and no process is bothered', async (t) => {
  const behind = await server(t, says('served'));
  const gate = await gateway(t, { api: behind.port });
  const headers = await raw(gate.port, (socket) =>
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nx-slow'),
  );
  t.regex(headers, /^HTTP\/1\.1 408 /);
  const body = await raw(gate.port, async (socket) => {
    socket.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n');
    // A byte now and then does not buy time.
    const drip = setInterval(() => socket.write('x'), 100);
    socket.once('close', () => clearInterval(drip));
  });
  t.regex(body, /^HTTP\/1\.1 408 [\s\S]*MUSTER_BAD_REQUEST/);
  t.deepEqual(behind.seen, []);
});

test('a Host that is not ours is refused; localhost, addresses and the names of the environment are not', async (t) => {
  const behind = await server(t, says('served'));
  const gate = await gateway(t, { api: behind.port });
  const status = async (host: string) =>
    (
      await raw(gate.port, (socket) =>
        socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`),
      )
    ).slice(9, 12);
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    'xlocalhost',
    '127.0.0.1.evil.example',
    '1.2.3.4x',
    '',
  ])
    t.is(await status(host), '421', host);
  t.deepEqual(behind.seen, []);
  for (const host of [
    'localhost',
    'LOCALHOST:19080',
    '127.0.0.1:1',
    '10.1.2.3',
    '[::1]:80',
    'Shop.Example:80',
  ])
    t.is(await status(host), '200', host);
});

test('a page of a server that is not ours is for itself, for programs and for who follows a link: pages of other sites get and change nothing', async (t) => {
  const behind = await server(t, says('served'));
  const gate = await gateway(t, { api: behind.port }, {}, { isPage: true });
  const host = `127.0.0.1:${gate.port}`;
  const ask = (request: string, ...headers: string[]) =>
    raw(gate.port, (socket) =>
      socket.write(
        `${[`${request} HTTP/1.1`, `host: ${host}`, 'content-length: 0', 'connection: close', ...headers].join('\r\n')}\r\n\r\n`,
      ),
    );
  for (const origin of [
    'http://evil.example',
    `http://${host}.evil.example`,
    `http://evil.example:${gate.port}`,
    'http://127.0.0.1:1',
    'http://127.0.0.1',
    `http://a@${host}`,
    'null',
    '',
  ])
    for (const method of ['GET', 'POST', 'OPTIONS', 'DELETE'])
      t.regex(
        await ask(`${method} /`, `origin: ${origin}`),
        /^HTTP\/1\.1 403 .*MUSTER_ORIGIN_REFUSED/s,
        origin,
      );
  for (const site of ['cross-site', 'same-site'])
    t.regex(await ask('GET /', `sec-fetch-site: ${site}`, 'sec-fetch-dest: image'), /^HTTP\/1\.1 403 /, site);
  t.regex(await ask('GET /', 'upgrade: websocket', 'origin: http://evil.example'), /^HTTP\/1\.1 403 /);
  const link = ['sec-fetch-site: cross-site', 'sec-fetch-dest: document'];
  for (const path of ['/internal/force_flush', '//internal/force_flush', '/%69nternal/force_flush'])
    t.regex(await ask(`GET ${path}`, ...link), /^HTTP\/1\.1 403 /, path);
  t.deepEqual(behind.seen, []);
  for (const headers of [
    [],
    [`origin: http://${host}`, 'sec-fetch-site: same-origin', 'sec-fetch-dest: empty'],
    // TLS may end before us.
    [`origin: https://${host}`],
    link,
  ])
    t.regex(await ask('POST /', ...headers), /^HTTP\/1\.1 200 /, headers.join());
  t.is(behind.seen.length, 4);
});

test('a body that says it is too long, and headers that are, are refused before a process reads them', async (t) => {
  const behind = await server(t, says('served'));
  const gate = await gateway(t, { api: behind.port });
  const long = await fetch(gate.url, { method: 'POST', body: 'x'.repeat(limits.bodyBytes + 1) });
  t.is(long.status, 413);
  t.like((await long.json()) as object, {
    error: { code: 'MUSTER_BODY_TOO_LARGE', message: 'the body is longer than the limit of this server' },
  });
  const headers = await raw(gate.port, (socket) =>
    socket.write(`GET / HTTP/1.1\r\nhost: localhost\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`),
  );
  t.regex(headers, /^HTTP\/1\.1 400 /);
  t.deepEqual(behind.seen, []);
  t.is((await fetch(gate.url, { method: 'POST', body: 'x'.repeat(limits.bodyBytes) })).status, 200);
});

test('a body that is too long for the process is refused by an answer that arrives', async (t) => {
  const http = await startTestHttp({ allowedHosts: ['api'] });
  http.app.post('/things', { config: { callers: 'anyone' } }, () => ({ ok: true }));
  await http.open();
  t.teardown(() => http.close(1_000));
  const gate = await gateway(t, { api: http.address().port }, { bodyBytes: 20_000_000 });
  const headers = { 'content-type': 'application/json' };
  for (let count = 0; count < 10; count += 1) {
    const body = JSON.stringify('x'.repeat(5_000_000));
    t.is((await fetch(`${gate.url}/things`, { method: 'POST', headers, body })).status, 413);
  }
});

test('a client that asks too much is told to wait', async (t) => {
  const behind = await server(t, says('served'));
  const gate = await gateway(t, { api: behind.port }, { requestsEachIn10s: 20 });
  const statuses: number[] = [];
  for (let count = 0; count < 40; count += 1) {
    const answer = await fetch(gate.url);
    await answer.arrayBuffer();
    statuses.push(answer.status);
  }
  t.deepEqual(new Set(statuses), new Set([200, 429]));
  t.true(behind.seen.length <= 20);
});

test('streams stay open for as long as they give signs of life, and a WebSocket keeps its subprotocol', async (t) => {
  const http = await startTestHttp({ allowedHosts: ['api'] });
  const streams = createStreams(http.app as never, { maxClients: 5, heartbeatMs: 300 });
  for (const transport of ['events', 'websocket'] as const)
    streams.route({
      path: `/${transport}`,
      transport,
      callers: 'anyone',
      schema: {},
      open: () => ({ begin: (connection) => void connection.send({ type: 'ready', data: {} }), left() {} }),
    });
  await http.open();
  t.teardown(() => http.close(1_000));
  const gate = await gateway(t, { api: http.address().port });
  const socket = new WebSocket(`${gate.url.replace('http', 'ws')}/websocket`, ['muster', 'bearer.x']);
  let pings = 0;
  socket.on('ping', () => (pings += 1));
  await once(socket, 'open');
  t.is(socket.protocol, 'muster');
  const events = request(`${gate.url}/events`).end();
  const [answer] = (await once(events, 'response')) as [IncomingMessage];
  let signs = 0;
  answer.setEncoding('utf8').on('data', (text: string) => (signs += text.split('still here').length - 1));
  // 12 signs of life, 300 ms apart: more than twice as long as silence is allowed to last.
  await until('signs of life on both', () => pings >= 12 && signs >= 12);
  t.is(streams.size, 2);
  socket.close();
  answer.destroy();
  await until('a client that goes is noticed behind the gateway', () => streams.size === 0);
});

test('traceparent and the address of the client reach the process; the log has lines of trouble only, and nothing personal in them', async (t) => {
  const traces: unknown[] = [];
  const forwarded: unknown[] = [];
  const behind = await server(t, (ask, answer) => {
    traces.push(ask.headers.traceparent);
    forwarded.push(ask.headers['x-forwarded-for'], ask.headers['x-forwarded-host']);
    ask.resume();
    if (ask.url?.startsWith('/users') === true) ask.socket.destroy();
    else answer.end('ok');
  });
  const gate = await gateway(t, { api: behind.port });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const headers = {
    traceparent,
    authorization: 'Bearer secret-token',
    'x-name': 'Kim',
    'x-forwarded-for': '1.2.3.4',
    'x-forwarded-host': 'evil.example',
  };
  t.is((await fetch(`${gate.url}/fine?user=Kim`, { headers })).status, 200);
  t.is((await fetch(`${gate.url}/users/Kim`, { method: 'POST', headers })).status, 502);
  t.deepEqual(traces, [traceparent, traceparent]);
  t.deepEqual(forwarded.slice(0, 2), ['127.0.0.1', undefined]);
  const logged = () => gate.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  await until('a line', () => logged().length > 0);
  t.is(logged().length, 1);
  t.like(logged()[0], { process: 'gateway', backend: 'api', server: 'api', status: 502 });
  for (const line of gate.lines) t.notRegex(line, /Kim|secret|127\.0\.0\.1/);
});

test('half-open connections of one client do not keep others away, and go', async (t) => {
  const behind = await server(t, says('served'));
  const gate = await gateway(t, { api: behind.port }, { connectionsEach: 50 });
  const half = Array.from({ length: 200 }, () => connect(gate.port, '127.0.0.1').on('error', () => {}));
  t.teardown(() => {
    for (const socket of half) socket.destroy();
  });
  const closed = () => half.filter((socket) => socket.closed || socket.readableEnded).length;
  for (const socket of half) socket.resume().write('GET / HTTP/1.1\r\n');
  await until('those beyond the limit are closed', () => closed() >= 150);
  await until('and the slow ones, too', () => closed() === 200);
  const pool = new Pool(gate.url);
  t.teardown(() => pool.destroy());
  t.is((await pool.request({ path: '/', method: 'GET' })).statusCode, 200);
});

test('another configuration is taken over while it serves: no request fails, no stream ends, and one that is none changes nothing', async (t) => {
  const handler: Handler = (ask, answer) => {
    if (ask.url === '/stream') answer.write('begun\n');
    else says('served')(ask, answer);
  };
  const [one, two] = [await server(t, handler), await server(t, handler)];
  const gate = await gateway(t, { api: one.port, 'api-2': two.port }, { silenceMs: 60_000 });
  const stream = await fetch(`${gate.url}/stream`);
  const reader = stream.body!.getReader();
  await reader.read();
  let streamEnded = false;
  void reader.read().then(
    () => {
      streamEnded = true;
    },
    () => {
      streamEnded = true;
    },
  );
  const kept = new Agent({ connections: 10, pipelining: 1 });
  t.teardown(() => kept.destroy());
  const outcomes: Record<string, number> = {};
  let going = true;
  const ask = async (isNew: boolean) => {
    const dispatcher = isNew ? new Agent() : kept;
    const outcome = await dispatcher.request({ origin: gate.url, path: '/', method: 'POST', body: 'x' }).then(
      async ({ statusCode, body }) => `${statusCode} ${await body.text()}`,
      (error: Error) => error.message,
    );
    if (isNew) await dispatcher.destroy();
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  };
  const load = Array.from({ length: 20 }, async (_, index) => {
    while (going) {
      await ask(index % 4 === 0);
      // Connections that are kept are idle in between.
      await sleep(10);
    }
  });
  t.teardown(() => {
    going = false;
  });
  const large = async () =>
    (await fetch(gate.url, { method: 'POST', body: 'y'.repeat(1_000) })).status === 413;
  t.false(await large());
  await gate.change({ limits: { bodyBytes: 500 } });
  await until('the other limit counts', large);
  t.false(streamEnded);
  await gate.change({ text: 'this is none' });
  await until('it says so', () => gate.lines.some((line) => line.includes('Loading failure')));
  t.true(await large(), 'as before');
  await gate.change({});
  await until('the first limit counts again', async () => !(await large()));
  // A replica at another port: what is known of the one that was there before is not taken for it.
  const moved = await server(t, handler);
  await gate.change({ replicas: { api: one.port, 'api-2': moved.port } });
  await until('the other address counts', () => moved.seen.length > 20);
  going = false;
  await Promise.all(load);
  t.deepEqual(Object.keys(outcomes), ['200 served']);
});

test('with a certificate there is TLS 1.2 and 1.3, with HTTP/2 and HTTP/1.1, and nothing else: whoever trusts the authority can check it', async (t) => {
  const behind = await server(t, says('served'));
  const { ca, lines, port, session, url } = await securedGateway(t, { api: behind.port });
  const spoken = await session();
  t.is(spoken.alpnProtocol, 'h2');
  t.deepEqual(await asked(spoken), { status: 200, text: 'served' });
  t.deepEqual(await asked(spoken, { ':method': 'POST', 'content-length': 4 }, 'body'), {
    status: 200,
    text: 'served',
  });
  const plain = requestTls(url, { ca, method: 'POST' }).end('body');
  const [answer] = (await once(plain, 'response')) as [IncomingMessage];
  answer.resume();
  t.is(answer.statusCode, 200);
  t.is(answer.httpVersion, '1.1');
  const handshake = async (options: ConnectionOptions) => {
    const socket = connectTls({ host: '127.0.0.1', port, ca, ...options });
    t.teardown(() => socket.destroy());
    return once(socket, 'secureConnect').then(
      () => socket.getProtocol(),
      (error: NodeJS.ErrnoException) => error.code,
    );
  };
  const old = { minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  t.is(await handshake({}), 'TLSv1.3');
  t.is(await handshake({ ...old, maxVersion: 'TLSv1.2' }), 'TLSv1.2');
  for (const maxVersion of ['TLSv1', 'TLSv1.1'] as const)
    t.regex((await handshake({ ...old, maxVersion }))!, /^(ERR_SSL|ECONNRESET)/);
  t.is(await handshake({ servername: 'shop.example' }), 'TLSv1.3');
  t.is(await handshake({ servername: 'evil.example' }), 'ERR_TLS_CERT_ALTNAME_INVALID');
  t.regex((await handshake({ ca: authorityPem(await makeAuthority()) }))!, /UNABLE_TO_VERIFY|SIGNATURE/);
  const clear = await raw(port, (socket) => socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n'));
  t.notRegex(clear, /HTTP/);
  t.is(behind.seen.length, 3);
  t.notRegex(await raw(port, () => {}), /HTTP/, 'who says nothing at all is cut off');
  const told = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  t.true(told.some(({ refused }) => refused === 'SSL handshake failure'));
  for (const line of lines) t.notRegex(line, /127\.0\.0\.1/);
});

test('over HTTP/2 a host that is not ours is refused, and what is forwarded is the host that was looked at', async (t) => {
  const behind = await server(t, (ask, answer) => answer.end(ask.headers.host));
  const { session } = await securedGateway(t, { api: behind.port });
  const spoken = await session();
  const refused = await asked(spoken, { ':authority': 'evil.example' });
  t.is(refused.status, 421);
  t.is(JSON.parse(refused.text).error.code, 'MUSTER_HOST_UNKNOWN');
  t.deepEqual(await asked(spoken, { ':authority': 'Shop.Example:80' }), {
    status: 200,
    text: 'Shop.Example:80',
  });
  const both = await asked(spoken, { ':authority': 'localhost', host: 'evil.example' });
  t.true(both.status === 421 || both.text === 'localhost', JSON.stringify(both));
  t.is((await asked(spoken, { ':authority': 'evil.example', host: 'localhost' })).status, 421);
});

test('what limits an address limits its requests over HTTP/2, too: how many, how slow, how long, and how many connections', async (t) => {
  const behind = await server(t, says('served'));
  const { ca, session, url } = await securedGateway(t, { api: behind.port }, { requestsEachIn10s: 20 });
  const first = await session();
  t.is(first.remoteSettings.maxConcurrentStreams, 10);
  const tooMany = 'x'.repeat(limits.bodyBytes + 1);
  const long = await asked(first, { ':method': 'POST', 'content-length': tooMany.length }, tooMany);
  t.is(long.status, 413);
  t.is((await asked(first, { ':method': 'POST', 'content-length': 100 }, 'slow', false)).status, 408);
  t.deepEqual(behind.seen, []);
  const statuses = new Set<unknown>();
  for (let count = 0; count < 40; count += 1) statuses.add((await asked(first)).status);
  t.deepEqual(statuses, new Set([200, 429]));
  t.true(behind.seen.length <= 20);
  // Half of 500 buffers, and a connection may fill 72.
  const others = [await session(), await session()];
  t.false(others.some(({ closed, destroyed }) => closed || destroyed));
  const beyond = await session();
  t.true(beyond.closed || beyond.destroyed);
  const plain = requestTls(url, { ca }).end();
  const [answer] = (await once(plain, 'response')) as [IncomingMessage];
  answer.resume();
  t.is(answer.statusCode, 429, 'it is still spoken to');
});

test('a WebSocket comes over TLS', async (t) => {
  const behind = await server(t, says('served'));
  const echo = new WebSocketServer({ server: behind.http });
  t.teardown(() => echo.close());
  echo.on('connection', (socket) => socket.on('message', (data) => socket.send(`${data} back`)));
  const { ca, session, url } = await securedGateway(t, { api: behind.port });
  const socket = new WebSocket(url.replace('http', 'ws'), ['muster'], { ca });
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  t.is(socket.protocol, 'muster');
  socket.send('there and');
  t.is(String((await once(socket, 'message'))[0]), 'there and back');
  // A browser opens a connection of HTTP/1.1 for it where HTTP/2 is not said to carry any.
  t.not((await session()).remoteSettings.enableConnectProtocol, true);
});

test('another certificate is shown while it serves, to those who come then', async (t) => {
  const behind = await server(t, says('served'));
  const { ca, change, make, port, session } = await securedGateway(
    t,
    { api: behind.port },
    { silenceMs: 60_000 },
  );
  const serial = async () => {
    const socket = connectTls({ host: '127.0.0.1', port, ca });
    await once(socket, 'secureConnect');
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };
  const [before, kept] = [await serial(), await session()];
  await change({ pem: await make() });
  await until('the other one is shown', async () => (await serial()) !== before);
  t.deepEqual(await asked(await session()), { status: 200, text: 'served' });
  t.true(kept.destroyed || kept.closed || (await asked(kept)).status === 200);
});

test('what HAProxy does not take is not handed over, and what it takes is', async (t) => {
  await needProgram(['haproxy'], ['haproxy'], advice, () => {});
  const folder = await mkdtemp(join(tmpdir(), 'muster-handed-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const [from, to] = [join(folder, 'next.cfg'), join(folder, 'haproxy.cfg')];
  const PATH = [process.env.PATH, ...systemFolders].join(':');
  const handed = async (text: string) => {
    await writeFile(from, text);
    return execa('/bin/sh', ['-c', handOver(from, to)], { reject: false, env: { PATH } });
  };
  const good = renderGateway(gatewayOf(environments.dev));
  t.is((await handed(good)).exitCode, 0);
  const bad = await handed(good.replace('mode http', 'mode nothing'));
  t.not(bad.exitCode, 0);
  t.regex(bad.stderr, /next\.cfg:\d+/);
  t.is(await readFile(to, 'utf8'), good);
});

test('a certificate is handed over with the configuration that names it, those of before go, and one with the key of another changes nothing', async (t) => {
  await needProgram(['haproxy'], ['haproxy'], advice, () => {});
  const folder = await mkdtemp(join(tmpdir(), 'muster-handed-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const authority = await makeAuthority();
  const make = () => makeCertificate(authority, ['localhost']);
  const [from, to, given] = ['next.cfg', 'live/haproxy.cfg', 'given'].map((name) => join(folder, name));
  await mkdir(join(folder, 'live'));
  const PATH = [process.env.PATH, ...systemFolders].join(':');
  const handed = async (pem: string) => {
    const certificate = certificateIn(join(folder, 'live'), pem);
    await writeFile(given!, pem);
    await writeFile(from!, renderGateway({ ...gatewayOf(environments.dev), certificate }));
    const script = handOver(from!, to!, { from: given!, to: certificate });
    const { exitCode } = await execa('/bin/sh', ['-c', script], { reject: false, env: { PATH } });
    return { isTaken: exitCode === 0, certificate };
  };
  const first = await handed(await make());
  t.true(first.isTaken);
  const second = await handed(await make());
  t.true(second.isTaken);
  t.deepEqual((await readdir(join(folder, 'live'))).sort(), [basename(second.certificate), 'haproxy.cfg']);
  const [certificate, key] = [
    (await make()).split(/(?=-----BEGIN PRIVATE)/)[0],
    (await make()).split(/(?=-----BEGIN PRIVATE)/)[1],
  ];
  t.false((await handed(`${certificate}${key}`)).isTaken);
  t.true((await readFile(to!, 'utf8')).includes(second.certificate));
  t.true((await readdir(join(folder, 'live'))).includes(basename(second.certificate)));
});
