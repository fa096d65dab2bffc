import test from 'ava';
import { testLog } from '../kafka/testing.ts';
import { gapMs, startDueWork } from './due-work.ts';

interface Row {
  readonly id: string;
  readonly traceparent: string | undefined;
}

/** Rows that are due, and steps that end when they are told to. */
function rows(ids: readonly string[], t: { teardown(end: () => Promise<void>): void }, atOnce = 2) {
  const due = [...ids];
  const steps = new Map<string, PromiseWithResolvers<void>>();
  let begun = Promise.withResolvers<void>();
  const work = startDueWork<Row>({
    what: 'rows',
    nextInMs: async () => (due.length > 0 ? 0 : Number.POSITIVE_INFINITY),
    claim: async (most) => due.splice(0, most).map((id) => ({ id, traceparent: undefined })),
    work({ id }) {
      const step = Promise.withResolvers<void>();
      steps.set(id, step);
      begun.resolve();
      return step.promise;
    },
    atOnce,
    log: testLog,
    // Only what wakes it makes it look.
    everyMs: 3_600_000,
  });
  t.teardown(async () => {
    for (const step of steps.values()) step.resolve();
    await work.stop();
  });
  return {
    work,
    due,
    steps,
    async until(count: number): Promise<readonly string[]> {
      while (steps.size < count) {
        await begun.promise;
        begun = Promise.withResolvers();
      }
      return [...steps.keys()];
    },
  };
}

test('so many steps run side by side, and the next begins when one ends', async (t) => {
  const { steps, due, until } = rows(['a', 'b', 'c', 'd'], t);
  t.deepEqual(await until(2), ['a', 'b']);
  t.deepEqual(due, ['c', 'd']);
  steps.get('b')!.resolve();
  t.deepEqual(await until(3), ['a', 'b', 'c']);
  t.deepEqual(due, ['d']);
});

test('what becomes due is begun when it is woken', async (t) => {
  const { work, due, until } = rows(['a'], t);
  await until(1);
  due.push('b');
  work.wake();
  t.deepEqual(await until(2), ['a', 'b']);
});

test('what was claimed elsewhere is begun at once, and takes the room of others', async (t) => {
  const { work, due, steps, until } = rows([], t);
  t.is(work.room(), 2);
  work.begin({ id: 'mine', traceparent: undefined });
  t.deepEqual(await until(1), ['mine']);
  t.is(work.room(), 1);
  due.push('a', 'b');
  work.wake();
  t.deepEqual(await until(2), ['mine', 'a']);
  t.is(work.room(), 0);
  steps.get('mine')!.resolve();
  t.deepEqual(await until(3), ['mine', 'a', 'b']);
});

test('a step that fails ends neither the others nor the looking', async (t) => {
  const { steps, until } = rows(['a', 'b', 'c'], t);
  await until(2);
  steps.get('a')!.reject(new Error('the database is away'));
  t.deepEqual(await until(3), ['a', 'b', 'c']);
});

test('a look that fails is made again', async (t) => {
  let looks = 0;
  const seen = Promise.withResolvers<void>();
  const work = startDueWork<Row>({
    what: 'rows',
    nextInMs: async () => 0,
    async claim() {
      looks += 1;
      if (looks === 1) throw new Error('the database is away');
      seen.resolve();
      return [];
    },
    async work() {},
    atOnce: 1,
    log: testLog,
    everyMs: 1,
  });
  await seen.promise;
  await work.stop();
  t.true(looks >= 2);
});

test('what is due later is claimed when its time has come, and not asked for before', async (t) => {
  const dueAtMs = performance.now() + 60;
  const asked: string[] = [];
  const seen = Promise.withResolvers<void>();
  const work = startDueWork<Row>({
    what: 'rows',
    async nextInMs() {
      asked.push('next');
      return dueAtMs - performance.now();
    },
    async claim() {
      asked.push('claim');
      seen.resolve();
      return [];
    },
    async work() {},
    atOnce: 1,
    log: testLog,
    everyMs: 3_600_000,
  });
  await seen.promise;
  await work.stop();
  t.true(performance.now() >= dueAtMs);
  t.is(asked.at(-1), 'claim');
  t.true(asked.length <= 4, asked.join());
});

test('who is woken while there is no room looks when a step has ended', async (t) => {
  const { work, due, steps, until } = rows([], t, 1);
  work.begin({ id: 'mine', traceparent: undefined });
  await until(1);
  due.push('a');
  work.wake();
  await new Promise((resolve) => setImmediate(resolve));
  steps.get('mine')!.resolve();
  t.deepEqual(await until(2), ['mine', 'a']);
});

test('who stops it waits for the steps that are under way', async (t) => {
  const { work, steps, until, due } = rows(['a', 'b', 'c'], t);
  await until(2);
  let stopped = false;
  const stopping = work.stop().then(() => {
    stopped = true;
  });
  steps.get('a')!.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  t.false(stopped);
  steps.get('b')!.resolve();
  await stopping;
  t.deepEqual(due, ['c'], 'nothing new is begun');
});

test('gaps between calls that lead nowhere grow up to a minute', (t) => {
  t.deepEqual([0, 1, 2, 7, 100].map(gapMs), [1_000, 1_000, 2_000, 60_000, 60_000]);
});
