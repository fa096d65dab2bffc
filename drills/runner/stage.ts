/** What a procedure of a drill has at hand. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import type { Faults } from '../faults.ts';

export interface ProcedureStage {
  readonly environment: Environment;
  readonly faults: Faults;
  readonly kafka: Kafka;
  readonly signal: AbortSignal;
  /** Decides what a procedure leaves to chance. */
  readonly seed: number;
  /** Variables with which a worker on this host reaches the environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** Recovery is measured from each of these. */
  disturbed(what: string): void;
  note(what: string): void;
  /** Something that the drill wants within a time, beside what it expects; undefined: it was not so when that was over. */
  measured(name: string, wantedMs: number, tookMs: number | undefined): void;
}

const patienceMs = 180_000;

/** Asks each half second. Throws MUSTER_DRILL_PROCEDURE when it is not so in time (default: 3 minutes). */
export async function until(
  { signal }: Pick<ProcedureStage, 'signal'>,
  what: string,
  is: () => Promise<boolean>,
  withinMs = patienceMs,
): Promise<void> {
  for (const untilMs = Date.now() + withinMs; !(await is()); ) {
    if (Date.now() > untilMs)
      throw new MusterError('MUSTER_DRILL_PROCEDURE', `not within ${withinMs / 1_000} s: ${what}`);
    await sleep(500, undefined, { signal });
  }
}
