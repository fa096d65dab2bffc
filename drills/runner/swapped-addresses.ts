/**
 * Two members of a cluster die together and come back with each other's addresses, as an engine may give them: whoever still has
 * an old one is then about to speak to another member than it thinks.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { docker, dockerArgs } from '../../environment/docker.ts';
import { clusterState } from '../../environment/kafka.ts';
import { hostOf, placementOf } from '../../stacks/config/topology.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { type ProcedureStage, until } from './stage.ts';
import { zookeeperModes } from './steady.ts';

interface Cluster {
  /** Who dies. */
  readonly pair: readonly [string, string];
  /** What is whole again within the time. */
  readonly what: string;
  readonly wholeWithinMs: number;
  isWhole(environment: Environment): Promise<boolean>;
}

const zookeepers: Cluster = {
  pair: ['zookeeper-2', 'zookeeper-3'],
  what: 'all ZooKeepers serve',
  wholeWithinMs: 45_000,
  async isWhole(environment) {
    const modes = [...(await zookeeperModes(environment)).values()];
    return modes.every((mode) => mode === 'leader' || mode === 'follower');
  },
};

const brokers: Cluster = {
  pair: ['kafka-1', 'kafka-2'],
  what: 'all copies in sync',
  wholeWithinMs: 90_000,
  async isWhole(environment) {
    const state = await clusterState(environment);
    return state.brokers.length === state.expectedBrokers && state.underReplicated + state.offline === 0;
  },
};

export const swapZookeepers = (stage: ProcedureStage) => swapAddresses(stage, zookeepers);
export const swapBrokers = (stage: ProcedureStage) => swapAddresses(stage, brokers);

const awayMs = 5_000;
/** With lower addresses free both get these the first time, and swap them the second. */
const mostTries = 2;

/** Throws MUSTER_DRILL_PROCEDURE when the engine gives them other addresses. */
async function swapAddresses(stage: ProcedureStage, cluster: Cluster): Promise<void> {
  const { environment, faults, signal, disturbed, note, measured } = stage;
  const [a, b] = cluster.pair;
  for (let tries = 0; tries < mostTries; tries += 1) {
    const before = { [a]: await addressOf(environment, a), [b]: await addressOf(environment, b) };
    disturbed(`kill ${a} and ${b}`);
    const killed = await Promise.all(cluster.pair.map((alias) => faults.inject(alias, { kind: 'kill' })));
    await sleep(awayMs, undefined, { signal });
    // An engine gives the lowest address that is free: who had the higher one comes first.
    const order = killed.toSorted((x, y) => rank(before[y.alias]!) - rank(before[x.alias]!));
    disturbed(`${order.map(({ alias }) => alias).join(' and then ')} healed`);
    const healedAtMs = Date.now();
    for (const { heal } of order) await heal();
    const after = { [a]: await addressOf(environment, a), [b]: await addressOf(environment, b) };
    const isSwapped = after[a] === before[b] && after[b] === before[a];
    note(`${a} was ${before[a]} and is ${after[a]}, ${b} was ${before[b]} and is ${after[b]}`);
    const tookMs = await until(
      stage,
      cluster.what,
      () => cluster.isWhole(environment).catch(() => false),
      cluster.wholeWithinMs,
    ).then(
      () => Date.now() - healedAtMs,
      () => undefined,
    );
    signal.throwIfAborted();
    const how = isSwapped ? 'with each other’s addresses' : 'with other addresses';
    measured(`${cluster.what}, ${how}`, cluster.wholeWithinMs, tookMs);
    if (isSwapped || tookMs === undefined) return;
  }
  throw new MusterError(
    'MUSTER_DRILL_PROCEDURE',
    `${a} and ${b} did not get each other’s addresses, ${mostTries} times: nothing was shown.`,
  );
}

/** On the environment's network. */
async function addressOf(environment: Environment, alias: string): Promise<string> {
  const { dockerUri } = hostOf(environment, placementOf(environment, alias).host);
  const format = `{{(index .NetworkSettings.Networks "${environment.prefix}").IPAddress}}`;
  const name = `${environment.prefix}-${alias}`;
  return (await docker(dockerArgs({ dockerUri }, ['inspect', '--format', format, name]))).trim();
}

/** `172.20.0.3` as a number. */
const rank = (address: string): number =>
  address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
