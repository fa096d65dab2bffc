/**
 * The promotion pipeline on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables):
 * the three ways in, one trace through it all, and no personal data on any way out. What is lost when parts are killed is
 * in drills.test.ts.
 */
import { randomUUID } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { topics } from '../catalog/topics.ts';
import { run } from '../environment/children.ts';
import { containersOf } from '../environment/docker.ts';
import { kafkaOf } from '../environment/kafka.ts';
import { cdktfVariables } from '../environment/variables.ts';
import { rememberedImages } from '../tools/deployment.ts';
import { knownTerraformConfigFile } from '../tools/provider.ts';
import { planIsEmpty, synthesised } from '../tools/terraform.ts';
import type { IncomingRecord } from '../workers/kafka/kafka.ts';
import { isComplete, type JaegerTrace } from '../workers/views/trace-tree.ts';
import {
  apiUrl,
  asOperator,
  type Ends,
  endsOf,
  environment,
  recordsSince,
  setting,
} from './deployed.fixture.ts';

const inbox = setting('LOG_INBOX_DIRECTORY');
const kafka = kafkaOf(environment);
const producer = await kafka.producer('e2e');
test.after.always(() => kafka.close());

/** Unlike anything else that is ever written, so that finding it anywhere is proof. */
const runId = randomUUID().slice(0, 8);
const card = '4111111111111111';
const userIdOf = (way: string) => `e2e-person-${runId}-${way}`;

interface Enriched {
  readonly purchaseId: string;
  readonly version: number;
  readonly promotion_affect: 0 | 1;
  readonly user: string;
  readonly cardLast4?: string;
  readonly promotions: readonly { promotionId: string; action: string; secondsBefore: number }[];
}

const parsed = (record: IncomingRecord): Enriched => JSON.parse(String(record.value)) as Enriched;

/** Waits for the purchase's record on topic promotion. */
async function promotionOf(
  purchaseId: string,
  since: Ends,
  withinMs: number,
): Promise<{ enriched: Enriched; record: IncomingRecord } | undefined> {
  for (const until = Date.now() + withinMs; Date.now() < until; await sleep(50)) {
    for (const record of await recordsSince(kafka, topics.promotion.name, since)) {
      const enriched = parsed(record);
      if (enriched.purchaseId === purchaseId) return { enriched, record };
    }
  }
  return undefined;
}

/** A click and a purchase a second later in event time, as a shop would write them. */
function visit(way: string): { act: object; purchase: object; purchaseId: string; userId: string } {
  const userId = userIdOf(way);
  const purchaseId = `e2e-${runId}-${way}`;
  const now = Date.now();
  return {
    userId,
    purchaseId,
    act: { userId, promotionId: 'promo-e2e', action: 'click', actedAt: new Date(now - 1000).toISOString() },
    purchase: {
      purchaseId,
      userId,
      productId: 'sku-e2e',
      quantity: 2,
      price: '₩12,000',
      purchasedAt: new Date(now).toISOString(),
      age: 34,
      card,
    },
  };
}

async function arrives(
  t: ExecutionContext,
  way: string,
  send: (one: ReturnType<typeof visit>) => Promise<void>,
) {
  const since = await endsOf(kafka, topics.promotion.name);
  const one = visit(way);
  const startedAt = performance.now();
  await send(one);
  const found = await promotionOf(one.purchaseId, since, 15_000);
  t.truthy(found, 'no record on topic promotion within 15 s');
  t.log(
    `${way}: ${Math.round(performance.now() - startedAt)} ms from the first send to the promotion record`,
  );
  t.is(found?.enriched.promotion_affect, 1);
  t.like(found?.enriched.promotions[0], { promotionId: 'promo-e2e', action: 'click', secondsBefore: 1 });
  t.regex(found?.enriched.user ?? '', /^u_[A-Za-z0-9_-]{22}$/);
  t.is(found?.enriched.cardLast4, '1111');
  return found;
}

async function post(path: string, body: object): Promise<void> {
  const response = await fetch(`${apiUrl}${path}`, {
    method: 'POST',
    headers: { ...asOperator, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (response.status !== 202) throw new Error(`${path} answered ${response.status}: ${text}`);
}

test.serial('straight after up a plan of every stack is empty', async (t) => {
  t.timeout(300_000);
  const images = await rememberedImages(environment);
  const stacks = await synthesised(environment);
  t.is(stacks?.length, 4);
  const variables = cdktfVariables(environment, {
    images: images!,
    localImages: [],
    dockerHost: process.env.DOCKER_HOST,
    terraformConfigFile: await knownTerraformConfigFile(images!),
  });
  for (const stack of stacks!)
    t.true(await planIsEmpty(stack, variables, new AbortController().signal), `${stack.name} has changes`);
});

test.serial('a plain Kafka producer’s click and purchase become a promotion record', async (t) => {
  t.timeout(60_000);
  await arrives(t, 'kafka', async ({ act, purchase, userId }) => {
    const both = [
      [topics.promoBehavior.name, act],
      [topics.purchase.name, purchase],
    ] as const;
    for (const [topic, value] of both) {
      // No headers: a producer that knows nothing of us.
      const kcat = await run('kcat', ['-P', '-b', setting('KAFKA_BROKERS'), '-t', topic, '-k', userId], {
        input: JSON.stringify(value),
      }).catch(() => undefined);
      if (kcat?.exitCode !== 0) await producer.send([{ topic, key: userId, value: JSON.stringify(value) }]);
    }
  });
});

test.serial('lines of log files become a promotion record', async (t) => {
  t.timeout(60_000);
  await arrives(t, 'log', async ({ act, purchase }) => {
    await appendFile(join(inbox, 'promo_behavior', `e2e-${runId}.log`), `${JSON.stringify(act)}\n`);
    await appendFile(join(inbox, 'purchase', `e2e-${runId}.log`), `${JSON.stringify(purchase)}\n`);
  });
});

let traceId: string | undefined;

test.serial('requests to the API become a promotion record', async (t) => {
  t.timeout(60_000);
  const found = await arrives(t, 'api', async ({ act, purchase }) => {
    await post('/promo-behaviors', act);
    await post('/purchases', purchase);
  });
  traceId = String(found?.record.headers.traceparent ?? '').split('-')[1];
  t.regex(traceId ?? '', /^[0-9a-f]{32}$/);
});

test.serial(
  'one trace leads from the HTTP request over purchase and the join to topic promotion',
  async (t) => {
    t.timeout(60_000);
    let trace: JaegerTrace | undefined;
    const reached = () =>
      trace?.spans.some(({ operationName }) => operationName === 'send promotion') === true;
    for (
      const until = Date.now() + 30_000;
      Date.now() < until && !(reached() && isComplete(trace!));
      await sleep(500)
    ) {
      const response = await fetch(`${setting('MUSTER_JAEGER_URL')}/api/traces/${traceId}`);
      if (response.ok) trace = ((await response.json()) as { data: JaegerTrace[] }).data[0];
    }
    const names = trace?.spans.map(({ operationName }) => operationName) ?? [];
    for (const wanted of ['POST /purchases', 'send purchase', 'process purchase', 'send promotion'])
      t.true(names.includes(wanted), `${wanted} is not among ${names.join(', ')}`);
  },
);

test.serial('./muster trace --last promotion prints such a trace', async (t) => {
  const result = await run(process.execPath, [
    'tools/main.ts',
    '--env',
    environment.name,
    'trace',
    '--last',
    'promotion',
  ]);
  t.is(result.exitCode, 0, result.stderr);
  t.regex(result.stdout, /POST \/purchases/);
  t.regex(result.stdout, /send promotion/);
});

test.serial('what cannot be understood becomes a dead letter that shows no personal data', async (t) => {
  t.timeout(60_000);
  const userId = userIdOf('poison');
  const value = `{"purchaseId":"x","userId":"${userId}","card":"${card}","purchasedAt":"2026-02-31T00:00:00Z"}`;
  const since = await endsOf(kafka, topics.purchaseDlq.name);
  await producer.send([{ topic: topics.purchase.name, key: userId, value }]);
  let letter: IncomingRecord | undefined;
  for (const until = Date.now() + 15_000; letter === undefined && Date.now() < until; await sleep(100))
    letter = (await recordsSince(kafka, topics.purchaseDlq.name, since)).find(
      (record) => String(record.value) === value,
    );
  t.truthy(letter, 'the raw bytes are not on the dead letter topic');
  const reason = String(letter?.headers['muster-error-reason']);
  t.true(reason.length > 5);
  t.false(reason.includes(userId) || reason.includes(card));
  const shown = await run(process.execPath, [
    'tools/main.ts',
    '--env',
    environment.name,
    'dlq',
    'show',
    'purchase',
  ]);
  t.is(shown.exitCode, 0, shown.stderr);
  t.false(shown.stdout.includes(userId) || shown.stdout.includes(card));
});

test.serial('no user id and no card number is in output topics, logs, traces or metrics', async (t) => {
  t.timeout(120_000);
  const person = `e2e-person-${runId}`;
  const clean = (what: string, text: string) => {
    t.false(text.includes(person), `${what} names a user`);
    t.false(text.includes(card), `${what} holds a card number`);
  };
  for (const topic of [topics.purchaseEnriched.name, topics.promotion.name]) {
    const records = await recordsSince(kafka, topic, new Map());
    t.true(records.length > 0);
    for (const { key, value, headers } of records)
      clean(topic, `${String(key)} ${String(value)} ${JSON.stringify(Object.values(headers).map(String))}`);
  }
  for (const container of await containersOf(environment)) {
    const { stdout, stderr } = await run('docker', ['logs', container.id]);
    clean(`the log of ${container.name}`, stdout + stderr);
  }
  const jaeger = setting('MUSTER_JAEGER_URL');
  for (const service of ['api', 'promotion', 'log-follower']) {
    const response = await fetch(`${jaeger}/api/traces?service=${service}&limit=200&lookback=1h`);
    clean(`traces of ${service}`, await response.text());
  }
  clean('metrics of the API', await (await fetch(`${apiUrl}/metrics`)).text());
  const series = await fetch(
    `${setting('MUSTER_PROMETHEUS_URL')}/api/v1/series?${new URLSearchParams({ 'match[]': '{job=~".+"}' })}`,
  );
  clean('series in Prometheus', await series.text());
});

test.serial('./muster status finds everything well again', async (t) => {
  t.timeout(240_000);
  const status = () => run(process.execPath, ['tools/main.ts', '--env', environment.name, 'status']);
  // What waited for a minute is a broken promise until it is done.
  let result = await status();
  for (const giveUpAt = Date.now() + 120_000; result.exitCode !== 0 && Date.now() < giveUpAt; )
    result = await status();
  t.is(result.exitCode, 0, result.stdout + result.stderr);
});
