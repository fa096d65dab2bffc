/**
 * Kafka's RecordBatch (magic 2), written straight into one buffer as records arrive. kafkajs builds a growing encoder
 * per record, header and batch and copies each several times; that was most of the producer's time.
 * Format: https://kafka.apache.org/documentation/#recordbatch
 */
import { crc32c } from './crc32c.ts';
import type { Bytes, HeaderValue, RawHeaders } from './kafka.ts';
import { compressXerial } from './snappy.ts';

/** Bytes before the first record. */
const headerBytes = 61;
/** The CRC covers everything from the attributes on. */
const attributesAt = 21;
const snappyAttribute = 2;
/** Below this the frame and the call cost more than snappy saves. */
const compressFromBytes = 512;

/** Records of one partition, not yet sealed. */
export interface OpenBatch {
  bytes: Buffer;
  length: number;
  count: number;
  readonly firstTimestampMs: number;
  lastTimestampMs: number;
}

/** A producer's identity and the batch's place in its sequence, by which the broker drops what it has already. */
export interface BatchIdentity {
  readonly producerId: bigint;
  readonly epoch: number;
  readonly sequence: number;
}

export function openBatch(nowMs: number): OpenBatch {
  return {
    bytes: Buffer.allocUnsafe(4096),
    length: headerBytes,
    count: 0,
    firstTimestampMs: nowMs,
    lastTimestampMs: nowMs,
  };
}

/** An upper bound of what a record takes in a batch. */
export function recordSizeBound(
  key: Bytes | string | null,
  value: Bytes | string | null,
  headers: RawHeaders | undefined,
): number {
  let size = 32 + lengthOf(key) + lengthOf(value);
  if (headers !== undefined) {
    for (const name in headers) {
      const value = headers[name]!;
      for (const one of isList(value) ? value : [value]) size += 10 + 3 * name.length + lengthOf(one);
    }
  }
  return size;
}

/** Appends a record; returns the bytes it took. `traceparent` is written as one more header when given. */
export function appendRecord(
  batch: OpenBatch,
  nowMs: number,
  key: Bytes | string | null,
  value: Bytes | string | null,
  headers: RawHeaders | undefined,
  traceparent?: string,
): number {
  const start = batch.length;
  const timestampMs = Math.max(nowMs, batch.firstTimestampMs);
  if (timestampMs > batch.lastTimestampMs) batch.lastTimestampMs = timestampMs;
  const timestampDelta = timestampMs - batch.firstTimestampMs;
  const keyLength = key === null ? -1 : lengthOf(key);
  const valueLength = value === null ? -1 : lengthOf(value);

  let headerCount = 0;
  let size =
    1 +
    varintSize(timestampDelta) +
    varintSize(batch.count) +
    varintSize(keyLength) +
    varintSize(valueLength) +
    Math.max(keyLength, 0) +
    Math.max(valueLength, 0);
  if (headers !== undefined) {
    for (const name in headers) {
      const value = headers[name]!;
      if (isList(value)) {
        for (const one of value) size += headerSize(name, one);
        headerCount += value.length;
      } else {
        size += headerSize(name, value);
        headerCount++;
      }
    }
  }
  if (traceparent !== undefined) {
    size += headerName('traceparent').length + varintSize(traceparent.length) + traceparent.length;
    headerCount++;
  }
  size += varintSize(headerCount);

  ensure(batch, size + 5);
  const { bytes } = batch;
  let at = writeVarint(bytes, start, size);
  bytes[at++] = 0;
  at = writeVarint(bytes, at, timestampDelta);
  at = writeVarint(bytes, at, batch.count);
  at = writeVarint(bytes, at, keyLength);
  if (key !== null) at = writeBytes(bytes, at, key, keyLength);
  at = writeVarint(bytes, at, valueLength);
  if (value !== null) at = writeBytes(bytes, at, value, valueLength);
  at = writeVarint(bytes, at, headerCount);
  if (headers !== undefined) {
    for (const name in headers) {
      const value = headers[name]!;
      if (isList(value)) for (const one of value) at = writeHeader(bytes, at, name, one);
      else at = writeHeader(bytes, at, name, value);
    }
  }
  if (traceparent !== undefined) {
    at = writeBytes(bytes, at, headerName('traceparent'), 0);
    at = writeVarint(bytes, at, traceparent.length);
    at = writeBytes(bytes, at, traceparent, traceparent.length);
  }
  batch.length = at;
  batch.count++;
  return at - start;
}

/** Compresses (when it helps) and fills the header in, all but the identity. The batch takes no more records. */
export function sealBatch(batch: OpenBatch): Buffer {
  const raw = batch.bytes.subarray(headerBytes, batch.length);
  let wire = batch.bytes.subarray(0, batch.length);
  let attributes = 0;
  if (raw.length >= compressFromBytes) {
    const compressed = compressXerial(raw);
    if (compressed.length < raw.length) {
      wire = Buffer.allocUnsafe(headerBytes + compressed.length);
      compressed.copy(wire, headerBytes);
      attributes = snappyAttribute;
    }
  }
  wire.writeBigInt64BE(0n, 0);
  wire.writeInt32BE(wire.length - 12, 8);
  wire.writeInt32BE(-1, 12);
  wire[16] = 2;
  wire.writeInt16BE(attributes, attributesAt);
  wire.writeInt32BE(batch.count - 1, 23);
  wire.writeBigInt64BE(BigInt(batch.firstTimestampMs), 27);
  wire.writeBigInt64BE(BigInt(batch.lastTimestampMs), 35);
  wire.writeInt32BE(batch.count, 57);
  return wire;
}

/** Writes the identity into a sealed batch, and the CRC that covers it. May be called again with another identity. */
export function stampBatch(wire: Buffer, { producerId, epoch, sequence }: BatchIdentity): void {
  wire.writeBigInt64BE(producerId, 43);
  wire.writeInt16BE(epoch, 51);
  wire.writeInt32BE(sequence, 53);
  wire.writeUInt32BE(crc32c(wire, attributesAt), 17);
}

function ensure(batch: OpenBatch, more: number): void {
  if (batch.length + more <= batch.bytes.length) return;
  const bigger = Buffer.allocUnsafe(Math.max(batch.bytes.length * 2, batch.length + more));
  batch.bytes.copy(bigger, 0, 0, batch.length);
  batch.bytes = bigger;
}

function lengthOf(text: Bytes | string | null): number {
  if (text === null) return 0;
  return typeof text === 'string' ? Buffer.byteLength(text) : text.length;
}

function isList(value: HeaderValue | readonly HeaderValue[]): value is readonly HeaderValue[] {
  return Array.isArray(value);
}

function headerSize(name: string, value: HeaderValue): number {
  const length = lengthOf(value);
  return headerName(name).length + varintSize(value === null ? -1 : length) + length;
}

function writeHeader(target: Buffer, start: number, name: string, value: HeaderValue): number {
  const at = writeBytes(target, start, headerName(name), 0);
  if (value === null) return writeVarint(target, at, -1);
  const length = lengthOf(value);
  return writeBytes(target, writeVarint(target, at, length), value, length);
}

/** Header names are few and come again and again: kept as bytes with their length in front. */
const headerNames = new Map<string, Buffer>();

function headerName(name: string): Buffer {
  const known = headerNames.get(name);
  if (known !== undefined) return known;
  const text = Buffer.from(name);
  const bytes = Buffer.allocUnsafe(varintSize(text.length) + text.length);
  text.copy(bytes, writeVarint(bytes, 0, text.length));
  // A name made up per record must not grow this without end.
  if (headerNames.size < 1_000) headerNames.set(name, bytes);
  return bytes;
}

function writeBytes(target: Buffer, at: number, text: Bytes | string, length: number): number {
  if (typeof text !== 'string') {
    if (text.length < 24) {
      for (let i = 0; i < text.length; i++) target[at + i] = text[i]!;
    } else {
      target.set(text, at);
    }
    return at + text.length;
  }
  if (length === text.length && length < 24) {
    // As many bytes as UTF-16 units means ASCII: cheaper here than a call into the runtime.
    for (let i = 0; i < length; i++) target[at + i] = text.charCodeAt(i);
    return at + length;
  }
  return at + target.write(text, at, length, length === text.length ? 'latin1' : 'utf8');
}

/** Zigzag varints as in protocol buffers, for 32-bit values. */
function varintSize(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  if (zigzag < 0x80) return 1;
  if (zigzag < 0x4000) return 2;
  if (zigzag < 0x200000) return 3;
  return zigzag < 0x10000000 ? 4 : 5;
}

function writeVarint(target: Buffer, at: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  let position = at;
  while (zigzag >= 0x80) {
    target[position++] = (zigzag & 0x7f) | 0x80;
    zigzag >>>= 7;
  }
  target[position++] = zigzag;
  return position;
}
