/** Batches on their way from kafkajs to the handler: in place, one at a time per partition, again while they have to wait. */
import type { EachBatchPayload } from 'kafkajs';
import type { Logger } from 'winston';
import { untilUp } from '../base/not-now.ts';
import { type Assignment, keyOf, type PartitionState } from './assignment.ts';
import type { FetchedRecord } from './fetched-records.ts';
import type { GroupClient } from './group-client.ts';
import type { Batch, PartitionConsumerOptions, Wait } from './kafka.ts';
import type { KafkaMetrics } from './kafka-metrics.ts';
import { recordPoll } from './tracing-kafka.ts';
import type { Watchdog } from './watchdog.ts';

/** A handler may hold kafkajs' fetch loop this long; after that its partition is paused instead. */
const patienceMs = 250;

export interface Batches {
  eachBatch(payload: EachBatchPayload): Promise<void>;
  /** Resolves when no handler is at work, of this assignment or of one before it. */
  settled(): Promise<void>;
}

export function createBatches(deps: {
  readonly options: PartitionConsumerOptions;
  readonly client: GroupClient;
  readonly clientId: string;
  readonly current: () => Assignment;
  readonly watchdog: Watchdog;
  readonly metrics: KafkaMetrics;
  readonly log: Logger;
  onFatal(error: Error): void;
}): Batches {
  const { options, current, watchdog, metrics, log } = deps;
  const { groupId } = options;
  const handling = new Set<Promise<void>>();

  async function eachBatch(payload: EachBatchPayload): Promise<void> {
    const assignment = current();
    const { topic, partition } = payload.batch;
    const state = assignment.partitions.get(keyOf(topic, partition));
    if (state === undefined || assignment.over.signal.aborted || payload.isStale()) return;
    assignment.commitOnce = payload.commitOffsetsIfNecessary;
    if (state.running !== undefined || state.pausedByUser) return;
    if (!inPlace(state, Number((payload.batch as unknown as { fetchedOffset: string }).fetchedOffset), deps))
      return;

    const batch = taken(state, payload);
    const to = { topic, partition, offset: state.position };
    const first = attempt(state, batch, assignment.epoch);
    if (first === undefined) return options.onPassed?.(to);
    const run = finish(state, batch, assignment, first, () => options.onPassed?.(to)).finally(() => {
      handling.delete(run);
      state.running = undefined;
    });
    handling.add(run);
    state.running = run;
    if ((await endsWithin(run, patienceMs)) || assignment.over.signal.aborted) return;
    deps.client.pause([state]);
    void run.then(() => {
      if (!assignment.over.signal.aborted && !state.pausedByUser) deps.client.resume([state]);
    });
  }

  /** Moves on past the batch. */
  function taken(state: PartitionState, { batch, resolveOffset }: EachBatchPayload): Batch {
    const { topic, partition, messages } = batch;
    resolveOffset(messages[messages.length - 1]!.offset);
    state.position = Number(batch.lastOffset()) + 1;
    const records = messages as unknown as FetchedRecord[];
    for (const record of records) {
      record.topic = topic;
      record.partition = partition;
    }
    const mine: Batch = { topic, partition, records, highWatermark: Number(batch.highWatermark) };
    metrics.consumed(groupId, topic, records.length);
    const links = recordPoll(mine, groupId, deps.clientId);
    if (links.length > 0) state.links = links;
    return mine;
  }

  /** Hands the batch over. Undefined: it is done already. */
  function attempt(
    state: PartitionState,
    batch: Batch,
    epoch: number,
  ): Promise<Wait | undefined> | undefined {
    const { topic, partition, records } = batch;
    const startedMs = Date.now();
    const seconds = () => (Date.now() - startedMs) / 1_000;
    let result: ReturnType<PartitionConsumerOptions['onBatch']>;
    try {
      result = options.onBatch(batch, epoch);
    } catch (error) {
      result = Promise.reject<undefined>(error);
    }
    if (result === undefined) {
      metrics.processed(groupId, topic, seconds());
      return undefined;
    }
    const one = watchdog.begin(
      `the handling of ${topic}-${partition} from ${records[0]?.offset} on does not end`,
    );
    state.attempt = one;
    return (result as Promise<Wait | undefined>)
      .then(
        (wait) => {
          if (wait === undefined) metrics.processed(groupId, topic, seconds());
          return wait;
        },
        (error: unknown) => {
          metrics.processed(groupId, topic, seconds(), codeOf(error));
          throw error;
        },
      )
      .finally(() => {
        one.end();
        state.attempt = undefined;
      });
  }

  /** Until the handler is done with the batch, the assignment is over, or it fails for good. Never rejects. */
  async function finish(
    state: PartitionState,
    batch: Batch,
    { epoch, over: { signal } }: Assignment,
    first: Promise<Wait | undefined>,
    done: () => void,
  ): Promise<void> {
    const { topic, partition } = batch;
    let next: Promise<Wait | undefined> | undefined = first;
    const again = async () => {
      const present = next ?? attempt(state, batch, epoch);
      next = undefined;
      return present;
    };
    try {
      for (;;) {
        const wait = await untilUp(again, {
          signal,
          onWait: (error) =>
            log.warn('a dependency is away: holding the partition', { code: error.code, topic, partition }),
        });
        if (wait === undefined) return done();
        await orAborted(wait.until, signal);
        if (signal.aborted) return;
      }
    } catch (error) {
      log.error('a handler failed', { code: codeOf(error), topic, partition, error });
      deps.onFatal(error as Error);
    }
  }

  return {
    eachBatch,
    async settled() {
      await Promise.all(handling);
    },
  };
}

/** Whether a batch begins where we are. */
function inPlace(
  state: PartitionState,
  fetchedOffset: number,
  { client, log }: { readonly client: GroupClient; readonly log: Logger },
): boolean {
  if (fetchedOffset === state.position) {
    state.mismatches = 0;
    return true;
  }
  state.mismatches++;
  const { topic, partition, position } = state;
  if (state.mismatches < 3) {
    client.seek({ topic, partition, offset: position });
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

/** True when the promise settles in time. A rejection in time is passed on. */
export async function endsWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
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

/** Resolves with `until`, or at once when the signal is aborted. */
async function orAborted(until: Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  let wake = () => {};
  const aborted = new Promise<void>((resolve) => {
    wake = resolve;
  });
  signal.addEventListener('abort', wake);
  await Promise.race([until, aborted]);
  signal.removeEventListener('abort', wake);
}

function codeOf(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: string };
  return String(code ?? name);
}
