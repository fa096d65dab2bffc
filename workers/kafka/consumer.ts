/**
 * The consumer: kafkajs' group membership and fetching (group-client.ts), our own rules about positions (assignment.ts),
 * handlers (batches.ts), commits (commits.ts) and progress (watchdog.ts).
 *
 * - Positions are ours. On every assignment all partitions are paused until onAssigned has answered and each has been
 *   given an explicit start; a batch that does not begin where we expect is from before and is dropped, since it will
 *   be fetched again. (kafkajs may rejoin in the middle of a fetch and deliver what it had.)
 * - A batch is handed over once, serially per partition. A handler that takes longer than 250 ms is left to run on
 *   while its partition is paused, so that heartbeats and the other partitions go on.
 * - A handler that throws never throws into kafkajs, where it would either end the consumer with the process alive or
 *   loop for ever: "not now" holds the batch and tries it again, however long that takes; anything else is fatal.
 * - A commit carries the epoch in which its work was done. An older one is dropped here; one in flight during a
 *   rebalance is refused by the broker by its generation, because we never let kafkajs retry it under the next one.
 * - A consumer that could go on and does not ends its process. What waits for something known is not looked at.
 */

import type { Kafka as KafkaJs } from 'kafkajs';
import type { Logger } from 'winston';
import { MusterError } from '../base/errors.ts';
import type { Holdings } from './assigner.ts';
import {
  type Assignment,
  begin,
  keyOf,
  newAssignment,
  type PartitionState,
  standingPartitions,
  startsOf,
} from './assignment.ts';
import { createBatches, endsWithin } from './batches.ts';
import { createCommits } from './commits.ts';
import { checkTopics, type GroupClient, openGroupClient } from './group-client.ts';
import type { Admin, PartitionConsumer, PartitionConsumerOptions, TopicPartition } from './kafka.ts';
import type { KafkaMetrics } from './kafka-metrics.ts';
import type { Memberships } from './membership.ts';
import { type Patience, type Standing, startWatchdog } from './watchdog.ts';

export interface ConsumerDeps {
  /** A kafkajs client of its own: kafkajs shares committed offsets between the consumers of one client. */
  readonly client: KafkaJs;
  readonly admin: Admin;
  readonly memberships: Memberships;
  readonly clientId: string;
  readonly log: Logger;
  readonly metrics: KafkaMetrics;
  readonly patience: Patience;
}

/** Joins the group in the background; returns as soon as the topics are known to be there and to fit. */
export async function startConsumer(
  deps: ConsumerDeps,
  options: PartitionConsumerOptions,
): Promise<PartitionConsumer> {
  const { admin, memberships } = deps;
  const { groupId, topics } = options;
  const log = deps.log.child({ group: groupId });
  const partitions = await checkTopics(admin, options);
  await memberships.endFormer(groupId);

  const holdings: Holdings = { slots: [], generation: 0 };
  let assignment = newAssignment(0, []);
  let taking: Promise<void> = Promise.resolve();
  let stopping = false;
  let fatal = false;
  /** Set from a crash until kafkajs has joined again. */
  let restarting = false;
  /**
   * A crash is the end of a try to join, and the next one begins: with two of three brokers away one answers, and no group can
   * be joined, for as long as that lasts.
   */
  let crashes = 0;
  const current = () => assignment;
  const client = openGroupClient(deps.client, { options, log, holdings, restart: () => !stopping });

  function die(error: Error): void {
    if (fatal || stopping) return;
    fatal = true;
    assignment.over.abort();
    log.error('the consumer cannot go on', { error });
    options.onFatal(error);
  }

  const watchdog = startWatchdog({ patience: deps.patience, log, standing, onStalled: die });
  const parts = { ...deps, options, client, current, watchdog, log };
  const commits = createCommits(parts);
  const { eachBatch, settled } = createBatches({ ...parts, onFatal: die });

  async function takeOn(mine: Assignment): Promise<void> {
    await settled();
    if (mine.over.signal.aborted) return;
    const { epoch, list } = mine;
    log.info('partitions assigned', { epoch, partitions: list.map((p) => `${p.topic}-${p.partition}`) });
    const starts = await startsOf(mine, { admin, options, log });
    if (starts === undefined) return;
    for (const start of starts) client.seek(start);
    begin(mine, starts);
    client.resume(list);
  }

  /** A crash that kafkajs does not come back from, or partitions that are not read on. Rejects while Kafka is away. */
  async function standing(): Promise<readonly Standing[]> {
    if (!restarting) return standingPartitions(assignment, admin, client);
    await admin.partitionCounts(topics);
    return [{ key: `restart ${crashes}`, what: 'the consumer does not come back after a crash' }];
  }

  client.kafkajs.on('consumer.group_join', ({ payload }) => {
    restarting = false;
    memberships.joined(groupId, payload.memberId);
    const list = Object.entries(payload.memberAssignment).flatMap(([topic, ids]) =>
      ids.map((partition) => ({ topic, partition })),
    );
    assignment.over.abort();
    assignment = newAssignment(assignment.epoch + 1, list);
    commits.drop();
    holdings.slots = [...new Set(list.map(({ partition }) => partition))].sort((a, b) => a - b);
    holdings.generation = assignment.epoch;
    client.pause(list);
    taking = takeOn(assignment).catch(die);
  });

  // A batch of nothing but control records never reaches eachBatch, yet moves kafkajs on.
  client.kafkajs.on('consumer.end_batch_process', ({ payload }) => {
    if (payload.batchSize !== 0) return;
    const state = assignment.partitions.get(keyOf(payload.topic, payload.partition));
    if (state === undefined) return;
    state.position = Number(payload.lastOffset) + 1;
    options.onPassed?.({ topic: payload.topic, partition: payload.partition, offset: state.position });
  });

  // What is done should not be done again by the next owner: this still counts under the old generation.
  client.kafkajs.on('consumer.rebalancing', () => void commits.flush());

  client.kafkajs.on('consumer.crash', ({ payload: { error, restart } }) => {
    if (!restart) die(new MusterError('MUSTER_KAFKA_CONSUMER_CRASHED', error.message, { cause: error }));
    else log.warn('the consumer crashed and is restarted', { error });
    restarting = restart;
    crashes += 1;
  });

  await client.kafkajs.connect();
  await client.kafkajs.subscribe({ topics: [...topics], fromBeginning: true });
  const run = {
    autoCommit: false,
    eachBatchAutoResolve: false,
    // kafkajs wakes as many workers at each fetch that brings something. Partitions that are added later share them: a handler
    // gives its own back within 250 ms.
    partitionsConsumedConcurrently: partitions,
    eachBatch,
  };
  // After this function has returned, so that the first batch finds its caller complete.
  setImmediate(() => client.kafkajs.run(run).catch(die));

  async function stop(): Promise<void> {
    if (stopping) return;
    stopping = true;
    assignment.over.abort();
    watchdog.stop();
    await endsWithin(taking, 2_000);
    if (!(await endsWithin(settled(), 15_000))) log.warn('a handler did not end within 15 s of the stop');
    // Now, not in consumer.stop(): by then kafkajs commits nothing any more.
    commits.stop();
    await endsWithin(commits.flush(), 5_000);
    const left = client.kafkajs.disconnect();
    await endsWithin(
      left.catch((error: unknown) => log.warn('leaving the group failed', { error })),
      8_000,
    );
    memberships.left(groupId);
  }

  return {
    get epoch() {
      return assignment.epoch;
    },
    commit: commits.add,
    flushCommits: commits.flush,
    ...steering(current, client),
    async watched(what, work) {
      const one = watchdog.begin(what);
      try {
        return await work();
      } finally {
        one.end();
      }
    },
    stop,
  };
}

/** What a capability may do to the reading of its partitions; those that are not its own are left alone. */
function steering(
  current: () => Assignment,
  client: GroupClient,
): Pick<PartitionConsumer, 'pause' | 'resume' | 'seek'> {
  const statesOf = (list: readonly TopicPartition[]): readonly PartitionState[] =>
    list.flatMap(({ topic, partition }) => current().partitions.get(keyOf(topic, partition)) ?? []);
  return {
    pause(list) {
      for (const state of statesOf(list)) state.pausedByUser = true;
      client.pause(list);
    },
    resume(list) {
      const states = statesOf(list);
      for (const state of states) state.pausedByUser = false;
      const resumable = states.filter(({ running }) => running === undefined);
      if (resumable.length > 0) client.resume(resumable);
    },
    seek(to) {
      for (const state of statesOf([to])) {
        state.position = to.offset;
        state.mismatches = 0;
        client.seek(to);
      }
    },
  };
}
