/**
 * The producer: kafkajs' connections, our own batching (accumulator.ts), encoding (record-batch.ts), leaders (leader-table.ts),
 * requests (sender.ts) and retries (batch-outcomes.ts).
 *
 * kafkajs' producer retries a whole send when one broker of several fails (the others get it twice), its idempotent
 * mode loses or doubles records under concurrent sends and never recovers from a lost sequence, and its encoder was
 * most of the cost. Here each partition is a queue of batches with **one batch in flight at a time**, a request holds
 * at most one batch of each of one leader's partitions, a leader has one request in flight, and every partition's
 * answer is judged by itself: only what failed is sent again, byte for byte, under the same sequence number, so that
 * the broker drops what it already has. Sequences are kept per partition; when the broker has lost one (errors 45, 47,
 * 59) or a batch was given up in doubt, that partition goes on under a fresh producer id.
 *
 * What that guarantees: order per partition, no loss of what was acked, at least once. A duplicate remains possible
 * after a fresh producer id, or when the caller sends again after MUSTER_KAFKA_SEND: consumers dedupe by message id.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import { producerProfile } from '../../catalog/clients.ts';
import { MusterError, NotNowError } from '../base/errors.ts';
import { append, bufferRoom, choosePartition, type Partition } from './accumulator.ts';
import { batchOutcomes } from './batch-outcomes.ts';
import type { Producer, ProducerSettings, RawRecord } from './kafka.ts';
import type { KafkaMetrics } from './kafka-metrics.ts';
import { leaderTable } from './leader-table.ts';
import { trackSends, withDeadline } from './pending-sends.ts';
import { producerIdentities } from './producer-identity.ts';
import { recordSizeBound } from './record-batch.ts';
import { startSender } from './sender.ts';
import { type MessageSpan, startSend } from './tracing-kafka.ts';
import type { Wire } from './wire.ts';

export interface ProducerOptions extends ProducerSettings {
  readonly wire: Wire;
  readonly clientId: string;
  readonly log: Logger;
  readonly metrics: KafkaMetrics;
}

/**
 * Largest record (key, value, headers) in bytes: the largest that an ordinary topic takes (1,048,588), with the headers of a
 * dead letter. What the topic at hand does not take is refused by the broker.
 */
const maxRecordBytes = 1_200_000;
const closeWithinMs = 5_000;

/** Starts a producer. Connections are made at the first send. */
export function startProducer(options: ProducerOptions): Producer {
  const { wire, clientId, log, metrics } = options;
  const { lingerMs, batchBytes, bufferBytes, deliveryTimeoutMs } = { ...producerProfile, ...options };
  const ready = new Set<Partition>();
  const sends = trackSends();
  const room = bufferRoom(bufferBytes);
  const identities = producerIdentities();
  const outcomes = batchOutcomes({ ready, sends, room, identities, metrics });
  const table = leaderTable({ wire, log, loadWithinMs: deliveryTimeoutMs, onRefreshed: () => sender.wake() });
  const { busyLingerMs = lingerMs } = options;
  const lingers = { lingerMs, busyLingerMs };
  const sender = startSender({ wire, log, ...lingers, batchBytes, ready, table, outcomes, identities });
  let closed = false;

  async function send(
    records: readonly RawRecord[],
    sendOptions: { readonly deadlineMs?: number } = {},
  ): Promise<void> {
    if (closed) throw new NotNowError('MUSTER_KAFKA_SEND', 'the producer is closed');
    if (records.length === 0) return;
    const bytes = sizeOf(records);
    const spans = startSpans(records, clientId);
    const deadlineAt = Date.now() + (sendOptions.deadlineMs ?? deliveryTimeoutMs);
    try {
      for (const record of records) {
        if (table.get(record.topic) === undefined) await withDeadline(table.load(record.topic), deadlineAt);
        if (record.partition !== undefined && !table.get(record.topic)!.partitions[record.partition]) {
          throw new NotNowError('MUSTER_KAFKA_SEND', `${record.topic} has no partition ${record.partition}`);
        }
      }
      const taken = room.take(bytes, deadlineAt);
      if (taken !== undefined) await taken;
      if (closed) {
        room.release(bytes);
        throw new NotNowError('MUSTER_KAFKA_SEND', 'the producer was closed');
      }
      await enqueue(records, bytes, deadlineAt, spans);
      endSpans(spans);
      countFailures(records, metrics);
    } catch (error) {
      endSpans(spans, error);
      throw error;
    }
  }

  function enqueue(
    records: readonly RawRecord[],
    bytes: number,
    deadlineAt: number,
    spans: ReadonlyMap<string, MessageSpan> | undefined,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const pending = sends.begin(records.length, deadlineAt, resolve, reject);
      const now = Date.now();
      const perRecord = bytes / records.length;
      for (const record of records) {
        const topic = table.get(record.topic)!;
        const partition = choosePartition(topic, record);
        const traceparent =
          spans !== undefined && record.headers?.traceparent === undefined
            ? spans.get(record.topic)?.traceparent
            : undefined;
        const begun = append(topic, partition, record, pending, now, perRecord, traceparent, batchBytes);
        if (begun && !partition.inFlight) ready.add(partition);
      }
      sender.wake();
    });
  }

  return {
    send,
    async close() {
      if (closed) return;
      const idleBy = Date.now() + closeWithinMs;
      while (sends.count() > 0 && Date.now() < idleBy) await sleep(10);
      closed = true;
      table.close();
      sends.close(new NotNowError('MUSTER_KAFKA_SEND', 'the producer was closed before the ack'));
      room.open();
      sender.close();
      await wire.close();
    },
  };
}

/** An upper bound of the bytes of all. MUSTER_KAFKA_RECORD_TOO_LARGE when one could not be sent. */
function sizeOf(records: readonly RawRecord[]): number {
  let bytes = 0;
  for (const record of records) {
    const size = recordSizeBound(record.key, record.value, record.headers);
    if (size > maxRecordBytes) {
      throw new MusterError(
        'MUSTER_KAFKA_RECORD_TOO_LARGE',
        `a record for ${record.topic} takes ${size} bytes, more than the ${maxRecordBytes} that fit`,
      );
    }
    bytes += size;
  }
  return bytes;
}

function countFailures(records: readonly RawRecord[], metrics: KafkaMetrics): void {
  for (const { topic, headers } of records) {
    if (headers === undefined) continue;
    if (topic.endsWith('.dlq')) metrics.deadLetter(topic, String(headers['muster-error-code'] ?? 'unknown'));
    else if (headers['muster-attempt'] !== undefined) metrics.retry(topic, Number(headers['muster-attempt']));
  }
}

/** A span for each topic that is sent to, when the work that sends is traced. */
function startSpans(
  records: readonly RawRecord[],
  clientId: string,
): ReadonlyMap<string, MessageSpan> | undefined {
  const first = startSend(records[0]!.topic, records.length, clientId);
  if (first === undefined) return undefined;
  const spans = new Map([[records[0]!.topic, first]]);
  for (const { topic } of records) {
    if (spans.has(topic)) continue;
    const span = startSend(topic, records.length, clientId);
    if (span) spans.set(topic, span);
  }
  return spans;
}

function endSpans(spans: ReadonlyMap<string, MessageSpan> | undefined, error?: unknown): void {
  if (spans !== undefined) for (const span of spans.values()) span.end(error);
}
