import { gzipSync, zstdCompressSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { compressFrameSync } from 'lz4-napi';
import { crc32c } from './crc32c.ts';
import { decodeRecordSet, type FetchedRecord, hideAborted } from './fetched-records.ts';
import './kafkajs-patches.ts';
import { appendRecord, openBatch, sealBatch, stampBatch } from './record-batch.ts';
import { headerText, unreadableHeader } from './records.ts';
import { compressXerial } from './snappy.ts';

const at = 1_700_000_000_000;
const headBytes = 61;
const identity = { producerId: 7n, epoch: 0, sequence: 0 };
const compressors: readonly ((bytes: Buffer) => Buffer)[] = [
  (bytes) => bytes,
  (bytes) => gzipSync(bytes),
  compressXerial,
  (bytes) => compressFrameSync(bytes),
  (bytes) => zstdCompressSync(bytes),
];

/** A batch as a foreign producer makes it, with the records compressed by codec `codec`. */
function batch(firstOffset: number, values: readonly string[], codec = 0, attributes = 0): Buffer {
  const open = openBatch(at);
  for (const value of values) appendRecord(open, at, null, value, undefined);
  const records = compressors[codec % compressors.length]!(open.bytes.subarray(headBytes, open.length));
  const head = sealBatch({ ...open, bytes: Buffer.alloc(headBytes), length: headBytes });
  head.writeInt32BE(values.length - 1, 23);
  head.writeInt32BE(values.length, 57);
  const whole = Buffer.concat([head, records]);
  whole.writeInt32BE(whole.length - 12, 8);
  whole.writeInt16BE(codec | attributes, 21);
  stampBatch(whole, identity);
  whole.writeBigInt64BE(BigInt(firstOffset), 0);
  return whole;
}

/** Twice, as a reader does who fetches what was left out once more. */
async function decode(set: Buffer): Promise<FetchedRecord[]> {
  await decodeRecordSet(set);
  return decodeRecordSet(set);
}

const places = (records: readonly FetchedRecord[]) =>
  records.map(({ offset, value }) => [offset, String(value)]);
const whyUnreadable = (record: FetchedRecord) => headerText(record, unreadableHeader);
const good = [
  [10, 'a'],
  [11, 'b'],
];

test('what cannot be read is one record with the bytes of its batch and the reason; its neighbours are read', async (t) => {
  const damaged = batch(12, ['c'.repeat(2_000)], 4);
  damaged.fill(0xff, headBytes + 8);
  stampBatch(damaged, identity);
  const wrongCount = batch(12, ['c', 'd']);
  wrongCount.writeInt32BE(9, 57);
  stampBatch(wrongCount, identity);
  const newer = batch(12, ['c']);
  newer[16] = 3;
  for (const [bad, last, why] of [
    [batch(12, ['c', 'd', 'e'], 5), 14, /codec 5/],
    [batch(12, ['c', 'd', 'e'], 7), 14, /codec 7/],
    [damaged, 12, /zstd is damaged/],
    [wrongCount, 13, /a length or an offset/],
    [newer, 12, /newer/],
    [batch(12, ['c', 'x'.repeat(1_100_000)], 4).subarray(), 13, /a record has 1100\d\d\d bytes/],
  ] as const) {
    const records = await decode(Buffer.concat([batch(10, ['a', 'b']), bad, batch(last + 1, ['z'])]));
    const kept = records.find((record) => whyUnreadable(record) !== undefined)!;
    t.is(kept.offset, last);
    t.deepEqual(kept.value, bad);
    t.regex(whyUnreadable(kept)!, why);
    t.regex(whyUnreadable(kept)!, /offset 12/);
    t.deepEqual(places(records.slice(0, 2)), good);
    t.deepEqual(places(records.slice(-1)), [[last + 1, 'z']]);
  }
});

test('a batch with a wrong CRC is fetched once more before it counts as unreadable', async (t) => {
  const bad = batch(12, ['c']);
  bad[bad.length - 1]! ^= 1;
  const set = Buffer.concat([batch(10, ['a', 'b']), bad]);
  t.deepEqual(places(await decodeRecordSet(set)), good);
  const again = await decodeRecordSet(set);
  t.is(again.length, 3);
  t.regex(whyUnreadable(again[2]!)!, /CRC/);
  t.deepEqual(again[2]!.value, bad);
});

test('whatever is wrong in a batch, in whichever codec, the batches around it are read and reading goes on', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(4),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (codec, where, mask, crcHolds) => {
        const bad = batch(12, ['one record', 'another record', 'a third'.repeat(100)], codec);
        const position = 17 + (where % (bad.length - 17));
        // The number of the last record tells readers and brokers alike where it goes on.
        if (position >= 23 && position < 27) return;
        bad[position]! ^= mask;
        if (crcHolds) bad.writeUInt32BE(crc32c(bad, 21), 17);
        const records = await decode(Buffer.concat([batch(10, ['a', 'b']), bad, batch(15, ['z'])]));
        const around = records.filter(({ offset }) => offset < 12 || offset > 14);
        t.deepEqual(places(around), [...good, [15, 'z']]);
      },
    ),
    { numRuns: 300 },
  );
});

test('a batch that unfolds to gigabytes is not unfolded', async (t) => {
  const zeros = Buffer.alloc(40 * 1024 * 1024);
  for (const codec of [1, 2, 3, 4]) {
    const bomb = batch(12, ['c'], codec);
    const whole = Buffer.concat([bomb.subarray(0, headBytes), compressors[codec]!(zeros)]);
    whole.writeInt32BE(whole.length - 12, 8);
    stampBatch(whole, identity);
    const [record, ...others] = await decode(whole);
    t.regex(whyUnreadable(record!)!, /more than 33554432 bytes/);
    t.is(others.length, 0);
  }
});

test('a fetch whose batches unfold to much is read in parts', async (t) => {
  const big = (offset: number) =>
    batch(
      offset,
      Array.from({ length: 5 }, () => 'x'.repeat(1_000_000)),
      4,
    );
  const set = Buffer.concat([big(0), big(5), big(10)]);
  const offsets = (await decodeRecordSet(set)).map(({ offset }) => offset);
  t.deepEqual(offsets, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

/** A message of the formats before batches. */
function message(magic: 0 | 1, offset: number, value: Buffer, codec = 0): Buffer {
  const timestamp = Buffer.alloc(magic === 1 ? 8 : 0);
  if (magic === 1) timestamp.writeBigInt64BE(BigInt(at));
  const valueLength = Buffer.alloc(4);
  valueLength.writeInt32BE(value.length);
  const body = Buffer.concat([
    Buffer.from([0, 0, 0, 0, magic, codec]),
    timestamp,
    Buffer.from([255, 255, 255, 255]),
    valueLength,
    value,
  ]);
  const head = Buffer.alloc(12);
  head.writeBigInt64BE(BigInt(offset), 0);
  head.writeInt32BE(body.length, 8);
  return Buffer.concat([head, body]);
}

test('messages of the old formats are read, compressed ones too, and with batches behind them', async (t) => {
  for (const codec of [1, 2, 3, 4]) {
    const inner = Buffer.concat([message(1, 0, Buffer.from('b')), message(1, 1, Buffer.from('c'))]);
    const set = Buffer.concat([
      message(0, 10, Buffer.from('a')),
      message(1, 12, compressors[codec]!(inner), codec),
      message(1, 13, Buffer.from('not compressed at all'), codec),
      batch(14, ['d']),
      batch(15, ['e']).subarray(0, 65),
    ]);
    const records = await decode(set);
    t.deepEqual(
      records.map(({ offset }) => offset),
      [10, 11, 12, 13, 14],
    );
    t.deepEqual(
      records.filter((_, i) => i !== 3).map(({ value }) => String(value)),
      ['a', 'b', 'c', 'd'],
    );
    t.is(records[1]!.timestampMs, at);
    t.truthy(whyUnreadable(records[3]!));
    t.deepEqual({ ...records[0]!.headers }, {});
  }
});

test('records of aborted transactions are hidden wherever the fetch begins and however the list is ordered', async (t) => {
  const inTransaction = 0x10;
  const by = (producerId: bigint, offset: number, value: string, attributes = inTransaction) => {
    const wire = batch(offset, [value], 0, attributes);
    stampBatch(wire, { ...identity, producerId });
    return wire;
  };
  const abort = (producerId: bigint, offset: number) => by(producerId, offset, 'marker', 0x30);
  // Producers 1 and 2 began at 0 and 1 and aborted; the fetch begins at 2. 2 goes on with one that commits.
  const log = [
    by(1n, 2, 'no'),
    by(2n, 3, 'no'),
    by(3n, 4, 'yes'),
    abort(2n, 5),
    by(2n, 6, 'yes'),
    by(1n, 7, 'no'),
    abort(1n, 8),
    by(1n, 9, 'yes', 0),
  ];
  const records = await decode(Buffer.concat(log));
  hideAborted(records, [
    { producerId: '2', firstOffset: '1' },
    { producerId: '1', firstOffset: '0' },
  ]);
  t.deepEqual(places(records.filter(({ isControlRecord }) => !isControlRecord)), [
    [4, 'yes'],
    [6, 'yes'],
    [9, 'yes'],
  ]);
});
