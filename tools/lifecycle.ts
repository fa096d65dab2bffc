/** Bringing an environment up and down: what `up`, `down` and `test` share. */
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Listr, type ListrTask } from 'listr2';
import type { Environment, ImageSource } from '../catalog/environments.ts';
import {
  containersOf,
  docker,
  dockerArgs,
  engineAnswers,
  leftoversOf,
  remove,
} from '../environment/docker.ts';
import { enrichedFlows, hasTraffic, readiness } from '../environment/health.ts';
import { interrupted, pause, throwIfInterrupted } from '../environment/interruption.ts';
import { withLock } from '../environment/lock.ts';
import { claim, markOf, refuseForeign } from '../environment/owner.ts';
import { stateDirectory } from '../environment/paths.ts';
import { cdktfVariables, ensureCredentials, secretsFile } from '../environment/variables.ts';
import { placements } from '../stacks/config/index.ts';
import { MusterError } from '../workers/base/errors.ts';
import { variablesByHand } from './by-hand.ts';
import { leftOut, loadedImages, rememberedImages, rememberImages } from './deployment.ts';
import { canPull, type Engine, engineMemory, ensureDiskSpace, ensureEngine, refuseRemote } from './engine.ts';
import { imageJobs, imageTasks, pruneImages } from './images.ts';
import { memoryLimitMiB, memoryOf } from './memory.ts';
import { freePorts } from './ports.ts';
import { ensureTerraform, knownTerraformConfigFile, terraformConfigFile } from './provider.ts';
import { renderEverything, writeRendered } from './render.ts';
import { removeReserveImages, reserveNames } from './reserve.ts';
import { applyRolling } from './rolling.ts';
import { applyMembers } from './rolling-members.ts';
import { applyProcesses } from './rolling-processes.ts';
import { resourcesInState, stackNames, whileLocked } from './state.ts';
import {
  applyStack,
  destroyStack,
  type StackInfo,
  type StackProgress,
  type StackResult,
  stacksBefore,
  synthesise,
  synthesised,
} from './terraform.ts';

export interface UpResult {
  readonly images: ImageSource;
  readonly leftOut: ReadonlySet<string>;
  readonly engineStarted: boolean;
  /** Resources that terraform touched, all stacks together. */
  readonly touched: number;
  readonly flows: boolean | undefined;
}

interface UpContext {
  engine: Engine;
  engineStarted: boolean;
  images: ImageSource;
  reason: string;
  leftOut: ReadonlySet<string>;
  variables: Record<string, string>;
  stacks: readonly StackInfo[];
  touched: number;
  failures: unknown[];
  flows: boolean | undefined;
}

export interface UpOptions {
  readonly images: ImageSource | undefined;
  /** Also what another state folder has deployed. */
  readonly takesOver: boolean;
  readonly signal: AbortSignal;
}

/** Free space without which an `up` would fail half-way, in GiB. */
const coldSpace = { engineGiB: 6, cacheGiB: 4 };
const warmSpace = { engineGiB: 1, cacheGiB: 0.2 };

/** Less where the images are there. */
export async function spaceFor(images: ImageSource, { dockerHost }: Engine): Promise<typeof coldSpace> {
  const jobs = await imageJobs(images, { dockerHost, provider: false });
  return jobs.length > 3 ? coldSpace : warmSpace;
}

/** Rejects as soon as the user asks to stop, also when the work itself does not listen. */
export async function unlessInterrupted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  throwIfInterrupted(signal);
  const stop = Promise.withResolvers<never>();
  const onAbort = () => stop.reject(interrupted());
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, stop.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => undefined);
  }
}

const isTerminal = () => process.stdout.isTTY === true;

/** `3 of 9 · creating kafka-1, kafka-2 (12 s)` */
export function progressLine({ done, planned, running }: StackProgress): string {
  if (planned === 0) return 'planning';
  const byVerb = new Map<string, string[]>();
  for (const { name, verb } of running) byVerb.set(verb, [...(byVerb.get(verb) ?? []), name]);
  const longest = Math.max(0, ...running.map(({ seconds }) => seconds));
  const doing = [...byVerb].map(([verb, names]) => `${verb} ${names.join(', ')}`).join('; ');
  const clock = isTerminal() && longest > 0 ? ` (${longest} s)` : '';
  return `${done} of ${planned}${doing === '' ? '' : ` · ${doing}${clock}`}`;
}

function resultLine({ added, changed, removed }: StackResult): string {
  const parts = [
    added > 0 ? `${added} created` : '',
    changed > 0 ? `${changed} changed` : '',
    removed > 0 ? `${removed} removed` : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? 'nothing to change' : parts.join(', ');
}

/** A list of tasks as this terminal can show it: live lines, or plain ones in a log. */
export function taskList<Context extends object>(
  tasks: ListrTask<Context>[],
  { exitOnError = true, silent = false } = {},
): Listr<Context> {
  return new Listr<Context>(tasks, {
    concurrent: false,
    exitOnError,
    registerSignalListeners: false,
    renderer: silent ? 'silent' : 'default',
    fallbackRenderer: 'simple',
    fallbackRendererCondition: () => !isTerminal(),
    rendererOptions: {
      collapseSubtasks: true,
      collapseErrors: false,
      showErrorMessage: false,
      timer: { condition: (ms: number) => ms > 500, field: seconds, format: () => dim },
    },
    fallbackRendererOptions: {
      timer: { condition: (ms: number) => ms > 500, field: seconds, format: () => dim },
    },
  } as unknown as ConstructorParameters<typeof Listr<Context>>[1]) as Listr<Context>;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const dim = (text: string): string =>
  process.stdout.hasColors?.() === true ? `\u001B[2m${text}\u001B[22m` : text;

/**
 * One muster at a time works on an environment: terraform's own lock would only make the second one fail, and what two of them put
 * into the folder of the stacks, or stop one after the other, would be each other's. On this machine the second one waits; on another
 * one, where the state is shared, it is refused (MUSTER_STATE_LOCKED).
 */
export function alone<T>(environment: Environment, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const tell = () =>
    process.stderr.write(`Waiting: another muster works on environment ${environment.name}.\n`);
  return withLock(`environment-${environment.name}`, () => whileLocked(environment, work), tell, signal);
}

/** Brings the environment up; every step can be repeated, so a run that was cut off is continued by the next one. */
export async function bringUp(environment: Environment, options: UpOptions): Promise<UpResult> {
  const { signal } = options;
  const state = stateDirectory(environment.name);
  const local = Object.values(environment.hosts).every(({ dockerUri }) => dockerUri === undefined);

  const list = taskList<UpContext>([
    {
      title: 'Engine and tools',
      task: async (context, task) => {
        const version = await ensureTerraform();
        context.engine = await unlessInterrupted(
          signal,
          ensureEngine({
            report: (line) => {
              task.output = line;
            },
          }),
        );
        context.engineStarted = context.engine.started;
        if (local) refuseRemote(context.engine);
        process.env.DOCKER_HOST = context.engine.dockerHost;
        await refuseOthers(environment, options.takesOver);
        await claim(environment);
        task.title = `Engine ${context.engine.version}${context.engine.started ? ' (started now)' : ''}, terraform ${version}`;
      },
    },
    {
      title: 'Image source',
      task: async (context, task) => {
        const { images, reason } = await decideImages(environment, options.images, context.engine);
        context.images = images;
        // What a registry gives is known when it was asked.
        context.leftOut = images === 'build' ? leftOut(images, await loadedImages(images)) : new Set();
        task.title = `Images: ${images} (${reason}${without(context.leftOut)})`;
      },
    },
    {
      title: 'Ports and disk space',
      task: async (context, task) => {
        await ensureDiskSpace(context.engine, await spaceFor(context.images, context.engine));
        if (!local) return;
        const containers = await containersOf(environment, signal);
        const ports = await freePorts(environment, context.leftOut, containers);
        const memory = memoryOf(
          (await engineMemory(context.engine)) ?? Number.POSITIVE_INFINITY,
          memoryLimitMiB(environment, context.leftOut),
        );
        const short = memory.share < 1 ? `; memory: ${memory.says}` : '';
        task.title = `Ports (${ports}) and disk space are free${short}`;
      },
    },
    {
      title: 'Images and provider',
      task: async (context, task) => {
        const tasks = await imageTasks(context.images, { dockerHost: context.engine.dockerHost });
        if (tasks.length === 1) task.title = 'Images are there';
        const guarded = tasks.map((one) => ({
          ...one,
          task: (inner: unknown, wrapper: unknown) =>
            unlessInterrupted(
              signal,
              Promise.resolve((one.task as (a: unknown, b: unknown) => unknown)(inner, wrapper)),
            ),
        }));
        return task.newListr(guarded as never, { concurrent: true, exitOnError: true });
      },
    },
    {
      title: 'Secrets and rendered files',
      task: async (context, task) => {
        const { made } = await ensureCredentials(environment);
        const { added, changed, removed } = await writeRendered(await renderEverything());
        const written = added.length + changed.length + removed.length;
        await ensureInbox(environment);
        const loaded = await loadedImages(context.images);
        context.leftOut = leftOut(context.images, loaded);
        const missed = context.images === 'build' ? '' : without(context.leftOut);
        context.variables = cdktfVariables(environment, {
          images: context.images,
          localImages: loaded,
          dockerHost: context.engine.dockerHost,
          terraformConfigFile: await terraformConfigFile(context.images, () => {}),
        });
        task.title = `Secrets ${made ? `made (${secretsFile(environment)})` : 'are there'}, ${written === 0 ? 'rendered files unchanged' : `${written} files rendered`}${missed}`;
      },
    },
    {
      title: 'Synthesis',
      task: async (context, task) => {
        context.stacks = await synthesise(environment, context.variables, signal);
        const orphans = await removeOrphans(environment, reserveNames(environment));
        task.title = `Synthesised ${context.stacks.length} stacks${orphans === 0 ? '' : `; removed ${orphans} leftovers of an interrupted run`}`;
        await rememberImages(environment, context.images);
      },
    },
    {
      title: 'Stacks',
      task: (context, task) =>
        task.newListr(
          stackTasks(context.stacks, 'forwards', context.failures, async (stack, tell, say) => {
            const { variables } = context;
            const options = { environment, variables, signal, tell: say, onProgress: tell };
            const result = stack.name.endsWith('-kafka')
              ? await applyRolling(stack, options)
              : stack.name.endsWith('-services')
                ? await applyProcesses(stack, options)
                : stack.name.endsWith('-data')
                  ? await applyMembers(stack, options)
                  : await applyStack(stack, variables, signal, tell);
            context.touched += result.added + result.changed + result.removed;
            return result;
          }),
          { concurrent: true, exitOnError: false },
        ),
    },
    {
      title: 'Health',
      skip: ({ failures }) => failures.length > 0 && 'Health: not looked at',
      task: async (context, task) => {
        await waitUntilHealthy(environment, signal, (line) => {
          task.output = line;
        });
        task.title = 'Everything is healthy, workers are ready';
        if (!hasTraffic(environment)) return;
        task.output = 'waiting for the first enriched purchase';
        context.flows = await enrichedFlows(environment, 60_000, signal);
        if (!context.flows)
          throw new MusterError(
            'MUSTER_NO_FLOW',
            'Everything runs, but no enriched purchase came within 60 s. Look at ./muster logs traffic api promotion.',
          );
        task.title += ', enriched purchases flow';
      },
    },
  ]);
  await mkdir(state, { recursive: true, mode: 0o700 });
  const start = { touched: 0, engineStarted: false, failures: [] as unknown[] } as unknown as UpContext;
  const context = await list.run(start).catch((error: unknown) => {
    throw signal.aborted ? interrupted() : error;
  });
  throwIfInterrupted(signal);
  if (context.failures.length > 0) throw context.failures[0];
  await pruneImages(context.engine.dockerHost);
  return context;
}

const without = (parts: ReadonlySet<string>): string =>
  parts.size === 0 ? '' : `; without ${[...parts].join(' and ')}`;

/** Where images come from, and why. */
export async function decideImages(
  environment: Environment,
  wanted: ImageSource | undefined,
  engine: Engine,
): Promise<{ images: ImageSource; reason: string }> {
  if (wanted !== undefined) return { images: wanted, reason: 'as --images says' };
  const remembered = await rememberedImages(environment);
  if (
    remembered !== undefined &&
    (await resourcesInState(environment, `${environment.name}-kafka`)).length > 0
  )
    return { images: remembered, reason: 'as deployed' };
  return (await canPull(engine.dockerHost))
    ? { images: 'registry', reason: 'the engine can pull' }
    : { images: 'build', reason: 'no image registry can be reached' };
}

/** The log inbox must be there before a container mounts it, and readable by the container's user. */
async function ensureInbox(environment: Environment): Promise<void> {
  const inbox = join(stateDirectory(environment.name), 'log-inbox');
  for (const folder of [inbox, join(inbox, 'purchase'), join(inbox, 'promo_behavior')]) {
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o755);
  }
}

/** Throws MUSTER_FOREIGN_ENVIRONMENT where another state folder has deployed. */
export async function refuseOthers(environment: Environment, takesOver: boolean): Promise<void> {
  let known = 0;
  for (const stack of stackNames)
    known += await resourcesInState(environment, `${environment.name}-${stack}`).then(
      ({ length }) => length,
      (error: MusterError) => {
        if (error.code !== 'MUSTER_STATE') throw error;
        // One that is damaged is of a deployment of ours.
        return 1;
      },
    );
  await refuseForeign(environment, {
    containers: await containersOf(environment),
    known,
    takesOver,
  });
}

/**
 * Removes containers and networks of ours that no state file knows: a run that was killed made them. What may be a reserve stays
 * where it is said to, since it may be all that serves. Returns how many went.
 */
async function removeOrphans(environment: Environment, keeps: ReadonlySet<string>): Promise<number> {
  const known = new Set<string>();
  for (const stack of stackNames)
    for (const { ids } of await resourcesInState(environment, `${environment.name}-${stack}`))
      for (const id of ids) known.add(id);
  let count = 0;
  for (const leftovers of await leftoversOf(environment)) {
    const idsOf = async (kind: string, names: readonly string[]): Promise<ReadonlyMap<string, string>> => {
      if (names.length === 0) return new Map();
      const args = [kind, 'inspect', '--format', '{{.Id}}', ...names];
      const ids = (await docker(dockerArgs(leftovers, args))).split('\n');
      return new Map(names.map((name, index) => [name, ids[index] ?? '']));
    };
    const orphans = orphansIn(
      {
        containers: await idsOf('container', leftovers.containers),
        networks: await idsOf('network', leftovers.networks),
      },
      known,
      keeps,
    );
    count += orphans.containers.length + orphans.networks.length;
    await remove({ ...leftovers, ...orphans, volumes: [] });
  }
  return count;
}

/** By name, and with their ids. What is kept goes all the same with its network. */
export function orphansIn(
  found: { readonly containers: ReadonlyMap<string, string>; readonly networks: ReadonlyMap<string, string> },
  known: ReadonlySet<string>,
  keeps: ReadonlySet<string>,
): { readonly containers: readonly string[]; readonly networks: readonly string[] } {
  const unknown = (ids: ReadonlyMap<string, string>) =>
    [...ids].flatMap(([name, id]) => (known.has(id) ? [] : [name]));
  const networks = unknown(found.networks);
  const containers = unknown(found.containers).filter((name) => networks.length > 0 || !keeps.has(name));
  return { containers, networks };
}

/**
 * One listr task a stack; each waits for those it depends on (backwards: for those that depend on it). A failure is
 * put into `failures` and keeps later stacks from starting; stacks that are being worked on finish, because a
 * terraform that is cut off forgets what it made.
 */
function stackTasks(
  stacks: readonly StackInfo[],
  direction: 'forwards' | 'backwards',
  failures: unknown[],
  action: (
    stack: StackInfo,
    tell: (progress: StackProgress) => void,
    say: (line: string) => void,
  ) => Promise<StackResult>,
): ListrTask[] {
  const finished = new Map(stacks.map(({ name }) => [name, Promise.withResolvers<void>()]));
  const order = direction === 'forwards' ? stacks : [...stacks].reverse();
  return order.map((stack) => ({
    title: stack.name,
    task: async (_context, task) => {
      try {
        const before = stacksBefore(stack, stacks, direction);
        if (before.length > 0) task.output = `after ${before.join(', ')}`;
        await Promise.all(before.map((name) => finished.get(name)?.promise));
        if (failures.length > 0) {
          task.skip(`${stack.name}: not tried`);
          return;
        }
        let last = '';
        const say = (line: string) => {
          // In a log the lines of stacks that run side by side would be taken for each other's.
          if (line !== last) task.output = isTerminal() ? line : `${stack.name}: ${line}`;
          last = line;
        };
        const result = await action(stack, (progress) => say(progressLine(progress)), say);
        task.title = `${stack.name}: ${resultLine(result)}`;
      } catch (error) {
        failures.push(error);
        throw error;
      } finally {
        finished.get(stack.name)?.resolve();
      }
    },
  }));
}

/** Waits until every container that has a health check is healthy and every worker is ready. */
async function waitUntilHealthy(
  environment: Environment,
  signal: AbortSignal,
  tell: (line: string) => void,
): Promise<void> {
  const until = Date.now() + 180_000;
  let last = '';
  for (;;) {
    const containers = await containersOf(environment, signal);
    const ready = await readiness(environment, containers);
    const waitingFor = placements(environment).flatMap(({ alias }) => {
      const container = containers.find(({ name }) => name === `${environment.prefix}-${alias}`);
      if (container === undefined) return [];
      if (container.state !== 'running') return [`${alias} (${container.state})`];
      if (container.health !== undefined && container.health !== 'healthy')
        return [`${alias} (${container.health})`];
      return ready.get(alias) === false ? [`${alias} (not ready)`] : [];
    });
    if (waitingFor.length === 0) return;
    if (Date.now() > until)
      throw new MusterError(
        'MUSTER_UNHEALTHY',
        `After 3 minutes these are not healthy: ${waitingFor.join(', ')}. Look at ./muster status and ./muster logs.`,
      );
    const line = `waiting for ${waitingFor.join(', ')}`;
    if (line !== last) tell(line);
    last = line;
    await pause(500, signal);
  }
}

export interface DownOptions {
  readonly volumes: boolean;
  /** Also what another state folder has deployed. */
  readonly takesOver: boolean;
  /** Also the log inbox with what lies in it (only for environments that tests made). */
  readonly inbox?: boolean;
  readonly signal: AbortSignal;
}

/**
 * Takes the environment down: terraform destroys what it knows, labels find the rest. Works after a half-finished up.
 * Throws MUSTER_ENGINE_DOWN when there is no engine to ask.
 */
export async function takeDown(
  environment: Environment,
  options: DownOptions,
): Promise<{ readonly kept: readonly string[]; readonly problems: readonly string[] }> {
  const { signal, volumes } = options;
  if (!(await engineAnswers()))
    throw new MusterError(
      'MUSTER_ENGINE_DOWN',
      `The Docker engine does not run or cannot be reached, so nothing of ${environment.name} runs; its containers and volumes can be removed only when the engine is there. Start it, then run this again.`,
    );
  await refuseOthers(environment, options.takesOver);
  const kept: string[] = [];
  const problems: string[] = [];
  const list = taskList([
    {
      title: 'Stacks',
      task: async (_context, task) => {
        const stacks = await knownStacks(environment, signal);
        if (stacks.length === 0) {
          task.title = 'No stacks are deployed';
          return undefined;
        }
        // First: a network goes only when nothing is in it, and terraform knows nothing of these.
        await removeOrphans(environment, new Set()).catch(() => undefined);
        const images = (await rememberedImages(environment)) ?? 'registry';
        const variables = cdktfVariables(environment, {
          images,
          localImages: [],
          dockerHost: process.env.DOCKER_HOST,
          terraformConfigFile: await knownTerraformConfigFile(images),
        });
        return task.newListr(
          stackTasks(stacks, 'backwards', [], async (stack, tell) => {
            try {
              const present = await resourcesInState(environment, stack.name);
              return await destroyStack(stack, present, { volumes, variables, signal }, tell);
            } catch (error) {
              throwIfInterrupted(signal);
              // What terraform cannot remove goes by its labels in the next step.
              problems.push(error instanceof Error ? error.message : String(error));
              return { added: 0, changed: 0, removed: 0 };
            }
          }),
          { concurrent: true, exitOnError: false },
        );
      },
    },
    {
      title: 'What is left, by label',
      task: async (_context, task) => {
        let count = 0;
        for (const leftovers of await leftoversOf(environment)) {
          const doomed = { ...leftovers, volumes: volumes ? leftovers.volumes : [] };
          const data = leftovers.volumes.filter((name) => name !== markOf(environment));
          if (!volumes) kept.push(...data.map((name) => `volume ${name}`));
          count += doomed.containers.length + doomed.networks.length + doomed.volumes.length;
          await remove(doomed);
        }
        if (volumes) await removeReserveImages(environment);
        task.title = count === 0 ? 'Nothing else is left' : `Removed ${count} leftovers by label`;
      },
    },
    {
      title: 'State',
      skip: () => !volumes && 'State is kept, with the volumes',
      task: async () => {
        kept.push(...(await removeState(environment, options.inbox === true)));
      },
    },
  ]);
  await list.run().catch((error: unknown) => {
    throw signal.aborted ? interrupted() : error;
  });
  throwIfInterrupted(signal);
  return { kept, problems };
}

/**
 * The stacks of the last synthesis that have resources in their state, with an order even when the synthesis is gone. Where the state is
 * shared somebody else may have deployed them: then they are synthesised.
 */
async function knownStacks(environment: Environment, signal: AbortSignal): Promise<readonly StackInfo[]> {
  const isShared = environment.stateDatabase !== undefined;
  const stacks =
    (await synthesised(environment).catch(() => undefined)) ??
    (isShared ? await synthesise(environment, await variablesByHand(environment, undefined), signal) : []);
  const withState: StackInfo[] = [];
  for (const stack of stacks) {
    const resources = await resourcesInState(environment, stack.name).catch(() => []);
    if (resources.length > 0) withState.push(stack);
  }
  const names = new Set(withState.map(({ name }) => name));
  return withState.map((stack) => ({
    ...stack,
    dependencies: stack.dependencies.filter((name) => names.has(name)),
  }));
}

/** Removes what is remembered of an environment; log files that people put into its inbox stay. Returns what stayed. */
async function removeState(environment: Environment, withInbox: boolean): Promise<readonly string[]> {
  const state = stateDirectory(environment.name);
  const inbox = join(state, 'log-inbox');
  const files = withInbox
    ? []
    : (await readdir(inbox, { recursive: true, withFileTypes: true }).catch(() => [])).filter((entry) =>
        entry.isFile(),
      );
  // What our own traffic wrote is no loss.
  const foreign = files.filter(({ name }) => !/^traffic-.*\.log(\.\d+)?$/.test(name));
  for (const entry of await readdir(state).catch(() => [])) {
    if (entry === 'log-inbox' && foreign.length > 0) continue;
    await rm(join(state, entry), { recursive: true, force: true });
  }
  if (foreign.length > 0) return [`${inbox} (it holds ${foreign.length} log files of yours)`];
  await rm(state, { recursive: true, force: true });
  return [];
}
