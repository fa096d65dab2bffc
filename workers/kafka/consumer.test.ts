/** What ends a consumer and what does not, on a client that does what the test says and a clock that the test moves. */
import { syncBuiltinESMExports } from 'node:module';
import FakeTimers from '@sinonjs/fake-timers';
import test, { type ExecutionContext } from 'ava';
import type { EachBatchPayload } from 'kafkajs';
import type { Logger } from 'winston';
import { NotNowError } from '../base/errors.ts';
import { type ConsumerDeps, startConsumer } from './consumer.ts';
import type { PartitionConsumerOptions } from './kafka.ts';
import { kafkaMetrics } from './kafka-metrics.ts';
import { patience } from './watchdog.ts';

const topic = 'orders';
const log = { info() {}, warn() {}, error() {}, debug() {}, child: () => log } as unknown as Logger;
const away = () => new NotNowError('MUSTER_DATABASE_DOWN', 'away');
const realTurn = setImmediate;
const clock = FakeTimers.install({
  now: Date.UTC(2026, 0, 1),
  toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'],
});
// `node:timers/promises`, too.
syncBuiltinESMExports();
test.after.always(() => {
  clock.uninstall();
  syncBuiltinESMExports();
});

const settled = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => void realTurn(resolve));
};
/** Lets time pass, a second at a time. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    clock.tick(1_000);
    await settled();
  }
}

/** A consumer of partition 0, which holds ten records, with its only member here. */
async function scene(t: ExecutionContext, onBatch: PartitionConsumerOptions['onBatch']) {
  const listeners = new Map<string, (event: { payload: unknown }) => void>();
  const state = { high: 10, away: false, seeks: [] as string[], resumed: 0, fatal: [] as Error[] };
  let eachBatch!: (payload: EachBatchPayload) => Promise<void>;
  let atOnce = 0;
  const client = {
    consumer: () => ({
      on: (name: string, listener: (event: { payload: unknown }) => void) => listeners.set(name, listener),
      connect: async () => {},
      subscribe: async () => {},
      async run(given: { eachBatch: typeof eachBatch; partitionsConsumedConcurrently: number }) {
        ({ eachBatch, partitionsConsumedConcurrently: atOnce } = given);
      },
      pause() {},
      resume: () => state.resumed++,
      seek: ({ offset }: { offset: string }) => state.seeks.push(offset),
      disconnect: async () => {},
      commitOffsets: async () => {},
    }),
  };
  const asked = <T>(answer: T) =>
    state.away
      ? Promise.reject(new NotNowError('MUSTER_KAFKA_UNREACHABLE', 'no broker answers'))
      : Promise.resolve(answer);
  const consumer = await startConsumer(
    {
      client,
      admin: {
        partitionCounts: () => asked(new Map([[topic, 3]])),
        offsets: () => asked([{ partition: 0, low: 0, high: state.high }]),
        ends: () => asked(new Map([[topic, new Map([[0, state.high]])]])),
        committed: () => asked(new Map()),
      },
      memberships: { endFormer: async () => {}, joined() {}, left() {} },
      clientId: 'test',
      log,
      metrics: kafkaMetrics(),
      patience,
    } as unknown as ConsumerDeps,
    { groupId: 'g', topics: [topic], onBatch, onFatal: (error) => state.fatal.push(error) },
  );
  const tell = async (name: string, payload: unknown) => {
    listeners.get(name)!({ payload });
    await settled();
  };
  const join = () => tell('consumer.group_join', { memberId: 'm', memberAssignment: { [topic]: [0] } });
  await settled();
  await join();
  t.teardown(() => {
    void consumer.stop();
    clock.tick(60_000);
  });
  return {
    state,
    tell,
    join,
    atOnce: () => atOnce,
    /** Hands the records from an offset up to another over. */
    batch(from: number, to: number) {
      const messages = Array.from({ length: to - from }, (_, index) => ({
        offset: from + index,
        timestampMs: 0,
        key: null,
        value: null,
        headers: {},
      }));
      return eachBatch({
        batch: {
          topic,
          partition: 0,
          messages,
          fetchedOffset: String(from),
          highWatermark: String(state.high),
          lastOffset: () => String(to - 1),
        },
        resolveOffset() {},
        isStale: () => false,
        commitOffsetsIfNecessary: async () => {},
      } as unknown as EachBatchPayload);
    },
  };
}

test.serial('as many batches are handled side by side as there are partitions', async (t) => {
  const { atOnce } = await scene(t, () => undefined);
  t.is(atOnce(), 3);
});

test.serial('a store that hangs every try for ten minutes ends nothing, and then work goes on', async (t) => {
  let hangs = true;
  let handled = 0;
  const { state, batch } = await scene(t, async () => {
    if (hangs) {
      await new Promise((resolve) => setTimeout(resolve, 10_000));
      throw away();
    }
    handled++;
  });
  void batch(0, 10);
  await pass(600);
  t.deepEqual(state.fatal, []);
  hangs = false;
  await pass(20);
  t.is(handled, 1);
});

test.serial('a handler that waits for something known may do so for ten minutes', async (t) => {
  const dueMs = Date.now() + 600_000;
  let handled = 0;
  const { state, batch } = await scene(t, async () => {
    if (Date.now() < dueMs) return { until: new Promise((resolve) => setTimeout(resolve, 1_000)) };
    handled++;
    return undefined;
  });
  void batch(0, 10);
  await pass(595);
  t.deepEqual(state.fatal, []);
  t.is(handled, 0);
  await pass(10);
  t.is(handled, 1);
});

test.serial('a handler that never ends, although nothing is away, ends the process', async (t) => {
  const { state, batch } = await scene(t, () => new Promise<void>(() => {}));
  void batch(0, 10);
  await pass(60);
  t.deepEqual(state.fatal, []);
  await pass(100);
  t.like(state.fatal, { 0: { code: 'MUSTER_KAFKA_STALLED' }, length: 1 });
});

test.serial('a handler that is held when its partition is given anew ends nothing', async (t) => {
  let tries = 0;
  const { state, batch, join } = await scene(t, async () => {
    tries++;
    await new Promise((resolve) => setTimeout(resolve, 25_000));
    throw away();
  });
  void batch(0, 10);
  await pass(5);
  await join();
  await pass(60);
  t.deepEqual(state.fatal, []);
  t.is(tries, 1, 'it is not tried again for an assignment that is over');
  void batch(0, 10);
  await pass(1);
  t.is(tries, 2, 'the next one begins when it has ended');
});

test.serial('records that lie there unread while Kafka answers: a nudge, and then the end', async (t) => {
  const { state } = await scene(t, async () => {});
  const before = state.seeks.length;
  await pass(90);
  t.true(state.seeks.length > before, 'it was nudged');
  t.deepEqual(state.fatal, []);
  await pass(90);
  t.like(state.fatal, { 0: { code: 'MUSTER_KAFKA_STALLED' }, length: 1 });
});

test.serial(
  'a Kafka that is away for ten minutes ends nothing, whatever lies there when it is back',
  async (t) => {
    const { state, tell, join, batch } = await scene(t, async () => {});
    await batch(0, 10);
    state.away = true;
    await tell('consumer.crash', { restart: true, error: new Error('no broker') });
    await pass(600);
    Object.assign(state, { away: false, high: 20 });
    await pass(30);
    await join();
    await pass(30);
    t.deepEqual(state.fatal, []);
  },
);

test.serial(
  'a consumer that does not come back after a crash, although Kafka answers, ends the process',
  async (t) => {
    const { state, tell } = await scene(t, async () => {});
    await tell('consumer.crash', { restart: true, error: new Error('no broker') });
    await pass(180);
    t.like(state.fatal, { 0: { code: 'MUSTER_KAFKA_STALLED' } });
  },
);

test.serial(
  'a group that cannot be joined for minutes, although a broker answers, ends nothing: each crash is another try',
  async (t) => {
    const { state, tell, join, batch } = await scene(t, async () => {});
    await batch(0, 10);
    for (let tries = 0; tries < 20; tries++) {
      await tell('consumer.crash', { restart: true, error: new Error('the group coordinator is gone') });
      await pass(17);
    }
    await join();
    await pass(30);
    t.deepEqual(state.fatal, []);
  },
);

test.serial('a process that slept, or whose clock was set, has not stood still', async (t) => {
  let end = () => {};
  const { state, batch } = await scene(
    t,
    () =>
      new Promise<void>((resolve) => {
        end = resolve;
      }),
  );
  state.high = 20;
  void batch(0, 10);
  await pass(10);
  clock.setSystemTime(Date.now() + 600_000);
  await pass(20);
  end();
  await pass(20);
  clock.setSystemTime(Date.now() + 600_000);
  await pass(20);
  t.deepEqual(state.fatal, []);
});
