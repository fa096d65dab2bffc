import { createRequire } from 'node:module';
import test from 'ava';
import fc from 'fast-check';
import { crc32c } from './crc32c.ts';
import { decodeRecordSet } from './fetched-records.ts';
import { murmur2 } from './kafka.ts';
import './kafkajs.ts';
import { appendRecord, openBatch, recordSizeBound, sealBatch, stampBatch } from './record-batch.ts';
import { compressXerial, decompressXerial } from './snappy.ts';

const require = createRequire(import.meta.url);
const Decoder = require('kafkajs/src/protocol/decoder.js');
const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder.js');
const kafkajsCrc = require('kafkajs/src/protocol/recordBatch/crc32C/index.js');
const kafkajsMurmur2 = require('kafkajs/src/producer/partitioners/default/murmur2.js');

interface Decoded {
  readonly records: readonly {
    readonly offset: string;
    readonly timestamp: string;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers: Record<string, unknown>;
  }[];
  readonly producerId: string;
  readonly producerEpoch: number;
  readonly firstSequence: number;
  readonly lastOffsetDelta: number;
}

const content = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ maxLength: 3_000, minLength: 900 }),
);
const record = fc.record({
  key: fc.option(content),
  value: fc.option(content),
  laterMs: fc.integer({ min: 0, max: 100_000 }),
  headers: fc.option(
    fc.dictionary(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter((name) => !(name in {})),
      content,
      { maxKeys: 5 },
    ),
    { nil: undefined },
  ),
});
const bytesOf = (text: Buffer | string | null) => (text === null ? null : Buffer.from(text as string));

test('what we encode, kafkajs decodes to the same records', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 40 }), async (records) => {
      const batch = openBatch(1_700_000_000_000);
      let at = 1_700_000_000_000;
      for (const { key, value, headers, laterMs } of records) {
        at += laterMs;
        const taken = appendRecord(batch, at, key, value, headers);
        if (taken > recordSizeBound(key, value, headers)) throw new Error('the bound is too small');
      }
      const wire = sealBatch(batch);
      stampBatch(wire, { producerId: 1n, epoch: 1, sequence: 1 });
      // A second identity replaces the first one without a trace.
      stampBatch(wire, { producerId: 123_456_789_012n, epoch: 7, sequence: 2 ** 31 - 1 });
      const decoded = (await decodeBatch(new Decoder(wire))) as Decoded;
      // Twice the same batch, and one that is cut off, as a fetch may bring them.
      const ours = await decodeRecordSet(Buffer.concat([wire, wire, wire.subarray(0, wire.length - 1)]));
      t.is(ours.length, 2 * records.length);
      ours.slice(0, records.length).forEach((got, i) => {
        const theirs = decoded.records[i]!;
        t.is(String(got.offset), theirs.offset);
        t.is(String(got.timestampMs), theirs.timestamp);
        t.deepEqual(got.key, theirs.key);
        t.deepEqual(got.value, theirs.value);
        t.deepEqual({ ...got.headers }, { ...theirs.headers } as typeof got.headers);
      });
      t.is(decoded.producerId, '123456789012');
      t.is(decoded.producerEpoch, 7);
      t.is(decoded.firstSequence, 2 ** 31 - 1);
      t.is(decoded.lastOffsetDelta, records.length - 1);
      t.is(wire.readUInt32BE(17), kafkajsCrc(wire.subarray(21)));
      t.is(decoded.records.length, records.length);
      let time = 1_700_000_000_000;
      records.forEach((sent, i) => {
        const got = decoded.records[i]!;
        time += sent.laterMs;
        t.is(got.offset, String(i));
        t.is(got.timestamp, String(time));
        t.deepEqual(got.key, bytesOf(sent.key));
        t.deepEqual(got.value, bytesOf(sent.value));
        const headers = Object.entries(sent.headers ?? {}).map(([name, value]) => [name, bytesOf(value)]);
        t.deepEqual(got.headers, Object.fromEntries(headers));
      });
    }),
    { numRuns: 60 },
  );
});

test('what repeats itself is sent compressed, says so, and is read again', async (t) => {
  const batch = openBatch(5);
  const value = 'the same again; '.repeat(500);
  appendRecord(batch, 5, 'k', value, {});
  const wire = stamped(sealBatch(batch));
  t.true(wire.length < value.length / 2);
  t.is(wire.readInt16BE(21) & 7, 2, 'snappy');
  const [record, ...more] = await decodeRecordSet(wire);
  t.is(String(record!.value), value);
  t.deepEqual(more, []);
});

test('a trace context is added as a header, and a name may have several values and null', async (t) => {
  const batch = openBatch(5);
  appendRecord(batch, 5, 'k', 'v', { a: ['1', Buffer.from('2')], b: null }, '00-aa-bb-01');
  const decoded = (await decodeBatch(new Decoder(stamped(sealBatch(batch))))) as Decoded;
  t.deepEqual(decoded.records[0]!.headers, {
    a: [Buffer.from('1'), Buffer.from('2')],
    b: null,
    traceparent: Buffer.from('00-aa-bb-01'),
  });
});

test('CRC-32C is the Castagnoli one at any length and offset', (t) => {
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(20), (bytes, from) => {
      const start = Math.min(from, bytes.length);
      return crc32c(bytes, start) === kafkajsCrc(Buffer.from(bytes.subarray(start)));
    }),
  );
});

test('murmur2 puts keys where kafkajs and Kafka put them', (t) => {
  // From Kafka's own UtilsTest.
  t.is(murmur2(Buffer.from('21')), -973932308);
  t.is(murmur2(Buffer.from('foobar')), -790332482);
  t.is(murmur2(Buffer.from('a-little-bit-long-string')), -985981536);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 100 }),
      (bytes) => murmur2(Buffer.from(bytes)) === kafkajsMurmur2(Buffer.from(bytes)),
    ),
  );
});

test('snappy reads what it writes, several blocks, and raw snappy as other clients send it', (t) => {
  const limit = 10_000;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5_000 }), (bytes) =>
      decompressXerial(compressXerial(Buffer.from(bytes)), limit).equals(Buffer.from(bytes)),
    ),
  );
  const one = compressXerial(Buffer.from('one'));
  const two = compressXerial(Buffer.from('two'));
  t.is(decompressXerial(Buffer.concat([one, two.subarray(16)]), limit).toString(), 'onetwo');
  t.is(decompressXerial(one.subarray(20), limit).toString(), 'one');
  t.throws(() => decompressXerial(Buffer.from('not snappy at all'), limit));
});

function stamped(wire: Buffer): Buffer {
  stampBatch(wire, { producerId: 1n, epoch: 0, sequence: 0 });
  return wire;
}
