import { setImmediate as nextTurnOfLoop } from 'node:timers/promises';
import test from 'ava';
import { createMemoryKafka } from './memory-kafka.fixture.ts';
import { openView } from './view.ts';

test('a long stretch is read in order, and requests get their turn meanwhile', async (t) => {
  const kafka = createMemoryKafka();
  const producer = await kafka.producer('test');
  const count = 200;
  await producer.send(
    Array.from({ length: count }, (_, i) => ({ topic: 'topic', key: `k${i % 2}`, value: String(i) })),
  );
  const read: { readonly partition: number; readonly offset: number }[] = [];
  let turns = 0;
  let reading = true;
  const others = (async () => {
    for (; reading; turns++) await nextTurnOfLoop();
  })();
  const turnOf = new Map<number, number>();
  const view = await openView({
    kafka,
    name: 'view',
    topics: ['topic'],
    sinceMs: 0,
    onRecord({ partition, offset }) {
      read.push({ partition, offset });
      turnOf.set(read.length, turns);
      for (const untilMs = performance.now() + 0.5; performance.now() < untilMs; );
    },
    onFatal: (error) => t.fail(error.message),
  });
  while (!view.caughtUp()) await nextTurnOfLoop();
  reading = false;
  await others;
  await view.stop();
  for (const partition of [0, 1]) {
    const offsets = read.filter((one) => one.partition === partition).map(({ offset }) => offset);
    t.deepEqual(
      offsets,
      offsets.map((_, i) => i),
    );
  }
  t.is(read.length, count);
  // 100 ms of work: without slices all of it would be one turn for each of the two partitions.
  t.true(turnOf.get(count)! - turnOf.get(1)! >= 8, `${turnOf.get(count)! - turnOf.get(1)!} turns`);
});
