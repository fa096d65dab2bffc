import test from 'ava';
import { arrivals } from './arrivals.ts';
import type { IncomingRecord } from './kafka.ts';

/** A topic of one partition in memory: ids by offset, a record each ms from `startMs` on. */
function topic(startMs: number, ids: string[] = []) {
  let low = 0;
  const read: number[] = [];
  const asked = { offsets: 0 };
  const kafka = {
    admin: {
      ends: async () => new Map([['t', new Map([[0, ids.length]])]]),
      async offsets() {
        asked.offsets += 1;
        return [{ partition: 0, low, high: ids.length }];
      },
      offsetsAt: async (_: string, ms: number) =>
        new Map([[0, Math.min(ids.length, Math.max(low, ms - startMs))]]),
    },
    async *read(_: string, __: number, from: number, to: number) {
      read.push(to - from);
      yield ids.slice(from, to).map(
        (id) =>
          ({
            key: Buffer.from(id),
            timestampMs: startMs + Number(id.split('-')[1]),
          }) as unknown as IncomingRecord,
      );
    },
  };
  return {
    ids,
    read,
    asked,
    cut(to: number) {
      low = to;
    },
    seen: arrivals({ kafka: kafka as never, topics: ['t'], idOf: ({ key }) => String(key), backMs: 1_000 }),
  };
}
const named = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `id-${from + n}`);

test('it begins some time back, reads on from where it was, and knows from when on it is complete', async (t) => {
  const { ids, read, seen } = topic(0, named(0, 5_000));
  await seen.advance(5_000, 5_000);
  t.is(seen.completeFromMs, 4_000);
  t.deepEqual([seen.has('id-3999'), seen.has('id-4000'), seen.has('id-5000')], [false, true, false]);
  ids.push(...named(5_000, 5_010));
  await seen.advance(5_100, 5_100);
  t.true(seen.has('id-5009'));
  t.deepEqual(read, [1_000, 10]);
  t.is(seen.completeFromMs, 4_000);
});

test('where nothing has come since the last look, nothing but the ends is asked', async (t) => {
  const { ids, asked, seen } = topic(0, named(0, 10));
  for (let look = 0; look < 5; look++) await seen.advance(10, 10);
  t.is(asked.offsets, 1);
  ids.push('id-10');
  await seen.advance(11, 11);
  t.is(asked.offsets, 2);
  t.true(seen.has('id-10'));
});

test('an id is known for as long as it goes back, and not for ever', async (t) => {
  const { ids, seen } = topic(0, named(0, 10));
  await seen.advance(10, 10);
  ids.push('later');
  for (let nowMs = 500; nowMs <= 1_400; nowMs += 100) await seen.advance(nowMs, nowMs);
  t.true(seen.has('later'));
  for (let nowMs = 1_500; nowMs <= 6_000; nowMs += 100) await seen.advance(nowMs, nowMs);
  t.false(seen.has('later'));
});

test('where records went before they were read it begins again, and says so', async (t) => {
  const { ids, cut, seen } = topic(0, named(0, 100));
  await seen.advance(100, 100);
  ids.push(...named(100, 3_000));
  cut(2_500);
  await seen.advance(3_000, 3_000);
  t.is(seen.completeFromMs, 2_000);
  t.true(seen.has('id-2999'));
});

test('what is more than it may read is passed over, and it says from when on it knows all', async (t) => {
  const { ids, read, seen } = topic(0, named(0, 100));
  await seen.advance(100, 100);
  ids.push(...named(100, 20_000));
  await seen.advance(20_000, 20_000);
  t.deepEqual(read, [100, 5_000]);
  t.is(seen.completeFromMs, 15_000);
  t.deepEqual([seen.has('id-14999'), seen.has('id-15000')], [false, true]);
});

test('of too many ids a share is followed, the same whenever it is asked', async (t) => {
  const { ids, seen } = topic(0, []);
  await seen.advance(0, 0);
  for (let n = 0; n < 8; n++)
    for (let m = 0; m < 10; m++) {
      ids.push(...named(4_000 * (10 * n + m), 4_000 * (10 * n + m + 1)));
      await seen.advance(1, 1);
    }
  await seen.advance(2, 2);
  const followed = named(0, 320_000).filter((id) => seen.follows(id));
  t.true(followed.length > 100_000 && followed.length < 220_000, `${followed.length}`);
  t.true(followed.every((id) => seen.has(id)));
});
