/** What a consumer has been given: its partitions, where each begins, how far each has come. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Link } from '@opentelemetry/api';
import type { EachBatchPayload } from 'kafkajs';
import type { Logger } from 'winston';
import { isNotNow } from '../base/errors.ts';
import type { GroupClient } from './group-client.ts';
import type { Admin, PartitionConsumerOptions, StartOffsets, TopicPartition } from './kafka.ts';
import type { Standing, Try } from './watchdog.ts';

export interface PartitionState extends TopicPartition {
  /** Offset of the next record to hand over. */
  position: number;
  /** The position at the watchdog's last look. */
  lookedAt: number;
  /** The handling of a batch with all its waits. */
  running: Promise<void> | undefined;
  /** The try that is under way. */
  attempt: Try | undefined;
  pausedByUser: boolean;
  mismatches: number;
  links: readonly Link[];
}

export interface Assignment {
  readonly epoch: number;
  readonly list: readonly TopicPartition[];
  /** By keyOf(); empty until every partition has its start. */
  partitions: ReadonlyMap<string, PartitionState>;
  started: boolean;
  /** Aborted when the next one has come or the consumer stops: nothing waits any longer. */
  readonly over: AbortController;
  /** kafkajs' commit without its retries, which could carry an old commit into the next generation. */
  commitOnce: EachBatchPayload['commitOffsetsIfNecessary'] | undefined;
}

export const keyOf = (topic: string, partition: number) => `${topic} ${partition}`;

export function newAssignment(epoch: number, list: readonly TopicPartition[]): Assignment {
  return {
    epoch,
    list,
    partitions: new Map(),
    started: false,
    over: new AbortController(),
    commitOnce: undefined,
  };
}

export function begin(assignment: Assignment, starts: StartOffsets): void {
  assignment.partitions = new Map(
    starts.map(({ topic, partition, offset }): [string, PartitionState] => [
      keyOf(topic, partition),
      {
        topic,
        partition,
        position: offset,
        lookedAt: -1,
        running: undefined,
        attempt: undefined,
        pausedByUser: false,
        mismatches: 0,
        links: [],
      },
    ]),
  );
  assignment.started = true;
}

/**
 * Asks onAssigned where to begin, and the cluster for what it leaves open; again while something is away, and for 30 s
 * whatever else goes wrong. Undefined: the assignment is over.
 */
export async function startsOf(
  { list, epoch, over: { signal } }: Assignment,
  { admin, options, log }: StartDeps,
): Promise<StartOffsets | undefined> {
  const giveUpAt = Date.now() + 30_000;
  for (let waitMs = 100; !signal.aborted; waitMs = Math.min(waitMs * 2, 2_000)) {
    try {
      const asked = (await options.onAssigned?.(list, epoch)) ?? [];
      const starts = await startOffsets(list, asked, { admin, options, log });
      return signal.aborted ? undefined : starts;
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!isNotNow(error) && (Date.now() > giveUpAt || isBug(error))) throw error;
      log.warn('could not take the assignment on, trying again', { error });
    }
    await sleep(waitMs, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

interface StartDeps {
  readonly admin: Admin;
  readonly options: PartitionConsumerOptions;
  readonly log: Logger;
}

/** The offset each partition begins at: what was asked for, else what is committed, else the earliest. */
async function startOffsets(
  list: readonly TopicPartition[],
  given: StartOffsets,
  { admin, options, log }: StartDeps,
): Promise<StartOffsets> {
  const asked = new Map(given.map(({ topic, partition, offset }) => [keyOf(topic, partition), offset]));
  const result: (TopicPartition & { offset: number })[] = [];
  for (const [topic, mine] of Map.groupBy(list, (entry) => entry.topic)) {
    const ends = new Map((await admin.offsets(topic)).map((entry) => [entry.partition, entry]));
    const committed = mine.some(({ partition }) => !asked.has(keyOf(topic, partition)))
      ? await admin.committed(options.groupId, topic)
      : new Map<number, number | undefined>();
    for (const { partition } of mine) {
      const { low = 0, high = 0 } = ends.get(partition) ?? {};
      const wanted = asked.get(keyOf(topic, partition)) ?? committed.get(partition) ?? low;
      const outside = wanted < low || wanted > high;
      if (outside)
        log.error('a start offset is outside of the log; beginning at the earliest that is there', {
          topic,
          partition,
          wanted,
          low,
          high,
        });
      result.push({ topic, partition, offset: outside ? low : wanted });
    }
  }
  return result;
}

/** Partitions that hold more than was read of them, did so at the last look, and are neither paused nor being handled. */
export async function standingPartitions(
  { partitions }: Assignment,
  admin: Admin,
  client: Pick<GroupClient, 'seek' | 'resume'>,
): Promise<readonly Standing[]> {
  const idle = [...partitions.values()].filter((state) => {
    const stands = state.lookedAt === state.position;
    state.lookedAt = state.position;
    return stands && state.running === undefined && !state.pausedByUser;
  });
  const found: Standing[] = [];
  const ends = await admin.ends([...new Set(idle.map(({ topic }) => topic))]);
  for (const state of idle) {
    const { topic, partition, position } = state;
    const end = ends.get(topic)?.get(partition) ?? 0;
    if (state.running !== undefined || position >= end) continue;
    found.push({
      key: `${topic} ${partition} ${position}`,
      what: `${topic}-${partition} stands at ${position} of ${end}`,
      nudge() {
        client.seek({ topic, partition, offset: position });
        client.resume([state]);
      },
    });
  }
  return found;
}

function isBug(error: unknown): boolean {
  return error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
}
