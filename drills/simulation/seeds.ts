/** Runs ranges of seeds in child processes, one a core: the simulation replaces its process's time. */
import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Job, JobReport, SeedFailure } from './main.ts';

export interface SeedsOptions extends Job {
  readonly signal?: AbortSignal;
  onProgress?(done: { readonly seeds: number; readonly failed: number }): void;
}

export interface SeedsReport {
  readonly seeds: number;
  /** In the order of seeds. */
  readonly failures: readonly SeedFailure[];
  readonly tookMs: number;
}

const seedsAtOnce = 25;
/** Children without work: starting one costs as much as running fifty seeds. */
const idle: ChildProcess[] = [];

/** Resolves when all seeds have run, `stopAt` failed or the signal came. Rejects when a child breaks. */
export async function runSeeds({ signal, onProgress, ...job }: SeedsOptions): Promise<SeedsReport> {
  const { first, seeds, stopAt } = job;
  const beganMs = performance.now();
  const failures: SeedFailure[] = [];
  let next = first;
  let done = 0;
  async function lane(): Promise<void> {
    while (next < first + seeds && failures.length < stopAt && signal?.aborted !== true) {
      const from = next;
      const count = Math.min(seedsAtOnce, first + seeds - from);
      next += count;
      const part = await inChild({ ...job, first: from, seeds: count }, signal);
      done += part.seeds;
      failures.push(...part.failures);
      onProgress?.({ seeds: done, failed: failures.length });
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
  failures.sort((a, b) => a.seed - b.seed);
  return { seeds: done, failures, tookMs: Math.round(performance.now() - beganMs) };
}

async function inChild(job: Job, signal: AbortSignal | undefined): Promise<JobReport> {
  const child = idle.pop() ?? fork(join(import.meta.dirname, 'main.ts'), { execArgv: [] });
  const kill = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  // It keeps this process alive only while it works, and ends with it.
  child.ref();
  child.channel?.ref();
  try {
    const report = await new Promise<JobReport | undefined>((resolve) => {
      child.once('message', (said) => resolve(said as JobReport));
      child.once('exit', () => resolve(undefined));
      child.send(job);
    });
    if (report !== undefined) {
      idle.push(child);
      return report;
    }
    if (signal?.aborted === true) return { seeds: 0, failures: [] };
    throw new Error(
      `the simulation of ${job.scenario}, seeds ${job.first} to ${job.first + job.seeds - 1}, broke off`,
    );
  } finally {
    signal?.removeEventListener('abort', kill);
    child.removeAllListeners('message').removeAllListeners('exit');
    child.unref();
    child.channel?.unref();
  }
}
