import test, { type ExecutionContext } from 'ava';
import { environments } from '../../catalog/environments.ts';
import { metrics } from '../../catalog/metrics.ts';
import { replicaAssignment, topicConfig, topics } from '../../catalog/topics.ts';
import { createRegistry } from '../base/metrics.ts';
import type { Kafka, RawRecord } from '../kafka/kafka.ts';
import {
  removeTopics,
  testBrokers,
  testKafka,
  testLog,
  uniqueName,
  eventually as within,
} from '../kafka/testing.ts';
import { openTopicAdmin } from '../kafka/topic-admin.ts';
import { worker } from './worker.ts';

/** Long enough for a loaded machine: only a failure takes it. */
const eventually = (what: string, met: () => Promise<boolean>) => within(what, met, 60_000);

async function createTopic(t: ExecutionContext, partitions: number): Promise<string> {
  const name = uniqueName('canary');
  const admin = await openTopicAdmin({ brokers: testBrokers(), clientId: 'test' });
  const assignment = replicaAssignment(topics.canary, environments.ci)!.slice(0, partitions);
  const config = topicConfig(topics.canary, environments.ci);
  await admin.create([{ name, partitions, replicationFactor: 3, assignment, config }]);
  await admin.close();
  t.teardown(() => removeTopics([name]));
  return name;
}

interface Running {
  /** Sum over partitions, or that of one. */
  value(name: string, partition?: number): Promise<number>;
}

async function startCanary(
  t: ExecutionContext,
  topic: string,
  through: (kafka: Kafka) => Kafka = (kafka) => kafka,
) {
  const kafka = testKafka('canary');
  const registry = createRegistry();
  const started = await worker.start({
    config: { MUSTER_ENV: 'ci', CANARY_TOPIC: topic },
    kafka: through(kafka),
    log: testLog,
    metrics: registry,
  } as unknown as Parameters<typeof worker.start>[0]);
  t.teardown(async () => {
    await started.stop();
    await kafka.close();
  });
  const running: Running = {
    async value(name, partition) {
      const { values } = await registry.getSingleMetric(name)!.get();
      return values
        .filter(({ labels }) => partition === undefined || labels.partition === partition)
        .reduce((sum, { value }) => sum + value, 0);
    },
  };
  return { ...running, ready: started.ready };
}

/** A Kafka whose producer does something else with the nth record of a partition (0, 1, …) than to send it once. */
function faulty(
  fault: (partition: number, n: number, send: () => Promise<void>) => Promise<void>,
): (kafka: Kafka) => Kafka {
  return (kafka) => ({
    ...kafka,
    async producer(name, settings) {
      const producer = await kafka.producer(name, settings);
      const counts = new Map<number, number>();
      return {
        ...producer,
        send(records: readonly RawRecord[]) {
          const partition = records[0]!.partition!;
          const n = counts.get(partition) ?? 0;
          counts.set(partition, n + 1);
          return fault(partition, n, () => producer.send(records));
        },
      };
    },
  });
}

test('probes go through every broker and come back; nothing is lost, doubled or late', async (t) => {
  t.timeout(120_000);
  const canary = await startCanary(t, await createTopic(t, 3));
  for (const partition of [0, 1, 2]) {
    await eventually(
      `good probes of partition ${partition}`,
      async () => (await canary.value(metrics.canary.goodProbes, partition)) >= 3,
    );
  }
  await eventually(
    'three brokers are seen',
    async () => (await canary.value(metrics.canary.seenBrokers)) === 3,
  );
  t.true(canary.ready());
  t.is(await canary.value(metrics.canary.expectedBrokers), 3);
  for (const name of [metrics.canary.lost, metrics.canary.duplicated, metrics.canary.outOfOrder])
    t.is(await canary.value(name), 0, name);
  t.true((await canary.value(metrics.canary.received)) >= (await canary.value(metrics.canary.goodProbes)));
});

test('acked probes that never arrive are lost, and others arrive twice or late: each is counted as what it is', async (t) => {
  t.timeout(120_000);
  const topic = await createTopic(t, 3);
  let held: (() => Promise<void>) | undefined;
  const canary = await startCanary(
    t,
    topic,
    faulty(async (partition, n, send) => {
      // The second one of each partition is dropped although it is "acked"; the third goes twice.
      if (n === 1) return;
      if (n === 2) await send();
      // Of one partition the fourth one goes after the fifth.
      if (partition === 0 && n === 3) {
        held = send;
        return;
      }
      await send();
      if (partition === 0 && n === 4) await held!();
    }),
  );
  await eventually('three are lost', async () => (await canary.value(metrics.canary.lost)) >= 3);
  await eventually('the order was broken', async () => (await canary.value(metrics.canary.outOfOrder)) >= 1);
  t.is(await canary.value(metrics.canary.lost), 3);
  t.is(await canary.value(metrics.canary.duplicated), 3);
  for (const partition of [0, 1, 2]) t.is(await canary.value(metrics.canary.lost, partition), 1);
});

test('a broker without its partition counts as failing, and the others are probed on', async (t) => {
  t.timeout(120_000);
  const canary = await startCanary(t, await createTopic(t, 2));
  await eventually(
    'the third partition fails',
    async () => (await canary.value(metrics.canary.probes, 2)) >= 3,
  );
  t.is(await canary.value(metrics.canary.goodProbes, 2), 0);
  t.is(await canary.value(metrics.canary.sent, 2), 0, 'nothing piles up for it');
  t.false(canary.ready());
  t.true((await canary.value(metrics.canary.currentOutage)) > 0);
  for (const partition of [0, 1]) {
    await eventually(
      `good probes of partition ${partition}`,
      async () => (await canary.value(metrics.canary.goodProbes, partition)) >= 3,
    );
  }
});

test('a topic that is deleted and created anew is found again', async (t) => {
  t.timeout(120_000);
  const topic = await createTopic(t, 3);
  const canary = await startCanary(t, topic);
  const good = () => canary.value(metrics.canary.goodProbes);
  await eventually('good probes', async () => (await good()) >= 6);
  await removeTopics([topic]);
  await eventually('probes fail', async () => (await canary.value(metrics.canary.currentOutage)) > 0);
  const admin = await openTopicAdmin({ brokers: testBrokers(), clientId: 'test' });
  await eventually(
    'the topic is gone',
    async () => !(await admin.describe()).some(({ name }) => name === topic),
  );
  const assignment = replicaAssignment(topics.canary, environments.ci)!;
  await admin.create([{ name: topic, partitions: 3, replicationFactor: 3, assignment, config: {} }]);
  await admin.close();
  const before = await good();
  await eventually('good probes again', async () => (await good()) >= before + 6);
  await eventually('the outage ends', async () => (await canary.value(metrics.canary.currentOutage)) === 0);
  t.true((await canary.value(metrics.canary.received)) >= (await good()));
});
