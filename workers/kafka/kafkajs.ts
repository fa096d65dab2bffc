/** The Kafka port over kafkajs 2.2.4. The only door to kafkajs for everything outside of this folder. */
import { MusterError, NotNowError } from '../base/errors.ts';
import './kafkajs-patches.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin as AdminClient, type Kafka as KafkaJs } from 'kafkajs';
import type { Registry } from 'prom-client';
import type { Logger } from 'winston';
import { openCluster } from './cluster.ts';
import { startConsumer } from './consumer.ts';
import type { FetchedRecord } from './fetched-records.ts';
import { followTopic } from './follow.ts';
import type {
  Admin,
  ClusterReader,
  Follower,
  IncomingRecord,
  Kafka,
  PartitionConsumer,
  Producer,
} from './kafka.ts';
import { kafkaMetrics, noMetrics } from './kafka-metrics.ts';
import type { Broker } from './kafkajs-internals.ts';
import { openMemberships } from './membership.ts';
import { startProducer } from './producer.ts';
import { snappyCodec } from './snappy.ts';
import { openWire, type Wire } from './wire.ts';

const { CompressionCodecs, CompressionTypes, logLevel } = kafkajs;

export interface KafkaOptions {
  readonly brokers: readonly string[];
  /** Names the process in broker logs, quotas and traces. */
  readonly clientId: string;
  readonly log: Logger;
  /** Unset: no metrics. */
  readonly metrics?: Registry;
  /** A directory of this process alone that survives its crash (see membership.ts). Unset: memberships are not noted. */
  readonly memberDirectory?: string | undefined;
}

/** Connecting to a living broker takes milliseconds; a dead address must not hold a retry up. */
const connectionTimeoutMs = 1_000;
const requestTimeoutMs = 5_000;
/** A produce that hangs longer is sent again, possibly to another leader; its sequence keeps it from doubling. */
const produceTimeoutMs = 3_000;
/** A follower leaves a broker that is silent for so long: it waits for its fetches 200 ms at most. */
const followTimeoutMs = 1_500;
/** A monitor asks again soon; one broker that hangs must not hold its view of the others up. */
const monitorTimeoutMs = 3_000;
/** kafkajs' defaults wait up to 30 s a retry, and others again under NODE_ENV=test. */
const retry = { initialRetryTime: 50, maxRetryTime: 300, multiplier: 2, factor: 0.2, retries: 12 };

CompressionCodecs[CompressionTypes.Snappy] = () => snappyCodec;

/** Connects lazily: nothing happens on the network before the first use. */
export function connectKafka(options: KafkaOptions): Kafka {
  const { clientId } = options;
  const log = options.log.child({ component: 'kafka' });
  const metrics = options.metrics ? kafkaMetrics(options.metrics) : noMetrics;
  const producers = new Set<Producer>();
  const consumers = new Set<PartitionConsumer>();
  const clusters = new Set<ClusterReader>();
  const followers = new Set<Follower>();

  const client = (): KafkaJs =>
    new kafkajs.Kafka({
      brokers: [...options.brokers],
      clientId,
      connectionTimeout: connectionTimeoutMs,
      requestTimeout: requestTimeoutMs,
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
  const reading = wire(requestTimeoutMs);
  const { admin, closeAdmin } = adminOver(root, reading);
  const memberships = openMemberships(options.memberDirectory, reading, log);

  return {
    admin,
    async producer(name, settings = {}) {
      const producer = startProducer({
        wire: wire(produceTimeoutMs),
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
        { client: client(), admin, memberships, clientId, log, metrics },
        consumerOptions,
      );
      consumers.add(consumer);
      return consumer;
    },
    cluster() {
      const cluster = openCluster(wire(monitorTimeoutMs));
      clusters.add(cluster);
      return cluster;
    },
    read: (topic, partition, from, to) => readPartition(reading, topic, partition, from, to),
    follow(followOptions) {
      const follower = followTopic(wire(followTimeoutMs), log, followOptions);
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

function adminOver(root: KafkaJs, wire: Wire): { admin: Admin; closeAdmin(): Promise<void> } {
  let connected: Promise<AdminClient> | undefined;

  async function connect(): Promise<AdminClient> {
    const admin = root.admin();
    await admin.connect();
    return admin;
  }

  async function closeAdmin(): Promise<void> {
    const closing = connected;
    connected = undefined;
    await Promise.race([closing?.then((admin) => admin.disconnect()), sleep(1_000)]).catch(() => undefined);
  }

  /** kafkajs gives up at the first connection error of most admin calls; a failover lasts some seconds. */
  async function withAdmin<T>(work: (admin: AdminClient) => Promise<T>): Promise<T> {
    const giveUpAt = Date.now() + 10_000;
    for (;;) {
      try {
        connected ??= connect();
        return await work(await connected);
      } catch (error) {
        if (Date.now() > giveUpAt || isFinal(error)) throw unreachable(error);
        void closeAdmin();
        await sleep(200);
      }
    }
  }

  let lastOffsets: Promise<unknown> = Promise.resolve();

  /**
   * kafkajs' admin keeps one list of topics for all its offset requests; two that add a topic at the same time can find
   * it without partitions and fail with a TypeError. So they take turns.
   */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = lastOffsets.then(work);
    lastOffsets = result.catch(() => undefined);
    return result;
  }

  const admin: Admin = {
    async topicNames() {
      return withAdmin((client) => client.listTopics());
    },
    async partitionCounts(topics) {
      return withAdmin(async (client) => {
        const there = new Set(await client.listTopics());
        const wanted = topics.filter((topic) => there.has(topic));
        if (wanted.length === 0) return new Map();
        const { topics: found } = await client.fetchTopicMetadata({ topics: wanted });
        return new Map(found.map(({ name, partitions }) => [name, partitions.length]));
      });
    },
    async offsets(topic) {
      const found = await inTurn(() => withAdmin((client) => knowing(client.fetchTopicOffsets(topic))));
      return found
        .map(({ partition, low, high }) => ({ partition, low: Number(low), high: Number(high) }))
        .sort((a, b) => a.partition - b.partition);
    },
    async offsetsAt(topic, timestampMs) {
      const found = await inTurn(() =>
        withAdmin((client) => knowing(client.fetchTopicOffsetsByTimestamp(topic, timestampMs))),
      );
      return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]));
    },
    async committed(groupId, topic) {
      return inTurn(() =>
        withAdmin(async (client) => {
          const [answer] = await client.fetchOffsets({ groupId, topics: [topic] });
          return new Map(
            (answer?.partitions ?? []).map(({ partition, offset }) => [
              partition,
              Number(offset) < 0 ? undefined : Number(offset),
            ]),
          );
        }),
      );
    },
    async setCommitted(groupId, topic, offsets) {
      const any = (await wire.anyBroker()) as unknown as CoordinatorRequests;
      await wire.metadata([topic]);
      const { coordinator } = await any.findGroupCoordinator({ groupId, coordinatorType: 0 });
      const broker = (await wire.broker(coordinator.nodeId)) as unknown as CoordinatorRequests;
      // Generation -1 and no member: a commit from outside, which the broker takes while the group has no members.
      await broker.offsetCommit({
        groupId,
        memberId: '',
        groupGenerationId: -1,
        topics: [
          {
            topic,
            partitions: [...offsets].map(([partition, offset]) => ({ partition, offset: String(offset) })),
          },
        ],
      });
    },
  };
  return { admin, closeAdmin };
}

interface CoordinatorRequests {
  findGroupCoordinator(arguments_: { groupId: string; coordinatorType: number }): Promise<{
    readonly coordinator: { readonly nodeId: number };
  }>;
  offsetCommit(arguments_: unknown): Promise<unknown>;
}

interface FetchRequests {
  fetch(arguments_: unknown): Promise<{
    readonly responses: readonly {
      readonly partitions: readonly {
        readonly messages: readonly FetchedRecord[];
      }[];
    }[];
  }>;
}

/** Reads offsets [from, to) of a partition without a group. Ends at `to`, or at the end of the log when that is sooner. */
async function* readPartition(
  wire: Wire,
  topic: string,
  partition: number,
  from: number,
  to: number,
): AsyncGenerator<readonly IncomingRecord[]> {
  let emptyFetches = 0;
  for (let position = from; position < to && emptyFetches < 10; ) {
    const metadata = await wire.metadata([topic]);
    const leader = metadata.topicMetadata[0]?.partitionMetadata.find(
      (p) => p.partitionId === partition,
    )?.leader;
    if (leader === undefined || leader < 0) {
      emptyFetches++;
      await sleep(300);
      continue;
    }
    const broker: Broker = await wire.broker(leader);
    const { responses } = await (broker as unknown as FetchRequests).fetch({
      replicaId: -1,
      isolationLevel: 1,
      maxWaitTime: 100,
      minBytes: 1,
      maxBytes: 4 * 1024 * 1024,
      topics: [{ topic, partitions: [{ partition, fetchOffset: String(position), maxBytes: 1024 * 1024 }] }],
    });
    const messages = responses[0]?.partitions[0]?.messages ?? [];
    const records = messages.filter(
      ({ offset, isControlRecord }) => offset >= position && offset < to && !isControlRecord,
    );
    for (const record of records) {
      record.topic = topic;
      record.partition = partition;
    }
    const last = messages.at(-1);
    if (last === undefined) emptyFetches++;
    else position = Math.max(position, last.offset + 1);
    if (records.length > 0) yield records;
  }
}

/**
 * While the broker that answers does not know a topic's partitions (new topic, broker just started) kafkajs fails with
 * a TypeError. That is "not yet", to be asked again, and no bug of ours that would end the process.
 */
function knowing<T>(offsets: Promise<T>): Promise<T> {
  return offsets.catch((error: unknown) => {
    throw error instanceof TypeError ? new Error('partitions are not known yet', { cause: error }) : error;
  });
}

function isFinal(error: unknown): boolean {
  return (
    error instanceof TypeError ||
    ['INVALID_TOPIC_EXCEPTION', 'TOPIC_AUTHORIZATION_FAILED', 'GROUP_AUTHORIZATION_FAILED'].includes(
      String((error as { type?: string }).type),
    )
  );
}

function unreachable(error: unknown): Error {
  if (error instanceof TypeError || error instanceof MusterError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new NotNowError('MUSTER_KAFKA_UNREACHABLE', `Kafka did not answer: ${message}`, { cause: error });
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
