/**
 * Environments as data: sizes, ports, retention, image source and where each node runs.
 * A stack never holds a literal size or port; it reads one of these.
 */

import { allGroups } from './groups.ts';

export type EnvironmentName = 'dev' | 'ci' | 'prod';

/** Where the images of third-party components come from; `auto` lets `./muster up` decide by trying to pull. */
export type ImageSource = 'registry' | 'build';

/** A Docker host. `dockerUri` undefined means the engine that DOCKER_HOST (or the default socket) names. */
export interface DockerHost {
  readonly dockerUri?: string;
  /** Name or address under which the other hosts of the environment reach this one. */
  readonly address: string;
  /** Address that published ports listen on; loopback unless the environment spans hosts. */
  readonly bindIp: string;
}

/** Limits of one container. `cpus` undefined means no limit of its own. */
export interface Size {
  readonly memoryMiB: number;
  readonly cpus?: number;
}

/** Limits of a JVM container: the heap is fixed (-Xms = -Xmx) so that memory is known before load comes. */
export interface JvmSize extends Size {
  readonly heapMiB: number;
}

export interface KafkaNode {
  readonly id: 1 | 2 | 3;
  readonly rack: string;
  readonly host: string;
  /** Port of the EXTERNAL listener as published on the host. */
  readonly externalPort: number;
}

/** A member of the database. */
export interface MysqlNode {
  readonly id: number;
  readonly host: string;
}

export interface ZooKeeperNode {
  readonly id: 1 | 2 | 3;
  readonly host: string;
}

/** One operating-system process (a container): which workers share it, how big it is, how many replicas. */
export interface ProcessSpec {
  readonly name: string;
  readonly workers: readonly string[];
  readonly size: Size;
  readonly replicas: number;
  /** Key of `hosts`; unset: that of the processes. */
  readonly host?: string;
  /**
   * Size of V8's young generation from the start on, for a process that has to be fast at once: up to three times this in
   * memory for less garbage collection (measured for orders: 0.9 instead of 1.4 ms of processor time an order). Unset: small
   * until the process is busy, then as V8 likes: in a container of up to 512 MiB that is 1 MiB all the same (measured).
   */
  readonly semiSpaceMiB?: number;
  /** Port of the gateway by which people and programs reach its HTTP server; unset: the gateway does not know it. */
  readonly gatewayPort?: number;
  /** Host port of its HTTP server itself, for what has no gateway before it; unset: not published. */
  readonly publishedPort?: number;
  /** Settings of its workers beyond what every process gets. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What the gateway lets through. */
export interface GatewayLimits {
  /** Connections at the same time; those above wait. Each takes two open files. */
  readonly connections: number;
  /** The same, of one address; more are closed. */
  readonly connectionsEach: number;
  /** Memory for what is on its way, in pieces of 16 KiB; who finds none waits, its own checks, too: then all processes look dead. */
  readonly buffers: number;
  /** Requests of one address in ten seconds; more are answered 429. */
  readonly requestsEachIn10s: number;
  /** Of the body, as far as the request says it; a process has limits of its own for what comes in pieces. */
  readonly bodyBytes: number;
  /** From the first byte of a request to the last of its headers, and of its body or the first 16 KiB of that. */
  readonly requestMs: number;
  /** Without a byte either way: of an answer that is waited for, and of a stream. Longer than the sign of life of streams. */
  readonly silenceMs: number;
  /** A connection of a client between two requests. */
  readonly idleMs: number;
}

export interface Environment {
  readonly name: EnvironmentName;
  /** Prefix of every container, network and volume: two environments on one engine never meet. */
  readonly prefix: string;
  readonly hosts: Readonly<Record<string, DockerHost>>;
  /**
   * URL of the PostgreSQL database that keeps Terraform's state, for whoever deploys it from wherever; without user and password,
   * which are PGUSER and PGPASSWORD. Unset: files in the state folder, for one who deploys.
   */
  readonly stateDatabase?: string;
  /** Names, beside those of its hosts, under which people reach the services, and whose pages may call them. */
  readonly hostNames: readonly string[];
  /**
   * The gateways speak TLS, with HTTP/1.1 and HTTP/2: with a certificate that `./muster` makes and renews, by an authority of the
   * environment's own, or the site's (absolute path of a PEM file where one deploys: certificate, chain and key). Unset: plain HTTP/1.1.
   */
  readonly tls?: 'made' | { readonly certificateFile: string };
  /** The site's identity provider, whose tokens say who calls; unset: tokens by the environment's own key (`./muster token`). */
  readonly siteTokens?: { readonly jwksUrl: string; readonly issuer: string; readonly audience: string };
  /** Zone of a time that carries none (IANA name). */
  readonly timeZone: string;
  /** Share of root traces that are kept, 0 to 1. */
  readonly traceSampleRatio: number;
  /** Retention of input and output topics. */
  readonly retentionMs: number;
  readonly kafka: {
    readonly nodes: readonly [KafkaNode, KafkaNode, KafkaNode];
    readonly size: JvmSize;
    /** Room for the logs of one broker; alerts foresee when it ends. */
    readonly dataDiskBytes: number;
    /**
     * Most of the RTO of a dead broker: 3000 ms measured 6.2 s, 2500 ms 4.5 s. Longer than any pause of a living one, and
     * than clients take to find a new leader of ZooKeeper.
     */
    readonly zookeeperSessionTimeoutMs: number;
  };
  readonly zookeeper: {
    readonly nodes: readonly [ZooKeeperNode, ZooKeeperNode, ZooKeeperNode];
    readonly size: JvmSize;
    /** Room for the snapshots and the log of one member; alerts foresee when it ends. */
    readonly dataDiskBytes: number;
    readonly tickTimeMs: number;
  };
  readonly cmak: { readonly host: string; readonly size: JvmSize; readonly publishedPort: number };
  /** Two members, of which one takes writes and the other has them, too, before they are acked. */
  readonly mysql: {
    readonly members: readonly [MysqlNode, MysqlNode];
    /** Of each member. */
    readonly size: Size;
    readonly bufferPoolMiB: number;
    /** Room for the data of a member; alerts foresee when it ends. */
    readonly dataDiskBytes: number;
    /** The address of the database: it sends clients to the member that takes writes. On the host of the process mysql-guard. */
    readonly entrance: { readonly size: Size; readonly publishedPort: number };
  };
  /** Of MySQL, by the worker mysql-backup. */
  readonly backup: {
    /** Between base copies; its log is followed all the time. */
    readonly everyHours: number;
    readonly keepDays: number;
    /**
     * Where backups are kept: a folder on the host of MySQL, of a file server, say, so that they outlive that host.
     * Unset: a volume beside that of MySQL.
     */
    readonly folder?: string;
  };
  readonly redis: {
    readonly host: string;
    readonly size: Size;
    readonly maxMemoryMiB: number;
    readonly publishedPort: number;
  };
  readonly prometheus: {
    readonly host: string;
    readonly size: Size;
    readonly publishedPort: number;
    readonly scrapeIntervalMs: number;
    readonly retentionDays: number;
  };
  readonly alertmanager: {
    readonly host: string;
    readonly size: Size;
    readonly publishedPort: number;
    /**
     * Who is told, by webhook: <url>/page, <url>/ticket and <url>/deadman. A process of the environment (its HTTP port,
     * below /alerts), or the address of the site's own service.
     */
    readonly receiver: { readonly process: string } | { readonly url: string };
  };
  readonly grafana: { readonly host: string; readonly size: Size; readonly publishedPort: number };
  readonly jaeger: {
    readonly host: string;
    readonly size: Size;
    readonly publishedPort: number;
    /** OTLP over HTTP, for workers started by hand on the host. */
    readonly otlpPublishedPort: number;
    readonly maxTraces: number;
  };
  readonly victorialogs: {
    readonly host: string;
    readonly size: Size;
    readonly publishedPort: number;
    /** Whole days; lines that are older go. */
    readonly retentionDays: number;
    /** Room for its data: at nine tenths of it the oldest days go early. */
    readonly dataDiskBytes: number;
  };
  /** Before the processes that people and programs call (`gatewayPort`). */
  readonly gateway: { readonly host: string; readonly size: Size; readonly limits: GatewayLimits };
  /** The gateway before the pages of Prometheus, Alertmanager, Grafana, Jaeger, VictoriaLogs and CMAK: it has their `publishedPort`. */
  readonly pages: { readonly host: string; readonly size: Size; readonly limits: GatewayLimits };
  /** Small exporters (MySQL, Redis). */
  readonly exporters: { readonly host: string; readonly size: Size };
  readonly processes: { readonly host: string; readonly list: readonly ProcessSpec[] };
}

const hourMs = 3_600_000;
/** Tests and benchmarks leave groups behind that nobody reads for any more, and replays keep notes in one: no alert for these. */
const watching = {
  LAG_EXPECTED: allGroups.map(({ id }) => id).join(','),
  // The C library keeps a heap a thread; what the lag worker reads each pass leaves holes in all of them (24 MB measured).
  MALLOC_ARENA_MAX: '1',
  LAG_TOPICS_EXCLUDE: '^(__|test[.]|bench[.])',
  LAG_GROUPS_EXCLUDE: '^(test[.]|bench[.]|muster-dlq-replay$)',
};
/**
 * Three photos. What is longer than a process takes it refuses itself, when it has heard all of it. Here it is cut off, and most who
 * still send see that and not the answer.
 */
const bodyBytes = 32 * 2 ** 20;
const gatewayWaits = { requestMs: 10_000, silenceMs: 120_000, idleMs: 65_000 };
/** A few people with their browsers, and tools that ask for figures. */
const pageLimits: GatewayLimits = {
  connections: 1_000,
  connectionsEach: 250,
  buffers: 2_000,
  requestsEachIn10s: 10_000,
  bodyBytes,
  ...gatewayWaits,
};
const loopback: DockerHost = { address: '127.0.0.1', bindIp: '127.0.0.1' };

/** `dev` and `ci` differ in name, ports and a few numbers; `portBase` keeps their published ports apart. */
function laptop(
  name: 'dev' | 'ci',
  portBase: number,
  differences: Pick<Environment, 'retentionMs'> & { readonly traffic?: number },
): Environment {
  const port = (offset: number) => portBase + offset;
  const host = 'local';
  const traffic: ProcessSpec[] =
    differences.traffic === undefined
      ? []
      : [
          {
            name: 'traffic',
            workers: ['traffic'],
            size: { memoryMiB: 160 },
            replicas: 1,
            env: { TRAFFIC_RATE: String(differences.traffic) },
          },
        ];
  return {
    name,
    prefix: `muster-${name}`,
    hosts: { [host]: loopback },
    hostNames: [],
    timeZone: 'Asia/Seoul',
    traceSampleRatio: 1,
    retentionMs: differences.retentionMs,
    kafka: {
      nodes: [
        { id: 1, rack: 'rack-1', host, externalPort: port(91) },
        { id: 2, rack: 'rack-2', host, externalPort: port(92) },
        { id: 3, rack: 'rack-3', host, externalPort: port(93) },
      ],
      // A grown broker takes 630 MB. One took 330 more within 5 s (its compiler, it seems: heap and buffers did not) and died at 768.
      size: { memoryMiB: 1_024, heapMiB: 384 },
      dataDiskBytes: 10e9,
      zookeeperSessionTimeoutMs: 2_500,
    },
    zookeeper: {
      nodes: [
        { id: 1, host },
        { id: 2, host },
        { id: 3, host },
      ],
      size: { memoryMiB: 224, heapMiB: 96 },
      dataDiskBytes: 2e9,
      tickTimeMs: 500,
    },
    cmak: { host, size: { memoryMiB: 512, heapMiB: 256 }, publishedPort: port(90) },
    mysql: {
      members: [
        { id: 1, host },
        { id: 2, host },
      ],
      size: { memoryMiB: 640 },
      bufferPoolMiB: 128,
      dataDiskBytes: 10e9,
      entrance: { size: { memoryMiB: 48 }, publishedPort: port(33) },
    },
    backup: { everyHours: 24, keepDays: 3 },
    redis: { host, size: { memoryMiB: 96 }, maxMemoryMiB: 64, publishedPort: port(63) },
    prometheus: {
      host,
      size: { memoryMiB: 384 },
      publishedPort: port(9),
      scrapeIntervalMs: 5_000,
      retentionDays: 3,
    },
    alertmanager: {
      host,
      size: { memoryMiB: 96 },
      publishedPort: port(10),
      receiver: { process: 'outside-world' },
    },
    // Its maker asks for so much.
    grafana: { host, size: { memoryMiB: 512 }, publishedPort: port(30) },
    jaeger: {
      host,
      size: { memoryMiB: 384 },
      publishedPort: port(16),
      otlpPublishedPort: port(18),
      maxTraces: 15_000,
    },
    victorialogs: {
      host,
      size: { memoryMiB: 192 },
      publishedPort: port(94),
      retentionDays: 3,
      dataDiskBytes: 2e9,
    },
    gateway: {
      host,
      size: { memoryMiB: 96 },
      // All programs of this machine have one address.
      limits: {
        connections: 7_500,
        connectionsEach: 7_000,
        buffers: 1_000,
        requestsEachIn10s: 60_000,
        bodyBytes,
        ...gatewayWaits,
      },
    },
    pages: { host, size: { memoryMiB: 64 }, limits: pageLimits },
    exporters: { host, size: { memoryMiB: 64 } },
    processes: {
      host,
      list: [
        {
          name: 'api',
          workers: [
            'promotion-api',
            'promotion-analysis',
            'outside-api',
            'order-api',
            'coupon-api',
            'console',
          ],
          size: { memoryMiB: 384 },
          replicas: 2,
          semiSpaceMiB: 16,
          gatewayPort: port(80),
        },
        // State is about 0.5 KB a purchase and 0.15 KB an act for 11 and 17 minutes: 300 MiB at ten times the design load.
        { name: 'promotion', workers: ['promotion-join'], size: { memoryMiB: 640 }, replicas: 1 },
        { name: 'log-follower', workers: ['promotion-log'], size: { memoryMiB: 160 }, replicas: 1 },
        // One: two canaries would count every probe twice.
        {
          name: 'watch',
          workers: ['lag', 'canary', 'zookeeper-disk', 'promises'],
          size: { memoryMiB: 192 },
          replicas: 1,
          env: watching,
        },
        {
          name: 'commerce',
          workers: ['order-ranking', 'order-analytics', 'product-events', 'order-expiry', 'coupon-issue'],
          size: { memoryMiB: 256 },
          replicas: 1,
          semiSpaceMiB: 8,
        },
        // Measured: 140 MiB while it works a backlog off.
        {
          name: 'outside',
          workers: ['outside-events', 'retention'],
          size: { memoryMiB: 224 },
          replicas: 1,
          semiSpaceMiB: 4,
        },
        {
          name: 'pay',
          workers: [
            'money',
            'money-members',
            'money-recharges',
            'messages',
            'membership',
            'banking',
            'remittance',
            'payment',
            'settlement',
          ],
          size: { memoryMiB: 256 },
          replicas: 1,
          semiSpaceMiB: 4,
          gatewayPort: port(82),
          // A heap a thread of the C library's would each keep the 16 MiB of a password's hash (172 MB measured, 131 with one).
          env: { MALLOC_ARENA_MAX: '1' },
        },
        {
          name: 'delivery',
          workers: [
            'delivery-orders',
            'delivery-photos',
            'delivery-riders',
            'delivery-messages',
            'delivery-log',
          ],
          // Two photos that are decoded whole take up to 128 MiB of it.
          size: { memoryMiB: 384 },
          replicas: 1,
          // With 1 MiB it collected eight times a second at 60 requests a second of everything.
          semiSpaceMiB: 4,
          gatewayPort: port(83),
          // Else the C library keeps what photos were decoded in: 568 MB after some that are decoded whole, 215 with these.
          env: { MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '131072' },
        },
        // Measured: 120 MiB while a broker is away and everybody says so.
        { name: 'logging', workers: ['log-store'], size: { memoryMiB: 160 }, replicas: 1 },
        { name: 'mysql-guard', workers: ['mysql-guard'], size: { memoryMiB: 160 }, replicas: 1 },
        // Measured: 70 MiB, and 110 more for the server that tries a backup once a day.
        { name: 'mysql-backup', workers: ['mysql-backup'], size: { memoryMiB: 320 }, replicas: 1 },
        // Stands for everything outside: it receives webhooks and alerts, and is the banks.
        {
          name: 'outside-world',
          workers: ['webhook-stub', 'bank-stub'],
          size: { memoryMiB: 160 },
          replicas: 1,
          semiSpaceMiB: 2,
          publishedPort: port(81),
        },
        ...traffic,
      ],
    },
  };
}

/**
 * `prod` spreads over eleven hosts with the sizes of the service contract: Kafka 3 x (4 cores, 8 GB),
 * ZooKeeper (CMAK on the first) 3 x (2 cores, 4 GB), the message services 2 cores and 2 GB; the gateway and the API behind it have
 * a host of their own. Their stores have two, and who says which of the two databases takes writes has a third, so that it outlives
 * each of them.
 * Host names and addresses are the site's own: edit them here.
 */
function production(): Environment {
  const remote = (name: string, lastOctet: number): DockerHost => ({
    dockerUri: `ssh://muster@${name}.muster.internal`,
    address: `${name}.muster.internal`,
    bindIp: `10.20.0.${lastOctet}`,
  });
  return {
    name: 'prod',
    prefix: 'muster-prod',
    hosts: {
      'kafka-1': remote('kafka-1', 11),
      'kafka-2': remote('kafka-2', 12),
      'kafka-3': remote('kafka-3', 13),
      'zookeeper-1': remote('zookeeper-1', 21),
      'zookeeper-2': remote('zookeeper-2', 22),
      'zookeeper-3': remote('zookeeper-3', 23),
      services: remote('services', 31),
      data: remote('data', 32),
      edge: remote('edge', 33),
      'data-2': remote('data-2', 34),
      guard: remote('guard', 35),
    },
    // The database, names, certificate and identity provider are the site's own: edit them here.
    stateDatabase: 'postgres://state.muster.internal:5432/muster?sslmode=verify-full',
    hostNames: ['api.muster.internal'],
    tls: 'made',
    siteTokens: {
      jwksUrl: 'https://login.muster.internal/.well-known/jwks.json',
      issuer: 'https://login.muster.internal',
      audience: 'muster',
    },
    timeZone: 'Asia/Seoul',
    traceSampleRatio: 0.1,
    retentionMs: 5 * 24 * hourMs,
    kafka: {
      nodes: [
        { id: 1, rack: 'rack-1', host: 'kafka-1', externalPort: 9092 },
        { id: 2, rack: 'rack-2', host: 'kafka-2', externalPort: 9092 },
        { id: 3, rack: 'rack-3', host: 'kafka-3', externalPort: 9092 },
      ],
      size: { memoryMiB: 8_192, heapMiB: 4_096, cpus: 4 },
      dataDiskBytes: 40e9,
      zookeeperSessionTimeoutMs: 2_500,
    },
    zookeeper: {
      nodes: [
        { id: 1, host: 'zookeeper-1' },
        { id: 2, host: 'zookeeper-2' },
        { id: 3, host: 'zookeeper-3' },
      ],
      size: { memoryMiB: 3_072, heapMiB: 1_024, cpus: 2 },
      dataDiskBytes: 10e9,
      tickTimeMs: 500,
    },
    cmak: { host: 'zookeeper-1', size: { memoryMiB: 1_024, heapMiB: 512, cpus: 1 }, publishedPort: 9000 },
    mysql: {
      members: [
        { id: 1, host: 'data' },
        { id: 2, host: 'data-2' },
      ],
      size: { memoryMiB: 512 },
      bufferPoolMiB: 256,
      dataDiskBytes: 40e9,
      entrance: { size: { memoryMiB: 48 }, publishedPort: 3306 },
    },
    backup: { everyHours: 24, keepDays: 14, folder: '/srv/muster/backups' },
    redis: { host: 'data', size: { memoryMiB: 128 }, maxMemoryMiB: 96, publishedPort: 6379 },
    prometheus: {
      host: 'zookeeper-2',
      size: { memoryMiB: 768 },
      publishedPort: 9090,
      scrapeIntervalMs: 5_000,
      retentionDays: 30,
    },
    alertmanager: {
      host: 'zookeeper-2',
      size: { memoryMiB: 128 },
      publishedPort: 9093,
      receiver: { url: 'http://alerts.muster.internal:8080/alerts' },
    },
    grafana: { host: 'zookeeper-3', size: { memoryMiB: 512 }, publishedPort: 3000 },
    jaeger: {
      host: 'zookeeper-3',
      size: { memoryMiB: 512 },
      publishedPort: 16686,
      otlpPublishedPort: 4318,
      maxTraces: 20_000,
    },
    victorialogs: {
      host: 'data',
      size: { memoryMiB: 512 },
      publishedPort: 9428,
      retentionDays: 30,
      dataDiskBytes: 20e9,
    },
    gateway: {
      host: 'edge',
      // Measured: 21 KiB a connection of TLS, beside its buffers.
      size: { memoryMiB: 384, cpus: 1 },
      // Half a request has a buffer, and an answer that is not read has four: one address must not have them all.
      limits: {
        connections: 7_500,
        connectionsEach: 500,
        buffers: 8_000,
        requestsEachIn10s: 20_000,
        bodyBytes,
        ...gatewayWaits,
      },
    },
    // A browser has a connection of HTTP/2 with each of the servers.
    pages: {
      host: 'edge',
      size: { memoryMiB: 192, cpus: 0.25 },
      limits: { ...pageLimits, buffers: 6_000 },
    },
    exporters: { host: 'data', size: { memoryMiB: 64 } },
    processes: {
      host: 'services',
      list: [
        {
          name: 'api',
          workers: ['promotion-api', 'promotion-analysis', 'outside-api', 'order-api', 'coupon-api'],
          host: 'edge',
          size: { memoryMiB: 320, cpus: 1 },
          replicas: 2,
          semiSpaceMiB: 8,
          gatewayPort: 8080,
        },
        { name: 'promotion', workers: ['promotion-join'], size: { memoryMiB: 640, cpus: 1 }, replicas: 1 },
        {
          name: 'log-follower',
          workers: ['promotion-log'],
          size: { memoryMiB: 192, cpus: 0.5 },
          replicas: 1,
        },
        {
          name: 'watch',
          workers: ['lag', 'canary', 'zookeeper-disk', 'promises'],
          size: { memoryMiB: 256, cpus: 0.5 },
          replicas: 1,
          env: watching,
        },
        {
          name: 'commerce',
          workers: ['order-ranking', 'order-analytics', 'product-events', 'order-expiry', 'coupon-issue'],
          size: { memoryMiB: 256, cpus: 0.5 },
          replicas: 1,
        },
        {
          name: 'outside',
          workers: ['outside-events', 'retention'],
          size: { memoryMiB: 224, cpus: 0.5 },
          replicas: 1,
          semiSpaceMiB: 4,
          // The receiver is the site's own: edit it here.
          env: { OUTSIDE_WEBHOOK_URL: 'https://webhooks.muster.internal' },
        },
        { name: 'logging', workers: ['log-store'], size: { memoryMiB: 128, cpus: 0.25 }, replicas: 1 },
        {
          name: 'mysql-guard',
          workers: ['mysql-guard'],
          host: 'guard',
          size: { memoryMiB: 160, cpus: 0.5 },
          replicas: 1,
        },
        {
          name: 'mysql-backup',
          workers: ['mysql-backup'],
          host: 'data',
          size: { memoryMiB: 320, cpus: 0.5 },
          replicas: 1,
        },
      ],
    },
  };
}

export const environments: Readonly<Record<EnvironmentName, Environment>> = {
  dev: laptop('dev', 19_000, { retentionMs: 24 * hourMs, traffic: 20 }),
  ci: laptop('ci', 29_000, { retentionMs: 2 * hourMs }),
  prod: production(),
};

/** True when the environment's nodes sit on more than one Docker host, so container names do not resolve everywhere. */
export function spansHosts(environment: Environment): boolean {
  return Object.keys(environment.hosts).length > 1;
}

/** Looks an environment up by name. Throws MUSTER_ENV_UNKNOWN with the known names. */
export function environmentNamed(name: string): Environment {
  if (Object.hasOwn(environments, name)) return environments[name as EnvironmentName];
  throw Object.assign(
    new Error(`unknown environment "${name}"; known: ${Object.keys(environments).join(', ')}`),
    { code: 'MUSTER_ENV_UNKNOWN' },
  );
}
