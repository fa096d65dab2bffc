/**
 * Where everything runs and how the parts reach each other: one list of placements per environment, from which
 * listeners, connection strings, scrape targets and published ports are all derived.
 *
 * On one host the parts meet on a container network, by alias and container port. When the environment spans hosts
 * there is no common network: every port that another part uses is published on the host's address, and the parts
 * meet at `host address:published port`.
 */
import {
  type DockerHost,
  type Environment,
  type MysqlNode,
  type ProcessSpec,
  spansHosts,
} from '../../catalog/environments.ts';
import { askedBy } from '../../catalog/services.ts';

export type Component =
  | 'kafka'
  | 'zookeeper'
  | 'cmak'
  | 'mysql'
  | 'mysql-entrance'
  | 'redis'
  | 'mysqld-exporter'
  | 'redis-exporter'
  | 'prometheus'
  | 'alertmanager'
  | 'grafana'
  | 'jaeger'
  | 'victorialogs'
  | 'gateway'
  | 'pages'
  | 'worker';

/** A port of a container; `published` is its port on the host, undefined when it stays inside the network. */
export interface PlacedPort {
  readonly container: number;
  readonly published?: number;
}

/** One long-running container of an environment. */
export interface Placement {
  /** Name on the container network, and the container's name after the prefix. */
  readonly alias: string;
  readonly component: Component;
  /** Number within the component; 1 where there is one only. */
  readonly node: number;
  /** Key of `environment.hosts`. */
  readonly host: string;
  readonly ports: Readonly<Record<string, PlacedPort>>;
}

/** Ports inside the containers: what the components' own documentation calls their default. Of several members the first has it. */
export const containerPorts = {
  kafkaInternal: 9092,
  kafkaExternal: 9094,
  kafkaMetrics: 7071,
  zookeeperClient: 2181,
  zookeeperQuorum: 2888,
  zookeeperElection: 3888,
  zookeeperMetrics: 7000,
  cmak: 9000,
  mysql: 3306,
  redis: 6379,
  mysqldExporter: 9104,
  redisExporter: 9121,
  prometheus: 9090,
  alertmanager: 9093,
  grafana: 3000,
  jaegerQuery: 16686,
  jaegerMetrics: 8888,
  victorialogs: 9428,
  otlpGrpc: 4317,
  otlpHttp: 4318,
  gatewayMetrics: 8404,
  /** On the loopback of its container. */
  gatewayControl: 8405,
  workerHttp: 8080,
} as const;

/** Servers that are not ours and have a page for people, by component: name and number of the port that it is on. */
export const pageServers = {
  prometheus: { portName: 'http', port: containerPorts.prometheus },
  alertmanager: { portName: 'http', port: containerPorts.alertmanager },
  grafana: { portName: 'http', port: containerPorts.grafana },
  jaeger: { portName: 'query', port: containerPorts.jaegerQuery },
  victorialogs: { portName: 'http', port: containerPorts.victorialogs },
  cmak: { portName: 'http', port: containerPorts.cmak },
} as const;

export type PageServer = keyof typeof pageServers;

export const pageServerNames = Object.keys(pageServers) as readonly PageServer[];

export const isPageServer = (name: string): name is PageServer => Object.hasOwn(pageServers, name);

/** Between the ports of two members of a cluster, by which they reach each other. */
const memberStep = 100;
/** On a host of its own the EXTERNAL listener has 9092, so the brokers' own traffic is published beside it. */
const kafkaInternalPublished = 9091;
/** Beside those of the other gateway, which may be on the same host. */
const pagesMetricsPublished = 8406;
/** Worker processes that publish no port of their choice get the ones from here on, for the scrape. */
const workerMetricsPublishedFrom = 9400;

function coded(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

/** Name of a member of the database. */
export const mysqlMember = ({ id }: MysqlNode): string => `mysql-${id}`;

/**
 * Where the guard of the database is, and the entrance that does what it says. Throws MUSTER_SERVICE_MISSING, and MUSTER_GUARD_ALONE
 * where there is more than one: each would decide by notes of its own.
 */
export function guardHost({ name, processes }: Environment): string {
  const [guard, ...others] = processes.list.filter(({ workers }) => workers.includes('mysql-guard'));
  if (guard === undefined) throw coded('MUSTER_SERVICE_MISSING', `${name} has no process with mysql-guard`);
  if (guard.replicas !== 1 || others.length > 0)
    throw coded('MUSTER_GUARD_ALONE', `${name}: mysql-guard is in one process, of which there is one`);
  return guard.host ?? processes.host;
}

/** The replicas of the environment's worker processes: `api`, and `api-2` when there are two. */
export function processReplicas(
  environment: Environment,
): readonly { readonly alias: string; readonly node: number; readonly spec: ProcessSpec }[] {
  return environment.processes.list.flatMap((spec) =>
    Array.from({ length: spec.replicas }, (_, index) => ({
      alias: index === 0 ? spec.name : `${spec.name}-${index + 1}`,
      node: index + 1,
      spec,
    })),
  );
}

/** Names of the containers of a process. */
export function aliasesOf(environment: Environment, process: string): readonly string[] {
  return processReplicas(environment)
    .filter(({ spec }) => spec.name === process)
    .map(({ alias }) => alias);
}

function unchecked(environment: Environment): Placement[] {
  const spans = spansHosts(environment);
  /** A port that only the environment's own parts use: published only when they sit on different hosts. */
  const fabric = (container: number, published = container): PlacedPort =>
    spans ? { container, published } : { container };
  const open = (container: number, published: number | undefined): PlacedPort =>
    published === undefined ? { container } : { container, published };
  /**
   * A port by which members of a cluster reach each other. An engine gives containers that come back together each other's
   * addresses. Who still has an old one must be refused there and ask anew: on one port for all a ZooKeeper follows another one
   * than it voted for, and the third never joins them; a controller tells one broker what is meant for another. A host's address
   * is always its own.
   */
  const ofMember = (container: number, id: number): number =>
    spans ? container : container + memberStep * (id - 1);
  /** People reach it by the gateway before it, at the same number: here it is published for that gateway only. */
  const page = (server: PageServer): PlacedPort =>
    fabric(pageServers[server].port, environment[server].publishedPort);
  const single = (
    component: Component,
    host: string,
    ports: Readonly<Record<string, PlacedPort>>,
  ): Placement => ({ alias: component, component, node: 1, host, ports });
  const port = containerPorts;

  return [
    ...environment.zookeeper.nodes.map(
      (node): Placement => ({
        alias: `zookeeper-${node.id}`,
        component: 'zookeeper',
        node: node.id,
        host: node.host,
        ports: {
          client: fabric(port.zookeeperClient),
          quorum: fabric(ofMember(port.zookeeperQuorum, node.id)),
          election: fabric(ofMember(port.zookeeperElection, node.id)),
          metrics: fabric(port.zookeeperMetrics),
        },
      }),
    ),
    ...environment.kafka.nodes.map(
      (node): Placement => ({
        alias: `kafka-${node.id}`,
        component: 'kafka',
        node: node.id,
        host: node.host,
        ports: {
          internal: fabric(ofMember(port.kafkaInternal, node.id), kafkaInternalPublished),
          external: open(port.kafkaExternal, node.externalPort),
          metrics: fabric(port.kafkaMetrics),
        },
      }),
    ),
    single('cmak', environment.cmak.host, { http: page('cmak') }),
    ...environment.mysql.members.map(
      (node): Placement => ({
        alias: mysqlMember(node),
        component: 'mysql',
        node: node.id,
        host: node.host,
        ports: { sql: fabric(ofMember(port.mysql, node.id)) },
      }),
    ),
    single('mysql-entrance', guardHost(environment), {
      sql: open(port.mysql, environment.mysql.entrance.publishedPort),
    }),
    single('redis', environment.redis.host, { redis: open(port.redis, environment.redis.publishedPort) }),
    single('mysqld-exporter', environment.exporters.host, { metrics: fabric(port.mysqldExporter) }),
    single('redis-exporter', environment.exporters.host, { metrics: fabric(port.redisExporter) }),
    single('prometheus', environment.prometheus.host, { http: page('prometheus') }),
    single('alertmanager', environment.alertmanager.host, { http: page('alertmanager') }),
    single('grafana', environment.grafana.host, { http: page('grafana') }),
    single('jaeger', environment.jaeger.host, {
      query: page('jaeger'),
      otlpHttp: open(port.otlpHttp, environment.jaeger.otlpPublishedPort),
      otlpGrpc: { container: port.otlpGrpc },
      metrics: fabric(port.jaegerMetrics),
    }),
    single('victorialogs', environment.victorialogs.host, { http: page('victorialogs') }),
    single('pages', environment.pages.host, {
      ...Object.fromEntries(
        pageServerNames.map((server) => [
          server,
          open(pageServers[server].port, environment[server].publishedPort),
        ]),
      ),
      metrics: fabric(port.gatewayMetrics, pagesMetricsPublished),
    }),
    single('gateway', environment.gateway.host, {
      ...Object.fromEntries(
        environment.processes.list.flatMap(({ name, gatewayPort }) =>
          gatewayPort === undefined ? [] : [[name, open(gatewayPort, gatewayPort)]],
        ),
      ),
      metrics: fabric(port.gatewayMetrics),
    }),
    ...processReplicas(environment).map(({ alias, node, spec }, index): Placement => {
      const chosen = node === 1 ? spec.publishedPort : undefined;
      return {
        alias,
        component: 'worker',
        node,
        host: spec.host ?? environment.processes.host,
        ports: {
          http:
            chosen === undefined
              ? fabric(port.workerHttp, workerMetricsPublishedFrom + index)
              : open(port.workerHttp, chosen),
        },
      };
    }),
  ];
}

/**
 * Every long-running container of the environment with its ports.
 * Throws MUSTER_HOST_UNKNOWN, MUSTER_NAME_TAKEN or MUSTER_PORT_TAKEN when the environment contradicts itself.
 */
export function placements(environment: Environment): readonly Placement[] {
  const list = unchecked(environment);
  const names = new Set<string>();
  const published = new Map<string, string>();
  for (const placement of list) {
    if (!Object.hasOwn(environment.hosts, placement.host))
      throw coded(
        'MUSTER_HOST_UNKNOWN',
        `${environment.name}: ${placement.alias} is placed on "${placement.host}"; known: ${Object.keys(environment.hosts).join(', ')}`,
      );
    if (names.has(placement.alias))
      throw coded('MUSTER_NAME_TAKEN', `${environment.name}: two containers are called ${placement.alias}`);
    names.add(placement.alias);
    for (const port of Object.values(placement.ports)) {
      if (port.published === undefined) continue;
      const key = `${hostOf(environment, placement.host).bindIp}:${port.published}`;
      const other = published.get(key);
      if (other !== undefined)
        throw coded(
          'MUSTER_PORT_TAKEN',
          `${environment.name}: ${placement.alias} and ${other} both publish ${key}`,
        );
      published.set(key, placement.alias);
    }
  }
  return list;
}

/** The placement with this alias. Throws MUSTER_PLACEMENT_UNKNOWN. */
export function placementOf(environment: Environment, alias: string): Placement {
  const found = placements(environment).find((placement) => placement.alias === alias);
  if (found === undefined) throw coded('MUSTER_PLACEMENT_UNKNOWN', `${environment.name} has no ${alias}`);
  return found;
}

/** The Docker host of this name. Throws MUSTER_HOST_UNKNOWN. */
export function hostOf(environment: Environment, name: string): DockerHost {
  const host = environment.hosts[name];
  if (host === undefined) throw coded('MUSTER_HOST_UNKNOWN', `${environment.name} has no host "${name}"`);
  return host;
}

/** `address:port` under which another container of the environment reaches this port. */
export function reach(environment: Environment, alias: string, portName: string): string {
  const { address, port } = reachParts(environment, alias, portName);
  return `${address}:${port}`;
}

/** Like `reach`, in two parts. Throws MUSTER_PORT_UNKNOWN when there is no such port, or no way to it. */
export function reachParts(
  environment: Environment,
  alias: string,
  portName: string,
): { readonly address: string; readonly port: number } {
  const placement = placementOf(environment, alias);
  const port = placement.ports[portName];
  if (port === undefined)
    throw coded('MUSTER_PORT_UNKNOWN', `${environment.name}: ${alias} has no port "${portName}"`);
  if (!spansHosts(environment)) return { address: alias, port: port.container };
  if (port.published === undefined)
    throw coded(
      'MUSTER_PORT_UNKNOWN',
      `${environment.name} spans hosts, but ${alias}'s port "${portName}" is not published`,
    );
  return { address: hostOf(environment, placement.host).address, port: port.published };
}

/** `address:port` under which a client outside the containers, on the host, reaches a published port. */
export function reachFromHost(environment: Environment, alias: string, portName: string): string {
  const placement = placementOf(environment, alias);
  const published = placement.ports[portName]?.published;
  if (published === undefined)
    throw coded('MUSTER_PORT_UNKNOWN', `${environment.name}: ${alias} publishes no port "${portName}"`);
  return `${hostOf(environment, placement.host).address}:${published}`;
}

/** Placement and port by which people and programs reach a process or a page: a gateway's, where one is before it. */
function entranceOf(environment: Environment, name: string): readonly [alias: string, portName: string] {
  if (isPageServer(name)) return ['pages', name];
  const spec = environment.processes.list.find((one) => one.name === name);
  return spec?.gatewayPort === undefined ? [name, 'http'] : ['gateway', name];
}

/** By which scheme it is spoken to there. */
const schemeOf = ({ tls }: Environment, [alias]: ReturnType<typeof entranceOf>) =>
  tls !== undefined && (alias === 'gateway' || alias === 'pages') ? 'https' : 'http';

/**
 * Base address of a process, or of a server with a page, for people and programs on the host.
 * Throws MUSTER_PORT_UNKNOWN when it has none there.
 */
export function urlFromHost(environment: Environment, name: string): string {
  const entrance = entranceOf(environment, name);
  return `${schemeOf(environment, entrance)}://${reachFromHost(environment, ...entrance)}`;
}

/** Comma list of the brokers for clients in containers (INTERNAL listener). */
export function brokersInside(environment: Environment): string {
  return environment.kafka.nodes.map((node) => reach(environment, `kafka-${node.id}`, 'internal')).join(',');
}

/** Comma list of the brokers for clients outside the containers (EXTERNAL listener). */
export function brokersOutside(environment: Environment): string {
  return environment.kafka.nodes
    .map((node) => reachFromHost(environment, `kafka-${node.id}`, 'external'))
    .join(',');
}

/** ZooKeeper connection string, without a chroot: the ensemble serves this one cluster. */
export function zookeeperConnect(environment: Environment): string {
  return environment.zookeeper.nodes
    .map((node) => reach(environment, `zookeeper-${node.id}`, 'client'))
    .join(',');
}

/** Base address of the process that has a worker, of its first replica; undefined where the environment has none. */
export function urlOfWorker(environment: Environment, worker: string): string | undefined {
  const process = processOf(environment, worker);
  return process === undefined ? undefined : `http://${reach(environment, process, 'http')}`;
}

/** The same for people and what plays them: by the gateway, where that is before it. */
export function entranceOfWorker(environment: Environment, worker: string): string | undefined {
  const process = processOf(environment, worker);
  if (process === undefined) return undefined;
  const entrance = entranceOf(environment, process);
  return `${schemeOf(environment, entrance)}://${reach(environment, ...entrance)}`;
}

const processOf = (environment: Environment, worker: string): string | undefined =>
  environment.processes.list.find(({ workers }) => workers.includes(worker))?.name;

/**
 * <WORKER>_URL of each worker that a process asks (`catalog/services.ts`).
 * Throws MUSTER_SERVICE_MISSING when the environment has no process with one of them.
 */
export function serviceUrls(
  environment: Environment,
  workers: readonly string[],
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    askedBy(workers).map((asked) => {
      const url = urlOfWorker(environment, asked);
      if (url === undefined)
        throw coded(
          'MUSTER_SERVICE_MISSING',
          `${environment.name}: ${workers.join(', ')} ask ${asked}, and no process has it`,
        );
      return [`${asked.toUpperCase().replaceAll('-', '_')}_URL`, url];
    }),
  );
}
