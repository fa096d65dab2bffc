/** Batches as foreign producers make them: every codec of the protocol, in each of the ways in which we read. */
import { CompressionAlgorithms } from '@platformatic/kafka';
import test from 'ava';
import type { FirstRecord, IncomingRecord } from './kafka.ts';
import { eventually, readTopic, sendForeignBatch, uniqueName, withTopic } from './testing.ts';

for (const codec of Object.values(CompressionAlgorithms)) {
  test(`a batch compressed with ${codec} is consumed, read, followed and looked into`, async (t) => {
    const { kafka, topic } = await withTopic(t, 'codec');
    const followed: IncomingRecord[] = [];
    const follower = kafka.follow({
      topic,
      partitions: [0],
      onRecords: (_partition, records) => followed.push(...records),
    });
    await eventually('the follower is there', () => follower.position(0) !== undefined);
    // Similar records, which compress well: no producer leaves them as they are.
    const values = Array.from({ length: 40 }, (_, i) => `{"uid":"user-${i}","promo_id":"promo-11"}`);
    await sendForeignBatch(topic, codec, values);

    const consumed: IncomingRecord[] = [];
    await kafka.consumePartitions({
      groupId: uniqueName('group'),
      topics: [topic],
      onBatch: ({ records }) => void consumed.push(...records),
      onFatal: (error) => t.fail(error.message),
    });
    const text = (records: readonly IncomingRecord[]) => records.map(({ value }) => String(value));
    t.deepEqual(text(await readTopic(kafka, topic)), values);
    await eventually('consumed', () => consumed.length >= values.length);
    t.deepEqual(text(consumed), values);
    await eventually('followed', () => followed.length >= values.length);
    t.deepEqual(text(followed), values);

    const cluster = kafka.cluster();
    const { topics } = await cluster.topology();
    const leader = topics.find(({ name }) => name === topic)!.partitions[0]!.leader;
    const first: readonly FirstRecord[] = await cluster.firstRecords(leader, [
      { topic, partition: 0, offset: 3 },
    ]);
    t.deepEqual(first[0]?.record, { offset: 3, timestampMs: consumed[3]!.timestampMs });
  });
}
