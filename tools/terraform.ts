/**
 * Deploys and destroys the synthesised stacks: terraform per stack, what does not depend on each other side by side.
 *
 * It does what `cdktf deploy '*'` does, on the same state, but with terraform's own JSON events: exact progress,
 * whole error messages, and one SIGINT on Ctrl-C so that terraform writes its state before it ends.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Environment } from '../catalog/environments.ts';
import { run } from '../environment/children.ts';
import { interrupted, throwIfInterrupted } from '../environment/interruption.ts';
import { checkout, stateDirectory } from '../environment/paths.ts';
import { MusterError } from '../workers/base/errors.ts';
import type { StateResource } from './state.ts';

export interface StackInfo {
  /** `dev-kafka` */
  readonly name: string;
  /** Absolute folder with cdk.tf.json. */
  readonly folder: string;
  readonly dependencies: readonly string[];
}

type Variables = Readonly<Record<string, string>>;

/** Synthesised stacks hold passwords, so they lie in the state directory and not in the checkout. */
function outputFolder(environment: Environment): string {
  return join(stateDirectory(environment.name), 'terraform');
}

/**
 * Synthesises the environment's stacks. Throws MUSTER_SYNTH with what the program said.
 * Needs what `./muster render` writes.
 */
export async function synthesise(
  environment: Environment,
  variables: Variables,
  signal: AbortSignal,
): Promise<readonly StackInfo[]> {
  const out = outputFolder(environment);
  await mkdir(out, { recursive: true });
  await chmod(out, 0o700);
  const result = await run(process.execPath, ['tools/cdktf-app.ts'], {
    cwd: checkout,
    // What is applied here is rolled (rolling.ts).
    env: { ...variables, CDKTF_OUTDIR: out, MUSTER_REPLACE: 'all', NODE_NO_WARNINGS: '1' },
    signal,
  });
  throwIfInterrupted(signal);
  if (result.exitCode !== 0) {
    const said = result.stderr.trim();
    const code = /^(MUSTER_[A-Z_]+): /m.exec(said)?.[1] as `MUSTER_${string}` | undefined;
    throw new MusterError(
      code ?? 'MUSTER_SYNTH',
      `The stacks could not be synthesised: ${said || result.stdout.trim()}`,
    );
  }
  return (await synthesised(environment)) ?? [];
}

/** What the last synthesis left, in the order of deployment; undefined when there is none. */
export async function synthesised(environment: Environment): Promise<readonly StackInfo[] | undefined> {
  const manifest = join(outputFolder(environment), 'manifest.json');
  if (!existsSync(manifest)) return undefined;
  const { stacks } = JSON.parse(await readFile(manifest, 'utf8')) as {
    stacks: Record<string, { name: string; workingDirectory: string; dependencies: string[] }>;
  };
  const all = Object.values(stacks).map(({ name, workingDirectory, dependencies }) => ({
    name,
    folder: join(outputFolder(environment), workingDirectory),
    dependencies,
  }));
  return inOrder(all);
}

/** Sorts stacks so that each comes after those it depends on. */
export function inOrder(stacks: readonly StackInfo[]): readonly StackInfo[] {
  const done: StackInfo[] = [];
  const left = [...stacks];
  while (left.length > 0) {
    const index = left.findIndex(({ dependencies }) =>
      dependencies.every((name) => done.some((stack) => stack.name === name)),
    );
    if (index === -1) throw new MusterError('MUSTER_SYNTH', 'The stacks depend on each other in a circle.');
    done.push(...left.splice(index, 1));
  }
  return done;
}

/** Names of the stacks that must be done before this one: its dependencies, or backwards those that depend on it. */
export function stacksBefore(
  stack: StackInfo,
  stacks: readonly StackInfo[],
  direction: 'forwards' | 'backwards',
): readonly string[] {
  return direction === 'forwards'
    ? stack.dependencies
    : stacks.filter(({ dependencies }) => dependencies.includes(stack.name)).map(({ name }) => name);
}

/** What terraform is doing now, for a progress line. */
export interface StackProgress {
  readonly done: number;
  /** 0 until the plan is made. */
  readonly planned: number;
  /** Resources being worked on, with seconds since their start. */
  readonly running: readonly { readonly name: string; readonly verb: string; readonly seconds: number }[];
}

export interface StackResult {
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
}

interface TerraformEvent {
  readonly type: string;
  readonly '@message'?: string;
  readonly hook?: {
    readonly resource: { readonly addr: string };
    readonly action: string;
    readonly elapsed_seconds?: number;
  };
  readonly changes?: {
    readonly add: number;
    readonly change: number;
    readonly remove: number;
    readonly operation: 'plan' | 'apply' | 'destroy';
  };
  readonly diagnostic?: {
    readonly severity: 'error' | 'warning';
    readonly summary: string;
    readonly detail: string;
    readonly address?: string;
  };
}

/** `docker_container.kafka_kafka-1_container_1F2E3D4C` -> `kafka-1`: what a person calls it. */
export function resourceName(address: string): string {
  const [type = '', ...rest] = address.split('.');
  const path = rest
    .join('.')
    .replace(/_[0-9A-F]{8}$/, '')
    .split('_');
  const kind = /^docker_(\w+)$/.exec(type)?.[1] ?? type;
  const generic = new Set(['container', 'process', 'job', 'network', 'volume', 'image']);
  const meaningful = path.filter((part) => !generic.has(part));
  const name = meaningful.at(-1) ?? kind;
  return kind === 'container' ? name : `${kind} ${name}`;
}

/** Turns terraform's JSON lines into progress, counts and errors. */
export function terraformReader(onProgress: (progress: StackProgress) => void): {
  line(text: string): void;
  readonly result: StackResult;
  readonly errors: readonly string[];
} {
  const running = new Map<string, { name: string; verb: string; seconds: number }>();
  const errors: string[] = [];
  const verbs: Readonly<Record<string, string>> = {
    create: 'creating',
    update: 'changing',
    delete: 'removing',
    replace: 'replacing',
    read: 'reading',
  };
  let done = 0;
  let planned = 0;
  let result: StackResult = { added: 0, changed: 0, removed: 0 };
  const tell = () => onProgress({ done, planned, running: [...running.values()] });
  return {
    get result() {
      return result;
    },
    errors,
    line(text) {
      let event: TerraformEvent;
      try {
        event = JSON.parse(text) as TerraformEvent;
      } catch {
        return;
      }
      const { hook, changes, diagnostic } = event;
      if (event.type === 'change_summary' && changes !== undefined) {
        if (changes.operation === 'plan') planned = changes.add + changes.change + changes.remove;
        else result = { added: changes.add, changed: changes.change, removed: changes.remove };
        tell();
      } else if (hook !== undefined) {
        const { addr } = hook.resource;
        if (event.type === 'apply_start') {
          running.set(addr, {
            name: resourceName(addr),
            verb: verbs[hook.action] ?? hook.action,
            seconds: 0,
          });
        } else if (event.type === 'apply_progress') {
          const entry = running.get(addr);
          if (entry !== undefined) entry.seconds = hook.elapsed_seconds ?? entry.seconds;
        } else if (event.type === 'apply_complete' || event.type === 'apply_errored') {
          running.delete(addr);
          if (event.type === 'apply_complete') done += 1;
        } else return;
        tell();
      } else if (diagnostic?.severity === 'error') {
        const where = diagnostic.address === undefined ? '' : `${resourceName(diagnostic.address)}: `;
        const detail = diagnostic.detail.trim();
        errors.push(`${where}${diagnostic.summary.trim()}${detail === '' ? '' : `: ${detail}`}`);
      }
    },
  };
}

async function terraform(
  stack: StackInfo,
  args: readonly string[],
  variables: Variables,
  signal: AbortSignal | undefined,
  onProgress: (progress: StackProgress) => void = () => {},
): Promise<StackResult> {
  const reader = terraformReader(onProgress);
  const said: string[] = [];
  const result = await run('terraform', args, {
    cwd: stack.folder,
    env: { ...variables, TF_IN_AUTOMATION: '1' },
    // Long enough for a broker's stop grace: killing terraform loses track of what it made.
    graceMs: 90_000,
    ...(signal === undefined ? {} : { signal }),
    onLine(line) {
      reader.line(line);
      if (!line.startsWith('{')) said.push(line);
    },
  });
  if (signal?.aborted === true) throw interrupted();
  if (result.exitCode !== 0) {
    const problems = [...new Set(reader.errors)];
    const text = problems.length > 0 ? problems.join('\n') : said.join('\n').trim();
    if (isLocked(text))
      throw new MusterError(
        'MUSTER_STATE_LOCKED',
        `Stack ${stack.name}: somebody else changes it just now (by cdktf or terraform, it seems): its state is locked. Try again when they are done.`,
      );
    throw new MusterError(
      'MUSTER_DEPLOY',
      `Stack ${stack.name}: ${text || `terraform ended with ${result.exitCode}`}`,
    );
  }
  return reader.result;
}

/** Whether Terraform says that it does not get a lock because somebody has it. */
export const isLocked = (said: string): boolean => /Error acquiring the state lock.*\blocked\b/is.test(said);

/** Initialises a stack's folder unless nothing that matters to it has changed since the last time. */
export async function initialise(
  stack: StackInfo,
  variables: Variables,
  signal: AbortSignal | undefined,
): Promise<void> {
  const config = await readFile(join(stack.folder, 'cdk.tf.json'), 'utf8');
  const { terraform: settings } = JSON.parse(config) as { terraform: unknown };
  const cli = variables.TF_CLI_CONFIG_FILE;
  const cliText = cli !== undefined && existsSync(cli) ? await readFile(cli, 'utf8') : '';
  const hash = createHash('sha256').update(JSON.stringify(settings)).update(cliText).digest('hex');
  const mark = join(stack.folder, '.terraform', 'muster-initialised');
  if (existsSync(mark) && (await readFile(mark, 'utf8')) === hash) return;
  const init = () =>
    terraform(stack, ['init', '-input=false', '-no-color', '-reconfigure'], variables, signal);
  try {
    await init();
  } catch (error) {
    throwIfInterrupted(signal ?? new AbortController().signal);
    // A provider that was built anew has another checksum than the one locked, and a run cut off leaves half of it.
    await rm(join(stack.folder, '.terraform'), { recursive: true, force: true });
    await rm(join(stack.folder, '.terraform.lock.hcl'), { force: true });
    try {
      await init();
    } catch {
      throw error;
    }
  }
  await writeFile(mark, hash);
}

const lockWait = '-lock-timeout=120s';

export interface PlannedChange {
  readonly address: string;
  /** As a person calls it: `kafka-2`. */
  readonly name: string;
  /** As terraform has them: `delete` and `create` replace. */
  readonly actions: readonly ('no-op' | 'create' | 'read' | 'update' | 'delete')[];
  /** Text of the files that a container has been given, and would be, one after the other; empty: none. */
  readonly files: { readonly before: string; readonly after: string };
}

/** What `terraform show -json` of a plan says. */
export function plannedChanges(shown: string): readonly PlannedChange[] {
  const { resource_changes: changes = [] } = JSON.parse(shown) as {
    resource_changes?: readonly {
      address: string;
      change: { actions: PlannedChange['actions']; before: Planned; after: Planned };
    }[];
  };
  return changes.map(({ address, change }) => ({
    address,
    name: resourceName(address),
    actions: change.actions,
    files: { before: filesOf(change.before), after: filesOf(change.after) },
  }));
}

type Planned = { readonly upload?: readonly { readonly content?: string }[] | null } | null;
const filesOf = (planned: Planned) => (planned?.upload ?? []).map(({ content = '' }) => content).join('\n');

export interface Plan {
  readonly changes: readonly PlannedChange[];
  readonly file: string;
}

/** What an apply would change. Throws MUSTER_DEPLOY. */
export async function planStack(stack: StackInfo, variables: Variables, signal: AbortSignal): Promise<Plan> {
  await initialise(stack, variables, signal);
  const file = join(stack.folder, 'plan');
  await terraform(stack, ['plan', '-json', '-input=false', lockWait, `-out=${file}`], variables, signal);
  const shown = await run('terraform', ['show', '-json', file], {
    cwd: stack.folder,
    env: variables,
    signal,
  });
  if (shown.exitCode !== 0)
    throw new MusterError(
      'MUSTER_DEPLOY',
      `Stack ${stack.name}: its plan cannot be read: ${shown.stderr.trim()}`,
    );
  return {
    changes: plannedChanges(shown.stdout),
    file,
  };
}

export interface ApplyOptions {
  /** Only these and what they depend on. */
  readonly targets?: readonly string[];
  /** Made just now, with nothing applied since. */
  readonly plan?: Plan;
}

/** Applies one stack. Throws MUSTER_DEPLOY with terraform's errors, MUSTER_INTERRUPTED. */
export async function applyStack(
  stack: StackInfo,
  variables: Variables,
  signal: AbortSignal,
  onProgress: (progress: StackProgress) => void,
  { targets = [], plan }: ApplyOptions = {},
): Promise<StackResult> {
  await initialise(stack, variables, signal);
  const args = ['apply', '-json', '-input=false', '-auto-approve', '-compact-warnings', lockWait];
  if (plan === undefined)
    return terraform(
      stack,
      [...args, ...targets.map((target) => `-target=${target}`)],
      variables,
      signal,
      onProgress,
    );
  // Of a plan that it is given terraform does not say how much it is.
  const planned = plan.changes.filter(({ actions }) => !actions.includes('no-op')).length;
  return terraform(stack, [...args, plan.file], variables, signal, (progress) =>
    onProgress({ ...progress, planned }),
  );
}

/** Whether a plan of the stack is empty (-detailed-exitcode 0). Throws MUSTER_DEPLOY when it cannot be made. */
export async function planIsEmpty(
  stack: StackInfo,
  variables: Variables,
  signal: AbortSignal,
): Promise<boolean> {
  await initialise(stack, variables, signal);
  const args = ['plan', '-detailed-exitcode', '-input=false', '-no-color', lockWait];
  const result = await run('terraform', args, { cwd: stack.folder, env: variables, signal });
  if (result.exitCode === 0 || result.exitCode === 2) return result.exitCode === 0;
  throw new MusterError('MUSTER_DEPLOY', `Stack ${stack.name} cannot be planned: ${result.stderr.trim()}`);
}

/** Destroys one stack, of which this is present; its volumes stay unless asked otherwise. */
export async function destroyStack(
  stack: StackInfo,
  present: readonly StateResource[],
  options: { readonly volumes: boolean; readonly variables: Variables; readonly signal: AbortSignal },
  onProgress: (progress: StackProgress) => void,
): Promise<StackResult> {
  const nothing: StackResult = { added: 0, changed: 0, removed: 0 };
  const doomed = options.volumes ? present : present.filter(({ type }) => type !== 'docker_volume');
  if (doomed.length === 0) return nothing;
  await initialise(stack, options.variables, options.signal);
  // Without targets destroy takes the volumes too. Nothing that a volume depends on is ever destroyed without it.
  const targets =
    doomed.length === present.length ? [] : doomed.map(({ type, name }) => `-target=${type}.${name}`);
  const args = [
    'destroy',
    '-json',
    '-input=false',
    '-auto-approve',
    '-compact-warnings',
    lockWait,
    ...targets,
  ];
  return terraform(stack, args, options.variables, options.signal, onProgress);
}
