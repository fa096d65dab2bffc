/**
 * Faults put into a deployed environment, and taken back whatever happens.
 *
 * How a fault is healed is written to a journal before the fault is done. It is healed at the end of `withFaults`, also
 * after an error or a Ctrl-C; by the exit handler, when the process ends in the middle; and by the next `withFaults`,
 * when the process was killed or the machine went down. Healing twice does no harm.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../catalog/environments.ts';
import { type Finished, run } from '../environment/children.ts';
import { dockerArgs } from '../environment/docker.ts';
import { withLock } from '../environment/lock.ts';
import { stateDirectory } from '../environment/paths.ts';
import { hostOf, placementOf } from '../stacks/config/topology.ts';
import { MusterError } from '../workers/base/errors.ts';
import { type Settings, type SmallDisk, standInSteps } from './stand-in.ts';
import { emptyRedis, fullMysqlDisk, refuseWrites } from './stores.ts';

export type Fault =
  /** SIGKILL; stays dead until healed. */
  | { readonly kind: 'kill' }
  /** SIGKILL to its process behind the engine's back: the engine's restart policy brings it up again. */
  | { readonly kind: 'crash' }
  /** SIGTERM, and SIGKILL after the grace (default 10 s); stays down until healed. */
  | { readonly kind: 'stop'; readonly graceMs?: number }
  /** Stopped and started at once; `inject` returns when it runs again. */
  | { readonly kind: 'restart'; readonly graceMs?: number }
  /** Frozen (as by SIGSTOP, with all its processes) until healed, or for so long. */
  | { readonly kind: 'pause'; readonly forMs?: number }
  /** Cut off all its networks (published ports too) until healed, or for so long. */
  | { readonly kind: 'cut'; readonly forMs?: number }
  /** A signal to its first process, for faults that a process makes in itself. */
  | { readonly kind: 'signal'; readonly signal: 'HUP' | 'TERM' | 'USR1' | 'USR2' }
  /**
   * Stopped, and until healed another container (`standInOf`) in its place with the same settings and another image, as
   * after an upgrade. With `disk` what it keeps at that path is empty at first and must fit into so many bytes (of memory:
   * the host's disk is not touched).
   */
  | { readonly kind: 'replace'; readonly graceMs?: number; readonly disk?: SmallDisk }
  /** MySQL or Redis: refuses to write, and goes on reading, until healed. */
  | { readonly kind: 'read-only' }
  /** Redis: forgets everything, at once. */
  | { readonly kind: 'emptied' }
  /** MySQL: until healed its data lies on a small disk in memory that is full to the last byte; it restarts for both moves. */
  | { readonly kind: 'disk-full' }
  /** One file more, below /etc/muster, and SIGHUP to its first process to read it; without it again when healed. */
  | { readonly kind: 'file'; readonly path: string; readonly text: string };

export interface Injected {
  readonly alias: string;
  readonly fault: Fault;
  /** When the engine had done it. */
  readonly atMs: number;
  /** Takes the fault back; does nothing when that was done already. Throws MUSTER_FAULT_HEAL. */
  heal(): Promise<void>;
  /** Settles when the fault was taken back, by whomever. */
  readonly healed: Promise<void>;
}

export interface Faults {
  /**
   * Does the fault to the container at this placement (its alias, as in `./muster status`).
   * Throws MUSTER_PLACEMENT_UNKNOWN, MUSTER_FAULT_TARGET (it does not run, or has a fault already),
   * MUSTER_FAULT_INJECT (the engine refuses).
   */
  inject(alias: string, fault: Fault): Promise<Injected>;
  /** Takes all faults back, the last first. */
  healAll(): Promise<void>;
}

/** Runs docker with these arguments; never throws for its exit code. */
export type DockerRunner = (args: readonly string[]) => Promise<Finished>;

export interface FaultOptions {
  /** Without it `prod` is refused. */
  readonly reallyProd?: boolean;
  /** Told of faults that an earlier run has left and that are healed now. */
  readonly report?: (line: string) => void;
  readonly signal?: AbortSignal;
  /** For tests. */
  readonly docker?: DockerRunner;
  readonly stateDirectory?: string;
}

/** An entry of the journal: a file an active fault. */
interface Entry {
  readonly alias: string;
  readonly fault: Fault['kind'];
  readonly injectedAt: string;
  /** Arguments of docker, in order. */
  readonly heal: readonly (readonly string[])[];
}

/** What docker says when there is nothing to heal any more. */
const alreadyHealed =
  /is not paused|is already paused|already exists in network|endpoint with name .* already exists|is not running|No such (?:container|image|network)|network .* not found|already in progress/i;

/**
 * Gives `work` the means to break things and heals everything at its end. One at a time for an environment; first
 * heals what a run that was cut off has left.
 * Throws MUSTER_FAULT_PROD, and what `work` throws.
 */
export async function withFaults<Result>(
  environment: Environment,
  options: FaultOptions,
  work: (faults: Faults) => Promise<Result>,
): Promise<Result> {
  if (environment.name === 'prod' && options.reallyProd !== true)
    throw new MusterError(
      'MUSTER_FAULT_PROD',
      'Faults are not put into environment prod unless that is asked for in so many words.',
    );
  const folder = join(options.stateDirectory ?? stateDirectory(environment.name), 'faults');
  const docker = options.docker ?? ((args) => run('docker', args));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return withLock(
    `faults-${environment.name}`,
    async () => {
      await healLeftovers(folder, docker, options.report ?? (() => {}));
      const session = startSession(environment, folder, docker);
      const onExit = () => session.healAtExit();
      process.on('exit', onExit);
      try {
        return await work(session);
      } finally {
        try {
          await session.healAll();
        } finally {
          process.off('exit', onExit);
        }
      }
    },
    options.report,
    options.signal,
  );
}

function startSession(environment: Environment, folder: string, docker: DockerRunner) {
  const active = new Map<string, { readonly file: string; isBeingDone(): boolean; heal(): Promise<void> }>();
  let counter = 0;

  async function inject(alias: string, fault: Fault): Promise<Injected> {
    const placement = placementOf(environment, alias);
    const { dockerUri } = hostOf(environment, placement.host);
    const name = `${environment.prefix}-${alias}`;
    if (active.has(alias))
      throw new MusterError('MUSTER_FAULT_TARGET', `${alias} has a fault already: heal that first.`);
    const on = (args: readonly string[]) => dockerArgs({ dockerUri }, args);
    const target = await inspect(docker, on, name);
    if (!target.running)
      throw new MusterError('MUSTER_FAULT_TARGET', `${name} does not run: there is nothing to break.`);
    const { steps, heal: undo } = plan(name, fault, target);
    counter += 1;
    const file = join(folder, `${Date.now()}-${process.pid}-${String(counter).padStart(4, '0')}.json`);
    const entry: Entry = {
      alias,
      fault: fault.kind,
      injectedAt: new Date().toISOString(),
      heal: undo.map(on),
    };
    // Renamed into place: a journal entry is never half written.
    await writeFile(`${file}.new`, JSON.stringify(entry));
    await rename(`${file}.new`, file);
    let timer: NodeJS.Timeout | undefined;
    let healing: Promise<void> | undefined;
    const done = Promise.withResolvers<void>();
    const injecting = Promise.withResolvers<void>();
    let isBeingDone = true;
    const heal = (): Promise<void> => {
      clearTimeout(timer);
      // Not beside the step that is under way: it would be undone first and done then. No further one follows it.
      healing ??= injecting.promise
        .then(() => healEntry(file, entry, docker))
        .then(
          () => {
            active.delete(alias);
            done.resolve();
          },
          (error: unknown) => {
            // The journal entry stays, and another attempt is allowed.
            healing = undefined;
            throw error;
          },
        );
      return healing;
    };
    active.set(alias, { file, isBeingDone: () => isBeingDone, heal });
    let problem: string | undefined;
    for (const step of steps) {
      problem = 'docker' in step ? await failure(docker, on(step.docker)) : signalPid(step, dockerUri);
      if (healing !== undefined) problem ??= 'it was taken back while it was being done';
      if (problem !== undefined) break;
    }
    isBeingDone = false;
    injecting.resolve();
    if (problem !== undefined) {
      await heal();
      throw new MusterError('MUSTER_FAULT_INJECT', `${fault.kind} of ${name}: ${problem}`);
    }
    const atMs = Date.now();
    if (fault.kind === 'restart' || fault.kind === 'emptied') await heal();
    // When this attempt fails, the one at the end of the session follows.
    else if ('forMs' in fault && fault.forMs !== undefined)
      timer = setTimeout(() => void heal().catch(() => undefined), fault.forMs);
    return { alias, fault, atMs, heal, healed: done.promise };
  }

  return {
    inject,
    async healAll() {
      const problems: unknown[] = [];
      for (const { heal } of [...active.values()].reverse())
        await heal().catch((error: unknown) => problems.push(error));
      if (problems.length > 0) throw problems[0];
    },
    /** The process ends now: the engine is told without waiting for our own event loop. */
    healAtExit() {
      for (const { file, isBeingDone } of [...active.values()].reverse()) {
        try {
          const { heal } = JSON.parse(readFileSync(file, 'utf8')) as Entry;
          const results = heal.map((args) =>
            spawnSync('docker', args, { encoding: 'utf8', timeout: 20_000, stdio: 'pipe' }),
          );
          // A step that is under way may end after this: then the next run heals once more.
          const isHealed = results.every(({ status, stderr }) => status === 0 || alreadyHealed.test(stderr));
          if (isHealed && !isBeingDone()) rmSync(file, { force: true });
        } catch {
          // The journal entry stays for the next run.
        }
      }
    },
  };
}

type Step =
  | { readonly docker: readonly string[] }
  | { readonly signalPid: number; readonly signal: NodeJS.Signals };

interface Target extends Settings {
  readonly running: boolean;
  readonly pid: number;
  readonly networks: readonly {
    readonly name: string;
    readonly aliases: readonly string[];
    readonly ip: string;
  }[];
}

async function inspect(
  docker: DockerRunner,
  on: (args: readonly string[]) => readonly string[],
  name: string,
): Promise<Target> {
  const { exitCode, stdout, stderr } = await docker(on(['inspect', '--type', 'container', name]));
  if (exitCode !== 0)
    throw new MusterError('MUSTER_FAULT_TARGET', `${name} cannot be looked at: ${stderr.trim()}`);
  const [inspected] = JSON.parse(stdout) as (Settings & {
    Id: string;
    State: { Running: boolean; Paused: boolean; Pid: number };
    NetworkSettings: {
      Networks: Record<
        string,
        { Aliases: string[] | null; IPAMConfig: { IPv4Address?: string } | null }
      > | null;
    };
  })[];
  const { Id, State, NetworkSettings, Config, HostConfig, Mounts } = inspected!;
  return {
    Config,
    HostConfig,
    Mounts,
    running: State.Running && !State.Paused,
    pid: State.Pid,
    networks: Object.entries(NetworkSettings.Networks ?? {}).map(([network, { Aliases, IPAMConfig }]) => ({
      name: network,
      // The engine adds the short id by itself.
      aliases: (Aliases ?? []).filter((alias) => !Id.startsWith(alias)),
      ip: IPAMConfig?.IPv4Address ?? '',
    })),
  };
}

/** What has to be done, and what undoes it. */
function plan(
  name: string,
  fault: Fault,
  target: Target,
): { readonly steps: readonly Step[]; readonly heal: readonly (readonly string[])[] } {
  const { pid, networks } = target;
  const grace = (graceMs = 10_000) => ['--time', String(Math.ceil(graceMs / 1000))];
  const start = ['start', name];
  switch (fault.kind) {
    case 'kill':
      return { steps: [{ docker: ['kill', '--signal', 'KILL', name] }], heal: [start] };
    case 'stop':
      return { steps: [{ docker: ['stop', ...grace(fault.graceMs), name] }], heal: [start] };
    case 'restart':
      return { steps: [{ docker: ['restart', ...grace(fault.graceMs), name] }], heal: [start] };
    case 'crash':
      return { steps: [{ signalPid: pid, signal: 'SIGKILL' }], heal: [start] };
    case 'signal':
      return {
        // Not `docker kill --signal`: after that the engine takes the container for stopped by hand and would not
        // restart it when it dies later.
        steps: [{ signalPid: pid, signal: `SIG${fault.signal}` }],
        heal: [start],
      };
    case 'pause':
      return { steps: [{ docker: ['pause', name] }], heal: [['unpause', name]] };
    case 'cut':
      return {
        steps: networks.map((network) => ({ docker: ['network', 'disconnect', network.name, name] })),
        heal: networks.map(({ name: network, aliases, ip }) => [
          'network',
          'connect',
          ...aliases.flatMap((alias) => ['--alias', alias]),
          ...(ip === '' ? [] : ['--ip', ip]),
          network,
          name,
        ]),
      };
    case 'replace': {
      const { graceMs = 10_000, disk } = fault;
      if (disk !== undefined && !target.Mounts.some(({ Destination }) => Destination === disk.path))
        throw new MusterError('MUSTER_FAULT_TARGET', `${name} keeps nothing on a disk at ${disk.path}.`);
      const { steps, heal } = standInSteps(name, target, networks, { graceMs, ...(disk && { disk }) });
      return { steps: steps.map((docker) => ({ docker })), heal };
    }
    case 'read-only':
      return refuseWrites(name);
    case 'emptied':
      return { steps: [{ docker: emptyRedis(name) }], heal: [] };
    case 'disk-full':
      return fullMysqlDisk(name, target, networks);
    case 'file': {
      // The folder is root's, the process may be anybody's and is signalled by its own kind only.
      const shell = (user: readonly string[], script: string, ...args: readonly string[]) => [
        ...['exec', ...user, name, '/bin/sh', '-c', script],
        ...(args.length === 0 ? [] : ['sh', ...args]),
      ];
      const asRoot = ['--user', '0'];
      const reread = shell([], 'kill -HUP 1');
      return {
        steps: [
          { docker: shell(asRoot, 'printf %s "$1" >"$2"', fault.text, fault.path) },
          { docker: reread },
        ],
        heal: [shell(asRoot, 'rm -f "$1"', fault.path), reread],
      };
    }
  }
}

/** What docker complains about; undefined when it does not, or only that it is done already. */
async function failure(docker: DockerRunner, args: readonly string[]): Promise<string | undefined> {
  for (let triesLeft = 10; ; triesLeft--) {
    const { exitCode, stderr } = await docker(args);
    if (exitCode === 0) return undefined;
    // While a health check begins a process in it, a container cannot be frozen: the engine gives up, and it runs on.
    if (triesLeft > 0 && stderr.includes('unable to freeze')) await sleep(200);
    else return stderr.trim().split('\n').at(-1) ?? `exit code ${exitCode}`;
  }
}

function signalPid(
  { signalPid: pid, signal }: Extract<Step, { signalPid: number }>,
  dockerUri: string | undefined,
): string | undefined {
  if (dockerUri !== undefined) return 'signals reach processes of the local engine only';
  try {
    process.kill(pid, signal);
    return undefined;
  } catch (error) {
    return `${signal} to process ${pid}: ${(error as NodeJS.ErrnoException).code} (as root only)`;
  }
}

async function healEntry(file: string, entry: Entry, docker: DockerRunner): Promise<void> {
  for (const args of entry.heal) {
    const problem = await failure(docker, args);
    if (problem !== undefined && !alreadyHealed.test(problem))
      throw new MusterError(
        'MUSTER_FAULT_HEAL',
        `${entry.fault} of ${entry.alias} could not be taken back: ${problem}. By hand: docker ${args.join(' ')}`,
      );
  }
  rmSync(file, { force: true });
}

/** Heals what is in the journal; whoever wrote it does not hold the lock any more. */
async function healLeftovers(
  folder: string,
  docker: DockerRunner,
  report: (line: string) => void,
): Promise<void> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort();
  for (const name of files.reverse()) {
    const file = join(folder, name);
    const entry = JSON.parse(await readFile(file, 'utf8')) as Entry;
    report(`healing what an earlier run has left: ${entry.fault} of ${entry.alias} (${entry.injectedAt})`);
    await healEntry(file, entry, docker);
  }
}
