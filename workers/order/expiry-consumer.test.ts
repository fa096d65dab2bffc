/** Timers of orders on a database that answers as the test says; on a real one they are in expiry.integration.test.ts. */
import test from 'ava';
import { groups } from '../../catalog/groups.ts';
import { emptyRegistry } from '../base/metrics.ts';
import type { IncomingRecord, Kafka, PartitionConsumerOptions } from '../kafka/kafka.ts';
import { testLog } from '../kafka/testing.ts';
import { answeringDatabase } from '../store/answers.fixture.ts';
import { expiryRecord } from './expiry.ts';
import { startExpiry } from './expiry-consumer.ts';

test('orders of timers that come due together end in one transaction', async (t) => {
  const statements: { readonly text: string; readonly values: readonly unknown[] }[] = [];
  const db = answeringDatabase(async (text, values) => {
    statements.push({ text, values });
    return 1;
  });
  let options!: PartitionConsumerOptions;
  const kafka = {
    producer: async () => ({ async send() {}, async close() {} }),
    async consumePartitions(given: PartitionConsumerOptions) {
      options = given;
      return { commit() {}, seek() {}, async stop() {} };
    },
  } as unknown as Kafka;
  const { stop } = await startExpiry(groups.orderExpiry, {
    ...{ kafka, log: testLog, metrics: emptyRegistry() },
    database: async () => db,
    fail: (error) => t.fail(error.message),
  });
  const topic = groups.orderExpiry.topics[0]!.name;
  const timers = [['a', 'b'], ['c'], ['d', 'e']].map((orderIds, offset): IncomingRecord => {
    const { value } = expiryRecord(orderIds, 0);
    const place = { topic, partition: 0, offset, timestampMs: 0 };
    return { ...place, key: null, value: Buffer.from(String(value)), headers: {} };
  });
  await options.onAssigned!([{ topic, partition: 0 }], 1);
  await options.onBatch({ topic, partition: 0, records: timers, highWatermark: 3 }, 1);
  await stop();
  t.deepEqual(
    statements.map(({ text }) => text.split(' ')[0]!.toLowerCase()),
    ['begin', 'update', 'commit'],
  );
  t.deepEqual(statements[1]!.values, ['a', 'b', 'c', 'd', 'e']);
});
