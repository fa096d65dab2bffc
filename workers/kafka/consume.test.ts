import test from 'ava';
import type { Logger } from 'winston';
import { groups } from '../../catalog/groups.ts';
import { consume } from './consume.ts';
import type { Batch, Kafka, PartitionConsumerOptions } from './kafka.ts';

const group = groups.orderAnalytics;
const topic = group.topics[0]!.name;
const log = { info() {}, warn() {}, error() {}, debug() {}, child: () => log } as unknown as Logger;

function batchOf(from: number, values: readonly (string | null)[]): Batch {
  const records = values.map((value, index) => ({
    topic,
    partition: 0,
    offset: from + index,
    timestampMs: 0,
    key: null,
    value: value === null ? null : Buffer.from(value),
    headers: {},
  }));
  return { topic, partition: 0, records, highWatermark: from + values.length };
}

test('a batch that ends when its assignment is over is not done for the next one: that commits it', async (t) => {
  const commits: { offset: number; epoch: number }[] = [];
  let letterWritten = (): void => {};
  let options!: PartitionConsumerOptions;
  const kafka = {
    producer: async () => ({
      send: () =>
        new Promise<void>((resolve) => {
          letterWritten = resolve;
        }),
    }),
    consumePartitions: async (given: PartitionConsumerOptions) => {
      options = given;
      return {
        commit: ([{ offset }]: [{ offset: number }], epoch: number) => commits.push({ offset, epoch }),
      };
    },
  } as unknown as Kafka;
  await consume<string>(kafka, {
    group,
    log,
    parse({ value }) {
      if (value === null) throw new Error('no value');
      return String(value);
    },
    apply: async () => undefined,
    onFatal: (error) => t.fail(error.message),
  });
  const batch = batchOf(0, ['a', null]);
  await options.onAssigned!([{ topic, partition: 0 }], 1);
  const older = options.onBatch(batch, 1);
  await new Promise((resolve) => setImmediate(resolve));
  await options.onAssigned!([{ topic, partition: 0 }], 2);
  letterWritten();
  await older;
  const newer = options.onBatch(batchOf(0, ['a', null]), 2);
  await new Promise((resolve) => setImmediate(resolve));
  letterWritten();
  await newer;
  t.deepEqual(commits.at(-1), { offset: 2, epoch: 2 });
});
