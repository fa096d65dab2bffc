/** The judges' client against a cluster, beside the platform's: both must see the same bytes. */
import { Admin, CompressionAlgorithms } from '@platformatic/kafka';
import test, { type ExecutionContext } from 'ava';
import {
  createTopics,
  deleteRecords,
  readTopic,
  sendForeignBatch,
  sendInTransaction,
  testBrokers,
  testKafka,
  uniqueName,
} from '../../workers/kafka/testing.ts';
import { openReader, type SeenRecord } from './reading.ts';
import { NotChecked } from './verdict.ts';

async function stage(t: ExecutionContext, partitions = 1) {
  const topic = uniqueName('checker');
  const made = await createTopics([{ name: topic, partitions }]);
  const kafka = testKafka();
  const reader = openReader(testBrokers().join(','));
  t.teardown(async () => {
    await reader.close();
    await kafka.close();
    await made.remove();
  });
  return { topic, kafka, reader };
}

const text = (records: readonly SeenRecord[]) => records.map(({ value }) => String(value));

for (const codec of Object.values(CompressionAlgorithms)) {
  test(`a batch compressed with ${codec} is read as the platform reads it`, async (t) => {
    const { topic, kafka, reader } = await stage(t);
    const values = Array.from({ length: 40 }, (_, i) => `{"uid":"user-${i}","promo_id":"promo-11"}`);
    const read = reader.since(await reader.ends([topic]));
    await sendForeignBatch(topic, codec, values);
    const records = (await read())(topic);
    t.deepEqual(text(records), values);
    const platform = await readTopic(kafka, topic);
    t.deepEqual(
      records.map(({ offset, key, value }) => ({ offset, key, value })),
      platform.map(({ offset, key, value }) => ({ offset, key, value })),
    );
  });
}

test('only what is committed is read, from the mark on, each record once, the bytes as they are', async (t) => {
  const { topic, kafka, reader } = await stage(t, 2);
  const producer = await kafka.producer('checker-test');
  t.teardown(() => producer.close());
  const put = (value: Buffer | null, headers = {}) =>
    producer.send([{ topic, key: null, value, headers, partition: 0 }]);
  await put(Buffer.from('before the mark'));
  const read = reader.since(await reader.ends([topic]));
  t.deepEqual((await read())(topic), []);

  await sendInTransaction(topic, ['aborted 1', 'aborted 2'], 'abort');
  await put(Buffer.from('plain'));
  await sendInTransaction(topic, ['committed'], 'commit');
  await sendInTransaction(topic, ['aborted 3'], 'abort');
  t.deepEqual(text((await read())(topic)), ['plain', 'committed']);

  await put(null, { tombstone: 'yes' });
  await put(Buffer.of(0, 255, 128), { bytes: Buffer.of(255, 0) });
  await producer.send([{ topic, key: 'k', value: 'elsewhere', partition: 1 }]);
  const records = (await read())(topic);
  t.deepEqual(text(records.slice(0, 2)), ['plain', 'committed']);
  const [tombstone, binary, elsewhere] = records.slice(2);
  t.is(tombstone!.value, null);
  t.is(String(tombstone!.headers.tombstone), 'yes');
  t.deepEqual(binary!.value, Buffer.of(0, 255, 128));
  t.deepEqual(binary!.headers.bytes, Buffer.of(255, 0));
  t.like(elsewhere, { partition: 1, offset: 0, key: Buffer.from('k') });
  t.is(records.length, 5);
});

test('a mark within a batch is kept: the broker gives the whole batch', async (t) => {
  const { topic, reader } = await stage(t);
  await sendForeignBatch(topic, 'gzip', ['a', 'b', 'c', 'd']);
  const read = reader.since(new Map([[topic, new Map([[0, 2]])]]));
  t.deepEqual(text((await read())(topic)), ['c', 'd']);
});

test('records that are gone before they were read were not checked', async (t) => {
  const { topic, reader } = await stage(t);
  const read = reader.since(await reader.ends([topic]));
  await sendForeignBatch(topic, 'none', ['a', 'b', 'c']);
  await deleteRecords(topic, 0, 2);
  const error = await t.throwsAsync(read(), { instanceOf: NotChecked });
  t.is((error as NotChecked).id, `${topic}-0`);
});

test('what a group has committed is told, of each partition that has a commit', async (t) => {
  const { topic, reader } = await stage(t, 3);
  const groupId = uniqueName('checker-group');
  const admin = new Admin({ clientId: 'checker-test', bootstrapBrokers: testBrokers() });
  t.teardown(() => admin.close());
  await admin.alterConsumerGroupOffsets({
    groupId,
    topics: [
      {
        name: topic,
        partitionOffsets: [
          { partition: 0, offset: 7n },
          { partition: 2, offset: 0n },
        ],
      },
    ],
  });
  const committed = (await reader.committed(groupId)).get(topic);
  t.deepEqual([...committed!].sort(), [
    [0, 7],
    [2, 0],
  ]);
  t.deepEqual(await reader.committed(uniqueName('nobody')), new Map());
});

test('a cluster that is not there was not checked', async (t) => {
  const reader = openReader('127.0.0.1:1');
  t.teardown(() => reader.close());
  await t.throwsAsync(reader.ends(['any']), { instanceOf: NotChecked });
  await t.throwsAsync(reader.committed('any'), { instanceOf: NotChecked });
});
