/** server.properties, live.properties and log4j.properties of brokers in ZooKeeper mode. */
import { type Environment, type KafkaNode, spansHosts } from '../../catalog/environments.ts';
import { paths } from './paths.ts';
import { placementOf, reach, reachFromHost, zookeeperConnect } from './topology.ts';

const mebibyte = 1_048_576;

interface Setting {
  readonly key: string;
  readonly value: string | number | boolean;
  /** Why it is not the default. */
  readonly because: string;
}

/**
 * Settings that Kafka can change while it runs, for all brokers at once (update mode "cluster-wide" in its documentation): those that
 * we set, and those that people reach for. None of them is in a broker's file, whose change replaces the broker; the job
 * live-settings tells Kafka of them. Only log.cleaner.dedupe.buffer.size stays in the file: it is taken from the heap at start,
 * and another heap needs a restart anyway.
 */
const live: ReadonlySet<string> = new Set([
  'background.threads',
  'compression.type',
  'log.cleaner.io.max.bytes.per.second',
  'log.cleaner.threads',
  'log.retention.bytes',
  'log.retention.ms',
  'log.roll.ms',
  'log.segment.bytes',
  'max.connection.creation.rate',
  'max.connections',
  'max.connections.per.ip',
  'message.max.bytes',
  'min.insync.replicas',
  'num.io.threads',
  'num.network.threads',
  'num.recovery.threads.per.data.dir',
  'num.replica.fetchers',
  'unclean.leader.election.enable',
]);

/** server.properties of one broker, without what is live: a comment above every line says why it is there. */
export function renderServerProperties(environment: Environment, node: KafkaNode): string {
  const settings = [...nodeSettings(environment, node), ...clusterSettings(environment)];
  const body = bodyOf(settings.filter(({ key }) => !live.has(key)));
  return `# Broker ${node.id} of ${environment.name}: rendered from the catalog, do not edit.\n\n${body}`;
}

/** live.properties: what is changed while brokers run, in the same form. */
export function renderLiveSettings(environment: Environment): string {
  const body = bodyOf(clusterSettings(environment).filter(({ key }) => live.has(key)));
  return `# What all brokers of ${environment.name} are told while they run: rendered from the catalog, do not edit.\n\n${body}`;
}

const bodyOf = (settings: readonly Setting[]): string =>
  settings.map(({ key, value, because }) => `# ${because}\n${key}=${value}\n`).join('\n');

/** What differs between brokers. */
function nodeSettings(environment: Environment, node: KafkaNode): readonly Setting[] {
  const alias = `kafka-${node.id}`;
  const { ports } = placementOf(environment, alias);
  const where = spansHosts(environment)
    ? 'The environment spans hosts: both are advertised at the host’s address and published port.'
    : 'INTERNAL is advertised by its alias on the container network, EXTERNAL on the host.';
  return [
    { key: 'broker.id', value: node.id, because: 'Fixed, so that a replaced container is the same broker.' },
    {
      key: 'broker.rack',
      value: node.rack,
      because: 'Replicas of a partition are spread over racks when topics are created.',
    },
    {
      key: 'listeners',
      value: `INTERNAL://0.0.0.0:${ports.internal!.container},EXTERNAL://0.0.0.0:${ports.external!.container}`,
      because: `Inside its container a broker listens everywhere; who gets there is decided by what is published. INTERNAL: brokers and workers. EXTERNAL: clients outside.`,
    },
    {
      key: 'advertised.listeners',
      value: `INTERNAL://${reach(environment, alias, 'internal')},EXTERNAL://${reachFromHost(environment, alias, 'external')}`,
      because: where,
    },
  ];
}

/** What all brokers share. */
function clusterSettings(environment: Environment): readonly Setting[] {
  const { kafka, zookeeper } = environment;
  const least = 2 * zookeeper.tickTimeMs;
  const most = 20 * zookeeper.tickTimeMs;
  if (kafka.zookeeperSessionTimeoutMs < least || kafka.zookeeperSessionTimeoutMs > most)
    throw Object.assign(
      new Error(
        `MUSTER_SESSION_TIMEOUT_OUT_OF_RANGE: ${environment.name}: ZooKeeper with a tick of ${zookeeper.tickTimeMs} ms grants sessions of ${least} to ${most} ms, not ${kafka.zookeeperSessionTimeoutMs} ms`,
      ),
      { code: 'MUSTER_SESSION_TIMEOUT_OUT_OF_RANGE' },
    );
  const cores = kafka.size.cpus ?? 2;

  return [
    {
      key: 'listener.security.protocol.map',
      value: 'INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT',
      because: 'Two names of our own need a protocol each; the network is internal.',
    },
    {
      key: 'inter.broker.listener.name',
      value: 'INTERNAL',
      because: 'Replication stays on the inner network.',
    },
    {
      key: 'zookeeper.connect',
      // Measured: with three entries a killed leader of ZooKeeper cost a broker its session about every other time.
      value: Array(3).fill(zookeeperConnect(environment)).join(','),
      because:
        'Each server three times: the client gives an attempt 1/n of the session timeout and pauses 1 s when it is through the list, so one dead server must not cost a session.',
    },
    {
      key: 'zookeeper.session.timeout.ms',
      value: kafka.zookeeperSessionTimeoutMs,
      because:
        'This is the outage of a dead broker: all partitions wait until its session ends (default 18000).',
    },
    {
      key: 'zookeeper.max.in.flight.requests',
      value: 200,
      because:
        'A new controller writes the state of every partition, each write a flush of ZooKeeper’s: ten at a time (the default) took 2 s for a hundred partitions.',
    },
    {
      key: 'zookeeper.connection.timeout.ms',
      value: 18_000,
      because: 'The default is the session timeout, too short for a first start beside everything else.',
    },
    { key: 'log.dirs', value: paths.kafkaData, because: 'The named volume.' },
    {
      key: 'auto.create.topics.enable',
      value: false,
      because: 'Topics are code: a typing error must not make one.',
    },
    {
      key: 'default.replication.factor',
      value: 3,
      because: 'Topics made by hand are safe too (default 1).',
    },
    {
      key: 'min.insync.replicas',
      value: 2,
      because: 'With acks=all a message is on two brokers before it is acked, and one may be down.',
    },
    {
      key: 'unclean.leader.election.enable',
      value: false,
      because: 'Rather no leader than one that lacks acked messages. The default, said aloud.',
    },
    {
      key: 'offsets.topic.replication.factor',
      value: 3,
      because: 'Committed offsets survive any one broker. The default, said aloud: images for trials set 1.',
    },
    {
      key: 'offsets.topic.num.partitions',
      value: 12,
      because:
        'A dozen groups, not thousands: fewer partitions to elect leaders for (default 50). Never changes after the first start.',
    },
    {
      key: 'transaction.state.log.replication.factor',
      value: 3,
      because: 'As for offsets.',
    },
    { key: 'transaction.state.log.min.isr', value: 2, because: 'As for every topic.' },
    {
      key: 'transaction.state.log.num.partitions',
      value: 12,
      because: 'As for offsets (default 50).',
    },
    {
      key: 'replica.lag.time.max.ms',
      value: 10_000,
      because:
        'A follower that hangs with a living session holds up acks=all for this long (default 30000); much lower and a pause drops it.',
    },
    {
      key: 'controlled.shutdown.retry.backoff.ms',
      value: 1_000,
      because: 'A stopping broker hands over its leaders again after 1 s, not 5 s: within the stop grace.',
    },
    {
      key: 'leader.imbalance.check.interval.seconds',
      value: 30,
      because: 'Leaders go back to a broker that came back after half a minute, not after five.',
    },
    {
      key: 'group.initial.rebalance.delay.ms',
      value: 500,
      because: 'A restarted worker consumes again 2.5 s sooner than with the default of 3000.',
    },
    {
      key: 'num.network.threads',
      value: Math.max(2, Math.ceil(cores)),
      because: `One for each of the broker’s ${kafka.size.cpus === undefined ? 'assumed ' : ''}${cores} cores (default 3).`,
    },
    {
      key: 'num.io.threads',
      value: Math.max(4, Math.ceil(cores * 2)),
      because: 'Two for each core: they wait for the disk (default 8).',
    },
    {
      key: 'num.replica.fetchers',
      value: 4,
      because:
        'A follower asks for all partitions of a fetcher at once, and the leader looks at each of them whenever one has news: with one fetcher (the default) a record costs dozens of looks.',
    },
    {
      key: 'num.recovery.threads.per.data.dir',
      value: Math.max(2, Math.ceil(cores)),
      because: 'After a kill all logs are checked before the broker serves (default 1).',
    },
    {
      key: 'log.cleaner.dedupe.buffer.size',
      value: Math.min(128, Math.max(8, Math.floor(kafka.size.heapMiB / 16))) * mebibyte,
      because: 'Taken from the heap at start; the default of 128 MiB would be a third of a small one.',
    },
    {
      key: 'log.retention.ms',
      value: environment.retentionMs,
      because: 'For topics made by hand; the catalog’s carry their own.',
    },
    {
      key: 'log.retention.check.interval.ms',
      value: 60_000,
      because: 'Old segments leave within a minute of their time (default 5 minutes).',
    },
  ];
}

/**
 * Console only: the engine keeps and rotates the log. reload4j, as Kafka 3.9 ships it. What is told of each partition (state
 * changes, fetchers that move) is told from warnings up: when a broker dies that is a thousand lines in the second in which
 * everybody waits for new leaders, each through a pipe and the engine. The controller still says what it does.
 */
export function renderKafkaLog4j(): string {
  return `# Rendered. To the console only: the container engine keeps the log and rotates it.
log4j.rootLogger=INFO, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n
log4j.logger.kafka.request.logger=WARN
log4j.logger.kafka.network.RequestChannel$=WARN
log4j.logger.kafka.log.LogCleaner=WARN
log4j.logger.org.apache.zookeeper=WARN
log4j.logger.state.change.logger=WARN
log4j.logger.kafka.server.ReplicaFetcherThread=WARN
`;
}
