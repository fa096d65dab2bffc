import test from 'ava';
import fc from 'fast-check';
import { type Counted, openProbeBook, type ProbeBook, type ProbeRules } from './probes.ts';

const rules: ProbeRules = {
  intervalMs: 1_000,
  goodWithinMs: 2_000,
  lostAfterMs: 10_000,
  settledAfterMs: 5_000,
  stalledAfterMs: 1_000,
};
const none: Record<Counted, number> = {
  sent: 0,
  failed: 0,
  received: 0,
  lost: 0,
  duplicated: 0,
  outOfOrder: 0,
  probes: 0,
  goodProbes: 0,
};

function open(): {
  book: ProbeBook;
  counts: Record<Counted, number>;
  pass(fromMs: number, toMs: number): void;
} {
  const counts = { ...none };
  const book = openProbeBook((what) => {
    counts[what] += 1;
  }, rules);
  return {
    book,
    counts,
    /** Ticks every 100 ms, both ends included. */
    pass(fromMs, toMs) {
      for (let ms = fromMs; ms <= toMs; ms += 100) book.tick(ms);
    },
  };
}

test('a probe that is acked and received in time is good, whichever comes first', (t) => {
  const { book, counts } = open();
  const first = book.sent(0, 0);
  t.is(book.acked(0, first, 5), 5);
  t.is(book.received(0, first, 8), 8);
  const second = book.sent(0, 1_000);
  t.is(book.received(0, second, 1_003), 3);
  t.is(book.acked(0, second, 3_000), 2_000);
  t.deepEqual(counts, { ...none, sent: 2, received: 2, probes: 2, goodProbes: 2 });
});

test('a probe that comes too late is bad, once, and is not lost', (t) => {
  const { book, counts, pass } = open();
  const late = book.sent(0, 0);
  book.acked(0, late, 5);
  pass(0, 2_500);
  t.is(counts.probes, 1);
  t.is(book.received(0, late, 2_600), 2_600);
  pass(2_600, 20_000);
  t.deepEqual(counts, { ...none, sent: 1, received: 1, probes: 1 });
});

test('an acked probe that is not received within its time to live is lost, one without an ack is failed', (t) => {
  const { book, counts, pass } = open();
  const acked = book.sent(0, 0);
  const refused = book.sent(1, 0);
  book.acked(0, acked, 5);
  pass(0, 2_000);
  book.failed(1, refused);
  pass(2_100, 9_900);
  t.is(counts.lost, 0);
  pass(10_000, 30_000);
  t.deepEqual(counts, { ...none, sent: 2, failed: 1, lost: 1, probes: 2 });
});

test('a probe whose ack failed may still arrive: received, but not good', (t) => {
  const { book, counts, pass } = open();
  const sequence = book.sent(0, 0);
  book.received(0, sequence, 100);
  pass(0, 2_100);
  book.failed(0, sequence);
  pass(2_200, 20_000);
  t.deepEqual(counts, { ...none, sent: 1, failed: 1, received: 1, probes: 1 });
});

test('a repeat is a duplicate and a step back is out of order', (t) => {
  const { book, counts } = open();
  const [a, b, c] = [book.sent(0, 0), book.sent(0, 1), book.sent(0, 2)];
  for (const sequence of [a, c, b, b, a]) book.received(0, sequence, 10);
  t.is(counts.received, 3);
  t.is(counts.duplicated, 2);
  t.is(counts.outOfOrder, 1);
  book.received(0, 99, 10);
  t.is(counts.received, 3, 'nobody sent that one');
});

test('a probe that could not be sent is a bad one', (t) => {
  const { book, counts } = open();
  book.notSent(2, 0);
  t.deepEqual(counts, { ...none, probes: 1 });
});

test('an outage runs from the first bad probe to the first good one, and is over when nothing fails any more', (t) => {
  const { book, pass } = open();
  const good = (partition: number, sentMs: number, doneMs: number) => {
    const sequence = book.sent(partition, sentMs);
    book.acked(partition, sequence, doneMs);
    book.received(partition, sequence, doneMs);
  };
  book.tick(0);
  good(0, 0, 10);
  good(1, 300, 310);
  const [bad0, bad1] = [book.sent(0, 1_000), book.sent(1, 1_300)];
  pass(100, 3_400);
  book.failed(0, bad0);
  book.failed(1, bad1);
  t.is(
    book.outage(3_400).currentSeconds,
    2.4,
    'counted from the sending, although it is known 2 s later only',
  );
  good(0, 3_500, 3_800);
  pass(3_500, 4_800);
  t.is(book.outage(4_800).currentSeconds, 3.8, 'the other partition still fails');
  good(1, 4_300, 4_900);
  t.deepEqual(book.outage(4_900), { currentSeconds: 0, lastSeconds: 0 });
  pass(4_900, 9_800);
  t.is(book.outage(9_800).lastSeconds, 0, 'it may still come back');
  pass(9_900, 10_000);
  t.deepEqual(book.outage(10_000), { currentSeconds: 0, lastSeconds: 3.9 });
});

test('a failure soon after belongs to the same outage', (t) => {
  const { book, pass } = open();
  book.notSent(0, 0);
  const sequence = book.sent(0, 1_000);
  book.acked(0, sequence, 1_100);
  book.received(0, sequence, 1_100);
  pass(0, 4_000);
  book.notSent(0, 4_000);
  t.is(book.outage(4_000).currentSeconds, 4);
  const last = book.sent(0, 5_000);
  book.acked(0, last, 5_500);
  book.received(0, last, 5_500);
  pass(4_100, 12_000);
  t.deepEqual(book.outage(12_000), { currentSeconds: 0, lastSeconds: 5.5 });
});

test('a probe that comes back between two looks at the clock, and too late, is bad', (t) => {
  const { book, counts } = open();
  const sequence = book.sent(0, 0);
  book.acked(0, sequence, 2_001);
  book.received(0, sequence, 2_001);
  t.deepEqual(counts, { ...none, sent: 1, received: 1, probes: 1 });
});

test('an outage is as long as its earliest failure and its latest recovery say, in whatever order they become known', (t) => {
  const { book, pass } = open();
  const come = (partition: number, sequence: number, atMs: number) => {
    book.acked(partition, sequence, atMs);
    book.received(partition, sequence, atMs);
  };
  book.tick(0);
  const early = book.sent(0, 0);
  book.notSent(1, 500);
  const next = book.sent(1, 1_500);
  // Known before the failure of the earlier probe is, and before partition 0 recovers.
  come(1, next, 1_600);
  const waiting = book.sent(0, 1_000);
  come(0, waiting, 1_100);
  pass(0, 2_500);
  book.failed(0, early);
  pass(2_600, 10_000);
  t.is(book.outage(10_000).lastSeconds, 1.6, 'from partition 0 at 0 to partition 1 at 1.6 s');
});

test('probes in flight while the canary itself did not run are not judged, and get their time again', (t) => {
  const { book, counts, pass } = open();
  pass(0, 1_000);
  const sequence = book.sent(0, 1_000);
  book.acked(0, sequence, 1_010);
  book.tick(15_000);
  t.deepEqual(counts, { ...none, sent: 1 });
  book.received(0, sequence, 15_001);
  pass(15_100, 40_000);
  t.deepEqual(counts, { ...none, sent: 1, received: 1 });
  t.deepEqual(book.outage(40_000), { currentSeconds: 0, lastSeconds: 0 });
});

/** What happens to one probe, in ms after its sending; undefined: never. */
interface Fate {
  readonly partition: number;
  readonly ackMs: number | undefined;
  readonly deliveriesMs: readonly number[];
}

const fate: fc.Arbitrary<Fate> = fc.record({
  partition: fc.integer({ min: 0, max: 2 }),
  ackMs: fc.oneof(fc.integer({ min: 0, max: 2_000 }), fc.constant(undefined)),
  deliveriesMs: fc.oneof(
    { weight: 4, arbitrary: fc.array(fc.integer({ min: 0, max: 1_999 }), { minLength: 1, maxLength: 1 }) },
    fc.array(fc.integer({ min: 0, max: 15_000 }), { maxLength: 3 }),
  ),
});

test('whatever happens to the probes, every one is counted as an oracle that sees all of it counts', (t) => {
  fc.assert(
    fc.property(fc.array(fate, { maxLength: 60 }), (fates) => {
      const { book, counts } = open();
      const events: { atMs: number; order: number; do(): void }[] = [];
      const expected = { ...none };
      const sequences: number[] = [];
      const arrivals = new Map<number, { atMs: number; index: number }[]>();
      for (const [index, { partition, ackMs, deliveriesMs }] of fates.entries()) {
        const sentMs = index * 333;
        events.push({
          atMs: sentMs,
          order: 0,
          do: () => {
            sequences[index] = book.sent(partition, sentMs);
          },
        });
        const answerMs = sentMs + (ackMs ?? 2_000);
        events.push({
          atMs: answerMs,
          order: 1,
          do: () =>
            ackMs === undefined
              ? book.failed(partition, sequences[index]!)
              : book.acked(partition, sequences[index]!, answerMs),
        });
        for (const afterMs of deliveriesMs) {
          const atMs = sentMs + afterMs;
          events.push({ atMs, order: 2, do: () => book.received(partition, sequences[index]!, atMs) });
          arrivals.set(partition, [...(arrivals.get(partition) ?? []), { atMs, index }]);
        }
        const firstMs = deliveriesMs.length === 0 ? undefined : Math.min(...deliveriesMs);
        expected.sent += 1;
        expected.probes += 1;
        if (ackMs === undefined) expected.failed += 1;
        if (firstMs !== undefined) expected.received += 1;
        expected.duplicated += Math.max(0, deliveriesMs.length - 1);
        if (ackMs !== undefined && firstMs !== undefined && firstMs <= 2_000) expected.goodProbes += 1;
        // Time is looked at every 100 ms: lost at the first look at or after 10 s, unless it came before that look.
        const lookMs = Math.ceil((sentMs + 10_000) / 100) * 100;
        if (ackMs !== undefined && (firstMs === undefined || sentMs + firstMs > lookMs)) expected.lost += 1;
      }
      for (const list of arrivals.values()) {
        list.sort((a, b) => a.atMs - b.atMs || a.index - b.index);
        let highest = -1;
        const seen = new Set<number>();
        for (const { index } of list) {
          if (!seen.has(index) && index < highest) expected.outOfOrder += 1;
          seen.add(index);
          highest = Math.max(highest, index);
        }
      }
      for (let atMs = 0; atMs <= 60 * 333 + 20_000; atMs += 100) {
        events.push({ atMs, order: 3, do: () => book.tick(atMs) });
      }
      events.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      for (const event of events) event.do();
      t.deepEqual(counts, expected);
    }),
    { numRuns: 300 },
  );
});
