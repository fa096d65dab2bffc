/** Restoring the database of an environment: what is kept, a server beside the running one, or in its place. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Environment, MysqlNode } from '../catalog/environments.ts';
import { byItself } from '../environment/backup.ts';
import { run } from '../environment/children.ts';
import { containersOf, docker, dockerArgs, environmentLabel } from '../environment/docker.ts';
import { pause } from '../environment/interruption.ts';
import { ensureSecrets } from '../environment/secrets.ts';
import { secretsFile } from '../environment/variables.ts';
import { renderMyCnf, renderMysqlClient, renderMysqlInit, renderMysqlStart } from '../stacks/config/data.ts';
import { paths } from '../stacks/config/paths.ts';
import { guardHost, hostOf, mysqlMember } from '../stacks/config/topology.ts';
import { type ImageName, imageRef } from '../stacks/images.ts';
import { MusterError } from '../workers/base/errors.ts';
import { imagesOf, rememberedImages } from './deployment.ts';
import type { VerbContext } from './verb.ts';

interface Plan {
  readonly base: { readonly name: string; readonly takenAtMs: number };
  readonly head: { readonly atMs: number };
  readonly toMs: number;
  readonly transactions: number;
  readonly leftOut: number;
}

type Tell = (line: string) => void;

/** Long enough for a server that has a gigabyte of log to read. */
const startWithinMs = 180_000;

/** Of the first member, into whose place data are restored; the backups are on its host. */
const engineOf = (environment: Environment) => engineAt(environment, environment.mysql.members[0].host);
const engineAt = (environment: Environment, host: string) => ({
  dockerUri: hostOf(environment, host).dockerUri,
});

async function imageOf(
  environment: Environment,
  name: ImageName,
  host = environment.mysql.members[0].host,
): Promise<string> {
  const containers = await containersOf(environment);
  const images = imagesOf(containers) ?? (await rememberedImages(environment)) ?? 'registry';
  const image = imageRef(name, images)!.name;
  const there = await run('docker', dockerArgs(engineAt(environment, host), ['image', 'inspect', image]));
  if (there.exitCode === 0) return image;
  throw new MusterError('MUSTER_IMAGE_MISSING', `The engine has no image ${image}: ./muster up makes it.`);
}

/** Runs a verb that only reads what is kept. Throws what it says (MUSTER_BACKUP_*). */
export async function readKept<T>(
  { environment, signal }: VerbContext,
  args: readonly string[],
  more: { readonly mounts?: readonly string[]; onLine?: Tell } = {},
): Promise<T> {
  const image = await imageOf(environment, 'mysql-backup');
  const { secrets } = await ensureSecrets(secretsFile(environment));
  return byItself<T>(environment, image, secrets.backupKey, args, { ...more, signal });
}

/** What a restore would do. Throws MUSTER_BACKUP_* where it cannot: nothing before the moment, a gap, damage. */
export const planOf = (context: VerbContext, moment: string) => readKept<Plan>(context, ['plan', moment]);

async function restoreInto(context: VerbContext, moment: string, volume: string, tell: Tell) {
  const mounts = [`type=volume,source=${volume},target=${paths.mysqlVolume}`];
  const onLine = (line: string) => {
    if (!line.startsWith('MUSTER_')) tell(line);
  };
  return readKept<{ aside: string | null }>(context, ['restore', moment, paths.mysqlVolume], {
    mounts,
    onLine,
  });
}

/** Makes a server of its own with the data of that moment, anew each time; resolves to the name of its container. */
export async function restoreBeside(context: VerbContext, moment: string, tell: Tell): Promise<string> {
  const { environment, signal } = context;
  const engine = engineOf(environment);
  const name = `${environment.prefix}-mysql-restored`;
  const own = (args: readonly string[]) => docker(dockerArgs(engine, args), signal);
  await run('docker', dockerArgs(engine, ['rm', '--force', '--volumes', name]));
  await own(['volume', 'rm', '--force', name]);
  await createVolume(environment, name);
  await restoreInto(context, moment, name, tell);
  await createMysql(environment, name, name);
  await own(['start', name]);
  const asked = ['exec', name, 'mysql', `--defaults-file=${paths.config}/health.cnf`, '-e', 'SELECT 1'];
  for (const deadline = Date.now() + startWithinMs; ; await pause(500, signal)) {
    if ((await run('docker', dockerArgs(engine, asked))).exitCode === 0) return name;
    if (Date.now() > deadline)
      throw new MusterError('MUSTER_RESTORE_START', `${name} does not answer: docker logs ${name}`);
  }
}

/** As terraform makes those of MySQL: one with other labels it would replace. There already: it stays as it is. */
async function createVolume(environment: Environment, name: string): Promise<void> {
  const labels = [`${environmentLabel}=${environment.name}`, 'muster.component=mysql'];
  await docker(
    dockerArgs(engineOf(environment), [
      ...['volume', 'create', ...labels.flatMap((label) => ['--label', label])],
      name,
    ]),
  );
}

/**
 * Creates, and does not start, a container like that of a member of MySQL of the environment, or of a server by itself, with its
 * data in this volume.
 */
export async function createMysql(
  environment: Environment,
  name: string,
  volume: string,
  member?: MysqlNode,
): Promise<void> {
  const engine = engineOf(environment);
  const image = await imageOf(environment, 'mysql');
  const network = await run('docker', dockerArgs(engine, ['network', 'inspect', environment.prefix]));
  await docker(
    dockerArgs(engine, [
      ...['create', '--name', name, '--user', '999:999', '--memory', `${environment.mysql.size.memoryMiB}m`],
      ...['--network', network.exitCode === 0 ? environment.prefix : 'none', '--cap-drop', 'ALL'],
      ...(member === undefined
        ? []
        : ['--network-alias', mysqlMember(member), '--hostname', mysqlMember(member)]),
      ...['--security-opt', 'no-new-privileges:true'],
      ...['--mount', `type=volume,source=${volume},target=${paths.mysqlVolume}`],
      ...['--entrypoint', '/bin/bash', image, `${paths.config}/start-mysql.sh`],
    ]),
  );
  await giveConfiguration(environment, name, member);
}

/** The files that MySQL of the environment has, too. */
async function giveConfiguration(
  environment: Environment,
  container: string,
  member: MysqlNode | undefined,
): Promise<void> {
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const files = {
    'my.cnf': renderMyCnf(environment, member),
    'init.sql': renderMysqlInit(secrets),
    'health.cnf': renderMysqlClient(environment, secrets, member),
    'start-mysql.sh': renderMysqlStart(),
  };
  const folder = await mkdtemp(join(tmpdir(), 'muster-restore-'));
  try {
    for (const [file, text] of Object.entries(files))
      await writeFile(join(folder, file), text, { mode: 0o644 });
    await docker(dockerArgs(engineOf(environment), ['cp', `${folder}/.`, `${container}:${paths.config}/`]));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/**
 * Puts the data of that moment in the place of those of the environment; MySQL stands still meanwhile. Those that were there are
 * put aside when the restored ones are complete, and not before: cut off or failing, it leaves everything as it was, but stopped.
 * They come to the first member. The other one and the guard forget what they know: it is made anew from the first.
 */
export async function restoreInPlace(
  context: VerbContext,
  moment: string,
  tell: Tell,
): Promise<{ readonly aside: string | null; readonly started: boolean }> {
  const { environment } = context;
  const { prefix, mysql } = environment;
  const [, second] = mysql.members;
  // Who decides, first: nobody is to take over meanwhile.
  const parts = [
    { name: `${prefix}-mysql-guard`, engine: engineAt(environment, guardHost(environment)) },
    ...mysql.members.map((member) => ({
      name: `${prefix}-${mysqlMember(member)}`,
      engine: engineAt(environment, member.host),
    })),
  ];
  const there: typeof parts = [];
  for (const part of parts) {
    const inspect = ['container', 'inspect', '--format', '{{.State.Running}}', part.name];
    const found = await run('docker', dockerArgs(part.engine, inspect));
    if (found.exitCode === 0) there.push(part);
    if (found.stdout !== 'true') continue;
    tell(`${part.name.slice(prefix.length + 1)} is stopped`);
    await docker(dockerArgs(part.engine, ['stop', '--time', '60', part.name]));
  }
  try {
    const volume = `${prefix}-mysql-data`;
    await createVolume(environment, volume);
    const { aside } = await restoreInto(context, moment, volume, tell);
    const gone = `${paths.mysqlData}.before-restore`;
    await inVolume(context, second.host, `${prefix}-${mysqlMember(second)}-data`, paths.mysqlVolume, [
      `rm -rf ${gone}; if [ -e ${paths.mysqlData} ]; then mv ${paths.mysqlData} ${gone}; fi`,
    ]);
    await inVolume(context, guardHost(environment), `${prefix}-mysql-guard-state`, paths.guardState, [
      `rm -f ${paths.guardState}/note.json`,
    ]);
    return { aside: aside === null ? null : basename(aside), started: there.length === parts.length };
  } finally {
    for (const { name, engine } of there.toReversed()) await docker(dockerArgs(engine, ['start', name]));
  }
}

/** Runs a script beside what is in a volume; one that is not there needs nothing. */
async function inVolume(
  { environment }: VerbContext,
  host: string,
  volume: string,
  path: string,
  script: readonly [string],
): Promise<void> {
  const engine = engineAt(environment, host);
  if ((await run('docker', dockerArgs(engine, ['volume', 'inspect', volume]))).exitCode !== 0) return;
  const image = await imageOf(environment, 'mysql-backup', host);
  await docker(
    dockerArgs(engine, [
      ...['run', '--rm', '--network', 'none', '--cap-drop', 'ALL', '--user', '999:999'],
      ...['--mount', `type=volume,source=${volume},target=${path}`],
      ...['--entrypoint', '/bin/sh', image, '-c', ...script],
    ]),
  );
}
