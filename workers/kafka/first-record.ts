/** The first record at an offset, for monitors that read of a log no more than they must. */
import { decodeEntry, type FetchedRecord } from './fetched-records.ts';
import type { FirstRecord } from './kafka.ts';

const batchHeaderBytes = 61;

/**
 * The first record at or after `from` in a record set, looking into no more batches than it takes. Undefined when not
 * even one whole batch is there. Format: https://kafka.apache.org/documentation/#recordbatch
 */
export async function firstIn(
  set: Buffer,
  from: number,
): Promise<Pick<FirstRecord, 'nextOffset' | 'record'> | undefined> {
  let nextOffset: number | undefined;
  for (let at = 0; at + batchHeaderBytes <= set.length; ) {
    const end = at + 12 + set.readInt32BE(at + 8);
    if (end > set.length || set[at + 16] !== 2) break;
    const firstOffset = Number(set.readBigInt64BE(at));
    const lastOffset = firstOffset + set.readInt32BE(at + 23);
    const attributes = set.readInt16BE(at + 21);
    const control = (attributes & 0x20) !== 0;
    if (lastOffset >= from && !control) {
      const record = await firstInBatch(set.subarray(at, end), firstOffset, lastOffset, from);
      if (record !== undefined) return { nextOffset: record.offset, record };
    }
    nextOffset = Math.max(from, lastOffset + 1);
    at = end;
  }
  return nextOffset === undefined ? undefined : { nextOffset, record: undefined };
}

async function firstInBatch(batch: Buffer, firstOffset: number, lastOffset: number, from: number) {
  if (batch.readInt32BE(57) <= 0) return undefined;
  try {
    const records: FetchedRecord[] = [];
    await decodeEntry(batch, records);
    const record = records.find(({ offset }) => offset >= from);
    return record && { offset: record.offset, timestampMs: record.timestampMs };
  } catch {
    // It cannot be read, and is still to be handled by somebody: the header knows the times of its first and last record.
    const first = Number(batch.readBigInt64BE(27));
    const last = Number(batch.readBigInt64BE(35));
    const share = lastOffset > firstOffset ? Math.max(0, from - firstOffset) / (lastOffset - firstOffset) : 0;
    const appendTime = (batch.readInt16BE(21) & 0x08) !== 0;
    return {
      offset: Math.max(from, firstOffset),
      timestampMs: appendTime ? last : Math.round(first + (last - first) * share),
    };
  }
}
