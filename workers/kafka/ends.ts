/** Where topics end. kafkajs' admin asks who leads, for the end and for the beginning, of each topic by itself. */
import type { Ends, TopicPartition } from './kafka.ts';
import { errorFromCode, type MetadataResponse, noReplica } from './kafkajs-internals.ts';
import type { Wire } from './wire.ts';

/** Up to the high watermark: transactions that are still open count. */
const readUncommitted = 0;
const latest = '-1';
const unknownTopic = 3;

/** Rejects unless all partitions have a leader, and all leaders answer. */
export async function endsOf(
  wire: Pick<Wire, 'metadata' | 'broker' | 'drop'>,
  topics: readonly string[],
): Promise<Ends> {
  const ends = new Map(topics.map((topic) => [topic, new Map<number, number>()]));
  if (topics.length === 0) return ends;
  const { topicMetadata } = await wire.metadata(topics, { sparing: true });
  const led = Map.groupBy(
    topics.flatMap((topic) => partitionsOf(topic, topicMetadata)),
    ({ leader }) => leader,
  );
  await Promise.all(
    [...led].map(async ([leader, partitions]) => {
      for (const { topic, partition, end } of await askedOf(wire, leader, partitions))
        ends.get(topic)?.set(partition, end);
    }),
  );
  return ends;
}

function partitionsOf(topic: string, found: MetadataResponse['topicMetadata']) {
  const known = found.find((one) => one.topic === topic);
  const code = known === undefined ? unknownTopic : known.topicErrorCode;
  if (code !== 0) throw errorFromCode(code);
  return known!.partitionMetadata.map(({ partitionId: partition, leader }) => {
    if (leader < 0) throw new Error(`${topic}-${partition} has no leader`);
    return { topic, partition, leader };
  });
}

async function askedOf(
  wire: Pick<Wire, 'broker' | 'drop'>,
  leader: number,
  partitions: readonly TopicPartition[],
): Promise<readonly (TopicPartition & { readonly end: number })[]> {
  const broker = await wire.broker(leader);
  try {
    const { responses } = await broker.listOffsets({
      replicaId: noReplica,
      isolationLevel: readUncommitted,
      topics: [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, own]) => ({
        topic,
        partitions: own.map(({ partition }) => ({ partition, timestamp: latest })),
      })),
    });
    return responses.flatMap(({ topic, partitions: found }) =>
      found.map(({ partition, offset }) => ({ topic, partition, end: Number(offset) })),
    );
  } catch (error) {
    // The connection may be dead although the broker is not.
    if ((error as Error).name === 'KafkaJSRequestTimeoutError') await wire.drop(leader);
    throw error;
  }
}
