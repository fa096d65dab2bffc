import test from 'ava';
import fc from 'fast-check';
import { isPrecise, qualities, type WaitingInput, waiting } from './lag-time.ts';
import { TimeTable } from './time-table.ts';

const base = 1_700_000_000_000;

/** Ten records a second, seen every 5 s, for 5 minutes; offset 0 was written at `base`. */
function steadyTable(): TimeTable {
  const table = new TimeTable();
  for (let i = 60; i < 120; i++) table.add(i * 50, base + i * 5_000);
  return table;
}

const input = (changes: Partial<WaitingInput>): WaitingInput => ({
  position: 4_000,
  end: 5_950,
  table: steadyTable(),
  recordMs: undefined,
  oldest: undefined,
  nowMs: base + 600_000,
  ...changes,
});

test('at the end nothing is waiting, and beyond it neither', (t) => {
  t.like(waiting(input({ position: 5_950 })), { quality: 'caught_up' });
  t.like(waiting(input({ position: 6_000 })), { quality: 'caught_up' });
});

test('inside the table the time is interpolated', (t) => {
  t.deepEqual(waiting(input({})), { quality: 'interpolated', sinceMs: base + 400_000 });
});

test('a timestamp that was read is more exact than the line between two points', (t) => {
  t.deepEqual(waiting(input({ position: 4_020, recordMs: base + 404_700 })), {
    quality: 'fetched',
    sinceMs: base + 404_700,
  });
});

test('a clock that is 30 s off is not believed where the table knows better', (t) => {
  for (const wrong of [-30_000, 30_000]) {
    t.deepEqual(waiting(input({ recordMs: base + 400_000 + wrong })), {
      quality: 'interpolated',
      sinceMs: base + 400_000,
    });
  }
});

test('a timestamp just outside of what the table saw is taken as its edge', (t) => {
  t.deepEqual(waiting(input({ recordMs: base + 399_400 })), { quality: 'fetched', sinceMs: base + 400_000 });
});

test('before the table the record itself says it, but not that it came later than the table began', (t) => {
  t.deepEqual(waiting(input({ position: 100, recordMs: base + 10_000 })), {
    quality: 'fetched',
    sinceMs: base + 10_000,
  });
  t.deepEqual(waiting(input({ position: 100, recordMs: base + 330_000 })), {
    quality: 'estimated',
    sinceMs: base + 300_000,
  });
});

test('before the table and not read: between the oldest record and the table, else where the trend points to', (t) => {
  t.deepEqual(waiting(input({ position: 1_500 })), { quality: 'estimated', sinceMs: base + 150_000 });
  t.deepEqual(waiting(input({ position: 1_500, oldest: { offset: 0, timestampMs: base + 100_000 } })), {
    quality: 'estimated',
    sinceMs: base + 200_000,
  });
});

test('an end that was never seen, and a table that knows nothing', (t) => {
  t.like(waiting(input({ end: undefined })), { quality: 'unknown' });
  t.like(waiting(input({ table: new TimeTable() })), { quality: 'unknown' });
  t.like(waiting(input({ table: new TimeTable(), recordMs: base })), { quality: 'fetched', sinceMs: base });
});

test('the table alone will do where its points are close together as seen from now', (t) => {
  const table = steadyTable();
  t.true(isPrecise(table, 4_000, base + 600_000));
  t.false(isPrecise(table, 5_900, base + 600_000));
  t.true(isPrecise(table, 5_900, base + 700_000));
  t.false(isPrecise(table, 100, base + 600_000));
});

const anything = fc.record({
  steps: fc.array(fc.tuple(fc.nat(100_000), fc.integer({ min: -5_000, max: 600_000 })), { maxLength: 70 }),
  position: fc.nat(10_000_000),
  end: fc.option(fc.nat(10_000_000), { nil: undefined }),
  recordMs: fc.option(fc.integer({ min: -1, max: 4_000_000_000_000 }), { nil: undefined }),
  oldest: fc.option(
    fc.record({ offset: fc.nat(10_000_000), timestampMs: fc.integer({ min: -1, max: base * 2 }) }),
    {
      nil: undefined,
    },
  ),
  nowMs: fc.integer({ min: base, max: base + 100_000_000 }),
});

test('whatever comes, the seconds are never NaN, infinite or negative', (t) => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(anything, ({ steps, ...rest }) => {
      const table = new TimeTable();
      let offset = 0;
      let timeMs = base;
      for (const [records, ms] of steps) {
        offset += records;
        timeMs += ms;
        table.add(offset, timeMs);
      }
      const { quality, sinceMs } = waiting({ ...rest, table });
      seen.add(quality);
      return Number.isFinite(sinceMs) && rest.nowMs - sinceMs >= 0 && qualities.includes(quality);
    }),
    { numRuns: 3_000 },
  );
  // `uncommitted` is said of groups, not of records.
  t.is(seen.size, qualities.length - 1);
});

test('further behind never means a shorter wait, and time that passes never shortens it', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 1, max: 60_000 })), {
        minLength: 2,
        maxLength: 70,
      }),
      fc.boolean(),
      (steps, knowsOldest) => {
        const table = new TimeTable();
        let offset = 1_000;
        let timeMs = base;
        for (const [records, ms] of steps) {
          offset += records;
          timeMs += ms;
          table.add(offset, timeMs);
        }
        const ask = (position: number, nowMs: number) =>
          waiting({
            position,
            end: offset,
            table,
            recordMs: undefined,
            oldest: knowsOldest ? { offset: 0, timestampMs: base - 60_000 } : undefined,
            nowMs,
          });
        let before = Number.NEGATIVE_INFINITY;
        for (let i = 0; i <= 30; i++) {
          const position = Math.floor((offset * i) / 30);
          const now = ask(position, timeMs);
          if (now.sinceMs < before - 1e-3) return false;
          before = now.sinceMs;
          const later = ask(position, timeMs + 7_000);
          if (now.quality !== 'caught_up' && later.sinceMs > now.sinceMs + 1e-3) return false;
        }
        return true;
      },
    ),
  );
  t.pass();
});
