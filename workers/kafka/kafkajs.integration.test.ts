import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { isNotNow, NotNowError } from '../base/errors.ts';
import type { IncomingRecord, Kafka, PartitionConsumer } from './kafka.ts';
import { partitionFor } from './kafka.ts';
import {
  createTopics,
  eventually,
  groupMembers,
  readTopic,
  sendInTransaction,
  testKafka,
  uniqueName,
  withTopic,
} from './testing.ts';

test('what is sent is read back byte for byte, in order per key, with tombstones, null keys and repeated headers', async (t) => {
  const { kafka, topic } = await withTopic(t, 'roundtrip', 3);
  const producer = await kafka.producer('test');
  const binary = Buffer.from([0, 255, 1, 254, 0]);
  await producer.send([
    { topic, key: 'k1', value: 'plain', headers: { a: 'x', b: ['1', binary], c: null } },
    { topic, key: 'k1', value: null },
    { topic, key: 'k1', value: binary },
    { topic, key: null, value: 'no key' },
    { topic, key: 'ключ', value: '값 ₩10,000' },
    { topic, key: 'big', value: 'z'.repeat(400_000) },
  ]);
  const records = await readTopic(kafka, topic);
  t.is(records.length, 6);
  const k1 = records.filter((record) => record.key?.toString() === 'k1');
  t.deepEqual(
    k1.map((record) => record.value),
    [Buffer.from('plain'), null, binary],
  );
  t.true(k1.every((record) => record.partition === partitionFor(Buffer.from('k1'), 3)));
  t.deepEqual(k1[0]!.headers.b, [Buffer.from('1'), binary]);
  t.is(k1[0]!.headers.c as unknown, null);
  t.is(records.find((record) => record.key?.toString() === 'ключ')!.value!.toString(), '값 ₩10,000');
  t.is(records.find((record) => record.key?.toString() === 'big')!.value!.length, 400_000);
  t.true(records.every((record) => Math.abs(record.timestampMs - Date.now()) < 60_000));
});

test('a send to a topic that does not exist fails at its deadline and holds nobody else up', async (t) => {
  const { kafka, topic } = await withTopic(t, 'deadline');
  const producer = await kafka.producer('test');
  const missing = producer.send([{ topic: uniqueName('missing'), key: 'a', value: 'b' }], {
    deadlineMs: 700,
  });
  await t.notThrowsAsync(producer.send([{ topic, key: 'a', value: 'b' }], { deadlineMs: 5_000 }));
  await t.throwsAsync(missing, { code: 'MUSTER_KAFKA_SEND' });
  await t.throwsAsync(producer.send([{ topic, key: 'a', value: 'x'.repeat(1_300_000) }]), {
    code: 'MUSTER_KAFKA_RECORD_TOO_LARGE',
  });
  await t.throwsAsync(producer.send([{ topic, key: 'a', value: 'x', partition: 7 }]), {
    code: 'MUSTER_KAFKA_SEND',
  });
});

test('what the broker refuses fails for good, and what is acked after it is written', async (t) => {
  const { kafka, topic } = await withTopic(t, 'refused');
  const producer = await kafka.producer('test');
  await producer.send([{ topic, key: null, value: 'before' }]);
  const tooMuch = producer.send([{ topic, key: null, value: randomBytes(1_100_000) }]);
  const beside = producer.send([{ topic, key: null, value: 'beside' }]);
  const error = await t.throwsAsync(tooMuch, { code: 'MUSTER_KAFKA_RECORD_REFUSED' });
  t.false(isNotNow(error));
  await beside;
  await producer.send([{ topic, key: null, value: 'after' }]);
  t.deepEqual(
    (await readTopic(kafka, topic)).map(({ value }) => String(value)),
    ['before', 'beside', 'after'],
  );
});

test('a full buffer makes senders wait and loses nothing', async (t) => {
  const { kafka, topic } = await withTopic(t, 'backpressure', 2);
  const producer = await kafka.producer('test', { bufferBytes: 20_000 });
  const sends = Array.from({ length: 300 }, (_, i) =>
    producer.send([{ topic, key: `key-${i % 7}`, value: `${i}`.padEnd(1_000, '.') }]),
  );
  await Promise.all(sends);
  const records = await readTopic(kafka, topic);
  t.is(records.length, 300);
  for (let key = 0; key < 7; key++) {
    const numbers = records
      .filter((record) => record.key!.toString() === `key-${key}`)
      .map((record) => Number.parseInt(record.value!.toString(), 10));
    t.deepEqual(
      numbers,
      [...numbers].sort((a, b) => a - b),
    );
  }
});

function collect(into: IncomingRecord[]) {
  return (batch: { readonly records: readonly IncomingRecord[] }) => {
    into.push(...batch.records);
  };
}

test('stop commits what was asked for, and the next consumer begins exactly there', async (t) => {
  const topic = uniqueName('stop');
  const groupId = uniqueName('group');
  const made = await createTopics([{ name: topic, partitions: 3 }]);
  const kafka = testKafka();
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  const producer = await kafka.producer('test');
  await producer.send(Array.from({ length: 90 }, (_, i) => ({ topic, key: `k${i}`, value: `${i}` })));

  const first: IncomingRecord[] = [];
  const one: PartitionConsumer = await kafka.consumePartitions({
    groupId,
    topics: [topic],
    onBatch(batch, epoch) {
      first.push(...batch.records);
      const last = batch.records.at(-1)!;
      one.commit([{ topic, partition: batch.partition, offset: last.offset + 1 }], epoch);
    },
    onFatal: (error) => t.fail(error.message),
  });
  await eventually('all read', () => first.length === 90);
  // At once: the throttled commit has not gone out yet.
  await one.stop();
  const committed = await kafka.admin.committed(groupId, topic);
  t.is(
    [...committed.values()].reduce<number>((sum, offset) => sum + (offset ?? 0), 0),
    90,
  );

  await producer.send(Array.from({ length: 30 }, (_, i) => ({ topic, key: `k${i}`, value: `again ${i}` })));
  const second: IncomingRecord[] = [];
  await kafka.consumePartitions({
    groupId,
    topics: [topic],
    onBatch: collect(second),
    onFatal: (error) => t.fail(error.message),
  });
  await eventually('the rest read', () => second.length >= 30);
  await sleep(300);
  t.is(second.length, 30);
  t.true(second.every((record) => record.value!.toString().startsWith('again')));
});

test('the next life of a process ends what the last one left behind in the group, and leaves nothing itself', async (t) => {
  const topic = uniqueName('lives');
  const groupId = uniqueName('group');
  const made = await createTopics([{ name: topic, partitions: 2 }]);
  const folder = mkdtempSync(join(tmpdir(), 'members-'));
  const lives = ['one', 'two'].map((name) => testKafka(name, join(folder, name)));
  t.teardown(async () => {
    await Promise.all(lives.map((life) => life.close()));
    await made.remove();
    rmSync(folder, { recursive: true });
  });
  const start = async (kafka: Kafka) => {
    let assigned = 0;
    await kafka.consumePartitions({
      groupId,
      topics: [topic],
      onAssigned: async (assignment) => {
        assigned = assignment.length;
        return [];
      },
      onBatch: () => undefined,
      onFatal: (error) => t.fail(error.message),
    });
    await eventually('assigned', () => assigned > 0);
  };
  await start(lives[0]!);
  const [former] = await groupMembers(groupId);
  // As after a crash: the note is there and nobody has left. That the first life goes on makes it the harder case.
  cpSync(join(folder, 'one'), join(folder, 'two'), { recursive: true });
  await start(lives[1]!);
  t.truthy(former);
  t.false((await groupMembers(groupId)).includes(former!));
  await Promise.all(lives.map((life) => life.close()));
  t.deepEqual([...readdirSync(join(folder, 'one')), ...readdirSync(join(folder, 'two'))], []);
});

test('start offsets given on assignment hold from the first batch on', async (t) => {
  const { kafka, topic } = await withTopic(t, 'seek', 2);
  const producer = await kafka.producer('test');
  await producer.send(
    Array.from({ length: 40 }, (_, i) => ({ topic, key: null, value: `${i}`, partition: i % 2 })),
  );
  const seen: IncomingRecord[] = [];
  await kafka.consumePartitions({
    groupId: uniqueName('group'),
    topics: [topic],
    onAssigned: async (assignment) => {
      await sleep(200);
      t.is(assignment.length, 2);
      return [{ topic, partition: 1, offset: 15 }];
    },
    onBatch: collect(seen),
    onFatal: (error) => t.fail(error.message),
  });
  await eventually('read', () => seen.length >= 25);
  await sleep(200);
  const offsets = (partition: number) => seen.filter((r) => r.partition === partition).map((r) => r.offset);
  t.deepEqual(
    offsets(0),
    Array.from({ length: 20 }, (_, i) => i),
  );
  t.deepEqual(offsets(1), [15, 16, 17, 18, 19]);
});

test('a paused partition stays still while the others go on, and resumes within a second', async (t) => {
  const { kafka, topic } = await withTopic(t, 'pause', 2);
  const producer = await kafka.producer('test');
  const seen: IncomingRecord[] = [];
  const consumer = await kafka.consumePartitions({
    groupId: uniqueName('group'),
    topics: [topic],
    onBatch: collect(seen),
    onFatal: (error) => t.fail(error.message),
  });
  const both = (value: string) => [0, 1].map((partition) => ({ topic, key: null, value, partition }));
  await producer.send(both('one'));
  await eventually('first', () => seen.length === 2);
  consumer.pause([{ topic, partition: 0 }]);
  await producer.send(both('two'));
  await eventually('partition 1', () => seen.length === 3);
  await sleep(400);
  t.deepEqual(
    seen.slice(2).map((r) => r.partition),
    [1],
  );
  const resumedMs = Date.now();
  consumer.resume([{ topic, partition: 0 }]);
  await eventually('partition 0', () => seen.length === 4);
  t.true(Date.now() - resumedMs < 1_000);
});

test('a handler whose dependency is down gets the same batch again, while other partitions go on', async (t) => {
  const { kafka, topic } = await withTopic(t, 'dependency', 2);
  const producer = await kafka.producer('test');
  const handled: string[] = [];
  let tries = 0;
  await kafka.consumePartitions({
    groupId: uniqueName('group'),
    topics: [topic],
    async onBatch(batch) {
      if (batch.partition === 0 && (++tries <= 3 || handled.length === 0)) {
        throw new NotNowError('MUSTER_DEPENDENCY_DOWN', 'database is away');
      }
      handled.push(...batch.records.map((record) => `${record.partition}:${record.value}`));
    },
    onFatal: (error) => t.fail(error.message),
  });
  await producer.send([{ topic, key: null, value: 'held', partition: 0 }]);
  await eventually('first try', () => tries >= 1);
  await producer.send([{ topic, key: null, value: 'other', partition: 1 }]);
  await eventually('both', () => handled.length === 2);
  t.deepEqual(handled, ['1:other', '0:held']);
  t.true(tries >= 4);
});

test('a handler that breaks is fatal: told once, nothing committed', async (t) => {
  const topic = uniqueName('fatal');
  const groupId = uniqueName('group');
  const made = await createTopics([{ name: topic, partitions: 1 }]);
  const kafka = testKafka();
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  const producer = await kafka.producer('test');
  await producer.send([{ topic, key: 'a', value: 'b' }]);
  const fatal: Error[] = [];
  const consumer = await kafka.consumePartitions({
    groupId,
    topics: [topic],
    onBatch() {
      throw new TypeError('a bug');
    },
    onFatal: (error) => fatal.push(error),
  });
  await eventually('fatal', () => fatal.length > 0);
  await sleep(300);
  await consumer.stop();
  t.deepEqual(
    fatal.map((error) => error.message),
    ['a bug'],
  );
  t.is((await kafka.admin.committed(groupId, topic)).get(0), undefined);
});

test('two members share co-partitioned topics, nothing is lost over a rebalance, and a late commit is fenced', async (t) => {
  const left = uniqueName('left');
  const right = uniqueName('right');
  const groupId = uniqueName('group');
  const made = await createTopics([
    { name: left, partitions: 4 },
    { name: right, partitions: 4 },
  ]);
  const kafka = testKafka();
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  const producer = await kafka.producer('test');
  const seen = new Map<string, number>();
  const assignments = new Map<string, string[]>();
  /** In which each has handled its last batch. */
  const epochs = new Map<string, number>();
  const start = async (name: string) => {
    const consumer: PartitionConsumer = await kafka.consumePartitions({
      groupId,
      topics: [left, right],
      coPartitioned: true,
      async onAssigned(assignment) {
        assignments.set(name, assignment.map(({ topic, partition }) => `${topic}/${partition}`).sort());
        return [];
      },
      async onBatch(batch, epoch) {
        await sleep(20);
        epochs.set(name, epoch);
        for (const record of batch.records) {
          const id = record.value!.toString();
          seen.set(id, (seen.get(id) ?? 0) + 1);
        }
        const offset = batch.records.at(-1)!.offset + 1;
        consumer.commit([{ topic: batch.topic, partition: batch.partition, offset }], epoch);
      },
      onFatal: (error) => t.fail(error.message),
    });
    return consumer;
  };
  let sent = 0;
  const more = async () => {
    const records = Array.from({ length: 40 }, () => ({
      topic: sent % 2 === 0 ? left : right,
      key: `user-${sent % 17}`,
      value: `id-${sent++}`,
    }));
    await producer.send(records);
  };
  const one = await start('one');
  await more();
  await eventually('first alone', () => seen.size === sent);
  t.is(assignments.get('one')!.length, 8);
  const epochBefore = one.epoch;
  const two = await start('two');
  for (let i = 0; i < 10; i++) {
    await more();
    await sleep(100);
  }
  await eventually('both have their share', () =>
    ['one', 'two'].every((name) => assignments.get(name)?.length === 4),
  );
  await eventually('all read', () => seen.size === sent);
  t.true(one.epoch > epochBefore);
  // Before it reads on, a consumer takes no commits of any epoch.
  await eventually('one reads in its new epoch', async () => {
    await more();
    return epochs.get('one') === one.epoch;
  });
  await eventually('all read', () => seen.size === sent);
  for (const name of ['one', 'two']) {
    const mine = assignments.get(name)!;
    const indices = (topic: string) =>
      mine.filter((p) => p.startsWith(`${topic}/`)).map((p) => p.split('/')[1]);
    t.deepEqual(indices(left), indices(right));
  }
  // A commit under the old epoch does not count, not even for a partition that is still ours.
  const [topic, partition] = assignments.get('one')![0]!.split('/') as [string, string];
  one.commit([{ topic, partition: Number(partition), offset: 999_999 }], epochBefore);
  await one.flushCommits();
  // Looked at before anything else is committed there, which would cover it up.
  t.not((await kafka.admin.committed(groupId, topic)).get(Number(partition)), 999_999);
  await two.stop();
  await eventually('one has all again', () => assignments.get('one')?.length === 8);
  await more();
  await eventually('all read', () => seen.size === sent);
  await one.stop();
  for (const name of [left, right]) {
    const committed = await kafka.admin.committed(groupId, name);
    const ends = await kafka.admin.offsets(name);
    t.deepEqual(
      ends.map((end) => committed.get(end.partition) ?? 0),
      ends.map((end) => end.high),
    );
  }
});

test('an assignment that overtakes another still waits for the handler that was at work before both', async (t) => {
  const topic = uniqueName('overtaken');
  const groupId = uniqueName('group');
  const made = await createTopics([{ name: topic, partitions: 3 }]);
  const kafka = testKafka();
  const finish = Promise.withResolvers<void>();
  t.teardown(async () => {
    finish.resolve();
    await kafka.close();
    await made.remove();
  });
  const producer = await kafka.producer('test');
  await producer.send([{ topic, key: 'a', value: 'slow' }]);
  const working = Promise.withResolvers<void>();
  let atWork = false;
  let begunMeanwhile = 0;
  let begunAfter = 0;
  await kafka.consumePartitions({
    groupId,
    topics: [topic],
    async onAssigned() {
      if (atWork) begunMeanwhile++;
      else begunAfter++;
      return [];
    },
    async onBatch() {
      atWork = true;
      working.resolve();
      await finish.promise;
      atWork = false;
    },
    onFatal: (error) => t.fail(error.message),
  });
  await working.promise;
  begunAfter = 0;
  for (const name of ['second', 'third']) {
    const joined = Promise.withResolvers<void>();
    await kafka.consumePartitions({
      groupId,
      topics: [topic],
      async onAssigned() {
        joined.resolve();
        return [];
      },
      onBatch: async () => {},
      onFatal: (error) => t.fail(`${name}: ${error.message}`),
    });
    await joined.promise;
  }
  // Long enough for the second assignment to be taken on by mistake: it needs a few round trips.
  await sleep(1_000);
  t.is(begunMeanwhile, 0);
  finish.resolve();
  await eventually('it goes on when the handler has ended', () => begunAfter > 0);
});

test('topics of different width cannot be joined, and a missing topic is named', async (t) => {
  const a = uniqueName('wide');
  const b = uniqueName('narrow');
  const made = await createTopics([
    { name: a, partitions: 3 },
    { name: b, partitions: 2 },
  ]);
  const kafka = testKafka();
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  const options = { groupId: uniqueName('group'), onBatch: () => undefined, onFatal: () => undefined };
  await t.throwsAsync(kafka.consumePartitions({ ...options, topics: [a, b], coPartitioned: true }), {
    code: 'MUSTER_KAFKA_NOT_COPARTITIONED',
  });
  await t.throwsAsync(kafka.consumePartitions({ ...options, topics: [uniqueName('nowhere')] }), {
    code: 'MUSTER_KAFKA_TOPIC_MISSING',
  });
});

test('end offsets of several topics can be asked for at the same time on a fresh client', async (t) => {
  const names = [uniqueName('ends'), uniqueName('ends'), uniqueName('ends'), uniqueName('ends')];
  const made = await createTopics(names.map((name) => ({ name, partitions: 6 })));
  const kafka = testKafka();
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  const answers = await Promise.all(names.map((name) => kafka.admin.offsets(name)));
  t.deepEqual(
    answers.map((offsets) => offsets.map(({ partition, low, high }) => [partition, low, high])),
    names.map(() => [0, 1, 2, 3, 4, 5].map((partition) => [partition, 0, 0])),
  );
  const ends = await kafka.admin.ends(names);
  t.deepEqual(
    names.map((name) => [...ends.get(name)!.values()]),
    names.map(() => [0, 0, 0, 0, 0, 0]),
  );
});

test('several reads that start at once on a fresh client all succeed', async (t) => {
  const topic = uniqueName('reads');
  const made = await createTopics([{ name: topic, partitions: 9 }]);
  const writing = testKafka();
  t.teardown(async () => {
    await writing.close();
    await made.remove();
  });
  const producer = await writing.producer('test');
  await producer.send(
    Array.from({ length: 9 }, (_, partition) => ({ topic, key: null, value: `${partition}`, partition })),
  );
  for (let round = 0; round < 5; round++) {
    const kafka = testKafka();
    const values = await Promise.all(
      Array.from({ length: 9 }, async (_, partition) => {
        const records: IncomingRecord[] = [];
        for await (const chunk of kafka.read(topic, partition, 0, 1)) records.push(...chunk);
        return records[0]?.value?.toString();
      }),
    ).finally(() => kafka.close());
    t.deepEqual(values, ['0', '1', '2', '3', '4', '5', '6', '7', '8']);
  }
});

test('what a transaction has aborted is neither consumed nor read nor followed', async (t) => {
  const { kafka, topic } = await withTopic(t, 'aborted');
  const followed: IncomingRecord[] = [];
  const follower = kafka.follow({
    topic,
    partitions: [0],
    onRecords: (_partition, records) => followed.push(...records),
  });
  await eventually('the follower is there', () => follower.position(0) !== undefined);
  const producer = await kafka.producer('test');
  await producer.send([{ topic, key: null, value: 'before' }]);
  await sendInTransaction(topic, ['taken back', 'taken back too'], 'abort');
  await sendInTransaction(topic, ['kept']);
  await sendInTransaction(topic, ['taken back at last'], 'abort');
  await producer.send([{ topic, key: null, value: 'after' }]);
  await sendInTransaction(topic, ['nothing comes after this'], 'abort');
  const [{ high } = { high: -1 }] = await kafka.admin.offsets(topic);

  const consumed: IncomingRecord[] = [];
  const passed: number[] = [];
  await kafka.consumePartitions({
    groupId: uniqueName('group'),
    topics: [topic],
    onBatch: collect(consumed),
    onPassed: ({ offset }) => passed.push(offset),
    onFatal: (error) => t.fail(error.message),
  });
  const values = (records: readonly IncomingRecord[]) => records.map(({ value }) => String(value));
  const kept = ['before', 'kept', 'after'];
  await eventually('consumed', () => values(consumed).includes('after'));
  await eventually('followed', () => values(followed).includes('after'));
  // The marker of the end may be written a moment after its producer was answered.
  await eventually('the end is reached, though no record leads there', () => (passed.at(-1) ?? -1) >= high);
  t.deepEqual(values(consumed), kept);
  t.deepEqual(values(followed), kept);
  t.deepEqual(values(await readTopic(kafka, topic)), kept);
});
