/**
 * A change of our processes, rolled out so that people notice nothing: what is behind the gateway goes one after the other. The one
 * that goes says first that it is not ready, so that the gateway sends nobody there; the next one goes when its successor is ready
 * and the gateway has seen it. Of what there is one, a reserve takes its requests meanwhile. A change that cannot work stops at
 * the first.
 */
import { type Environment, spansHosts } from '../catalog/environments.ts';
import { type Container, containersOf } from '../environment/docker.ts';
import { readiness } from '../environment/health.ts';
import { pause, throwIfInterrupted } from '../environment/interruption.ts';
import { processReplicas } from '../stacks/config/topology.ts';
import { MusterError } from '../workers/base/errors.ts';
import { sendsTo, tellGateway } from './gateway-control.ts';
import { endReserve, readyWithinMs, reservesLeft, withReserve } from './reserve.ts';
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

/**
 * Applies the stack of our processes: those behind the gateway one after the other, then all the rest. Cut off, it goes on where
 * it was the next time, and a reserve that was left serves until then. Throws MUSTER_DEPLOY, MUSTER_ROLL_STOPPED, MUSTER_INTERRUPTED.
 */
export async function applyProcesses(stack: StackInfo, options: RollOptions): Promise<StackResult> {
  const { environment, variables, signal, tell, onProgress } = options;
  const plan = await planStack(stack, variables, signal);
  const ready = await readiness(environment, await containersOf(environment, signal));
  const nodes = rolledProcesses(plan.changes, environment, ready);
  // One that is about to be replaced, or told otherwise, may know its servers by what is about to change.
  const asksGateway = !plan.changes.some(
    ({ name, actions }) => /^gateway(-settings)?$/.test(name) && actions.includes('create'),
  );
  const results: StackResult[] = [];
  for (const [index, { alias, address }] of nodes.entries()) {
    const say = (what: string) => tell(`rolling ${index + 1} of ${nodes.length}, ${alias}: ${what}`);
    const replace = async () => {
      say('replacing');
      try {
        results.push(await applyStack(stack, variables, signal, () => {}, { targets: [address] }));
        say('waiting until it is ready');
        await untilReady(options, alias);
        await pause(gatewayNoticesMs, signal);
        if (asksGateway) await untilSeen(options, alias);
      } catch (error) {
        throw stopped(environment, alias, error);
      }
    };
    // A reserve is in the network of the gateway.
    if (ready.get(alias) === true && !spansHosts(environment))
      await withReserve(environment, alias, { signal, say }, replace);
    else await replace();
  }
  results.push(
    await applyStack(stack, variables, signal, onProgress, nodes.length === 0 ? { plan } : undefined),
  );
  for (const alias of await reservesLeft(environment, signal)) {
    tell(`${alias}: ending the reserve that was left`);
    await untilReady(options, alias);
    await untilSeen(options, alias);
    await endReserve(environment, alias, signal);
  }
  const sum = (of: keyof StackResult) => results.reduce((total, result) => total + result[of], 0);
  return { added: sum('added'), changed: sum('changed'), removed: sum('removed') };
}

const untilReady = (options: RollOptions, alias: string) =>
  until(options, `${alias} was not ready`, async (containers, { environment }) => {
    const own = containers.filter(({ name }) => name === `${environment.prefix}-${alias}`);
    return (await readiness(environment, own)).get(alias) === true;
  });

/** Until the gateway sends it requests. One that does not know it, or does not run, is not waited for. */
const untilSeen = (options: RollOptions, alias: string) =>
  until(
    options,
    `${alias} is ready, but the gateway, which asks for /readyz by that name, did not send it requests`,
    async (containers, { environment, signal }) => {
      const gateway = containers.find(({ name }) => name === `${environment.prefix}-gateway`);
      const process = processReplicas(environment).find((one) => one.alias === alias)?.spec.name;
      if (gateway?.state !== 'running') return true;
      const states = await tellGateway(gateway, `show servers state ${process}`, signal);
      return states === undefined || sendsTo(states, alias) !== false;
    },
  );

async function until(
  options: RollOptions,
  otherwise: string,
  holds: (containers: readonly Container[], options: RollOptions) => Promise<boolean>,
): Promise<void> {
  const { environment, signal } = options;
  for (const untilMs = Date.now() + readyWithinMs; ; await pause(500, signal)) {
    const isSo = await holds(await containersOf(environment, signal), options);
    throwIfInterrupted(signal);
    if (isSo) return;
    if (Date.now() > untilMs)
      throw new MusterError('MUSTER_DEPLOY', `${otherwise} within ${readyWithinMs / 60_000} minutes`);
  }
}
