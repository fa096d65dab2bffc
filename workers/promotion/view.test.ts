import { setImmediate as nextTurnOfLoop } from 'node:timers/promises';
import test from 'ava';
import type { PartitionConsumerOptions } from '../kafka/kafka.ts';
import { createMemoryKafka } from './memory-kafka.fixture.ts';
import { openView } from './view.ts';

const count = 200;

/** Reads 100 ms of records while something else works for `othersMs` in each turn of the loop; how many turns that took. */
async function readBeside(othersMs: number) {
  const kafka = createMemoryKafka();
  const producer = await kafka.producer('test');
  await producer.send(
    Array.from({ length: count }, (_, i) => ({ topic: 'topic', key: `k${i % 2}`, value: String(i) })),
  );
  const read: { readonly partition: number; readonly offset: number; readonly turn: number }[] = [];
  let turns = 0;
  let reading = true;
  const others = (async () => {
    for (; reading; turns++) {
      work(othersMs);
      await nextTurnOfLoop();
    }
  })();
  let problem: Error | undefined;
  const view = await openView({
    kafka,
    name: 'view',
    topics: ['topic'],
    sinceMs: 0,
    onRecord({ partition, offset }) {
      read.push({ partition, offset, turn: turns });
      work(0.5);
    },
    onFatal(error) {
      problem = error;
    },
  });
  while (!view.caughtUp()) await nextTurnOfLoop();
  reading = false;
  await others;
  await view.stop();
  return { read, turns: read.at(-1)!.turn - read[0]!.turn, problem };
}

function work(ms: number): void {
  for (const untilMs = performance.now() + ms; performance.now() < untilMs; );
}

test.serial('a long stretch is read in order, and requests get their turn meanwhile', async (t) => {
  const { read, turns, problem } = await readBeside(0);
  t.is(problem, undefined);
  for (const partition of [0, 1]) {
    const offsets = read.filter((one) => one.partition === partition).map(({ offset }) => offset);
    t.deepEqual(
      offsets,
      offsets.map((_, i) => i),
    );
  }
  t.is(read.length, count);
  // 100 ms of work: without slices all of it would be one turn for each of the two partitions.
  t.true(turns >= 8, `${turns} turns`);
});

test.serial('those who have much to do get most turns, and the stretch is read all the same', async (t) => {
  const { read, turns } = await readBeside(2);
  t.is(read.length, count);
  // Some 20 slices: taken turn about, it would be little more than as many turns.
  t.true(turns >= 60, `${turns} turns`);
});

test.serial(
  'a view is caught up although the end that it saw lies behind what a transaction took back',
  async (t) => {
    const kafka = createMemoryKafka();
    const producer = await kafka.producer('test');
    await producer.send([{ topic: 'topic', key: 'k0', value: '0' }]);
    let passed: PartitionConsumerOptions['onPassed'];
    const view = await openView({
      kafka: {
        ...kafka,
        consumePartitions(options) {
          passed = options.onPassed;
          return kafka.consumePartitions(options);
        },
        admin: {
          ...kafka.admin,
          offsets: async (topic) =>
            (await kafka.admin.offsets(topic)).map((one) => ({ ...one, high: one.high + 2 })),
        },
      },
      name: 'view',
      topics: ['topic'],
      sinceMs: 0,
      onRecord() {},
      onFatal: (error) => t.fail(error.message),
    });
    for (let turns = 0; turns < 100; turns++) await nextTurnOfLoop();
    t.false(view.caughtUp());
    const ends = await kafka.admin.offsets('topic');
    for (const { partition, high } of ends) passed?.({ topic: 'topic', partition, offset: high + 2 });
    t.true(view.caughtUp());
    await view.stop();
  },
);
