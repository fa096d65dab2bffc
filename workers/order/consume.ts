/**
 * A consumer that handles what a fetch brings at once, for stores that take many rows in one round trip. What is not
 * understood goes to the dead letters; a store that is down holds its partitions; offsets are committed when the effect
 * is durable. Each group has its own offsets, so one that stands still or fails does not touch the other.
 */

import type { Logger } from 'winston';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { isNotNow } from '../base/errors.ts';
import { deadLetterOf } from '../kafka/dead-letters.ts';
import type { Batch, IncomingRecord, Kafka, PartitionConsumer, StartOffsets } from '../kafka/kafka.ts';
import { reasonOf } from '../kafka/retry.ts';
import { startProcess } from '../kafka/tracing-kafka.ts';

/** Most records of one round trip. */
const mostAtOnce = 500;

export interface Understood<T> {
  readonly data: T;
  readonly record: IncomingRecord;
}

/** Which offsets of which partition: from `from` up to before `next`. */
export interface Place {
  readonly partition: number;
  readonly from: number;
  readonly next: number;
  readonly epoch: number;
}

export interface BatchConsumerOptions<T> {
  readonly group: ConsumerGroup;
  readonly log: Logger;
  /** Understands a record or throws a MusterError whose message holds no personal data: then it is a dead letter. */
  parse(record: IncomingRecord): T;
  /**
   * Makes records of one partition, in order, have their effect; idempotent. May be none, when nothing between two
   * offsets was understood. False: they are not wanted now (the consumer has been sent to another offset).
   */
  apply(records: readonly Understood<T>[], at: Place): Promise<boolean>;
  /** Where to begin; by default at the committed offsets. Must not reject. */
  startAt?(partitions: readonly number[], epoch: number): Promise<StartOffsets>;
  onFatal(error: Error): void;
}

export interface BatchConsumer {
  /** True from the first assignment on. */
  ready(): boolean;
  /** Goes on elsewhere. A batch that is held is not tried again if that is further back: what lies between comes first. */
  seek(partition: number, offset: number): void;
  stop(): Promise<void>;
}

/** Starts to consume the one topic of the group. */
export async function consumeBatches<T>(
  kafka: Kafka,
  options: BatchConsumerOptions<T>,
): Promise<BatchConsumer> {
  const { group } = options;
  const topic = group.topics[0]!.name;
  const log = options.log.child({ group: group.id });
  const deadLetters = await kafka.producer(`${group.id}-failures`);
  let ready = false;
  let epochNow = 0;
  /** Per partition the offset up to which this assignment has handled: a held batch comes again as a whole. */
  const done = new Map<number, number>();
  /** Per partition the batch that is being handled, or held because a store is down. */
  const inHand = new Map<number, Batch>();
  const abandoned = new WeakSet<Batch>();

  const consumer: PartitionConsumer = await kafka.consumePartitions({
    groupId: group.id,
    topics: [topic],
    async onAssigned(assignment, epoch) {
      epochNow = epoch;
      done.clear();
      const starts = await options.startAt?.(
        assignment.map(({ partition }) => partition),
        epoch,
      );
      ready = true;
      return starts ?? [];
    },
    async onBatch(batch, epoch) {
      if (abandoned.has(batch)) return;
      inHand.set(batch.partition, batch);
      await handleBatch(batch, epoch);
      inHand.delete(batch.partition);
    },
    onFatal: options.onFatal,
  });

  async function handleBatch({ partition, records }: Batch, epoch: number): Promise<void> {
    for (let from = 0; from < records.length; from += mostAtOnce) {
      const some = records.slice(from, from + mostAtOnce);
      const next = some.at(-1)!.offset + 1;
      if (next <= (done.get(partition) ?? 0)) continue;
      if (!(await handle(some, { partition, from: some[0]!.offset, next, epoch }))) return;
      // Had its effect, and cannot be committed any more: whoever has the partition now reads it again.
      if (epoch !== epochNow) return;
      done.set(partition, next);
      consumer.commit([{ topic, partition, offset: next }], epoch);
    }
  }

  async function handle(records: readonly IncomingRecord[], at: Place): Promise<boolean> {
    const understood: Understood<T>[] = [];
    const aside: { record: IncomingRecord; error: unknown }[] = [];
    for (const record of records) {
      try {
        understood.push({ data: options.parse(record), record });
      } catch (error) {
        aside.push({ record, error });
      }
    }
    const spans = understood.map(({ record }) => startProcess(record, group.id));
    try {
      const sifted = await applyOrSift(understood, at);
      for (const span of spans) span?.end();
      if (sifted === undefined) return false;
      aside.push(...sifted);
    } catch (error) {
      for (const span of spans) span?.end(error);
      throw error;
    }
    // Last, so that a store that is down for long does not make a dead letter with every try.
    if (aside.length > 0) await putAside(aside);
    return true;
  }

  /**
   * Undefined: not wanted now. When a batch fails although its store is up, one of its records is to blame: each alone
   * shows which.
   */
  async function applyOrSift(
    understood: readonly Understood<T>[],
    at: Place,
  ): Promise<readonly { record: IncomingRecord; error: unknown }[] | undefined> {
    try {
      return (await options.apply(understood, at)) ? [] : undefined;
    } catch (error) {
      if (isNotNow(error)) throw error;
    }
    const blamed: { record: IncomingRecord; error: unknown }[] = [];
    for (const [index, one] of understood.entries()) {
      const next = understood[index + 1]?.record.offset ?? at.next;
      try {
        if (!(await options.apply([one], { ...at, from: index === 0 ? at.from : one.record.offset, next })))
          return undefined;
      } catch (error) {
        if (isNotNow(error)) throw error;
        blamed.push({ record: one.record, error });
      }
    }
    return blamed;
  }

  async function putAside(aside: readonly { record: IncomingRecord; error: unknown }[]): Promise<void> {
    const letters = aside.map(({ record, error }) => {
      const why = reasonOf(error, group.id);
      const { topic, partition, offset } = record;
      log.warn('a record is put aside', { code: why.code, topic, partition, offset });
      return deadLetterOf(record, why, Date.now());
    });
    await deadLetters.send(letters, { deadlineMs: 10_000 });
  }

  return {
    ready: () => ready,
    seek(partition, offset) {
      done.delete(partition);
      const batch = inHand.get(partition);
      if (batch !== undefined && offset < batch.records[0]!.offset) abandoned.add(batch);
      consumer.seek({ topic, partition, offset });
    },
    async stop() {
      await consumer.stop();
      await deadLetters.close();
    },
  };
}
