/** Carries remittances out, a call at a time. */
import type { Registry } from 'prom-client';
import { metrics } from '../../catalog/metrics.ts';
import type { Logger } from '../base/log.ts';
import { counter } from '../base/metrics.ts';
import { untilUp } from '../base/not-now.ts';
import { type DueWork, startDueWork } from '../platform/due-work.ts';
import type { Change } from './remittance.ts';
import type { MakeCall } from './services.ts';
import type { Claimed, RemittanceStore } from './store.ts';

export interface SagaOptions {
  readonly remittances: RemittanceStore;
  readonly makeCall: MakeCall;
  /** Longer than a call and the commit after it. */
  readonly leaseMs: number;
  readonly log: Logger;
  readonly registry: Registry;
  readonly everyMs?: number;
}

/** A step waits most of its time: for money, and for the commits that it shares. */
const atOnce = 128;

/** Counts remittances that have ended. */
export function counting(registry: Registry): (change: Change | undefined) => void {
  const ended = counter(registry, metrics.remittance.remittances);
  return (change) => {
    if (change !== undefined && change.againInMs === undefined)
      ended.inc({ state: change.next.state as 'DONE' | 'FAILED' });
  };
}

/** Works on remittances whose time has come, until stopped. */
export function carryOut(options: SagaOptions): DueWork<Claimed> {
  const { remittances, makeCall, leaseMs, log } = options;
  const stopping = new AbortController();
  const count = counting(options.registry);
  const work: DueWork<Claimed> = startDueWork<Claimed>({
    what: 'remittances',
    claim: (most) => remittances.claim(most, leaseMs),
    async work(claimed) {
      const word = await makeCall(claimed.one);
      const change = await untilUp(() => remittances.finish(claimed, word), { signal: stopping.signal });
      count(change);
      if (change?.againInMs === 0) work.wake();
    },
    atOnce,
    log,
    ...(options.everyMs === undefined ? {} : { everyMs: options.everyMs }),
  });
  return {
    ...work,
    async stop() {
      stopping.abort();
      await work.stop();
    },
  };
}
