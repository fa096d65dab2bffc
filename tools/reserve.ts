/**
 * Who takes the requests of a process of which there is one, while that is replaced: a copy of the container that runs, and so what
 * ran before. It goes by the same PROCESS_NAME and is a member of the same groups, as the next version will be. The gateway has
 * a place for it (`stacks/config/gateway.ts`) and is told its address.
 */
import type { Environment } from '../catalog/environments.ts';
import { type Settings as Creation, creationLike } from '../drills/stand-in.ts';
import { type Container, containersOf, docker, dockerArgs } from '../environment/docker.ts';
import { getInside } from '../environment/inside.ts';
import { pause } from '../environment/interruption.ts';
import { reserveOf } from '../stacks/config/gateway.ts';
import { containerPorts } from '../stacks/config/topology.ts';
import { setServer, tellGateway } from './gateway-control.ts';

interface Settings extends Creation {
  readonly Config: Creation['Config'] & { readonly Env: readonly string[] };
}

/** Of a process that was started: on a full machine it takes its time. */
export const readyWithinMs = 2 * 60_000;
const graceSeconds = '30';

const containerName = (environment: Environment, alias: string): string => `${environment.prefix}-${alias}`;
const imageOf = (container: string): string => `muster/reserve:${container}`;
const serverOf = (alias: string): string => `${alias}/${reserveOf(alias)}`;

/** Names of the containers that may be reserves. */
export const reserveNames = (environment: Environment): ReadonlySet<string> =>
  new Set(environment.processes.list.map(({ name }) => containerName(environment, reserveOf(name))));

/**
 * Does `replace` while a reserve serves. It ends when that went well; else it serves on, until an `up` has brought back what it stands
 * in for. One that does not get ready, or that the gateway does not take, is done without. Throws what `replace` throws.
 */
export async function withReserve(
  environment: Environment,
  alias: string,
  { signal, say }: { readonly signal: AbortSignal; say(what: string): void },
  replace: () => Promise<void>,
): Promise<void> {
  const containers = await containersOf(environment, signal);
  const find = (name: string) => containers.find((one) => one.name === containerName(environment, name));
  const [process, gateway] = [find(alias), find('gateway')];
  if (process === undefined || gateway?.state !== 'running') return replace();
  // What counts is the gateway that runs, which may know another number of replicas than the next one: of two it has no place.
  const place = await tellGateway(gateway, `get weight ${serverOf(alias)}`, signal);
  if (!/initial/.test(place ?? '')) return replace();
  const reserve = reserveOf(alias);
  const name = containerName(environment, reserve);
  const on = (...args: string[]) => docker(dockerArgs(process, args));

  // One that was left is what served when a change did not work, and does so better than a copy of what runs now.
  if (find(reserve)?.state !== 'running') {
    say('starting a reserve');
    await remove(process, name);
    const [settings] = JSON.parse(await on('inspect', '--type', 'container', process.name)) as [Settings];
    // Takes over command, variables, labels and health check, past the command line, which is for all to see.
    await on('commit', '--pause=false', process.name, imageOf(name));
    const hosts = settings.Config.Env.find((line) => line.startsWith('HTTP_ALLOWED_HOSTS='));
    await on(
      ...creationLike(settings, {
        name,
        hostname: reserve,
        image: imageOf(name),
        networks: [{ name: environment.prefix, aliases: [reserve] }],
        // A member of its own, whatever was copied.
        env: [`${hosts},${reserve}`, 'MEMBER_DIRECTORY=/tmp/reserve'],
      }),
    );
    await on('start', name);
  }
  const copy = (await containersOf(environment, signal)).find((one) => one.name === name);
  const isReady = copy !== undefined && (await getsReady(copy, signal));
  const address = await on(
    'inspect',
    '--format',
    `{{(index .NetworkSettings.Networks "${environment.prefix}").IPAddress}}`,
    name,
  );
  const isTaken =
    isReady &&
    (await setServer(gateway, serverOf(alias), `addr ${address.trim()} port ${containerPorts.workerHttp}`)) &&
    (await setServer(gateway, serverOf(alias), 'state ready'));
  if (!isTaken) {
    say('without a reserve: it did not get ready');
    await remove(process, name);
    return replace();
  }
  await replace();
  say('ending the reserve');
  await end(copy, alias, gateway);
}

/** Processes whose reserve runs on from a run that was cut off, or whose change did not work. */
export async function reservesLeft(
  environment: Environment,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const names = (await containersOf(environment, signal)).map(({ name }) => name);
  return environment.processes.list
    .map(({ name }) => name)
    .filter((name) => names.includes(containerName(environment, reserveOf(name))));
}

/** Ends the reserve of a process as it should: what it has begun it ends. */
export async function endReserve(
  environment: Environment,
  alias: string,
  signal: AbortSignal,
): Promise<void> {
  const containers = await containersOf(environment, signal);
  const find = (name: string) => containers.find((one) => one.name === containerName(environment, name));
  const reserve = find(reserveOf(alias));
  if (reserve !== undefined) await end(reserve, alias, find('gateway'));
}

/** Images of reserves that are gone: they hold the variables of a process, secrets among them. */
export async function removeReserveImages(environment: Environment): Promise<void> {
  const images = [...reserveNames(environment)].map(imageOf);
  // Most are not there, of which docker says that it failed; it removes the others all the same.
  await docker(['image', 'rm', '--force', ...images]).catch(() => undefined);
}

/** It says first that it is not ready, and serves until the gateway has seen that. */
async function end(reserve: Container, alias: string, gateway: Container | undefined): Promise<void> {
  await docker(dockerArgs(reserve, ['stop', '--time', graceSeconds, reserve.name]));
  if (gateway?.state === 'running') await setServer(gateway, serverOf(alias), 'state maint');
  await remove(reserve, reserve.name);
}

async function remove(host: Pick<Container, 'dockerUri'>, name: string): Promise<void> {
  const on = (...args: string[]) => docker(dockerArgs(host, args)).catch(() => undefined);
  await on('rm', '--force', name);
  await on('image', 'rm', '--force', imageOf(name));
}

async function getsReady(container: Container, signal: AbortSignal): Promise<boolean> {
  for (const untilMs = Date.now() + readyWithinMs; Date.now() < untilMs; await pause(500, signal))
    if ((await getInside(container, containerPorts.workerHttp, '/readyz'))?.status === 200) return true;
  return false;
}
