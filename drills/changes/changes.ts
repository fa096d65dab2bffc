/**
 * Changes of what runs, as data: what somebody edits in the checkout before the next `./muster up`, what that replaces, and what the
 * platform promises meanwhile. Drills deploy them for real (deploy.ts).
 */
import { type Environment, environments } from '../../catalog/environments.ts';
import type { Edit } from '../edits.ts';

/** What a deployment may replace. */
export type Kind = 'brokers' | 'zookeepers' | 'mysql' | 'workers' | 'jobs' | 'others';

export interface Change {
  readonly name: string;
  /** In words: after "A deployment with". */
  readonly what: string;
  /** Deployments one after the other, each with its own edits of the original; that of the original follows. */
  readonly deployments: readonly (readonly Edit[])[];
  /** Kinds of containers that they replace; no other. */
  readonly replaces: readonly Kind[];
  /** It cannot work: the deployment has to stop at its first node. */
  readonly stops?: true;
  /** The most that all of it takes, both ways. */
  readonly withinMs: number;
  readonly expect: {
    /** Of all requests while it lasts; `as before`: see `asBefore` of the judge. Unset: not promised. */
    readonly p99Ms?: number | 'as before';
    /** Classes of which requests may fail with 503, and for how long without a pause; unset: none fails. */
    readonly mayAnswer503?: { readonly classes: readonly string[]; readonly forMs: number };
    /** From a change of a node to the last failure seen; a failure is an ack that takes longer than 2 s. */
    readonly rtoMs: number;
  };
}

/** Topics that a change makes: a deployment never takes one away. */
export const topicsMade: readonly string[] = ['added-by-drill'];

/** One line more before a line that is there once. */
const before = (file: string, line: string, put: string): Edit => ({
  file,
  find: line,
  put: `${put}${line}`,
});

const brokersFile = 'stacks/config/kafka.ts';
const heap = (file: string, heapMiB: number): Edit => ({
  file,
  find: 'size: { memoryMiB: 1_024, heapMiB: 384 },',
  put: `size: { memoryMiB: 1_024, heapMiB: ${heapMiB} },`,
});

const { kafka } = environments.dev;

/** The older version whose protocol both versions speak. */
const older = { version: '3.8.1', protocol: '3.8' };
const newerVersion = '3.9.2';
const speakOlder = before(
  brokersFile,
  "    {\n      key: 'inter.broker.listener.name',",
  `    {
      key: 'inter.broker.protocol.version',
      value: '${older.protocol}',
      because: 'Until all brokers are of the newer version.',
    },
`,
);
const jarsOf = (artifact: string): Edit => ({
  file: 'images/kafka/pom.xml',
  find: `<artifactId>${artifact}</artifactId>\n      <version>${newerVersion}</version>`,
  put: `<artifactId>${artifact}</artifactId>\n      <version>${older.version}</version>`,
});
const olderVersion: readonly Edit[] = [
  { file: 'stacks/images.ts', find: `  kafka: '${newerVersion}',`, put: `  kafka: '${older.version}',` },
  jarsOf('kafka_2.13'),
  jarsOf('kafka-tools'),
];

const minuteMs = 60_000;
/** Of a node that leaves its work to others before it goes. */
const rolled = { p99Ms: 2_000, rtoMs: 5_000 } as const;
const unnoticed = { p99Ms: 'as before', rtoMs: 0 } as const;

export const changes: readonly Change[] = [
  {
    name: 'change-added',
    what: 'a topic, its schema, a group, an alert and a dashboard more',
    deployments: [
      [
        before(
          'catalog/events/canary.ts',
          '/** A probe on its way',
          `export const addedByDrill = Type.Object({ n: Type.Integer() }, { $id: 'AddedByDrill', title: 'AddedByDrill' });\n\n`,
        ),
        {
          file: 'catalog/topics.ts',
          find: "import { canaryProbe } from './events/canary.ts';",
          put: "import { addedByDrill, canaryProbe } from './events/canary.ts';",
        },
        before(
          'catalog/topics.ts',
          "  canary: {\n    name: 'muster-canary',",
          `  addedByDrill: {
    ...standard,
    name: '${topicsMade[0]}',
    key: 'none',
    event: { type: 'AddedByDrill', schema: addedByDrill },
    owner: 'canary',
    description: 'Added by a drill.',
    designLoad: { messagesPerSecond: 1, bytesPerMessage: 60 },
  },
`,
        ),
        before(
          'catalog/groups.ts',
          "  orderRanking: {\n    id: 'order-ranking',",
          `  addedByDrill: {
    id: 'added-by-drill',
    topics: [topics.addedByDrill],
    owner: 'canary',
    description: 'Added by a drill.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
`,
        ),
        before(
          'alerts/watchdog.ts',
          "      rule({\n        name: 'Watchdog',",
          `      rule({
        name: 'AddedByDrill',
        severity: 'none',
        expr: 'vector(0) > 1',
        for: '0s',
        summary: 'Added by a drill.',
        meaning: 'Nothing.',
        firstStep: 'Nothing.',
        runbook: 'alerts/runbooks/Watchdog.md',
        proof: {
          fires: [{ when: 'anything', series: { up: [at(1)] }, trueFrom: '0s' }],
          staysQuiet: { never: 'no proof of it is run' },
          live: { cause: 'nothing' },
        },
      }),
`,
        ),
        before(
          'dashboards/index.ts',
          '  canary: canaries,',
          "  'added-by-drill': (environment: Environment) => ({ ...canaries(environment), uid: 'added-by-drill' }),\n",
        ),
      ],
    ],
    replaces: ['workers', 'jobs', 'others'],
    withinMs: 10 * minuteMs,
    expect: unnoticed,
  },
  {
    name: 'change-worker-code',
    what: 'other code in all workers',
    deployments: [[before('workers/main.ts', 'const usage = `Usage:', '// Changed by a drill.\n')]],
    replaces: ['workers', 'jobs'],
    withinMs: 10 * minuteMs,
    expect: { p99Ms: 500, rtoMs: 0 },
  },
  {
    name: 'change-live-setting',
    what: 'a broker setting that Kafka can change while it runs',
    deployments: [
      [
        {
          file: brokersFile,
          find: "key: 'num.replica.fetchers',\n      value: 4,",
          put: "key: 'num.replica.fetchers',\n      value: 5,",
        },
      ],
    ],
    replaces: ['jobs'],
    withinMs: 6 * minuteMs,
    expect: unnoticed,
  },
  {
    name: 'change-broker-setting',
    what: 'a broker setting that needs a restart',
    deployments: [
      [
        {
          file: brokersFile,
          find: "key: 'log.retention.check.interval.ms',\n      value: 60_000,",
          put: "key: 'log.retention.check.interval.ms',\n      value: 61_000,",
        },
      ],
    ],
    replaces: ['brokers'],
    withinMs: 15 * minuteMs,
    expect: rolled,
  },
  {
    name: 'change-heap',
    what: 'a larger heap of all brokers',
    deployments: [[heap('catalog/environments.ts', kafka.size.heapMiB + 16)]],
    replaces: ['brokers', 'workers', 'jobs'],
    withinMs: 20 * minuteMs,
    expect: rolled,
  },
  {
    name: 'change-kafka-version',
    what: `Kafka ${older.version}, and then ${newerVersion} in its two phases: binaries first, the protocol between brokers last`,
    // The way down is the preparation of the way up: the protocol first, then binaries.
    deployments: [[speakOlder], [speakOlder, ...olderVersion], [speakOlder]],
    replaces: ['brokers'],
    withinMs: 30 * minuteMs,
    expect: rolled,
  },
  {
    name: 'change-zookeeper-setting',
    what: 'another setting of all ZooKeepers',
    deployments: [
      [
        {
          file: 'stacks/config/zookeeper.ts',
          find: 'autopurge.purgeInterval=6',
          put: 'autopurge.purgeInterval=7',
        },
      ],
    ],
    replaces: ['zookeepers'],
    withinMs: 10 * minuteMs,
    expect: rolled,
  },
  {
    name: 'change-mysql-setting',
    what: 'another setting of MySQL',
    deployments: [
      [{ file: 'stacks/config/data.ts', find: 'table_open_cache=1024', put: 'table_open_cache=1025' }],
    ],
    replaces: ['mysql'],
    withinMs: 8 * minuteMs,
    expect: {
      mayAnswer503: { classes: ['orders', 'products', 'coupons', 'pay', 'delivery'], forMs: 5_000 },
      rtoMs: 20_000,
    },
  },
  {
    name: 'change-bad-heap',
    what: 'a heap with which no broker starts',
    deployments: [[heap('catalog/environments.ts', 1)]],
    // Of all that it would replace it comes to the first broker.
    replaces: ['brokers', 'workers', 'jobs'],
    stops: true,
    withinMs: 12 * minuteMs,
    expect: rolled,
  },
];

const jobs = new Set(['topics', 'live-settings', 'migrations', 'cmak-seed']);

/** What a container is, by its alias. */
export function kindOf(alias: string, { processes }: Pick<Environment, 'processes'>): Kind {
  if (/^kafka-\d+$/.test(alias)) return 'brokers';
  if (/^zookeeper-\d+$/.test(alias)) return 'zookeepers';
  if (/^mysql-\d+$/.test(alias)) return 'mysql';
  if (jobs.has(alias)) return 'jobs';
  return processes.list.some(({ name }) => name === alias || name === alias.replace(/-\d+$/, ''))
    ? 'workers'
    : 'others';
}
