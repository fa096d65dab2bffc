import test from 'ava';
import fc from 'fast-check';
import { retentionFrom, retentionUsed } from './retention.ts';

const hour = 3_600_000;
const byTime = { deletes: true, ms: 10 * hour, bytes: undefined };
const bySize = { deletes: true, ms: undefined, bytes: 1_000_000 };
const half = { unread: 500, position: 500, start: 0, end: 1_000, ageMs: 5 * hour };

test('a group at the end is in no danger', (t) => {
  t.is(retentionUsed({ ...half, unread: 1_000, position: 1_000, start: 900, retention: byTime }), 0);
});

test('by time it is the age of the next record as a share of the retention', (t) => {
  t.is(retentionUsed({ ...half, retention: byTime }), 0.5);
  t.is(retentionUsed({ ...half, ageMs: 30 * hour, retention: byTime }), 1);
});

test('by size it is the way back to the log start, once the log has begun to be deleted', (t) => {
  t.is(retentionUsed({ ...half, retention: bySize }), 0);
  t.is(retentionUsed({ ...half, start: 400, retention: bySize }), 5 / 6);
  t.is(retentionUsed({ ...half, start: 400, retention: { ...byTime, bytes: 1_000_000 } }), 5 / 6);
});

test('a log start that was moved by hand says nothing where only time deletes', (t) => {
  t.is(retentionUsed({ ...half, start: 500, ageMs: hour, retention: byTime }), 0.1);
});

test('what is gone unread counts as 1 also when nothing came after it', (t) => {
  t.is(retentionUsed({ ...half, unread: 100, position: 1_000, start: 1_000, retention: byTime }), 1);
});

test('what is gone unread counts as 1, and a topic that only compacts deletes nothing by age', (t) => {
  t.is(retentionUsed({ ...half, unread: 100, position: 500, start: 500, retention: byTime }), 1);
  t.is(retentionUsed({ ...half, retention: { deletes: false, ms: hour, bytes: undefined } }), 0);
});

test('settings are read as Kafka writes them', (t) => {
  t.deepEqual(
    retentionFrom({ 'cleanup.policy': 'compact,delete', 'retention.ms': '60000', 'retention.bytes': '-1' }),
    { deletes: true, ms: 60_000, bytes: undefined },
  );
  t.deepEqual(retentionFrom({ 'cleanup.policy': 'compact', 'retention.ms': '-1' }), {
    deletes: false,
    ms: undefined,
    bytes: undefined,
  });
  t.is(retentionFrom(undefined), undefined);
  t.is(retentionFrom({}), undefined);
});

test('the ratio stays between 0 and 1', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        unread: fc.nat(1_000),
        position: fc.nat(1_000),
        start: fc.nat(1_000),
        end: fc.nat(1_000),
        ageMs: fc.integer({ min: -hour, max: 100 * hour }),
      }),
      fc.constantFrom(undefined, byTime, bySize, { deletes: true, ms: 0, bytes: 0 }),
      (numbers, retention) => {
        const ratio = retentionUsed({ ...numbers, retention });
        return ratio >= 0 && ratio <= 1;
      },
    ),
  );
  t.pass();
});
