/** What people look with, on the deployed environment (`./muster test e2e`): logs of a trace, the map of services. */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { topics } from '../catalog/topics.ts';
import { run } from '../environment/children.ts';
import { kafkaOf } from '../environment/kafka.ts';
import type { ServiceMap } from '../workers/views/service-map.ts';
import { apiUrl, asOperator, environment } from './deployed.fixture.ts';

const kafka = kafkaOf(environment);
test.after.always(() => kafka.close());

function muster(...args: string[]) {
  return run(process.execPath, ['tools/main.ts', '--env', environment.name, ...args]);
}

/** Asks until the answer is good; it may take a while until spans and lines have arrived. */
async function until<Answer>(ask: () => Promise<Answer>, good: (answer: Answer) => boolean): Promise<Answer> {
  for (const endMs = Date.now() + 90_000; ; await sleep(1_000)) {
    const answer = await ask();
    if (good(answer) || Date.now() > endMs) return answer;
  }
}

test.serial('the log lines of a trace are found by its id, and only those', async (t) => {
  t.timeout(180_000);
  const traceId = randomBytes(16).toString('hex');
  const producer = await kafka.producer('e2e');
  await producer.send([
    {
      topic: topics.externalEvents.name,
      key: 'e2e',
      value: 'not JSON',
      headers: { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01` },
    },
  ]);
  const { stdout, stderr } = await until(
    () => muster('logs', '--trace', traceId),
    (answer) => answer.stdout !== '' && answer.stderr === '',
  );
  t.is(stderr, '', 'Jaeger knows the trace, so only its time was looked at');
  const lines = stdout.split('\n');
  t.true(
    lines.every((line) => line.includes(`trace=${traceId}`)),
    stdout,
  );
  t.true(
    lines.some((line) => line.includes('a record is not understood')),
    stdout,
  );
  const raw = await muster('logs', '--trace', traceId, '--raw');
  t.like(JSON.parse(raw.stdout.split('\n')[0]!), { trace_id: traceId, level: 'warn' });
});

test.serial(
  'the map shows a purchase on its way: from outside to the API, by its topic to the join',
  async (t) => {
    t.timeout(180_000);
    const purchase = {
      purchaseId: `e2e-map-${randomUUID().slice(0, 8)}`,
      userId: 'e2e-map',
      productId: 'sku-e2e',
      quantity: 1,
      price: '₩1,000',
      purchasedAt: new Date().toISOString(),
    };
    const response = await fetch(`${apiUrl}/purchases`, {
      method: 'POST',
      headers: { ...asOperator, 'content-type': 'application/json' },
      body: JSON.stringify(purchase),
    });
    t.is(response.status, 202);
    const has = ({ calls }: ServiceMap, from: string | undefined, to: string, way: object) =>
      calls.some(
        (call) => call.from === from && call.to === to && JSON.stringify(call.way) === JSON.stringify(way),
      );
    const http = { kind: 'http', method: 'POST', route: '/purchases' };
    const topic = { kind: 'topic', topic: topics.purchase.name };
    const map = await until(
      async () => JSON.parse((await muster('map', '--range', '5m', '--json')).stdout) as ServiceMap,
      (answer) => has(answer, undefined, 'api', http) && has(answer, 'api', 'promotion', topic),
    );
    t.true(has(map, undefined, 'api', http), JSON.stringify(map.calls));
    t.true(has(map, 'api', 'promotion', topic), JSON.stringify(map.calls));
    const call = map.calls.find(({ way, to }) => way.kind === 'http' && to === 'api')!;
    t.true(call.calls > 0 && call.perSecond > 0 && call.p50Ms! > 0 && call.p95Ms! >= call.p50Ms!);
  },
);
