/**
 * Reads topics as a view: every instance reads all partitions, from a point in time on, and commits nothing. After a restart
 * it reads the same stretch again, so that its state needs no store.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setImmediate as nextTurnOfLoop } from 'node:timers/promises';
import type { IncomingRecord, Kafka, TopicPartition } from '../kafka/kafka.ts';

export interface View {
  /** Everything that was there when it began has been read. */
  caughtUp(): boolean;
  stop(): Promise<void>;
}

export interface ViewOptions {
  readonly kafka: Kafka;
  /** Names the group, together with host and a random part: a group of its own for each instance. */
  readonly name: string;
  readonly topics: readonly string[];
  /** Begins with the records appended at or after this time, UTC ms. */
  readonly sinceMs: number;
  /** How long a record may wait for others to be read with it. */
  readonly gatherMs?: number;
  /** Must not throw for the content of a record. */
  onRecord(record: IncomingRecord): void;
  /** Called after each batch. */
  onBatchEnd?(): void;
  onFatal(error: Error): void;
}

/**
 * A view begins with minutes of records, seconds of work, in a process that also answers requests: they go first. Records
 * are taken for `sliceMs`, then again when a turn of the loop had nothing else to do, at the latest after `waitMs`.
 */
const sliceMs = 5;
const idleTurnMs = 0.5;
const waitMs = 50;

const keyOf = ({ topic, partition }: TopicPartition) => `${topic}/${partition}`;

/** Resolves when the consumer has its first assignment and its start offsets. */
export async function openView(options: ViewOptions): Promise<View> {
  const { kafka } = options;
  const positions = new Map<string, number>();
  /** End offsets at the first assignment. */
  const targets = new Map<string, number>();
  let begun = () => {};
  let failed = (_error: Error) => {};
  const first = new Promise<void>((resolve, reject) => {
    begun = resolve;
    failed = reject;
  });
  first.catch(() => {});

  // One slice for all partitions: they are handed over side by side.
  let sliceEndsAt = 0;
  let turn: Promise<void> | undefined;
  const othersFirst = async () => {
    const untilMs = performance.now() + waitMs;
    for (let idle = false; !idle && performance.now() < untilMs; ) {
      const atMs = performance.now();
      await nextTurnOfLoop();
      idle = performance.now() - atMs < idleTurnMs;
    }
    turn = undefined;
    sliceEndsAt = performance.now() + sliceMs;
  };
  const nextSlice = () => {
    turn ??= othersFirst();
    return turn;
  };

  const consumer = await kafka.consumePartitions({
    groupId: `${options.name}-view-${hostname()}-${randomUUID().slice(0, 8)}`,
    topics: options.topics,
    ...(options.gatherMs === undefined ? {} : { gatherMs: options.gatherMs }),
    async onAssigned(assignment) {
      const fresh = new Set(assignment.filter((at) => !positions.has(keyOf(at))).map(({ topic }) => topic));
      for (const topic of fresh) {
        const starts = await kafka.admin.offsetsAt(topic, options.sinceMs);
        const ends = new Map(
          (await kafka.admin.offsets(topic)).map(({ partition, high }) => [partition, high]),
        );
        for (const at of assignment) {
          if (at.topic !== topic || positions.has(keyOf(at))) continue;
          const end = ends.get(at.partition) ?? 0;
          positions.set(keyOf(at), starts.get(at.partition) ?? end);
          targets.set(keyOf(at), end);
        }
      }
      if (assignment.length > 0) begun();
      return assignment.map((at) => ({
        topic: at.topic,
        partition: at.partition,
        offset: positions.get(keyOf(at)) ?? 0,
      }));
    },
    async onBatch(batch) {
      const key = keyOf(batch);
      const position = positions.get(key) ?? 0;
      for (const record of batch.records) {
        while (performance.now() >= sliceEndsAt) await nextSlice();
        // After a rebalance a batch that was fetched before may come again.
        if (record.offset < position) continue;
        options.onRecord(record);
        positions.set(key, record.offset + 1);
      }
      options.onBatchEnd?.();
    },
    // The end that was seen may lie behind what a transaction has taken back: no record leads there.
    onPassed(to) {
      positions.set(keyOf(to), Math.max(to.offset, positions.get(keyOf(to)) ?? 0));
    },
    onFatal(error) {
      failed(error);
      options.onFatal(error);
    },
  });
  try {
    await first;
  } catch (error) {
    await consumer.stop().catch(() => {});
    throw error;
  }
  return {
    caughtUp() {
      for (const [key, target] of targets) if ((positions.get(key) ?? 0) < target) return false;
      return true;
    },
    stop: () => consumer.stop(),
  };
}
