/** Takes the second broker of the environment under test away while records are written and read, and gives it back. */
import { execSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { isWhole, shortcomings } from './cluster.ts';
import type { PartitionConsumer } from './kafka.ts';
import { createTopics, eventually, readTopic, testKafka, uniqueName } from './testing.ts';

const container = `muster-${process.env.MUSTER_ENV ?? 'ci'}-kafka-2`;
const engine = (verb: string) => execSync(`docker ${verb} ${container}`, { stdio: 'ignore' });
const partitions = [0, 1, 2, 3, 4, 5];

const faults = [
  { what: 'killed', fault: 'kill', mend: 'start' },
  // Its connections stay open and nothing ever comes: only who asks another broker learns that it leads nothing any more.
  { what: 'frozen', fault: 'pause', mend: 'unpause' },
];

for (const { what, fault, mend } of faults) {
  test.serial(
    `a ${what} broker costs no acked record, no order and no commit, and nobody waits for it to come back`,
    async (t) => {
      t.timeout(180_000);
      const topic = uniqueName('failover');
      const groupId = uniqueName('group');
      const made = await createTopics([{ name: topic, partitions: partitions.length }]);
      const kafka = testKafka();
      const cluster = kafka.cluster();
      let broken = false;
      t.teardown(async () => {
        if (broken) engine(mend);
        await cluster.close();
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
          for (const record of batch.records)
            read.push({ partition: record.partition, value: Number(record.value), atMs: Date.now() });
          const offset = batch.records.at(-1)!.offset + 1;
          consumer.commit([{ topic, partition: batch.partition, offset }], epoch);
        },
        onFatal: (error) => {
          fatal = error;
        },
      });
      await eventually('assigned', () => joins > 0);

      // One sender a partition, each waiting for its ack.
      let sending = true;
      let next = 0;
      const acked: number[] = [];
      const senders = partitions.map(async (partition) => {
        while (sending) {
          const value = next++;
          await producer.send([{ topic, key: `p${partition}`, value: String(value), partition }], {
            deadlineMs: 60_000,
          });
          acked.push(value);
          await sleep(10);
        }
      });
      await eventually(
        'every partition is read',
        () => new Set(read.map(({ partition }) => partition)).size === 6,
      );
      const brokenAtMs = Date.now();
      engine(fault);
      broken = true;
      const firstAfter = next;
      const readSince = () =>
        new Set(read.filter(({ value }) => value >= firstAfter).map(({ partition }) => partition));
      // Less than the minute after which clients ask for new metadata anyway.
      await eventually(
        'what was sent since is read, of every partition',
        () => readSince().size === 6,
        40_000,
      );
      engine(mend);
      broken = false;
      // Whoever makes a topic next needs all three. For a while: one that thaws tells for a moment of what was before.
      let backSinceMs = Number.POSITIVE_INFINITY;
      await eventually(
        'the broker is back, with all its copies in sync',
        async () => {
          const back = isWhole(shortcomings(await cluster.topology(), 3));
          backSinceMs = back ? Math.min(backSinceMs, Date.now()) : Number.POSITIVE_INFINITY;
          return Date.now() - backSinceMs > 3_000;
        },
        90_000,
      );
      sending = false;
      await Promise.all(senders);
      await eventually(
        'everything acked is consumed',
        () => new Set(read.map(({ value }) => value)).size >= acked.length,
      );
      const gapsMs = partitions.map((partition) => {
        const times = read
          .filter((r) => r.partition === partition && r.atMs > brokenAtMs - 500)
          .map((r) => r.atMs);
        return Math.max(...times.slice(1).map((time, i) => time - times[i]!));
      });
      t.log(
        `${acked.length} acked; worst gap between records read ${Math.max(...gapsMs)} ms, joins ${joins}`,
      );
      t.is(fatal, undefined);

      const log = await readTopic(kafka, topic);
      const inLog = new Set(log.map((record) => Number(record.value)));
      t.deepEqual(
        acked.filter((value) => !inLog.has(value)),
        [],
      );
      for (const partition of partitions) {
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
      for (const { partition, high } of await kafka.admin.offsets(topic))
        t.is(committed.get(partition), high);
    },
  );
}
