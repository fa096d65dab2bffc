/**
 * Deploys an edited copy of the checkout over what runs, as somebody does who has changed something, and brings the environment
 * back by a deployment of the checkout itself: at the end, after an error or a Ctrl-C, and, when the process was killed, at
 * the beginning of the next drill.
 */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { type Environment, spansHosts } from '../../catalog/environments.ts';
import { run } from '../../environment/children.ts';
import { containersOf } from '../../environment/docker.ts';
import { checkout, stateDirectory } from '../../environment/paths.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { withAdmin } from '../alerts/causes.ts';
import { type Edit, edited } from '../edits.ts';
import type { ProcedureStage } from '../runner/stage.ts';
import { type Change, kindOf, topicsMade } from './changes.ts';

/** What is made, or is of this machine alone. */
const notCopied = new Set(['.git', 'node_modules', 'build', 'cdktf.out']);

/** Gives `work` a copy of the checkout with the edits in it; it is gone afterwards. Throws MUSTER_EDIT when one does not fit. */
export async function withEditedCheckout<Result>(
  edits: readonly Edit[],
  work: (folder: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-changed-'));
  try {
    await cp(checkout, folder, {
      recursive: true,
      filter: (source) => !notCopied.has(source.slice(checkout.length + 1)),
    });
    await symlink(join(checkout, 'node_modules'), join(folder, 'node_modules'));
    for (const file of new Set(edits.map((edit) => edit.file))) {
      const path = join(folder, file);
      await writeFile(path, edited(file, await readFile(path, 'utf8'), edits));
    }
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Deployed {
  readonly exitCode: number;
  /** Its last lines. */
  readonly said: string;
}

interface UpOptions {
  readonly signal?: AbortSignal;
  onLine?(line: string): void;
}

/** What deploys; tests have one of their own. */
export interface Deployer {
  /** `./muster up` from a folder. */
  up(folder: string, environment: Environment, options: UpOptions): Promise<Deployed>;
  /** Which container each alias is, jobs among them. */
  containers(environment: Environment): Promise<ReadonlyMap<string, string>>;
  /** Takes away what a change has made and no deployment removes. */
  tidy(environment: Environment): Promise<void>;
  /** Between two deployments: what the first one has cost late is seen as its own. */
  readonly quietMs: number;
}

/** Terraform must end in its own way: one that is killed forgets what it made. */
const graceMs = 120_000;

/** It leaves the processors to what is measured: who deploys is elsewhere, or can wait. */
async function up(folder: string, environment: Environment, options: UpOptions): Promise<Deployed> {
  const lines: string[] = [];
  const { exitCode } = await run(
    'nice',
    ['-n', '10', process.execPath, 'tools/main.ts', '--env', environment.name, 'up'],
    {
      cwd: folder,
      graceMs,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onLine(raw) {
        const line = stripVTControlCharacters(raw).trim();
        if (line === '') return;
        lines.push(line);
        options.onLine?.(line);
      },
    },
  );
  return { exitCode, said: lines.slice(-12).join('\n') };
}

async function containers(environment: Environment): Promise<ReadonlyMap<string, string>> {
  const all = await containersOf(environment);
  return new Map(all.map(({ name, id }) => [name.slice(environment.prefix.length + 1), id]));
}

async function tidy(environment: Environment): Promise<void> {
  await withAdmin(environment, async (admin) => {
    const topics = (await admin.listTopics()).filter((name) => topicsMade.includes(name));
    if (topics.length > 0) await admin.deleteTopics({ topics });
  });
}

const deployer: Deployer = { up, containers, tidy, quietMs: 10_000 };

const markOf = (environment: Environment) => join(stateDirectory(environment.name), 'changed-by-drill');

/** The checkout itself again. Throws MUSTER_CHANGE_LEFT when that fails; the mark stays then, for the next drill. */
async function bringBack(environment: Environment, by: Deployer, options: UpOptions = {}): Promise<void> {
  const { exitCode, said } = await by.up(checkout, environment, options);
  options.signal?.throwIfAborted();
  if (exitCode !== 0)
    throw new MusterError(
      'MUSTER_CHANGE_LEFT',
      `${environment.name} runs what a drill has changed, and is not brought back (up ended with ${exitCode}). Put right what it says, and ./muster --env ${environment.name} up:\n${said}`,
    );
  await by.tidy(environment);
  await rm(markOf(environment), { force: true });
}

/** When a drill was killed in the middle of a change: brings the environment back. Throws MUSTER_CHANGE_LEFT. */
export async function bringBackLeftovers(
  environment: Environment,
  report: (line: string) => void,
  by = deployer,
): Promise<void> {
  const what = await readFile(markOf(environment), 'utf8').catch(() => undefined);
  if (what === undefined) return;
  report(`a drill that was killed has left a deployment with ${what}: bringing ${environment.name} back`);
  await bringBack(environment, by);
}

/**
 * Deploys what is changed, and then the checkout itself. Throws MUSTER_DRILL_PROCEDURE when a deployment goes another way than it should,
 * or replaces what it has no reason to, and MUSTER_CHANGE_LEFT.
 */
export async function deployChange(change: Change, stage: ProcedureStage, by = deployer): Promise<void> {
  const { environment, signal } = stage;
  const onLine = rollsIn(stage);
  if (spansHosts(environment))
    throw new MusterError('MUSTER_DRILL_PROCEDURE', 'Only what runs on one engine is changed by a drill.');
  await writeFile(markOf(environment), change.what);
  try {
    for (const [index, edits] of change.deployments.entries()) {
      const nth = change.deployments.length === 1 ? '' : ` (${index + 1} of ${change.deployments.length})`;
      await withEditedCheckout(edits, async (folder) => {
        const before = await by.containers(environment);
        stage.disturbed(`a deployment with ${change.what}${nth}`);
        const beganMs = performance.now();
        const { exitCode, said } = await by.up(folder, environment, { signal, onLine });
        signal.throwIfAborted();
        const tookMs = performance.now() - beganMs;
        expectEnd(change, exitCode, said);
        const replaced = [...(await by.containers(environment))].flatMap(([alias, id]) =>
          before.get(alias) === id ? [] : [alias],
        );
        stage.note(`after ${seconds(tookMs)}: replaced ${replaced.join(', ') || 'nothing'}`);
        expectReplaced(change, replaced, environment);
      });
      await sleep(by.quietMs, undefined, { signal });
    }
    stage.disturbed('a deployment of what was before');
    const beganMs = performance.now();
    await bringBack(environment, by, { signal, onLine });
    stage.note(`after ${seconds(performance.now() - beganMs)}: as before`);
  } catch (error) {
    stage.note(`bringing ${environment.name} back`);
    // Without the signal: what was ended is brought back all the same.
    await bringBack(environment, by).catch((left: Error) => {
      const text = `${left.message}\nBefore that: ${(error as Error).message}`;
      throw new MusterError('MUSTER_CHANGE_LEFT', text, { cause: error });
    });
    throw error;
  }
}

const seconds = (ms: number) => `${Math.round(ms / 1_000)} s`;

/** Each node that a roll replaces is a disturbance of its own: recovery is measured from there. */
const rollsIn =
  (stage: ProcedureStage) =>
  (line: string): void => {
    const names = /rolling \d+ of \d+, ([\w, -]+): replacing/.exec(line)?.[1];
    if (names !== undefined) stage.disturbed(`${names} replaced`);
  };

function expectEnd({ stops }: Change, exitCode: number, said: string): void {
  if (stops !== true && exitCode !== 0)
    throw new MusterError('MUSTER_DRILL_PROCEDURE', `up ended with ${exitCode}:\n${said}`);
  if (stops === true && (exitCode === 0 || !said.includes('did not come up with the change')))
    throw new MusterError(
      'MUSTER_DRILL_PROCEDURE',
      `what cannot work was not stopped at its first node; up ended with ${exitCode}:\n${said}`,
    );
}

function expectReplaced(
  { replaces, stops }: Change,
  replaced: readonly string[],
  environment: Environment,
): void {
  const wrong = replaced.filter((alias) => !replaces.includes(kindOf(alias, environment)));
  if (wrong.length > 0)
    throw new MusterError(
      'MUSTER_DRILL_PROCEDURE',
      `${wrong.join(', ')} replaced by a change that has no reason to`,
    );
  if (stops === true && replaced.length > 1)
    throw new MusterError(
      'MUSTER_DRILL_PROCEDURE',
      `${replaced.join(', ')} replaced by a change that should have stopped at the first`,
    );
}
