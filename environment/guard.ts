/** What the guard of the database says of its two members, and what people want of it. */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { mysqlMember, placementOf } from '../stacks/config/topology.ts';
import { MusterError } from '../workers/base/errors.ts';
import { run } from './children.ts';
import { type Container, containersOf, dockerArgs } from './docker.ts';
import { getInside } from './inside.ts';

const alias = 'mysql-guard';

export interface GuardState {
  /** The member that takes writes; undefined: none does. */
  readonly writer: string | undefined;
  readonly members: readonly { readonly name: string; readonly up: boolean }[];
  /** For how long what was acked may be on one member alone; 0: both have it, Infinity: that was never known. */
  readonly atRiskSeconds: number;
}

function runningIn({ prefix }: Environment, containers: readonly Container[]): Container {
  const found = containers.find(({ name, state }) => name === `${prefix}-${alias}` && state === 'running');
  if (found === undefined)
    throw new MusterError('MUSTER_GUARD_UNKNOWN', `${alias} does not run: ./muster up`);
  return found;
}

/** Asks the guard, from inside its container. Throws MUSTER_GUARD_UNKNOWN when it does not answer. */
export async function guardOf(
  environment: Environment,
  containers: readonly Container[],
): Promise<GuardState> {
  const container = runningIn(environment, containers);
  const { container: port } = placementOf(environment, alias).ports.http!;
  const text = (await getInside(container, port, '/metrics'))?.body ?? '';
  const figure = (series: string): number | undefined => {
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    const value = line?.slice(series.length + 1);
    return value === undefined ? undefined : Number(value.replace('+Inf', 'Infinity'));
  };
  const atRiskSeconds = figure(metrics.guard.atRisk);
  if (atRiskSeconds === undefined)
    throw new MusterError('MUSTER_GUARD_UNKNOWN', `${alias} does not say how it is`);
  const names = environment.mysql.members.map(mysqlMember);
  return {
    writer: names.find((name) => figure(`${metrics.guard.writer}{member="${name}"}`) === 1),
    members: names.map((name) => ({
      name,
      up: figure(`${metrics.guard.memberUp}{member="${name}"}`) === 1,
    })),
    atRiskSeconds,
  };
}

/** The member that takes writes, e.g. `mysql-1`. Throws MUSTER_GUARD_UNKNOWN when none does. */
export async function writerOf(environment: Environment): Promise<string> {
  const { writer } = await guardOf(environment, await containersOf(environment));
  if (writer === undefined) throw new MusterError('MUSTER_GUARD_UNKNOWN', 'no member of MySQL takes writes');
  return writer;
}

/** Makes that member the one that takes writes. Throws MUSTER_GUARD_REFUSED with the reason. */
export async function failOver(
  environment: Environment,
  to: string,
  options: { readonly lose: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const container = runningIn(environment, await containersOf(environment, options.signal));
  const { exitCode, stderr } = await run(
    'docker',
    dockerArgs(container, [
      ...['exec', '--env', 'NODE_NO_WARNINGS=1', container.id, 'node', '/app/workers/guard/main.ts'],
      ...['failover', to, ...(options.lose ? ['--yes-really-lose'] : [])],
    ]),
    { signal: options.signal },
  );
  if (exitCode === 0) return;
  const last = stderr.trim().split('\n').at(-1) ?? '';
  const [, code = 'MUSTER_GUARD_REFUSED', message = last] = /^(MUSTER_[A-Z_]+): (.*)$/.exec(last) ?? [];
  throw new MusterError(code as `MUSTER_${string}`, message);
}
