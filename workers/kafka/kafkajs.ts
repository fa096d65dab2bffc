/** The Kafka port over kafkajs 2.2.4. The only door to kafkajs for everything outside of this folder. */
import { connectionTimeoutMs, producerProfile, retryMs, silentAfterMs } from '../../catalog/clients.ts';
import './kafkajs-patches.ts';
import kafkajs, { type Kafka as KafkaJs } from 'kafkajs';
import type { Registry } from 'prom-client';
import type { Logger } from 'winston';
import { adminOver } from './admin.ts';
import { openCluster } from './cluster.ts';
import { startConsumer } from './consumer.ts';
import { followTopic } from './follow.ts';
import type { ClusterReader, Follower, Kafka, PartitionConsumer, Producer } from './kafka.ts';
import { kafkaMetrics } from './kafka-metrics.ts';
import { openMemberships } from './membership.ts';
import { startProducer } from './producer.ts';
import { readPartition } from './read.ts';
import { type Patience, patience } from './watchdog.ts';
import { openWire, type Wire } from './wire.ts';

const { logLevel } = kafkajs;

export interface KafkaOptions {
  readonly brokers: readonly string[];
  /** Names the process in broker logs, quotas and traces. */
  readonly clientId: string;
  readonly log: Logger;
  /** Unset: no metrics. */
  readonly metrics?: Registry;
  /** A directory of this process alone that survives its crash (see membership.ts). Unset: memberships are not noted. */
  readonly memberDirectory?: string | undefined;
  /** Of the watchdogs of consumers. */
  readonly patience?: Patience;
}

/** kafkajs' defaults wait up to 30 s a retry, and others again under NODE_ENV=test. */
const retry = {
  initialRetryTime: retryMs.first,
  maxRetryTime: retryMs.longest,
  multiplier: 2,
  factor: 0.2,
  retries: 12,
};

/** Connects lazily: nothing happens on the network before the first use. */
export function connectKafka(options: KafkaOptions): Kafka {
  const { clientId } = options;
  const log = options.log.child({ component: 'kafka' });
  const metrics = kafkaMetrics(options.metrics);
  const producers = new Set<Producer>();
  const consumers = new Set<PartitionConsumer>();
  const clusters = new Set<ClusterReader>();
  const followers = new Set<Follower>();

  const client = (): KafkaJs =>
    new kafkajs.Kafka({
      brokers: [...options.brokers],
      clientId,
      connectionTimeout: connectionTimeoutMs,
      requestTimeout: silentAfterMs.request,
      enforceRequestTimeout: true,
      retry,
      logLevel: logLevel.WARN,
      logCreator: () => (entry) => logKafkaJs(log, entry),
    });
  const root = client();
  const wire = (requestMs: number): Wire =>
    openWire({
      brokers: options.brokers,
      clientId,
      logger: root.logger(),
      connectionTimeoutMs,
      requestTimeoutMs: requestMs,
    });
  const reading = wire(silentAfterMs.request);
  const { admin, closeAdmin } = adminOver(root, reading);
  const memberships = openMemberships(options.memberDirectory, reading, log);

  return {
    admin,
    async producer(name, settings = {}) {
      const producer = startProducer({
        wire: wire(producerProfile.requestTimeoutMs),
        clientId: `${clientId}-${name}`,
        log,
        metrics,
        ...settings,
      });
      producers.add(producer);
      return producer;
    },
    async consumePartitions(consumerOptions) {
      const consumer = await startConsumer(
        {
          client: client(),
          admin,
          memberships,
          clientId,
          log,
          metrics,
          patience: options.patience ?? patience,
        },
        consumerOptions,
      );
      consumers.add(consumer);
      return consumer;
    },
    cluster() {
      const cluster = openCluster(wire(silentAfterMs.monitoring));
      clusters.add(cluster);
      return cluster;
    },
    read: (topic, partition, from, to) => readPartition(reading, topic, partition, from, to),
    follow(followOptions) {
      const follower = followTopic(wire(silentAfterMs.following), log, followOptions);
      followers.add(follower);
      return follower;
    },
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.stop()));
      await Promise.all([...followers].map((follower) => follower.stop()));
      await Promise.all([...producers].map((producer) => producer.close()));
      await Promise.all([...clusters].map((cluster) => cluster.close()));
      await closeAdmin();
      await reading.close();
    },
  };
}

const lastLoggedMs = new Map<string, number>();
const sameLineEveryMs = 5_000;

/**
 * kafkajs' log lines, one level down: what it calls an error is most often a retry that will succeed. During a failover
 * it says the same many times a second: once in five seconds is enough.
 */
function logKafkaJs(
  log: Logger,
  entry: {
    readonly namespace: string;
    readonly level: number;
    readonly log: Readonly<Record<string, unknown>>;
  },
): void {
  const { message, broker, groupId, error, retryCount } = entry.log;
  const line = `${String(message)} ${String(broker)}`;
  if (Date.now() - (lastLoggedMs.get(line) ?? 0) < sameLineEveryMs) return;
  if (lastLoggedMs.size > 1_000) lastLoggedMs.clear();
  lastLoggedMs.set(line, Date.now());
  const level = entry.level === logLevel.ERROR ? 'warn' : 'debug';
  log.log(level, `kafkajs ${entry.namespace}: ${String(message)}`, {
    ...(broker === undefined ? {} : { broker }),
    ...(groupId === undefined ? {} : { group: groupId }),
    ...(typeof error === 'string' ? { error } : {}),
    ...(retryCount === undefined ? {} : { retryCount }),
  });
}
