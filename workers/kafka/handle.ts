/**
 * The consumer for ordinary handlers: a record at a time, in order per partition, as many partitions at once as there
 * are (or several of a partition at once, for handlers that wait for others). Not understood -> dead letter. Handler
 * failed -> retry topics, then dead letter. A dependency is down -> the partition waits. An offset is committed only when
 * the effect, retry or dead letter of its record, and of all before it, is durable.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { retryTopics } from '../../catalog/topics.ts';
import { createSlots, type OffsetTrack, type Slots, trackOffsets } from '../base/concurrency.ts';
import { isNotNow } from '../base/errors.ts';
import { deadLetterOf } from './dead-letters.ts';
import type { Batch, IncomingRecord, Kafka, PartitionConsumer, Producer, RawRecord } from './kafka.ts';
import { type EventView, readEvent } from './records.ts';
import { afterFailure, attemptsOf, dueAtMs, reasonOf } from './retry.ts';
import { inSpan, type MessageSpan, startProcess } from './tracing-kafka.ts';

export interface HandledEvent<T> {
  readonly data: T;
  /** Id (dedupe by it), type, time as the record says. */
  readonly event: EventView;
  readonly record: IncomingRecord;
  /** 0 at first, then how often it was put off. */
  readonly attempt: number;
}

export interface EventConsumerOptions<T> {
  readonly group: ConsumerGroup;
  readonly log: Logger;
  /** Understands a record or throws (a MusterError whose message holds no personal data): then it is a dead letter. */
  parse(record: IncomingRecord): T;
  /** Idempotent by event.id: a record may come more than once. */
  handle(event: HandledEvent<T>): Promise<void>;
  onFatal(error: Error): void;
  /** True for a failure that no later try mends: straight to the dead letters. Default: none is. */
  isFinal?(error: unknown): boolean;
  /**
   * Unset: the records of a partition come one after the other. Set: up to this many records of the whole group at once,
   * also of one partition, so that a slow one holds nobody up; order is given up.
   */
  readonly concurrency?: number;
  /** For retries and dead letters; unset: one of its own. */
  readonly producer?: Producer;
}

export interface EventConsumer {
  /** True from the first assignment on. */
  ready(): boolean;
  stop(): Promise<void>;
}

/** Starts consuming the group's topics and its retry topics. */
export async function consumeEvents<T>(
  kafka: Kafka,
  options: EventConsumerOptions<T>,
): Promise<EventConsumer> {
  const { group } = options;
  const log = options.log.child({ group: group.id });
  const producer = options.producer ?? (await kafka.producer(`${group.id}-failures`));
  const stopping = new AbortController();
  const slots = options.concurrency === undefined ? undefined : createSlots(options.concurrency);
  const tracks = new Map<string, OffsetTrack>();
  let epochNow = 0;
  let ready = false;

  const consumer: PartitionConsumer = await kafka.consumePartitions({
    groupId: group.id,
    topics: [
      ...group.topics.map(({ name }) => name),
      ...group.topics.flatMap((topic) => retryTopics(topic, group).map(({ name }) => name)),
    ],
    async onAssigned(_assignment, epoch) {
      epochNow = epoch;
      tracks.clear();
      // What still runs cannot commit any more and comes again: not beside itself, if waiting a little helps.
      if (slots !== undefined) await Promise.race([slots.idle(), pause(10_000)]);
      ready = true;
      return [];
    },
    onBatch: (batch, epoch) =>
      slots === undefined ? handleBatch(batch, epoch) : startBatch(batch, epoch, slots),
    onFatal: options.onFatal,
  });

  async function handleBatch(batch: Batch, epoch: number): Promise<void> {
    const { topic, partition } = batch;
    const over = () => stopping.signal.aborted || epoch !== epochNow;
    for (const record of batch.records) {
      const handled = (await untilDue(record, over)) && (await handleOne(record, over));
      // Not handled and not committed: whoever has the partition next begins here.
      if (!handled) return;
      consumer.commit([{ topic, partition, offset: record.offset + 1 }], epoch);
    }
  }

  /** Ends when every record of the batch has begun; the slots bound how many run. */
  async function startBatch(
    { topic, partition, records }: Batch,
    epoch: number,
    slots: Slots,
  ): Promise<void> {
    const over = () => stopping.signal.aborted || epoch !== epochNow;
    const key = `${topic} ${partition}`;
    for (const record of records) {
      if (!(await untilDue(record, over))) return;
      const release = await slots.take();
      if (over()) {
        release();
        return;
      }
      const track = tracks.get(key) ?? trackOffsets();
      tracks.set(key, track);
      track.begin(record.offset);
      handleOne(record, over)
        .then((handled) => {
          const offset = handled ? track.end(record.offset) : undefined;
          if (offset !== undefined) consumer.commit([{ topic, partition, offset }], epoch);
        })
        .catch(options.onFatal)
        .finally(release);
    }
  }

  /** True when the record may be handled now, false when the partition is no longer ours. */
  async function untilDue(record: IncomingRecord, over: () => boolean): Promise<boolean> {
    const dueMs = dueAtMs(record);
    while (!over()) {
      const waitMs = dueMs - Date.now();
      if (waitMs <= 0) return true;
      await pause(Math.min(waitMs, 1_000));
    }
    return false;
  }

  async function handleOne(record: IncomingRecord, over: () => boolean): Promise<boolean> {
    const span = startProcess(record, group.id);
    // What is said of a failure, and where the record is put aside, belong to its trace as the handling does.
    return inSpan(span, () => handleInSpan(record, over, span));
  }

  async function handleInSpan(
    record: IncomingRecord,
    over: () => boolean,
    span: MessageSpan | undefined,
  ): Promise<boolean> {
    const attempt = attemptsOf(record);
    let wrong: unknown;
    try {
      let data: T;
      try {
        data = options.parse(record);
      } catch (error) {
        wrong = error;
        const why = reasonOf(error, group.id);
        log.warn('a record is not understood', { code: why.code, ...placeFields(record) });
        return await deliver(deadLetterOf(record, why, Date.now()), over);
      }
      const event = readEvent(record);
      const failure = await untilUp(() => options.handle({ data, event, record, attempt }), over);
      if (failure === undefined) return true;
      if (failure === 'over') return false;
      wrong = failure.error;
      const why = reasonOf(failure.error, group.id);
      const next = options.isFinal?.(failure.error)
        ? deadLetterOf(record, why, Date.now())
        : afterFailure(record, group, why, Date.now());
      log.warn('a handler failed', {
        code: why.code,
        reason: why.reason,
        attempt,
        next: next.topic,
        ...placeFields(record),
      });
      return await deliver(next, over);
    } catch (error) {
      wrong = error;
      throw error;
    } finally {
      span?.end(wrong);
    }
  }

  async function deliver(record: RawRecord, over: () => boolean): Promise<boolean> {
    const failure = await untilUp(() => producer.send([record], { deadlineMs: 10_000 }), over);
    if (failure === undefined) return true;
    if (failure === 'over') return false;
    // Neither handled nor put aside: going on would lose it.
    throw failure.error;
  }

  /** Runs `work`, again and again while something that it needs is down. Undefined: it succeeded. */
  async function untilUp(
    work: () => Promise<void>,
    over: () => boolean,
  ): Promise<undefined | 'over' | { readonly error: unknown }> {
    for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 5_000)) {
      if (over()) return 'over';
      try {
        await work();
        return undefined;
      } catch (error) {
        if (!isNotNow(error)) return { error };
        if (waitMs === 100)
          log.warn('a dependency is down: waiting', { code: (error as { code?: string }).code });
      }
      await pause(waitMs);
    }
  }

  async function pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  return {
    ready: () => ready,
    async stop() {
      stopping.abort();
      await slots?.idle();
      await consumer.stop();
      if (options.producer === undefined) await producer.close();
    },
  };
}

function placeFields({ topic, partition, offset }: IncomingRecord) {
  return { topic, partition, offset };
}
