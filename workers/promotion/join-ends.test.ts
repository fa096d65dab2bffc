import test from 'ava';
import { createEndWatch } from './join-ends.ts';
import { topicOf } from './join-records.ts';
import { sources } from './join-runs.ts';
import type { JoinTask } from './join-task.ts';

/** A group whose topics have two partitions, the second with seven records; and what is asked of it. */
function group(committed: number) {
  const asked: string[] = [];
  const admin = {
    async ends(topics: readonly string[]) {
      asked.push(`the ends of ${topics.length} topics`);
      return new Map(
        topics.map((topic) => [
          topic,
          new Map([
            [0, 5],
            [1, 7],
          ]),
        ]),
      );
    },
    async committed() {
      asked.push('what is committed');
      return new Map([[1, committed]]);
    },
    async offsets(topic: string) {
      asked.push(topic);
      return [
        { partition: 0, low: 0, high: 5 },
        { partition: 1, low: 0, high: 7 },
      ];
    },
  };
  async function* read() {
    yield [{ timestampMs: 1_000, headers: {} }];
  }
  return { asked, watch: createEndWatch({ admin, read } as never) };
}

/** A partition that is read to its end, and up to when it was told that all has been read, by source. */
function partition(number: number) {
  const upToMs: number[] = [];
  const seen: number[][] = [];
  const task = {
    ...{ partition: number, restored: true },
    queues: sources.map(() => ({ records: 0, end: 0 })),
    join: {
      position: () => 7,
      appendPosition: () => 0,
      caughtUp(one: number, ms: number) {
        upToMs[one] = ms;
      },
      observeEnds: (_: number, ...ends: number[]) => seen.push(ends),
    },
  };
  return { upToMs, seen, task: task as unknown as JoinTask };
}

test('who reads all partitions asks for the ends of all sources at once, and for nothing else', async (t) => {
  const { asked, watch } = group(0);
  const [first, second] = [partition(0), partition(1)];
  const tasks = new Map([first, second].map(({ task }) => [task.partition, task]));
  for (const nowMs of [0, 200, 6_000]) await watch.ask(tasks, nowMs);
  t.deepEqual(new Set(asked), new Set([`the ends of ${topicOf.length} topics`]));
  t.is(asked.length, 3);
  t.deepEqual(
    [first.seen[0], second.seen[0]],
    [
      [5, 5],
      [7, 7],
    ],
  );
});

test('what others have not read yet may still be moved here', async (t) => {
  const lagging = group(3);
  const { task, upToMs } = partition(0);
  await lagging.watch.ask(new Map([[0, task]]), 0);
  t.deepEqual(lagging.asked.slice(1, 3), ['what is committed', topicOf[0]]);
  const [ofOthers, own] = [Math.min(...upToMs), Math.max(...upToMs)];
  // The first that they have not committed was appended at 1,000.
  t.is(ofOthers, 999);
  t.true(own > 1_000_000);
  const keptUp = group(7);
  await keptUp.watch.ask(new Map([[0, task]]), 0);
  t.true(Math.min(...upToMs) > 1_000_000);
});
