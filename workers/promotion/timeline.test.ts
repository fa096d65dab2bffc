import test from 'ava';
import fc from 'fast-check';
import { createTimeline, type TimelineEvent } from './timeline.ts';

const event = (user: string, timeMs: number, rank: 0 | 1 = 0): TimelineEvent<string> => ({
  user,
  timeMs,
  rank,
  item: `${user}@${timeMs}/${rank}`,
});

test('an event waits its delay, then takes the earlier ones of its user along', (t) => {
  const timeline = createTimeline<string>({ delayMs: 100, maxHeld: 10, rememberMs: 1_000 });
  t.deepEqual(timeline.push(event('a', 50), 0), []);
  t.deepEqual(timeline.push(event('a', 20), 60), []);
  t.deepEqual(timeline.push(event('a', 70), 70), []);
  t.deepEqual(timeline.push(event('b', 10), 70), []);
  t.deepEqual(timeline.advance(99), []);
  t.deepEqual(
    timeline.advance(100).map(({ item }) => item),
    ['a@20/0', 'a@50/0'],
  );
  t.is(timeline.held(), 2);
});

test('an event after a later one of its user has left is passed on at once and flagged', (t) => {
  const timeline = createTimeline<string>({ delayMs: 100, maxHeld: 10, rememberMs: 1_000 });
  timeline.push(event('a', 50), 0);
  timeline.advance(100);
  t.deepEqual(timeline.push(event('a', 49), 101), [{ item: 'a@49/0', late: true }]);
  t.deepEqual(timeline.push(event('b', 49), 101), []);
});

test('with too many events held the oldest leave early', (t) => {
  const timeline = createTimeline<string>({ delayMs: 100, maxHeld: 2, rememberMs: 1_000 });
  timeline.push(event('a', 1), 0);
  timeline.push(event('b', 2), 0);
  t.deepEqual(timeline.push(event('c', 3), 0), [{ item: 'a@1/0', late: false }]);
  t.is(timeline.held(), 2);
});

const arrivals = fc.array(
  fc.record({
    user: fc.constantFrom('a', 'b', 'c'),
    timeMs: fc.integer({ min: 0, max: 400 }),
    rank: fc.constantFrom(0 as const, 1 as const),
    gapMs: fc.integer({ min: 0, max: 40 }),
  }),
  { maxLength: 80 },
);

test('every event comes out once, in time, and in order of its user unless flagged late', (t) => {
  fc.assert(
    fc.property(
      arrivals,
      fc.integer({ min: 1, max: 120 }),
      fc.integer({ min: 1, max: 20 }),
      (list, delayMs, maxHeld) => {
        const timeline = createTimeline<number>({ delayMs, maxHeld, rememberMs: 1_000_000 });
        const out: { index: number; late: boolean; atMs: number }[] = [];
        let nowMs = 0;
        const arrivedMs: number[] = [];
        const note = (released: { item: number; late: boolean }[]) => {
          for (const { item, late } of released) out.push({ index: item, late, atMs: nowMs });
        };
        list.forEach(({ gapMs, ...rest }, index) => {
          for (let step = 0; step < gapMs; step += 1) {
            nowMs += 1;
            note(timeline.advance(nowMs));
          }
          arrivedMs.push(nowMs);
          note(timeline.push({ ...rest, item: index }, nowMs));
          if (timeline.held() > maxHeld) throw new Error('holds too many');
        });
        for (let step = 0; step <= delayMs; step += 1) {
          note(timeline.advance(nowMs));
          nowMs += 1;
        }
        if (timeline.held() !== 0) throw new Error('keeps some');
        const seen = out.map(({ index }) => index).sort((a, b) => a - b);
        if (seen.join() !== list.map((_, index) => index).join()) throw new Error('lost or doubled');
        const lastMs = new Map<string, number>();
        for (const { index, late, atMs } of out) {
          const { user, timeMs } = list[index]!;
          if (atMs - arrivedMs[index]! > delayMs) throw new Error('held too long');
          const last = lastMs.get(user) ?? Number.NEGATIVE_INFINITY;
          if (late !== timeMs < last) throw new Error('wrong flag');
          lastMs.set(user, Math.max(last, timeMs));
        }
      },
    ),
  );
  t.pass();
});

test('with disorder shorter than the delay a user’s stream equals the sorted input', (t) => {
  fc.assert(
    fc.property(arrivals, (list) => {
      const delayMs = 100;
      // Event time = arrival less some lateness below the delay.
      let clockMs = 0;
      const events = list.map(({ user, timeMs, rank, gapMs }, index) => {
        clockMs += gapMs;
        return { user, rank, timeMs: clockMs - (timeMs % delayMs), atMs: clockMs, index };
      });
      const timeline = createTimeline<number>({ delayMs, maxHeld: 1_000, rememberMs: 1_000_000 });
      const out: number[] = [];
      const note = (released: { item: number; late: boolean }[]) => {
        for (const { item, late } of released) {
          if (late) throw new Error('flagged late');
          out.push(item);
        }
      };
      for (const { user, rank, timeMs, atMs, index } of events) {
        note(timeline.advance(atMs - 1));
        note(timeline.push({ user, rank, timeMs, item: index }, atMs));
      }
      note(timeline.advance(clockMs + delayMs));
      for (const user of ['a', 'b', 'c']) {
        const sorted = events
          .filter((one) => one.user === user)
          .sort((a, b) => a.timeMs - b.timeMs || a.rank - b.rank || a.index - b.index)
          .map(({ index }) => index);
        const streamed = out.filter((index) => events[index]!.user === user);
        // Equal times may keep the order in which they were let go; order by time is what is promised then.
        const times = (indexes: number[]) => indexes.map((index) => events[index]!.timeMs).join();
        if (times(streamed) !== times(sorted)) throw new Error(`${streamed} is not ${sorted}`);
      }
    }),
  );
  t.pass();
});

test('users are forgotten after a while, so that memory stays bounded', (t) => {
  const timeline = createTimeline<string>({ delayMs: 10, maxHeld: 10, rememberMs: 100 });
  timeline.push(event('a', 50), 0);
  timeline.advance(10);
  timeline.advance(111);
  t.deepEqual(timeline.push(event('a', 1), 112), []);
});
