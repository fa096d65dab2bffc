/** How much memory an environment may take, against what its engine has. Pure. */
import type { Environment, Size } from '../catalog/environments.ts';
import { type Placement, placements, processReplicas } from '../stacks/config/topology.ts';

/** What all long-running containers of an environment together may take. */
export function memoryLimitMiB(environment: Environment, without: ReadonlySet<string>): number {
  const processes = new Map(processReplicas(environment).map(({ alias, spec }) => [alias, spec.size]));
  const sizeOf = ({ alias, component }: Placement): Size => {
    if (component === 'worker') return processes.get(alias)!;
    if (component === 'mysqld-exporter' || component === 'redis-exporter') return environment.exporters.size;
    if (component === 'mysql-entrance') return environment.mysql.entrance.size;
    return environment[component].size;
  };
  return placements(environment)
    .filter(({ component }) => !without.has(component))
    .reduce((sum, placement) => sum + sizeOf(placement).memoryMiB, 0);
}

/** In words, and how much of what may be taken is there; 1: all of it. */
export function memoryOf(bytes: number, limitMiB: number): { readonly says: string; readonly share: number } {
  const gib = (mib: number) => (mib / 1_024).toFixed(1);
  const hasMiB = bytes / 1_024 ** 2;
  return {
    says: `${gib(hasMiB)} GiB; all containers together may take ${gib(limitMiB)}`,
    share: hasMiB / limitMiB,
  };
}
