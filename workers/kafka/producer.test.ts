import test from 'ava';
import { noMetrics } from './kafka-metrics.ts';
import type { Broker, MetadataResponse } from './kafkajs-internals.ts';
import { startProducer } from './producer.ts';
import { testLog } from './testing.ts';
import type { Wire } from './wire.ts';

const never = new Promise<never>(() => {});

/** A leader that acks whatever it gets. */
const acking = {
  initProducerId: async () => ({ producerId: '1', producerEpoch: 0 }),
  connectionPool: { send: async () => [{ topic: 't', partition: 0, errorCode: 0 }] },
} as unknown as Broker;

/** Brokers 1 and 2 and a topic of one partition, led by whom `leader` says; broker 1 does as told when it is to be reached. */
function wireWith(leader: () => number, reachFirst: () => Promise<Broker>): Wire & { reached: number[] } {
  const reached: number[] = [];
  return {
    reached,
    broker(nodeId) {
      reached.push(nodeId);
      return nodeId === 1 ? reachFirst() : Promise.resolve(acking);
    },
    isConnected: (nodeId) => nodeId === 2,
    anyBroker: async () => acking,
    learn: async () => {},
    drop: async () => {},
    metadata: async () =>
      ({
        topicMetadata: [
          {
            topic: 't',
            topicErrorCode: 0,
            partitionMetadata: [{ partitionId: 0, partitionErrorCode: 0, leader: leader() }],
          },
        ],
      }) as unknown as MetadataResponse,
    close: async () => {},
  };
}

const start = (wire: Wire) =>
  startProducer({ wire, clientId: 'test', log: testLog, metrics: noMetrics, deadlineMs: 20_000 });

test('a leader that does not answer holds nothing up once there is another', async (t) => {
  let asked = 0;
  const producer = start(
    wireWith(
      () => (++asked < 4 ? 1 : 2),
      () => never,
    ),
  );
  await producer.send([{ topic: 't', key: null, value: 'x' }], { deadlineMs: 10_000 });
  t.pass();
  await producer.close();
});

test('a leader that refuses is asked ever less often, not as fast as it refuses', async (t) => {
  const wire = wireWith(
    () => 1,
    () => Promise.reject(new Error('refused')),
  );
  const producer = start(wire);
  await t.throwsAsync(producer.send([{ topic: 't', key: null, value: 'x' }], { deadlineMs: 1_000 }), {
    code: 'MUSTER_KAFKA_SEND',
  });
  // 50, 100, 200, then 300 ms apart, a quarter more or less.
  t.true(wire.reached.length <= 8, `${wire.reached.length} times`);
  await producer.close();
});
