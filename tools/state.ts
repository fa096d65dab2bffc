/**
 * What Terraform knows of an environment: in a file of the state folder for each stack, or, where whoever deploys it shares it
 * (`stateDatabase`), in PostgreSQL, by Terraform's backend `pg`. Then an environment has one state more, which stays empty: its lock is
 * for all stacks together.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import type { Environment } from '../catalog/environments.ts';
import { run } from '../environment/children.ts';
import { stateDirectory } from '../environment/paths.ts';
import { stateSchema } from '../stacks/config/state.ts';
import { MusterError } from '../workers/base/errors.ts';
import { initialise, isLocked } from './terraform.ts';

export const stackNames = ['kafka', 'data', 'observability', 'services'] as const;

export interface StateResource {
  readonly type: string;
  readonly name: string;
  readonly ids: readonly string[];
}

/** Managed resources of a stack; none when it has no state. Throws MUSTER_STATE when that is damaged, MUSTER_STATE_UNREACHABLE. */
export async function resourcesInState(
  environment: Environment,
  stack: string,
): Promise<readonly StateResource[]> {
  if (environment.stateDatabase !== undefined)
    return resourcesOf(await pulled(environment, stack), `state of ${stack} in ${environment.stateDatabase}`);
  const file = join(stateDirectory(environment.name), `${stack}.tfstate`);
  return existsSync(file) ? resourcesOf(await readFile(file, 'utf8'), `state file ${file}`) : [];
}

/** Managed resources in the text of a state; none in an empty one. Throws MUSTER_STATE, with its name, when it is damaged. */
export function resourcesOf(text: string, what: string): readonly StateResource[] {
  if (text.trim() === '') return [];
  interface State {
    readonly resources?: readonly {
      readonly mode: string;
      readonly type: string;
      readonly name: string;
      readonly instances: readonly { readonly attributes?: { readonly id?: string } }[];
    }[];
  }
  let state: State;
  try {
    state = JSON.parse(text) as State;
  } catch {
    throw new MusterError(
      'MUSTER_STATE',
      `The ${what} is damaged. ./muster down finds everything by its labels; move it away after that.`,
    );
  }
  return (state.resources ?? [])
    .filter(({ mode }) => mode === 'managed')
    .map(({ type, name, instances }) => ({
      type,
      name,
      ids: instances.flatMap(({ attributes }) => (attributes?.id === undefined ? [] : [attributes.id])),
    }));
}

/**
 * Does `work` while nobody else works on an environment whose state is shared, on whatever machine; any other has no such lock.
 * Terraform locks a state only as long as it plans or applies, and a roll is many of these. So one of its applies waits meanwhile for
 * an approval that never comes, and holds the lock of the environment's own state. It ends with us, however that is, and the
 * database lets go of a lock whose connection is gone. Throws MUSTER_STATE_LOCKED, MUSTER_STATE_UNREACHABLE.
 */
export async function whileLocked<T>(environment: Environment, work: () => Promise<T>): Promise<T> {
  const { name, stateDatabase } = environment;
  if (stateDatabase === undefined) return work();
  await begin(environment, name);
  const approval = new PassThrough();
  const held = Promise.withResolvers<void>();
  const said: string[] = [];
  const ended = run('terraform', ['apply', '-input=true', '-no-color', '-lock-timeout=0s'], {
    cwd: folderOf(environment, name),
    // Whatever people have set for terraforms of their own: it must ask.
    env: { ...quiet, TF_INPUT: '1', TF_CLI_ARGS: '', TF_CLI_ARGS_apply: '' },
    input: approval,
    onLine(line) {
      said.push(line);
      if (line.startsWith('Plan: ')) held.resolve();
    },
  }).then(() => held.reject(problem(environment, said.join('\n'))), held.reject);
  try {
    await held.promise;
    // One after the other: until a state has been written once, its lock is that of all such states of the database.
    for (const stack of stackNames) await begin(environment, `${name}-${stack}`);
    return await work();
  } finally {
    approval.end();
    await ended;
  }
}

const quiet = { CHECKPOINT_DISABLE: '1' };

const folderOf = (environment: Environment, stack: string): string =>
  join(stateDirectory(environment.name), 'shared-state', stack);

/** Text of a stack's state in the database. */
async function pulled(environment: Environment, stack: string): Promise<string> {
  const folder = folderOf(environment, stack);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const backend = {
    pg: { conn_str: environment.stateDatabase, schema_name: stateSchema(environment, stack) },
  };
  // Something to approve, for `whileLocked`.
  const config = { terraform: { backend }, resource: { terraform_data: { lock: {} } } };
  await writeFile(join(folder, 'cdk.tf.json'), JSON.stringify(config));
  try {
    await initialise({ name: stack, folder, dependencies: [] }, quiet, undefined);
  } catch (error) {
    throw problem(environment, (error as Error).message);
  }
  const { exitCode, stdout, stderr } = await run('terraform', ['state', 'pull'], { cwd: folder, env: quiet });
  if (exitCode !== 0) throw problem(environment, stderr);
  return stdout;
}

/** Writes a state for the first time, without anything in it. */
async function begin(environment: Environment, stack: string): Promise<void> {
  const text = await pulled(environment, stack);
  if ((JSON.parse(text) as { lineage?: string }).lineage) return;
  const empty = JSON.stringify({
    version: 4,
    terraform_version: '1.5.0',
    serial: 1,
    lineage: crypto.randomUUID(),
    outputs: {},
    resources: [],
  });
  const { exitCode, stderr } = await run('terraform', ['state', 'push', '-lock-timeout=10s', '-'], {
    cwd: folderOf(environment, stack),
    env: quiet,
    input: empty,
  });
  if (exitCode !== 0) throw problem(environment, stderr);
}

function problem({ name, stateDatabase }: Environment, text: string): MusterError {
  const said = stripVTControlCharacters(text);
  if (isLocked(said))
    return new MusterError(
      'MUSTER_STATE_LOCKED',
      `Somebody else works on environment ${name} just now: its Terraform state is locked. Nothing was touched; try again when they are done.`,
    );
  const why = /Error: (.+)/.exec(said)?.[1] ?? said.trim();
  return new MusterError(
    'MUSTER_STATE_UNREACHABLE',
    `The database with the Terraform state of ${name} (${stateDatabase}) cannot be used: ${why}. PGUSER, and PGPASSWORD or PGPASSFILE, say who asks.`,
  );
}
