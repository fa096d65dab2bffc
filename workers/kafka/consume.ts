/**
 * The consumer of capabilities: they say what a record means (parse) and what it does (apply), and everything that can go
 * wrong on the way is decided here.
 *
 * - Not understood -> dead letter, with its raw bytes.
 * - Failed although nothing is away -> the culprit is sifted out of its batch: to the retry topics of its group, if it has
 *   any, then to the dead letters. The others have their effect.
 * - Something is away -> the partition is held, however long it takes.
 * - An offset is committed when the effect, retry or dead letter of its record, and of all before it, is durable.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { retryTopics } from '../../catalog/topics.ts';
import { createSlots, type OffsetTrack, trackOffsets } from '../base/concurrency.ts';
import { untilUp } from '../base/not-now.ts';
import { createHandle, type Meaning, type Place, placeFields } from './apply.ts';
import type {
  Batch,
  IncomingRecord,
  Kafka,
  PartitionConsumer,
  Producer,
  StartOffsets,
  TopicPartition,
  Wait,
} from './kafka.ts';
import { dueAtMs } from './retry.ts';

/** Most records of one round trip to a store. */
const defaultAtOnce = 500;

export interface ConsumeOptions<T> extends Meaning<T> {
  onFatal(error: Error): void;
  /** Where to begin; by default at the committed offsets. Asked again while it rejects with "not now". */
  startAt?(assignment: readonly TopicPartition[], epoch: number): Promise<StartOffsets>;
  /** Most records of one apply(). Default 500. */
  readonly atOnce?: number;
  /** Pause between two fetches of a partition: a record that comes alone does not wait, under load a fetch brings more. */
  readonly pauseMs?: number;
  /**
   * Set: up to this many records of the whole group one by one side by side, also of one partition, so that a slow one holds
   * nobody up; order is given up.
   */
  readonly concurrency?: number;
  /**
   * False: the next record of the group's topics waits where it is. Those of its retry topics do not: what was begun keeps its
   * schedule. Asked before each record, or before each `atOnce` of them.
   */
  mayBegin?(): boolean;
  /**
   * Resolves when what apply() did is durable, where that is later: reading goes on meanwhile, and the offset is committed
   * then. False: it is not to be committed. Default: at once. Not with `concurrency`.
   */
  durable?(at: Place): Promise<boolean>;
  /** For retries and dead letters; unset: one of its own. */
  readonly producer?: Producer;
}

export interface RecordConsumer {
  /** True from the first assignment on. */
  ready(): boolean;
  /** Goes on elsewhere. A batch that is held is not tried again if that is further back: what lies between comes first. */
  seek(to: TopicPartition & { readonly offset: number }): void;
  stop(): Promise<void>;
}

const keyOf = ({ topic, partition }: TopicPartition) => `${topic} ${partition}`;

/** Starts consuming the group's topics and its retry topics. */
export async function consume<T>(kafka: Kafka, options: ConsumeOptions<T>): Promise<RecordConsumer> {
  const { group } = options;
  const log = options.log.child({ group: group.id });
  const producer = options.producer ?? (await kafka.producer(`${group.id}-failures`));
  const retries = new Set(group.topics.flatMap((topic) => retryTopics(topic, group)).map(({ name }) => name));
  const slots = options.concurrency === undefined ? undefined : createSlots(options.concurrency);
  const tracks = new Map<string, OffsetTrack>();
  /** How many records of a batch are done with: one that was held comes again as a whole. */
  const done = new WeakMap<Batch, number>();
  /** Per partition the batch that is being handled or held. */
  const inHand = new Map<string, Batch>();
  const stopping = new AbortController();
  /** Aborted when the assignment is over. */
  let over = new AbortController();
  let ready = false;
  const handle = createHandle(options, producer);

  const consumer: PartitionConsumer = await kafka.consumePartitions({
    groupId: group.id,
    topics: [...group.topics.map(({ name }) => name), ...retries],
    async onAssigned(assignment, epoch) {
      over.abort();
      over = new AbortController();
      tracks.clear();
      // What still runs cannot commit any more and comes again: not beside itself, if waiting a little helps.
      if (slots !== undefined) await Promise.race([slots.idle(), pause(10_000)]);
      const starts = await options.startAt?.(assignment, epoch);
      ready = true;
      return starts ?? [];
    },
    onBatch: handleBatch,
    onFatal: options.onFatal,
  });

  async function handleBatch(batch: Batch, epoch: number): Promise<Wait | undefined> {
    const { topic, partition, records } = batch;
    const isRetry = retries.has(topic);
    const atOnce = isRetry || slots !== undefined ? 1 : (options.atOnce ?? defaultAtOnce);
    const mine = over.signal;
    inHand.set(keyOf(batch), batch);
    for (let index = done.get(batch) ?? 0; index < records.length; index = done.get(batch)!) {
      // Neither handled nor committed: whoever has the partition next begins here.
      if (mine.aborted || stopping.signal.aborted) return undefined;
      const waitMs = isRetry ? dueAtMs(records[index]!) - Date.now() : 0;
      if (waitMs > 0) return { until: pause(Math.min(waitMs, 1_000)) };
      const release = slots?.take();
      if (slots !== undefined && release === undefined) return { until: slots.free() };
      if (!isRetry && options.mayBegin?.() === false) {
        release?.();
        return { until: pause(500) };
      }
      const some = records.slice(index, index + atOnce);
      const next = some.at(-1)!.offset + 1;
      const at = { topic, partition, from: some[0]!.offset, next, epoch };
      if (release !== undefined) startAlone(some[0]!, at, mine, release);
      else if (await handle(some, at)) void commit(at);
      else return undefined;
      done.set(batch, Math.max(index + some.length, done.get(batch) ?? 0));
    }
    inHand.delete(keyOf(batch));
    if (options.pauseMs !== undefined) await pause(options.pauseMs);
    return undefined;
  }

  async function commit(at: Place): Promise<void> {
    if (options.durable !== undefined && !(await options.durable(at))) return;
    const { topic, partition, next, epoch } = at;
    consumer.commit([{ topic, partition, offset: next }], epoch);
  }

  /** Handles a record beside others; its offset is committed when all before it are done. */
  function startAlone(record: IncomingRecord, at: Place, mine: AbortSignal, release: () => void): void {
    const { topic, partition, epoch } = at;
    const track = tracks.get(keyOf(at)) ?? trackOffsets();
    tracks.set(keyOf(at), track);
    track.begin(record.offset);
    const what = `the handling of ${topic}-${partition} at ${record.offset} does not end`;
    untilUp(() => consumer.watched(what, () => handle([record], at)), {
      signal: AbortSignal.any([mine, stopping.signal]),
      onWait: ({ code }) => log.warn('a dependency is away: waiting', { code, ...placeFields(record) }),
    })
      .then((handled) => {
        const offset = handled ? track.end(record.offset) : undefined;
        if (offset !== undefined) consumer.commit([{ topic, partition, offset }], epoch);
      })
      .catch(options.onFatal)
      .finally(release);
  }

  async function pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  return {
    ready: () => ready,
    seek(to) {
      const batch = inHand.get(keyOf(to));
      if (batch !== undefined && to.offset < batch.records[0]!.offset) done.set(batch, batch.records.length);
      consumer.seek(to);
    },
    async stop() {
      stopping.abort();
      await slots?.idle();
      await consumer.stop();
      if (options.producer === undefined) await producer.close();
    },
  };
}
