/** Kafka in memory for tests: topics of two partitions, readers that get what is sent. */
import { setImmediate } from 'node:timers/promises';
import {
  type IncomingRecord,
  type Kafka,
  type PartitionConsumerOptions,
  partitionFor,
  type RawRecord,
} from '../kafka/kafka.ts';

const partitions = 2;

export interface MemoryKafka extends Kafka {
  readonly sent: RawRecord[];
  /** Next sends fail with it until it is unset. */
  failWith: Error | undefined;
  /** Groups that are reading now. */
  readonly groups: Set<string>;
  /** Breaks all readers off. */
  breakReaders(error: Error): void;
}

export function createMemoryKafka(): MemoryKafka {
  const logs = new Map<string, IncomingRecord[][]>();
  const sent: RawRecord[] = [];
  const readers = new Map<string, { deliver(): Promise<void>; readonly options: PartitionConsumerOptions }>();
  const logOf = (topic: string) => {
    const log = logs.get(topic) ?? Array.from({ length: partitions }, () => []);
    logs.set(topic, log);
    return log;
  };
  const bytes = (value: Buffer | string | null) => (value === null ? null : Buffer.from(value as string));

  const kafka: MemoryKafka = {
    sent,
    failWith: undefined,
    groups: new Set(),
    breakReaders(error) {
      for (const { options } of readers.values()) options.onFatal(error);
      readers.clear();
    },
    async producer() {
      return {
        async send(records) {
          if (kafka.failWith !== undefined) throw kafka.failWith;
          for (const record of records) {
            sent.push(record);
            const key = bytes(record.key);
            const partition = key === null ? 0 : partitionFor(key, partitions);
            const log = logOf(record.topic)[partition]!;
            log.push({
              topic: record.topic,
              partition,
              offset: log.length,
              timestampMs: Date.now(),
              key,
              value: bytes(record.value),
              headers: (record.headers ?? {}) as IncomingRecord['headers'],
            });
          }
          await Promise.all([...readers.values()].map((reader) => reader.deliver()));
        },
        async close() {},
      };
    },
    async consumePartitions(options) {
      kafka.groups.add(options.groupId);
      const assignment = options.topics.flatMap((topic) =>
        Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
      );
      const positions = new Map<string, number>();
      let assigned = false;
      let delivering = Promise.resolve();
      // One after the other, as a partition's batches come.
      const deliver = () => {
        delivering = delivering.then(deliverAll);
        return delivering;
      };
      const deliverAll = async () => {
        if (!assigned) return;
        for (const { topic, partition } of assignment) {
          const log = logOf(topic)[partition]!;
          const from = positions.get(`${topic}/${partition}`) ?? 0;
          if (from >= log.length) continue;
          positions.set(`${topic}/${partition}`, log.length);
          await options.onBatch({ topic, partition, records: log.slice(from), highWatermark: log.length }, 1);
        }
      };
      readers.set(options.groupId, { deliver, options });
      void setImmediate().then(async () => {
        for (const start of (await options.onAssigned?.(assignment, 1)) ?? []) {
          positions.set(`${start.topic}/${start.partition}`, start.offset);
        }
        assigned = true;
        await deliver();
      });
      return {
        epoch: 1,
        commit() {
          throw new Error('a view commits nothing');
        },
        async flushCommits() {},
        pause() {},
        resume() {},
        seek() {},
        watched: (_what, work) => work(),
        async stop() {
          readers.delete(options.groupId);
          kafka.groups.delete(options.groupId);
        },
      };
    },
    admin: {
      topicNames: async () => [...logs.keys()],
      partitionCounts: async (topics) => new Map(topics.map((topic) => [topic, partitions])),
      offsets: async (topic) =>
        logOf(topic).map((log, partition) => ({ partition, low: 0, high: log.length })),
      ends: async (topics) =>
        new Map(
          topics.map((topic) => [
            topic,
            new Map(logOf(topic).map((log, partition) => [partition, log.length])),
          ]),
        ),
      offsetsAt: async (topic, timestampMs) =>
        new Map(
          logOf(topic).map((log, partition) => {
            const index = log.findIndex((record) => record.timestampMs >= timestampMs);
            return [partition, index === -1 ? log.length : index];
          }),
        ),
      committed: async () => new Map(),
      setCommitted: async () => {},
    },
    cluster() {
      throw new Error('not in memory');
    },
    async *read(topic, partition, from, to) {
      yield logOf(topic)[partition]!.slice(from, to);
    },
    follow() {
      throw new Error('the promotion workers follow nothing');
    },
    async close() {},
  };
  return kafka;
}
