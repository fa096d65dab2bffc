/** The three ways in, and the views, on the cluster that KAFKA_BROKERS names; its topics must exist (topics apply). */
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { topics } from '../../catalog/topics.ts';
import { createLog } from '../base/log.ts';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { asOperator, startTestHttp } from '../http/testing.ts';
import { type IncomingRecord, type Kafka, partitionFor } from '../kafka/kafka.ts';
import { eventually, testKafka, uniqueName } from '../kafka/testing.ts';
import type { Started, Worker, WorkerDeps } from '../platform/worker.ts';
import { worker as analysisWorker } from './analysis-worker.ts';
import { worker as apiWorker } from './api-worker.ts';
import { worker as logWorker } from './log-worker.ts';

const pseudonymKey = Buffer.alloc(32, 3);

async function start(t: ExecutionContext, workers: readonly unknown[], config: Record<string, unknown> = {}) {
  const kafka = testKafka();
  const registry = createRegistry();
  const log = createLog({ process: 'test', level: 'error', stream: process.stderr });
  const http = await startTestHttp({ log, registry });
  const running: Started[] = [];
  for (const worker of workers as Worker[]) {
    running.push(
      await worker.start({
        config: { TIME_ZONE: 'Asia/Seoul', ...config },
        log,
        kafka,
        http: http.app as never,
        metrics: registry,
        database: () => Promise.reject(new Error('not here')),
        redis: () => Promise.reject(new Error('not here')),
        relayOutbox: async () => ({ publish() {} }),
        secrets: { pseudonymKey },
        fail: (error) => t.fail(String(error)),
      } satisfies WorkerDeps),
    );
  }
  await http.open();
  t.teardown(async () => {
    for (const one of running) await one.stop();
    await http.close(500);
    await kafka.close();
  });
  return { kafka, running, url: `http://127.0.0.1:${http.address().port}` };
}

/** Where a topic ends now; afterwards everything since. */
async function since(kafka: Kafka, topic: string) {
  const ends = await kafka.admin.offsets(topic);
  return async (): Promise<IncomingRecord[]> => {
    const records: IncomingRecord[] = [];
    const now = new Map((await kafka.admin.offsets(topic)).map(({ partition, high }) => [partition, high]));
    for (const { partition, high } of ends) {
      for await (const chunk of kafka.read(topic, partition, high, now.get(partition)!))
        records.push(...chunk);
    }
    return records;
  };
}

test('what the API has accepted is in the topics, on the partition of its user', async (t) => {
  const { kafka, url } = await start(t, [apiWorker]);
  const run = uniqueName('user');
  const purchases = await since(kafka, topics.purchase.name);
  const answer = await fetch(`${url}/purchases`, {
    method: 'POST',
    headers: { ...asOperator, 'content-type': 'application/json' },
    body: JSON.stringify(
      Array.from({ length: 50 }, (_, i) => ({
        purchase_id: `${run}-p${i}`,
        user_id: `${run}-${i % 7}`,
        product_id: 'sku-1',
        qty: 1,
        price: '₩10,000',
        ts: Date.now(),
      })),
    ),
  });
  t.is(answer.status, 202);
  const { ids } = (await answer.json()) as { ids: string[] };
  const count = (await kafka.admin.partitionCounts([topics.purchase.name])).get(topics.purchase.name)!;
  const mine = (await purchases()).filter(({ key }) => key?.toString().startsWith(run));
  t.deepEqual(mine.map(({ value }) => JSON.parse(value!.toString()).purchaseId).sort(), ids.sort());
  t.true(mine.every(({ key, partition }) => partitionFor(key!, count) === partition));
  t.true(mine.every(({ headers }) => String(headers.ce_type) === 'Purchase'));
});

test('lines of a log file arrive once, also over a rotation and a restart; bad ones among the dead letters', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'muster-inbox-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'promo_behavior'), { recursive: true });
  const path = join(directory, 'promo_behavior', 'app.log');
  const run = uniqueName('user');
  const line = (i: number) =>
    `${JSON.stringify({ userId: `${run}-${i}`, promotionId: 'promo-1', action: 'click', actedAt: Date.now() })}\n`;
  const config = { LOG_INBOX_DIRECTORY: directory, LOG_STATE_DIRECTORY: join(directory, 'state') };
  const reader = testKafka();
  t.teardown(() => reader.close());
  const acts = await since(reader, topics.promoBehavior.name);
  const deadLetters = await since(reader, topics.promoBehaviorDlq.name);
  const mine = async () => (await acts()).filter(({ key }) => key?.toString().startsWith(run));

  const first = await start(t, [logWorker], config);
  appendFileSync(path, line(0) + line(1));
  await eventually('two lines', async () => (await mine()).length === 2);
  appendFileSync(path, line(2));
  renameSync(path, `${path}.1`);
  appendFileSync(path, `${line(3)}{"userId":"${run}-bad"\n`);
  await eventually('four lines', async () => (await mine()).length === 4);
  await first.running[0]!.stop();
  appendFileSync(path, line(4));
  await start(t, [logWorker], config);
  await eventually('five lines', async () => (await mine()).length === 5);
  await sleep(500);
  const records = await mine();
  t.is(records.length, 5);
  t.is(new Set(records.map(({ headers }) => String(headers.ce_id))).size, 5);
  const dead = (await deadLetters()).filter(({ value }) => value?.toString().includes(run));
  t.is(dead.length, 1);
  t.is(dead[0]!.value!.toString(), `{"userId":"${run}-bad"`);
  t.regex(String(dead[0]!.headers['muster-source']), /^promo_behavior\/app\.log@\d+$/);
});

test('a stream shows a user’s purchase and click in order, and the analysis catches up', async (t) => {
  const { kafka, running, url } = await start(t, [apiWorker, analysisWorker]);
  await eventually('caught up', () => running[1]!.ready());
  t.is((await fetch(`${url}/promotions/reactions?window=15m`, { headers: asOperator })).status, 200);
  const userId = uniqueName('user');
  const user = pseudonym(pseudonymKey, userId);
  const ending = new AbortController();
  const stream = await fetch(`${url}/activity/stream?user=${user}`, {
    signal: ending.signal,
    headers: asOperator,
  });
  let text = '';
  const reading = (async () => {
    for await (const chunk of stream.body!) text += Buffer.from(chunk as Uint8Array).toString();
  })().catch(() => {});
  await eventually('ready', () => text.includes('event: ready'));
  const producer = await kafka.producer('test');
  const atMs = Date.now();
  await producer.send([
    {
      topic: topics.purchase.name,
      key: userId,
      value: JSON.stringify({ id: userId, userId, productId: 's', qty: 1, price: 1, ts: atMs }),
    },
  ]);
  await producer.send([
    {
      topic: topics.promoBehavior.name,
      key: userId,
      value: JSON.stringify({ userId, promotionId: 'promo-1', action: 'click', ts: atMs - 1_000 }),
    },
  ]);
  await eventually('both', () => text.split('\nevent: p').length === 3);
  t.true(text.indexOf('event: promo_behavior') < text.indexOf('event: purchase'));
  ending.abort();
  await reading;
});
