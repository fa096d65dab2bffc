/**
 * What becomes of records that came together: understood or not, applied, and when that fails although nothing is away, sifted
 * until the culprit is found and put aside.
 */
import type { Logger } from 'winston';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { isNotNow } from '../base/errors.ts';
import { deadLetterOf } from './dead-letters.ts';
import type { IncomingRecord, Producer, TopicPartition } from './kafka.ts';
import { afterFailure, attemptsOf, reasonOf } from './retry.ts';
import { inSpan, type MessageSpan, startProcess } from './tracing-kafka.ts';

export interface Understood<T> {
  readonly data: T;
  readonly record: IncomingRecord;
  readonly span: MessageSpan | undefined;
}

/** Offsets from `from` up to before `next` of a partition, as given out in `epoch`. */
export interface Place extends TopicPartition {
  readonly from: number;
  readonly next: number;
  readonly epoch: number;
}

/** What records of a group mean to a capability. */
export interface Meaning<T> {
  readonly group: ConsumerGroup;
  readonly log: Logger;
  /** Understands a record or throws a MusterError whose message holds no personal data: then it is a dead letter. */
  parse(record: IncomingRecord): T;
  /**
   * Makes records of one partition, in order, have their effect; all or nothing, idempotent: each may come more than once.
   * May be none, when nothing between two offsets was understood. False: they are not wanted now (the consumer was sent to
   * another offset). Its log lines and spans belong to the record's trace when it is one.
   */
  apply(records: readonly Understood<T>[], at: Place): Promise<boolean | undefined>;
  /** True for a failure that no later try mends: straight to the dead letters. Default: none is. */
  isFinal?(error: unknown): boolean;
}

/** A record on its way, with what went wrong. */
interface Item<T> extends Understood<T> {
  readonly understood: boolean;
  failure?: unknown;
}

/** Handles records of one partition: resolves when effects, retries and dead letters of all of them are durable. */
export type Handle = (records: readonly IncomingRecord[], at: Place) => Promise<boolean>;

export function createHandle<T>(options: Meaning<T>, producer: Producer): Handle {
  const { group } = options;
  const log = options.log.child({ group: group.id });

  /** False: not wanted now. Rejects when something is away, or when what failed cannot be put aside. */
  async function handle(records: readonly IncomingRecord[], at: Place): Promise<boolean> {
    const items = records.map(understand);
    let wrong: unknown;
    try {
      const wanted = await sift(
        items.filter(({ understood }) => understood),
        at,
      );
      // Last, so that a store that is away for long does not make a dead letter with every try.
      if (wanted) await putAside(items.filter((item) => 'failure' in item));
      return wanted;
    } catch (error) {
      wrong = error;
      throw error;
    } finally {
      for (const { span, failure } of items) span?.end(wrong ?? failure);
    }
  }

  function understand(record: IncomingRecord, _index: number, all: readonly IncomingRecord[]): Item<T> {
    const count = all.length > 1 ? { 'messaging.batch.message_count': all.length } : {};
    const span = startProcess(record, group.id, count);
    try {
      return { data: options.parse(record), record, span, understood: true };
    } catch (failure) {
      return { data: undefined as T, record, span, understood: false, failure };
    }
  }

  /** False: not wanted now. When a batch fails although nothing is away, one of its records is to blame: halves show which. */
  async function sift(items: readonly Item<T>[], at: Place): Promise<boolean> {
    const [first] = items;
    try {
      const apply = () => options.apply(items, at);
      return (await (items.length === 1 ? inSpan(first!.span, apply) : apply())) !== false;
    } catch (error) {
      if (isNotNow(error) || first === undefined) throw error;
      if (items.length === 1) {
        first.failure = error;
        return true;
      }
    }
    const middle = items.length >> 1;
    const between = items[middle]!.record.offset;
    return (
      (await sift(items.slice(0, middle), { ...at, next: between })) &&
      (await sift(items.slice(middle), { ...at, from: between }))
    );
  }

  async function putAside(items: readonly Item<T>[]): Promise<void> {
    if (items.length === 0) return;
    const nowMs = Date.now();
    const records = items.map(({ record, span, understood, failure }) => {
      const why = reasonOf(failure, group.id);
      const isFinal = !understood || options.isFinal?.(failure) === true;
      const next = isFinal ? deadLetterOf(record, why, nowMs) : afterFailure(record, group, why, nowMs);
      const what = understood ? 'a handler failed' : 'a record is not understood';
      const { code, reason } = why;
      inSpan(span, () =>
        log.warn(what, {
          code,
          reason,
          attempt: attemptsOf(record),
          next: next.topic,
          ...placeFields(record),
        }),
      );
      return next;
    });
    await producer.send(records, { deadlineMs: 10_000 });
  }

  return handle;
}

export function placeFields({ topic, partition, offset }: IncomingRecord) {
  return { topic, partition, offset };
}
