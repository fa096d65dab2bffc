/**
 * Runs seeds of the simulation in this process, whose time it replaces: `./muster simulate` starts it as a child.
 *
 * `node drills/simulation/main.ts <scenario> <first seed> <seeds> <failures to stop at> [bug]`
 * Prints a line of JSON for each failing seed (SeedFailure) and one at the end (SeedTotals); exit 0 whatever it finds.
 */
import { createHash } from 'node:crypto';
import { scenarios } from './scenarios.ts';
import { inWorld } from './world.ts';

export interface SeedFailure {
  readonly seed: number;
  /** Hash of the diary: a replay must give the same. */
  readonly digest: string;
  readonly wrong: readonly string[];
  readonly diary: readonly string[];
}

export interface SeedTotals {
  readonly seeds: number;
  readonly failed: number;
  readonly tookMs: number;
  /** Hash over the digests of all runs. */
  readonly digest: string;
}

const [name, first, seeds, stopAt, bug] = process.argv.slice(2);
const scenario = scenarios[name!]!;
const say = (what: SeedFailure | SeedTotals) => process.stdout.write(`${JSON.stringify(what)}\n`);
const beganMs = performance.now();
const digests = createHash('sha256');
let failed = 0;
let run = 0;
for (let seed = Number(first); run < Number(seeds) && failed < Number(stopAt); seed += 1) {
  run += 1;
  const { result, digest, diary } = await inWorld(seed, (world) => scenario.run(world, bug));
  digests.update(digest);
  if (result.length === 0) continue;
  failed += 1;
  say({ seed, digest, wrong: result, diary });
}
say({
  seeds: run,
  failed,
  tookMs: Math.round(performance.now() - beganMs),
  digest: digests.digest('hex').slice(0, 16),
});
