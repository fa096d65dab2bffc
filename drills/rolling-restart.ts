/**
 * All brokers restarted, one after the other, without a request that fails. The next one goes only when every copy of
 * every partition is in sync, seen many times in a row: with a copy missing, the loss of one more stops publishing. And
 * only when the leaders are where they belong: what the next one leads goes to brokers that have worked since they
 * started, and a third of the partitions move each time, not two thirds (a broker that had led nothing since its start
 * took 1.8 s to lead 37 partitions). The controller goes last, so that control moves once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../catalog/environments.ts';
import { clusterState } from '../environment/kafka.ts';
import { MusterError } from '../workers/base/errors.ts';
import { isWhole, shortcomings } from '../workers/kafka/cluster.ts';
import type { Kafka } from '../workers/kafka/kafka.ts';
import type { Faults } from './faults.ts';

export interface RollingRestartOptions {
  readonly environment: Environment;
  readonly faults: Faults;
  readonly kafka: Kafka;
  readonly signal: AbortSignal;
  onBroker?(alias: string, what: 'stopping' | 'started' | 'in sync'): void;
  tell?(line: string): void;
}

/** A broker moves its leaders away and closes its logs in this time; after it, it is killed. */
const graceMs = 60_000;
const inARow = 10;
/** Kafka moves leaders back by itself once a broker leads 10 % less than it should (leader.imbalance.*). */
const mostLeadersAway = 0.1;
const settleMs = 5 * 60_000;

/**
 * Running it again is always safe. Throws MUSTER_ROLLING_RESTART when copies do not get in sync: then the rest of the
 * brokers are left alone.
 */
export async function rollingRestart(options: RollingRestartOptions): Promise<void> {
  const { environment, faults, signal, onBroker } = options;
  const settled = (when: string) => untilInSync(options, when, { leadersHome: true });
  await settled('before the first broker');
  for (const alias of await order(environment)) {
    signal.throwIfAborted();
    onBroker?.(alias, 'stopping');
    // Stopped and started in one: whatever happens to us, the engine or the journal starts it again.
    await faults.inject(alias, { kind: 'restart', graceMs });
    onBroker?.(alias, 'started');
    await settled(`after ${alias}`);
    onBroker?.(alias, 'in sync');
  }
}

async function order(environment: Environment): Promise<readonly string[]> {
  const { controller } = await clusterState(environment);
  const ids = environment.kafka.nodes.map(({ id }): number => id);
  return [...ids.filter((id) => id !== controller), ...ids.filter((id) => id === controller)].map(
    (id) => `kafka-${id}`,
  );
}

/**
 * Waits until every copy of every partition is in sync, and with `leadersHome` led by the first of its brokers. Throws
 * MUSTER_ROLLING_RESTART when that takes more than some minutes.
 */
export async function untilInSync(
  { environment, kafka, signal, tell }: Omit<RollingRestartOptions, 'faults'>,
  when: string,
  { leadersHome = false } = {},
): Promise<void> {
  const cluster = kafka.cluster();
  const untilMs = Date.now() + settleMs;
  let behind = 'no broker answered';
  try {
    for (let seen = 0; seen < inARow; ) {
      try {
        const topology = await cluster.topology();
        const lacks = shortcomings(topology, environment.kafka.nodes.length);
        const { missingBrokers, underReplicated, leaderless, ledElsewhere } = lacks;
        behind = `${missingBrokers} brokers missing, ${underReplicated} partitions under-replicated, ${leaderless} without a leader, ${ledElsewhere} led by another broker than the first of theirs`;
        const partitions = topology.topics.reduce((sum, topic) => sum + topic.partitions.length, 0);
        const home = !leadersHome || ledElsewhere <= partitions * mostLeadersAway;
        seen = isWhole(lacks) && home ? seen + 1 : 0;
      } catch (error) {
        seen = 0;
        behind = (error as Error).message;
      }
      if (seen === 0) tell?.(behind);
      if (seen < inARow && Date.now() > untilMs)
        throw new MusterError(
          'MUSTER_ROLLING_RESTART',
          `${when}: not every copy is in sync within ${settleMs / 60_000} minutes (${behind}). The brokers that are left were not touched.`,
        );
      await sleep(1_000, undefined, { signal });
    }
  } finally {
    await cluster.close();
  }
}
