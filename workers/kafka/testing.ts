/** Helpers for integration tests: a client of the cluster that KAFKA_BROKERS names, and topics of their own. */
import { randomBytes } from 'node:crypto';
import './kafkajs-patches.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CompressionAlgorithmValue, Producer, stringSerializers } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { createLogger, type Logger, transports } from 'winston';
import type { IncomingRecord, Kafka } from './kafka.ts';
import { connectKafka } from './kafkajs.ts';

/** Addresses from KAFKA_BROKERS. Fails when it is not set: an integration test without a cluster proves nothing. */
export function testBrokers(): string[] {
  const brokers = process.env.KAFKA_BROKERS;
  if (!brokers) {
    throw new Error(
      'KAFKA_BROKERS is not set: integration tests need a running cluster (./muster test integration)',
    );
  }
  return brokers.split(',');
}

/** Silent unless TEST_LOG_LEVEL is set. */
export const testLog: Logger = createLogger({
  level: process.env.TEST_LOG_LEVEL ?? 'error',
  silent: process.env.TEST_LOG_LEVEL === undefined,
  transports: [new transports.Console()],
});

export function testKafka(clientId = 'test', memberDirectory?: string): Kafka {
  return connectKafka({ brokers: testBrokers(), clientId, log: testLog, memberDirectory });
}

/** A name that no other run uses. */
export function uniqueName(prefix: string): string {
  return `test.${prefix}.${randomBytes(5).toString('hex')}`;
}

/** Deletes topics that something under test has created. */
export async function removeTopics(names: readonly string[]): Promise<void> {
  const admin = await connectedAdmin();
  await admin.deleteTopics({ topics: [...names] });
  await admin.disconnect();
}

async function connectedAdmin() {
  const admin = new kafkajs.Kafka({
    brokers: testBrokers(),
    clientId: 'test-topics',
    retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 20 },
    logLevel: kafkajs.logLevel.NOTHING,
  }).admin();
  await admin.connect();
  return admin;
}

/** Moves a partition's log start, as retention would. */
export async function deleteRecords(topic: string, partition: number, before: number): Promise<void> {
  const admin = await connectedAdmin();
  // kafkajs looks for the leader in metadata that it does not load by itself here.
  await admin.fetchTopicOffsets(topic);
  await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] });
  await admin.disconnect();
}

/** Deletes consumer groups that have no members. */
export async function deleteGroups(ids: readonly string[]): Promise<void> {
  const admin = await connectedAdmin();
  await admin.deleteGroups([...ids]);
  await admin.disconnect();
}

/** Ids of a group's members, as its coordinator knows them. */
export async function groupMembers(groupId: string): Promise<readonly string[]> {
  const admin = await connectedAdmin();
  const { groups } = await admin.describeGroups([groupId]);
  await admin.disconnect();
  return groups.flatMap(({ members }) => members.map(({ memberId }) => memberId));
}

/** Sends values to partition 0 as one batch of a producer that shares no code with ours. */
export async function sendForeignBatch(
  topic: string,
  compression: CompressionAlgorithmValue,
  values: readonly string[],
): Promise<void> {
  const producer = new Producer({
    clientId: 'foreign',
    bootstrapBrokers: testBrokers(),
    serializers: stringSerializers,
  });
  await producer.send({
    messages: values.map((value) => ({ topic, key: 'k', value, partition: 0 })),
    compression,
    acks: -1,
  });
  await producer.close();
}

/** Sends values to partition 0 in a transaction of their own, which leaves a marker behind them, of a commit or an abort. */
export async function sendInTransaction(
  topic: string,
  values: readonly string[],
  end: 'commit' | 'abort' = 'commit',
): Promise<void> {
  const producer = new kafkajs.Kafka({
    brokers: testBrokers(),
    clientId: 'test-transactions',
    retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 40 },
    logLevel: kafkajs.logLevel.NOTHING,
  }).producer({ transactionalId: uniqueName('transaction'), idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const transaction = await producer.transaction();
  await transaction.send({ topic, messages: values.map((value) => ({ value, partition: 0 })) });
  await transaction[end]();
  await producer.disconnect();
}

export interface TestTopics {
  readonly names: readonly string[];
  remove(): Promise<void>;
}

/** Creates topics, with three copies each unless told otherwise, and waits until all have leaders. `remove` deletes them. */
export async function createTopics(
  topics: readonly {
    readonly name: string;
    readonly partitions: number;
    readonly replicationFactor?: 1 | 2 | 3;
    readonly maxMessageBytes?: number;
  }[],
): Promise<TestTopics> {
  const admin = await connectedAdmin();
  const names = topics.map(({ name }) => name);
  try {
    await admin.createTopics({
      waitForLeaders: true,
      topics: topics.map(({ name, partitions, replicationFactor = 3, maxMessageBytes }) => ({
        topic: name,
        numPartitions: partitions,
        replicationFactor,
        configEntries: [
          { name: 'min.insync.replicas', value: replicationFactor === 1 ? '1' : '2' },
          ...(maxMessageBytes === undefined
            ? []
            : [{ name: 'max.message.bytes', value: String(maxMessageBytes) }]),
        ],
      })),
    });
  } catch (error) {
    await admin.disconnect();
    throw error;
  }
  return {
    names,
    async remove() {
      await admin.deleteTopics({ topics: [...names] }).catch(() => undefined);
      await admin.disconnect();
    },
  };
}

/** A client and a topic for one test, gone with it. */
export async function withTopic(
  t: { teardown(end: () => Promise<void>): void },
  prefix: string,
  partitions = 1,
): Promise<{ readonly kafka: Kafka; readonly topic: string }> {
  const topic = uniqueName(prefix);
  const made = await createTopics([{ name: topic, partitions }]);
  const kafka = testKafka();
  t.teardown(async () => {
    await kafka.close();
    await made.remove();
  });
  return { kafka, topic };
}

/** Everything that is in a topic now, partition by partition in order. */
export async function readTopic(kafka: Kafka, topic: string): Promise<IncomingRecord[]> {
  const records: IncomingRecord[] = [];
  for (const { partition, low, high } of await kafka.admin.offsets(topic)) {
    for await (const chunk of kafka.read(topic, partition, low, high)) records.push(...chunk);
  }
  return records;
}

/** Waits until `met` is true; fails with `what` after `timeoutMs`. */
export async function eventually(
  what: string,
  met: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const giveUpAt = Date.now() + timeoutMs;
  while (!(await met())) {
    if (Date.now() > giveUpAt) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(25);
  }
}
