/**
 * A world with one clock, one source of chance and one diary: the same seed gives the same run, step by step.
 *
 * Time is virtual (timers of the code under test included), so that minutes of back-off and session timeouts pass in
 * milliseconds, and no step depends on how fast the machine is. Random ids and pauses of the code under test come from
 * the seed, too. The idea is FoundationDB's and TigerBeetle's: run the real decisions in a simulated environment that is
 * as hostile as it can be.
 */
import crypto, { createHash } from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import FakeTimers from '@sinonjs/fake-timers';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** The event loop's own turn, kept before time is replaced: after it all promises that could go on have gone on. */
const realTurn = globalThis.setImmediate;

export interface World {
  /** Virtual UTC ms. */
  now(): number;
  /** Whole number in [from, to], both ends included. */
  int(from: number, to: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** Resolves after this much virtual time. */
  sleep(ms: number): Promise<void>;
  /** Runs in the background; a rejection fails the run. */
  spawn(work: () => Promise<void>): void;
  /** Notes an event in the diary. */
  note(what: string): void;
}

const beginMs = Date.UTC(2026, 0, 1);
/** A run that needs more virtual time than this is stuck. */
const longestMs = 30 * 60_000;

/** What came of a run. */
export interface Outcome {
  /** What was wrong; empty: nothing. */
  readonly result: readonly string[];
  readonly diary: readonly string[];
  /** Hash of the diary, the result and the time of every step. */
  readonly digest: string;
}

/**
 * Runs a scenario in a world of its own. A scenario that throws, something it spawned that throws, and a world in which
 * nothing will ever happen again are wrongs too.
 */
export async function inWorld(
  seed: number,
  scenario: (world: World) => Promise<readonly string[]>,
): Promise<Outcome> {
  const clock = FakeTimers.install({
    now: beginMs,
    toFake: [
      'setTimeout',
      'clearTimeout',
      'setInterval',
      'clearInterval',
      'setImmediate',
      'clearImmediate',
      'Date',
      'performance',
    ],
  });
  const giveChanceBack = takeChance(seed);
  syncBuiltinESMExports();
  const random = xoroshiro128plus(seed);
  const diary: string[] = [];
  let steps = 0;
  let result: readonly string[] | undefined;
  const fail = (error: unknown): void => {
    result ??= [error instanceof Error ? error.message : String(error)];
  };
  const world: World = {
    now: () => clock.now,
    int: (from, to) => uniformInt(random, from, to),
    chance: (probability) => uniformInt(random, 0, 999_999) < probability * 1_000_000,
    pick: (list) => list[uniformInt(random, 0, list.length - 1)]!,
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    spawn(work) {
      work().catch(fail);
    },
    note(what) {
      diary.push(`${String(clock.now - beginMs).padStart(7)} ms  ${what}`);
    },
  };
  try {
    scenario(world).then((wrong) => {
      result ??= wrong;
    }, fail);
    for (;;) {
      await new Promise<void>((resolve) => realTurn(resolve));
      if (result !== undefined) break;
      if (clock.countTimers() === 0) fail(new Error('nothing will ever happen again: everything waits'));
      else if (clock.now - beginMs > longestMs)
        fail(new Error(`not done after ${longestMs / 60_000} virtual minutes`));
      else {
        clock.next();
        steps = Math.imul(steps ^ (clock.now - beginMs), 0x01000193);
      }
    }
  } finally {
    clock.uninstall();
    giveChanceBack();
    syncBuiltinESMExports();
  }
  const digest = createHash('sha256')
    .update(JSON.stringify([diary, result, steps]))
    .digest('hex')
    .slice(0, 16);
  return { result: result ?? [], diary, digest };
}

/** Replaces what the process draws by chance; a stream of its own, so that one more id changes nothing else of a run. */
function takeChance(seed: number): () => void {
  const random = xoroshiro128plus(~seed);
  const { randomBytes, randomUUID } = crypto;
  const { random: mathRandom } = Math;
  const bytes = (size: number) => Buffer.from(Array.from({ length: size }, () => uniformInt(random, 0, 255)));
  Object.assign(crypto, {
    randomBytes: bytes,
    randomUUID() {
      const hex = bytes(16).toString('hex');
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
    },
  });
  Math.random = () => uniformInt(random, 0, 2 ** 30 - 1) / 2 ** 30;
  return () => {
    Object.assign(crypto, { randomBytes, randomUUID });
    Math.random = mathRandom;
  };
}
