/** Runs ranges of seeds in child processes, one a core: the simulation replaces its process's time. */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { SeedFailure, SeedTotals } from './main.ts';

export interface SeedsOptions {
  readonly scenario: string;
  /** Bug to seed, one of the scenario's. */
  readonly bug?: string;
  readonly first: number;
  readonly seeds: number;
  /** Failures after which no further seeds are begun. */
  readonly stopAt: number;
  readonly signal?: AbortSignal;
  onProgress?(done: { readonly seeds: number; readonly failed: number }): void;
}

export interface SeedsReport {
  readonly seeds: number;
  /** In the order of seeds. */
  readonly failures: readonly SeedFailure[];
  readonly tookMs: number;
}

const seedsAtOnce = 100;

/** Resolves when all seeds have run, `stopAt` failed or the signal came. Rejects when a child breaks. */
export async function runSeeds(options: SeedsOptions): Promise<SeedsReport> {
  const { first, seeds, stopAt, signal } = options;
  const beganMs = performance.now();
  const failures: SeedFailure[] = [];
  let next = first;
  let done = 0;
  async function lane(): Promise<void> {
    while (next < first + seeds && failures.length < stopAt && signal?.aborted !== true) {
      const from = next;
      const count = Math.min(seedsAtOnce, first + seeds - from);
      next += count;
      const part = await runChild(options, from, count);
      done += part.seeds;
      failures.push(...part.failures);
      options.onProgress?.({ seeds: done, failed: failures.length });
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
  failures.sort((a, b) => a.seed - b.seed);
  return { seeds: done, failures, tookMs: Math.round(performance.now() - beganMs) };
}

async function runChild(
  { scenario, bug, stopAt, signal }: SeedsOptions,
  first: number,
  seeds: number,
): Promise<{ seeds: number; failures: SeedFailure[] }> {
  const args = [scenario, String(first), String(seeds), String(stopAt), ...(bug === undefined ? [] : [bug])];
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const kill = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const failures: SeedFailure[] = [];
  let totals: SeedTotals | undefined;
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const said = JSON.parse(line) as SeedFailure | SeedTotals;
      if ('seed' in said) failures.push(said);
      else totals = said;
    }
    await closed;
  } finally {
    signal?.removeEventListener('abort', kill);
    child.kill('SIGKILL');
  }
  if (totals === undefined && signal?.aborted !== true)
    throw new Error(`the simulation of ${scenario}, seeds ${first} to ${first + seeds - 1}, broke off`);
  return { seeds: totals?.seeds ?? 0, failures };
}
