/** Carries moves of money out, a call at a time. */
import type { Logger } from '../base/log.ts';
import { untilUp } from '../base/not-now.ts';
import { type DueWork, startDueWork } from './due-work.ts';
import type { Change, Claimed, MoveStore } from './move.ts';
import type { MakeCall } from './move-calls.ts';

export interface MoveWorkOptions {
  /** For log lines and spans: `remittances`. */
  readonly what: string;
  readonly moves: Pick<MoveStore, 'claim' | 'finish'>;
  readonly makeCall: MakeCall;
  /** Longer than a call and the commit after it. */
  readonly leaseMs: number;
  readonly log: Logger;
  /** Called after each step, with what it changed. */
  onChange(change: Change | undefined): void;
  readonly everyMs?: number;
}

/** A step waits most of its time: for money, and for the commits that it shares. */
const atOnce = 128;

/** Works on moves whose time has come, until stopped. */
export function carryOut(options: MoveWorkOptions): DueWork<Claimed> {
  const { what, moves, makeCall, leaseMs, log } = options;
  const work: DueWork<Claimed> = startDueWork<Claimed>({
    what,
    claim: (most) => moves.claim(most, leaseMs),
    async work(claimed, stopping) {
      const word = await makeCall(claimed.one);
      const change = await untilUp(() => moves.finish(claimed, word), { signal: stopping });
      options.onChange(change);
      if (change?.againInMs === 0) work.wake();
    },
    atOnce,
    log,
    ...(options.everyMs === undefined ? {} : { everyMs: options.everyMs }),
  });
  return work;
}
