/** Questions to a running environment: are the workers ready, does it flow? */
import type { Environment } from '../catalog/environments.ts';
import { topics } from '../catalog/topics.ts';
import { placements } from '../stacks/config/index.ts';
import { reachFromHost } from '../stacks/config/topology.ts';
import type { Container } from './docker.ts';
import { getInside } from './inside.ts';
import { pause } from './interruption.ts';
import { endOf, kafkaOf } from './kafka.ts';

/**
 * Whether each worker process says that it is ready (joined its group, caught up). Asked at its published port, else
 * from inside its container; undefined: it cannot be asked.
 */
export async function readiness(
  environment: Environment,
  containers: readonly Container[],
): Promise<ReadonlyMap<string, boolean>> {
  const workers = placements(environment).filter(({ component }) => component === 'worker');
  const answers = await Promise.all(
    workers.map(async ({ alias, ports }) => {
      const container = containers.find(({ name }) => name === `${environment.prefix}-${alias}`);
      if (container?.state !== 'running') return [alias, false] as const;
      const ready =
        ports.http?.published === undefined
          ? (await getInside(container, ports.http!.container, '/readyz'))?.status === 200
          : await readyAt(`http://${reachFromHost(environment, alias, 'http')}/readyz`);
      return [alias, ready] as const;
    }),
  );
  return new Map(answers);
}

async function readyAt(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(3_000) })).ok;
  } catch {
    return false;
  }
}

/**
 * Waits until purchase_enriched grows; false when it does not within the time.
 * Only where something sends: an environment with a traffic process.
 */
export async function enrichedFlows(
  environment: Environment,
  withinMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const kafka = kafkaOf(environment);
  try {
    const until = Date.now() + withinMs;
    let first: number | undefined;
    while (Date.now() < until) {
      const end = await endOf(kafka, topics.purchaseEnriched.name).catch(() => undefined);
      if (end !== undefined) {
        first ??= end;
        if (end > first) return true;
      }
      await pause(300, signal);
    }
    return false;
  } finally {
    await kafka.close();
  }
}

/** Whether the environment makes its own traffic. */
export function hasTraffic(environment: Environment): boolean {
  return environment.processes.list.some(({ workers }) => workers.includes('traffic'));
}
