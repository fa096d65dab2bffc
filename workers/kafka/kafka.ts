/**
 * The Kafka port: everything that business code may know of Kafka. Implemented over kafkajs in kafkajs.ts and
 * friends; nothing outside workers/kafka imports kafkajs, so that it can be replaced.
 */

export type Bytes = Buffer;
export type Headers = Readonly<Record<string, Bytes | string>>;
export type HeaderValue = Bytes | string | null;
/** Headers as they may come from anybody: null values, and names that come more than once with their values in order. */
export type RawHeaders = Readonly<Record<string, HeaderValue | readonly HeaderValue[]>>;

export interface OutgoingRecord {
  readonly topic: string;
  readonly key: Bytes | string | null;
  readonly value: Bytes | string | null;
  readonly headers?: Headers;
  /** Unset: by murmur2 of the key, as Kafka's own default partitioner does. */
  readonly partition?: number;
}

/** A record passed on as it came, with whatever headers it has. */
export interface RawRecord extends Omit<OutgoingRecord, 'headers'> {
  readonly headers?: RawHeaders;
}

export interface Producer {
  /**
   * Resolves when every record is acked by all in-sync replicas. Calls are gathered for a few ms (linger) and
   * sent by one request in flight at a time. Rejects with MUSTER_KAFKA_SEND after the deadline; the records may then
   * still have been written (at least once).
   */
  send(records: readonly RawRecord[], options?: { readonly deadlineMs?: number }): Promise<void>;
  close(): Promise<void>;
}

export interface IncomingRecord {
  readonly topic: string;
  readonly partition: number;
  /** Offsets stay far below 2^53, so a number is exact. */
  readonly offset: number;
  /** Append time or create time, as the topic says; UTC ms. */
  readonly timestampMs: number;
  readonly key: Bytes | null;
  readonly value: Bytes | null;
  readonly headers: Readonly<Record<string, Bytes | string | readonly (Bytes | string)[] | undefined>>;
}

export interface Batch {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly IncomingRecord[];
  /** End offset of the partition when the batch was fetched. */
  readonly highWatermark: number;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** Where to begin on each newly assigned partition: an offset; unlisted: the committed one, else the earliest. */
export type StartOffsets = readonly (TopicPartition & { readonly offset: number })[];

/** A batch is wanted again when `until` has come: a record that is not due yet, a place that is not free. Must not reject. */
export interface Wait {
  readonly until: Promise<unknown>;
}

export interface PartitionConsumerOptions {
  readonly groupId: string;
  readonly topics: readonly string[];
  /** All topics have equal partition counts and one member gets partition i of each of them. */
  readonly coPartitioned?: boolean;
  /**
   * Records may wait this long at the broker for others to come with them; they go at once when left out. Each answer
   * to a fetch costs broker and reader as much as dozens of records do.
   */
  readonly gatherMs?: number;
  /**
   * Called with the whole assignment after each rebalance, before its first batch; state of lost partitions must be
   * dropped. Another one may come before an earlier call has answered: only the answer to the newest epoch counts. Asked
   * again while it rejects with "not now".
   */
  onAssigned?(assignment: readonly TopicPartition[], epoch: number): Promise<StartOffsets>;
  /**
   * Called for each fetched batch, serially per partition. Must not throw for the content of a record. Offsets are not
   * committed here: call commit() when the effects are durable. A returned promise holds back the partition's next fetch.
   *
   * Never waits long by itself: one that rejects with "not now" or resolves to a Wait is given the same batch again later,
   * and may wait as long as it takes. One that takes minutes, and commits nothing meanwhile, is taken for stuck.
   */
  onBatch(batch: Batch, epoch: number): Promise<Wait | undefined> | Promise<void> | void;
  /**
   * Reading goes on at this offset. What lies before it was handed over and its handler is done, or it holds nothing for
   * anybody: markers of transactions, and what they took back. The last record may lie far before the end of its partition.
   */
  onPassed?(to: TopicPartition & { readonly offset: number }): void;
  /** The consumer cannot go on (crash without restart, watchdog): the process should exit non-zero. */
  onFatal(error: Error): void;
}

export interface PartitionConsumer {
  /** The epoch of the present assignment; commits of an older one are dropped. */
  readonly epoch: number;
  /** Commits next offsets (last processed + 1), at most every few hundred ms; fenced by epoch. */
  commit(offsets: readonly (TopicPartition & { readonly offset: number })[], epoch: number): void;
  /** Writes pending commits out now. */
  flushCommits(): Promise<void>;
  pause(partitions: readonly TopicPartition[]): void;
  resume(partitions: readonly TopicPartition[]): void;
  seek(to: TopicPartition & { readonly offset: number }): void;
  /** Runs work that goes on when its batch was given back: it must end as a handler must. */
  watched<T>(what: string, work: () => Promise<T>): Promise<T>;
  /** Leaves the group after the running batches and a last commit. */
  stop(): Promise<void>;
}

export interface PartitionOffsets {
  readonly partition: number;
  readonly low: number;
  readonly high: number;
}

export type Ends = ReadonlyMap<string, ReadonlyMap<number, number>>;

export interface Admin {
  /** All topics of the cluster. */
  topicNames(): Promise<readonly string[]>;
  /** Topics that do not exist are left out. */
  partitionCounts(topics: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Log start and end offsets: several requests a topic. */
  offsets(topic: string): Promise<readonly PartitionOffsets[]>;
  /** End offsets by topic and partition, by one request to each leader: for those who ask again and again. */
  ends(topics: readonly string[]): Promise<Ends>;
  /** First offset whose timestamp is at or after `timestampMs`; the end offset when there is none. */
  offsetsAt(topic: string, timestampMs: number): Promise<ReadonlyMap<number, number>>;
  /** Committed next offsets of a group; undefined where it never committed. */
  committed(groupId: string, topic: string): Promise<ReadonlyMap<number, number | undefined>>;
  /** Commits next offsets for a group that has no members just now. */
  setCommitted(groupId: string, topic: string, offsets: ReadonlyMap<number, number>): Promise<void>;
}

export interface ClusterTopic {
  readonly name: string;
  /** Another one after the topic was deleted and created anew. */
  readonly id: string;
  readonly partitions: readonly {
    readonly partition: number;
    /** Broker id; -1 while there is none. */
    readonly leader: number;
    readonly replicas: readonly number[];
    readonly inSync: readonly number[];
  }[];
}

export interface GroupDescription {
  readonly id: string;
  readonly members: number;
  /** Partitions that a member has now, by topic; empty during a rebalance and for groups that are not consumers. */
  readonly assigned: ReadonlyMap<string, readonly number[]>;
}

/** What lies at an offset. `nextOffset`: everything before it was looked at. */
export interface FirstRecord extends TopicPartition {
  /** Where the reading began. */
  readonly from: number;
  readonly nextOffset: number;
  /** The first record at or after `from` that is no transaction marker; undefined: none before `nextOffset`. */
  readonly record: { readonly offset: number; readonly timestampMs: number } | undefined;
}

export interface Topology {
  readonly brokers: readonly number[];
  /** Undefined: there is none now. With KRaft it is any broker, which passes on what is for the controller. */
  readonly controller: number | undefined;
  readonly topics: readonly ClusterTopic[];
}

/**
 * The cluster as a monitor sees it: one request a call, to one broker, for as many topics, groups and partitions as are
 * named. Needs Kafka 3.0 or later (MUSTER_KAFKA_TOO_OLD). A call rejects when the broker does not answer within
 * seconds; what the broker refuses for single partitions or groups is left out of the answer.
 */
export interface ClusterReader {
  /** Topics with their leaders, and the brokers, from any broker that answers. */
  topology(): Promise<Topology>;
  /** Chosen settings of topics, from any broker. */
  topicSettings(
    topics: readonly string[],
    names: readonly string[],
  ): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>>;
  /** Groups that the broker coordinates. Rejects while it still loads some. */
  groups(broker: number): Promise<readonly string[]>;
  describeGroups(broker: number, ids: readonly string[]): Promise<readonly GroupDescription[]>;
  /**
   * All committed next offsets of groups that the broker coordinates. Resolves to the groups whose offsets were all
   * told: one that is missing there may have more.
   */
  committed(
    broker: number,
    ids: readonly string[],
    take: (group: string, topic: string, partition: number, offset: number) => void,
  ): Promise<ReadonlySet<string>>;
  /** Log start or end offsets of partitions that the broker leads. */
  offsets(
    broker: number,
    of: 'start' | 'end',
    partitions: ReadonlyMap<string, readonly number[]>,
  ): Promise<readonly (TopicPartition & { readonly offset: number })[]>;
  /**
   * The first record at or after an offset of each of the partitions, which the broker leads. Reads at most 2 MiB in
   * all and 64 KiB a partition, but a batch of any size for the first one named; partitions for which that did not do
   * are left out.
   */
  firstRecords(
    broker: number,
    positions: readonly (TopicPartition & { readonly offset: number })[],
  ): Promise<readonly FirstRecord[]>;
  /** Requests sent to each broker since the last call. */
  takeRequestCounts(): ReadonlyMap<number, number>;
  close(): Promise<void>;
}

/** Where a producer differs from the profile of catalog/clients.ts. */
export interface ProducerSettings {
  readonly lingerMs?: number;
  /** The same under load, which is when a request held many records. Default lingerMs. */
  readonly busyLingerMs?: number;
  readonly batchBytes?: number;
  readonly bufferBytes?: number;
  readonly deliveryTimeoutMs?: number;
}

export interface FollowOptions {
  readonly topic: string;
  readonly partitions: readonly number[];
  /** Called with what has come, in order of offsets per partition. Must not throw. */
  onRecords(partition: number, records: readonly IncomingRecord[]): void;
}

export interface Follower {
  /** Offset of the next record; undefined until the partition has been found: what is sent before may be passed over. */
  position(partition: number): number | undefined;
  stop(): Promise<void>;
}

export interface Kafka {
  producer(name: string, settings?: ProducerSettings): Promise<Producer>;
  consumePartitions(options: PartitionConsumerOptions): Promise<PartitionConsumer>;
  readonly admin: Admin;
  /** Connections of their own, for those who watch the cluster. */
  cluster(): ClusterReader;
  /** Reads offsets [from, to) of a partition without a group, in chunks; ends early at the end of the log. */
  read(topic: string, partition: number, from: number, to: number): AsyncIterable<readonly IncomingRecord[]>;
  /** Reads partitions from their present ends on, without a group, through any failure, until it is stopped. */
  follow(options: FollowOptions): Follower;
  close(): Promise<void>;
}

/** Murmur2 partition of a key, as Kafka's default partitioner (and kafkajs' DefaultPartitioner) compute it. */
export function partitionFor(key: Bytes, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}

/** Kafka's variant of MurmurHash2 (seed 0x9747b28c), 32 bits. Source: org.apache.kafka.common.utils.Utils.murmur2. */
export function murmur2(data: Bytes): number {
  const length = data.length;
  const m = 0x5bd1e995;
  let h = 0x9747b28c ^ length;
  const whole = length - (length % 4);
  for (let i = 0; i < whole; i += 4) {
    let k = data[i]! | (data[i + 1]! << 8) | (data[i + 2]! << 16) | (data[i + 3]! << 24);
    k = Math.imul(k, m);
    k ^= k >>> 24;
    k = Math.imul(k, m);
    h = Math.imul(h, m) ^ k;
  }
  const rest = length % 4;
  if (rest === 3) h ^= data[whole + 2]! << 16;
  if (rest >= 2) h ^= data[whole + 1]! << 8;
  if (rest >= 1) h = Math.imul(h ^ data[whole]!, m);
  h ^= h >>> 13;
  h = Math.imul(h, m);
  return h ^ (h >>> 15);
}
