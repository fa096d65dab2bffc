import test from 'ava';
import { isWhole, shortcomings } from './cluster.ts';
import { firstIn } from './first-record.ts';
import { appendRecord, openBatch, sealBatch, stampBatch } from './record-batch.ts';

const at = 1_700_000_000_000;
const attributesAt = 21;

/** A batch of records a second apart; `values` big enough are compressed with snappy. */
function batch(firstOffset: number, values: readonly string[]): Buffer {
  const open = openBatch(at);
  values.forEach((value, i) => {
    appendRecord(open, at + i * 1_000, null, value, undefined);
  });
  const wire = Buffer.from(sealBatch(open));
  wire.writeBigInt64BE(BigInt(firstOffset), 0);
  return stamped(wire);
}

function withAttributes(wire: Buffer, attributes: number): Buffer {
  wire.writeInt16BE(wire.readInt16BE(attributesAt) | attributes, attributesAt);
  return stamped(wire);
}

function stamped(wire: Buffer): Buffer {
  stampBatch(wire, { producerId: 1n, epoch: 0, sequence: 0 });
  return wire;
}

test('the first record at an offset, in the middle of a batch, compressed or not', async (t) => {
  for (const value of ['v', 'v'.repeat(5_000)]) {
    t.deepEqual(await firstIn(batch(100, [value, value, value]), 102), {
      nextOffset: 102,
      record: { offset: 102, timestampMs: at + 2_000 },
    });
  }
});

test('append time holds for the whole batch', async (t) => {
  const found = await firstIn(withAttributes(batch(100, ['a', 'b', 'c']), 0x08), 100);
  t.is(found?.record?.timestampMs, at + 2_000);
});

test('transaction markers are passed over', async (t) => {
  const marker = withAttributes(batch(100, ['commit']), 0x20);
  t.deepEqual(await firstIn(marker, 100), { nextOffset: 101, record: undefined });
  t.deepEqual(await firstIn(Buffer.concat([marker, batch(101, ['a'])]), 100), {
    nextOffset: 101,
    record: { offset: 101, timestampMs: at },
  });
});

test('a gap that compaction left is passed over', async (t) => {
  const set = Buffer.concat([batch(100, ['a', 'b']), batch(950, ['c'])]);
  t.is((await firstIn(set, 500))?.record?.offset, 950);
});

test('of a batch that cannot be read the header says about when', async (t) => {
  const nobodysCodec = 5;
  const found = await firstIn(withAttributes(batch(100, ['a', 'b', 'c', 'd', 'e']), nobodysCodec), 101);
  t.deepEqual(found, { nextOffset: 101, record: { offset: 101, timestampMs: at + 1_000 } });
});

test('a batch that was cut off by the limit says nothing', async (t) => {
  t.is(await firstIn(batch(100, ['a']).subarray(0, 65), 100), undefined);
  t.is(await firstIn(Buffer.alloc(0), 100), undefined);
});

test('a topology is whole when all brokers, leaders and copies are there; leaders elsewhere do not count', (t) => {
  const partition = (leader: number, inSync: readonly number[]) => ({
    partition: 0,
    leader,
    replicas: [1, 2, 3],
    inSync,
  });
  const lacking = (brokers: readonly number[], ...partitions: readonly ReturnType<typeof partition>[]) =>
    shortcomings({ brokers, topics: [{ name: 'topic', id: 'id', partitions }] }, 3);
  const all = [1, 2, 3];
  const moved = lacking(all, partition(1, all), partition(1, all), partition(2, all));
  t.deepEqual(moved, { missingBrokers: 0, underReplicated: 0, leaderless: 0, ledElsewhere: 1 });
  t.true(isWhole(moved));
  t.false(isWhole(lacking([1, 2], partition(1, all))));
  t.false(isWhole(lacking(all, partition(1, [1, 2]))));
  t.false(isWhole(lacking(all, partition(-1, all))));
});
