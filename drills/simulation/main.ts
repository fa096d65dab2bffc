/**
 * Runs seeds of the simulation in this process, whose time it replaces: seeds.ts starts it as a child, and it answers each
 * Job with a JobReport until its parent is gone.
 */
import { scenarios } from './scenarios.ts';
import { inWorld } from './world.ts';

export interface Job {
  readonly scenario: string;
  /** Bug to seed, one of the scenario's. */
  readonly bug?: string;
  readonly first: number;
  readonly seeds: number;
  /** Failures after which it ends early. */
  readonly stopAt: number;
}

export interface SeedFailure {
  readonly seed: number;
  /** Hash of the whole run: a replay must give the same. */
  readonly digest: string;
  readonly wrong: readonly string[];
  readonly diary: readonly string[];
}

export interface JobReport {
  /** How many were run. */
  readonly seeds: number;
  readonly failures: readonly SeedFailure[];
}

async function run({ scenario, bug, first, seeds, stopAt }: Job): Promise<JobReport> {
  const failures: SeedFailure[] = [];
  let seed = first;
  for (; seed < first + seeds && failures.length < stopAt; seed += 1) {
    const { result, digest, diary } = await inWorld(seed, (world) => scenarios[scenario]!.run(world, bug));
    if (result.length > 0) failures.push({ seed, digest, wrong: result, diary });
  }
  return { seeds: seed - first, failures };
}

process.on('message', async (job: Job) => {
  process.send!(await run(job));
});
process.on('disconnect', () => process.exit());
