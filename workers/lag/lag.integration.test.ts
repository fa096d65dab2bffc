import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { metrics } from '../../catalog/metrics.ts';
import type { Kafka } from '../kafka/kafka.ts';
import {
  createTopics,
  deleteGroups,
  deleteRecords,
  eventually,
  readTopic,
  removeTopics,
  sendInTransaction,
  testBrokers,
  testKafka,
  uniqueName,
} from '../kafka/testing.ts';
import { ClusterState, passesUntilGone } from './cluster-state.ts';
import { createPass } from './pass.ts';

const settings = { allowedLag: 0, windowMs: 60_000, sampleMs: 6_000, goneAfterMs: 0, expected: new Map() };

/** A topic, a group and a view of just these, whose passes are made by hand. */
async function watched(t: ExecutionContext, partitions = 1) {
  const topic = uniqueName('lag');
  const group = uniqueName('lag-group');
  const made = await createTopics([{ name: topic, partitions }]);
  const kafka = testKafka('lag-test');
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  const state = new ClusterState(settings);
  const pass = createPass(kafka.cluster(), state, {
    includesTopic: (name) => name === topic,
    includesGroup: (id) => id === group,
    reads: 100,
    retentionEveryMs: 0,
  });
  const producer = await kafka.producer('test');
  return {
    topic,
    group,
    kafka,
    state,
    pass,
    send: (count: number, partition = 0) =>
      producer.send(
        Array.from({ length: count }, (_, i) => ({ topic, key: null, value: `${i}`, partition })),
      ),
    commit: (offset: number, partition = 0) => commit(kafka, group, topic, offset, partition),
    lagOf: (partition = 0) => state.groups.get(group)?.topics.get(topic)?.get(partition),
  };
}

/** The coordinator may just be moving: tried until it is done. */
async function commit(kafka: Kafka, group: string, topic: string, offset: number, partition: number) {
  await eventually(
    'committed',
    () =>
      kafka.admin.setCommitted(group, topic, new Map([[partition, offset]])).then(
        () => true,
        () => false,
      ),
    60_000,
  );
}

/** Passes until it shows; brokers tell each other of what is new with some delay. */
async function passUntil(pass: () => Promise<unknown>, what: string, met: () => boolean): Promise<void> {
  await eventually(
    what,
    async () => {
      await pass();
      return met();
    },
    60_000,
  );
}

test('a group that stands still waits since the very record that it has not read; at the end it waits for nothing', async (t) => {
  const { topic, kafka, pass, send, commit, lagOf, state, group } = await watched(t);
  await send(10);
  await send(10);
  const record = (await readTopic(kafka, topic))[7]!;
  await commit(7);
  await passUntil(pass, 'the record was read', () => lagOf()?.quality === 'fetched');
  t.is(lagOf()!.lag, 13);
  t.is(lagOf()!.sinceMs, record.timestampMs);
  t.is(lagOf()!.committed, 7);
  await pass();
  t.is(lagOf()!.lagSeconds(record.timestampMs + 42_000), 42);
  t.true(lagOf()!.retentionUsed < 1);
  const log = state.topics.get(topic)!.partitions.get(0)!;
  t.is(log.start, 0);
  t.is(log.end, 20);
  t.is(log.replicas.length, 3);
  t.is(log.oldest!.offset, 0);

  await commit(20);
  await passUntil(pass, 'caught up', () => lagOf()?.quality === 'caught_up');
  t.is(lagOf()!.lag, 0);
  t.is(lagOf()!.lagSeconds(Date.now() + 3_600_000), 0);
  t.is(state.groups.get(group)!.status, 'ok');
});

test('many partitions on all brokers: each has its own, in at most seven requests a broker', async (t) => {
  const topic = uniqueName('lag-many');
  const group = uniqueName('lag-group');
  const made = await createTopics([{ name: topic, partitions: 12 }]);
  const kafka = testKafka('lag-test');
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  const producer = await kafka.producer('test');
  await producer.send(
    Array.from({ length: 12 }, (_, partition) =>
      Array.from({ length: partition + 1 }, () => ({ topic, key: null, value: 'x', partition })),
    ).flat(),
  );
  await eventually(
    'committed',
    () =>
      kafka.admin.setCommitted(group, topic, new Map(Array.from({ length: 12 }, (_, i) => [i, 1]))).then(
        () => true,
        () => false,
      ),
    60_000,
  );
  const cluster = kafka.cluster();
  const state = new ClusterState(settings);
  const pass = createPass(cluster, state, {
    includesTopic: (name) => name === topic,
    includesGroup: (id) => id === group,
    reads: 100,
    retentionEveryMs: 600_000,
  });
  const lags = () =>
    [...(state.groups.get(group)?.topics.get(topic)?.shown() ?? [])].map(([, { lag }]) => lag);
  await passUntil(pass, 'all seen', () => lags().length === 12);
  t.deepEqual(
    lags(),
    Array.from({ length: 12 }, (_, i) => i),
  );
  cluster.takeRequestCounts();
  t.deepEqual(await pass(), { problems: [] });
  const counts = [...cluster.takeRequestCounts().values()];
  t.is(counts.length, 3);
  t.true(
    counts.every((count) => count <= 7),
    `requests: ${counts}`,
  );
});

test('a transaction marker behind the committed offset is no lag, and the record after it is', async (t) => {
  const { topic, pass, send, commit, lagOf, state } = await watched(t);
  await sendInTransaction(topic, ['a', 'b', 'c']);
  await commit(3);
  await passUntil(
    pass,
    'the end with the marker',
    () => state.topics.get(topic)?.partitions.get(0)?.end === 4,
  );
  await passUntil(pass, 'the marker was seen', () => lagOf()?.quality === 'caught_up');
  t.is(lagOf()!.lag, 0);
  t.is(lagOf()!.committed, 3);
  await send(2);
  await passUntil(pass, 'the next records', () => lagOf()?.quality === 'fetched');
  t.is(lagOf()!.lag, 2);
});

test('records deleted unread: lag from the log start on, retention used up', async (t) => {
  const { topic, pass, send, commit, lagOf, state } = await watched(t);
  await send(20);
  await commit(5);
  await passUntil(pass, 'seen', () => lagOf()?.lag === 15);
  t.true(lagOf()!.retentionUsed < 1);
  await deleteRecords(topic, 0, 12);
  await passUntil(
    pass,
    'the log start moved',
    () => state.topics.get(topic)?.partitions.get(0)?.start === 12,
  );
  t.is(lagOf()!.lag, 8);
  t.is(lagOf()!.retentionUsed, 1);
  t.is(state.topics.get(topic)!.partitions.get(0)!.oldest!.offset, 12);
});

test('an offset that is set back is a rewind, with the lag of where it is now', async (t) => {
  const { group, pass, send, commit, lagOf, state } = await watched(t);
  await send(20);
  await commit(18);
  await passUntil(pass, 'seen', () => lagOf()?.lag === 2);
  await commit(4);
  await passUntil(pass, 'set back', () => lagOf()?.lag === 16);
  t.is(state.groups.get(group)!.status, 'rewind');
  t.is(lagOf()!.quality, 'fetched');
});

test('a topic that is deleted and created anew begins anew', async (t) => {
  const { topic, group, kafka, pass, send, commit, lagOf, state } = await watched(t);
  await send(50);
  await commit(40);
  await passUntil(pass, 'seen', () => lagOf()?.lag === 10);
  const { id } = state.topics.get(topic)!;
  await removeTopics([topic]);
  await eventually('gone', async () => !(await kafka.admin.topicNames()).includes(topic), 60_000);
  // It leaves the metadata before it is gone; until then, creating it does nothing and reports no error.
  await eventually(
    'created anew',
    async () => {
      const again = await createTopics([{ name: topic, partitions: 1 }]).catch(() => undefined);
      t.teardown(() => again?.remove());
      await sleep(300);
      return (await kafka.admin.topicNames()).includes(topic);
    },
    60_000,
  );
  await passUntil(pass, 'the new one', () => {
    const now = state.topics.get(topic);
    return now !== undefined && now.id !== id && now.partitions.get(0)?.end === 0;
  });
  t.is(state.topics.get(topic)!.partitions.get(0)!.decreases, 0);
  await send(3);
  await commit(1);
  await passUntil(pass, 'its lag', () => lagOf()?.lag === 2);
  t.is(state.groups.get(group)!.status, 'ok');
});

test('a group that is deleted disappears, and not before it is gone', async (t) => {
  const { group, pass, send, commit, lagOf, state } = await watched(t);
  await send(5);
  await commit(2);
  await passUntil(pass, 'seen', () => lagOf()?.lag === 3);
  for (let i = 0; i < passesUntilGone + 1; i++) await pass();
  t.true(state.groups.has(group));
  await deleteGroups([group]);
  await passUntil(pass, 'gone', () => !state.groups.has(group));
  t.pass();
});

test('members and what they have been given are seen', async (t) => {
  const { topic, group, kafka, pass, send, state } = await watched(t, 3);
  await send(5, 1);
  const consumer = await kafka.consumePartitions({
    groupId: group,
    topics: [topic],
    onBatch() {},
    onFatal: (error) => t.fail(error.message),
  });
  await passUntil(pass, 'the member', () => state.groups.get(group)?.assigned.get(topic)?.length === 3);
  t.is(state.groups.get(group)!.members, 1);
  await consumer.stop();
  await passUntil(pass, 'nobody there', () => state.groups.get(group)?.members === 0);
});

test('the worker runs beside a cluster of which it knows the brokers only', async (t) => {
  const topic = uniqueName('lag-alone');
  const group = uniqueName('lag-alone');
  const made = await createTopics([{ name: topic, partitions: 2 }]);
  const kafka = testKafka('lag-test');
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  const producer = await kafka.producer('test');
  await producer.send([0, 1].map((partition) => ({ topic, key: null, value: 'x', partition })));
  await commit(kafka, group, topic, 0, 0);
  await commit(kafka, group, topic, 1, 1);

  const child = spawn(process.execPath, [fileURLToPath(new URL('../main.ts', import.meta.url)), 'lag'], {
    env: {
      PATH: process.env.PATH,
      KAFKA_BROKERS: testBrokers()[0],
      HTTP_PORT: '0',
      LAG_CYCLE_MS: '500',
      LAG_TOPICS: `^${topic}$`,
      LAG_GROUPS: `^${group}$`,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text) => {
      output += text;
    });
  let port: string | undefined;
  await eventually(
    'listening',
    () => {
      port = /"message":"listening".*"port":(\d+)/.exec(output)?.[1];
      return port !== undefined;
    },
    60_000,
  );
  const scrape = () =>
    fetch(`http://127.0.0.1:${port}/metrics`).then(
      (response) => response.text(),
      () => '',
    );
  const labels = (partition: number) => `{consumergroup="${group}",topic="${topic}",partition="${partition}"`;
  let text = '';
  await eventually(
    'the lag',
    async () => {
      text = await scrape();
      return (
        text.includes(`${metrics.lag.groupLag}${labels(0)}} 1\n`) &&
        text.includes(`${metrics.lag.groupLagSeconds}${labels(0)},quality="fetched"} `)
      );
    },
    60_000,
  );
  t.true(text.includes(`${metrics.lag.groupLagSeconds}${labels(1)},quality="caught_up"} 0\n`));
  t.true(text.includes(`${metrics.lag.brokers} 3\n`));
  t.true(text.includes(`${metrics.lag.groupStatus}{consumergroup="${group}",status="ok"} 1\n`));
  t.true(text.endsWith('# EOF\n'));
  t.regex(text, new RegExp(`^${metrics.lag.age} \\d+\\.\\d+$`, 'm'));
  t.notRegex(text, /NaN|Inf(?!")/);
  const exit = once(child, 'close');
  child.kill('SIGTERM');
  t.deepEqual(await exit, [0, null]);
});
