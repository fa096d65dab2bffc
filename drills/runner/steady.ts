/** Is the environment in its steady state, and who has which role in it? */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { metrics } from '../../catalog/metrics.ts';
import { run } from '../../environment/children.ts';
import { type Container, containersOf, dockerArgs } from '../../environment/docker.ts';
import { guardOf } from '../../environment/guard.ts';
import { readiness } from '../../environment/health.ts';
import { clusterState, lagOf } from '../../environment/kafka.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import type { Target } from '../drill.ts';
import { valueNow } from './prometheus.ts';

/** At the design load this is what the join has under way. */
const mostRecordsBehind = 1_000;

/** What is not as it should be; empty in the steady state. */
async function troubles(environment: Environment, kafka: Kafka): Promise<readonly string[]> {
  const found: string[] = [];
  const containers = (await containersOf(environment)).filter(({ oneShot }) => !oneShot);
  if (containers.length === 0) return [`environment ${environment.name} does not run`];
  for (const { name, state, health } of containers)
    if (state !== 'running' || (health ?? 'healthy') !== 'healthy')
      found.push(`${name} is ${state}, ${health ?? 'no health'}`);
  for (const [alias, ready] of await readiness(environment, containers))
    if (!ready) found.push(`${alias} is not ready`);
  try {
    const state = await clusterState(environment);
    if (state.brokers.length < state.expectedBrokers)
      found.push(`${state.brokers.length} of ${state.expectedBrokers} brokers`);
    if (state.underReplicated > 0) found.push(`${state.underReplicated} partitions under-replicated`);
    if (state.offline > 0) found.push(`${state.offline} partitions without a leader`);
    const { records } = await lagOf(kafka);
    if ((records ?? 0) > mostRecordsBehind) found.push(`the join is ${records} records behind`);
  } catch (error) {
    found.push((error as Error).message);
  }
  const guard = await guardOf(environment, containers).catch((error: Error) => error);
  if (guard instanceof Error) found.push(guard.message);
  else if (guard.atRiskSeconds > 0) found.push('what MySQL acks is on one member only');
  const outage = await valueNow(environment, `max(${metrics.canary.currentOutage})`);
  if (outage === undefined) found.push('Prometheus does not know of the canary');
  else if (outage > 0) found.push('the canary sees an outage');
  return found;
}

/**
 * Waits until the environment is well, twice in a row. Throws MUSTER_DRILL_UNSTEADY with what is wrong when it does not
 * get well in time.
 */
export async function untilSteady(
  environment: Environment,
  kafka: Kafka,
  options: { readonly withinMs: number; readonly signal: AbortSignal; tell?(line: string): void },
): Promise<void> {
  const untilMs = Date.now() + options.withinMs;
  for (let well = 0; ; ) {
    const found = await troubles(environment, kafka);
    well = found.length === 0 ? well + 1 : 0;
    if (well === 2) return;
    if (found.length > 0) options.tell?.(found.slice(0, 3).join('; '));
    if (Date.now() > untilMs)
      throw new MusterError(
        'MUSTER_DRILL_UNSTEADY',
        `Environment ${environment.name} is not in its steady state: ${found.slice(0, 5).join('; ')}.`,
      );
    await sleep(1_000, undefined, { signal: options.signal });
  }
}

/** The container that a step is about, looked up now. Throws MUSTER_DRILL_TARGET when nobody has the role. */
export async function aliasOf(environment: Environment, target: Target): Promise<string> {
  if ('alias' in target) return target.alias;
  if (target.role === 'controller') {
    const { controller } = await clusterState(environment);
    if (controller !== undefined) return `kafka-${controller}`;
  } else if (target.role === 'mysql-writer' || target.role === 'mysql-copy') {
    const { writer, members } = await guardOf(environment, await containersOf(environment));
    const copy = members.find(({ name }) => name !== writer)!.name;
    if (writer !== undefined) return target.role === 'mysql-writer' ? writer : copy;
  } else {
    const wanted = target.role === 'zookeeper-leader' ? 'leader' : 'follower';
    const found = [...(await zookeeperModes(environment))].find(([, mode]) => mode === wanted);
    if (found !== undefined) return found[0];
  }
  throw new MusterError('MUSTER_DRILL_TARGET', `environment ${environment.name} has no ${target.role} now`);
}

/** What each ZooKeeper says that it is, by alias; undefined: it does not serve. */
export async function zookeeperModes(
  environment: Environment,
): Promise<ReadonlyMap<string, string | undefined>> {
  const containers = await containersOf(environment);
  const modes = environment.zookeeper.nodes.map(async ({ id }) => {
    const alias = `zookeeper-${id}`;
    const container = containers.find(({ name }) => name === `${environment.prefix}-${alias}`);
    return [alias, container === undefined ? undefined : await modeOf(container)] as const;
  });
  return new Map(await Promise.all(modes));
}

async function modeOf(container: Container): Promise<string | undefined> {
  const script = 'exec 3<>/dev/tcp/127.0.0.1/2181 && printf srvr >&3 && cat <&3';
  const { stdout } = await run(
    'docker',
    dockerArgs(container, ['exec', container.id, '/bin/bash', '-c', script]),
  );
  return /^Mode: (\w+)/m.exec(stdout)?.[1];
}
