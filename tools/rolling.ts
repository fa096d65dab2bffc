/**
 * A change that replaces brokers or ZooKeepers, rolled out node by node: a plain apply replaces them all at once, which is an
 * outage. The next one goes only when every copy of every partition is in sync and led from where it belongs, and every
 * ZooKeeper serves. A change that cannot work is stopped by its first node: the others serve on, and were not touched.
 * Only ZooKeepers that are to look for each other elsewhere are replaced together.
 */
import type { Environment } from '../catalog/environments.ts';
import { untilInSync } from '../drills/rolling-restart.ts';
import { aliasOf } from '../drills/runner/steady.ts';
import { containersOf } from '../environment/docker.ts';
import { pause } from '../environment/interruption.ts';
import { kafkaOf } from '../environment/kafka.ts';
import { MusterError } from '../workers/base/errors.ts';
import { environmentFlag } from './terminal.ts';
import {
  applyStack,
  type PlannedChange,
  planStack,
  type StackInfo,
  type StackProgress,
  type StackResult,
} from './terraform.ts';

/** A node that has to be replaced. */
export interface Node {
  /** `kafka-2`, `api` */
  readonly alias: string;
  /** Terraform's name of it. */
  readonly address: string;
}

/** What is known of the nodes when the order is decided. */
export interface Standing {
  /** Aliases of nodes that do not serve. */
  readonly down: ReadonlySet<string>;
  /** Alias of the broker that is the controller, and of the ZooKeeper that leads; undefined: not known. */
  readonly controller: string | undefined;
  readonly leader: string | undefined;
}

const isZooKeeper = (alias: string): boolean => alias.startsWith('zookeeper-');
const isNode = (alias: string): boolean => /^(kafka|zookeeper)-\d+$/.test(alias);

/**
 * Nodes (brokers and ZooKeepers, unless said otherwise) that a plan replaces, and with them those that it creates: a run that was cut
 * off has taken them away, and the others must not go before they are back. A plan that only creates or takes away is no roll.
 */
export function rolledNodes(
  changes: readonly PlannedChange[],
  belongs: (alias: string) => boolean = isNode,
): readonly Node[] {
  const nodes = changes.filter(({ name, actions }) => belongs(name) && actions.includes('create'));
  return nodes.some(({ actions }) => actions.includes('delete'))
    ? nodes.map(({ name, address }) => ({ alias: name, address }))
    : [];
}

/**
 * What does not serve goes first, since it costs nobody anything; ZooKeepers before brokers; who leads last of its kind, so
 * that the lead moves once. But zookeeper-1 before the other two, whatever it does: they depend on it, and terraform
 * takes what a target depends on along.
 */
export function rollingOrder(
  nodes: readonly Node[],
  { down, controller, leader }: Standing,
): readonly Node[] {
  const rank = ({ alias }: Node): number => {
    if (isZooKeeper(alias))
      return alias === 'zookeeper-1' ? 0 : alias === leader ? 3 : down.has(alias) ? 1 : 2;
    return down.has(alias) ? 4 : alias === controller ? 6 : 5;
  };
  return [...nodes].sort((a, b) => rank(a) - rank(b) || (a.alias < b.alias ? -1 : 1));
}

/**
 * Whether a plan changes where the members of ZooKeeper look for each other. One that looks elsewhere than the others is alone, so
 * that the first to be replaced would never serve.
 */
export function movesEnsemble(changes: readonly PlannedChange[]): boolean {
  const members = (files: string) => (files.match(/^server\.\d+=.*$/gm) ?? []).join();
  return changes.some(({ files: { before, after } }) => before !== '' && members(before) !== members(after));
}

/** What is replaced in one go. Brokers live on without ZooKeeper as long as none of them fails. */
export function inSteps(order: readonly Node[], isEnsembleMoved: boolean): readonly (readonly Node[])[] {
  const together = order.filter(({ alias }) => isEnsembleMoved && isZooKeeper(alias));
  const steps = order.filter((node) => !together.includes(node)).map((node) => [node]);
  return together.length === 0 ? steps : [together, ...steps];
}

/** The changes of a plan as they would be made: nodes that are replaced first, in the order of the roll. */
export async function inRollingOrder(
  environment: Environment,
  changes: readonly PlannedChange[],
): Promise<readonly PlannedChange[]> {
  const nodes = rolledNodes(changes);
  if (nodes.length === 0) return changes;
  return nodesFirst(changes, rollingOrder(nodes, await standingOf(environment)));
}

/** The changes with these nodes first, in this order. */
export function nodesFirst(
  changes: readonly PlannedChange[],
  nodes: readonly Node[],
): readonly PlannedChange[] {
  const order = nodes.map(({ address }) => address);
  const rank = ({ address }: PlannedChange) =>
    order.includes(address) ? order.indexOf(address) : order.length;
  return [...changes].sort((a, b) => rank(a) - rank(b));
}

export interface RollOptions {
  readonly environment: Environment;
  readonly variables: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  tell(line: string): void;
  onProgress(progress: StackProgress): void;
}

/**
 * Applies the stack of Kafka; nodes that it replaces one after the other. Cut off, it goes on where it was the next time: what is
 * done is in terraform's state. Throws MUSTER_DEPLOY, MUSTER_ROLL_STOPPED, MUSTER_ROLLING_RESTART, MUSTER_ROLL_ZOOKEEPER, MUSTER_INTERRUPTED.
 */
export async function applyRolling(stack: StackInfo, options: RollOptions): Promise<StackResult> {
  const { environment, variables, signal, tell, onProgress } = options;
  const plan = await planStack(stack, variables, signal);
  const nodes = rolledNodes(plan.changes);
  if (nodes.length === 0) return applyStack(stack, variables, signal, onProgress, { plan });
  const standing = await standingOf(environment);
  const isEnsembleMoved = movesEnsemble(plan.changes);
  const steps = inSteps(rollingOrder(nodes, standing), isEnsembleMoved);
  const created = new Set(
    plan.changes.flatMap(({ name, actions }) => (actions[0] === 'create' ? [name] : [])),
  );
  // A run that was cut off has left an ensemble that is not whole before the rest of this roll is done.
  const isLeft = [...standing.down].some((one) => isZooKeeper(one) && (isEnsembleMoved || created.has(one)));
  const isDown = (alias: string) => standing.down.has(alias) || (isLeft && isZooKeeper(alias));
  const kafka = kafkaOf(environment);
  const sums = { added: 0, changed: 0, removed: 0 };
  const add = (result: StackResult) => {
    sums.added += result.added;
    sums.changed += result.changed;
    sums.removed += result.removed;
  };
  try {
    for (const [index, step] of steps.entries()) {
      const names = step.map(({ alias }) => alias).join(', ');
      const where = `${index + 1} of ${steps.length}, ${names}`;
      if (!step.some(({ alias }) => isDown(alias))) await untilWhole(options, kafka, where);
      tell(`rolling ${where}: replacing`);
      const targets = step.map(({ address }) => address);
      add(
        await applyStack(stack, variables, signal, () => {}, { targets }).catch((error: unknown) => {
          throw stopped(environment, names, error);
        }),
      );
    }
    await untilWhole(options, kafka, 'the last one');
  } finally {
    await kafka.close();
  }
  add(await applyStack(stack, variables, signal, onProgress));
  return sums;
}

/** Says what a change that does not work leads to, and the way out. */
export function stopped(environment: Environment, alias: string, error: unknown): unknown {
  if ((error as { code?: unknown }).code !== 'MUSTER_DEPLOY') return error;
  const flag = environmentFlag(environment);
  return new MusterError(
    'MUSTER_ROLL_STOPPED',
    `${(error as Error).message}. ${alias} did not come up with the change; the nodes after it run as they did and were not touched. Look at ./muster ${flag}logs ${alias}, undo the change in the catalog or in stacks/, and ./muster ${flag}up: it replaces ${alias} first.`,
    { cause: error },
  );
}

async function standingOf(environment: Environment): Promise<Standing> {
  const known = (role: 'controller' | 'zookeeper-leader') =>
    aliasOf(environment, { role }).catch(() => undefined);
  return {
    down: await downIn(environment),
    controller: await known('controller'),
    leader: await known('zookeeper-leader'),
  };
}

/** Aliases of brokers and ZooKeepers that do not serve. */
async function downIn(environment: Environment): Promise<ReadonlySet<string>> {
  const containers = await containersOf(environment);
  const aliases = [
    ...environment.kafka.nodes.map(({ id }) => `kafka-${id}`),
    ...environment.zookeeper.nodes.map(({ id }) => `zookeeper-${id}`),
  ];
  const serves = (alias: string) =>
    containers.some(
      ({ name, state, health }) =>
        name === `${environment.prefix}-${alias}` && state === 'running' && health === 'healthy',
    );
  return new Set(aliases.filter((alias) => !serves(alias)));
}

const quorumMs = 3 * 60_000;

/** Waits until all ZooKeepers serve and all copies are in sync. */
async function untilWhole(
  { environment, signal, tell }: RollOptions,
  kafka: ReturnType<typeof kafkaOf>,
  where: string,
): Promise<void> {
  const untilMs = Date.now() + quorumMs;
  for (;;) {
    const away = [...(await downIn(environment))].filter(isZooKeeper);
    if (away.length === 0) break;
    if (Date.now() > untilMs)
      throw new MusterError(
        'MUSTER_ROLL_ZOOKEEPER',
        `${where}: ${away.join(', ')} did not serve within ${quorumMs / 60_000} minutes. The nodes that are left were not touched. Look at ./muster logs ${away[0]}; undo the change and ./muster up.`,
      );
    tell(`rolling ${where}: waiting for ${away.join(', ')}`);
    await pause(500, signal);
  }
  await untilInSync(
    { environment, kafka, signal, tell: (line) => tell(`rolling ${where}: waiting, ${line}`) },
    `rolling ${where}`,
    { leadersHome: true },
  );
}
