/** What the topic job may do to a cluster: look, create, raise partitions, alter settings. Nothing here deletes. */
import { untilReachable } from './reachable.ts';
import './kafkajs-patches.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';

export interface ActualTopic {
  readonly name: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  /** Replicas of each partition, preferred leader first. */
  readonly assignment: readonly (readonly number[])[];
  /** Settings made on the topic itself; defaults and broker settings are not in it. */
  readonly config: Readonly<Record<string, string>>;
}

export interface NewTopic {
  readonly name: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  /** Replicas of each partition, preferred leader first; unset: the controller chooses. */
  readonly assignment?: readonly (readonly number[])[];
  readonly config: Readonly<Record<string, string>>;
}

export interface TopicAdmin {
  brokerCount(): Promise<number>;
  /** All topics but Kafka's own. */
  describe(): Promise<readonly ActualTopic[]>;
  create(topics: readonly NewTopic[]): Promise<void>;
  raisePartitions(name: string, partitions: number): Promise<void>;
  /** Replaces all of the topic's settings: what is not given falls back to its default. */
  replaceConfig(name: string, config: Readonly<Record<string, string>>): Promise<void>;
  close(): Promise<void>;
}

const topicResource = 2;
const sourceIsTopic = 1;

/** Connects, trying for `waitMs`: a job that starts beside the brokers waits for them. MUSTER_KAFKA_UNREACHABLE after that. */
export async function openTopicAdmin(options: {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly waitMs?: number;
}): Promise<TopicAdmin> {
  const admin = new kafkajs.Kafka({
    brokers: [...options.brokers],
    clientId: options.clientId,
    connectionTimeout: 1_000,
    requestTimeout: 15_000,
    retry: { initialRetryTime: 100, maxRetryTime: 500, multiplier: 2, factor: 0.2, retries: 20 },
    logLevel: kafkajs.logLevel.NOTHING,
  }).admin();
  await untilReachable(options.brokers, () => admin.connect(), options.waitMs);
  return {
    async brokerCount() {
      return (await admin.describeCluster()).brokers.length;
    },
    async describe() {
      // Brokers learn of a topic that is created or deleted meanwhile one after the other: one lists what another has not.
      for (const tryUntil = Date.now() + 15_000; ; await sleep(200)) {
        try {
          return await describeAll(admin);
        } catch (error) {
          if (Date.now() > tryUntil || (error as { type?: string }).type !== 'UNKNOWN_TOPIC_OR_PARTITION')
            throw error;
        }
      }
    },
    async create(topics) {
      if (topics.length === 0) return;
      await admin.createTopics({
        waitForLeaders: true,
        timeout: 15_000,
        topics: topics.map(({ name, partitions, replicationFactor, assignment, config }) => ({
          topic: name,
          // With an assignment both numbers follow from it, and Kafka wants them unset.
          numPartitions: assignment === undefined ? partitions : -1,
          replicationFactor: assignment === undefined ? replicationFactor : -1,
          ...(assignment === undefined
            ? {}
            : {
                replicaAssignment: assignment.map((replicas, partition) => ({
                  partition,
                  replicas: [...replicas],
                })),
              }),
          configEntries: entries(config),
        })),
      });
    },
    async raisePartitions(name, partitions) {
      await admin.createPartitions({
        topicPartitions: [{ topic: name, count: partitions }],
        timeout: 15_000,
      });
    },
    async replaceConfig(name, config) {
      await admin.alterConfigs({
        validateOnly: false,
        resources: [{ type: topicResource, name, configEntries: entries(config) }],
      });
    },
    async close() {
      await admin.disconnect();
    },
  };
}

async function describeAll(admin: kafkajs.Admin): Promise<readonly ActualTopic[]> {
  const names = (await admin.listTopics()).filter((name) => !name.startsWith('__')).sort();
  if (names.length === 0) return [];
  const { topics } = await admin.fetchTopicMetadata({ topics: names });
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: names.map((name) => ({ type: topicResource, name })),
  });
  const configs = new Map(
    resources.map((resource) => [
      resource.resourceName,
      Object.fromEntries(
        resource.configEntries
          .filter((entry) => Number(entry.configSource) === sourceIsTopic)
          .map((entry) => [entry.configName, entry.configValue]),
      ),
    ]),
  );
  return topics
    .map(({ name, partitions }) => ({
      name,
      partitions: partitions.length,
      replicationFactor: Math.max(0, ...partitions.map(({ replicas }) => replicas.length)),
      assignment: [...partitions]
        .sort((a, b) => a.partitionId - b.partitionId)
        .map(({ replicas }) => replicas),
      config: configs.get(name) ?? {},
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function entries(config: Readonly<Record<string, string>>): { name: string; value: string }[] {
  return Object.entries(config).map(([name, value]) => ({ name, value }));
}
