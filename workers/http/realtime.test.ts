import { request as ask, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import WebSocket from 'ws';
import { createLog } from '../base/log.ts';
import { createRegistry } from '../base/metrics.ts';
import { type Connection, createStreams, type Reader, type StreamLimits } from './realtime.ts';
import { startHttp } from './server.ts';

interface Served {
  readonly url: string;
  readonly connections: Connection[];
  readonly acknowledged: string[];
  left: number;
  size(): number;
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** A process with two kinds of streams, each by both transports. */
async function serve(t: ExecutionContext, limits: Partial<StreamLimits> = {}): Promise<Served> {
  const http = await startHttp({
    host: '127.0.0.1',
    port: 0,
    processName: 'api',
    version: '1',
    log: createLog({ process: 'api', level: 'error', stream: process.stderr }),
    registry: createRegistry(),
    readiness: () => ({ ready: true, reasons: [] }),
  });
  const app = http.app as never as Parameters<typeof createStreams>[0];
  const served: Served = {
    url: `http://127.0.0.1:${http.address().port}`,
    connections: [],
    acknowledged: [],
    left: 0,
    size: () => streams.size,
    drain: () => http.drain(100),
    close: () => http.close(3_000),
  };
  const open = (kind: string) => (): Reader => ({
    begin(connection) {
      served.connections.push(connection);
      connection.send({ type: 'ready', data: { kind } });
      if (kind === 'broken') throw new Error('the store is away');
    },
    async acknowledge(ids) {
      served.acknowledged.push(...ids);
      return ids;
    },
    left() {
      served.left += 1;
    },
  });
  const streams = createStreams(app, { maxClients: 5, ...limits });
  for (const kind of ['a', 'b', 'broken'])
    for (const transport of ['events', 'websocket'] as const)
      streams.route({
        path: `/${kind}/${transport}`,
        transport,
        callers: 'anyone',
        schema: {},
        open: open(kind),
      });
  await http.open();
  t.teardown(() => served.close());
  return served;
}

async function until(t: ExecutionContext, what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  t.true(condition(), what);
}

function webSocket(t: ExecutionContext, url: string, headers: Record<string, string> = {}) {
  const socket = new WebSocket(url.replace('http', 'ws'), { headers });
  const got: Record<string, unknown>[] = [];
  const seen = {
    socket,
    got,
    closed: undefined as number | undefined,
    refused: undefined as number | undefined,
  };
  socket.on('message', (text) => got.push(JSON.parse(String(text))));
  socket.on('close', (code) => {
    seen.closed = code;
  });
  socket.on('unexpected-response', (_request, response) => {
    seen.refused = response.statusCode;
    response.resume();
  });
  socket.on('error', () => {});
  t.teardown(() => socket.terminate());
  return seen;
}

test('two kinds of streams, by events and by WebSocket, live in one process', async (t) => {
  const served = await serve(t);
  for (const kind of ['a', 'b']) {
    const socket = webSocket(t, `${served.url}/${kind}/websocket`);
    await until(t, 'it has begun', () => socket.got.length === 1);
    t.deepEqual(socket.got[0], { type: 'ready', data: { kind } });
    const events = await fetch(`${served.url}/${kind}/events`);
    const reader = events.body!.getReader();
    let text = '';
    while (!text.includes('event: ready')) text += Buffer.from((await reader.read()).value!).toString();
    t.true(text.includes(`data: {"kind":"${kind}"}`));
    await reader.cancel();
  }
  await until(t, 'who leaves is gone', () => served.size() === 2);
});

test('a WebSocket of another origin is refused, as is one for a path that there is not', async (t) => {
  const { url } = await serve(t);
  const evil = webSocket(t, `${url}/a/websocket`, { origin: 'http://evil.example' });
  await until(t, 'it is refused', () => evil.refused === 403);
  const nowhere = webSocket(t, `${url}/nowhere`);
  await until(t, 'there is no such path', () => nowhere.refused === 404);
  t.is((await fetch(`${url}/a/websocket`)).status, 426);
});

test('an upgrade that is none of ours is answered as if nobody had asked for it', async (t) => {
  const { url } = await serve(t);
  const status = await new Promise((resolve, reject) => {
    const sent = ask(`${url}/nowhere`, {
      method: 'POST',
      headers: { connection: 'Upgrade', upgrade: 'h2c', 'content-type': 'application/json' },
    });
    sent.on('response', (response) => resolve(response.resume().statusCode));
    sent.on('error', reject);
    sent.end('{}');
  });
  t.is(status, 404);
});

test('more clients than there is room for are refused until one leaves', async (t) => {
  const served = await serve(t, { maxClients: 1 });
  const first = webSocket(t, `${served.url}/a/websocket`);
  await until(t, 'the first is in', () => first.got.length === 1);
  t.is((await fetch(`${served.url}/b/events`)).status, 503);
  const second = webSocket(t, `${served.url}/b/websocket`);
  await until(t, 'the second is refused', () => second.refused === 503);
  first.socket.close();
  await until(t, 'the first is gone', () => served.size() === 0 && served.left === 1);
  const third = webSocket(t, `${served.url}/b/websocket`);
  await until(t, 'there is room again', () => third.got.length === 1);
});

test('a WebSocket acknowledges by message and is told when that is durable; anything else ends it', async (t) => {
  const served = await serve(t);
  const client = webSocket(t, `${served.url}/a/websocket`);
  await until(t, 'it has begun', () => client.got.length === 1);
  client.socket.send('{"type":"ack","ids":["1","2"]}');
  await until(t, 'it is told', () => client.got.length === 2);
  t.deepEqual(client.got[1], { type: 'acked', data: { ids: ['1', '2'] } });
  t.deepEqual(served.acknowledged, ['1', '2']);
  for (const bad of ['{', '{"type":"ack"}', '{"type":"ack","ids":[]}', '{"type":"hello"}', '[]']) {
    const other = webSocket(t, `${served.url}/a/websocket`);
    await until(t, 'it has begun', () => other.got.length === 1);
    other.socket.send(bad);
    await until(t, `${bad} ends it`, () => other.closed === 1008);
  }
});

test('a reader that fails says so on the stream, and the client may come back', async (t) => {
  const served = await serve(t);
  const text = await (await fetch(`${served.url}/broken/events`)).text();
  t.regex(text, /event: ready\n(.*\n)*event: failed\ndata: \{"code":"MUSTER_STREAM_FAILED"/);
  const socket = webSocket(t, `${served.url}/broken/websocket`);
  await until(t, 'it is told', () => socket.closed === 1011);
  t.is(socket.got[1]?.type, 'failed');
  await until(t, 'both are gone', () => served.size() === 0 && served.left === 2);
});

test('a client that does not read is dropped by either transport', async (t) => {
  const served = await serve(t, { maxBufferedBytes: 100_000 });
  const quiet = (headers: string, path: string): Socket => {
    const socket = connect(Number(new URL(served.url).port), '127.0.0.1', () =>
      socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n${headers}\r\n`),
    );
    socket.pause();
    t.teardown(() => socket.destroy());
    return socket;
  };
  const handshake =
    'connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
  for (const [headers, path] of [
    ['connection: close\r\n', '/a/events'],
    [handshake, '/a/websocket'],
  ] as const) {
    const before = served.connections.length;
    const socket = quiet(headers, path);
    await until(t, 'it has begun', () => served.connections.length > before);
    const data = 'x'.repeat(10_000);
    let sent = 0;
    while (served.connections.at(-1)!.send({ type: 'data', data })) {
      sent += 1;
      if (sent % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    t.true(sent < 2_000, `${sent} events of 10 kB were buffered`);
    let text = '';
    socket.on('data', (chunk) => {
      text = (text + chunk.toString('latin1')).slice(-5_000);
    });
    socket.resume();
    await until(t, `${path}: it is told`, () => text.includes('MUSTER_CLIENT_TOO_SLOW'));
    await until(t, `${path}: it is gone`, () => served.size() === 0);
  }
});

test('heartbeats are comments, and data cannot break out of its line', async (t) => {
  const served = await serve(t, { heartbeatMs: 10 });
  const answer = await fetch(`${served.url}/a/events`);
  await until(t, 'it has begun', () => served.connections.length === 1);
  served.connections[0]!.send({ type: 'data', data: { text: 'a\n\nevent: forged\n' }, id: 'run-1' });
  setTimeout(() => served.connections[0]!.end(), 60);
  const text = await answer.text();
  t.regex(text, /^: still here$/m);
  t.regex(text, /^id: run-1\nevent: data\ndata: \{"text":"a\\n\\nevent: forged\\n"\}$/m);
  t.notRegex(text, /^event: forged/m);
});

test('a WebSocket that does not answer pings is ended', async (t) => {
  const served = await serve(t, { heartbeatMs: 20 });
  const socket = new WebSocket(`${served.url.replace('http', 'ws')}/a/websocket`, { autoPong: false });
  t.teardown(() => socket.terminate());
  socket.on('error', () => {});
  await until(t, 'it has begun', () => served.connections.length === 1);
  await until(t, 'it is gone', () => served.left === 1);
});

test('draining refuses new streams, and closing ends those that there are with a word', async (t) => {
  const served = await serve(t);
  const socket = webSocket(t, `${served.url}/a/websocket`);
  await until(t, 'it has begun', () => socket.got.length === 1);
  const events = await fetch(`${served.url}/b/events`);
  await served.drain();
  const late = webSocket(t, `${served.url}/a/websocket`);
  await until(t, 'a new one is refused', () => late.refused === 503);
  await served.close();
  t.regex(await events.text(), /event: ready/);
  await until(t, 'the WebSocket is told', () => socket.closed === 1001);
  t.is(served.size(), 0);
});

test('a client that leaves before its stream began leaves nothing behind', async (t) => {
  const served = await serve(t);
  for (let i = 0; i < 20; i += 1) {
    const sent = get(`${served.url}/a/events`);
    sent.on('error', () => {});
    sent.on('socket', (socket) => socket.once('connect', () => setImmediate(() => sent.destroy())));
  }
  await until(t, 'all are gone', () => served.size() === 0);
  t.pass();
});
