/**
 * Decodes the records of a fetch. kafkajs makes a decoder object per record and per header and copies the headers
 * object once per header: 5 µs of a record with the usual six headers. Here a record is an object over the fetched
 * bytes, and its headers are read when somebody asks for them.
 * Format: https://kafka.apache.org/documentation/#recordbatch
 */
import { createRequire } from 'node:module';
import type { IncomingRecord } from './kafka.ts';
import { decompressXerial } from './snappy.ts';

const require = createRequire(import.meta.url);
const codecOf = (
  require('kafkajs/src/protocol/message/compression/index.js') as {
    lookupCodecByAttributes(attributes: number): { decompress(bytes: Buffer): Promise<Buffer> } | null;
  }
).lookupCodecByAttributes;

const overheadBytes = 61;
const noHeaders: IncomingRecord['headers'] = Object.freeze({});

/** What kafkajs asks of a record's batch. */
export interface BatchContext {
  readonly producerId: string;
  readonly inTransaction: boolean;
  readonly firstOffset: string;
}

/** A record as the port hands it out; the consumer fills in where it comes from. */
export class FetchedRecord implements IncomingRecord {
  topic = '';
  partition = 0;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly isControlRecord: boolean;
  readonly batchContext: BatchContext;
  #bytes: Buffer | undefined;
  #at: number;
  #headers: IncomingRecord['headers'] | undefined;

  constructor(
    offset: number,
    timestampMs: number,
    key: Buffer | null,
    value: Buffer | null,
    isControlRecord: boolean,
    batchContext: BatchContext,
    bytes: Buffer,
    headersAt: number,
  ) {
    this.offset = offset;
    this.timestampMs = timestampMs;
    this.key = key;
    this.value = value;
    this.isControlRecord = isControlRecord;
    this.batchContext = batchContext;
    this.#at = headersAt;
    if (bytes[headersAt] === 0) this.#headers = noHeaders;
    else this.#bytes = bytes;
  }

  /** What kafkajs calls it. */
  get timestamp(): string {
    return String(this.timestampMs);
  }

  get headers(): IncomingRecord['headers'] {
    if (this.#headers === undefined) {
      this.#headers = readHeaders(this.#bytes!, this.#at);
      this.#bytes = undefined;
    }
    return this.#headers;
  }
}

/** All whole record batches of a record set, flattened. A batch that was cut off by the fetch limit is left out. */
export async function decodeRecordSet(set: Buffer): Promise<FetchedRecord[]> {
  const records: FetchedRecord[] = [];
  for (let at = 0; at + overheadBytes <= set.length; ) {
    const end = at + 12 + set.readInt32BE(at + 8);
    if (end > set.length) break;
    await decodeBatch(set, at, end, records);
    at = end;
  }
  return records;
}

async function decodeBatch(set: Buffer, at: number, end: number, into: FetchedRecord[]): Promise<void> {
  const attributes = set.readInt16BE(at + 21);
  const count = set.readInt32BE(at + 57);
  if (count <= 0) return;
  const firstOffset = Number(set.readBigInt64BE(at));
  const firstTimestampMs = Number(set.readBigInt64BE(at + 27));
  const maxTimestampMs = Number(set.readBigInt64BE(at + 35));
  const logAppendTime = (attributes & 0x08) !== 0;
  const isControl = (attributes & 0x20) !== 0;
  const context: BatchContext = {
    producerId: String(set.readBigInt64BE(at + 43)),
    inTransaction: (attributes & 0x10) !== 0,
    firstOffset: String(firstOffset),
  };
  let bytes = set.subarray(at + overheadBytes, end);
  const compression = attributes & 0x07;
  if (compression === 2) bytes = decompressXerial(bytes);
  else if (compression !== 0) bytes = await codecOf(attributes)!.decompress(bytes);

  let position = 0;
  for (let i = 0; i < count; i++) {
    const length = varint(bytes, position);
    position = next + length;
    let p = next + 1;
    const timestampDelta = varlong(bytes, p);
    p = next;
    const offsetDelta = varint(bytes, p);
    p = next;
    const keyLength = varint(bytes, p);
    p = next;
    const key = keyLength < 0 ? null : bytes.subarray(p, p + keyLength);
    p += Math.max(0, keyLength);
    const valueLength = varint(bytes, p);
    p = next;
    const value = valueLength < 0 ? null : bytes.subarray(p, p + valueLength);
    p += Math.max(0, valueLength);
    into.push(
      new FetchedRecord(
        firstOffset + offsetDelta,
        logAppendTime ? maxTimestampMs : firstTimestampMs + timestampDelta,
        key,
        value,
        isControl,
        context,
        bytes,
        p,
      ),
    );
  }
}

function readHeaders(bytes: Buffer, start: number): IncomingRecord['headers'] {
  const headers: Record<string, Buffer | null | (Buffer | null)[]> = {};
  let count = varint(bytes, start);
  for (let p = next; count > 0; count--) {
    const nameLength = varint(bytes, p);
    p = next;
    const name = headerName(bytes, p, nameLength);
    p += nameLength;
    const length = varint(bytes, p);
    p = next;
    const value = length < 0 ? null : bytes.subarray(p, p + length);
    p += Math.max(0, length);
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
    if (before === undefined) {
      if (name === '__proto__') Object.defineProperty(headers, name, { value, enumerable: true });
      else headers[name] = value;
    } else if (Array.isArray(before)) before.push(value);
    else headers[name] = [before, value];
  }
  return headers as IncomingRecord['headers'];
}

/** Header names are few: looked up by their bytes instead of being decoded each time. */
const names = new Map<number, { readonly bytes: Buffer; readonly name: string }>();

function headerName(bytes: Buffer, at: number, length: number): string {
  let hash = length;
  for (let i = at; i < at + length; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
  const known = names.get(hash);
  if (known !== undefined && known.bytes.length === length) {
    let i = 0;
    while (i < length && known.bytes[i] === bytes[at + i]) i++;
    if (i === length) return known.name;
  }
  const name = bytes.toString('utf8', at, at + length);
  if (known === undefined && names.size < 1_000) {
    names.set(hash, { bytes: Buffer.from(bytes.subarray(at, at + length)), name });
  }
  return name;
}

/** Where the last varint ended. */
let next = 0;

/** Zigzag varint of up to 32 bits. */
function varint(bytes: Buffer, at: number): number {
  let p = at;
  let byte = bytes[p++]!;
  let value = byte & 0x7f;
  for (let shift = 7; byte >= 0x80; shift += 7) {
    byte = bytes[p++]!;
    value |= (byte & 0x7f) << shift;
  }
  next = p;
  return (value >>> 1) ^ -(value & 1);
}

/** Zigzag varint beyond 32 bits, as a timestamp delta of years may be; exact up to 2^53. */
function varlong(bytes: Buffer, at: number): number {
  let p = at;
  let byte = bytes[p++]!;
  let value = byte & 0x7f;
  for (let scale = 0x80; byte >= 0x80; scale *= 0x80) {
    byte = bytes[p++]!;
    value += (byte & 0x7f) * scale;
  }
  next = p;
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
