/** Talking to the gateway that runs, from inside its container: nobody else reaches that port. */
import { run } from '../environment/children.ts';
import { type Container, dockerArgs } from '../environment/docker.ts';
import { containerPorts } from '../stacks/config/topology.ts';

const answersWithinMs = 30_000;

/** What it says to a command; undefined: it cannot be asked, or does not answer. */
export async function tellGateway(
  gateway: Container,
  command: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const late = AbortSignal.timeout(answersWithinMs);
  const { exitCode, stdout } = await run(
    'docker',
    dockerArgs(gateway, ['exec', '-i', gateway.id, 'nc', '127.0.0.1', String(containerPorts.gatewayControl)]),
    { input: `${command}\n`, signal: signal === undefined ? late : AbortSignal.any([signal, late]) },
  );
  return exitCode === 0 ? stdout.trim() : undefined;
}

/** Whether a change of a server was done: it says what has changed, or nothing, or what is wrong. */
export async function setServer(gateway: Container, server: string, change: string): Promise<boolean> {
  const said = await tellGateway(gateway, `set server ${server} ${change}`);
  return said !== undefined && /^(IP changed|no need to change|$)/.test(said);
}

/**
 * Whether it sends requests to a replica, as `show servers state` of the process says; undefined: it does not know the replica, as
 * one that was deployed with less of them.
 */
export function sendsTo(states: string, alias: string): boolean | undefined {
  const server = states
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, , , name]) => name === alias);
  return server && server[5] === '2';
}
