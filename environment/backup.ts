/** What the process mysql-backup of a deployed environment says of itself, and its program run by hand. */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { paths } from '../stacks/config/paths.ts';
import { hostOf, placementOf } from '../stacks/config/topology.ts';
import { MusterError } from '../workers/base/errors.ts';
import { run } from './children.ts';
import { type Container, dockerArgs } from './docker.ts';
import { getInside } from './inside.ts';

const alias = 'mysql-backup';

const runningIn = ({ prefix }: Environment, containers: readonly Container[]) =>
  containers.find(({ name, state }) => name === `${prefix}-${alias}` && state === 'running');

export interface BackupState {
  /** Infinity: not known to be kept at all. */
  readonly atRiskSeconds: number;
  /** Unix time; 0: there is none. */
  readonly baseSeconds: number;
  readonly verifiedSeconds: number;
}

/** Asks the worker, from inside its container. Throws MUSTER_BACKUP_UNKNOWN when it does not answer. */
export async function backupOf(
  environment: Environment,
  containers: readonly Container[],
): Promise<BackupState> {
  const container = runningIn(environment, containers);
  if (container === undefined) throw new MusterError('MUSTER_BACKUP_UNKNOWN', `${alias} does not run`);
  const { container: port } = placementOf(environment, alias).ports.http!;
  const text = (await getInside(container, port, '/metrics'))?.body ?? '';
  const figure = (metric: string): number | undefined => {
    const value = new RegExp(`^${metric} (\\S+)$`, 'm').exec(text)?.[1];
    return value === undefined ? undefined : value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value);
  };
  const atRiskSeconds = figure(metrics.backup.atRisk);
  if (atRiskSeconds === undefined)
    throw new MusterError('MUSTER_BACKUP_UNKNOWN', `${alias} does not say how it is`);
  return {
    atRiskSeconds,
    baseSeconds: figure(metrics.backup.baseTime) ?? 0,
    verifiedSeconds: figure(metrics.backup.verifiedTime) ?? 0,
  };
}

const volumeOf = ({ prefix }: Environment) => `${prefix}-${alias}-state`;

/** Where an environment keeps its backups, as docker mounts it. */
export function backupMount(environment: Environment): string {
  const { folder } = environment.backup;
  return folder === undefined
    ? `type=volume,source=${volumeOf(environment)},target=${paths.backups}`
    : `type=bind,source=${folder},target=${paths.backups}`;
}

/** What a verb of workers/backup/main.ts said; throws its error, as an error of ours. */
export function answerOf<T>(result: { exitCode: number; stdout: string; stderr: string }): T {
  if (result.exitCode === 0) return JSON.parse(result.stdout) as T;
  const last = result.stderr.trim().split('\n').at(-1) ?? '';
  const [, code, message] = /^(MUSTER_[A-Z_]+): (.*)$/.exec(last) ?? [];
  throw new MusterError(
    (code ?? 'MUSTER_BACKUP_FAILED') as `MUSTER_${string}`,
    message ?? (last === '' ? `it ended with ${result.exitCode}` : last),
  );
}

/** Runs a verb in the process's own container, which knows the server. Throws MUSTER_BACKUP_UNKNOWN when that does not run. */
export async function inProcess<T>(
  environment: Environment,
  containers: readonly Container[],
  args: readonly string[],
  options: { readonly signal: AbortSignal; onLine?(line: string): void },
): Promise<T> {
  const container = runningIn(environment, containers);
  if (container === undefined)
    throw new MusterError('MUSTER_BACKUP_UNKNOWN', `${alias} does not run: ./muster up`);
  const command = [
    'exec',
    '--env',
    'NODE_NO_WARNINGS=1',
    container.id,
    'node',
    '/app/workers/backup/main.ts',
    ...args,
  ];
  return answerOf<T>(await run('docker', dockerArgs(container, command), stderrOf(options)));
}

/** Runs a verb in a container of its own on the host of the backups, with nothing but the backups and what is mounted beside. */
export async function byItself<T>(
  environment: Environment,
  image: string,
  key: string,
  args: readonly string[],
  options: { readonly mounts?: readonly string[]; readonly signal: AbortSignal; onLine?(line: string): void },
): Promise<T> {
  const { dockerUri } = hostOf(environment, placementOf(environment, alias).host);
  const volume = environment.backup.folder === undefined ? volumeOf(environment) : undefined;
  // Mounted it would be made, and look like one that is empty.
  if (volume !== undefined) {
    const found = await run('docker', dockerArgs({ dockerUri }, ['volume', 'inspect', volume]));
    if (found.exitCode !== 0)
      throw new MusterError('MUSTER_BACKUP_NONE', `There is no volume ${volume}, and so no backup.`);
  }
  const command = [
    ...['run', '--rm', '--network', 'none', '--label', `muster.environment=${environment.name}`],
    ...[
      '--env',
      'BACKUP_KEY',
      '--env',
      `BACKUP_DIRECTORY=${paths.backups}`,
      '--env',
      'MYSQL_DATABASE=muster',
    ],
    ...['--env', 'NODE_NO_WARNINGS=1', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges:true'],
    ...[backupMount(environment), ...(options.mounts ?? [])].flatMap((mount) => ['--mount', mount]),
    ...['--entrypoint', 'node', image, '/app/workers/backup/main.ts', ...args],
  ];
  // The key by the environment: an argument is for all to see.
  return answerOf<T>(
    await run('docker', dockerArgs({ dockerUri }, command), {
      ...stderrOf(options),
      env: { BACKUP_KEY: key },
    }),
  );
}

const stderrOf = ({ signal, onLine }: { readonly signal: AbortSignal; onLine?(line: string): void }) => ({
  signal,
  ...(onLine === undefined
    ? {}
    : { onLine: (line: string, from: 'stdout' | 'stderr') => from === 'stderr' && onLine(line) }),
});
