/** Outcomes on their way to clients: from the result topics to the connections of this replica, and into the event log. */
import { setTimeout as sleep } from 'node:timers/promises';
import { trace } from '@opentelemetry/api';
import type { Kysely } from 'kysely';
import { Compile } from 'typebox/compile';
import type { Logger } from 'winston';
import { type CouponResult, couponResult } from '../../catalog/events/coupon.ts';
import { MusterError } from '../base/errors.ts';
import { deadLetterOf } from '../kafka/dead-letters.ts';
import type { IncomingRecord, Kafka, PartitionConsumer, Producer, RawRecord } from '../kafka/kafka.ts';
import { headerText } from '../kafka/records.ts';
import { reasonOf } from '../kafka/retry.ts';
import { inSpan, parseTraceparent, startProcess } from '../kafka/tracing-kafka.ts';
import type { CouponOutcome, Hub } from './hub.ts';
import { type LoggedRequest, markNotified } from './store.ts';

/** Between two fetches of a partition, so that under load one brings more. */
const gatherMs = 30;
const isResult = Compile(couponResult);
const tracer = trace.getTracer('muster/coupon');

/** A result record as clients are told of it. Throws MUSTER_COUPON_RESULT_INVALID. */
export function parseResult(record: IncomingRecord): CouponResult {
  let value: unknown;
  try {
    value = JSON.parse(String(record.value));
  } catch {
    value = undefined;
  }
  if (!isResult.Check(value))
    throw new MusterError('MUSTER_COUPON_RESULT_INVALID', 'the value is not of the schema CouponResult');
  return value;
}

function outcomeOf(
  result: Pick<CouponResult, 'requestId' | 'couponId' | 'reason' | 'couponHistoryId'>,
  traceparent: string | undefined,
): CouponOutcome {
  const { requestId, couponId, reason, couponHistoryId } = result;
  const traceId = traceparent === undefined ? undefined : parseTraceparent(traceparent)?.traceId;
  return {
    requestId,
    couponId,
    outcome: reason === undefined ? 'SUCCESS' : 'FAILED',
    ...(reason === undefined ? {} : { reason }),
    ...(couponHistoryId === undefined ? {} : { couponHistoryId }),
    ...(traceId === undefined ? {} : { traceId }),
  };
}

/** A decided row of the event log as clients are told of it. */
export function loggedOutcome(logged: LoggedRequest): CouponOutcome {
  const { requestId, couponId, reason, couponHistoryId, traceparent } = logged;
  return outcomeOf(
    {
      requestId,
      couponId,
      ...(reason === undefined ? {} : { reason }),
      ...(couponHistoryId === undefined ? {} : { couponHistoryId }),
    },
    traceparent,
  );
}

export interface PusherOptions {
  readonly kafka: Kafka;
  readonly database: () => Promise<Kysely<unknown>>;
  readonly producer: Producer;
  readonly hub: Hub;
  readonly groupId: string;
  readonly topics: readonly string[];
  readonly log: Logger;
  /** Called for each outcome that reached a client, with the time since its request. */
  onPushed?(sinceRequestMs: number): void;
  onFatal(error: Error): void;
}

/** Reads all results (every replica does) and pushes those whose users have clients here. */
export async function startPusher(
  options: PusherOptions,
): Promise<{ ready(): boolean; stop(): Promise<void> }> {
  const { kafka, database, producer, hub, groupId, log } = options;
  let ready = false;
  const consumer: PartitionConsumer = await kafka.consumePartitions({
    groupId,
    topics: options.topics,
    async onAssigned() {
      ready = true;
      return [];
    },
    async onBatch({ topic, partition, records }, epoch) {
      const told: string[] = [];
      const deadLetters: RawRecord[] = [];
      for (const record of records) {
        try {
          const requestId = pushOne(record, parseResult(record));
          if (requestId !== undefined) told.push(requestId);
        } catch (error) {
          const why = reasonOf(error, groupId);
          log.warn('a result is not understood', { code: why.code, topic, partition, offset: record.offset });
          deadLetters.push(deadLetterOf(record, why, Date.now()));
        }
      }
      if (deadLetters.length > 0) await producer.send(deadLetters, { deadlineMs: 10_000 });
      if (told.length > 0) await markNotified(await database(), told);
      consumer.commit([{ topic, partition, offset: records.at(-1)!.offset + 1 }], epoch);
      await sleep(gatherMs);
    },
    onFatal: options.onFatal,
  });

  /** The request's id when a client took it. */
  function pushOne(record: IncomingRecord, result: CouponResult): string | undefined {
    if (!hub.has(result.user)) return undefined;
    const traceparent = headerText(record, 'traceparent');
    const process = startProcess(record, groupId);
    const clients = inSpan(process, () => {
      const span = process === undefined ? undefined : tracer.startSpan('push coupon-outcome');
      const count = hub.push(result.user, outcomeOf(result, traceparent));
      span?.setAttribute('coupon.push.clients', count);
      span?.end();
      return count;
    });
    process?.end();
    if (clients === 0) return undefined;
    options.onPushed?.(Date.now() - Date.parse(result.requestedAt));
    return result.requestId;
  }

  return { ready: () => ready, stop: () => consumer.stop() };
}
