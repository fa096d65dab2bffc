import { createRequire } from 'node:module';
import test from 'ava';
import { BrokerClass } from './kafkajs-internals.ts';
import { fetchTerms } from './kafkajs-patches.ts';

test('a broker that has a socket and has not said which versions it speaks is asked again, and ends no consumer', (t) => {
  const broker = new BrokerClass({ connectionPool: {}, logger: { namespace: () => ({}) } } as never);
  const error = t.throws(() => broker.lookupRequest(3, {} as never));
  // kafkajs restarts a consumer after a retriable error only, and tries nothing else again.
  t.is((error as { retriable?: boolean }).retriable, true);
});

test('a group whose coordinator nobody knows for a while is asked for again, and ends no consumer', async (t) => {
  const { prototype } = createRequire(import.meta.url)('kafkajs/src/cluster/index.js') as {
    prototype: { findGroupCoordinatorMetadata(group: object): Promise<unknown> };
  };
  // None of the brokers has an answer.
  const cluster = { brokerPool: { withBroker: async () => undefined } };
  const error = await t.throwsAsync(prototype.findGroupCoordinatorMetadata.call(cluster, { groupId: 'g' }), {
    name: 'KafkaJSGroupCoordinatorNotFound',
    message: /Failed to find group coordinator/,
  });
  t.like(error, { retriable: true });
});

test('a fetch is held short while something is paused, and long when the group has found nothing for a while', (t) => {
  const configured = { maxWaitTime: 500, minBytes: 1 };
  const group = { configured, paused: 0, silentMs: 0 };
  t.deepEqual(fetchTerms(group), configured);
  t.is(fetchTerms({ ...group, silentMs: 60_000 }).maxWaitTime, 2_000);
  t.is(fetchTerms({ ...group, silentMs: 60_000, paused: 1 }).maxWaitTime, 100);
});

test('who gathers many bytes and has found nothing for a while is answered with the first that comes', (t) => {
  const configured = { maxWaitTime: 500, minBytes: 65_536 };
  t.deepEqual(fetchTerms({ configured, paused: 0, silentMs: 1_000 }), configured);
  t.deepEqual(fetchTerms({ configured, paused: 0, silentMs: 60_000 }), { maxWaitTime: 2_000, minBytes: 1 });
});

test('of what was fetched, partitions without news are not handed over', async (t) => {
  const require = createRequire(import.meta.url);
  const { prototype } = require('kafkajs/src/consumer/consumerGroup.js') as {
    prototype: {
      fetch(nodeId: number): Promise<readonly { partition: number; messages: readonly unknown[] }[]>;
    };
  };
  const message = { offset: 5, isControlRecord: false };
  const answers = [[], [message], [{ ...message, isControlRecord: true }]];
  const group = {
    ...{ groupId: 'g', maxWaitTime: 500, minBytes: 1, preferredReadReplicasPerTopicPartition: {} },
    subscriptionState: {
      paused: () => [],
      isPaused: () => false,
      assigned: () => [{ topic: 't', partitions: [0, 1, 2] }],
    },
    offsetManager: { committedOffsets: () => ({ t: { 0: '5', 1: '5', 2: '5' } }), nextOffset: () => '5' },
    seekOffset: { has: () => false },
    checkForStaleAssignment() {},
    filterPartitionsByNode: (_: number, assigned: unknown) => assigned,
    async seekOffsets() {},
    getActiveTopicPartitions: () => ({ t: new Set([0, 1, 2]) }),
    cluster: {
      async refreshMetadataIfNecessary() {},
      findBroker: async () => ({
        fetch: async () => ({
          responses: [
            {
              topicName: 't',
              partitions: answers.map((messages, partition) => ({
                ...{ partition, messages, highWatermark: '6', abortedTransactions: [] },
              })),
            },
          ],
        }),
      }),
    },
  };
  const batches = await prototype.fetch.call(group as never, 1);
  t.deepEqual(
    batches.map(({ partition, messages }) => [partition, messages.length]),
    [
      [1, 1],
      // A marker moves the position on.
      [2, 0],
    ],
  );
});
