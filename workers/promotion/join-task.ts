/** A task of the join: partition i of both inputs and of both repartition topics, with what was fetched and not yet read. */
import type { Batch, IncomingRecord } from '../kafka/kafka.ts';
import { createJoin, type Join, type JoinOptions } from './join.ts';
import { type Source, source, sources } from './join-runs.ts';

/** Records taken from one source before the others are looked at again. */
const runLength = 512;
/** Fetched records a source may have waiting. */
const pauseAbove = 2_000;
const resumeBelow = 500;
/** Acts may be read this far ahead of purchases, in append time, and are held back for as long. */
const actsAheadMs = 120_000;
const actsWaitMs = 30_000;

interface Queue {
  readonly batches: Batch[];
  /** Index of the next record in the first batch. */
  next: number;
  records: number;
  paused: boolean;
  /** Highest end offset heard of. */
  end: number;
}

/** One value for each source. */
export type OfSources<T> = readonly [purchase: T, purchaseByUser: T, act: T, actByUser: T];

export function ofSources<T>(of: (one: Source) => T): OfSources<T> {
  return sources.map(of) as unknown as OfSources<T>;
}

export interface JoinTask {
  readonly partition: number;
  readonly epoch: number;
  readonly join: Join;
  readonly queues: OfSources<Queue>;
  /** Where reading begins; everything below was done in an earlier life. */
  readonly start: OfSources<number>;
  readonly low: OfSources<number>;
  restored: boolean;
  /** Taken away meanwhile. */
  dead: boolean;
  pumping: boolean;
  /** Since when (monotonic ms) the head waits for another source to catch up; 0: it does not. */
  waitingSinceMs: number;
}

export function createTask(
  partition: number,
  epoch: number,
  edges: OfSources<{ readonly low: number; readonly high: number; readonly start: number }>,
  options: JoinOptions,
): JoinTask {
  const join = createJoin(options);
  for (const one of sources) join.startAt(one, edges[one].start);
  return {
    partition,
    epoch,
    join,
    queues: ofSources((one) => ({ batches: [], next: 0, records: 0, paused: false, end: edges[one].high })),
    start: ofSources((one) => edges[one].start),
    low: ofSources((one) => edges[one].low),
    restored: false,
    dead: false,
    pumping: false,
    waitingSinceMs: 0,
  };
}

/** Takes in what was fetched. Returns whether no more is to be fetched for now. */
export function enqueue(task: JoinTask, one: Source, batch: Batch): boolean {
  const queue = task.queues[one];
  queue.batches.push(batch);
  queue.records += batch.records.length;
  queue.end = Math.max(queue.end, batch.highWatermark);
  if (queue.records <= pauseAbove || queue.paused) return false;
  queue.paused = true;
  return true;
}

/** The next records of a source that has some, at most a run's length. */
export function dequeue(task: JoinTask, one: Source): readonly IncomingRecord[] {
  const queue = task.queues[one];
  const { records } = queue.batches[0]!;
  const from = queue.next;
  const until = Math.min(records.length, from + runLength);
  queue.records -= until - from;
  queue.next = until;
  if (until === records.length) {
    queue.batches.shift();
    queue.next = 0;
  }
  return from === 0 && until === records.length ? records : records.slice(from, until);
}

/** Whether fetching of a source is to go on, after some of it was read. */
export function resumes(task: JoinTask, one: Source): boolean {
  const queue = task.queues[one];
  if (!queue.paused || queue.records > resumeBelow) return false;
  queue.paused = false;
  return true;
}

export function readToEnd(task: JoinTask, one: Source): boolean {
  return task.queues[one].records === 0 && (task.join.position(one) ?? 0) >= task.queues[one].end;
}

/** Acts first, so that of two records of one ms the act is known when the purchase comes. */
const actsFirst = [source.act, source.actByUser, source.purchase, source.purchaseByUser] as const;
const actSources = [source.act, source.actByUser] as const;
const purchaseSources = [source.purchase, source.purchaseByUser] as const;

/**
 * The source whose next record was appended first; undefined when there is nothing, or it has to wait: a side that has
 * more to read, but not here yet, is waited for (purchases as long as a miss is held), else the other would run away
 * from it. `nowMs` is monotonic.
 */
export function nextSource(task: JoinTask, nowMs: number, missHoldMs: number): Source | undefined {
  let best: Source | undefined;
  let bestMs = Number.POSITIVE_INFINITY;
  for (const one of actsFirst) {
    const queue = task.queues[one];
    const head = queue.batches[0]?.records[queue.next];
    if (head !== undefined && head.timestampMs < bestMs) {
      best = one;
      bestMs = head.timestampMs;
    }
  }
  if (best === undefined) return undefined;
  const isPurchase = best < source.act;
  const aheadMs = isPurchase ? 0 : actsAheadMs;
  const behind = (isPurchase ? actSources : purchaseSources).some(
    (one) =>
      task.queues[one].records === 0 &&
      !readToEnd(task, one) &&
      task.join.appendPosition(one) + aheadMs < bestMs,
  );
  if (!behind) {
    task.waitingSinceMs = 0;
    return best;
  }
  if (task.waitingSinceMs === 0) task.waitingSinceMs = nowMs;
  return nowMs - task.waitingSinceMs >= (isPurchase ? missHoldMs : actsWaitMs) ? best : undefined;
}
