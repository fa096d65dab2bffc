import { createServer, type Server } from 'node:http';
import { Writable } from 'node:stream';
import { context, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import test, { type ExecutionContext } from 'ava';
import { createLog } from './log.ts';
import { startTelemetry } from './telemetry.ts';

const log = createLog({
  process: 'test',
  level: 'error',
  stream: new Writable({ write: (_c, _e, done) => done() }),
});

async function collector(t: ExecutionContext, answers: boolean) {
  const received: { path: string; type: string; body: Buffer }[] = [];
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    received.push({
      path: request.url!,
      type: String(request.headers['content-type']),
      body: Buffer.concat(chunks),
    });
    if (answers) response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { received, endpoint: `http://127.0.0.1:${(server.address() as { port: number }).port}` };
}

const start = (endpoint: string | undefined, sampleRatio = 1) =>
  startTelemetry({ endpoint, processName: 'the-api', environment: 'ci', sampleRatio, log });

test.afterEach(() => {
  trace.disable();
  context.disable();
  propagation.disable();
});

test.serial('without an endpoint there are no spans and nothing to flush', async (t) => {
  const telemetry = await start(undefined);
  t.false(trace.getTracer('t').startSpan('x').isRecording());
  await telemetry.shutdown(10);
});

test.serial(
  'spans reach the endpoint as OTLP/proto with service and environment, at the latest on shutdown',
  async (t) => {
    const { received, endpoint } = await collector(t, true);
    const telemetry = await start(`${endpoint}/`);
    trace.getTracer('t').startActiveSpan('work-span', (span) => {
      const carrier: Record<string, string> = {};
      propagation.inject(context.active(), carrier);
      t.is(carrier.traceparent, `00-${span.spanContext().traceId}-${span.spanContext().spanId}-01`);
      span.end();
    });
    await telemetry.shutdown(3_000);
    t.is(received.length, 1);
    t.is(received[0]!.path, '/v1/traces');
    t.is(received[0]!.type, 'application/x-protobuf');
    for (const text of ['work-span', 'the-api', 'deployment.environment.name'])
      t.true(received[0]!.body.includes(text), text);
  },
);

test.serial('roots are sampled by the ratio, children follow their parent', async (t) => {
  const { endpoint } = await collector(t, true);
  const telemetry = await start(endpoint, 0);
  const tracer = trace.getTracer('t');
  t.false(tracer.startSpan('root').isRecording());
  const parent = propagation.extract(ROOT_CONTEXT, {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  });
  const child = tracer.startSpan('child', {}, parent);
  t.true(child.isRecording());
  child.end();
  await telemetry.shutdown(3_000);
});

test.serial('an endpoint that hangs or is away does not hold up the shutdown', async (t) => {
  const { endpoint } = await collector(t, false);
  for (const address of [endpoint, 'http://127.0.0.1:1']) {
    const telemetry = await start(address);
    trace.getTracer('t').startSpan('x').end();
    const startedMs = Date.now();
    await telemetry.shutdown(300);
    t.true(Date.now() - startedMs < 1_000);
    trace.disable();
  }
});
