/** What becomes of a partition's first batch: acked, sent again, refused, or given up by all who waited for it. */
import { retryMs } from '../../catalog/clients.ts';
import { MusterError, NotNowError } from '../base/errors.ts';
import type { BufferRoom, Partition, QueuedBatch } from './accumulator.ts';
import type { KafkaMetrics } from './kafka-metrics.ts';
import { errorFromCode } from './kafkajs-internals.ts';
import type { PendingSends } from './pending-sends.ts';
import type { ProducerIdentities } from './producer-identity.ts';

/** Errors that say something of the records: the same again is refused again. By the protocol's error codes. */
const faulty = new Set([
  10 /* too large */, 18 /* batch too large */, 32 /* timestamp */, 44 /* policy */, 87 /* invalid */,
]);

export interface BatchOutcomes {
  /** The first batch that somebody still waits for. Those before it are dropped. */
  firstWanted(partition: Partition): QueuedBatch | undefined;
  acked(partition: Partition): void;
  /** The same bytes after a wait that grows with `attempts`. */
  again(partition: Partition, error: unknown, attempts?: number): void;
  /** The broker does not take this batch: never, or not before somebody has changed its settings. */
  refused(partition: Partition, code: number): void;
  /**
   * The partition goes on under another producer id, which begins at sequence 0 again. Under the same id the broker would
   * take a batch for one that it has long had, and ack it without writing it.
   */
  forgetIdentity(partition: Partition): void;
  /** Nothing of the partition is in flight any more. */
  settle(partition: Partition): void;
}

export function batchOutcomes(deps: {
  /** Partitions with something queued and nothing in flight. */
  readonly ready: Set<Partition>;
  readonly sends: PendingSends;
  readonly room: BufferRoom;
  readonly identities: ProducerIdentities;
  readonly metrics: KafkaMetrics;
}): BatchOutcomes {
  const { ready, sends, room, identities, metrics } = deps;

  function settle(partition: Partition): void {
    partition.inFlight = false;
    if (partition.queue.length > 0) ready.add(partition);
  }

  function forgetIdentity(partition: Partition): void {
    identities.giveUp(partition.producer);
    partition.producer = undefined;
    for (const batch of partition.queue) batch.identity = undefined;
  }

  return {
    settle,
    forgetIdentity,
    firstWanted(partition) {
      for (;;) {
        const batch = partition.queue[0];
        if (batch === undefined || isWanted(batch)) return batch;
        // It may have been written: what follows must not build on its sequence number.
        if (batch.attempts > 0) forgetIdentity(partition);
        partition.queue.shift();
        room.release(batch.reservedBytes);
      }
    },
    acked(partition) {
      const batch = partition.queue.shift()!;
      metrics.sent(partition.topic, batch.records.count);
      metrics.operation('send', partition.topic, (Date.now() - batch.queuedAtMs) / 1_000);
      for (const { send, count } of batch.waiting) sends.acked(send, count);
      room.release(batch.reservedBytes);
      settle(partition);
    },
    again(partition, error, attempts = Math.max(1, partition.queue[0]?.attempts ?? 1)) {
      const backoffMs = Math.min(retryMs.longest, retryMs.first * 2 ** Math.min(attempts - 1, 8));
      partition.retryAtMs = Date.now() + backoffMs * (0.75 + Math.random() / 2);
      metrics.operation('send', partition.topic, 0, typeOf(error));
      settle(partition);
    },
    refused(partition, code) {
      const batch = partition.queue.shift()!;
      forgetIdentity(partition);
      const cause = errorFromCode(code);
      metrics.operation('send', partition.topic, (Date.now() - batch.queuedAtMs) / 1_000, typeOf(cause));
      const error = refusal(partition.topic, code, cause);
      for (const { send } of batch.waiting) sends.fail(send, error);
      room.release(batch.reservedBytes);
      settle(partition);
    },
  };
}

/** By the time, too: after a freeze of this process a send may go on before it is told that its deadline has passed. */
function isWanted({ waiting }: QueuedBatch): boolean {
  const now = Date.now();
  return waiting.some(({ send }) => !send.done && send.deadlineAt > now);
}

function refusal(topic: string, code: number, cause: Error): MusterError {
  return faulty.has(code)
    ? new MusterError('MUSTER_KAFKA_RECORD_REFUSED', `${topic} never takes it: ${cause.message}`, { cause })
    : new NotNowError('MUSTER_KAFKA_SEND', `${topic} refused the records: ${cause.message}`, { cause });
}

function typeOf(error: unknown): string {
  return (error as { type?: string }).type ?? (error instanceof Error ? error.name : 'error');
}
