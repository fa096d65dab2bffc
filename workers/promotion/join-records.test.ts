import test from 'ava';
import type { Purchase } from '../../catalog/events/promotion.ts';
import type { IncomingRecord, OutgoingRecord } from '../kafka/kafka.ts';
import { firstAppendedMs, type Home, moved, sourceOf, staysAt } from './join-records.ts';
import { source } from './join-runs.ts';

const purchase = { purchaseId: 'p', userId: 'u' } as Purchase;
const first: IncomingRecord = {
  topic: 'purchase',
  partition: 7,
  offset: 3,
  timestampMs: 1_795_132_800_000,
  key: null,
  value: Buffer.from('{}'),
  headers: {},
} as IncomingRecord;

const read = ({ topic, partition, headers, value }: OutgoingRecord): IncomingRecord =>
  ({
    ...first,
    topic,
    partition,
    value,
    headers: Object.fromEntries(
      Object.entries(headers ?? {}).map(([name, text]) => [name, Buffer.from(String(text))]),
    ),
    timestampMs: first.timestampMs + 60_000,
  }) as IncomingRecord;

/** How often a record is moved by workers of which each has another belief of where its user lives. */
function moves(beliefs: (partition: number) => Home): number {
  let record = first;
  for (let count = 0; count < 10; count += 1) {
    const home = beliefs(record.partition);
    if (staysAt(record.partition, record, home)) return count;
    record = read(moved(sourceOf.get(record.topic)!, record, purchase, home, undefined));
  }
  return Number.POSITIVE_INFINITY;
}

test('a record is moved to its user’s partition, once', (t) => {
  t.is(
    moves(() => ({ partition: 3, among: 6 })),
    1,
  );
  t.is(
    moves(() => ({ partition: 7, among: 8 })),
    0,
  );
});

test('workers that disagree while partitions are added do not pass a record to each other for ever', (t) => {
  const old: Home = { partition: 3, among: 6 };
  const raised: Home = { partition: 7, among: 8 };
  // Partition 3 is read by one that knows of 8, partition 7 by one that knows of 6.
  t.is(
    moves((partition) => (partition === 3 ? raised : old)),
    2,
  );
  // One worker that still knows of 6 reads the new partition.
  t.is(
    moves(() => old),
    1,
  );
});

test('a moved record keeps the time at which it was first appended', (t) => {
  const once = read(moved(source.purchase, first, purchase, { partition: 3, among: 6 }, undefined));
  const twice = read(moved(source.purchaseByUser, once, purchase, { partition: 5, among: 8 }, undefined));
  t.is(firstAppendedMs(source.purchaseByUser, twice), first.timestampMs);
});
