import FakeTimers from '@sinonjs/fake-timers';
import test from 'ava';
import { Registry } from 'prom-client';
import type { RedisClientType } from 'redis';
import type { Logger } from 'winston';
import { groups } from '../../catalog/groups.ts';
import { NotNowError } from '../base/errors.ts';
import type { Batch, IncomingRecord, Kafka, PartitionConsumerOptions } from '../kafka/kafka.ts';
import { startRanking } from './ranking-consumer.ts';

const topic = groups.orderRanking.topics[0]!.name;
const log = { info() {}, warn() {}, error() {}, debug() {}, child: () => log } as unknown as Logger;

let clock: ReturnType<typeof FakeTimers.install>;
test.before(() => {
  clock = FakeTimers.install({ toFake: ['setInterval', 'clearInterval'] });
});
test.after.always(() => clock.uninstall());

/** All that was asked and answered so far has been gone through. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

function orders(from: number, to: number): Batch {
  const records = Array.from({ length: to - from }, (_, index): IncomingRecord => {
    const order = {
      orderId: `order-${from + index}`,
      userId: `u_${'a'.repeat(22)}`,
      products: [{ id: 'mug', qty: 1 }],
      totalAmount: { amountMinor: 100, currency: 'KRW' },
      completedAt: '2026-01-01T00:00:00.000Z',
    };
    return {
      topic,
      partition: 0,
      offset: from + index,
      timestampMs: 0,
      key: null,
      value: Buffer.from(JSON.stringify(order)),
      headers: {},
    };
  });
  return { topic, partition: 0, records, highWatermark: to };
}

/** The worker on a partition of eight orders, with a Redis that knows only the position; both can be away. */
async function scene() {
  const state = {
    at: undefined as number | undefined,
    away: false,
    brokerAway: false,
    scripts: 0,
    committed: 0,
  };
  const asked = <T>(work: () => T): Promise<T> =>
    state.away ? Promise.reject(new NotNowError('MUSTER_REDIS_DOWN', 'away')) : Promise.resolve(work());
  const client = {
    exists: () => asked(() => 0),
    hGetAll: () => asked(() => (state.at === undefined ? {} : { 0: String(state.at) })),
    eval: (_script: string, { arguments: args }: { arguments: string[] }) =>
      asked(() => {
        state.scripts += 1;
        if (args[1] !== String(state.at ?? '')) return [0, String(state.at ?? '')];
        state.at = Number(args[2]);
        return [1, 0];
      }),
  };
  const seeks: number[] = [];
  const commits: number[] = [];
  const letters: unknown[] = [];
  let options!: PartitionConsumerOptions;
  const kafka = {
    producer: async () => ({
      send: async (records: unknown[]) => void letters.push(...records),
      close: async () => {},
    }),
    consumePartitions: async (given: PartitionConsumerOptions) => {
      options = given;
      return {
        commit: (offsets: { offset: number }[]) => commits.push(...offsets.map(({ offset }) => offset)),
        seek: ({ offset }: { offset: number }) => seeks.push(offset),
        stop: async () => {},
      };
    },
    admin: {
      async offsets() {
        if (state.brokerAway) throw new NotNowError('MUSTER_KAFKA_UNREACHABLE', 'away');
        return [{ partition: 0, low: 0, high: 8 }];
      },
      committed: async () => new Map([[0, state.committed]]),
    },
  } as unknown as Kafka;
  const started = await startRanking({
    group: groups.orderRanking,
    kafka,
    redis: async () => client as unknown as RedisClientType,
    history: { sums: async () => undefined },
    log,
    registry: new Registry(),
    fail(error) {
      throw error;
    },
  });
  return { state, seeks, commits, letters, options, started };
}

test.serial(
  'orders before a batch that was held are counted first when Redis comes back without them',
  async (t) => {
    const { state, seeks, options, started } = await scene();
    t.teardown(started.stop);
    t.like(await options.onAssigned!([{ topic, partition: 0 }], 1), [{ offset: 0 }]);
    await options.onBatch(orders(0, 5), 1);
    t.is(state.at, 5);

    state.away = true;
    const held = orders(5, 8);
    await t.throwsAsync(async () => options.onBatch(held, 1), { code: 'MUSTER_REDIS_DOWN' });
    Object.assign(state, { away: false, at: undefined });
    // It looks where the ranking is before the batch is tried again.
    clock.tick(2_000);
    await settled();
    t.deepEqual(seeks, [0]);
    await options.onBatch(held, 1);
    t.is(state.at, undefined, 'what lies before it is not counted yet');
    await options.onBatch(orders(0, 8), 1);
    t.is(state.at, 8);
  },
);

test.serial(
  'offsets without a record in them, such as markers of transactions, hold nothing up',
  async (t) => {
    const { state, seeks, options, started } = await scene();
    t.teardown(started.stop);
    await options.onAssigned!([{ topic, partition: 0 }], 1);
    await options.onBatch(orders(2, 8), 1);
    t.is(state.at, 8);
    t.deepEqual(seeks, []);
  },
);

test.serial(
  'what was counted and not committed is read again: it is committed, its dead letters are written, and it counts once',
  async (t) => {
    const { state, letters, commits, options, started } = await scene();
    t.teardown(started.stop);
    // By a process that died before it could do more.
    Object.assign(state, { at: 8, committed: 5 });
    t.like(await options.onAssigned!([{ topic, partition: 0 }], 1), [{ offset: 5 }]);
    const { records, ...batch } = orders(5, 8);
    await options.onBatch(
      { ...batch, records: [records[0]!, { ...records[1]!, value: null }, records[2]!] },
      1,
    );
    t.is(state.scripts, 0);
    t.deepEqual(commits, [8]);
    t.is(letters.length, 1);
  },
);

test.serial(
  'a ranking that somebody else has moved on is believed, and nothing is left unread for it',
  async (t) => {
    const { state, commits, seeks, options, started } = await scene();
    t.teardown(started.stop);
    await options.onAssigned!([{ topic, partition: 0 }], 1);
    state.at = 5;
    clock.tick(2_000);
    await settled();
    t.deepEqual(seeks, []);
    await options.onBatch(orders(0, 8), 1);
    t.is(state.at, 8);
    t.deepEqual(commits, [8]);
  },
);

test.serial(
  'a ranking that was found empty is filled, also when the broker did not answer at first',
  async (t) => {
    const { state, seeks, options, started } = await scene();
    t.teardown(started.stop);
    await options.onAssigned!([{ topic, partition: 0 }], 1);
    await options.onBatch(orders(0, 8), 1);
    Object.assign(state, { at: undefined, brokerAway: true });
    clock.tick(2_000);
    await settled();
    t.deepEqual(seeks, []);
    state.brokerAway = false;
    clock.tick(2_000);
    await settled();
    t.deepEqual(seeks, [0]);
  },
);

test.serial('an assignment that is over leaves nothing behind for the next one', async (t) => {
  const { state, seeks, options, started } = await scene();
  t.teardown(started.stop);
  Object.assign(state, { at: 5, committed: 5 });
  // Both are asked for at once; the answer to the older one comes when the newer one is there.
  const older = options.onAssigned!(
    [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ],
    1,
  );
  const newer = options.onAssigned!([{ topic, partition: 0 }], 2);
  t.deepEqual(await older, []);
  t.like(await newer, [{ offset: 5 }]);
  state.at = 4;
  clock.tick(2_000);
  await settled();
  t.deepEqual(seeks, [4], 'only the partition that is ours is followed');
});

test.serial('nothing is counted of a partition before it is known where its ranking is', async (t) => {
  const { state, options, started } = await scene();
  state.away = true;
  await t.throwsAsync(async () => options.onAssigned!([{ topic, partition: 0 }], 1), {
    code: 'MUSTER_REDIS_DOWN',
  });
  t.false(started.ready());
  await started.stop();
  state.away = false;
  // From where the group has committed, with orders before it that this Redis has lost.
  await options.onBatch(orders(5, 8), 1);
  t.is(state.at, undefined);
});
