/**
 * A change of both members of MySQL, rolled out so that nobody waits: first the one that does not take writes; when it has everything
 * again it takes them, and the other one goes. A change that cannot work stops at the first.
 */
import type { Environment } from '../catalog/environments.ts';
import { containersOf } from '../environment/docker.ts';
import { failOver, type GuardState, guardOf } from '../environment/guard.ts';
import { pause } from '../environment/interruption.ts';
import { mysqlMember } from '../stacks/config/topology.ts';
import { MusterError } from '../workers/base/errors.ts';
import { type Node, type RollOptions, rolledNodes, stopped } from './rolling.ts';
import { applyStack, type PlannedChange, planStack, type StackInfo, type StackResult } from './terraform.ts';

/**
 * Members that a plan replaces, in the order of the roll: first the one that a roll which was cut off has taken away, last the one
 * that takes writes. None where the guard does not answer, or one is away otherwise: there are not two to take turns.
 */
export function rolledMembers(
  changes: readonly PlannedChange[],
  standing: GuardState | undefined,
): readonly Node[] {
  if (standing === undefined) return [];
  const { writer, members, atRiskSeconds } = standing;
  const isAway = (alias: string) =>
    changes.some(({ name, actions }) => name === alias && !actions.includes('delete'));
  const nodes = rolledNodes(changes, (alias) => members.some(({ name }) => name === alias));
  if (atRiskSeconds !== 0 && !nodes.some(({ alias }) => isAway(alias))) return [];
  const rank = ({ alias }: Node) => (isAway(alias) ? 0 : alias === writer ? 2 : 1);
  return [...nodes].sort((a, b) => rank(a) - rank(b));
}

/** Those members of a plan, as they stand now. */
export async function membersInOrder(
  environment: Environment,
  changes: readonly PlannedChange[],
): Promise<readonly Node[]> {
  const isMember = new Set(environment.mysql.members.map(mysqlMember));
  return changes.some(({ name, actions }) => isMember.has(name) && actions.includes('delete'))
    ? rolledMembers(changes, await standingOf(environment))
    : [];
}

const togetherWithinMs = 3 * 60_000;

const standingOf = async (environment: Environment, signal?: AbortSignal): Promise<GuardState | undefined> =>
  guardOf(environment, await containersOf(environment, signal)).catch(() => undefined);

/**
 * Applies the stack of the stores: members of MySQL one after the other, then all the rest. Cut off, it goes on where it was the
 * next time. Throws MUSTER_DEPLOY, MUSTER_ROLL_STOPPED, MUSTER_INTERRUPTED.
 */
export async function applyMembers(stack: StackInfo, options: RollOptions): Promise<StackResult> {
  const { environment, variables, signal, tell, onProgress } = options;
  const plan = await planStack(stack, variables, signal);
  const nodes = await membersInOrder(environment, plan.changes);
  if (nodes.length === 0) return applyStack(stack, variables, signal, onProgress, { plan });
  const results: StackResult[] = [];
  for (const [index, { alias, address }] of nodes.entries()) {
    const say = (what: string) => tell(`rolling ${index + 1} of ${nodes.length}, ${alias}: ${what}`);
    try {
      await giveWritesAway(environment, alias, options, say);
      say('replacing');
      results.push(await applyStack(stack, variables, signal, () => {}, { targets: [address] }));
      say('waiting until both have everything');
      await untilTogether(options, alias);
    } catch (error) {
      throw stopped(environment, alias, error);
    }
  }
  results.push(await applyStack(stack, variables, signal, onProgress));
  const sum = (of: keyof StackResult) => results.reduce((total, result) => total + result[of], 0);
  return { added: sum('added'), changed: sum('changed'), removed: sum('removed') };
}

async function giveWritesAway(
  environment: Environment,
  alias: string,
  options: RollOptions,
  say: (what: string) => void,
): Promise<void> {
  const standing = await standingOf(environment, options.signal);
  const other = standing?.members.find(({ name }) => name !== alias);
  if (standing?.writer !== alias || other === undefined) return;
  say(`${other.name} takes the writes`);
  await failOver(environment, other.name, { lose: false, signal: options.signal });
  await untilTogether(options, alias);
}

async function untilTogether({ environment, signal }: RollOptions, alias: string): Promise<void> {
  for (const untilMs = Date.now() + togetherWithinMs; ; await pause(500, signal)) {
    if ((await standingOf(environment, signal))?.atRiskSeconds === 0) return;
    if (Date.now() > untilMs)
      throw new MusterError(
        'MUSTER_DEPLOY',
        `${alias} had not everything within ${togetherWithinMs / 60_000} minutes: ./muster logs mysql-guard`,
      );
  }
}
