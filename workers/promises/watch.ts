/**
 * Runs each check in its period and keeps what it said last. Pure but for the clock that it is given. No check, no claim:
 * a promise holds only while evidence of it is young enough.
 */
import { checkDeadlineMs, type PromiseSpec, uncheckedAfterMs } from '../../catalog/promises.ts';
import type { Check, Evidence } from '../platform/checks.ts';

export interface Clock {
  /** UTC ms. */
  nowMs(): number;
  /** Never set, never steps back: what ages are measured by. */
  elapsedMs(): number;
  /** Calls once, after that time; answers how to take that back. */
  after(ms: number, call: () => void): () => void;
}

export interface PromiseState {
  readonly promise: PromiseSpec;
  /**
   * `not checked`: nobody knows now. What was found last stands beside it all the same: what was broken then is not mended
   * because nobody looks.
   */
  readonly status: 'holds' | 'broken' | 'not checked';
  /** When the check began that said so; undefined: none has yet. */
  readonly checkedAtMs: number | undefined;
  readonly broken: number;
  readonly ids: readonly string[];
  /** Since when it is broken. */
  readonly brokenSinceMs: number | undefined;
  /** Why it is not checked. */
  readonly why: string | undefined;
}

export interface WatchOptions {
  readonly checks: readonly { readonly promise: PromiseSpec; readonly check: Check }[];
  readonly clock: Clock;
  /** After each check that said something. */
  onEvidence?(state: PromiseState): void;
  /** After each check that could not, or took too long. */
  onFailure?(promise: PromiseSpec, error: unknown): void;
}

export interface Watch {
  states(): readonly PromiseState[];
  /** Each was tried, whether or not it could be checked. */
  tried(): boolean;
  /** Resolves when nothing runs any more. */
  stop(): Promise<void>;
}

interface Watched {
  readonly promise: PromiseSpec;
  readonly check: Check;
  evidence: (Evidence & { readonly atMs: number; readonly elapsedMs: number }) | undefined;
  /** When it was first seen broken, of those times in a row. */
  firstBrokenMs: number | undefined;
  why: string;
  tried: boolean;
  /** What runs, also beyond its deadline: a check never runs twice at once. */
  running: Promise<void> | undefined;
}

/** What could not look looks again after this, when its period is longer: what was away is often back by then. */
const againMs = 5_000;

/** Begins at once, the checks spread over the shortest period, each in its own from then on. */
export function watchPromises({ checks, clock, onEvidence, onFailure }: WatchOptions): Watch {
  const watched = checks.map(
    ({ promise, check }): Watched => ({
      promise,
      check,
      evidence: undefined,
      firstBrokenMs: undefined,
      why: 'it was not checked yet',
      tried: false,
      running: undefined,
    }),
  );
  const shortestMs = Math.min(...checks.map(({ promise }) => promise.periodMs));
  const cancels = new Map<Watched, () => void>();
  let stopped = false;
  for (const [index, one] of watched.entries()) schedule(one, (index * shortestMs) / watched.length);

  function schedule(one: Watched, inMs: number): void {
    const due = clock.after(inMs, () => {
      schedule(one, one.promise.periodMs);
      if (one.running === undefined) start(one);
    });
    cancels.set(one, due);
  }

  function start(one: Watched): void {
    const { promise } = one;
    const began = { atMs: clock.nowMs(), elapsedMs: clock.elapsedMs() };
    let late = false;
    const failed = (error: unknown) => {
      one.tried = true;
      one.why = error instanceof Error ? error.message : String(error);
      onFailure?.(promise, error);
    };
    const cancelDeadline = clock.after(checkDeadlineMs, () => {
      late = true;
      failed(new Error(`the check did not end within ${checkDeadlineMs / 1_000} s`));
    });
    one.running = Promise.resolve()
      .then(one.check)
      .then(
        (evidence) => {
          if (late) return;
          one.tried = true;
          one.evidence = { ...evidence, ...began };
          one.firstBrokenMs = evidence.broken === 0 ? undefined : (one.firstBrokenMs ?? began.atMs);
          onEvidence?.(stateOf(one));
        },
        (error: unknown) => {
          if (late) return;
          failed(error);
          if (stopped) return;
          cancels.get(one)!();
          schedule(one, Math.min(againMs, promise.periodMs));
        },
      )
      .finally(() => {
        cancelDeadline();
        one.running = undefined;
      });
  }

  function stateOf({ promise, evidence, firstBrokenMs, why }: Watched): PromiseState {
    const young =
      evidence !== undefined && clock.elapsedMs() - evidence.elapsedMs <= uncheckedAfterMs(promise);
    const broken = evidence?.broken ?? 0;
    return {
      promise,
      status: !young ? 'not checked' : broken > 0 ? 'broken' : 'holds',
      checkedAtMs: evidence?.atMs,
      broken,
      ids: evidence?.ids ?? [],
      brokenSinceMs: broken > 0 ? (evidence?.sinceMs ?? firstBrokenMs) : undefined,
      why: young ? undefined : why,
    };
  }

  return {
    states: () => watched.map(stateOf),
    tried: () => watched.every(({ tried }) => tried),
    async stop() {
      stopped = true;
      for (const cancel of cancels.values()) cancel();
      await Promise.all(watched.map(({ running }) => running));
    },
  };
}
