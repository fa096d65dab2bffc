/** Reading a partition without a group: what committed transactions and plain producers have written. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FetchedRecord } from './fetched-records.ts';
import type { IncomingRecord, TopicPartition } from './kafka.ts';
import { type Broker, noReplica, readCommitted } from './kafkajs-internals.ts';
import type { Wire } from './wire.ts';

const maxWaitMs = 100;
const maxBytes = 1024 * 1024;
const leaderlessWaitMs = 300;
/** So many answers in a row with nothing in them are the end of the log, or of what is committed of it. */
const emptyUntilOver = 10;

/** Reads offsets [from, to) of a partition without a group. Ends at `to`, or at the end of the log when that is sooner. */
export async function* readPartition(
  wire: Wire,
  topic: string,
  partition: number,
  from: number,
  to: number,
): AsyncGenerator<readonly IncomingRecord[]> {
  let empty = 0;
  for (let position = from; position < to && empty < emptyUntilOver; ) {
    const { topicMetadata } = await wire.metadata([topic]);
    const leader = topicMetadata[0]?.partitionMetadata.find((p) => p.partitionId === partition)?.leader;
    if (leader === undefined || leader < 0) {
      empty++;
      await sleep(leaderlessWaitMs);
      continue;
    }
    const broker = await wire.broker(leader);
    const fetched = await fetchPartition(broker, { topic, partition }, position, { maxWaitMs, maxBytes });
    empty = fetched.position === position ? empty + 1 : 0;
    position = fetched.position;
    const records = fetched.records.filter(({ offset }) => offset < to);
    if (records.length > 0) yield records;
  }
}

/** One fetch from a position: the records that consumers may see, and where to go on. */
export async function fetchPartition(
  broker: Broker,
  { topic, partition }: TopicPartition,
  position: number,
  limits: { readonly maxWaitMs: number; readonly maxBytes: number },
): Promise<{ readonly records: FetchedRecord[]; readonly position: number }> {
  const { responses } = await broker.fetch({
    replicaId: noReplica,
    isolationLevel: readCommitted,
    maxWaitTime: limits.maxWaitMs,
    minBytes: 1,
    maxBytes: limits.maxBytes,
    topics: [
      { topic, partitions: [{ partition, fetchOffset: String(position), maxBytes: limits.maxBytes }] },
    ],
  });
  const messages = responses[0]?.partitions[0]?.messages ?? [];
  const records = messages.filter(({ offset, isControlRecord }) => offset >= position && !isControlRecord);
  for (const record of records) {
    record.topic = topic;
    record.partition = partition;
  }
  const last = messages.at(-1);
  return { records, position: last === undefined ? position : Math.max(position, last.offset + 1) };
}
