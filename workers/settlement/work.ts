/** Closes periods, sums them up and carries their lines out, a step at a time. */
import type { Registry } from 'prom-client';
import { metrics } from '../../catalog/metrics.ts';
import type { Logger } from '../base/log.ts';
import { counter } from '../base/metrics.ts';
import { untilUp } from '../base/not-now.ts';
import { type DueWork, startDueWork } from '../platform/due-work.ts';
import type { LineStore } from './lines.ts';
import type { RunStore } from './runs.ts';
import type { MakeCall } from './services.ts';
import { type Change, isOpen } from './settlement.ts';

/** Counts lines that have ended or stopped. */
export function counting(registry: Registry): (change: Change | undefined) => void {
  const ended = counter(registry, metrics.settlement.lines);
  return (change) => {
    if (change !== undefined && !isOpen(change.next)) ended.inc({ state: change.next.state as 'DONE' });
  };
}

type Working = Pick<DueWork<never>, 'wake' | 'stop'>;

/** Works on what is due, until stopped. */
export function carryOut(options: {
  readonly runs: RunStore;
  readonly lines: LineStore;
  readonly makeCall: MakeCall;
  /** Longer than a call and the commit after it. */
  readonly leaseMs: number;
  readonly log: Logger;
  readonly registry: Registry;
  readonly everyMs?: number;
}): Working {
  const { runs, lines, makeCall, leaseMs, log, registry } = options;
  const count = counting(registry);
  const how = { log, ...(options.everyMs === undefined ? {} : { everyMs: options.everyMs }) };
  // No request made them: there is no trace to go on with.
  const traceparent = undefined;
  const summing: Working = startDueWork({
    ...how,
    what: 'settlement runs',
    atOnce: 1,
    nextInMs: () => runs.nextInMs(),
    async claim(most) {
      await runs.closeDue();
      return (await runs.claim(most, leaseMs)).map((runNo) => ({ runNo, traceparent }));
    },
    async work({ runNo }) {
      const more = await runs.sumNext(runNo);
      paying.wake();
      if (more) summing.wake();
    },
  });
  const paying: Working = startDueWork({
    ...how,
    what: 'settlements',
    atOnce: 32,
    nextInMs: () => lines.nextInMs(),
    claim: async (most) => (await lines.claim(most, leaseMs)).map((line) => ({ line, traceparent })),
    async work({ line }, stopping) {
      const word = await makeCall(line);
      const change = await untilUp(() => lines.finish(line, word), { signal: stopping });
      count(change);
      if (change?.againInMs === 0) paying.wake();
      // People have to look: nothing personal is in it.
      if (change?.next.state === 'STOPPED')
        log.warn('a settlement has stopped', { lineId: line.lineId, reason: change.next.failure });
    },
  });
  return {
    wake() {
      summing.wake();
      paying.wake();
    },
    async stop() {
      await Promise.all([summing.stop(), paying.stop()]);
    },
  };
}
