/**
 * Reads a topic from now on without a group: a loop a partition, on connections of its own, so that nothing that happens
 * to a coordinator, to a neighbour partition or to another reader of the process holds it up. It never gives up: a
 * partition without a leader is asked for again, a broker that does not answer in time is left for the new leader.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import type { Follower, FollowOptions } from './kafka.ts';
import { type Broker, noReplica, readCommitted } from './kafkajs-internals.ts';
import { fetchPartition } from './read.ts';
import type { Wire } from './wire.ts';

/** The broker holds a fetch this long when there is nothing; partitions of one leader take turns, so not longer. */
const maxWaitMs = 200;
const maxBytes = 256 * 1024;
const retryMs = 200;
const latest = '-1';
const earliest = '-2';

/** `wire` is closed with the follower; its request timeout is the time after which a broker counts as silent. */
export function followTopic(wire: Wire, log: Logger, options: FollowOptions): Follower {
  const { topic } = options;
  const positions = new Map<number, number>();
  let leaders: Promise<ReadonlyMap<number, number>> | undefined;
  let stopped = false;

  /** One question for all partitions that ask at the same time. */
  function leaderOf(partition: number): Promise<number | undefined> {
    leaders ??= wire
      .metadata([topic])
      .then(({ topicMetadata }) => {
        const found = topicMetadata.find((entry) => entry.topic === topic)?.partitionMetadata ?? [];
        return new Map(found.map(({ partitionId, leader }) => [partitionId, leader]));
      })
      .finally(() => {
        leaders = undefined;
      });
    return leaders.then((map) => map.get(partition));
  }

  async function readFrom(broker: Broker, partition: number, from: string): Promise<number> {
    const { responses } = await broker.listOffsets({
      replicaId: noReplica,
      isolationLevel: readCommitted,
      topics: [{ topic, partitions: [{ partition, timestamp: from }] }],
    });
    return Number(responses[0]!.partitions[0]!.offset);
  }

  async function fetch(broker: Broker, partition: number, position: number): Promise<number> {
    const fetched = await fetchPartition(broker, { topic, partition }, position, { maxWaitMs, maxBytes });
    if (fetched.records.length > 0 && !stopped) options.onRecords(partition, fetched.records);
    return fetched.position;
  }

  async function follow(partition: number): Promise<void> {
    let start = latest;
    let leader: number | undefined;
    while (!stopped) {
      try {
        leader ??= await leaderOf(partition);
        if (leader === undefined || leader < 0) throw new Error('no leader');
        const broker = await wire.broker(leader);
        let position = positions.get(partition);
        if (position === undefined) {
          position = await readFrom(broker, partition, start);
          // A topic made anew begins at 0 again: from then on nothing may be passed over.
          start = earliest;
        }
        positions.set(partition, await fetch(broker, partition, position));
      } catch (error) {
        if (stopped) return;
        const { name, type, message } = error as Error & { type?: string };
        log.debug('following goes on after an error', { topic, partition, leader, error: message });
        if (type === 'OFFSET_OUT_OF_RANGE') positions.delete(partition);
        // No answer: the connection may be dead although the broker is not.
        if (type === undefined && name?.startsWith('KafkaJS') && leader !== undefined && leader >= 0) {
          await wire.drop(leader).catch(() => undefined);
        }
        leader = undefined;
        await sleep(retryMs);
      }
    }
  }

  const loops = options.partitions.map(follow);
  return {
    position: (partition) => positions.get(partition),
    async stop() {
      stopped = true;
      await wire.close();
      await Promise.all(loops);
    },
  };
}
