/** Programs of this machine: where they are, and Debian's packages of those that are missing, where we may install them. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { withLock } from '../environment/lock.ts';
import { MusterError } from '../workers/base/errors.ts';

/** Folders that an ordinary PATH may lack. */
export const systemFolders = ['/usr/sbin', '/sbin', '/usr/local/sbin', '/usr/bin', '/snap/bin'];

/** Full path of the first of these programs that is there. */
export function findProgram(...names: readonly string[]): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), ...systemFolders];
  return names
    .flatMap((name) => folders.map((folder) => join(folder, name)))
    .find((path) => existsSync(path));
}

/** "Can we install packages here?", from the text of /etc/os-release. */
export function isDebianFamily(osRelease: string): boolean {
  const ids = [...osRelease.matchAll(/^(?:ID|ID_LIKE)="?([^"\n]*)"?$/gm)].flatMap(([, value]) =>
    value?.split(' '),
  );
  return ids.includes('debian') || ids.includes('ubuntu');
}

/** Whether we may install Debian's packages here. */
export const mayInstall = (): boolean => process.getuid?.() === 0 && onDebian();

/** Whether this machine runs Debian or Ubuntu. */
export function onDebian(): boolean {
  return existsSync('/etc/os-release') && isDebianFamily(readFileSync('/etc/os-release', 'utf8'));
}

/**
 * Path of a program; installs its Debian packages where we may. Throws MUSTER_TOOL_MISSING with the advice, and
 * MUSTER_ENGINE_INSTALL_FAILED.
 * @param names what it may be called
 */
export async function needProgram(
  names: readonly [string, ...string[]],
  packages: readonly string[],
  advice: string,
  report: (line: string) => void,
): Promise<string> {
  const install = async () => {
    if (findProgram(...names) === undefined) await aptInstall(packages, report);
  };
  // One package manager at a time.
  if (findProgram(...names) === undefined && packages.length > 0 && mayInstall())
    await withLock('apt', install, report);
  const found = findProgram(...names);
  if (found === undefined)
    throw new MusterError('MUSTER_TOOL_MISSING', `${names[0]} is not installed. ${advice}`);
  return found;
}

/**
 * Installs Debian packages as root. Waits for another package manager that holds the lock.
 * Error: MUSTER_ENGINE_INSTALL_FAILED with the last lines of apt's output.
 */
export async function aptInstall(packages: readonly string[], report: (line: string) => void): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const wait = ['-o', 'DPkg::Lock::Timeout=180', '-o', 'Acquire::Retries=3'];
  // A failing update is not the end: one foreign repository that is down must not keep Debian's own packages away.
  const update = await execa('apt-get', [...wait, 'update'], { reject: false, env, all: true });
  report(`apt-get install ${packages.join(' ')}`);
  // Java's packages fail to install on a system whose manual pages were stripped, unless this folder exists.
  mkdirSync('/usr/share/man/man1', { recursive: true });
  const install = await execa('apt-get', [...wait, 'install', '-y', '--no-install-recommends', ...packages], {
    reject: false,
    env,
    all: true,
  });
  if (install.exitCode === 0) return;
  const output = `${update.exitCode === 0 ? '' : update.all}\n${install.all}`;
  throw new MusterError(
    'MUSTER_ENGINE_INSTALL_FAILED',
    `apt-get could not install ${packages.join(', ')}. Correct what it says, or install them by hand, then run this again.\n${tail(output, 15)}`,
  );
}

/** The last lines of a text. */
export function tail(text: string, lines: number): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}
