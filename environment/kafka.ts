/** Kafka as the command line sees it: through the brokers' published ports, without log noise. */

import winston from 'winston';
import type { Environment } from '../catalog/environments.ts';
import { type ConsumerGroup, groups } from '../catalog/groups.ts';
import { allTopics, topics } from '../catalog/topics.ts';
import { brokersOutside } from '../stacks/config/index.ts';
import { NotNowError } from '../workers/base/errors.ts';
import type { Kafka } from '../workers/kafka/kafka.ts';
import { connectKafka } from '../workers/kafka/kafkajs.ts';
import { openWire } from '../workers/kafka/wire.ts';

export const silentLog = winston.createLogger({ silent: true });

/** A Kafka client for the environment; nothing happens before its first use. Close it. */
export function kafkaOf(environment: Environment): Kafka {
  return connectKafka({
    brokers: brokersOutside(environment).split(','),
    clientId: 'muster-cli',
    log: silentLog,
  });
}

export interface ClusterState {
  readonly brokers: readonly number[];
  readonly expectedBrokers: number;
  readonly controller: number | undefined;
  readonly topics: number;
  readonly missingTopics: readonly string[];
  readonly partitions: number;
  readonly underReplicated: number;
  readonly offline: number;
}

/** More of the brokers' answer than the producer needs. */
interface FullMetadata {
  readonly brokers: readonly { readonly nodeId: number }[];
  readonly controllerId: number;
  readonly topicMetadata: readonly {
    readonly topicErrorCode: number;
    readonly topic: string;
    readonly partitionMetadata: readonly {
      readonly leader: number;
      readonly replicas: readonly number[];
      readonly isr: readonly number[];
    }[];
  }[];
}

const unknownTopic = 3;

const quiet = {
  namespace: () => quiet,
  debug() {},
  info() {},
  warn() {},
  error() {},
};

/** Brokers, controller and replication of the catalog's topics, as any living broker tells it. Throws MUSTER_KAFKA_DOWN. */
export async function clusterState(environment: Environment): Promise<ClusterState> {
  const wire = openWire({
    brokers: brokersOutside(environment).split(','),
    clientId: 'muster-cli',
    logger: quiet,
    connectionTimeoutMs: 2_000,
    requestTimeoutMs: 4_000,
  });
  try {
    const names = allTopics.map(({ name }) => name);
    const answer = (await wire.metadata(names)) as unknown as FullMetadata;
    const { brokers, controllerId, topicMetadata } = answer;
    const found = topicMetadata.filter(({ topicErrorCode }) => topicErrorCode !== unknownTopic);
    const partitions = found.flatMap(({ partitionMetadata }) => partitionMetadata);
    return {
      brokers: brokers.map(({ nodeId }) => nodeId).sort((a, b) => a - b),
      expectedBrokers: environment.kafka.nodes.length,
      controller: controllerId < 0 ? undefined : controllerId,
      topics: found.length,
      missingTopics: names.filter((name) => !found.some(({ topic }) => topic === name)),
      partitions: partitions.length,
      underReplicated: partitions.filter(({ isr, replicas }) => isr.length < replicas.length).length,
      offline: partitions.filter(({ leader }) => leader < 0).length,
    };
  } catch (error) {
    const code = (error as { code?: unknown }).code ?? (error as Error).name;
    throw new NotNowError(
      'MUSTER_KAFKA_DOWN',
      `No broker of environment ${environment.name} answers at ${brokersOutside(environment)} (${String(code)}).`,
      { cause: error },
    );
  } finally {
    await wire.close();
  }
}

export interface GroupLag {
  readonly group: string;
  /** Records behind, over the group's topics; undefined when it never committed. */
  readonly records: number | undefined;
}

/** How far a group is behind the ends of its topics. */
export async function lagOf(kafka: Kafka, group: ConsumerGroup = groups.promotionJoin): Promise<GroupLag> {
  let records: number | undefined;
  for (const topic of group.topics) {
    const [ends, committed] = await Promise.all([
      kafka.admin.offsets(topic.name),
      kafka.admin.committed(group.id, topic.name),
    ]);
    for (const { partition, low, high } of ends) {
      const at = committed.get(partition);
      if (at !== undefined) records = (records ?? 0) + Math.max(0, high - Math.max(low, at));
    }
  }
  return { group: group.id, records };
}

/** Sum of the end offsets of a topic: its growth is what flows. */
export async function endOf(kafka: Kafka, topic: string): Promise<number> {
  return (await kafka.admin.offsets(topic)).reduce((sum, { high }) => sum + high, 0);
}

/** Messages a second on the topics people ask about, measured over `overMs`. */
export async function flowOf(kafka: Kafka, overMs: number): Promise<ReadonlyMap<string, number>> {
  const watched = [topics.purchase, topics.promoBehavior, topics.purchaseEnriched, topics.promotion];
  const sample = () => Promise.all(watched.map(({ name }) => endOf(kafka, name)));
  const startedAt = performance.now();
  const before = await sample();
  await new Promise((resolve) => setTimeout(resolve, overMs));
  const after = await sample();
  const seconds = (performance.now() - startedAt) / 1000;
  return new Map(watched.map(({ name }, index) => [name, (after[index]! - before[index]!) / seconds]));
}
