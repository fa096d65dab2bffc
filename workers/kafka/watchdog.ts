/**
 * Ends a consumer that makes no progress although it could. What is known to wait (for a store that said "not now", for a
 * record that is not due yet, for a free place) is no try and is not looked at: waits may be as long as they like. A try must
 * end, one way or the other.
 *
 * Looks are counted and not milliseconds: a process that was stopped, or whose clock was set, has not looked meanwhile.
 */
import type { Logger } from 'winston';
import { MusterError } from '../base/errors.ts';

export interface Patience {
  readonly lookEveryMs: number;
  /** Looks at which something stands before it is nudged, and before the process ends. */
  readonly nudgeAfter: number;
  readonly endAfter: number;
}

export const patience: Patience = { lookEveryMs: 15_000, nudgeAfter: 3, endAfter: 8 };

/** A piece of work that has begun. */
export interface Try {
  /** It has come further: its time begins anew. */
  progressed(): void;
  end(): void;
}

/** Something that could go on and stands. Its key names where it stands: one that has moved is another. */
export interface Standing {
  readonly key: string;
  readonly what: string;
  nudge?(): void;
}

export interface Watchdog {
  begin(what: string): Try;
  stop(): void;
}

export function startWatchdog(options: {
  readonly patience: Patience;
  readonly log: Logger;
  /** What stands at this look. A rejection tells nothing: whoever cannot be asked is away. */
  standing(): Promise<readonly Standing[]>;
  /** MUSTER_KAFKA_STALLED. */
  onStalled(error: MusterError): void;
}): Watchdog {
  const { log } = options;
  const { lookEveryMs, nudgeAfter, endAfter } = options.patience;
  const tries = new Map<Try, { readonly what: string; looks: number }>();
  let standingFor = new Map<string, number>();
  let looking = false;

  function judge(what: string, looks: number, nudge?: () => void): void {
    if (looks <= nudgeAfter) return;
    log.warn('no progress', { what, looks });
    if (looks > endAfter) {
      const seconds = Math.round((looks * lookEveryMs) / 1_000);
      options.onStalled(new MusterError('MUSTER_KAFKA_STALLED', `${what} for ${seconds} s`));
    } else nudge?.();
  }

  async function look(): Promise<void> {
    for (const one of tries.values()) judge(one.what, ++one.looks);
    const found = await options.standing();
    standingFor = new Map(found.map(({ key }) => [key, (standingFor.get(key) ?? 0) + 1]));
    for (const { key, what, nudge } of found) judge(what, standingFor.get(key)!, nudge);
  }

  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    look()
      .catch((error: unknown) => log.debug('the watchdog could not look', { error }))
      .finally(() => {
        looking = false;
      });
  }, lookEveryMs);
  timer.unref();

  return {
    begin(what) {
      const state = { what, looks: 0 };
      const one: Try = {
        progressed() {
          state.looks = 0;
        },
        end: () => void tries.delete(one),
      };
      tries.set(one, state);
      return one;
    },
    stop: () => clearInterval(timer),
  };
}
