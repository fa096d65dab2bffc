/** The cluster as a monitor sees it, over raw requests: kafkajs' admin asks topic by topic and group by group. */
import { MusterError } from '../base/errors.ts';
import { decodeRecordSet } from './fetched-records.ts';
import { type FlexibleReader, type FlexibleWriter, flexibleRequest } from './flexible-format.ts';
import type { ClusterReader, ClusterTopic, FirstRecord, GroupDescription, TopicPartition } from './kafka.ts';
import { type Broker, errorFromCode } from './kafkajs-internals.ts';
import type { Wire } from './wire.ts';

/** Versions that every broker from 3.0 to 4.x speaks; all are flexible. */
const apis = {
  fetch: { key: 1, version: 12, name: 'Fetch' },
  listOffsets: { key: 2, version: 6, name: 'ListOffsets' },
  metadata: { key: 3, version: 11, name: 'Metadata' },
  offsetFetch: { key: 9, version: 8, name: 'OffsetFetch' },
  describeGroups: { key: 15, version: 5, name: 'DescribeGroups' },
  listGroups: { key: 16, version: 4, name: 'ListGroups' },
  describeConfigs: { key: 32, version: 4, name: 'DescribeConfigs' },
} as const;
type Api = (typeof apis)[keyof typeof apis];

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
export function shortcomings(
  topology: Awaited<ReturnType<ClusterReader['topology']>>,
  brokers: number,
): Shortcomings {
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
  let counts = new Map<number, number>();

  async function send<T>(
    broker: Broker,
    api: Api,
    write: (body: FlexibleWriter) => void,
    read: (body: FlexibleReader) => T,
  ): Promise<T> {
    const spoken = broker.versions?.[api.key];
    if (spoken === undefined || spoken.maxVersion < api.version) {
      throw new MusterError(
        'MUSTER_KAFKA_TOO_OLD',
        `the broker at ${broker.connectionPool.host}:${broker.connectionPool.port} speaks ${api.name} only up to version ${spoken?.maxVersion ?? 'none'}; ${api.version} is needed (Kafka 3.0 or later)`,
      );
    }
    if (broker.nodeId !== null) counts.set(broker.nodeId, (counts.get(broker.nodeId) ?? 0) + 1);
    return broker.connectionPool.send(flexibleRequest(api, write, read));
  }

  /** To one broker; connections to one that does not answer are dropped, so that the next call opens new ones. */
  async function ask<T>(
    nodeId: number,
    api: Api,
    write: (body: FlexibleWriter) => void,
    read: (body: FlexibleReader) => T,
  ): Promise<T> {
    const broker = await wire.broker(nodeId);
    try {
      return await send(broker, api, write, read);
    } catch (error) {
      if ((error as Error).name === 'KafkaJSRequestTimeoutError') await wire.drop(nodeId);
      throw error;
    }
  }

  let brokers: readonly number[] = [];
  let turn = 0;

  /** To any broker: the known ones take turns, and one that fails is skipped. */
  async function askAny<T>(
    api: Api,
    write: (body: FlexibleWriter) => void,
    read: (body: FlexibleReader) => T,
  ): Promise<T> {
    turn++;
    for (let i = 0; i < brokers.length; i++) {
      try {
        return await ask(brokers[(turn + i) % brokers.length]!, api, write, read);
      } catch (error) {
        if (error instanceof MusterError) throw error;
      }
    }
    return send(await wire.anyBroker(), api, write, read);
  }

  return {
    async topology() {
      const answer = await askAny(
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
      brokers = answer.brokers.map(({ nodeId }) => nodeId);
      return { brokers, topics: answer.topics };
    },

    async topicSettings(topics, names) {
      if (topics.length === 0) return new Map();
      return askAny(
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
      return ask(
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
      return ask(
        nodeId,
        apis.describeGroups,
        (body) => body.array(ids, (id) => body.string(id)).bool(false),
        readDescriptions,
      );
    },

    async committed(nodeId, ids, take) {
      if (ids.length === 0) return new Set();
      return ask(
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
      return ask(
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

    async firstRecords(nodeId, positions) {
      if (positions.length === 0) return [];
      const from = new Map(positions.map((at) => [`${at.partition} ${at.topic}`, at.offset]));
      const answers = await ask(
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
        if (offset !== undefined && first !== undefined)
          found.push({ topic, partition, from: offset, ...first });
      }
      return found;
    },

    takeRequestCounts() {
      const taken = counts;
      counts = new Map();
      return taken;
    },

    close: () => wire.close(),
  };
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

function readTopology(body: FlexibleReader) {
  body.int32();
  const brokers = Array.from({ length: body.length() }, () => {
    const broker = { nodeId: body.int32(), host: body.string(), port: body.int32() };
    body.skipString();
    body.end();
    return broker;
  });
  body.skipString();
  body.int32();
  const topics: ClusterTopic[] = [];
  for (let i = body.length(); i > 0; i--) {
    const error = body.int16();
    const name = body.string();
    const id = body.uuid();
    body.bool();
    const partitions = Array.from({ length: body.length() }, () => {
      body.int16();
      const partition = body.int32();
      const leader = body.int32();
      body.int32();
      const replicas = body.int32s();
      const inSync = body.int32s();
      body.int32s();
      body.end();
      return { partition, leader, replicas, inSync };
    });
    body.int32();
    body.end();
    // A topic may be refused to us, or be on its way out. One of its partitions may have no leader: that is no error.
    if (error === 0 || partitions.length > 0) topics.push({ name, id, partitions });
  }
  return { brokers, topics };
}

function readSettings(body: FlexibleReader): Map<string, Record<string, string>> {
  const settings = new Map<string, Record<string, string>>();
  body.int32();
  for (let i = body.length(); i > 0; i--) {
    const error = body.int16();
    body.skipString();
    body.int8();
    const topic = body.string();
    const values: Record<string, string> = {};
    for (let j = body.length(); j > 0; j--) {
      const name = body.string();
      values[name] = body.string();
      body.bool();
      body.int8();
      body.bool();
      for (let k = body.length(); k > 0; k--) {
        body.skipString();
        body.skipString();
        body.int8();
        body.end();
      }
      body.int8();
      body.skipString();
      body.end();
    }
    body.end();
    if (error === 0) settings.set(topic, values);
  }
  return settings;
}

function readDescriptions(body: FlexibleReader): GroupDescription[] {
  body.int32();
  const groups: GroupDescription[] = [];
  for (let i = body.length(); i > 0; i--) {
    const error = body.int16();
    const id = body.string();
    body.skipString();
    const protocolType = body.string();
    body.skipString();
    const assigned = new Map<string, number[]>();
    const members = body.length();
    for (let j = members; j > 0; j--) {
      body.skipString();
      body.skipString();
      body.skipString();
      body.skipString();
      body.bytes();
      const assignment = body.bytes();
      body.end();
      if (protocolType === 'consumer') addAssignment(assignment, assigned);
    }
    body.int32();
    body.end();
    if (error === 0) groups.push({ id, members, assigned });
  }
  return groups;
}

/** The consumer protocol's assignment, which has its own, older format. What does not read as one is left out. */
function addAssignment(bytes: Buffer, into: Map<string, number[]>): void {
  try {
    let at = 2;
    if (bytes.length < 6) return;
    const topics = bytes.readInt32BE(at);
    at += 4;
    for (let i = 0; i < topics; i++) {
      const length = bytes.readInt16BE(at);
      const topic = bytes.toString('utf8', at + 2, at + 2 + length);
      at += 2 + length;
      const count = bytes.readInt32BE(at);
      at += 4;
      const list = into.get(topic) ?? [];
      for (let j = 0; j < count; j++, at += 4) list.push(bytes.readInt32BE(at));
      into.set(topic, list);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
}

function readCommitted(
  body: FlexibleReader,
  take: (group: string, topic: string, partition: number, offset: number) => void,
): Set<string> {
  const complete = new Set<string>();
  body.int32();
  for (let i = body.length(); i > 0; i--) {
    const group = body.string();
    let whole = true;
    for (let j = body.length(); j > 0; j--) {
      const topic = body.string();
      for (let k = body.length(); k > 0; k--) {
        const partition = body.int32();
        const offset = body.int64();
        body.int32();
        body.skipString();
        const error = body.int16();
        body.end();
        if (error !== 0) whole = false;
        else if (offset >= 0) take(group, topic, partition, offset);
      }
      body.end();
    }
    const error = body.int16();
    body.end();
    if (whole && error === 0) complete.add(group);
  }
  return complete;
}

function readOffsets(body: FlexibleReader): (TopicPartition & { offset: number })[] {
  const offsets: (TopicPartition & { offset: number })[] = [];
  body.int32();
  for (let i = body.length(); i > 0; i--) {
    const topic = body.string();
    for (let j = body.length(); j > 0; j--) {
      const partition = body.int32();
      const error = body.int16();
      body.int64();
      const offset = body.int64();
      body.int32();
      body.end();
      if (error === 0 && offset >= 0) offsets.push({ topic, partition, offset });
    }
    body.end();
  }
  return offsets;
}

function readFetched(body: FlexibleReader): (TopicPartition & { readonly records: Buffer })[] {
  const fetched: (TopicPartition & { records: Buffer })[] = [];
  body.int32();
  const error = body.int16();
  if (error !== 0) throw errorFromCode(error);
  body.int32();
  for (let i = body.length(); i > 0; i--) {
    const topic = body.string();
    for (let j = body.length(); j > 0; j--) {
      const partition = body.int32();
      const partitionError = body.int16();
      body.int64();
      body.int64();
      body.int64();
      for (let k = body.length(); k > 0; k--) {
        body.int64();
        body.int64();
        body.end();
      }
      body.int32();
      const records = body.bytes();
      body.end();
      if (partitionError === 0 && records.length > 0) fetched.push({ topic, partition, records });
    }
    body.end();
  }
  return fetched;
}

const batchHeaderBytes = 61;

/**
 * The first record at or after `from` in a record set, looking into no more batches than it takes. Undefined when not
 * even one whole batch is there. Format: https://kafka.apache.org/documentation/#recordbatch
 */
export async function firstIn(
  set: Buffer,
  from: number,
): Promise<Pick<FirstRecord, 'nextOffset' | 'record'> | undefined> {
  let nextOffset: number | undefined;
  for (let at = 0; at + batchHeaderBytes <= set.length; ) {
    const end = at + 12 + set.readInt32BE(at + 8);
    if (end > set.length || set[at + 16] !== 2) break;
    const firstOffset = Number(set.readBigInt64BE(at));
    const lastOffset = firstOffset + set.readInt32BE(at + 23);
    const attributes = set.readInt16BE(at + 21);
    const control = (attributes & 0x20) !== 0;
    if (lastOffset >= from && !control) {
      const record = await firstInBatch(set.subarray(at, end), firstOffset, lastOffset, from);
      if (record !== undefined) return { nextOffset: record.offset, record };
    }
    nextOffset = Math.max(from, lastOffset + 1);
    at = end;
  }
  return nextOffset === undefined ? undefined : { nextOffset, record: undefined };
}

async function firstInBatch(batch: Buffer, firstOffset: number, lastOffset: number, from: number) {
  if (batch.readInt32BE(57) <= 0) return undefined;
  try {
    for (const { offset, timestampMs } of await decodeRecordSet(batch)) {
      if (offset >= from) return { offset, timestampMs };
    }
    return undefined;
  } catch {
    // Compressed with a codec that this process has not: the header knows the times of the first and the last record.
    const first = Number(batch.readBigInt64BE(27));
    const last = Number(batch.readBigInt64BE(35));
    const share = lastOffset > firstOffset ? Math.max(0, from - firstOffset) / (lastOffset - firstOffset) : 0;
    const appendTime = (batch.readInt16BE(21) & 0x08) !== 0;
    return {
      offset: Math.max(from, firstOffset),
      timestampMs: appendTime ? last : Math.round(first + (last - first) * share),
    };
  }
}
