/**
 * A change of both members of MySQL, rolled out so that nobody waits: first the one that does not take writes; when it has everything
 * again it takes them, and the other one goes. A change that cannot work stops at the first.
 */
import type { Environment } from '../catalog/environments.ts';
import { containersOf } from '../environment/docker.ts';
import { failOver, type GuardState, guardOf } from '../environment/guard.ts';
import { pause } from '../environment/interruption.ts';
import { MusterError } from '../workers/base/errors.ts';
import { type Node, type RollOptions, stopped } from './rolling.ts';
import { applyStack, type PlannedChange, planStack, type StackInfo, type StackResult } from './terraform.ts';

/** Members that a plan replaces, in the order of the roll; none where the guard does not answer, or there are not two to take turns. */
export function rolledMembers(
  changes: readonly PlannedChange[],
  standing: GuardState | undefined,
): readonly Node[] {
  if (standing?.atRiskSeconds !== 0) return [];
  return changes
    .filter(
      ({ name, actions }) =>
        standing.members.some((member) => member.name === name) &&
        actions.includes('delete') &&
        actions.includes('create'),
    )
    .map(({ name, address }) => ({ alias: name, address }))
    .sort((a, b) => Number(a.alias === standing.writer) - Number(b.alias === standing.writer));
}

const togetherWithinMs = 3 * 60_000;

const standingOf = async ({ environment, signal }: RollOptions): Promise<GuardState | undefined> =>
  guardOf(environment, await containersOf(environment, signal)).catch(() => undefined);

/**
 * Applies the stack of the stores: members of MySQL one after the other, then all the rest. Cut off, it goes on where it was the
 * next time. Throws MUSTER_DEPLOY, MUSTER_ROLL_STOPPED, MUSTER_INTERRUPTED.
 */
export async function applyMembers(stack: StackInfo, options: RollOptions): Promise<StackResult> {
  const { environment, variables, signal, tell, onProgress } = options;
  const plan = await planStack(stack, variables, signal);
  const nodes = rolledMembers(plan.changes, await standingOf(options));
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
  const standing = await standingOf(options);
  const other = standing?.members.find(({ name }) => name !== alias);
  if (standing?.writer !== alias || other === undefined) return;
  say(`${other.name} takes the writes`);
  await failOver(environment, other.name, { lose: false, signal: options.signal });
  await untilTogether(options, alias);
}

async function untilTogether(options: RollOptions, alias: string): Promise<void> {
  for (const untilMs = Date.now() + togetherWithinMs; ; await pause(500, options.signal)) {
    if ((await standingOf(options))?.atRiskSeconds === 0) return;
    if (Date.now() > untilMs)
      throw new MusterError(
        'MUSTER_DEPLOY',
        `${alias} had not everything within ${togetherWithinMs / 60_000} minutes: ./muster logs mysql-guard`,
      );
  }
}
