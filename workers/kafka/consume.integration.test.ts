import { PassThrough } from 'node:stream';
import { context } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import test from 'ava';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { deadLetterTopic, retryTopics, type Topic } from '../../catalog/topics.ts';
import { MusterError, NotNowError } from '../base/errors.ts';
import { createLog } from '../base/log.ts';
import type { Understood } from './apply.ts';
import { type ConsumeOptions, consume } from './consume.ts';
import { listDeadLetters, replayDeadLetters, showDeadLetters } from './dead-letters.ts';
import { connectKafka } from './kafkajs.ts';
import { eventRecord, headerText, readEvent } from './records.ts';
import { attemptsOf } from './retry.ts';
import { createTopics, eventually, readTopic, testBrokers, testLog, uniqueName } from './testing.ts';
import type { Patience } from './watchdog.ts';

function testTopic(): Topic {
  return {
    name: uniqueName('events'),
    partitions: 2,
    replicationFactor: 3,
    minInsyncReplicas: 2,
    retentionMs: 'environment',
    key: 'id',
    owner: 'test',
    description: '',
    timestamps: 'create',
    designLoad: { messagesPerSecond: 0, bytesPerMessage: 0 },
  };
}

function testGroup(topic: Topic, retryDelaysMs: number[]): ConsumerGroup {
  return {
    id: uniqueName('group'),
    topics: [topic],
    owner: 'test',
    description: '',
    lagSecondsHigh: 1,
    retryDelaysMs,
  };
}

function parse(record: { readonly value: Buffer | null }): { n: number } {
  if (record.value === null) throw new MusterError('MUSTER_NOT_JSON', 'there is no value');
  try {
    return JSON.parse(String(record.value)) as { n: number };
  } catch {
    throw new MusterError('MUSTER_NOT_JSON', 'the value is not JSON');
  }
}

/** One after the other. */
const each =
  (handle: (one: Understood<{ n: number }>) => Promise<void>): ConsumeOptions<{ n: number }>['apply'] =>
  async (records) => {
    for (const record of records) await handle(record);
    return undefined;
  };

async function setUp(retryDelaysMs: number[], patience?: Patience) {
  const topic = testTopic();
  const group = testGroup(topic, retryDelaysMs);
  const made = await createTopics([topic, deadLetterTopic(topic), ...retryTopics(topic, group)]);
  const kafka = connectKafka({
    brokers: testBrokers(),
    clientId: 'test',
    log: testLog,
    ...(patience === undefined ? {} : { patience }),
  });
  const producer = await kafka.producer('test');
  return {
    topic,
    group,
    kafka,
    producer,
    async tearDown() {
      await kafka.close();
      await made.remove();
    },
  };
}

const event = (topic: Topic, n: number, key = 'k') =>
  eventRecord({
    topic: topic.name,
    key,
    type: 'Test',
    source: '/test',
    id: `id-${n}`,
    timeMs: Date.now(),
    data: { n },
  });

test('what is logged about a failing record names the trace of its sender', async (t) => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const { topic, group, kafka, producer, tearDown } = await setUp([]);
  t.teardown(tearDown);
  const stream = new PassThrough();
  const lines: Record<string, unknown>[] = [];
  stream.on('data', (line) => lines.push(JSON.parse(String(line))));
  const consumer = await consume<{ n: number }>(kafka, {
    group,
    log: createLog({ process: 'test', level: 'info', stream }),
    parse,
    apply: each(async () => {
      throw new MusterError('MUSTER_NO', 'not this one');
    }),
    onFatal: (error) => t.fail(error.message),
  });
  t.teardown(() => consumer.stop());
  await eventually('ready', () => consumer.ready());
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
  const sent = event(topic, 1);
  await producer.send([
    { ...sent, headers: { ...sent.headers, traceparent } },
    { topic: topic.name, key: 'k', value: 'not JSON', headers: { traceparent } },
    event(topic, 2),
  ]);
  const said = (message: string) => lines.filter((line) => line.message === message);
  await eventually('all three failed', () => said('a handler failed').length === 2);
  t.deepEqual(
    said('a handler failed').map((line) => line.trace_id),
    [traceId, undefined],
  );
  t.is(said('a record is not understood')[0]?.trace_id, traceId);
});

test('a failing record goes through the retry topics on schedule, holds nobody up, and ends as a dead letter', async (t) => {
  const { topic, group, kafka, producer, tearDown } = await setUp([1_500, 500]);
  t.teardown(tearDown);
  const tries: { n: number; attempt: number; atMs: number; id: string }[] = [];
  const consumer = await consume<{ n: number }>(kafka, {
    group,
    log: testLog,
    parse,
    atOnce: 1,
    apply: each(async ({ data, record }) => {
      const attempt = attemptsOf(record);
      tries.push({ n: data.n, attempt, atMs: Date.now(), id: readEvent(record).id });
      if (data.n === 1) throw new Error('user 4711 is unknown');
      if (data.n === 2 && attempt === 0) throw new MusterError('MUSTER_ONCE', 'only the first time');
    }),
    onFatal: (error) => t.fail(error.message),
  });
  t.teardown(() => consumer.stop());
  await eventually('ready', () => consumer.ready());
  await producer.send([1, 2, 3].map((n) => event(topic, n)));
  await eventually('third handled', () => tries.some(({ n }) => n === 3));
  await eventually('dead letter', async () => (await readTopic(kafka, `${topic.name}.dlq`)).length === 1);

  const of = (n: number) => tries.filter((entry) => entry.n === n);
  // Its retry lies on another partition: due earlier, but nobody promised that it is handled earlier.
  await eventually('second handled again', () => of(2).length > 1);
  t.deepEqual(
    of(1).map(({ attempt }) => attempt),
    [0, 1, 2],
  );
  t.deepEqual(
    of(2).map(({ attempt }) => attempt),
    [0, 1],
  );
  t.deepEqual(
    of(3).map(({ attempt }) => attempt),
    [0],
  );
  t.true(of(3)[0]!.atMs < of(1)[1]!.atMs, 'the third did not wait for the retries of the first');
  t.true(of(1)[1]!.atMs - of(1)[0]!.atMs >= 1_500);
  t.true(of(1)[2]!.atMs - of(1)[1]!.atMs >= 500);
  t.true(of(1).every(({ id }) => id === 'id-1'));

  const [dead] = await readTopic(kafka, `${topic.name}.dlq`);
  t.is(headerText(dead!, 'muster-error-code'), 'MUSTER_HANDLER_FAILED');
  t.notRegex(headerText(dead!, 'muster-error-reason')!, /4711/);
  t.true(headerText(dead!, 'muster-source')!.startsWith(`${topic.name}-`));
  t.is(headerText(dead!, 'ce_id'), 'id-1');
  t.is(headerText(dead!, 'muster-group'), group.id);
});

test('what is not understood becomes a dead letter with its bytes; a replay sends it back once, and again only when told to', async (t) => {
  const { topic, group, kafka, producer, tearDown } = await setUp([]);
  t.teardown(tearDown);
  const handled: number[] = [];
  const options = {
    group,
    log: testLog,
    parse,
    apply: each(async ({ data }) => {
      handled.push(data.n);
    }),
    onFatal: (error: Error) => t.fail(error.message),
  };
  const consumer = await consume<{ n: number }>(kafka, options);
  await eventually('ready', () => consumer.ready());
  const binary = Buffer.from([0xff, 0x00, 0x7b]);
  const headers = { mine: Buffer.from([1, 2]), many: ['a', 'b'] };
  await producer.send([
    { topic: topic.name, key: 'k', value: binary, headers },
    { topic: topic.name, key: null, value: null },
    event(topic, 5),
  ]);
  const dlq = `${topic.name}.dlq`;
  await eventually('two dead letters', async () => (await readTopic(kafka, dlq)).length === 2);
  await eventually('the good one', () => handled.length === 1);
  await consumer.stop();

  const dead = (await readTopic(kafka, dlq)).find((record) => record.key !== null)!;
  t.deepEqual(dead.value, binary);
  t.deepEqual(dead.headers.mine, Buffer.from([1, 2]));
  t.deepEqual(dead.headers.many, [Buffer.from('a'), Buffer.from('b')]);
  t.is(headerText(dead, 'muster-error-code'), 'MUSTER_NOT_JSON');
  t.is((await readTopic(kafka, dlq)).filter((record) => record.value === null).length, 1);

  const summary = async () => (await listDeadLetters(kafka)).find((entry) => entry.topic === dlq);
  t.deepEqual(await summary(), { topic: dlq, entries: 2, open: 2 });
  const entries = await showDeadLetters(kafka, topic.name);
  t.true(entries.every(({ code, replayed }) => code === 'MUSTER_NOT_JSON' && !replayed));

  t.deepEqual(await replayDeadLetters(kafka, producer, topic.name), { replayed: 2, left: 0 });
  t.deepEqual(await replayDeadLetters(kafka, producer, topic.name), { replayed: 0, left: 0 });
  t.deepEqual(await summary(), { topic: dlq, entries: 2, open: 0 });
  t.true((await showDeadLetters(kafka, dlq)).every(({ replayed }) => replayed));
  const back = (await readTopic(kafka, topic.name)).filter((record) => record.value?.equals(binary));
  t.is(back.length, 2);
  t.deepEqual(back[1]!.key, back[0]!.key);
  t.deepEqual(back[1]!.headers.many, back[0]!.headers.many);
  t.true(Object.keys(back[1]!.headers).every((name) => !name.startsWith('muster-')));
  t.is(headerText(back[1]!, 'ce_id'), `${topic.name}-${back[0]!.partition}-${back[0]!.offset}`);
  t.is((await replayDeadLetters(kafka, producer, topic.name, { again: true })).replayed, 2);
  await t.throwsAsync(replayDeadLetters(kafka, producer, 'no-such-topic'), { code: 'MUSTER_DLQ_UNKNOWN' });
});

test('while a dependency is down a record waits in place, and goes neither to retries nor to the dead letters', async (t) => {
  const { topic, group, kafka, producer, tearDown } = await setUp([200]);
  t.teardown(tearDown);
  let down = true;
  const handled: number[] = [];
  const consumer = await consume<{ n: number }>(kafka, {
    group,
    log: testLog,
    parse,
    apply: each(async ({ data }) => {
      if (down) throw new NotNowError('MUSTER_DATABASE_DOWN', 'the database is away');
      handled.push(data.n);
    }),
    onFatal: (error) => t.fail(error.message),
  });
  t.teardown(() => consumer.stop());
  await producer.send([1, 2, 3].map((n) => event(topic, n)));
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  t.deepEqual(handled, []);
  down = false;
  await eventually('handled', () => handled.length === 3);
  t.deepEqual(handled, [1, 2, 3]);
  t.is((await readTopic(kafka, `${topic.name}.dlq`)).length, 0);
});

test('with concurrency a record that hangs holds up neither the others of its partition nor their retries; nothing behind it is lost', async (t) => {
  const { topic, group, kafka, producer, tearDown } = await setUp([200]);
  t.teardown(tearDown);
  const handled: string[] = [];
  let letGo = () => {};
  const hanging = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const options = {
    group,
    log: testLog,
    parse,
    concurrency: 3,
    apply: each(async ({ data, record }) => {
      const attempt = attemptsOf(record);
      if (data.n === 0) await hanging;
      handled.push(`${data.n}/${attempt}`);
      if (data.n === 4 && attempt === 0) throw new Error('once');
    }),
    onFatal: (error: Error) => t.fail(error.message),
  };
  const first = await consume<{ n: number }>(kafka, options);
  t.teardown(() => first.stop());
  await eventually('ready', () => first.ready());
  // One key: all lie on one partition.
  await producer.send([0, 1, 2, 3, 4].map((n) => event(topic, n)));
  await eventually('the others', () => handled.includes('4/1'), 60_000);
  await producer.send([event(topic, 5)]);
  await eventually('one that came later', () => handled.includes('5/0'), 60_000);
  t.false(handled.includes('0/0'));
  const committed = async () =>
    [...(await kafka.admin.committed(group.id, topic.name)).values()].reduce<number>(
      (sum, offset) => sum + (offset ?? 0),
      0,
    );
  t.is(await committed(), 0, 'nothing behind the unfinished one is committed');
  letGo();
  await eventually('committed to the end', async () => (await committed()) === 6, 60_000);
  t.deepEqual(handled.toSorted(), ['0/0', '1/0', '2/0', '3/0', '4/0', '4/1', '5/0']);
});

test('a failure that no later try mends goes straight to the dead letters', async (t) => {
  const { topic, group, kafka, producer, tearDown } = await setUp([200, 200]);
  t.teardown(tearDown);
  const attempts: number[] = [];
  const consumer = await consume<{ n: number }>(kafka, {
    group,
    log: testLog,
    parse,
    apply: each(async ({ record }) => {
      attempts.push(attemptsOf(record));
      throw new MusterError('MUSTER_NEVER', 'the other side refuses');
    }),
    isFinal: (error) => (error as MusterError).code === 'MUSTER_NEVER',
    onFatal: (error) => t.fail(error.message),
  });
  t.teardown(() => consumer.stop());
  await producer.send([event(topic, 1)]);
  await eventually(
    'dead letter',
    async () => (await readTopic(kafka, `${topic.name}.dlq`)).length === 1,
    60_000,
  );
  t.deepEqual(attempts, [0]);
});

/** Three seconds. */
const hasty: Patience = { lookEveryMs: 500, nudgeAfter: 2, endAfter: 5 };

for (const [how, options] of [
  ['in order', {}],
  ['side by side', { concurrency: 2 }],
] as const)
  test(`${how}: a retry that is due later than the watchdog has patience is no stall, and holds nobody up`, async (t) => {
    const { topic, group, kafka, producer, tearDown } = await setUp([9_000], hasty);
    t.teardown(tearDown);
    const handled: { n: number; attempt: number; atMs: number }[] = [];
    const consumer = await consume<{ n: number }>(kafka, {
      group,
      log: testLog,
      parse,
      ...options,
      apply: each(async ({ data, record }) => {
        const attempt = attemptsOf(record);
        handled.push({ n: data.n, attempt, atMs: Date.now() });
        if (data.n === 1 && attempt === 0) throw new Error('once');
      }),
      onFatal: (error) => t.fail(error.message),
    });
    t.teardown(() => consumer.stop());
    await eventually('ready', () => consumer.ready(), 60_000);
    await producer.send([event(topic, 1)]);
    const of = (n: number) => handled.filter((one) => one.n === n);
    await eventually('the first try', () => of(1).length > 0, 60_000);
    await producer.send([event(topic, 2)]);
    await eventually('the second try', () => of(1).some(({ attempt }) => attempt === 1), 60_000);
    const again = of(1).find(({ attempt }) => attempt === 1)!;
    t.true(again.atMs - of(1)[0]!.atMs >= 9_000);
    t.true(of(2)[0]!.atMs < again.atMs);
  });

test('places that are all taken while something is away are no stall', async (t) => {
  const { topic, group, kafka, producer, tearDown } = await setUp([], hasty);
  t.teardown(tearDown);
  const handled: number[] = [];
  let down = true;
  const consumer = await consume<{ n: number }>(kafka, {
    group,
    log: testLog,
    parse,
    concurrency: 1,
    apply: each(async ({ data }) => {
      if (down) throw new NotNowError('MUSTER_DATABASE_DOWN', 'the database is away');
      handled.push(data.n);
    }),
    onFatal: (error) => t.fail(error.message),
  });
  t.teardown(() => consumer.stop());
  await eventually('ready', () => consumer.ready(), 60_000);
  await producer.send([1, 2, 3].map((n) => event(topic, n)));
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  down = false;
  await eventually('handled', () => handled.length === 3, 60_000);
  t.deepEqual(handled, [1, 2, 3]);
});

test('a webhook that never ends, although nothing is away, is told of', async (t) => {
  const { topic, group, kafka, producer, tearDown } = await setUp([], hasty);
  t.teardown(tearDown);
  const fatal: Error[] = [];
  let end = () => {};
  const consumer = await consume<{ n: number }>(kafka, {
    group,
    log: testLog,
    parse,
    concurrency: 4,
    apply: () =>
      new Promise<undefined>((resolve) => {
        end = () => resolve(undefined);
      }),
    onFatal: (error) => fatal.push(error),
  });
  await eventually('ready', () => consumer.ready(), 60_000);
  await producer.send([event(topic, 1)]);
  await eventually('told', () => fatal.length > 0, 60_000);
  t.is((fatal[0] as MusterError).code, 'MUSTER_KAFKA_STALLED');
  end();
  await consumer.stop();
});

test('one record that cannot be handled is found among many, and the others are handled in few steps', async (t) => {
  const { topic, group, kafka, producer, tearDown } = await setUp([]);
  t.teardown(tearDown);
  const handled = new Set<number>();
  let steps = 0;
  await producer.send(Array.from({ length: 200 }, (_, n) => event(topic, n)));
  const consumer = await consume<{ n: number }>(kafka, {
    group,
    log: testLog,
    parse,
    async apply(records) {
      steps += 1;
      if (records.some(({ data }) => data.n === 77)) throw new MusterError('MUSTER_NO', 'not this one');
      for (const { data } of records) handled.add(data.n);
      return undefined;
    },
    onFatal: (error) => t.fail(error.message),
  });
  t.teardown(() => consumer.stop());
  const letters = () => readTopic(kafka, `${topic.name}.dlq`);
  await eventually('put aside', async () => (await letters()).length === 1 && handled.size === 199, 60_000);
  t.is(headerText((await letters())[0]!, 'ce_id'), 'id-77');
  t.true(steps < 40, `${steps} steps`);
});
