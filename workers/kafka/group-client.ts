/** kafkajs' side of a consumer: joining its group, fetching, and where the fetching stands. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka as KafkaJs } from 'kafkajs';
import type { Logger } from 'winston';
import { consumerProfile } from '../../catalog/clients.ts';
import { MusterError } from '../base/errors.ts';
import { type Holdings, slotAssigner } from './assigner.ts';
import { followCoordinator } from './coordinator.ts';
import type { Admin, PartitionConsumerOptions, StartOffsets, TopicPartition } from './kafka.ts';

const { sessionTimeoutMs, heartbeatIntervalMs, rebalanceTimeoutMs, maxWaitMs, fetchBytes } = consumerProfile;

export interface GroupClient {
  readonly kafkajs: ReturnType<KafkaJs['consumer']>;
  pause(list: readonly TopicPartition[]): void;
  resume(list: readonly TopicPartition[]): void;
  seek(to: StartOffsets[number]): void;
}

export function openGroupClient(
  client: KafkaJs,
  at: {
    readonly options: PartitionConsumerOptions;
    readonly log: Logger;
    readonly holdings: Holdings;
    /** Whether to join again after a crash. */
    restart(): boolean;
  },
): GroupClient {
  const { groupId, gatherMs } = at.options;
  const kafkajs = client.consumer({
    groupId,
    partitionAssigners: [
      slotAssigner({
        name: 'muster-slots',
        holdings: at.holdings,
        onCluster: (cluster) => followCoordinator({ cluster, groupId, log: at.log, sessionTimeoutMs }),
      }),
    ] as unknown as NonNullable<Parameters<KafkaJs['consumer']>[0]>['partitionAssigners'] & object,
    sessionTimeout: sessionTimeoutMs,
    heartbeatInterval: heartbeatIntervalMs,
    rebalanceTimeout: rebalanceTimeoutMs,
    maxWaitTimeInMs: gatherMs ?? maxWaitMs,
    minBytes: gatherMs === undefined ? 1 : 64 * 1024,
    maxBytesPerPartition: fetchBytes.partition,
    maxBytes: fetchBytes.request,
    metadataMaxAge: 60_000,
    allowAutoTopicCreation: false,
    retry: {
      initialRetryTime: 50,
      maxRetryTime: 300,
      multiplier: 2,
      factor: 0.2,
      retries: 25,
      restartOnFailure: async () => at.restart(),
    },
  });
  return {
    kafkajs,
    pause: (list) => unlessDown(() => kafkajs.pause(grouped(list))),
    resume: (list) => unlessDown(() => kafkajs.resume(grouped(list))),
    seek: ({ topic, partition, offset }) => kafkajs.seek({ topic, partition, offset: String(offset) }),
  };
}

/** A consumer that is stopping, or between a crash and its restart, has nothing to pause and begins with everything running. */
function unlessDown(work: () => void): void {
  try {
    work();
  } catch {
    // As said.
  }
}

/** Resolves to how many partitions the topics have. Rejects unless they are there, and fit together. */
export async function checkTopics(
  admin: Admin,
  { topics, coPartitioned }: PartitionConsumerOptions,
): Promise<number> {
  let counts = await admin.partitionCounts(topics);
  const missing = () => topics.filter((topic) => !counts.has(topic));
  // A topic made a moment ago is known to the controller first and to the broker that answers here a little later.
  for (const giveUpAt = Date.now() + 3_000; missing().length > 0 && Date.now() < giveUpAt; ) {
    await sleep(200);
    counts = await admin.partitionCounts(topics);
  }
  if (missing().length > 0) {
    throw new MusterError(
      'MUSTER_KAFKA_TOPIC_MISSING',
      `no such topic: ${missing().join(', ')}. Create it with ./muster topics apply.`,
    );
  }
  if (coPartitioned && new Set(counts.values()).size > 1) {
    throw new MusterError(
      'MUSTER_KAFKA_NOT_COPARTITIONED',
      `the topics of a join need equal partition counts: ${[...counts].map(([topic, count]) => `${topic} has ${count}`).join(', ')}`,
    );
  }
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

function grouped(list: readonly TopicPartition[]): { topic: string; partitions: number[] }[] {
  return [...Map.groupBy(list, ({ topic }) => topic)].map(([topic, entries]) => ({
    topic,
    partitions: entries.map(({ partition }) => partition),
  }));
}
