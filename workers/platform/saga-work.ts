/** What a worker of sagas does beside its routes: it carries them out, hears how what they wait for ended, and counts. */
import type { Counter, Gauge } from 'prom-client';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import type { Logger } from '../base/log.ts';
import { untilUp } from '../base/not-now.ts';
import { consume } from '../kafka/consume.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { inSpan } from '../kafka/tracing-kafka.ts';
import { type Message, messageOf } from '../store/queue-log.ts';
import { countOpen, type DueWork, startDueWork } from './due-work.ts';
import type { Change, Claimed, Saga } from './sagas.ts';
import type { WorkerDeps } from './worker.ts';

/** Sagas as they are worked on. */
export interface SagaStore<One extends Saga, Word> {
  nextInMs(): Promise<number>;
  claim(most: number, leaseMs: number): Promise<readonly Claimed<One>[]>;
  finish(claimed: Claimed<One>, word: Word): Promise<Change<One> | undefined>;
  told(end: { readonly id: string; readonly word: Word }, message: Message): Promise<Change<One> | undefined>;
  open(): Promise<ReadonlyMap<One['state'], number>>;
}

export interface SagaWorkOptions<One extends Saga, Word> {
  /** For log lines and spans: `remittances`. */
  readonly what: string;
  readonly sagas: Pick<SagaStore<One, Word>, 'nextInMs' | 'claim' | 'finish'>;
  /** Makes the call that the state stands for. */
  makeCall(one: One): Promise<Word>;
  /** Longer than a call and the commit after it. */
  readonly leaseMs: number;
  /** Steps side by side. */
  readonly atOnce?: number;
  readonly log: Logger;
  /** Called after each step, with what it changed. */
  onChange?(change: Change<One> | undefined): void;
  readonly everyMs?: number;
}

/** A step waits most of its time: for a service, and for the commits that it shares. */
const manyAtOnce = 128;

/** Works on sagas whose time has come, until stopped. */
export function carryOut<One extends Saga, Word>(options: SagaWorkOptions<One, Word>): DueWork<Claimed<One>> {
  const { what, sagas, leaseMs, atOnce = manyAtOnce, log } = options;
  const work: DueWork<Claimed<One>> = startDueWork<Claimed<One>>({
    what,
    nextInMs: () => sagas.nextInMs(),
    claim: (most) => sagas.claim(most, leaseMs),
    async work(claimed, stopping) {
      const word = await options.makeCall(claimed.one);
      const change = await untilUp(() => sagas.finish(claimed, word), { signal: stopping });
      options.onChange?.(change);
      if (change?.againInMs === 0) work.wake();
    },
    atOnce,
    log,
    ...(options.everyMs === undefined ? {} : { everyMs: options.everyMs }),
  });
  return work;
}

/**
 * Nothing rests on a lease but that a step is not done twice for nothing: an answer to an older claim does not count, and a call
 * that is made again has the same key. So it is as long as a step is on a bad day, and no longer: who dies leaves its sagas for so
 * long. `callsMs`: how long the calls of a step may take together.
 */
export const leaseFor = (callsMs: number): number => callsMs + commitMs;
/** A commit that takes longer is of a store that nobody gets anything done with. */
const commitMs = 5_000;

export interface SagaWorkerOptions<One extends Saga, Word>
  extends Omit<SagaWorkOptions<One, Word>, 'sagas' | 'onChange' | 'log'> {
  readonly sagas: SagaStore<One, Word>;
  readonly states: readonly One['state'][];
  readonly group: ConsumerGroup;
  /** Understands a record, or throws. */
  parse(record: IncomingRecord): { readonly id: string; readonly word: Word };
  /** Those that have ended, and those that are open. */
  readonly ended: Counter<'state'>;
  readonly open: Gauge<'state'>;
}

export async function startSagas<One extends Saga, Word>(
  options: SagaWorkerOptions<One, Word>,
  { kafka, log, fail }: Pick<WorkerDeps, 'kafka' | 'log' | 'fail'>,
) {
  const { what, sagas, states, group, parse, ended, open } = options;
  const count = (change: Change<One> | undefined) => {
    if (change !== undefined && change.againInMs === undefined) ended.inc({ state: change.next.state });
  };
  const work = carryOut({ ...options, log, onChange: count });
  const consumer = await consume(kafka, {
    group,
    log,
    parse,
    async apply(records) {
      // What they lead to belongs to the traces of their requests.
      const told = records.map(({ data, record, span }) =>
        inSpan(span, () => sagas.told(data, messageOf(record))),
      );
      for (const change of await Promise.all(told)) count(change);
      work.wake();
      return undefined;
    },
    onFatal: fail,
  });
  const counting = countOpen({ what, open: () => sagas.open(), states, gauge: open, log });
  return {
    ...work,
    ready: consumer.ready,
    async stop() {
      counting.stop();
      await Promise.all([work.stop(), consumer.stop()]);
    },
  };
}
