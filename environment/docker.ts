/** Thin typed functions over the docker command line. Everything of ours is found by its labels. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../catalog/environments.ts';
import { MusterError } from '../workers/base/errors.ts';
import { run } from './children.ts';

export const environmentLabel = 'muster.environment';

/** Something that lives in one engine; undefined: the one of DOCKER_HOST or the default socket. */
export interface OnHost {
  readonly dockerUri: string | undefined;
}

/** Arguments of docker for the engine that something lives in. */
export function dockerArgs({ dockerUri }: OnHost, args: readonly string[]): readonly string[] {
  return dockerUri === undefined ? args : ['--host', dockerUri, ...args];
}

/** The engines of an environment, each once. */
export function enginesOf(environment: Environment): readonly OnHost[] {
  return [...new Set(Object.values(environment.hosts).map(({ dockerUri }) => dockerUri))].map(
    (dockerUri) => ({
      dockerUri,
    }),
  );
}

export interface Container extends OnHost {
  readonly id: string;
  /** Without the leading slash. */
  readonly name: string;
  readonly component: string;
  readonly node: string;
  readonly image: string;
  readonly state: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';
  /** Undefined: the image or the engine has no health check for it. */
  readonly health: 'starting' | 'healthy' | 'unhealthy' | undefined;
  readonly exitCode: number;
  readonly restarts: number;
  readonly startedAtMs: number;
  readonly memoryLimitBytes: number;
  /** Host ports that reach it, in order. */
  readonly publishedPorts: readonly number[];
  readonly oomKilled: boolean;
  /** Runs to its end once (topics, migrations): exited with 0 is how it should be. */
  readonly oneShot: boolean;
}

/** Runs docker; throws MUSTER_DOCKER with what it said when it fails. */
export async function docker(args: readonly string[], signal?: AbortSignal): Promise<string> {
  const result = await run('docker', args, { ...(signal === undefined ? {} : { signal }) });
  if (result.exitCode !== 0) throw dockerError(args, result.stderr);
  return result.stdout;
}

function dockerError(args: readonly string[], stderr: string): MusterError {
  if (/Cannot connect to the Docker daemon|Is the docker daemon running|connect: /.test(stderr))
    return new MusterError(
      'MUSTER_ENGINE_DOWN',
      'The Docker engine does not run or cannot be reached. Start it (./muster up does, as root on Debian or Ubuntu) or set DOCKER_HOST.',
    );
  const line = said(stderr).at(-1) ?? '';
  return new MusterError('MUSTER_DOCKER', `docker ${args.slice(0, 2).join(' ')} failed: ${line}`);
}

/** Whether an engine answers. */
export async function engineAnswers(): Promise<boolean> {
  try {
    return (await run('docker', ['version', '--format', '{{.Server.Version}}'])).exitCode === 0;
  } catch {
    return false;
  }
}

interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly State: {
    readonly Status: Container['state'];
    readonly ExitCode: number;
    readonly OOMKilled: boolean;
    readonly StartedAt: string;
    readonly Health?: { readonly Status: string };
  };
  readonly RestartCount: number;
  readonly Config: { readonly Image: string; readonly Labels: Readonly<Record<string, string>> | null };
  readonly HostConfig: {
    readonly Memory: number;
    readonly RestartPolicy: { readonly Name: string };
    readonly PortBindings: Readonly<Record<string, readonly { readonly HostPort: string }[] | null>> | null;
  };
}

/** Turns what `docker inspect` says into what we show. */
export function containerOf(inspected: Inspected, dockerUri?: string): Container {
  const labels = inspected.Config.Labels ?? {};
  const health = inspected.State.Health?.Status;
  return {
    dockerUri,
    id: inspected.Id,
    name: inspected.Name.replace(/^\//, ''),
    component: labels['muster.component'] ?? '',
    node: labels['muster.node'] ?? '',
    image: inspected.Config.Image,
    state: inspected.State.Status,
    health: health === 'starting' || health === 'healthy' || health === 'unhealthy' ? health : undefined,
    exitCode: inspected.State.ExitCode,
    restarts: inspected.RestartCount,
    startedAtMs: Date.parse(inspected.State.StartedAt),
    memoryLimitBytes: inspected.HostConfig.Memory,
    publishedPorts: Object.values(inspected.HostConfig.PortBindings ?? {})
      .flatMap((bindings) => (bindings ?? []).map(({ HostPort }) => Number(HostPort)))
      .filter((port, index, all) => port > 0 && all.indexOf(port) === index)
      .sort((a, b) => a - b),
    oomKilled: inspected.State.OOMKilled,
    oneShot:
      inspected.HostConfig.RestartPolicy.Name === 'no' || inspected.HostConfig.RestartPolicy.Name === '',
  };
}

/** All containers of an environment, running or not, sorted by name. Throws MUSTER_ENGINE_DOWN, MUSTER_DOCKER. */
export async function containersOf(
  environment: Environment,
  signal?: AbortSignal,
): Promise<readonly Container[]> {
  const filter = `label=${environmentLabel}=${environment.name}`;
  const found = await Promise.all(
    enginesOf(environment).map(async (engine) => {
      const list = dockerArgs(engine, ['ps', '--all', '--quiet', '--no-trunc', '--filter', filter]);
      const ids = lines(await docker(list, signal));
      if (ids.length === 0) return [];
      // One that is removed in between makes inspect fail though it prints the others: take what it prints.
      const { stdout } = await run('docker', dockerArgs(engine, ['inspect', '--type', 'container', ...ids]));
      return (JSON.parse(stdout || '[]') as Inspected[]).map((one) => containerOf(one, engine.dockerUri));
    }),
  );
  return found.flat().sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}

/** Memory in use by container id, in bytes. One sample: takes about two seconds. */
export async function memoryUsed(
  containers: readonly Container[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const used = new Map<string, number>();
  for (const dockerUri of new Set(containers.map((container) => container.dockerUri))) {
    const ids = containers.filter((container) => container.dockerUri === dockerUri).map(({ id }) => id);
    const args = ['stats', '--no-stream', '--no-trunc', '--format', '{{.ID}}\t{{.MemUsage}}', ...ids];
    for (const line of lines(await docker(dockerArgs({ dockerUri }, args), signal))) {
      const [id = '', usage = ''] = line.split('\t');
      used.set(id, parseSize(usage.split('/')[0] ?? ''));
    }
  }
  return used;
}

const units: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KiB: 1024,
  MB: 1e6,
  MiB: 1024 ** 2,
  GB: 1e9,
  GiB: 1024 ** 3,
};

/** `12.5MiB` as docker prints it, in bytes; 0 when it is not a size. */
export function parseSize(text: string): number {
  const match = /^\s*([\d.]+)\s*([A-Za-z]+)\s*$/.exec(text);
  return match === null ? 0 : Math.round(Number(match[1]) * (units[match[2]!] ?? 0));
}

export interface Leftovers extends OnHost {
  readonly containers: readonly string[];
  readonly networks: readonly string[];
  readonly volumes: readonly string[];
}

/**
 * What an environment has in each of its engines: by label, and by name prefix for what an interrupted run left
 * unlabelled (volumes that an engine made on the way).
 */
export async function leftoversOf(environment: Environment): Promise<readonly Leftovers[]> {
  const { name, prefix } = environment;
  const label = `label=${environmentLabel}=${name}`;
  const ours = (found: string) => found === prefix || found.startsWith(`${prefix}-`);
  return Promise.all(
    enginesOf(environment).map(async (engine) => {
      const list = async (args: readonly string[], column: string): Promise<string[]> => {
        const ask = async (filter: string) =>
          lines(await docker(dockerArgs(engine, [...args, '--filter', filter, '--format', column])));
        return [...new Set([...(await ask(label)), ...(await ask(`name=${prefix}`)).filter(ours)])].sort();
      };
      return {
        ...engine,
        containers: await list(['ps', '--all'], '{{.Names}}'),
        networks: await list(['network', 'ls'], '{{.Name}}'),
        volumes: await list(['volume', 'ls'], '{{.Name}}'),
      };
    }),
  );
}

const leftWithinMs = 10_000;

/** Removes containers (with their anonymous volumes), then networks, then volumes; what is gone already is fine. */
export async function remove(what: Leftovers): Promise<void> {
  const quietly = async (args: readonly string[], names: readonly string[]): Promise<void> => {
    if (names.length === 0) return;
    const { exitCode, stderr } = await run('docker', dockerArgs(what, [...args, ...names]));
    const real = said(stderr).filter((line) => !/No such|not found|already in progress/i.test(line));
    if (exitCode !== 0 && real.length > 0) throw dockerError(args, real.join('\n'));
  };
  await quietly(['rm', '--force', '--volumes'], what.containers);
  // A container that somebody else removes at the same time leaves its network a little later.
  for (const untilMs = Date.now() + leftWithinMs; ; await sleep(500))
    try {
      await quietly(['network', 'rm'], what.networks);
      break;
    } catch (error) {
      if (!/active endpoints/.test((error as Error).message) || Date.now() > untilMs) throw error;
    }
  await quietly(['volume', 'rm', '--force'], what.volumes);
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** What docker says; some of its commands end with a line that says only that there was an error. */
const said = (stderr: string) => lines(stderr).filter((line) => !/^exit status \d+$/.test(line));
