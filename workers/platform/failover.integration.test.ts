/**
 * Kills and restarts a broker under load. How is told by KAFKA_KILL and KAFKA_START (shell commands); without them
 * it is the second broker's container of the environment under test.
 */
import { execSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { PartitionConsumer } from './kafka.ts';
import { createTopics, eventually, readTopic, testKafka, uniqueName } from './testing.ts';

const container = `muster-${process.env.MUSTER_ENV ?? 'ci'}-kafka-2`;
const kill = process.env.KAFKA_KILL ?? `docker kill ${container}`;
const start = process.env.KAFKA_START ?? `docker start ${container}`;

test.serial('a killed broker costs some seconds, no acked record, no order, and no commit', async (t) => {
  t.timeout(120_000);
  const topic = uniqueName('failover');
  const groupId = uniqueName('group');
  const made = await createTopics([{ name: topic, partitions: 6 }]);
  const kafka = testKafka();
  let down = false;
  t.teardown(async () => {
    if (down) execSync(start, { stdio: 'ignore' });
    await kafka.close();
    await made.remove();
  });
  const producer = await kafka.producer('test');
  const read: { partition: number; value: number; atMs: number }[] = [];
  let fatal: Error | undefined;
  let joins = 0;
  const consumer: PartitionConsumer = await kafka.consumePartitions({
    groupId,
    topics: [topic],
    async onAssigned() {
      joins++;
      return [];
    },
    onBatch(batch, epoch) {
      for (const record of batch.records) {
        read.push({ partition: record.partition, value: Number(record.value), atMs: Date.now() });
      }
      const offset = batch.records.at(-1)!.offset + 1;
      consumer.commit([{ topic, partition: batch.partition, offset }], epoch);
    },
    onFatal: (error) => {
      fatal = error;
    },
  });
  await eventually('assigned', () => joins > 0);

  // One sender a partition, each waiting for its ack: the gap between two acks is the outage a client sees.
  let sending = true;
  let next = 0;
  const acked: number[] = [];
  const gaps = new Map<number, number>();
  const senders = Array.from({ length: 6 }, async (_, partition) => {
    let lastAckMs = Date.now();
    while (sending) {
      const value = next++;
      await producer.send([{ topic, key: `p${partition}`, value: String(value), partition }], {
        deadlineMs: 30_000,
      });
      acked.push(value);
      gaps.set(partition, Math.max(gaps.get(partition) ?? 0, Date.now() - lastAckMs));
      lastAckMs = Date.now();
      await sleep(10);
    }
  });
  await sleep(2_000);
  gaps.clear();
  const killedMs = Date.now();
  execSync(kill, { stdio: 'ignore' });
  down = true;
  await sleep(12_000);
  const worstMs = Math.max(...gaps.values());
  execSync(start, { stdio: 'ignore' });
  down = false;
  await sleep(10_000);
  sending = false;
  await Promise.all(senders);
  await eventually(
    'everything acked is consumed',
    () => new Set(read.map(({ value }) => value)).size >= acked.length,
  );
  const readGapMs = Math.max(
    ...Array.from({ length: 6 }, (_, partition) => {
      const times = read
        .filter((r) => r.partition === partition && r.atMs > killedMs - 500)
        .map((r) => r.atMs);
      return Math.max(...times.slice(1).map((time, i) => time - times[i]!));
    }),
  );
  t.log(
    `${acked.length} acked; worst publish outage ${worstMs} ms, worst consume outage ${readGapMs} ms, joins ${joins}`,
  );
  t.is(fatal, undefined);
  t.is(new Set(gaps.keys()).size, 6);
  t.true(worstMs < 8_000, `publish outage ${worstMs} ms`);

  const log = await readTopic(kafka, topic);
  const inLog = new Set(log.map((record) => Number(record.value)));
  t.deepEqual(
    acked.filter((value) => !inLog.has(value)),
    [],
  );
  for (let partition = 0; partition < 6; partition++) {
    const values = log
      .filter((record) => record.partition === partition)
      .map((record) => Number(record.value));
    t.deepEqual(
      values,
      [...new Set(values)].sort((a, b) => a - b),
      `partition ${partition} in order, none twice`,
    );
  }
  await consumer.stop();
  const committed = await kafka.admin.committed(groupId, topic);
  for (const { partition, high } of await kafka.admin.offsets(topic)) t.is(committed.get(partition), high);
});
