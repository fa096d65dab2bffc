/** Reading a partition without a group: what committed transactions and plain producers have written. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NotNowError } from '../base/errors.ts';
import { unreachable } from './admin.ts';
import type { FetchedRecord } from './fetched-records.ts';
import type { IncomingRecord, TopicPartition } from './kafka.ts';
import { type Broker, noReplica, readCommitted } from './kafkajs-internals.ts';
import type { Wire } from './wire.ts';

const maxWaitMs = 100;
const maxBytes = 1024 * 1024;
const leaderlessWaitMs = 300;
const defaultLeaderWithinMs = 10_000;
/** So many answers in a row with nothing in them are the end of the log, or of what is committed of it. */
const emptyUntilOver = 10;

/**
 * Reads offsets [from, to) of a partition without a group. Ends at `to`, or at the end of the log when that is sooner.
 * Rejects with MUSTER_KAFKA_UNREACHABLE ("not now") when a broker does not answer, or when the partition has had no leader
 * for `leaderWithinMs`: what cannot be read is not the end.
 */
export async function* readPartition(
  wire: Wire,
  topic: string,
  partition: number,
  from: number,
  to: number,
  leaderWithinMs = defaultLeaderWithinMs,
): AsyncGenerator<readonly IncomingRecord[]> {
  let empty = 0;
  for (let position = from; position < to && empty < emptyUntilOver; ) {
    const broker = await leaderOf(wire, { topic, partition }, leaderWithinMs);
    const place = { topic, partition };
    const fetched = await answered(fetchPartition(broker, place, position, { maxWaitMs, maxBytes }));
    empty = fetched.position === position ? empty + 1 : 0;
    position = fetched.position;
    const records = fetched.records.filter(({ offset }) => offset < to);
    if (records.length > 0) yield records;
  }
}

async function leaderOf(wire: Wire, { topic, partition }: TopicPartition, withinMs: number): Promise<Broker> {
  for (const giveUpAt = performance.now() + withinMs; ; await sleep(leaderlessWaitMs)) {
    const { topicMetadata } = await answered(wire.metadata([topic], { sparing: true }));
    const leader = topicMetadata[0]?.partitionMetadata.find((one) => one.partitionId === partition)?.leader;
    if (leader !== undefined && leader >= 0) return answered(wire.broker(leader));
    if (performance.now() > giveUpAt)
      throw new NotNowError('MUSTER_KAFKA_UNREACHABLE', `${topic}-${partition} has no leader`);
  }
}

/** What kafkajs says when a broker does not answer, as our own error. */
function answered<T>(answer: Promise<T>): Promise<T> {
  return answer.catch((error: unknown) => {
    throw unreachable(error);
  });
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
