/**
 * Whose environment is it? Who deploys knows what is theirs from their own state folder, and removes what else has the environment's
 * labels: the leftovers of a run that was cut off. From another folder (another user, sudo, another machine) all of it would
 * look like that. So an empty volume in each engine names the folder that deployed there. Where Terraform's state is shared every
 * folder knows what runs, and what makes one the owner is the secrets: with others every container would get other passwords.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../catalog/environments.ts';
import { secretsMark } from '../stacks/config/secrets.ts';
import { MusterError } from '../workers/base/errors.ts';
import { run } from './children.ts';
import { type Container, docker, dockerArgs, enginesOf, environmentLabel, type OnHost } from './docker.ts';
import { stateDirectory } from './paths.ts';
import { ensureSecrets } from './secrets.ts';
import { secretsFile } from './variables.ts';

const ownerLabel = 'muster.owner';
const folderLabel = 'muster.state';

/** Name of the volume that is the mark. Like all of an environment's it goes by `down --volumes`. */
export const markOf = ({ prefix }: Environment): string => `${prefix}-owner`;

export interface Mark {
  /** Of a state folder, or of secrets. */
  readonly owner: string;
  /** Where it was, for people. */
  readonly folder: string;
}

/** The mark of a state folder, which gets one, or the secrets of a shared state, when it has none. */
async function ownMark(environment: Environment, folder: string): Promise<Mark> {
  const where = `${folder} on ${hostname()}`;
  if (isShared(environment)) {
    const { secrets } = await ensureSecrets(secretsFile(environment, folder));
    return { owner: secretsMark(secrets), folder: where };
  }
  const file = join(folder, 'owner');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // Two at once: the first one's counts.
  await writeFile(file, randomUUID(), { flag: 'wx', mode: 0o600 }).catch((error: { code?: string }) => {
    if (error.code !== 'EEXIST') throw error;
  });
  return { owner: (await readFile(file, 'utf8')).trim(), folder: where };
}

const isShared = ({ stateDatabase }: Environment): boolean => stateDatabase !== undefined;

/**
 * Whether somebody else's environment would be touched. A mark of others counts as long as containers are there: after `down`
 * anybody may go on with the volumes. Without a mark (it was deployed before there were marks) containers are ours when our
 * state knows resources. Where it is shared a mark of others counts always, since volumes have their passwords, too; and containers
 * of which it knows nothing are those of another database.
 */
export function isForeign(seen: {
  readonly mark: Mark | undefined;
  readonly own: Mark;
  readonly containers: number;
  readonly known: number;
  readonly isShared: boolean;
}): boolean {
  const isOthers = seen.mark !== undefined && seen.mark.owner !== seen.own.owner;
  if (seen.isShared) return isOthers || (seen.containers > 0 && seen.known === 0);
  if (seen.containers === 0) return false;
  return seen.mark === undefined ? seen.known === 0 : isOthers;
}

/**
 * Refuses to go on where another state folder has deployed, unless it is taken over. Throws MUSTER_FOREIGN_ENVIRONMENT.
 * @param known how many resources our own state knows
 */
export async function refuseForeign(
  environment: Environment,
  found: {
    readonly containers: readonly Container[];
    readonly known: number;
    readonly takesOver: boolean;
    readonly folder?: string;
  },
): Promise<void> {
  for (const engine of enginesOf(environment)) {
    const containers = found.containers.filter(({ dockerUri }) => dockerUri === engine.dockerUri).length;
    if (found.takesOver || (containers === 0 && !isShared(environment))) continue;
    const mark = await markIn(engine, environment);
    // Where there is nothing nothing is written either.
    if (containers === 0 && mark === undefined) continue;
    const folder = found.folder ?? stateDirectory(environment.name);
    const own = await ownMark(environment, folder);
    const { known } = found;
    if (!isForeign({ mark, own, containers, known, isShared: isShared(environment) })) continue;
    const whose = mark === undefined ? 'another state folder' : `the state folder ${mark.folder}`;
    if (isShared(environment))
      throw new MusterError(
        'MUSTER_FOREIGN_ENVIRONMENT',
        known === 0
          ? `Environment ${environment.name} was deployed from ${whose}, and its state in ${environment.stateDatabase} knows nothing of what runs: it would be removed. Nothing was touched. Have that state restored, or say --take-over: its containers go, volumes stay.`
          : `Environment ${environment.name} was deployed from ${whose}, with other secrets than those in ${secretsFile(environment, folder)}: everybody would get other passwords. Nothing was touched. Copy the file from there.`,
      );
    throw new MusterError(
      'MUSTER_FOREIGN_ENVIRONMENT',
      `Environment ${environment.name} was deployed from ${whose}, and ${own.folder} knows nothing of what runs: it would be removed. Nothing was touched. Go on from there (same user, same XDG_STATE_HOME), or say --take-over: its containers go, volumes stay.`,
    );
  }
}

/** Marks the environment as ours. What was there before is to be looked at by `refuseForeign`. */
export async function claim(
  environment: Environment,
  folder = stateDirectory(environment.name),
): Promise<void> {
  const own = await ownMark(environment, folder);
  const name = markOf(environment);
  for (const engine of enginesOf(environment)) {
    const mark = await markIn(engine, environment);
    if (mark?.owner === own.owner) continue;
    if (mark !== undefined) await docker(dockerArgs(engine, ['volume', 'rm', '--force', name]));
    const labels = {
      [environmentLabel]: environment.name,
      [ownerLabel]: own.owner,
      [folderLabel]: own.folder,
    };
    const labelled = Object.entries(labels).flatMap(([label, value]) => ['--label', `${label}=${value}`]);
    await docker(dockerArgs(engine, ['volume', 'create', ...labelled, name]));
    // The engine keeps the first of two that come at once.
    const now = await markIn(engine, environment);
    if (now?.owner !== own.owner)
      throw new MusterError(
        'MUSTER_FOREIGN_ENVIRONMENT',
        `Environment ${environment.name} is being deployed from the state folder ${now?.folder ?? '?'} just now. Nothing was touched.`,
      );
  }
}

async function markIn(engine: OnHost, environment: Environment): Promise<Mark | undefined> {
  const args = ['volume', 'inspect', '--format', '{{json .Labels}}', markOf(environment)];
  const { exitCode, stdout } = await run('docker', dockerArgs(engine, args));
  if (exitCode !== 0) return undefined;
  const labels = (JSON.parse(stdout) ?? {}) as Readonly<Record<string, string>>;
  return { owner: labels[ownerLabel] ?? '', folder: labels[folderLabel] ?? '?' };
}
