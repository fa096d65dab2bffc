/**
 * The Docker engine: find it, check it, and on a bare Debian or Ubuntu machine (as root) install and start one.
 *
 * A user's running engine is never touched. What we start ourselves is recorded in the state directory, and only that
 * may be stopped again by stopEngineWeStarted(): `./muster test` does so, `./muster up` leaves it running.
 */

import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { statfs } from 'node:fs/promises';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { type ProcessFacts, processFacts, withLock } from '../environment/lock.ts';
import { cacheDirectory, stateRoot } from '../environment/paths.ts';
import { MusterError } from '../workers/base/errors.ts';
import { aptInstall, findProgram, onDebian, systemFolders, tail } from './programs.ts';

/** Oldest engine whose networks, health checks and builds are known to work here. */
const oldestEngine = '20.10';
const startTimeoutMs = 60_000;
const stopTimeoutMs = 40_000;
const defaultSocket = 'unix:///var/run/docker.sock';

export interface Engine {
  /** Address for DOCKER_HOST, e.g. `unix:///var/run/docker.sock`; Terraform knows no Docker contexts and needs it. */
  readonly dockerHost: string;
  /** Server version, e.g. `20.10.24+dfsg1`. */
  readonly version: string;
  /** True when this call started it. */
  readonly started: boolean;
}

export interface EnsureEngineOptions {
  /** Called with one plain sentence per step that takes time. */
  readonly report?: (line: string) => void;
}

/**
 * Compares two versions by their leading numbers: negative, zero or positive.
 * Anything after the numbers (`+dfsg1`, `-rc.1`, `~debian`) does not count.
 */
export function compareVersions(left: string, right: string): number {
  const numbers = (version: string) =>
    (/^v?(\d+(?:\.\d+)*)/.exec(version)?.[1] ?? '0').split('.').map(Number);
  const [a, b] = [numbers(left), numbers(right)];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** True when a process of this name (as in /proc/<pid>/comm) runs. */
function anyProcessNamed(name: string): boolean {
  return readdirSync('/proc').some(
    (entry) => /^\d+$/.test(entry) && processFacts(Number(entry))?.name === name,
  );
}

/**
 * Whether a pid file is left over from a daemon that was cut off: its content is no number, the process is gone, or
 * its id belongs to another program by now. dockerd itself only looks whether *some* process has the id.
 */
export function isStalePidFile(
  content: string,
  daemon: string,
  lookUp: (pid: number) => ProcessFacts | undefined = processFacts,
): boolean {
  const pid = Number(content.trim());
  if (!Number.isInteger(pid) || pid <= 0) return true;
  return lookUp(pid)?.name !== daemon;
}

/**
 * Mounts that an engine which was cut off has left, deepest first so that they come off in this order.
 * @param mounts content of /proc/self/mounts
 * @param folders the engine's own folders, e.g. `/var/lib/docker`
 */
export function leftoverMounts(mounts: string, folders: readonly string[]): string[] {
  const plain = (path: string) =>
    path.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
  return mounts
    .split('\n')
    .map((line) => plain(line.split(' ')[1] ?? ''))
    .filter((path) => folders.some((folder) => path.startsWith(`${folder}/`)))
    .sort((a, b) => b.length - a.length);
}

interface Probe {
  readonly dockerHost: string;
  readonly version?: string;
  readonly problem?: string;
  readonly clientMissing?: boolean;
}

/** Where the client would connect: DOCKER_HOST, else the current Docker context, else the default socket. */
async function dockerEndpoint(): Promise<string> {
  if (process.env.DOCKER_HOST) return process.env.DOCKER_HOST;
  const context = await execa('docker', ['context', 'inspect', '--format', '{{.Endpoints.docker.Host}}'], {
    reject: false,
    timeout: 10_000,
  });
  return context.exitCode === 0 && context.stdout.includes('://') ? context.stdout.trim() : defaultSocket;
}

async function probe(): Promise<Probe> {
  const dockerHost = await dockerEndpoint();
  const result = await execa('docker', ['version', '--format', '{{.Server.Version}}'], {
    reject: false,
    timeout: 20_000,
    env: { DOCKER_HOST: dockerHost },
  });
  if (result.exitCode === 0) return { dockerHost, version: result.stdout.trim() };
  const clientMissing = result.code === 'ENOENT';
  return {
    dockerHost,
    clientMissing,
    problem: clientMissing ? 'docker is not installed' : lastLine(result.stderr),
  };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

/**
 * Podman has versions of its own, below all of the engine's: it is asked for by name where one is too old, or does not answer.
 */
async function refusePodman(dockerHost: string): Promise<void> {
  const asked = [['--version'], ['version', '--format', '{{range .Server.Components}}{{.Name}} {{end}}']];
  for (const args of asked) {
    const { all = '' } = await execa('docker', args, {
      reject: false,
      all: true,
      timeout: 20_000,
      env: { DOCKER_HOST: dockerHost },
    });
    if (isPodman(all))
      throw new MusterError(
        'MUSTER_ENGINE_PODMAN',
        `podman stands where Docker is asked for at ${dockerHost}. muster needs the Docker engine, ${oldestEngine} or newer: with no other were its networks, health checks and provider tried. Install it (https://docs.docker.com/engine/install/), or name it by DOCKER_HOST, then run this again.`,
      );
  }
}

/** Of what `docker` says of itself, or of its engine. */
export const isPodman = (text: string): boolean => /podman/i.test(text);

/** The engine that answers now, or undefined. Throws only MUSTER_ENGINE_TOO_OLD, MUSTER_ENGINE_PODMAN. */
export async function runningEngine(): Promise<Engine | undefined> {
  const { dockerHost, version } = await probe();
  if (version === undefined) return undefined;
  if (compareVersions(version, oldestEngine) < 0) {
    await refusePodman(dockerHost);
    throw new MusterError(
      'MUSTER_ENGINE_TOO_OLD',
      `the Docker engine at ${dockerHost} is version ${version}; muster needs ${oldestEngine} or newer. Update it, then run this again.`,
    );
  }
  return { dockerHost, version, started: false };
}

/**
 * The running engine; undefined where there is none and `ensureEngine` would start one.
 * Errors: MUSTER_ENGINE_TOO_OLD, MUSTER_ENGINE_PODMAN, MUSTER_ENGINE_UNREACHABLE (DOCKER_HOST names one that does not answer),
 * MUSTER_ENGINE_DENIED (no right to use its socket), MUSTER_ENGINE_MISSING (and we cannot install one here). Each message says
 * what to do.
 */
export async function lookForEngine(): Promise<Engine | undefined> {
  const running = await runningEngine();
  if (running !== undefined) return running;
  const found = await probe();
  const problem = found.problem ?? 'no answer';
  if (found.clientMissing !== true) await refusePodman(found.dockerHost);
  if (/permission denied/i.test(problem)) {
    throw new MusterError(
      'MUSTER_ENGINE_DENIED',
      `this user may not use the Docker engine at ${found.dockerHost}. Add it to the group docker (sudo usermod -aG docker $USER), log in again, then run this again.`,
    );
  }
  if (found.dockerHost !== defaultSocket && found.dockerHost !== 'unix:///run/docker.sock') {
    throw new MusterError(
      'MUSTER_ENGINE_UNREACHABLE',
      `no Docker engine answers at ${found.dockerHost} (${problem}). Start it, or correct DOCKER_HOST or the Docker context, then run this again.`,
    );
  }
  if (process.platform !== 'linux') {
    throw new MusterError(
      'MUSTER_ENGINE_MISSING',
      'no Docker engine is running. Start Docker Desktop (https://docs.docker.com/get-docker/), then run this again.',
    );
  }
  if (process.getuid?.() !== 0) {
    throw new MusterError(
      'MUSTER_ENGINE_MISSING',
      'no Docker engine is running. Start it (sudo systemctl start docker) or install it (https://docs.docker.com/engine/install/), or run this as root on Debian or Ubuntu and muster does both.',
    );
  }
  return undefined;
}

/**
 * A usable engine: the running one, or one that is started (and, as root on Debian or Ubuntu, installed) now.
 * Errors: those of `lookForEngine`, MUSTER_ENGINE_INSTALL_FAILED, MUSTER_ENGINE_START_FAILED.
 */
export async function ensureEngine({ report = () => {} }: EnsureEngineOptions = {}): Promise<Engine> {
  const running = await lookForEngine();
  if (running !== undefined) return running;
  const found = await probe();
  // Of two that start at once the second finds the first one's engine.
  return withLock('engine', async () => (await runningEngine()) ?? installAndStart(found, report), report);
}

/** Whether the ports that an engine publishes on loopback are those of this machine. */
export const isOnThisMachine = (dockerHost: string): boolean =>
  !/^(ssh|tcp|https?):/.test(dockerHost) ||
  /^tcp:\/\/(localhost|127\.[\d.]+|\[::1\])(:|\/|$)/.test(dockerHost);

/** Throws MUSTER_ENGINE_REMOTE for an engine on another machine, where nobody would reach an environment that is for this one. */
export function refuseRemote({ dockerHost }: Engine): void {
  if (!isOnThisMachine(dockerHost))
    throw new MusterError(
      'MUSTER_ENGINE_REMOTE',
      `DOCKER_HOST (or the Docker context) names an engine on another machine, ${dockerHost}: the ports of this environment would be on that machine's loopback, and its folders are not there. Run this there, or make an environment that names the host (docs/environments.md).`,
    );
}

/** Memory of the machine that the engine runs on, in bytes; undefined: it does not say. */
export async function engineMemory({ dockerHost }: Engine): Promise<number | undefined> {
  const { exitCode, stdout } = await execa('docker', ['info', '--format', '{{.MemTotal}}'], {
    reject: false,
    timeout: 20_000,
    env: { DOCKER_HOST: dockerHost },
  });
  const bytes = Number(stdout);
  return exitCode === 0 && bytes > 0 ? bytes : undefined;
}

async function installAndStart(found: Probe, report: (line: string) => void): Promise<Engine> {
  if (findProgram('dockerd') === undefined || found.clientMissing || findProgram('iptables') === undefined) {
    await installEngine(report);
    // Where a service manager runs, the package starts the engine by itself.
    const installed = await runningEngine();
    if (installed !== undefined) return { ...installed, started: true };
  }
  return startEngine(report);
}

async function installEngine(report: (line: string) => void): Promise<void> {
  if (!onDebian()) {
    throw new MusterError(
      'MUSTER_ENGINE_MISSING',
      'no Docker engine is installed, and muster can install one on Debian and Ubuntu only. Install it (https://docs.docker.com/engine/install/), start it, then run this again.',
    );
  }
  report('installing the Docker engine from the distribution (docker.io)');
  await aptInstall(['docker.io', 'iptables', 'debootstrap', 'ca-certificates'], report);
}

interface StartRecord {
  /** `systemd`, or the process id of the dockerd that we started. */
  readonly manager: 'systemd' | 'self';
  readonly pid?: number;
  readonly startTicks?: string;
}

const recordFile = () => join(stateRoot(), 'engine', 'started.json');
/** Log of a dockerd that we started ourselves. */
export const engineLogFile = (): string => join(stateRoot(), 'engine', 'dockerd.log');

async function startEngine(report: (line: string) => void): Promise<Engine> {
  mkdirSync(dirname(recordFile()), { recursive: true });
  if (existsSync('/run/systemd/system')) {
    report('starting the Docker engine (systemctl start docker)');
    const result = await execa('systemctl', ['start', 'docker'], { reject: false, all: true });
    if (result.exitCode !== 0) {
      throw new MusterError(
        'MUSTER_ENGINE_START_FAILED',
        `systemctl start docker failed; see journalctl -u docker.\n${tail(result.all, 10)}`,
      );
    }
    writeFileSync(recordFile(), JSON.stringify({ manager: 'systemd' } satisfies StartRecord));
    return waitForEngine(() => undefined);
  }

  report('starting the Docker engine (dockerd)');
  const dockerd = findProgram('dockerd');
  if (dockerd === undefined) {
    throw new MusterError(
      'MUSTER_ENGINE_START_FAILED',
      'dockerd is missing although docker.io is installed.',
    );
  }
  await clearLeftovers(report);
  const log = openSync(engineLogFile(), 'a');
  const child = spawn(dockerd, [], {
    // Its own session: Ctrl-C in our terminal must not reach it, and it outlives us.
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { ...process.env, PATH: [process.env.PATH, ...systemFolders].join(':') },
  });
  closeSync(log);
  let ended: string | undefined;
  child.once('error', (error) => {
    ended = error.message;
  });
  child.once('exit', (code, signal) => {
    ended = signal === null ? `exit code ${code}` : `signal ${signal}`;
  });
  child.unref();
  if (child.pid !== undefined) {
    const startTicks = processFacts(child.pid)?.startTicks ?? '';
    writeFileSync(
      recordFile(),
      JSON.stringify({ manager: 'self', pid: child.pid, startTicks } satisfies StartRecord),
    );
  }
  return waitForEngine(() => ended);
}

/** Polls until the engine answers. `ended` tells why waiting is in vain. */
async function waitForEngine(ended: () => string | undefined): Promise<Engine> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    const engine = await runningEngine();
    if (engine !== undefined) return { ...engine, started: true };
    const reason = ended();
    if (reason !== undefined) throw startFailed(`dockerd ended (${reason})`);
    await sleep(250);
  }
  throw startFailed(`the Docker engine did not answer within ${startTimeoutMs / 1000} s`);
}

function startFailed(what: string): MusterError {
  const log = existsSync(engineLogFile()) ? readFileSync(engineLogFile(), 'utf8') : '';
  const telling = log.split('\n').filter((line) => line !== '' && !/level=(info|debug|warning)/.test(line));
  return new MusterError(
    'MUSTER_ENGINE_START_FAILED',
    `${what}. Its log is ${engineLogFile()}; correct what it says, or start an engine by hand, then run this again.\n${telling.slice(-5).join('\n')}`,
  );
}

/**
 * Clears what an engine that was cut off leaves: pid files of processes that are gone (dockerd refuses to start when
 * any process has the id), a containerd socket nobody serves, and mounts that would make removals fail as busy.
 */
async function clearLeftovers(report: (line: string) => void): Promise<void> {
  for (const [file, daemon, companions] of [
    ['/var/run/docker.pid', 'dockerd', []],
    [
      '/run/docker/containerd/containerd.pid',
      'containerd',
      ['containerd.sock', 'containerd.sock.ttrpc', 'containerd-debug.sock'],
    ],
  ] as const) {
    if (!existsSync(file) || !isStalePidFile(readFileSync(file, 'utf8'), daemon)) continue;
    report(`removing a stale ${file}`);
    for (const path of [file, ...companions.map((name) => join(dirname(file), name))])
      rmSync(path, { force: true });
  }
  // Containers of the old engine may still run below their shims: then the mounts are in use and dockerd tidies up.
  if (anyProcessNamed('containerd-shim') || !existsSync('/proc/self/mounts')) return;
  for (const path of leftoverMounts(readFileSync('/proc/self/mounts', 'utf8'), [
    '/var/lib/docker',
    '/run/docker',
  ])) {
    await execa('umount', ['-l', path], { reject: false });
  }
}

/**
 * Stops the engine that muster started, if it is the one that runs now. Does nothing to an engine of somebody else.
 * An engine with running containers stays, because somebody uses it.
 * @returns what happened, for one line of output
 */
export async function stopEngineWeStarted(): Promise<'stopped' | 'not ours' | 'in use'> {
  if (!existsSync(recordFile())) return 'not ours';
  let record: StartRecord;
  try {
    record = JSON.parse(readFileSync(recordFile(), 'utf8')) as StartRecord;
  } catch {
    rmSync(recordFile(), { force: true });
    return 'not ours';
  }
  const ours = () => {
    if (record.manager === 'systemd') return true;
    const facts = record.pid === undefined ? undefined : processFacts(record.pid);
    return facts?.name === 'dockerd' && (record.startTicks === '' || facts.startTicks === record.startTicks);
  };
  if (!ours()) {
    rmSync(recordFile(), { force: true });
    return 'not ours';
  }
  const containers = await execa('docker', ['ps', '--quiet'], {
    reject: false,
    timeout: 20_000,
    env: { DOCKER_HOST: defaultSocket },
  });
  if (containers.exitCode === 0 && containers.stdout.trim() !== '') return 'in use';
  if (record.manager === 'systemd') {
    await execa('systemctl', ['stop', 'docker.socket', 'docker.service'], { reject: false });
  } else if (record.pid !== undefined) {
    process.kill(record.pid, 'SIGTERM');
    const deadline = Date.now() + stopTimeoutMs;
    while (ours() && Date.now() < deadline) await sleep(100);
    if (ours()) process.kill(record.pid, 'SIGKILL');
  }
  rmSync(recordFile(), { force: true });
  return 'stopped';
}

/** Asks the engine's own API; undefined when its address is not a local socket. */
function askEngine(dockerHost: string, path: string, timeoutMs: number): Promise<number> | undefined {
  if (!dockerHost.startsWith('unix://')) return undefined;
  return new Promise((resolve) => {
    const call = request(
      {
        socketPath: dockerHost.slice('unix://'.length),
        path,
        timeout: timeoutMs,
        signal: AbortSignal.timeout(timeoutMs),
      },
      (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode ?? 0));
        response.once('error', () => resolve(0));
      },
    );
    call.once('error', () => resolve(0));
    call.end();
  });
}

/**
 * Whether the engine reaches the public image registry. It is the engine that is asked to look an image up (nothing is
 * downloaded); an engine behind ssh or TLS is judged by what the client reaches.
 */
export async function canPull(dockerHost: string, timeoutMs = 8_000): Promise<boolean> {
  const image = 'library/hello-world';
  const status = askEngine(dockerHost, `/distribution/${image}:latest/json`, timeoutMs);
  if (status !== undefined) return (await status) === 200;
  const result = await execa('docker', ['manifest', 'inspect', `${image}:latest`], {
    reject: false,
    timeout: timeoutMs,
    env: { DOCKER_HOST: dockerHost, DOCKER_CLI_EXPERIMENTAL: 'enabled' },
  });
  return result.exitCode === 0;
}

/** Free bytes for ordinary users where a path lies (or will lie); undefined when that cannot be known. */
async function freeBytes(path: string): Promise<number | undefined> {
  let existing = path;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    const { bavail, bsize } = await statfs(existing);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/**
 * Refuses to begin what will not fit. Looks at the engine's data folder (when it is on this machine) and at our cache.
 * Error: MUSTER_DISK_SPACE, which names the folder, what is free and what is needed.
 * @param need GiB that must be free in each
 */
export async function ensureDiskSpace(
  engine: Engine,
  need: { engineGiB: number; cacheGiB: number },
): Promise<void> {
  const gib = 1024 ** 3;
  const places: [folder: string, needGiB: number][] = [[cacheDirectory(), need.cacheGiB]];
  if (engine.dockerHost.startsWith('unix://')) {
    const info = await execa('docker', ['info', '--format', '{{.DockerRootDir}}'], {
      reject: false,
      timeout: 20_000,
      env: { DOCKER_HOST: engine.dockerHost },
    });
    // Docker Desktop's folder is inside its own machine: then it does not exist here and tells nothing.
    if (info.exitCode === 0 && existsSync(info.stdout.trim()))
      places.push([info.stdout.trim(), need.engineGiB]);
  }
  for (const [folder, needGiB] of places) {
    const free = await freeBytes(folder);
    if (free === undefined || free >= needGiB * gib) continue;
    throw new MusterError(
      'MUSTER_DISK_SPACE',
      `${folder} has ${(free / gib).toFixed(1)} GiB free, and ${needGiB} GiB are needed. Free some space (docker system df, docker image prune), then run this again.`,
    );
  }
}
