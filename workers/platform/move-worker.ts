/** What a worker of moves does beside its routes: it carries them out, hears how recharges and firm bankings ended, and counts. */
import type { Counter, Gauge } from 'prom-client';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { consume } from '../kafka/consume.ts';
import { inSpan } from '../kafka/tracing-kafka.ts';
import { messageOf } from '../store/queue-log.ts';
import { countOpen } from './due-work.ts';
import { type Change, type MoveStore, openStates } from './move.ts';
import { callsOf } from './move-calls.ts';
import { readEnd } from './move-ends.ts';
import { carryOut } from './move-work.ts';
import type { WorkerDeps } from './worker.ts';

const timeoutMs = 5_000;
/** For the commit after a call; a call of money may be followed by a look at the account. */
const commitMs = 20_000;
export const moveLeaseMs = timeoutMs + commitMs;

export interface MoveWorkerOptions {
  /** For log lines: `remittances`. */
  readonly what: string;
  readonly moves: MoveStore;
  readonly group: ConsumerGroup;
  /** Those that have ended, and those that are open. */
  readonly ended: Counter<'state'>;
  readonly open: Gauge<'state'>;
  readonly settings: {
    readonly MONEY_URL: string;
    /** Of those that go to bank accounts. */
    readonly BANKING_URL?: string;
    readonly SERVICE_TOKEN: string;
  };
}

export async function startMoves(
  { what, moves, group, ended, open, settings }: MoveWorkerOptions,
  { kafka, log, metrics: registry, fail }: Pick<WorkerDeps, 'kafka' | 'log' | 'metrics' | 'fail'>,
) {
  const count = (change: Change | undefined) => {
    if (change !== undefined && change.againInMs === undefined) ended.inc({ state: change.next.state });
  };
  const work = carryOut({
    what,
    moves,
    makeCall: callsOf({
      moneyUrl: settings.MONEY_URL,
      bankingUrl: settings.BANKING_URL,
      token: settings.SERVICE_TOKEN,
      timeoutMs,
      registry,
    }),
    leaseMs: moveLeaseMs,
    log,
    onChange: count,
  });
  const consumer = await consume(kafka, {
    group,
    log,
    parse: readEnd,
    // A transaction each.
    atOnce: 100,
    async apply(records) {
      for (const { data, record, span } of records)
        count(await inSpan(span, () => moves.told(data, messageOf(record))));
      work.wake();
      return undefined;
    },
    onFatal: fail,
  });
  const counting = countOpen({ what, open: moves.open, states: openStates, gauge: open, log });
  return {
    ...work,
    ready: consumer.ready,
    async stop() {
      counting.stop();
      await Promise.all([work.stop(), consumer.stop()]);
    },
  };
}
