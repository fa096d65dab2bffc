/**
 * A change of our processes, rolled out so that people notice nothing: what is behind the gateway goes one after the other. The one
 * that goes says first that it is not ready, so that the gateway sends nobody there; the next one goes when its successor is ready
 * and the gateway has seen it. Of what there is one, a reserve takes its requests meanwhile. A change that cannot work stops at
 * the first.
 */
import { type Environment, spansHosts } from '../catalog/environments.ts';
import { containersOf } from '../environment/docker.ts';
import { readiness } from '../environment/health.ts';
import { pause } from '../environment/interruption.ts';
import { processReplicas } from '../stacks/config/topology.ts';
import { MusterError } from '../workers/base/errors.ts';
import { withReserve } from './reserve.ts';
import { type Node, type RollOptions, rolledNodes, stopped } from './rolling.ts';
import { applyStack, type PlannedChange, planStack, type StackInfo, type StackResult } from './terraform.ts';

/** What a plan replaces or makes behind the gateway, in the order of the roll: what is not ready goes first, at no cost. */
export function rolledProcesses(
  changes: readonly PlannedChange[],
  environment: Environment,
  ready: ReadonlyMap<string, boolean>,
): readonly Node[] {
  const behind = new Set(
    processReplicas(environment)
      .filter(({ spec }) => spec.gatewayPort !== undefined)
      .map(({ alias }) => alias),
  );
  const rank = ({ alias }: Node) => (ready.get(alias) === true ? 1 : 0);
  return [...rolledNodes(changes, (alias) => behind.has(alias))].sort(
    (a, b) => rank(a) - rank(b) || (a.alias < b.alias ? -1 : 1),
  );
}

/** It asks every half a second. */
const gatewayNoticesMs = 2_000;
const readyWithinMs = 2 * 60_000;

/**
 * Applies the stack of our processes: those behind the gateway one after the other, then all the rest. Cut off, it goes on where
 * it was the next time. Throws MUSTER_DEPLOY, MUSTER_ROLL_STOPPED, MUSTER_INTERRUPTED.
 */
export async function applyProcesses(stack: StackInfo, options: RollOptions): Promise<StackResult> {
  const { environment, variables, signal, tell, onProgress } = options;
  const plan = await planStack(stack, variables, signal);
  const ready = await readiness(environment, await containersOf(environment, signal));
  const nodes = rolledProcesses(plan.changes, environment, ready);
  if (nodes.length === 0) return applyStack(stack, variables, signal, onProgress, { plan });
  const results: StackResult[] = [];
  for (const [index, { alias, address }] of nodes.entries()) {
    const say = (what: string) => tell(`rolling ${index + 1} of ${nodes.length}, ${alias}: ${what}`);
    const replace = async () => {
      say('replacing');
      try {
        results.push(await applyStack(stack, variables, signal, () => {}, { targets: [address] }));
        say('waiting until it is ready');
        await untilReady(options, alias);
      } catch (error) {
        throw stopped(environment, alias, error);
      }
      await pause(gatewayNoticesMs, signal);
    };
    if (ready.get(alias) === true && isAlone(environment, alias))
      await withReserve(environment, alias, { signal, say }, replace);
    else await replace();
  }
  results.push(await applyStack(stack, variables, signal, onProgress));
  const sum = (of: keyof StackResult) => results.reduce((total, result) => total + result[of], 0);
  return { added: sum('added'), changed: sum('changed'), removed: sum('removed') };
}

/** A reserve is in the network of the gateway. */
const isAlone = (environment: Environment, alias: string): boolean =>
  !spansHosts(environment) &&
  environment.processes.list.some(({ name, replicas }) => name === alias && replicas === 1);

async function untilReady({ environment, signal }: RollOptions, alias: string): Promise<void> {
  for (const untilMs = Date.now() + readyWithinMs; ; await pause(500, signal)) {
    const ready = await readiness(environment, await containersOf(environment, signal));
    if (ready.get(alias) === true) return;
    if (Date.now() > untilMs)
      throw new MusterError(
        'MUSTER_DEPLOY',
        `${alias} was not ready within ${readyWithinMs / 60_000} minutes`,
      );
  }
}
