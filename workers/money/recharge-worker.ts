/** Carries recharges out: what worker `money-recharges` does. */
import type { Registry } from 'prom-client';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import type { Logger } from '../base/log.ts';
import { counter, gauge } from '../base/metrics.ts';
import { untilUp } from '../base/not-now.ts';
import { consume } from '../kafka/consume.ts';
import { inSpan } from '../kafka/tracing-kafka.ts';
import { countOpen, type DueWork, startDueWork } from '../platform/due-work.ts';
import type { Started, WorkerDeps } from '../platform/worker.ts';
import { messageOf } from '../store/queue-log.ts';
import { readFirmbankingDecided } from './events.ts';
import { type Firmbankings, wordOf } from './firmbankings.ts';
import { openRecharges } from './recharge.ts';
import type { ClaimedRecharge, RechargeStore } from './recharges.ts';

const atOnce = 16;

/** Works on recharges whose time has come, until stopped. `leaseMs`: longer than a call and the commit after it. */
export function carryOut(options: {
  readonly recharges: RechargeStore;
  readonly firmbankings: Firmbankings;
  readonly leaseMs: number;
  readonly log: Logger;
  readonly registry: Registry;
  readonly everyMs?: number;
}): DueWork<ClaimedRecharge> {
  const { recharges, firmbankings, log, leaseMs } = options;
  const ended = counter(options.registry, metrics.money.recharges);
  return startDueWork<ClaimedRecharge>({
    what: 'recharges',
    claim: (most) => recharges.claim(most, leaseMs),
    async work(claimed, stopping) {
      const { call, one } = claimed;
      const word = await (call === 'ASK' ? firmbankings.ask(one) : firmbankings.find(one));
      const state = await untilUp(() => recharges.finish(claimed, word), { signal: stopping });
      if (state === 'DONE' || state === 'FAILED') ended.inc({ state });
    },
    atOnce,
    log,
    ...(options.everyMs === undefined ? {} : { everyMs: options.everyMs }),
  });
}

/** Hears how firm bankings end; those that are of no recharge are passed over. */
export async function startHearing(
  group: ConsumerGroup,
  recharges: RechargeStore,
  { kafka, log, metrics: registry, fail }: Pick<WorkerDeps, 'kafka' | 'log' | 'metrics' | 'fail'>,
): Promise<Started> {
  const ended = counter(registry, metrics.money.recharges);
  const consumer = await consume(kafka, {
    group,
    log,
    parse: readFirmbankingDecided,
    // A transaction each.
    atOnce: 100,
    async apply(records) {
      for (const { data, record, span } of records) {
        // What it books and tells belongs to the trace of the request.
        const told = () => recharges.told(data.firmbankingId, wordOf(data), messageOf(record));
        const state = await inSpan(span, told);
        if (state === 'DONE' || state === 'FAILED') ended.inc({ state });
      }
      return undefined;
    },
    onFatal: fail,
  });
  const counting = countOpen({
    what: 'recharges',
    open: recharges.open,
    states: openRecharges,
    gauge: gauge(registry, metrics.money.openRecharges),
    log,
  });
  return {
    ready: consumer.ready,
    waitingFor: () => 'its partitions',
    async stop() {
      counting.stop();
      await consumer.stop();
    },
  };
}
