/** The cluster as a monitor sees it, over raw requests: kafkajs' admin asks topic by topic and group by group. */
import {
  readCommitted,
  readDescriptions,
  readFetched,
  readOffsets,
  readSettings,
  readTopology,
} from './cluster-answers.ts';
import { apis, type ClusterAsker, clusterAsker } from './cluster-ask.ts';
import { firstIn } from './first-record.ts';
import type { ClusterReader, FirstRecord, TopicPartition, Topology } from './kafka.ts';
import { errorFromCode } from './kafkajs-internals.ts';
import type { Wire } from './wire.ts';

const readBytes = { request: 2 * 1024 * 1024, partition: 64 * 1024 };
const topicResource = 2;
const timestamps = { start: -2, end: -1 } as const;

/** What a topology lacks of the state in which any one broker may go: counts, all 0 when it lacks nothing. */
export interface Shortcomings {
  readonly missingBrokers: number;
  /** Partitions with a copy that is not in sync. */
  readonly underReplicated: number;
  readonly leaderless: number;
  /** Partitions that another broker than the first of theirs leads, or none. */
  readonly ledElsewhere: number;
}

/** `brokers`: how many there should be. */
export function shortcomings(topology: Pick<Topology, 'brokers' | 'topics'>, brokers: number): Shortcomings {
  const partitions = topology.topics.flatMap((topic) => topic.partitions);
  return {
    missingBrokers: Math.max(0, brokers - topology.brokers.length),
    underReplicated: partitions.filter(({ inSync, replicas }) => inSync.length < replicas.length).length,
    leaderless: partitions.filter(({ leader }) => leader < 0).length,
    ledElsewhere: partitions.filter(({ leader, replicas }) => leader !== replicas[0]).length,
  };
}

/** All brokers are there, and each copy of each partition is in sync: nothing hurts if one broker goes now. */
export function isWhole({ missingBrokers, underReplicated, leaderless }: Shortcomings): boolean {
  return missingBrokers + underReplicated + leaderless === 0;
}

export function openCluster(wire: Wire): ClusterReader {
  const asking = clusterAsker(wire);
  return {
    async topology() {
      const answer = await asking.any(
        apis.metadata,
        // No topics given, not even an empty list: all of them.
        (body) =>
          body
            .array(null, () => {})
            .bool(false)
            .bool(false),
        readTopology,
      );
      await wire.learn(answer);
      const brokers = answer.brokers.map(({ nodeId }) => nodeId);
      asking.know(brokers);
      return { brokers, controller: answer.controller, topics: answer.topics };
    },

    async topicSettings(topics, names) {
      if (topics.length === 0) return new Map();
      return asking.any(
        apis.describeConfigs,
        (body) =>
          body
            .array(topics, (topic) =>
              body
                .int8(topicResource)
                .string(topic)
                .array(names, (name) => body.string(name))
                .end(),
            )
            .bool(false)
            .bool(false),
        readSettings,
      );
    },

    async groups(nodeId) {
      return asking.one(
        nodeId,
        apis.listGroups,
        (body) => body.array<never>([], () => {}),
        (body) => {
          body.int32();
          const error = body.int16();
          if (error !== 0) throw errorFromCode(error);
          return Array.from({ length: body.length() }, () => {
            const id = body.string();
            body.skipString();
            body.skipString();
            body.end();
            return id;
          });
        },
      );
    },

    async describeGroups(nodeId, ids) {
      if (ids.length === 0) return [];
      return asking.one(
        nodeId,
        apis.describeGroups,
        (body) => body.array(ids, (id) => body.string(id)).bool(false),
        readDescriptions,
      );
    },

    async committed(nodeId, ids, take) {
      if (ids.length === 0) return new Set();
      return asking.one(
        nodeId,
        apis.offsetFetch,
        (body) =>
          body
            // Null topics: all that the group has committed on.
            .array(ids, (id) =>
              body
                .string(id)
                .array(null, () => {})
                .end(),
            )
            // Offsets of transactions that are still open are not waited for.
            .bool(false),
        (body) => readCommitted(body, take),
      );
    },

    async offsets(nodeId, of, partitions) {
      if (partitions.size === 0) return [];
      return asking.one(
        nodeId,
        apis.listOffsets,
        (body) =>
          body
            .int32(-1)
            // Up to the high watermark, open transactions included.
            .int8(0)
            .array(partitions, ([topic, list]) =>
              body
                .string(topic)
                .array(list, (partition) => body.int32(partition).int32(-1).int64(timestamps[of]).end())
                .end(),
            ),
        readOffsets,
      );
    },

    firstRecords: (nodeId, positions) => firstRecords(asking, nodeId, positions),

    takeRequestCounts: () => asking.takeCounts(),

    close: () => wire.close(),
  };
}

async function firstRecords(
  asking: ClusterAsker,
  nodeId: number,
  positions: readonly (TopicPartition & { readonly offset: number })[],
): Promise<readonly FirstRecord[]> {
  if (positions.length === 0) return [];
  const from = new Map(positions.map((at) => [`${at.partition} ${at.topic}`, at.offset]));
  const answers = await asking.one(
    nodeId,
    apis.fetch,
    (body) =>
      body
        .int32(-1)
        // Neither wait nor ask for a least size: what is there is there.
        .int32(0)
        .int32(0)
        .int32(readBytes.request)
        .int8(0)
        // No fetch session.
        .int32(0)
        .int32(-1)
        .array(byTopic(positions), ([topic, list]) =>
          body
            .string(topic)
            .array(list, ({ partition, offset }) =>
              body
                .int32(partition)
                .int32(-1)
                .int64(offset)
                .int32(-1)
                .int64(-1)
                .int32(readBytes.partition)
                .end(),
            )
            .end(),
        )
        .array<never>([], () => {})
        .string(''),
    readFetched,
  );
  const found: FirstRecord[] = [];
  for (const { topic, partition, records } of answers) {
    const offset = from.get(`${partition} ${topic}`);
    const first = offset === undefined ? undefined : await firstIn(records, offset);
    if (offset !== undefined && first !== undefined) found.push({ topic, partition, from: offset, ...first });
  }
  return found;
}

/** In the order of their first mention: the first partition of a fetch has the right to a batch of any size. */
function byTopic<T extends TopicPartition>(positions: readonly T[]): Map<string, T[]> {
  const topics = new Map<string, T[]>();
  for (const position of positions) {
    const list = topics.get(position.topic);
    if (list === undefined) topics.set(position.topic, [position]);
    else list.push(position);
  }
  return topics;
}
