import test from 'ava';
import { decodeRecordSet } from './fetched-records.ts';
import { kafkaMetrics } from './kafka-metrics.ts';
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
  startProducer({ wire, clientId: 'test', log: testLog, metrics: kafkaMetrics(), deliveryTimeoutMs: 20_000 });

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

/**
 * A leader that keeps what it writes as a broker does: a batch under an id and sequence that it has is acked and not
 * written again. Each request does as told: it is answered, or hangs until it is released, and then fails.
 */
function remembering() {
  const written: string[] = [];
  const known = new Set<string>();
  const hanging: (() => void)[] = [];
  let hangs = false;
  let ids = 0;
  const broker = {
    initProducerId: async () => ({ producerId: String(++ids), producerEpoch: 0 }),
    connectionPool: {
      async send({ request }: { request: { encode(): Promise<{ buffer: Buffer }> } }) {
        const { buffer } = await request.encode();
        if (hangs) {
          await new Promise<void>((resolve) => hanging.push(resolve));
          throw new Error('no answer');
        }
        // Behind acks, timeout, one topic named `t` and its one partition.
        const batchAt = 27;
        for (const record of await decodeRecordSet(buffer.subarray(batchAt))) {
          const sequence = `${record.batchContext.producerId} ${buffer.readInt32BE(batchAt + 53) + record.offset}`;
          if (!known.has(sequence)) written.push(String(record.value));
          known.add(sequence);
        }
        return [{ topic: 't', partition: 0, errorCode: 0 }];
      },
    },
  } as unknown as Broker;
  return {
    broker,
    written,
    hang: () => {
      hangs = true;
    },
    release: () => {
      hangs = false;
      for (const fail of hanging.splice(0)) fail();
    },
  };
}

test('a send ends at its deadline while its request is under way, and what is acked after it is written', async (t) => {
  const leader = remembering();
  const producer = start({
    ...wireWith(
      () => 1,
      async () => leader.broker,
    ),
    isConnected: () => true,
  });
  const send = (value: string, deadlineMs = 10_000) =>
    producer.send([{ topic: 't', key: null, value }], { deadlineMs });
  await send('first');
  leader.hang();
  await t.throwsAsync(send('in doubt', 100), { code: 'MUSTER_KAFKA_SEND' });
  const later = send('later');
  leader.release();
  await later;
  await send('last');
  t.deepEqual(leader.written, ['first', 'later', 'last']);
  await producer.close();
});

test('after a request of many records the next one waits for more of them, after one of few it does not', async (t) => {
  const busy = async (records: number) => {
    const leader = remembering();
    const wire = {
      ...wireWith(
        () => 1,
        async () => leader.broker,
      ),
      isConnected: () => true,
    };
    const settings = { lingerMs: 0, busyLingerMs: 60_000, deliveryTimeoutMs: 20_000 };
    const producer = startProducer({
      wire,
      clientId: 'test',
      log: testLog,
      metrics: kafkaMetrics(),
      ...settings,
    });
    await producer.send(Array.from({ length: records }, () => ({ topic: 't', key: null, value: 'x' })));
    const next = producer.send([{ topic: 't', key: null, value: 'next' }], { deadlineMs: 500 });
    const outcome = await next.then(
      () => 'sent',
      (error: { code: string }) => error.code,
    );
    await producer.close();
    return outcome;
  };
  t.is(await busy(15), 'sent');
  t.is(await busy(16), 'MUSTER_KAFKA_SEND');
});
