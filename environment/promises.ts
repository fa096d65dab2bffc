/** What the worker `promises` of a deployed environment says. */
import type { Environment } from '../catalog/environments.ts';
import { placementOf } from '../stacks/config/topology.ts';
import { MusterError } from '../workers/base/errors.ts';
import type { Container } from './docker.ts';
import { getInside } from './inside.ts';
import { apiToken } from './variables.ts';

/** As GET /promises answers. */
export interface ToldPromise {
  readonly name: string;
  readonly capability: string;
  readonly promised: string;
  readonly status: 'holds' | 'broken' | 'not checked';
  readonly checkedAt: string | null;
  readonly broken: number;
  readonly ids: readonly string[];
  readonly brokenSince: string | null;
  readonly why: string | null;
  readonly runbook: string;
}

/** Which process runs it. */
function processOf(environment: Environment): string {
  const spec = environment.processes.list.find(({ workers }) => workers.includes('promises'));
  if (spec === undefined)
    throw new MusterError(
      'MUSTER_PLACEMENT_UNKNOWN',
      `environment ${environment.name} runs no worker promises`,
    );
  return spec.name;
}

/**
 * Asks the worker, from inside its container: its port is not published. Throws MUSTER_PROMISES_UNKNOWN when it does not
 * answer, and MUSTER_CONFIG_TOKEN where a site makes the tokens and nobody has given us one.
 */
export async function promisesOf(
  environment: Environment,
  containers: readonly Container[],
): Promise<readonly ToldPromise[]> {
  const alias = processOf(environment);
  const unknown = (why: string) =>
    new MusterError('MUSTER_PROMISES_UNKNOWN', `${alias} does not say what holds: ${why}`);
  const container = containers.find(({ name }) => name === `${environment.prefix}-${alias}`);
  if (container?.state !== 'running') throw unknown('it does not run');
  const token = await apiToken(environment);
  const { container: port } = placementOf(environment, alias).ports.http!;
  const answer = await getInside(container, port, '/promises', token);
  if (answer === undefined) throw unknown('it does not answer');
  if (answer.status !== 200) throw unknown(`it answers ${answer.status}`);
  return (JSON.parse(answer.body) as { promises: readonly ToldPromise[] }).promises;
}
