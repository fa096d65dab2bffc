/** What comes as bytes that nobody can read, or that are too many to be passed on as they are. */
import test from 'ava';
import kafkajs from 'kafkajs';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { deadLetterTopic, type Topic } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import { codecs } from './compression.ts';
import { consume } from './consume.ts';
import { headerText } from './records.ts';
import {
  createTopics,
  eventually,
  readTopic,
  sendForeignBatch,
  testBrokers,
  testKafka,
  testLog,
  uniqueName,
} from './testing.ts';

const similar = (what: string) => Array.from({ length: 40 }, (_, i) => `{"n":${i},"what":"${what}"}`);

/** A topic with a consumer that understands JSON objects, as far as `handled` shows. */
async function start() {
  const topic: Topic = {
    name: uniqueName('unreadable'),
    partitions: 1,
    replicationFactor: 3,
    minInsyncReplicas: 2,
    retentionMs: 'environment',
    key: 'id',
    owner: 'test',
    description: '',
    timestamps: 'create',
    designLoad: { messagesPerSecond: 0, bytesPerMessage: 0 },
  };
  const group: ConsumerGroup = {
    id: uniqueName('group'),
    topics: [topic],
    owner: 'test',
    description: '',
    lagSecondsHigh: 1,
    retryDelaysMs: [],
  };
  const made = await createTopics([topic, deadLetterTopic(topic)]);
  const kafka = testKafka();
  const handled: string[] = [];
  const fatal: Error[] = [];
  await consume<string>(kafka, {
    group,
    log: testLog,
    parse: ({ value }) => {
      try {
        return (JSON.parse(String(value)) as { readonly what: string }).what;
      } catch {
        throw new MusterError('MUSTER_NOT_JSON', 'the value is not JSON');
      }
    },
    async apply(records) {
      handled.push(...records.map(({ data }) => data));
      return undefined;
    },
    onFatal: (error) => fatal.push(error),
  });
  return {
    topic: topic.name,
    group: group.id,
    kafka,
    handled,
    fatal,
    deadLetters: () => readTopic(kafka, deadLetterTopic(topic).name),
    committed: async () => (await kafka.admin.committed(group.id, topic.name)).get(0),
    async tearDown() {
      await kafka.close();
      await made.remove();
    },
  };
}

test('a batch in a codec that we do not have is a dead letter with its bytes, and the partition goes on', async (t) => {
  const { topic, handled, fatal, deadLetters, committed, tearDown } = await start();
  t.teardown(tearDown);
  // As if the protocol had got a codec since: no broker takes one that it does not know itself.
  (codecs as Map<number, unknown>).delete(4);
  await sendForeignBatch(topic, 'gzip', similar('before'));
  await sendForeignBatch(topic, 'zstd', similar('lost?'));
  await sendForeignBatch(topic, 'lz4', similar('after'));
  await eventually('the partition goes on', () => handled.filter((what) => what === 'after').length === 40);
  t.is(handled.length, 80);
  // What is put aside is sent after the others are handled, and before anything is committed.
  await eventually('all is committed', async () => (await committed()) === 120);
  const [letter, ...others] = await deadLetters();
  t.is(others.length, 0);
  t.is(headerText(letter!, 'muster-error-code'), 'MUSTER_KAFKA_UNREADABLE');
  t.is(headerText(letter!, 'muster-source'), `${topic}-0-79`);
  t.regex(headerText(letter!, 'muster-error-reason')!, /batch at offset 40 .* codec 4/);
  t.is(letter!.value!.readBigInt64BE(0), 40n);
  t.is(letter!.value!.readInt32BE(57), 40);
  t.deepEqual(fatal, []);
});

test('a record that is as large as a topic takes, and not understood, is a dead letter whole', async (t) => {
  const { topic, fatal, deadLetters, committed, tearDown } = await start();
  t.teardown(tearDown);
  const value = Buffer.alloc(1_048_400, 'not JSON, and not to be compressed');
  const producer = new kafkajs.Kafka({ brokers: testBrokers(), logLevel: 0 }).producer();
  await producer.connect();
  await producer.send({ topic, messages: [{ value }] });
  await producer.disconnect();
  await eventually('the partition goes on', async () => (await committed()) === 1);
  const [letter] = await deadLetters();
  t.true(letter!.value!.equals(value));
  t.is(headerText(letter!, 'muster-error-code'), 'MUSTER_NOT_JSON');
  t.deepEqual(fatal, []);
});
