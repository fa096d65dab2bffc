/**
 * The consumer: kafkajs' group membership and fetching, our own rules about positions, commits and handlers.
 *
 * - Positions are ours. On every assignment all partitions are paused until onAssigned has answered and each has been
 *   given an explicit start; a batch that does not begin where we expect is from before and is dropped, since it will
 *   be fetched again. (kafkajs may rejoin in the middle of a fetch and deliver what it had.)
 * - A batch is handed over once, serially per partition. A handler that takes longer than 250 ms is left to run on
 *   while its partition is paused, so that heartbeats and the other partitions go on.
 * - A handler that throws never throws into kafkajs, where it would either end the consumer with the process alive or
 *   loop for ever: a dependency that is down holds the batch and tries it again; anything else is fatal.
 * - A commit carries the epoch in which its work was done. An older one is dropped here; one in flight during a
 *   rebalance is refused by the broker by its generation, because we never let kafkajs retry it under the next one.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Link } from '@opentelemetry/api';
import type { EachBatchPayload, Kafka as KafkaJs } from 'kafkajs';
import type { Logger } from 'winston';
import { consumerProfile } from '../../catalog/clients.ts';
import { isNotNow, MusterError } from '../base/errors.ts';
import { type Holdings, slotAssigner } from './assigner.ts';
import { followCoordinator } from './coordinator.ts';
import type { FetchedRecord } from './fetched-records.ts';
import type { Admin, Batch, PartitionConsumer, PartitionConsumerOptions, TopicPartition } from './kafka.ts';
import type { KafkaMetrics } from './kafka-metrics.ts';
import type { Memberships } from './membership.ts';
import { recordCommit, recordPoll } from './tracing-kafka.ts';

export interface ConsumerDeps {
  /** A kafkajs client of its own: kafkajs shares committed offsets between the consumers of one client. */
  readonly client: KafkaJs;
  readonly admin: Admin;
  readonly memberships: Memberships;
  readonly clientId: string;
  readonly log: Logger;
  readonly metrics: KafkaMetrics;
}

const { sessionTimeoutMs, heartbeatIntervalMs, rebalanceTimeoutMs, maxWaitMs, fetchBytes } = consumerProfile;
const commitEveryMs = 250;
/** A handler may hold kafkajs' fetch loop this long; after that its partition is paused instead. */
const patienceMs = 250;
const watchdogEveryMs = 15_000;
/** Without progress although there is data: a nudge after the first, the end after the second. */
const nudgeAfterMs = 45_000;
const stalledAfterMs = 120_000;

interface PartitionState extends TopicPartition {
  position: number;
  running: Promise<void> | undefined;
  runningSinceMs: number;
  waitingForDependency: boolean;
  pausedByUser: boolean;
  mismatches: number;
  movedAtMs: number;
  links: readonly Link[];
}

const keyOf = (topic: string, partition: number) => `${topic} ${partition}`;

/** Joins the group in the background; returns as soon as the topics are known to be there and to fit. */
export async function startConsumer(
  deps: ConsumerDeps,
  options: PartitionConsumerOptions,
): Promise<PartitionConsumer> {
  const { client, admin, metrics, clientId, memberships } = deps;
  const { groupId, topics } = options;
  const log = deps.log.child({ group: groupId });
  await checkTopics(admin, options);
  await memberships.endFormer(groupId);

  const holdings: Holdings = { slots: [], generation: 0 };
  const consumer = client.consumer({
    groupId,
    partitionAssigners: [
      slotAssigner({
        name: 'muster-slots',
        holdings,
        onCluster: (cluster) => followCoordinator({ cluster, groupId, log, sessionTimeoutMs }),
      }),
    ] as unknown as NonNullable<Parameters<KafkaJs['consumer']>[0]>['partitionAssigners'] & object,
    sessionTimeout: sessionTimeoutMs,
    heartbeatInterval: heartbeatIntervalMs,
    rebalanceTimeout: rebalanceTimeoutMs,
    maxWaitTimeInMs: options.gatherMs ?? maxWaitMs,
    minBytes: options.gatherMs === undefined ? 1 : 64 * 1024,
    maxBytesPerPartition: fetchBytes.partition,
    maxBytes: fetchBytes.request,
    metadataMaxAge: 60_000,
    allowAutoTopicCreation: false,
    retry: {
      initialRetryTime: 50,
      maxRetryTime: 300,
      multiplier: 2,
      factor: 0.2,
      retries: 25,
      restartOnFailure: async () => !stopping,
    },
  });

  let epoch = 0;
  let partitions = new Map<string, PartitionState>();
  /** Handlers at work, of this assignment and of those before it: a new one begins when none is left. */
  const handling = new Set<Promise<void>>();
  /** True from a join until every partition has its start. */
  let assigning = true;
  let stopping = false;
  let fatal = false;
  let restartingSinceMs: number | undefined;
  /** kafkajs' commit without its retries, which could carry an old commit into the next generation. */
  let commitOnce: EachBatchPayload['commitOffsetsIfNecessary'] | undefined;
  let pending = new Map<string, TopicPartition & { offset: number }>();
  let flushing: Promise<void> = Promise.resolve();
  let commitTimer: NodeJS.Timeout | undefined;
  let assignment: Promise<void> = Promise.resolve();

  function die(error: Error): void {
    if (fatal || stopping) return;
    fatal = true;
    log.error('the consumer cannot go on', { error: error.message, code: (error as { code?: string }).code });
    options.onFatal(error);
  }

  // ---- assignment

  consumer.on('consumer.group_join', ({ payload }) => {
    restartingSinceMs = undefined;
    memberships.joined(groupId, payload.memberId);
    const list: TopicPartition[] = Object.entries(payload.memberAssignment).flatMap(([topic, ids]) =>
      ids.map((partition) => ({ topic, partition })),
    );
    epoch++;
    assigning = true;
    commitOnce = undefined;
    pending.clear();
    partitions = new Map();
    holdings.slots = [...new Set(list.map(({ partition }) => partition))].sort((a, b) => a - b);
    holdings.generation = epoch;
    pauseInClient(list);
    assignment = assign(list, epoch).catch((error) => die(asError(error)));
  });

  async function assign(list: readonly TopicPartition[], myEpoch: number): Promise<void> {
    await settled();
    const stale = () => myEpoch !== epoch || stopping;
    if (stale()) return;
    log.info('partitions assigned', {
      epoch: myEpoch,
      partitions: list.map((p) => `${p.topic}-${p.partition}`),
    });
    const starts = await withRetries(stale, async () => {
      const given = (await options.onAssigned?.(list, myEpoch)) ?? [];
      return startOffsets(list, new Map(given.map((s) => [keyOf(s.topic, s.partition), s.offset])));
    });
    if (starts === undefined || stale()) return;
    const now = Date.now();
    partitions = new Map(
      starts.map(({ topic, partition, offset }) => {
        consumer.seek({ topic, partition, offset: String(offset) });
        const state: PartitionState = {
          topic,
          partition,
          position: offset,
          running: undefined,
          runningSinceMs: 0,
          waitingForDependency: false,
          pausedByUser: false,
          mismatches: 0,
          movedAtMs: now,
          links: [],
        };
        return [keyOf(topic, partition), state];
      }),
    );
    assigning = false;
    consumer.resume(grouped(list));
  }

  /** The offset each partition begins at: what was asked for, else what is committed, else the earliest. */
  async function startOffsets(list: readonly TopicPartition[], asked: ReadonlyMap<string, number>) {
    const result: (TopicPartition & { offset: number })[] = [];
    for (const topic of new Set(list.map((entry) => entry.topic))) {
      const ends = new Map((await admin.offsets(topic)).map((entry) => [entry.partition, entry]));
      const mine = list.filter((entry) => entry.topic === topic);
      const committed = mine.some(({ partition }) => !asked.has(keyOf(topic, partition)))
        ? await admin.committed(groupId, topic)
        : new Map<number, number | undefined>();
      for (const { partition } of mine) {
        const low = ends.get(partition)?.low ?? 0;
        const high = ends.get(partition)?.high ?? 0;
        const wanted = asked.get(keyOf(topic, partition)) ?? committed.get(partition) ?? low;
        if (wanted < low || wanted > high) {
          log.error('a start offset is outside of the log; beginning at the earliest that is there', {
            topic,
            partition,
            wanted,
            low,
            high,
          });
        }
        result.push({ topic, partition, offset: wanted < low || wanted > high ? low : wanted });
      }
    }
    return result;
  }

  async function withRetries<T>(stale: () => boolean, work: () => Promise<T>): Promise<T | undefined> {
    const giveUpAt = Date.now() + 30_000;
    for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 2_000)) {
      try {
        return await work();
      } catch (error) {
        if (stale()) return undefined;
        if (Date.now() > giveUpAt || isBug(error)) throw error;
        log.warn('could not take the assignment on, trying again', { error: asError(error).message });
        await sleep(waitMs);
      }
    }
  }

  // ---- batches

  async function eachBatch(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    if (stopping || fatal || assigning) return;
    const state = partitions.get(keyOf(batch.topic, batch.partition));
    if (state === undefined || payload.isStale()) return;
    commitOnce = payload.commitOffsetsIfNecessary;
    if (state.running !== undefined || state.pausedByUser) return;
    if (!inPlace(state, Number((batch as unknown as { fetchedOffset: string }).fetchedOffset))) return;

    const { messages } = batch;
    payload.resolveOffset(messages[messages.length - 1]!.offset);
    state.position = Number(batch.lastOffset()) + 1;
    state.movedAtMs = Date.now();
    const { topic, partition } = batch;
    const records = messages as unknown as FetchedRecord[];
    for (const record of records) {
      record.topic = topic;
      record.partition = partition;
    }
    const mine: Batch = { topic, partition, records, highWatermark: Number(batch.highWatermark) };
    metrics.consumed(groupId, topic, records.length);
    const links = recordPoll(mine, groupId, clientId);
    if (links.length > 0) state.links = links;

    const startedMs = Date.now();
    let result: Promise<void> | void;
    try {
      result = options.onBatch(mine, epoch);
    } catch (error) {
      result = Promise.reject(error);
    }
    if (result === undefined) {
      metrics.processed(groupId, topic, (Date.now() - startedMs) / 1_000);
      return;
    }
    const myEpoch = epoch;
    const run = finishBatch(state, mine, myEpoch, result, startedMs).finally(() => {
      handling.delete(run);
      state.running = undefined;
      state.movedAtMs = Date.now();
    });
    handling.add(run);
    state.running = run;
    state.runningSinceMs = startedMs;
    if ((await endsWithin(run, patienceMs)) || myEpoch !== epoch) return;
    pauseInClient([state]);
    void run.then(() => {
      if (myEpoch === epoch && !stopping && !state.pausedByUser) resumeInClient([state]);
    });
  }

  /** Waits for the handler; on failure decides between trying again and the end. Never rejects. */
  async function finishBatch(
    state: PartitionState,
    batch: Batch,
    myEpoch: number,
    first: Promise<void>,
    startedMs: number,
  ): Promise<void> {
    let result: Promise<void> | void = first;
    for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 5_000)) {
      try {
        await result;
        metrics.processed(groupId, batch.topic, (Date.now() - startedMs) / 1_000);
        return;
      } catch (error) {
        const code = String((error as { code?: unknown }).code ?? asError(error).name);
        metrics.processed(groupId, batch.topic, (Date.now() - startedMs) / 1_000, code);
        if (!isNotNow(error)) {
          const { topic, partition } = batch;
          log.error('a handler failed', { code, topic, partition, error: asError(error).message });
          die(asError(error));
          return;
        }
        if (waitMs === 100) {
          log.warn('a dependency is down: holding the partition', {
            code,
            topic: batch.topic,
            partition: batch.partition,
          });
        }
      }
      state.waitingForDependency = true;
      await sleep(waitMs);
      state.waitingForDependency = false;
      if (myEpoch !== epoch || stopping) return;
      try {
        result = options.onBatch(batch, myEpoch);
      } catch (error) {
        result = Promise.reject(error);
      }
    }
  }

  /** Whether a batch begins where we are. */
  function inPlace(state: PartitionState, fetchedOffset: number): boolean {
    if (fetchedOffset === state.position) {
      state.mismatches = 0;
      return true;
    }
    state.mismatches++;
    const { topic, partition, position } = state;
    if (state.mismatches < 3) {
      consumer.seek({ topic, partition, offset: String(position) });
      return false;
    }
    // The broker does not have our position any more: kafkajs moved to the earliest there is.
    log.error('the log does not hold our position any more; going on at another', {
      topic,
      partition,
      position,
      goingOnAt: fetchedOffset,
    });
    state.position = fetchedOffset;
    state.mismatches = 0;
    return true;
  }

  // A batch of nothing but control records never reaches eachBatch, yet moves kafkajs on.
  consumer.on('consumer.end_batch_process', ({ payload }) => {
    if (payload.batchSize !== 0) return;
    const state = partitions.get(keyOf(payload.topic, payload.partition));
    if (state !== undefined && !assigning) state.position = Number(payload.lastOffset) + 1;
  });

  // ---- commits

  function flush(): Promise<void> {
    clearTimeout(commitTimer);
    commitTimer = undefined;
    flushing = flushing.then(flushOnce);
    return flushing;
  }

  async function flushOnce(): Promise<void> {
    if (pending.size === 0 || assigning) return;
    const myEpoch = epoch;
    const offsets = [...pending.values()];
    pending = new Map();
    const startMs = Date.now();
    const byTopic = Map.groupBy(offsets, ({ topic }) => topic);
    const request = {
      topics: [...byTopic].map(([topic, list]) => ({
        topic,
        partitions: list.map(({ partition, offset }) => ({ partition, offset: String(offset) })),
      })),
    };
    try {
      if (commitOnce !== undefined) await commitOnce(request);
      else {
        await consumer.commitOffsets(offsets.map((entry) => ({ ...entry, offset: String(entry.offset) })));
      }
      for (const topic of byTopic.keys()) metrics.operation('commit', topic, (Date.now() - startMs) / 1_000);
      for (const { topic, partition, offset } of offsets) {
        const state = partitions.get(keyOf(topic, partition));
        if (state === undefined || state.links.length === 0) continue;
        recordCommit(topic, partition, offset, groupId, state.links, startMs);
        state.links = [];
      }
    } catch (error) {
      const type = (error as { type?: string }).type ?? asError(error).name;
      for (const topic of byTopic.keys()) metrics.operation('commit', topic, 0, type);
      if (myEpoch !== epoch || fencedTypes.has(type)) {
        log.info('a commit came too late and was dropped', { type });
        return;
      }
      log.warn('commit failed, will be tried again', { type, error: asError(error).message });
      for (const entry of offsets) {
        const key = keyOf(entry.topic, entry.partition);
        if (!pending.has(key)) pending.set(key, entry);
      }
      scheduleFlush();
    }
  }

  function scheduleFlush(): void {
    if (stopping) return;
    commitTimer ??= setTimeout(() => {
      commitTimer = undefined;
      void flush();
    }, commitEveryMs);
  }

  // ---- trouble

  consumer.on('consumer.rebalancing', () => {
    // What is done should not be done again by the next owner: this still counts under the old generation.
    void flush();
  });

  consumer.on('consumer.crash', ({ payload }) => {
    if (payload.restart) {
      restartingSinceMs ??= Date.now();
      log.warn('the consumer crashed and is restarted', { error: payload.error.message });
    } else
      die(new MusterError('MUSTER_KAFKA_CONSUMER_CRASHED', payload.error.message, { cause: payload.error }));
  });

  async function watch(): Promise<void> {
    const now = Date.now();
    if (restartingSinceMs !== undefined && now - restartingSinceMs > 60_000) {
      die(new MusterError('MUSTER_KAFKA_CONSUMER_CRASHED', 'the consumer did not come back within 60 s'));
    }
    if (assigning) return;
    for (const topic of topics) {
      const suspects = [...partitions.values()].filter(
        (state) =>
          state.topic === topic &&
          !state.pausedByUser &&
          !state.waitingForDependency &&
          now - (state.running ? state.runningSinceMs : state.movedAtMs) > nudgeAfterMs,
      );
      if (suspects.length === 0) continue;
      const ends = new Map((await admin.offsets(topic)).map((entry) => [entry.partition, entry.high]));
      for (const state of suspects) {
        const { partition, position } = state;
        if (state.running === undefined && position >= (ends.get(partition) ?? 0)) {
          state.movedAtMs = Date.now();
          continue;
        }
        const sinceMs = state.running ? state.runningSinceMs : state.movedAtMs;
        log.warn('a partition makes no progress', { topic, partition, position, end: ends.get(partition) });
        if (Date.now() - sinceMs > stalledAfterMs) {
          die(
            new MusterError(
              'MUSTER_KAFKA_STALLED',
              `${topic}-${partition} stands at ${position} of ${ends.get(partition)} for ${Math.round((Date.now() - sinceMs) / 1_000)} s`,
            ),
          );
        } else if (state.running === undefined) {
          consumer.seek({ topic, partition, offset: String(position) });
          resumeInClient([state]);
        }
      }
    }
  }

  const watchdog = setInterval(() => {
    watch().catch((error) => log.debug('watchdog could not look', { error: asError(error).message }));
  }, watchdogEveryMs);
  watchdog.unref();

  // ---- starting, stopping

  function pauseInClient(list: readonly TopicPartition[]): void {
    try {
      consumer.pause(grouped(list));
    } catch {
      // Not running (stopping or between a crash and its restart): nothing to pause.
    }
  }

  function resumeInClient(list: readonly TopicPartition[]): void {
    try {
      consumer.resume(grouped(list));
    } catch {
      // As above; the next assignment begins with everything running.
    }
  }

  await consumer.connect();
  await consumer.subscribe({ topics: [...topics], fromBeginning: true });
  // After this function has returned, so that the first batch finds its caller complete.
  setImmediate(() => {
    consumer
      .run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: 64,
        eachBatch,
      })
      .catch((error) => die(asError(error)));
  });

  return {
    get epoch() {
      return epoch;
    },
    commit(offsets, atEpoch) {
      if (atEpoch !== epoch || assigning) return;
      for (const { topic, partition, offset } of offsets) {
        const key = keyOf(topic, partition);
        const known = pending.get(key);
        if (!partitions.has(key) || (known !== undefined && known.offset >= offset)) continue;
        pending.set(key, { topic, partition, offset });
        // Progress within a long batch, for the watchdog.
        partitions.get(key)!.runningSinceMs = Date.now();
      }
      scheduleFlush();
    },
    flushCommits: flush,
    pause(list) {
      for (const { topic, partition } of list) {
        const state = partitions.get(keyOf(topic, partition));
        if (state) state.pausedByUser = true;
      }
      pauseInClient(list);
    },
    resume(list) {
      const resumable: TopicPartition[] = [];
      for (const { topic, partition } of list) {
        const state = partitions.get(keyOf(topic, partition));
        if (state === undefined) continue;
        state.pausedByUser = false;
        state.movedAtMs = Date.now();
        if (state.running === undefined) resumable.push(state);
      }
      if (resumable.length > 0) resumeInClient(resumable);
    },
    seek({ topic, partition, offset }) {
      const state = partitions.get(keyOf(topic, partition));
      if (state === undefined) return;
      state.position = offset;
      state.mismatches = 0;
      consumer.seek({ topic, partition, offset: String(offset) });
    },
    async stop() {
      if (stopping) return;
      stopping = true;
      clearInterval(watchdog);
      await endsWithin(assignment, 2_000);
      await settled().catch((error) => log.warn(asError(error).message));
      // Now, not in consumer.stop(): by then kafkajs commits nothing any more.
      await endsWithin(flush(), 5_000);
      await endsWithin(
        consumer.disconnect().catch((error) => {
          log.warn('leaving the group failed', { error: asError(error).message });
        }),
        8_000,
      );
      memberships.left(groupId);
    },
  };

  async function settled(): Promise<void> {
    if (handling.size === 0) return;
    if (!(await endsWithin(Promise.all(handling), 15_000))) {
      throw new MusterError(
        'MUSTER_KAFKA_STALLED',
        'a handler did not end within 15 s after its partition was lost',
      );
    }
  }
}

const fencedTypes = new Set([
  'ILLEGAL_GENERATION',
  'UNKNOWN_MEMBER_ID',
  'REBALANCE_IN_PROGRESS',
  'FENCED_INSTANCE_ID',
]);

async function checkTopics(admin: Admin, { topics, coPartitioned }: PartitionConsumerOptions): Promise<void> {
  let counts = await admin.partitionCounts(topics);
  const missing = () => topics.filter((topic) => !counts.has(topic));
  // A topic made a moment ago is known to the controller first and to the broker that answers here a little later.
  for (const giveUpAt = Date.now() + 3_000; missing().length > 0 && Date.now() < giveUpAt; ) {
    await sleep(200);
    counts = await admin.partitionCounts(topics);
  }
  if (missing().length > 0) {
    throw new MusterError(
      'MUSTER_KAFKA_TOPIC_MISSING',
      `no such topic: ${missing().join(', ')}. Create it with ./muster topics apply.`,
    );
  }
  if (coPartitioned && new Set(counts.values()).size > 1) {
    throw new MusterError(
      'MUSTER_KAFKA_NOT_COPARTITIONED',
      `the topics of a join need equal partition counts: ${[...counts].map(([topic, count]) => `${topic} has ${count}`).join(', ')}`,
    );
  }
}

function grouped(list: readonly TopicPartition[]): { topic: string; partitions: number[] }[] {
  return [...Map.groupBy(list, ({ topic }) => topic)].map(([topic, entries]) => ({
    topic,
    partitions: entries.map(({ partition }) => partition),
  }));
}

/** True when the promise settles in time. A rejection in time is passed on. */
async function endsWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

function isBug(error: unknown): boolean {
  return error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
