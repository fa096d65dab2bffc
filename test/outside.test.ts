/**
 * Webhooks on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): from a paid order to the
 * world outside, through an outage of it, and to the operator when it does not come back.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { PaymentCompleted } from '../catalog/events/outside.ts';
import { topics } from '../catalog/topics.ts';
import { run } from '../environment/children.ts';
import { jaegerOf } from '../environment/jaeger.ts';
import { kafkaOf } from '../environment/kafka.ts';
import { checkout } from '../environment/paths.ts';
import { eventRecord } from '../workers/kafka/records.ts';
import { eventually } from '../workers/kafka/testing.ts';
import { isComplete } from '../workers/views/trace-tree.ts';
import { apiUrl, asOperator, environment, setting } from './deployed.fixture.ts';

const worldUrl = setting('MUSTER_OUTSIDE_WORLD_URL');
const kafka = kafkaOf(environment);
const producer = await kafka.producer('e2e-outside');
const runId = `e2e-${randomUUID().slice(0, 8)}`;
const patientMs = 120_000;

test.after.always(async () => {
  await behave({ mode: 'ok' });
  await kafka.close();
});

async function json(url: string, method = 'GET', body?: object, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    headers: {
      ...asOperator,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    data: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>,
  };
}

async function behave(behaviour: object): Promise<void> {
  const { status, data } = await json(`${worldUrl}/behaviour`, 'PUT', behaviour);
  if (status !== 200) throw new Error(`PUT /behaviour: ${status} ${JSON.stringify(data)}`);
}

interface Event {
  readonly state: string;
  readonly attempts: number;
  readonly inDoubt: boolean;
  readonly failedAttempts: readonly { readonly status: number | null }[];
}
const eventOf = async (id: string) => (await json(`${apiUrl}/outside/events/${id}`)).data as unknown as Event;
const stateOf = async (id: string) => (await eventOf(id)).state;

interface Receipt {
  readonly effects: number;
  readonly attempts: readonly { readonly at: string; readonly answer: number | string }[];
}
async function receiptOf(key: string): Promise<Receipt | undefined> {
  const { data } = await json(`${worldUrl}/received?key=${key}`);
  return (data.received as Receipt[])[0];
}

async function publish(ids: readonly string[]): Promise<void> {
  await producer.send(
    ids.map((id) =>
      eventRecord({
        topic: topics.externalEvents.name,
        key: `user:${id}`,
        type: topics.externalEvents.event.type,
        source: '/e2e',
        id,
        timeMs: Date.now(),
        data: {
          paymentId: id,
          orderId: `order-${id}`,
          amount: { amountMinor: 59_000, currency: 'KRW' },
          timestamp: new Date().toISOString(),
        } satisfies PaymentCompleted,
      }),
    ),
  );
}

async function muster(...args: string[]): Promise<string> {
  const result = await run(process.execPath, ['tools/main.ts', '--env', environment.name, ...args], {
    cwd: checkout,
  });
  if (result.exitCode !== 0) throw new Error(`muster ${args.join(' ')}: ${result.stdout}${result.stderr}`);
  return result.stdout;
}

test.serial('a paid order is told to the world outside once, in the trace of the payment', async (t) => {
  t.timeout(300_000);
  await behave({ mode: 'ok' });
  const price = { amountMinor: 12_000, currency: 'KRW' };
  const product = await json(`${apiUrl}/products`, 'POST', { name: 'e2e', price, stock: 10 });
  t.is(product.status, 201, JSON.stringify(product.data));
  const order = await json(`${apiUrl}/orders`, 'POST', {
    userId: `${runId}-customer`,
    items: [{ productId: product.data.productId, quantity: 2 }],
  });
  t.is(order.status, 201, JSON.stringify(order.data));
  const paid = await json(
    `${apiUrl}/orders/${order.data.orderId}/pay`,
    'POST',
    { paymentInfo: { method: 'card', amount: order.data.totalAmount } },
    { 'idempotency-key': `${runId}-pay` },
  );
  t.is(paid.status, 200, JSON.stringify(paid.data));
  const paymentId = String(paid.data.paymentId);
  await eventually('completed', async () => (await stateOf(paymentId)) === 'COMPLETED', patientMs);
  const { data } = await json(`${worldUrl}/received?orderId=${order.data.orderId}`);
  t.like(data, { keys: 1, effects: 1 });
  const [{ key, body }] = data.received as [{ key: string; body: PaymentCompleted }];
  t.is(key, paymentId);
  t.deepEqual(body.amount, { amountMinor: 24_000, currency: 'KRW' });
  t.false(JSON.stringify(data).includes(`${runId}-customer`), 'no person leaves the house');
  const list = await json(`${apiUrl}/outside/events?subject=${order.data.orderId}`);
  t.is((list.data.events as unknown[]).length, 1);

  const traceId = paid.headers.get('traceparent')!.split('-')[1]!;
  const wanted = [
    'api POST /orders/:orderId/pay',
    `outside process ${topics.externalEvents.name}`,
    'outside POST /webhooks/payment-completed',
    'outside-world POST /webhooks/payment-completed',
  ];
  await eventually(
    'one trace from the payment to the receiver',
    async () => {
      const trace = await jaegerOf(environment, AbortSignal.timeout(15_000)).find(traceId);
      if (trace === undefined || !isComplete(trace)) return false;
      const seen = trace.spans.map(
        ({ operationName, processID }) => `${trace.processes[processID]?.serviceName} ${operationName}`,
      );
      return wanted.every((span) => seen.includes(span));
    },
    patientMs,
  );
});

test.serial('a receiver that is down for 20 s gets every event, on schedule and each once', async (t) => {
  t.timeout(300_000);
  const ids = Array.from({ length: 12 }, (_, n) => `${runId}-down-${n}`);
  await behave({ mode: 'fail', status: 503, keyPrefix: `${runId}-down-` });
  await publish(ids);
  await sleep(20_000);
  await behave({ mode: 'ok' });
  await eventually(
    'all completed',
    async () => (await Promise.all(ids.map(stateOf))).every((state) => state === 'COMPLETED'),
    patientMs,
  );
  const delaysMs = [1_000, 2_000, 4_000, 8_000, 8_000, 8_000];
  for (const id of ids) {
    const receipt = (await receiptOf(id))!;
    const at = receipt.attempts.map((attempt) => Date.parse(attempt.at));
    t.is(receipt.effects, 1);
    t.is(receipt.attempts.filter(({ answer }) => answer === 200).length, 1);
    t.true(at.length > 2, `only ${at.length} attempts`);
    for (const [n, time] of at.slice(1).entries())
      t.true(time - at[n]! >= delaysMs[n]!, `retry ${n + 1} came after ${time - at[n]!} ms`);
    t.like(await eventOf(id), { attempts: at.length, inDoubt: false });
  }
  t.log(
    `attempts of the first: ${(await receiptOf(ids[0]!))!.attempts.map(({ at }) => at.slice(14, 23)).join(', ')}`,
  );
});

test.serial(
  'a receiver that stays down: the event is given up, the operator is told, and a replay delivers it once',
  async (t) => {
    t.timeout(600_000);
    const id = `${runId}-for-good`;
    await behave({ mode: 'fail', status: 500, keyPrefix: id });
    await publish([id]);
    await eventually('given up', async () => (await stateOf(id)) === 'DEAD_LETTER', patientMs);
    t.is((await eventOf(id)).failedAttempts.length, 7);
    const dlq = `${topics.externalEvents.name}.dlq`;
    await eventually(
      'a dead letter is listed',
      async () =>
        new RegExp(`${dlq.replaceAll('.', '\\.')}\\s+\\d+\\s+[1-9]`).test(await muster('dlq', 'list')),
      patientMs,
    );
    const shown = await muster('dlq', 'show', topics.externalEvents.name, '--limit', '5');
    t.regex(shown, /MUSTER_WEBHOOK_FAILED/);
    t.true(shown.includes(id), 'which event it is');
    t.false(shown.includes('user:'), 'whose it is stays hidden');

    await eventually(
      'the alert at its receiver',
      async () => {
        const { data } = await json(`${worldUrl}/alerts?alertname=OutsideDeadLettered`);
        const [newest] = data.notifications as { status: string }[];
        return newest?.status === 'firing';
      },
      240_000,
    );

    await behave({ mode: 'ok' });
    t.regex(await muster('dlq', 'replay', topics.externalEvents.name), /^[1-9]\d* replayed, 0 left/m);
    await eventually('delivered', async () => (await stateOf(id)) === 'COMPLETED', patientMs);
    t.is((await receiptOf(id))?.effects, 1);
  },
);
