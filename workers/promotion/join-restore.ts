/** The join's state after an assignment: read back from the input topics, which are its changelog. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import type { IncomingRecord, Kafka } from '../kafka/kafka.ts';
import { type JoinOptions, restoreFrom } from './join.ts';
import {
  appendedMsOf,
  firstAppendedMs,
  type Home,
  happenedMs,
  staysAt,
  takeIn,
  topicOf,
  understand,
} from './join-records.ts';
import { type ReadRun, type Source, sources } from './join-runs.ts';
import type { JoinTask } from './join-task.ts';

/** What is appended after a question for the ends may be stamped this much before our clock's time. */
export const clockSkewMs = 5_000;

export interface RestoreDeps {
  readonly kafka: Kafka;
  readonly log: Logger;
  readonly options: JoinOptions;
  readonly timeZone: string;
  readonly homeOf: (userId: string) => Home;
}

/**
 * Reads the state of all tasks back, beside the new data, which waits in the queues. Tries for as long as one of the
 * tasks lives; `done` is called as each task is there.
 */
export async function restoreTasks(
  list: readonly JoinTask[],
  deps: RestoreDeps,
  done: (task: JoinTask) => void,
): Promise<void> {
  const { kafka, log } = deps;
  const beganMs = performance.now();
  let records = 0;
  for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, 3_000)) {
    if (list.every((task) => task.dead)) return;
    try {
      const from = await restoreTimes(list, deps);
      const offsets = await Promise.all(
        topicOf.map((topic, index) => kafka.admin.offsetsAt(topic, index < 2 ? from.purchaseMs : from.actMs)),
      );
      await Promise.all(
        list.map(async (task) => {
          if (task.restored || task.dead) return;
          for (const one of sources) {
            const first = Math.max(task.low[one], offsets[one]!.get(task.partition) ?? task.start[one]);
            records += await restoreSource(task, one, Math.min(first, task.start[one]), deps);
            task.join.startAt(one, task.start[one]);
          }
          if (task.dead) return;
          task.join.restored();
          task.restored = true;
          done(task);
        }),
      );
      log.info('state read back', {
        records,
        tookMs: Math.round(performance.now() - beganMs),
        tasks: list.length,
      });
      return;
    } catch (error) {
      // What was read stays: reading it again changes nothing.
      if (list.every((task) => task.dead)) return;
      log.warn('the state could not be read back, trying again', { error });
      await sleep(pauseMs);
    }
  }
}

/** How far back both sides must be read, for the task that needs most. */
async function restoreTimes(
  list: readonly JoinTask[],
  { kafka, options }: RestoreDeps,
): Promise<{ purchaseMs: number; actMs: number }> {
  const nowMs = Date.now() - clockSkewMs;
  let purchaseMs = nowMs;
  let actMs = nowMs;
  await Promise.all(
    list.map(async (task) => {
      const uncommitted = await Promise.all(
        sources.map(async (from) => {
          const at = task.start[from];
          // Nothing was ever committed: nothing is to be read back.
          if (at === task.low[from] && sources.every((one) => task.start[one] === task.low[one]))
            return nowMs;
          if (at >= task.queues[from].end) return nowMs;
          for await (const [first] of kafka.read(topicOf[from], task.partition, at, at + 1))
            if (first !== undefined) return appendedMsOf(first);
          return nowMs;
        }),
      );
      const needed = restoreFrom(uncommitted as [number, number, number, number], options);
      purchaseMs = Math.min(purchaseMs, needed.purchaseMs);
      actMs = Math.min(actMs, needed.actMs);
    }),
  );
  return { purchaseMs, actMs };
}

/** Feeds [from, start) of a source into the state. Returns the number of records. */
async function restoreSource(task: JoinTask, one: Source, from: number, deps: RestoreDeps): Promise<number> {
  const { kafka, log } = deps;
  const to = task.start[one];
  let position = from;
  let records = 0;
  for (let idle = 0; position < to && !task.dead; ) {
    const before = position;
    for await (const chunk of kafka.read(topicOf[one], task.partition, position, to)) {
      if (task.dead) return records;
      const last = chunk.at(-1);
      if (last === undefined) continue;
      const run = task.join.begin(one, last.offset + 1);
      for (const record of chunk) restoreRecord(task, run, one, record, deps);
      task.join.finish(run, last.timestampMs, 0);
      records += chunk.length;
      position = last.offset + 1;
      await nextTurn();
    }
    if (position > before) idle = 0;
    else {
      idle += 1;
      // The rest may hold nothing but markers, or is deleted by now.
      if (idle >= 3) {
        log.warn('part of the state was not found', {
          topic: topicOf[one],
          partition: task.partition,
          position,
          to,
        });
        break;
      }
    }
  }
  return records;
}

function restoreRecord(
  task: JoinTask,
  run: ReadRun,
  one: Source,
  record: IncomingRecord,
  { timeZone, homeOf }: RestoreDeps,
): void {
  const result = understand(one, record, timeZone);
  if (!result.ok || !staysAt(task.partition, record, homeOf(result.value.userId))) return;
  const { value } = result;
  takeIn(task.join, run, value, {
    happenedMs: happenedMs(value),
    appendedMs: firstAppendedMs(one, record),
    nowMs: 0,
  });
}
