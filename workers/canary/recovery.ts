/** How much would be lost if one more broker were lost now: from what is seen of the copies, again and again. Pure. */
import type { ClusterTopic } from '../kafka/kafka.ts';

export interface PartitionRecovery {
  readonly topic: string;
  readonly partition: number;
  /** Seconds since all copies were seen in sync; 0 while they are. */
  readonly replicationAgeSeconds: number;
  /** Seconds of data that a single copy holds: from when it was left alone to the last record it took. */
  readonly atRiskSeconds: number;
}

export interface Recovery {
  /**
   * What the cluster shows now, and the end offsets of partitions with a single copy left (`partitionKey` -> offset)
   * as far as they are known. Partitions that are no longer there are forgotten.
   */
  see(topics: readonly ClusterTopic[], ends: ReadonlyMap<string, number>, nowMs: number): void;
  at(nowMs: number): readonly PartitionRecovery[];
}

interface Watched {
  readonly topic: string;
  readonly partition: number;
  isFull: boolean;
  fullMs: number;
  /** When more than one copy was seen last. */
  sharedMs: number;
  /** While a single copy is left: its end, and until when it has been seen to take records. */
  alone: { readonly sinceMs: number; untilMs: number; offset: number | undefined } | undefined;
}

/** What has not been seen for this long is not known to be well. */
const staleAfterMs = 10_000;

export const partitionKey = (topic: string, partition: number): string => `${topic} ${partition}`;

/** Partitions that have a single in-sync copy of several: leader -> topic -> partitions. */
export function singleCopies(
  topics: readonly ClusterTopic[],
): ReadonlyMap<number, ReadonlyMap<string, readonly number[]>> {
  const byLeader = new Map<number, Map<string, number[]>>();
  for (const { name, partitions } of topics) {
    for (const { partition, leader, replicas, inSync } of partitions) {
      if (leader < 0 || inSync.length !== 1 || replicas.length === 1) continue;
      const byTopic = byLeader.get(leader) ?? new Map<string, number[]>();
      byLeader.set(leader, byTopic);
      byTopic.set(name, [...(byTopic.get(name) ?? []), partition]);
    }
  }
  return byLeader;
}

export function watchRecovery(): Recovery {
  let watched = new Map<string, Watched>();
  let seenMs = Number.NEGATIVE_INFINITY;
  return {
    see(topics, ends, nowMs) {
      seenMs = nowMs;
      const present = new Map<string, Watched>();
      for (const { name: topic, partitions } of topics) {
        for (const { partition, replicas, inSync } of partitions) {
          const key = partitionKey(topic, partition);
          const one = watched.get(key) ?? {
            topic,
            partition,
            isFull: true,
            fullMs: nowMs,
            sharedMs: nowMs,
            alone: undefined,
          };
          present.set(key, one);
          one.isFull = inSync.length >= replicas.length;
          if (one.isFull) one.fullMs = nowMs;
          // A topic of one copy never promised more. A partition without any keeps what was at risk with its last one.
          if (inSync.length > 1 || replicas.length === 1) {
            one.sharedMs = nowMs;
            one.alone = undefined;
          } else if (inSync.length === 1) {
            const end = ends.get(key);
            one.alone ??= { sinceMs: one.sharedMs, untilMs: one.sharedMs, offset: end };
            const { alone } = one;
            if (end !== undefined && alone.offset !== undefined && end > alone.offset) alone.untilMs = nowMs;
            alone.offset = end ?? alone.offset;
          }
        }
      }
      watched = present;
    },
    at(nowMs) {
      const isStale = nowMs - seenMs > staleAfterMs;
      return [...watched.values()].map(({ topic, partition, isFull, fullMs, alone }) => ({
        topic,
        partition,
        replicationAgeSeconds: isFull && !isStale ? 0 : (nowMs - fullMs) / 1_000,
        atRiskSeconds: alone === undefined ? 0 : (alone.untilMs - alone.sinceMs) / 1_000,
      }));
    },
  };
}
