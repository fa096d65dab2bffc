/** Records on their way into batches: which partition they belong to, and how much memory may wait there. */
import { partitionFor, type RawRecord } from './kafka.ts';
import { type PendingSend, withDeadline } from './pending-sends.ts';
import type { ProducerIdentity } from './producer-identity.ts';
import {
  appendRecord,
  type BatchIdentity,
  type OpenBatch,
  openBatch,
  recordSizeBound,
} from './record-batch.ts';

/** A header with the trace, and what a batch has around its records. */
const besideRecordBytes = 80;

export interface QueuedBatch {
  readonly records: OpenBatch;
  /** As it goes over the wire; once it is there the batch takes no more records. */
  sealed: Buffer | undefined;
  identity: BatchIdentity | undefined;
  /** Whose records it holds, and how many of each. */
  readonly waiting: { readonly send: PendingSend; count: number }[];
  readonly queuedAtMs: number;
  reservedBytes: number;
  attempts: number;
}

export interface Partition {
  readonly topic: string;
  readonly id: number;
  /** Broker id; below 0 while there is none. */
  leader: number;
  readonly queue: QueuedBatch[];
  inFlight: boolean;
  retryAtMs: number;
  producer: ProducerIdentity | undefined;
  nextSequence: number;
}

export interface TopicPartitions {
  readonly partitions: Partition[];
  /** Where records without a key go; moves on when a batch closes, so that batches stay large. */
  sticky: number;
}

export function choosePartition(topic: TopicPartitions, record: RawRecord): Partition {
  if (record.partition !== undefined) return topic.partitions[record.partition]!;
  if (record.key === null) return topic.partitions[topic.sticky % topic.partitions.length]!;
  const key = typeof record.key === 'string' ? Buffer.from(record.key) : record.key;
  return topic.partitions[partitionFor(key, topic.partitions.length)]!;
}

/** Appends a record to the last batch of its partition, or to a new one: then the answer is true. `bytes` are reserved. */
export function append(
  topic: TopicPartitions,
  partition: Partition,
  record: RawRecord,
  send: PendingSend,
  nowMs: number,
  bytes: number,
  traceparent: string | undefined,
  batchBytes: number,
): boolean {
  let batch = partition.queue.at(-1);
  const bound = recordSizeBound(record.key, record.value, record.headers) + besideRecordBytes;
  const isOpen = batch !== undefined && batch.sealed === undefined;
  const fits = isOpen && batch!.records.length + bound <= Math.max(batchBytes, bound);
  if (!fits) {
    if (isOpen) topic.sticky++;
    batch = newBatch(nowMs);
    partition.queue.push(batch);
  }
  appendRecord(batch!.records, nowMs, record.key, record.value, record.headers, traceparent);
  batch!.reservedBytes += bytes;
  const last = batch!.waiting.at(-1);
  if (last?.send === send) last.count++;
  else batch!.waiting.push({ send, count: 1 });
  return !fits;
}

function newBatch(nowMs: number): QueuedBatch {
  return {
    records: openBatch(nowMs),
    sealed: undefined,
    identity: undefined,
    waiting: [],
    queuedAtMs: nowMs,
    reservedBytes: 0,
    attempts: 0,
  };
}

export function bytesOf(batch: QueuedBatch): number {
  return batch.sealed?.length ?? batch.records.length;
}

/** Memory for records that are not acked yet. */
export interface BufferRoom {
  /** Takes bytes, or waits in turn until they are free; undefined: they are taken. */
  take(bytes: number, deadlineAt: number): Promise<void> | undefined;
  release(bytes: number): void;
  /** Lets all in that wait. */
  open(): void;
}

export function bufferRoom(bufferBytes: number): BufferRoom {
  const waiting: { readonly bytes: number; readonly admit: () => void }[] = [];
  let held = 0;
  const isFull = (bytes: number) => held > 0 && held + bytes > bufferBytes;
  return {
    take(bytes, deadlineAt) {
      if (waiting.length === 0 && !isFull(bytes)) {
        held += bytes;
        return undefined;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      const entry = {
        bytes,
        admit: () => {
          held += bytes;
          resolve();
        },
      };
      waiting.push(entry);
      return withDeadline(promise, deadlineAt, () => {
        const index = waiting.indexOf(entry);
        if (index >= 0) waiting.splice(index, 1);
      });
    },
    release(bytes) {
      held = Math.max(0, held - bytes);
      while (waiting.length > 0 && !isFull(waiting[0]!.bytes)) waiting.shift()!.admit();
    },
    open() {
      for (const { admit } of waiting.splice(0)) admit();
    },
  };
}
