import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { TimeTable, tablePoints } from './time-table.ts';

interface Vector {
  readonly name: string;
  readonly points: readonly (readonly [offset: number, timeMs: number])[];
  readonly length?: number;
  readonly lookups: readonly { readonly offset: number; readonly kind: string }[];
}
const { vectors } = JSON.parse(readFileSync(new URL('time-table.vectors.json', import.meta.url), 'utf8')) as {
  vectors: readonly Vector[];
};

function tableOf(points: Iterable<readonly [number, number]>): TimeTable {
  const table = new TimeTable();
  for (const [offset, timeMs] of points) table.add(offset, timeMs);
  return table;
}

for (const { name, points, length, lookups } of vectors) {
  test(`published vector: ${name}`, (t) => {
    const table = tableOf(points);
    t.is(table.length, length ?? points.length);
    for (const { offset, ...expected } of lookups) t.like(table.lookup(offset), expected);
  });
}

test('the table holds 60 points and lets the oldest go', (t) => {
  const table = tableOf(Array.from({ length: 100 }, (_, i) => [i * 10, i * 1_000] as const));
  t.is(table.length, tablePoints);
  t.is(table.lookup(399).kind, 'before');
  t.like(table.lookup(400), { kind: 'covered', timeMs: 40_000 });
  t.like(table.lookup(985), { kind: 'covered', timeMs: 98_500 });
});

/** Steps of a partition: how many records, after how many ms. */
const steps = fc.array(
  fc.tuple(fc.oneof(fc.constant(0), fc.nat(1_000_000)), fc.integer({ min: 1, max: 600_000 })),
  { minLength: 1, maxLength: 150 },
);

test('whatever came, times are finite, within their bracket, and rise with the offset', (t) => {
  fc.assert(
    fc.property(steps, fc.nat(1_000), (list, first) => {
      let offset = first;
      let timeMs = 1_700_000_000_000;
      const table = new TimeTable();
      for (const [records, ms] of list) {
        offset += records;
        timeMs += ms;
        table.add(offset, timeMs);
      }
      let before = Number.NEGATIVE_INFINITY;
      for (let i = 0; i <= 40; i++) {
        const found = table.lookup(Math.floor((offset * i) / 40));
        if (found.kind === 'end' || found.kind === 'empty') continue;
        if (!Number.isFinite(found.timeMs) || found.timeMs > found.untilMs + 1e-3) return false;
        if (found.kind === 'covered' && found.timeMs < found.fromMs) return false;
        if (found.timeMs < before - 1e-3) return false;
        before = found.timeMs;
      }
      return table.lookup(offset).kind === 'end';
    }),
  );
  t.pass();
});

test('an offset is found in the segment in which a plain search through all points finds it', (t) => {
  fc.assert(
    fc.property(steps, fc.double({ min: 0, max: 1, noNaN: true }), (list, share) => {
      const points: [number, number][] = [];
      let offset = 0;
      let timeMs = 0;
      for (const [records, ms] of list.slice(0, tablePoints)) {
        offset += records;
        timeMs += ms;
        points.push([offset, timeMs]);
      }
      const wanted = Math.floor(offset * share);
      const found = tableOf(points).lookup(wanted);
      const after = points.findIndex(([each]) => each > wanted);
      if (after === -1) return found.kind === 'end';
      if (after === 0) return found.kind === 'before';
      return (
        found.kind === 'covered' &&
        found.untilMs === points[after]![1] &&
        found.fromMs === points[after - 1]![1]
      );
    }),
  );
  t.pass();
});
