import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import test, { type ExecutionContext } from 'ava';
import { Type } from 'typebox';
import { NotNowError } from '../base/errors.ts';
import { errorBody, HttpError } from './errors.ts';
import { noteStream } from './realtime.ts';
import type { Http, HttpServer } from './server.ts';
import { startTestHttp } from './testing.ts';

const spans = new InMemorySpanExporter();
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
trace.setGlobalTracerProvider(
  new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }),
);

const item = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    quantity: Type.Integer({ minimum: 1 }),
    action: Type.Optional(Type.Union([Type.Literal('click'), Type.Literal('view')])),
  },
  { additionalProperties: false },
);

let slowEntered = () => {};

const open = { config: { callers: 'anyone' } } as const;

function routes(app: HttpServer): void {
  app.post(
    '/items',
    {
      config: { callers: 'anyone' },
      schema: { body: item, response: { 200: Type.Unknown(), 422: errorBody } },
    },
    async (request) => ({
      quantity: request.body.quantity,
      traceId: trace.getActiveSpan()?.spanContext().traceId,
    }),
  );
  app.get(
    '/items/:id',
    {
      config: { callers: 'anyone' },
      schema: {
        params: Type.Object({ id: Type.Integer() }),
        querystring: Type.Object({
          page: Type.Integer({ default: 1, minimum: 1 }),
          all: Type.Optional(Type.Boolean()),
        }),
      },
    },
    async (request) => ({ ...request.params, ...request.query }),
  );
  app.get('/secret', open, async () => {
    throw new Error('password of the database is hunter2');
  });
  app.get('/down', open, async () => {
    throw new NotNowError('MUSTER_DATABASE_DOWN', 'the database at 10.0.0.1 is not available');
  });
  app.get('/conflict', open, async () => {
    throw new HttpError(409, 'MUSTER_CONFLICT', 'it is taken', [{ field: 'name', reason: 'is taken' }]);
  });
  app.get('/slow', open, async () => {
    slowEntered();
    await new Promise((resolve) => setTimeout(resolve, 300));
    return { slow: true };
  });
  app.get('/stream', open, (_request, reply) => {
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' });
    reply.raw.write('data: 1\n\n');
    noteStream(reply.raw, () => reply.raw.end());
  });
}

async function serve(t: ExecutionContext, ready = () => true): Promise<{ http: Http; url: string }> {
  const http = await startTestHttp({
    readiness: () =>
      ready()
        ? { ready: true, reasons: [] }
        : { ready: false, reasons: [{ worker: 'w', reason: 'catching up' }] },
    tokens: undefined,
  });
  routes(http.app);
  await http.open();
  t.teardown(() => http.close(100));
  return { http, url: `http://127.0.0.1:${http.address().port}` };
}

const post = (url: string, body: string | Uint8Array<ArrayBuffer>, type = 'application/json', headers = {}) =>
  fetch(url, { method: 'POST', body, headers: { 'content-type': type, ...headers } });

async function refused(t: ExecutionContext, answer: Response, status: number, code: string) {
  t.is(answer.status, status);
  t.regex(answer.headers.get('content-type')!, /^application\/json/);
  const { error } = (await answer.json()) as { error: { code: string; message: string; details?: unknown } };
  t.is(error.code, code);
  return error;
}

test('a body with several faults is 422 with each field and its reason and none of its values', async (t) => {
  const { url } = await serve(t);
  const answer = await post(
    `${url}/items`,
    JSON.stringify({ quantity: 0, action: 'kick-me', extra: 'leak-me' }),
  );
  const error = await refused(t, answer, 422, 'MUSTER_VALIDATION');
  t.deepEqual(
    (error.details as { field: string; reason: string }[])
      .map(({ field, reason }) => `${field} ${reason}`)
      .sort(),
    [
      'action must be one of click, view',
      'extra is not a known field',
      'name is missing',
      'quantity must be >= 1',
    ],
  );
  t.false(JSON.stringify(error).includes('kick-me') || JSON.stringify(error).includes('leak-me'));
});

test('bodies are not bent to fit: "2" is not 2', async (t) => {
  const { url } = await serve(t);
  const error = await refused(
    t,
    await post(`${url}/items`, '{"name":"a","quantity":"2"}'),
    422,
    'MUSTER_VALIDATION',
  );
  t.deepEqual(error.details, [{ field: 'quantity', reason: 'must be integer' }]);
});

test('text that is no JSON is 400 and is not quoted back', async (t) => {
  const { url } = await serve(t);
  for (const body of ['{"userId": kim-private}', '', '   ', '{"a":1', Buffer.from([0xff, 0xfe, 0x7b])]) {
    const error = await refused(t, await post(`${url}/items`, body), 400, 'MUSTER_INVALID_JSON');
    t.false(error.message.includes('kim-private'));
  }
  await refused(
    t,
    await post(`${url}/items`, '{"__proto__":{"x":1},"name":"a","quantity":1}'),
    400,
    'MUSTER_INVALID_JSON',
  );
});

test('a byte order mark in front of JSON is understood', async (t) => {
  const { url } = await serve(t);
  t.is((await post(`${url}/items`, '\uFEFF{"name":"a","quantity":1}')).status, 200);
});

test('another content type is 415, an unknown path 404, a malformed path 400', async (t) => {
  const { url } = await serve(t);
  await refused(t, await post(`${url}/items`, 'a=b', 'text/plain'), 415, 'MUSTER_UNSUPPORTED_MEDIA_TYPE');
  await refused(t, await fetch(`${url}/nothing`), 404, 'MUSTER_NOT_FOUND');
  await refused(t, await fetch(`${url}/%zz`), 400, 'MUSTER_BAD_REQUEST');
});

test('a body of 5 MB is 413 and the server goes on', async (t) => {
  const { url } = await serve(t);
  await refused(
    t,
    await post(`${url}/items`, JSON.stringify({ name: 'x'.repeat(5e6) })),
    413,
    'MUSTER_BODY_TOO_LARGE',
  );
  t.is((await post(`${url}/items`, '{"name":"a","quantity":1}')).status, 200);
});

test('who reads no answer before all is sent is answered 413, too: the rest of what is too long is heard', async (t) => {
  const { url } = await serve(t);
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const length = 12_000_000;
  socket.write(
    `POST /items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`,
  );
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.write('x'.repeat(length), (error) => (error ? reject(error) : resolve()));
  });
  const answer = await text(socket);
  t.regex(answer, /^HTTP\/1\.1 413 [\s\S]*MUSTER_BODY_TOO_LARGE/);
});

test('an error nobody raised on purpose is 500 without its inside', async (t) => {
  const { url } = await serve(t);
  const answer = await fetch(`${url}/secret`);
  const error = await refused(t, answer, 500, 'MUSTER_INTERNAL');
  t.false(JSON.stringify(error).includes('hunter2'));
  t.truthy(answer.headers.get('traceparent'));
});

test('a dependency that is down is 503 with retry-after; an error raised on purpose is answered as raised', async (t) => {
  const { url } = await serve(t);
  const down = await fetch(`${url}/down`);
  t.is(down.headers.get('retry-after'), '1');
  t.false(JSON.stringify(await refused(t, down, 503, 'MUSTER_DATABASE_DOWN')).includes('10.0.0.1'));
  const conflict = await refused(t, await fetch(`${url}/conflict`), 409, 'MUSTER_CONFLICT');
  t.deepEqual(conflict.details, [{ field: 'name', reason: 'is taken' }]);
});

test('texts of path and query are read as what the schema asks for, strictly', async (t) => {
  const { url } = await serve(t);
  t.deepEqual(await (await fetch(`${url}/items/7?all=true`)).json(), { id: 7, page: 1, all: true });
  for (const path of ['/items/7.5', '/items/7?page=0', '/items/7?page=1e1'])
    await refused(t, await fetch(url + path), 422, 'MUSTER_VALIDATION');
});

test("a request is a server span in the caller's trace, active in the handler and named in the answer", async (t) => {
  const { url } = await serve(t);
  const traceId = 'aaaabbbbccccddddaaaabbbbccccdddd';
  const answer = await post(`${url}/items`, '{"name":"a","quantity":1}', 'application/json', {
    traceparent: `00-${traceId}-1111222233334444-01`,
  });
  t.is(((await answer.json()) as { traceId: string }).traceId, traceId);
  t.regex(answer.headers.get('traceparent')!, new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const span = spans.getFinishedSpans().find((each) => each.spanContext().traceId === traceId)!;
  t.is(span.name, 'POST /items');
  t.is(span.parentSpanContext?.spanId, '1111222233334444');
  t.is(span.attributes['http.response.status_code'], 200);
  t.is(span.attributes['http.route'], '/items');
});

test('durations are exposed with the trace as exemplar', async (t) => {
  const { url } = await serve(t);
  const answer = await fetch(`${url}/items/1`);
  await answer.arrayBuffer();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const traceId = answer.headers.get('traceparent')!.split('-')[1];
  const metrics = await fetch(`${url}/metrics`);
  t.regex(metrics.headers.get('content-type')!, /^application\/openmetrics-text/);
  t.regex(
    await metrics.text(),
    new RegExp(
      `http_server_request_duration_seconds_bucket\\{[^}]*http_request_method="GET",http_route="/items/:id",http_response_status_code="200"\\} 1 # \\{trace_id="${traceId}"`,
    ),
  );
});

test('before the workers have started the process is alive, not ready, and takes no requests', async (t) => {
  const http = await startTestHttp({
    readiness: () => ({ ready: false, reasons: [{ worker: 'w', reason: 'starting' }] }),
    tokens: undefined,
  });
  t.teardown(() => http.close(100));
  const url = `http://127.0.0.1:${http.address().port}`;
  t.is((await fetch(`${url}/healthz`)).status, 200);
  t.is((await fetch(`${url}/metrics`)).status, 200);
  for (const path of ['/readyz', '/items/1']) {
    const error = await refused(t, await fetch(url + path), 503, 'MUSTER_NOT_READY');
    t.deepEqual(error.details, [{ field: 'w', reason: 'starting' }]);
  }
});

test('/readyz says which worker is missing and why', async (t) => {
  let ready = false;
  const { url } = await serve(t, () => ready);
  const error = await refused(t, await fetch(`${url}/readyz`), 503, 'MUSTER_NOT_READY');
  t.deepEqual(error.details, [{ field: 'w', reason: 'catching up' }]);
  ready = true;
  t.is((await fetch(`${url}/readyz`)).status, 200);
});

test('/docs works without the internet and /docs/json describes the routes but not the probes', async (t) => {
  const { url } = await serve(t);
  const openapi = (await (await fetch(`${url}/docs/json`)).json()) as { paths: Record<string, unknown> };
  t.true('/items' in openapi.paths);
  t.false('/metrics' in openapi.paths);
  const page = await (await fetch(`${url}/docs`)).text();
  const links = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]!);
  t.true(links.length >= 4);
  for (const link of links) {
    const answer = await fetch(new URL(link, `${url}/docs/`));
    t.true(link.startsWith('/'), link);
    t.is(answer.status, 200, link);
    await answer.arrayBuffer();
  }
});

test('a drain lets running requests finish, refuses new ones and keeps probes and metrics', async (t) => {
  const { http, url } = await serve(t);
  const entered = new Promise<void>((resolve) => {
    slowEntered = resolve;
  });
  const slow = fetch(`${url}/slow`);
  await entered;
  const drained = http.drain(5_000);
  const late = await fetch(`${url}/items/1`);
  t.is(late.headers.get('connection'), 'close');
  await refused(t, late, 503, 'MUSTER_DRAINING');
  t.is((await fetch(`${url}/healthz`)).status, 200);
  await drained;
  t.deepEqual(await (await slow).json(), { slow: true });
});

test('closing ends streams and idle kept connections at once', async (t) => {
  const { http, url } = await serve(t);
  const stream = await fetch(`${url}/stream`);
  await (await fetch(`${url}/items/1`)).arrayBuffer();
  const idle = connect(http.address().port, '127.0.0.1');
  await new Promise((resolve) => idle.once('connect', resolve));
  const startedMs = Date.now();
  await http.drain(5_000);
  await http.close(2_000);
  t.true(Date.now() - startedMs < 1_500, `took ${Date.now() - startedMs} ms`);
  t.is(await stream.text(), 'data: 1\n\n');
});

test('bytes that are no HTTP get the same error format', async (t) => {
  const { http } = await serve(t);
  const socket = connect(http.address().port, '127.0.0.1');
  socket.write('hello\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += chunk;
  t.true(text.startsWith('HTTP/1.1 400'));
  t.true(text.includes('MUSTER_BAD_REQUEST'));
});

test('a port in use is a plain sentence with the way out', async (t) => {
  const { http } = await serve(t);
  const error = await t.throwsAsync(() => startTestHttp({ port: http.address().port, tokens: undefined }));
  t.regex(error!.message, /another process has the port; set HTTP_PORT/);
});

test('whose address it is a gateway says, and where there is none the connection', async (t) => {
  for (const [behindGateway, address] of [
    [true, '10.1.2.3'],
    [false, '127.0.0.1'],
  ] as const) {
    const http = await startTestHttp({ behindGateway });
    t.teardown(() => http.close(1_000));
    http.app.get('/address', open, async ({ ip }) => ({ ip }));
    await http.open();
    const answer = await fetch(`http://127.0.0.1:${http.address().port}/address`, {
      headers: { 'x-forwarded-for': '6.6.6.6, 10.1.2.3' },
    });
    t.deepEqual(await answer.json(), { ip: address });
  }
});
