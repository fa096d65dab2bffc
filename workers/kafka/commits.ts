/** Offsets on their way to the broker: gathered for a moment, fenced by their epoch, the highest of a partition wins. */
import type { Logger } from 'winston';
import { type Assignment, keyOf } from './assignment.ts';
import type { GroupClient } from './group-client.ts';
import type { TopicPartition } from './kafka.ts';
import type { KafkaMetrics } from './kafka-metrics.ts';
import { recordCommit } from './tracing-kafka.ts';

const commitEveryMs = 250;
/** The broker says: this member, or this generation of the group, is not the one any more. */
const fencedTypes = new Set([
  'ILLEGAL_GENERATION',
  'UNKNOWN_MEMBER_ID',
  'REBALANCE_IN_PROGRESS',
  'FENCED_INSTANCE_ID',
]);

type Offset = TopicPartition & { readonly offset: number };

export interface Commits {
  /** Notes offsets of an epoch; those of an older one, and of partitions that are not ours, are dropped. */
  add(offsets: readonly Offset[], epoch: number): void;
  /** Writes now. Never rejects: what could not be written is tried again soon. */
  flush(): Promise<void>;
  /** Forgets what is not written. */
  drop(): void;
  /** No more timers. */
  stop(): void;
}

export function createCommits(deps: {
  readonly options: { readonly groupId: string };
  readonly client: GroupClient;
  readonly current: () => Assignment;
  readonly metrics: KafkaMetrics;
  readonly log: Logger;
}): Commits {
  const { client, current, metrics, log } = deps;
  const { groupId } = deps.options;
  let pending = new Map<string, Offset>();
  let flushing: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    flushing = flushing.then(flushOnce);
    return flushing;
  }

  function soon(): void {
    if (!stopped) timer ??= setTimeout(() => void flush(), commitEveryMs);
  }

  async function flushOnce(): Promise<void> {
    const assignment = current();
    if (pending.size === 0 || !assignment.started) return;
    const offsets = [...pending.values()];
    pending = new Map();
    const startMs = Date.now();
    const byTopic = Map.groupBy(offsets, ({ topic }) => topic);
    try {
      await write(assignment, byTopic);
    } catch (error) {
      const { type = (error as Error).name } = error as { type?: string };
      for (const topic of byTopic.keys()) metrics.operation('commit', topic, 0, type);
      if (assignment !== current() || fencedTypes.has(type)) {
        log.info('a commit came too late and was dropped', { type });
        return;
      }
      log.warn('commit failed, will be tried again', { type, error });
      for (const entry of offsets) {
        const key = keyOf(entry.topic, entry.partition);
        if (!pending.has(key)) pending.set(key, entry);
      }
      soon();
      return;
    }
    for (const topic of byTopic.keys()) metrics.operation('commit', topic, (Date.now() - startMs) / 1_000);
    for (const { topic, partition, offset } of offsets) {
      const state = assignment.partitions.get(keyOf(topic, partition));
      if (state === undefined || state.links.length === 0) continue;
      recordCommit(topic, partition, offset, groupId, state.links, startMs);
      state.links = [];
    }
  }

  async function write(
    { commitOnce }: Assignment,
    byTopic: ReadonlyMap<string, readonly Offset[]>,
  ): Promise<void> {
    const topics = [...byTopic].map(([topic, list]) => ({
      topic,
      partitions: list.map(({ partition, offset }) => ({ partition, offset: String(offset) })),
    }));
    if (commitOnce !== undefined) await commitOnce({ topics });
    else
      await client.kafkajs.commitOffsets(
        topics.flatMap(({ topic, partitions }) => partitions.map((entry) => ({ topic, ...entry }))),
      );
  }

  return {
    add(offsets, epoch) {
      const { epoch: now, started, partitions } = current();
      if (epoch !== now || !started) return;
      for (const { topic, partition, offset } of offsets) {
        const key = keyOf(topic, partition);
        const state = partitions.get(key);
        if (state === undefined || (pending.get(key)?.offset ?? -1) >= offset) continue;
        pending.set(key, { topic, partition, offset });
        state.attempt?.progressed();
      }
      soon();
    },
    flush,
    drop: () => pending.clear(),
    stop() {
      stopped = true;
    },
  };
}
