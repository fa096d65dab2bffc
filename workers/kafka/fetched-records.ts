/**
 * Decodes the records of a fetch. kafkajs makes a decoder object per record and per header and copies the headers
 * object once per header: 5 µs of a record with the usual six headers. Here a record is an object over the fetched
 * bytes, and its headers are read when somebody asks for them.
 *
 * What cannot be read (a codec that nobody knows, damaged bytes, more than fits into a process) neither ends the consumer
 * nor gets lost: one record stands for it, whose value is the batch as it lies in the log and whose headers say why. Such
 * a value is no message of anybody, so it goes the way of all records that are not understood: to the dead letters.
 * Format: https://kafka.apache.org/documentation/#recordbatch
 */
import { createRequire } from 'node:module';
import { codecs } from './compression.ts';
import { crc32c } from './crc32c.ts';
import type { IncomingRecord } from './kafka.ts';
import { unreadableHeader } from './records.ts';

const require = createRequire(import.meta.url);

const overheadBytes = 61;
/** Base offset, length, and up to the magic byte: the same in all formats. */
const entryHeadBytes = 17;
/** A batch that unfolds to more is not read: it would take the memory of the whole process. */
export const maxBatchBytes = 32 * 1024 * 1024;
/** Of one fetch of a partition no further batch is unfolded beyond this; the next fetch begins there. */
const enoughBytes = 8 * 1024 * 1024;
/**
 * Uncompressed a topic takes 1,048,588, and dead letters have some headers more. What is larger, and came because it
 * compresses well, could not be passed on by us.
 */
const maxRecordBytes = 1_100_000;
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
  /** Not for consumers, as kafkajs calls it: a transaction's marker, or a record of a transaction that was aborted. */
  isControlRecord: boolean;
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

  set headers(headers: IncomingRecord['headers']) {
    this.#headers = headers;
  }

  get headers(): IncomingRecord['headers'] {
    if (this.#headers === undefined) {
      this.#headers = readHeaders(this.#bytes!, this.#at);
      this.#bytes = undefined;
    }
    return this.#headers;
  }
}

/** What the records of one batch have in common. */
interface BatchHead {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly firstTimestampMs: number;
  readonly maxTimestampMs: number;
  readonly logAppendTime: boolean;
  readonly isControl: boolean;
  readonly context: BatchContext;
}

/**
 * The records of a record set, batch after batch. Left out is a last batch that the fetch limit has cut off, and what is
 * to be fetched once more. Never rejects.
 */
export async function decodeRecordSet(set: Buffer): Promise<FetchedRecord[]> {
  const records: FetchedRecord[] = [];
  let unfolded = 0;
  for (let at = 0; at + entryHeadBytes <= set.length && unfolded <= enoughBytes; ) {
    const end = at + 12 + set.readInt32BE(at + 8);
    if (end < at + entryHeadBytes || end > set.length) break;
    const entry = set.subarray(at, end);
    const before = records.length;
    try {
      unfolded += await decodeEntry(entry, records);
    } catch (error) {
      records.length = before;
      if (error === wrongCrc && isFirstTime(entry)) break;
      records.push(standIn(entry, headOf(entry), (error as Error).message));
    }
    at = end;
  }
  return records;
}

/**
 * Decodes one whole batch, or one message of the formats before it; returns the bytes it takes in memory. Throws, and may
 * have added some records, when it cannot be read.
 */
export async function decodeEntry(entry: Buffer, into: FetchedRecord[]): Promise<number> {
  const magic = entry[16]!;
  if (magic < 2) return decodeOldMessage(entry, into);
  if (magic > 2) throw new Error(`its format is ${magic}, which is newer than this reader`);
  return decodeBatch(entry, into);
}

function decodeBatch(batch: Buffer, into: FetchedRecord[]): number {
  if (batch.length < overheadBytes) throw new Error('it is shorter than its head');
  if (crc32c(batch, 21) !== batch.readUInt32BE(17)) throw wrongCrc;
  const count = batch.readInt32BE(57);
  if (count <= 0) return 0;
  const head = headOf(batch);
  const bytes = unfold(batch.subarray(overheadBytes), batch.readInt16BE(21));
  let position = 0;
  for (let i = 0; i < count; i++) {
    const length = varint(bytes, position);
    const from = next;
    position = from + length;
    if (length <= 0 || position > bytes.length) throw new Error('a length or an offset in it is wrong');
    if (length > maxRecordBytes) {
      const why = `a record has ${length} bytes, more than ${maxRecordBytes}`;
      varlong(bytes, from + 1);
      into.push(standIn(batch, { ...head, lastOffset: head.firstOffset + varint(bytes, next) }, why));
    } else {
      into.push(decodeRecord(bytes, from, position, head));
    }
  }
  return bytes.length;
}

function decodeRecord(bytes: Buffer, from: number, end: number, head: BatchHead): FetchedRecord {
  let p = from + 1;
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
  const offset = head.firstOffset + offsetDelta;
  if (p >= end || offsetDelta < 0 || offset > head.lastOffset) {
    throw new Error('a length or an offset in it is wrong');
  }
  return new FetchedRecord(
    offset,
    head.logAppendTime ? head.maxTimestampMs : head.firstTimestampMs + timestampDelta,
    key,
    value,
    head.isControl,
    head.context,
    bytes,
    p,
  );
}

function unfold(bytes: Buffer, attributes: number): Buffer {
  const id = attributes & 0x07;
  if (id === 0) return bytes;
  const codec = codecs.get(id);
  if (codec === undefined)
    throw new Error(`it is compressed with codec ${id}, which the protocol does not have`);
  try {
    return codec.decompress(bytes, maxBatchBytes);
  } catch {
    // What a decompressor says is left out: nobody knows what it quotes.
    throw new Error(`its ${codec.name} is damaged, or more than ${maxBatchBytes} bytes`);
  }
}

function headOf(entry: Buffer): BatchHead {
  const firstOffset = Number(entry.readBigInt64BE(0));
  if (entry[16]! < 2 || entry.length < overheadBytes) return oldHeadOf(entry, firstOffset);
  const attributes = entry.readInt16BE(21);
  return {
    firstOffset,
    // The broker steps by the same number, be it right or wrong: what lies behind it in its eyes comes next.
    lastOffset: firstOffset + Math.max(0, entry.readInt32BE(23)),
    firstTimestampMs: Number(entry.readBigInt64BE(27)),
    maxTimestampMs: Number(entry.readBigInt64BE(35)),
    logAppendTime: (attributes & 0x08) !== 0,
    isControl: (attributes & 0x20) !== 0,
    context: {
      producerId: String(entry.readBigInt64BE(43)),
      inTransaction: (attributes & 0x10) !== 0,
      firstOffset: String(firstOffset),
    },
  };
}

/** One record for all that cannot be read. Its offset is the last of them, so that reading goes on behind it. */
function standIn(entry: Buffer, head: BatchHead, why: string): FetchedRecord {
  const { firstOffset, lastOffset, maxTimestampMs, isControl, context } = head;
  const record = new FetchedRecord(lastOffset, maxTimestampMs, null, entry, isControl, context, noRecord, 0);
  record.headers = { [unreadableHeader]: `the batch at offset ${firstOffset} cannot be read: ${why}` };
  return record;
}

const noRecord = Buffer.from([0]);

const wrongCrc = new Error('its CRC is wrong');
/** Batches whose CRC was wrong when they came first. */
const wrongOnce = new Set<string>();

/** Bytes may go wrong on the way. When they come with the same fault again, they lie so on the disk. */
function isFirstTime(batch: Buffer): boolean {
  const key = `${batch.readBigInt64BE(0)} ${batch.readUInt32BE(17)} ${crc32c(batch, 21)}`;
  if (wrongOnce.delete(key)) return false;
  if (wrongOnce.size >= 1_000) wrongOnce.clear();
  wrongOnce.add(key);
  return true;
}

/**
 * Takes the records of aborted transactions out of what consumers see. kafkajs' own filter takes the list in the order in
 * which it comes, which is that of the ends, and one transaction a record: where a fetch begins inside of two, records of
 * the second get through.
 */
export function hideAborted(
  records: readonly FetchedRecord[],
  transactions: readonly { readonly producerId: string; readonly firstOffset: string }[],
): void {
  const beginning = transactions
    .map(({ producerId, firstOffset }) => ({ producerId, firstOffset: Number(firstOffset) }))
    .sort((a, b) => a.firstOffset - b.firstOffset);
  const aborted = new Set<string>();
  for (const record of records) {
    while (beginning.length > 0 && beginning[0]!.firstOffset <= record.offset) {
      aborted.add(beginning.shift()!.producerId);
    }
    const { producerId, inTransaction } = record.batchContext;
    // An abort's marker or a commit's: with either the producer's transaction is over.
    if (record.isControlRecord) aborted.delete(producerId);
    else if (inTransaction && aborted.has(producerId)) record.isControlRecord = true;
  }
}

// ---- the formats before batches (magic 0 and 1), which old logs may still hold

interface OldMessage {
  readonly offset: string;
  readonly timestamp?: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}
const decodeMessageSet = require('kafkajs/src/protocol/messageSet/decoder.js') as (
  decoder: unknown,
  size: number,
) => Promise<readonly OldMessage[]>;
const Decoder = require('kafkajs/src/protocol/decoder.js') as new (bytes: Buffer) => unknown;

/** A message, which may be a compressed set of messages. kafkajs' own decoder reads these. */
async function decodeOldMessage(entry: Buffer, into: FetchedRecord[]): Promise<number> {
  const { context } = headOf(entry);
  const messages = await decodeMessageSet(new Decoder(entry), entry.length);
  if (messages.length === 0) throw new Error('it is cut off');
  let size = 0;
  for (const { offset, timestamp, key, value } of messages) {
    into.push(
      new FetchedRecord(Number(offset), Number(timestamp ?? -1), key, value, false, context, noRecord, 0),
    );
    size += value?.length ?? 0;
  }
  return size;
}

function oldHeadOf(entry: Buffer, offset: number): BatchHead {
  const timestampMs = entry[16] === 1 && entry.length >= 26 ? Number(entry.readBigInt64BE(18)) : -1;
  return {
    firstOffset: offset,
    lastOffset: offset,
    firstTimestampMs: timestampMs,
    maxTimestampMs: timestampMs,
    logAppendTime: false,
    isControl: false,
    context: { producerId: '-1', inTransaction: false, firstOffset: String(offset) },
  };
}

// ---- headers

function readHeaders(bytes: Buffer, start: number): IncomingRecord['headers'] {
  const headers: Record<string, Buffer | null | (Buffer | null)[]> = {};
  let count = varint(bytes, start);
  for (let p = next; count > 0 && p < bytes.length; count--) {
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
