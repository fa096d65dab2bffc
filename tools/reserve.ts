/**
 * Who takes the requests of a process of which there is one, while that is replaced: a copy of the container that runs, and so what
 * ran before. It goes by the same PROCESS_NAME and is a member of the same groups, as the next version will be. The gateway has
 * a place for it (`stacks/config/gateway.ts`) and is told its address.
 */
import type { Environment } from '../catalog/environments.ts';
import { type Settings as Creation, creationLike } from '../drills/stand-in.ts';
import { run } from '../environment/children.ts';
import { type Container, containersOf, docker, dockerArgs } from '../environment/docker.ts';
import { getInside } from '../environment/inside.ts';
import { pause } from '../environment/interruption.ts';
import { reserveOf } from '../stacks/config/gateway.ts';
import { containerPorts } from '../stacks/config/topology.ts';

interface Settings extends Creation {
  readonly Config: Creation['Config'] & { readonly Env: readonly string[] };
}

const readyWithinMs = 60_000;
const graceSeconds = '30';

/**
 * Does `replace` while a reserve serves. It ends when that went well; else it serves on, and the next `up` removes it. One that does
 * not get ready, or that the gateway does not take, is done without. Throws what `replace` throws.
 */
export async function withReserve(
  environment: Environment,
  alias: string,
  { signal, say }: { readonly signal: AbortSignal; say(what: string): void },
  replace: () => Promise<void>,
): Promise<void> {
  const containers = await containersOf(environment, signal);
  const find = (name: string) => containers.find((one) => one.name === `${environment.prefix}-${name}`);
  const [process, gateway] = [find(alias), find('gateway')];
  if (process === undefined || gateway?.state !== 'running') return replace();
  const reserve = reserveOf(alias);
  const name = `${environment.prefix}-${reserve}`;
  const image = `muster/reserve:${name}`;
  const on = (...args: string[]) => docker(dockerArgs(process, args));
  const remove = async () => {
    await on('rm', '--force', name).catch(() => undefined);
    await on('image', 'rm', '--force', image).catch(() => undefined);
  };

  say('starting a reserve');
  await remove();
  const [settings] = JSON.parse(await on('inspect', '--type', 'container', process.name)) as [Settings];
  // Takes over command, variables, labels and health check, past the command line, which is for all to see.
  await on('commit', '--pause=false', process.name, image);
  const hosts = settings.Config.Env.find((line) => line.startsWith('HTTP_ALLOWED_HOSTS='));
  await on(
    ...creationLike(settings, {
      name,
      hostname: reserve,
      image,
      networks: [{ name: environment.prefix, aliases: [reserve] }],
      // A member of its own, whatever was copied.
      env: [`${hosts},${reserve}`, 'MEMBER_DIRECTORY=/tmp/reserve'],
    }),
  );
  await on('start', name);
  const copy = (await containersOf(environment, signal)).find((one) => one.name === name);
  const isReady = copy !== undefined && (await getsReady(copy, signal));
  const address = await on(
    'inspect',
    '--format',
    `{{(index .NetworkSettings.Networks "${environment.prefix}").IPAddress}}`,
    name,
  );
  const server = `${alias}/${reserve}`;
  const isTaken =
    isReady &&
    (await control(
      gateway,
      `set server ${server} addr ${address.trim()} port ${containerPorts.workerHttp}`,
    )) &&
    (await control(gateway, `set server ${server} state ready`));
  if (!isTaken) {
    say('without a reserve: it did not get ready');
    await remove();
    return replace();
  }
  await replace();
  say('ending the reserve');
  await on('stop', '--time', graceSeconds, name);
  await control(gateway, `set server ${server} state maint`);
  await remove();
}

async function getsReady(container: Container, signal: AbortSignal): Promise<boolean> {
  for (const untilMs = Date.now() + readyWithinMs; Date.now() < untilMs; await pause(500, signal))
    if ((await getInside(container, containerPorts.workerHttp, '/readyz'))?.status === 200) return true;
  return false;
}

/** A command to the gateway, from inside its container: nobody else reaches that port. Whether it was done. */
async function control(gateway: Container, command: string): Promise<boolean> {
  const { exitCode, stdout } = await run(
    'docker',
    dockerArgs(gateway, ['exec', '-i', gateway.id, 'nc', '127.0.0.1', String(containerPorts.gatewayControl)]),
    { input: `${command}\n` },
  );
  // It says what has changed, or nothing, or what is wrong.
  return exitCode === 0 && /^(IP changed|no need to change|\s*$)/.test(stdout);
}
