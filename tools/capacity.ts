/**
 * How much disk, network and memory a broker needs, from the catalog's topics at their design load. Pure.
 *
 * A message is priced by writing one with the producer's own encoder, in a batch of its own and with bytes that do not
 * compress: at these rates a batch rarely holds more than one record. Sizes are decimal (1 GB = 10^9 bytes), like the
 * service contract's and like disks'.
 */
import { storageContract } from '../catalog/contract.ts';
import type { Environment } from '../catalog/environments.ts';
import type { ConsumerGroup } from '../catalog/groups.ts';
import { topics as catalogTopics, type Topic, topicConfig } from '../catalog/topics.ts';
import { appendRecord, openBatch, sealBatch } from '../workers/kafka/record-batch.ts';
import { eventRecord } from '../workers/kafka/records.ts';

const dayMs = 86_400_000;
const mebibyte = 1_048_576;

/** Of each 4,096 bytes of log: 8 bytes of offset index and 12 of time index (log.index.interval.bytes). */
const indexShare = (8 + 12) / 4_096;
/** A partition of __consumer_offsets: a segment that is written and one that waits to be compacted, 100 MiB each. */
const offsetsBytesPerPartition = 200 * mebibyte;
const offsetsPartitions = 12;
/** Metaspace, code, thread stacks and direct buffers of a broker beside its heap, as measured here with small heaps. */
const beyondHeapBytes = 160 * mebibyte;
/** Consumers that are this far behind still read from memory: the rule of thumb of Kafka's operators. */
const cachedSeconds = 30;

export interface TopicCapacity {
  readonly name: string;
  readonly owner: string;
  readonly messagesPerSecond: number;
  /** As the catalog says, and as it lies on the disk with key, headers and batch. */
  readonly bytesPerMessage: number;
  readonly diskBytesPerMessage: number;
  readonly copies: number;
  readonly retentionMs: number;
  /** Log at full retention, with the segment that is only deleted as a whole, and indexes. */
  readonly bytesPerBroker: number;
  /** Follows the environment's retention, so that fewer days make it smaller. */
  readonly followsEnvironment: boolean;
}

/** One line of the way from the contract's sum to ours. `bytesPerBroker` with the partitions spread evenly. */
export interface Step {
  readonly what: string;
  readonly sum: string;
  readonly allBytes: number;
  readonly bytesPerBroker: number;
}

export interface Capacity {
  readonly environment: string;
  readonly brokers: number;
  readonly retentionDays: number;
  readonly steps: readonly Step[];
  readonly topics: readonly TopicCapacity[];
  readonly disk: {
    readonly logBytes: number;
    readonly offsetsBytes: number;
    readonly bufferBytes: number;
    readonly neededBytes: number;
    readonly diskBytes: number;
    readonly fits: boolean;
    /** Days of retention for which the disk is just enough, buffer kept free. */
    readonly daysThatFit: number;
    /** How many times the design load it would hold for the retention asked for. */
    readonly loadThatFits: number;
  };
  /** Bytes per second of one broker. */
  readonly network: {
    readonly fromProducers: number;
    readonly fromLeaders: number;
    readonly toConsumers: number;
    readonly toFollowers: number;
    readonly inBytes: number;
    readonly outBytes: number;
  };
  readonly memory: {
    readonly heapBytes: number;
    readonly beyondHeapBytes: number;
    readonly pageCacheBytes: number;
    readonly neededBytes: number;
    readonly limitBytes: number;
    readonly fits: boolean;
  };
}

/** Bytes of a log that one message of `payloadBytes` takes, alone in its batch. */
export function diskBytes(topic: Pick<Topic, 'name' | 'owner' | 'event'>, payloadBytes: number): number {
  const batch = openBatch(0);
  const value = incompressible(payloadBytes);
  if (topic.event === undefined) {
    appendRecord(batch, 0, 'k'.repeat(16), value, undefined);
  } else {
    const { key, headers } = eventRecord({
      topic: topic.name,
      key: 'k'.repeat(16),
      type: topic.event.type,
      source: `/${topic.owner}`,
      id: '00000000-0000-4000-8000-000000000000',
      timeMs: 0,
      valueBytes: value,
      traceparent: `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`,
    });
    appendRecord(batch, 0, key, value, headers);
  }
  return sealBatch(batch).length;
}

/** The same every time, and noise to a compressor. */
function incompressible(length: number): Buffer {
  let state = 0x9e3779b9;
  return Buffer.from(
    Array.from({ length }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 24;
    }),
  );
}

/** What the log of a topic takes when it is full: retention, and the segment that waits to be old enough as a whole. */
function keptMs(topic: Topic, environment: Environment): number {
  const config = topicConfig(topic, environment);
  return Number(config['retention.ms']) + Number(config['segment.ms']);
}

function capacityOf(topic: Topic, environment: Environment): TopicCapacity {
  const { messagesPerSecond, bytesPerMessage } = topic.designLoad;
  const perMessage = diskBytes(topic, bytesPerMessage);
  const copiesPerBroker = topic.replicationFactor / environment.kafka.nodes.length;
  const seconds = keptMs(topic, environment) / 1_000;
  return {
    name: topic.name,
    owner: topic.owner,
    messagesPerSecond,
    bytesPerMessage,
    diskBytesPerMessage: perMessage,
    copies: topic.replicationFactor,
    retentionMs: Number(topicConfig(topic, environment)['retention.ms']),
    bytesPerBroker: messagesPerSecond * perMessage * seconds * copiesPerBroker * (1 + indexShare),
    followsEnvironment: topic.retentionMs === 'environment',
  };
}

const sumOf = <T>(list: readonly T[], value: (item: T) => number) =>
  list.reduce((sum, item) => sum + value(item), 0);

/** From the contract's 34.5 GB to what the catalog's topics take, a line for each thing that it leaves out. */
function stepsOf(environment: Environment, topics: readonly TopicCapacity[]): readonly Step[] {
  const { messagesPerSecond, bytesPerMessage, copies, days } = storageContract;
  const brokers = environment.kafka.nodes.length;
  const perSecond = `1440 x 60 x ${days} d x ${messagesPerSecond}/s`;
  const messages = messagesPerSecond * days * (dayMs / 1_000);
  const step = (what: string, sum: string, allBytes: number): Step => ({
    what,
    sum,
    allBytes,
    bytesPerBroker: allBytes / brokers,
  });
  // Half of the contract's messages are purchases, half acts.
  const inputs = [catalogTopics.purchase, catalogTopics.promoBehavior];
  const onDisk = Math.round(sumOf(inputs, (topic) => diskBytes(topic, bytesPerMessage)) / inputs.length);
  const ofOwner = (owner: string) =>
    sumOf(
      topics.filter((topic) => topic.owner === owner),
      ({ bytesPerBroker }) => bytesPerBroker,
    ) * brokers;
  const owners = [...new Set(topics.map(({ owner }) => owner))].filter((owner) => ofOwner(owner) > 0);
  return [
    step(
      'the contract',
      `${bytesPerMessage} B x ${copies} copies x ${perSecond}`,
      bytesPerMessage * copies * messages,
    ),
    step('with 3 copies', `${bytesPerMessage} B x 3 copies x ${perSecond}`, bytesPerMessage * 3 * messages),
    step(
      'as it lies on the disk: key, headers, batch',
      `${onDisk} B x 3 copies x ${perSecond}`,
      onDisk * 3 * messages,
    ),
    ...owners.map((owner) =>
      step(
        `all topics of ${owner}`,
        'at their design load, with the last segment and indexes',
        ofOwner(owner),
      ),
    ),
  ];
}

/** The plan of an environment. `groups` say how often each topic is read. */
export function planCapacity(
  environment: Environment,
  topics: readonly Topic[],
  groups: readonly ConsumerGroup[],
): Capacity {
  const brokers = environment.kafka.nodes.length;
  const planned = topics.map((topic) => capacityOf(topic, environment));
  const { bufferBytes } = storageContract;

  const logBytes = sumOf(planned, ({ bytesPerBroker }) => bytesPerBroker);
  const offsetsBytes = Math.min(groups.length, offsetsPartitions) * offsetsBytesPerPartition;
  const neededBytes = logBytes + offsetsBytes + bufferBytes;
  const disk = environment.kafka.dataDiskBytes;
  const following = sumOf(
    planned.filter(({ followsEnvironment }) => followsEnvironment),
    ({ bytesPerBroker }) => bytesPerBroker,
  );
  const retentionDays = environment.retentionMs / dayMs;
  const roomForFollowing = Math.max(0, disk - bufferBytes - offsetsBytes - (logBytes - following));
  const roomForLogs = Math.max(0, disk - bufferBytes - offsetsBytes);

  const readers = new Map<string, number>();
  for (const group of groups)
    for (const { name } of group.topics) readers.set(name, (readers.get(name) ?? 0) + 1);
  const rate = ({ messagesPerSecond, diskBytesPerMessage }: TopicCapacity) =>
    messagesPerSecond * diskBytesPerMessage;
  const fromProducers = sumOf(planned, rate) / brokers;
  const fromLeaders = sumOf(planned, (topic) => rate(topic) * (topic.copies - 1)) / brokers;
  const toConsumers = sumOf(planned, (topic) => rate(topic) * (readers.get(topic.name) ?? 0)) / brokers;

  const heapBytes = environment.kafka.size.heapMiB * mebibyte;
  const pageCacheBytes = (fromProducers + fromLeaders) * cachedSeconds;
  const memoryNeeded = heapBytes + beyondHeapBytes + pageCacheBytes;
  const limitBytes = environment.kafka.size.memoryMiB * mebibyte;
  return {
    environment: environment.name,
    brokers,
    retentionDays,
    steps: stepsOf(environment, planned),
    topics: planned,
    disk: {
      logBytes,
      offsetsBytes,
      bufferBytes,
      neededBytes,
      diskBytes: disk,
      fits: neededBytes <= disk,
      daysThatFit:
        following === 0 ? Number.POSITIVE_INFINITY : (roomForFollowing / following) * retentionDays,
      loadThatFits: logBytes === 0 ? Number.POSITIVE_INFINITY : roomForLogs / logBytes,
    },
    network: {
      fromProducers,
      fromLeaders,
      toConsumers,
      // What followers take is what followers give, spread evenly.
      toFollowers: fromLeaders,
      inBytes: fromProducers + fromLeaders,
      outBytes: toConsumers + fromLeaders,
    },
    memory: {
      heapBytes,
      beyondHeapBytes,
      pageCacheBytes,
      neededBytes: memoryNeeded,
      limitBytes,
      fits: memoryNeeded <= limitBytes,
    },
  };
}

/** What was found on the brokers. */
export interface MeasuredTopic {
  readonly name: string;
  /** Records between the first and the last offset. */
  readonly records: number;
  /** Of one copy, on average over the brokers that have one. */
  readonly bytes: number;
}

export interface Comparison {
  readonly name: string;
  readonly records: number;
  readonly bytes: number;
  readonly measuredBytesPerMessage: number | undefined;
  readonly plannedBytesPerMessage: number;
  /** Measured / planned: below 1 the plan is on the safe side. */
  readonly ratio: number | undefined;
}

/** Below this a few large messages decide the mean. */
const enoughRecords = 100;

/** Plan against disk, topic by topic; a topic with hardly any records says nothing about its messages. */
export function compareCapacity(plan: Capacity, measured: readonly MeasuredTopic[]): readonly Comparison[] {
  const found = new Map(measured.map((topic) => [topic.name, topic]));
  return plan.topics.flatMap(({ name, diskBytesPerMessage }) => {
    const topic = found.get(name);
    if (topic === undefined || topic.bytes === 0) return [];
    const isEnough = topic.records >= enoughRecords;
    const each = isEnough ? topic.bytes / topic.records : undefined;
    return [
      {
        name,
        records: topic.records,
        bytes: topic.bytes,
        measuredBytesPerMessage: each,
        plannedBytesPerMessage: diskBytesPerMessage,
        ratio: each === undefined ? undefined : each / diskBytesPerMessage,
      },
    ];
  });
}
