/**
 * Configuration of the JMX exporter agent: a whitelist of MBeans and one rule per family, giving the lower-case names
 * of the Strimzi dashboards. Only whitelisted MBeans are read, and of them no attribute that no rule wants: each costs a
 * look at every rule, and a percentile sorts a thousand samples.
 */
import { stringify } from 'yaml';

interface Family {
  /** Object name as the agent's whitelist takes it. */
  readonly mbean: string;
  /** `domain<properties><>attribute` as a regular expression. */
  readonly pattern: string;
  readonly name: string;
  readonly type: 'GAUGE' | 'COUNTER' | 'UNTYPED';
  readonly labels?: Readonly<Record<string, string>>;
}

const requests = ['Produce', 'FetchConsumer', 'FetchFollower', 'Metadata', 'OffsetCommit', 'JoinGroup'];

/** A gauge MBean: kafka.x:type=T,name=N -> kafka_x_t_n. */
function gauges(domain: string, type: string, names: readonly string[]): Family[] {
  return names.map((name) => ({
    mbean: `${domain}:type=${type},name=${name}`,
    pattern: `${domain.replace('.', '\\.')}<type=${type}, name=${name}><>Value`,
    name: `${domain}_${type}_${name}`.replaceAll('.', '_').toLowerCase(),
    type: 'GAUGE',
  }));
}

/** A meter's count: kafka.x:type=T,name=NPerSec -> kafka_x_t_n_total. */
function counters(domain: string, type: string, names: readonly string[]): Family[] {
  return names.map((name) => ({
    mbean: `${domain}:type=${type},name=${name}PerSec`,
    pattern: `${domain.replace('.', '\\.')}<type=${type}, name=${name}PerSec><>Count`,
    name: `${`${domain}_${type}_${name}`.replaceAll('.', '_').toLowerCase()}_total`,
    type: 'COUNTER',
  }));
}

/** Per topic; the broker's own sum has no `topic` label, so a query says topic!="" or topic="". */
function topicCounters(names: readonly string[]): Family[] {
  return names.flatMap((name): Family[] => {
    const metric = `kafka_server_brokertopicmetrics_${name.toLowerCase()}_total`;
    return [
      {
        mbean: `kafka.server:type=BrokerTopicMetrics,name=${name}PerSec,*`,
        pattern: `kafka\\.server<type=BrokerTopicMetrics, name=${name}PerSec, topic=(.+)><>Count`,
        name: metric,
        type: 'COUNTER',
        labels: { topic: '$1' },
      },
      {
        mbean: `kafka.server:type=BrokerTopicMetrics,name=${name}PerSec`,
        pattern: `kafka\\.server<type=BrokerTopicMetrics, name=${name}PerSec><>Count`,
        name: metric,
        type: 'COUNTER',
      },
    ];
  });
}

const topicMeters = ['BytesIn', 'BytesOut', 'MessagesIn', 'FailedProduceRequests', 'FailedFetchRequests'];

/** The agent tries them in this order: those of most MBeans come first. */
const families: readonly Family[] = [
  {
    mbean: 'kafka.log:type=Log,name=Size,*',
    pattern: 'kafka\\.log<type=Log, name=Size, topic=(.+), partition=(.+)><>Value',
    name: 'kafka_log_log_size',
    type: 'GAUGE',
    labels: { topic: '$1', partition: '$2' },
  },
  ...topicCounters(topicMeters),
  ...gauges('kafka.server', 'ReplicaManager', [
    'UnderReplicatedPartitions',
    'UnderMinIsrPartitionCount',
    'OfflineReplicaCount',
    'LeaderCount',
    'PartitionCount',
  ]),
  ...counters('kafka.server', 'ReplicaManager', ['IsrShrinks', 'IsrExpands', 'FailedIsrUpdates']),
  ...gauges('kafka.controller', 'KafkaController', [
    'ActiveControllerCount',
    'OfflinePartitionsCount',
    'PreferredReplicaImbalanceCount',
    'GlobalTopicCount',
    'GlobalPartitionCount',
  ]),
  ...counters('kafka.controller', 'ControllerStats', ['UncleanLeaderElections']),
  ...requests.flatMap((request): Family[] => [
    {
      mbean: `kafka.network:type=RequestMetrics,name=TotalTimeMs,request=${request}`,
      pattern: `kafka\\.network<type=RequestMetrics, name=TotalTimeMs, request=(${request})><>(50|95|99|999)thPercentile`,
      name: 'kafka_network_requestmetrics_totaltimems',
      type: 'GAUGE',
      labels: { request: '$1', quantile: '0.$2' },
    },
    {
      mbean: `kafka.network:type=RequestMetrics,name=TotalTimeMs,request=${request}`,
      pattern: `kafka\\.network<type=RequestMetrics, name=TotalTimeMs, request=(${request})><>Count`,
      name: 'kafka_network_requestmetrics_totaltimems_count',
      // As a COUNTER the agent would call it ..._count_total.
      type: 'UNTYPED',
      labels: { request: '$1' },
    },
  ]),
  ...gauges('kafka.network', 'RequestChannel', ['RequestQueueSize', 'ResponseQueueSize']),
  {
    mbean: 'kafka.network:type=SocketServer,name=NetworkProcessorAvgIdlePercent',
    pattern: 'kafka\\.network<type=SocketServer, name=NetworkProcessorAvgIdlePercent><>Value',
    name: 'kafka_network_socketserver_networkprocessoravgidle_percent',
    type: 'GAUGE',
  },
  {
    mbean: 'kafka.server:type=KafkaRequestHandlerPool,name=RequestHandlerAvgIdlePercent',
    // A meter, not a gauge: its one-minute rate is the share of idle time.
    pattern: 'kafka\\.server<type=KafkaRequestHandlerPool, name=RequestHandlerAvgIdlePercent><>OneMinuteRate',
    name: 'kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent',
    type: 'GAUGE',
  },
  ...gauges('kafka.log', 'LogManager', ['OfflineLogDirectoryCount']),
  ...counters('kafka.server', 'SessionExpireListener', ['ZooKeeperExpires', 'ZooKeeperDisconnects']),
  {
    mbean: 'kafka.server:type=ReplicaFetcherManager,name=MaxLag,clientId=Replica',
    pattern: 'kafka\\.server<type=ReplicaFetcherManager, name=MaxLag, clientId=Replica><>Value',
    name: 'kafka_server_replicafetchermanager_maxlag',
    type: 'GAUGE',
  },
];

/** Names that the agent exports, beside the JVM's own. */
export const brokerMetricNames: readonly string[] = [...new Set(families.map((family) => family.name))];

/**
 * By canonical object name, what is not read of it. The agent knows whole names here, no patterns, and those of topics may not
 * stand in a file of a broker: a new topic would replace all brokers.
 */
const unread = Object.fromEntries(
  requests.map((request) => [
    `kafka.network:name=TotalTimeMs,request=${request},type=RequestMetrics`,
    ['Min', 'Max', 'Mean', 'StdDev', '75thPercentile', '98thPercentile'],
  ]),
);

/** The agent's YAML. */
export function renderJmxExporter(): string {
  return stringify(
    {
      lowercaseOutputName: true,
      lowercaseOutputLabelNames: true,
      includeObjectNames: [...new Set(families.map((family) => family.mbean))],
      excludeObjectNameAttributes: unread,
      rules: families.map(({ pattern, name, type, labels }) => ({
        pattern,
        name,
        type,
        ...(labels === undefined ? {} : { labels }),
        // Which rule a bean's attribute belongs to never changes: not 50 expressions a thousand times each scrape.
        cache: true,
      })),
    },
    { lineWidth: 0, aliasDuplicateObjects: false },
  );
}
