import test from 'ava';
import fc from 'fast-check';
import { createSlots, trackOffsets } from './concurrency.ts';

test('whatever the order in which records end, nothing unfinished is committed, and in the end everything is', (t) => {
  fc.assert(
    fc.property(
      fc
        .uniqueArray(fc.nat(10_000), { minLength: 1, maxLength: 50 })
        .chain((offsets) =>
          fc.tuple(
            fc.constant(offsets.toSorted((a, b) => a - b)),
            fc.shuffledSubarray(offsets, { minLength: offsets.length }),
          ),
        ),
      ([begun, ended]) => {
        const track = trackOffsets();
        for (const offset of begun) track.begin(offset);
        const unfinished = new Set(begun);
        let committed = 0;
        for (const offset of ended) {
          unfinished.delete(offset);
          const next = track.end(offset);
          if (next === undefined) continue;
          if (next <= committed) return false;
          committed = next;
          if ([...unfinished].some((open) => open < committed)) return false;
        }
        return committed === begun.at(-1)! + 1;
      },
    ),
  );
  t.pass();
});

test('no more than the slots run at once, who waits hears of a free one in order, and idle waits for all', async (t) => {
  const slots = createSlots(2);
  const ends: (() => void)[] = [];
  const order: number[] = [];
  let most = 0;
  let running = 0;
  const work = async (n: number) => {
    let free = slots.take();
    while (free === undefined) {
      await slots.free();
      free = slots.take();
    }
    order.push(n);
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => ends.push(resolve));
    running--;
    free();
    free();
  };
  const all = Promise.all([1, 2, 3, 4, 5].map(work));
  let idle = false;
  while (order.length < 5 || ends.length > 0) {
    void slots.idle().then(() => {
      idle = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    t.false(idle);
    ends.shift()?.();
  }
  await all;
  await slots.idle();
  t.is(most, 2);
  t.deepEqual(order, [1, 2, 3, 4, 5]);
});

test('who waits for the next slot has it in order, and nobody who comes later takes it away', async (t) => {
  const slots = createSlots(1);
  const first = await slots.next();
  const order: number[] = [];
  const waiting = [1, 2].map(async (n) => {
    const release = await slots.next();
    order.push(n);
    release();
    release();
  });
  t.is(slots.waiting(), 2);
  first();
  t.is(slots.take(), undefined, 'it has gone to the first who waits');
  await Promise.all(waiting);
  t.deepEqual(order, [1, 2]);
  t.is(slots.waiting(), 0);
  await slots.idle();
  t.truthy(slots.take());
});
