/** Whether the ports that an environment publishes are free, before containers fail on them one by one. */
import { createServer } from 'node:net';
import type { Environment } from '../catalog/environments.ts';
import { run } from '../environment/children.ts';
import { placements } from '../stacks/config/index.ts';
import { MusterError } from '../workers/base/errors.ts';

export interface PublishedPort {
  readonly port: number;
  readonly ip: string;
  /** Which part it belongs to, e.g. `kafka-1`. */
  readonly part: string;
  /** The port's own name, e.g. `external`. */
  readonly name: string;
  /** Where a person changes it. */
  readonly setting: string;
}

/** Fields of catalog/environments.ts whose name is not simply `<component>.publishedPort`. */
function settingOf(component: string, part: string, node: number, name: string): string {
  if (component === 'kafka') return `kafka.nodes[${node - 1}].externalPort`;
  if (component === 'pages') return `${name}.publishedPort`;
  if (component === 'gateway') return `gatewayPort of process "${name}"`;
  if (component === 'worker') return `publishedPort of process "${part}"`;
  if (component === 'jaeger' && name === 'otlpHttp') return 'jaeger.otlpPublishedPort';
  if (component === 'mysql-entrance') return 'mysql.entrance.publishedPort';
  return `${component}.publishedPort`;
}

/** Every port published on this machine, apart from those of parts that are left out. */
export function publishedPorts(
  environment: Environment,
  leftOut: ReadonlySet<string>,
): readonly PublishedPort[] {
  return placements(environment)
    .filter(({ host }) => environment.hosts[host]?.dockerUri === undefined)
    .filter(({ component }) => !leftOut.has(component))
    .flatMap(({ alias, component, node, host, ports }) =>
      Object.entries(ports).flatMap(([name, { published }]) =>
        // Each port of the gateway before pages has the name of a component.
        published === undefined || leftOut.has(name)
          ? []
          : [
              {
                port: published,
                ip: environment.hosts[host]!.bindIp,
                part: alias,
                name,
                setting: settingOf(component, alias, node, name),
              },
            ],
      ),
    );
}

/**
 * How many ports an environment publishes on this machine; throws MUSTER_PORTS_IN_USE where a program has one that is no running
 * container of ours.
 */
export async function freePorts(
  environment: Environment,
  leftOut: ReadonlySet<string>,
  containers: readonly { readonly state: string; readonly publishedPorts: readonly number[] }[],
): Promise<number> {
  const ours = containers
    .filter(({ state }) => state === 'running')
    .flatMap(({ publishedPorts: ports }) => ports);
  const wanted = publishedPorts(environment, leftOut);
  const taken = await takenPorts(wanted, new Set(ours));
  if (taken.length > 0) throw describeTaken(taken, await portHolders(taken));
  return wanted.length;
}

/** Ports of the list that some program listens on, apart from those in `ours` (our own running containers). */
export async function takenPorts(
  list: readonly PublishedPort[],
  ours: ReadonlySet<number>,
): Promise<readonly PublishedPort[]> {
  const taken: PublishedPort[] = [];
  for (const entry of list) if (!ours.has(entry.port) && !(await isFree(entry))) taken.push(entry);
  return taken;
}

function isFree({ port, ip }: PublishedPort): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'EADDRINUSE'));
    server.listen({ port, host: ip, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** One sentence a port: who holds it (where that can be seen) and how to change ours. */
export function describeTaken(
  taken: readonly PublishedPort[],
  holders: ReadonlyMap<number, string>,
): MusterError {
  const sentences = taken.map(({ port, ip, part, name, setting }) => {
    const holder = holders.get(port);
    return `port ${port} on ${ip} (${part}, ${name}) is in use by ${holder ?? 'another program'}: stop that, or change ${setting} in catalog/environments.ts`;
  });
  return new MusterError('MUSTER_PORTS_IN_USE', `${sentences.join('; ')}. Then run this again.`);
}

/** Program and process id behind each port, as far as `ss` exists and tells. */
async function portHolders(taken: readonly PublishedPort[]): Promise<ReadonlyMap<number, string>> {
  const holders = new Map<number, string>();
  for (const { port } of taken) {
    try {
      const { stdout } = await run('ss', ['-Hltnp', `sport = :${port}`]);
      const match = /users:\(\("([^"]+)",pid=(\d+)/.exec(stdout);
      if (match !== null) holders.set(port, `${match[1]} (process ${match[2]})`);
    } catch {
      break;
    }
  }
  return holders;
}
