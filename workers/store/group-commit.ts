/**
 * Group commit: calls that come while work runs are gathered and done together next. One round trip and one flush to the
 * disk then carry many calls, and rows that all of them need (the stock of a best-seller) are locked once for all.
 */
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { createSlots } from '../base/concurrency.ts';
import { isNotNow, NotNowError } from '../base/errors.ts';
import { isLockConflict } from './database-errors.ts';

export interface GroupCommitOptions {
  /** Most calls of one run. */
  readonly most: number;
  /** Calls that may wait; beyond it they are refused with MUSTER_OVERLOADED. */
  readonly waiting: number;
  /** Least time from the beginning of one run to that of the next, so that more share it; `most` do not wait for it. Default 0. */
  readonly everyMs?: number;
}

/**
 * A function that hands its argument to the next `run` and resolves to the answer at the same place. Runs come one after
 * the other; a run that rejects rejects all of its calls. An idle one starts at the end of the present turn.
 */
export function groupCommit<In, Out>(
  run: (calls: readonly In[]) => Promise<readonly Out[]>,
  { most, waiting, everyMs = 0 }: GroupCommitOptions,
): (call: In) => Promise<Out> {
  let queue: { call: In; resolve(answer: Out): void; reject(error: unknown): void }[] = [];
  let running = false;
  let beganMs = Number.NEGATIVE_INFINITY;
  let hurry: (() => void) | undefined;

  /** Ends earlier when `most` wait. */
  async function wait(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    hurry = undefined;
  }

  async function work(): Promise<void> {
    while (queue.length > 0) {
      const waitMs = beganMs + everyMs - performance.now();
      if (waitMs > 1 && queue.length < most) await wait(waitMs);
      beganMs = performance.now();
      const taken = queue.slice(0, most);
      queue = queue.slice(most);
      try {
        const answers = await run(taken.map(({ call }) => call));
        for (const [index, { resolve }] of taken.entries()) resolve(answers[index]!);
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    running = false;
  }

  return (call) =>
    new Promise((resolve, reject) => {
      if (queue.length >= waiting) {
        reject(overloaded());
        return;
      }
      queue.push({ call, resolve, reject });
      if (queue.length >= most) hurry?.();
      if (running) return;
      running = true;
      // A run belongs to many requests: not to the trace of the one that happened to start it.
      setImmediate(() => context.with(ROOT_CONTEXT, work));
    });
}

const overloaded = () => new NotNowError('MUSTER_OVERLOADED', 'too many requests are waiting; try again');

const mostWaiting = 5_000;
/**
 * Calls of runs that were taken apart, side by side: each has a connection while it waits for its lock, and a process has few of
 * them for all of its work, which must not wait for that lock.
 */
const aloneAtOnce = 4;

/**
 * Group commit of what is a transaction. One that fails is taken apart: each of its calls runs by itself, and the runs that follow
 * do not wait for that. So neither what is wrong with one nor a lock that it waits for fails the others. While the database is away
 * nothing is taken apart.
 */
export function inGroups<In, Out>(
  run: (calls: readonly In[]) => Promise<readonly Out[]>,
): (call: In) => Promise<Out> {
  const grouped = groupCommit<In, { readonly value: Out } | 'alone'>(
    async (calls) => {
      try {
        return (await run(calls)).map((value) => ({ value }));
      } catch (error) {
        if (calls.length === 1 || (isNotNow(error) && !isLockConflict(error))) throw error;
        return calls.map(() => 'alone' as const);
      }
    },
    { most: 250, waiting: mostWaiting },
  );
  const slots = createSlots(aloneAtOnce);
  async function alone(call: In): Promise<Out> {
    if (slots.waiting() >= mostWaiting) throw overloaded();
    const release = await slots.next();
    try {
      return (await run([call]))[0]!;
    } finally {
      release();
    }
  }
  return async (call) => {
    const done = await grouped(call);
    return done === 'alone' ? alone(call) : done.value;
  };
}
