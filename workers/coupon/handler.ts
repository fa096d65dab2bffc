/**
 * Handles requests for coupons as they come off their topic, many of a partition in one transaction.
 *
 * Order of events: decide and commit, then write the outcomes and wait for Kafka's ack, then commit the offsets. Whoever
 * dies in between is followed by somebody who gets the same records again, finds them decided and tells the outcomes
 * again: at least once, with one effect. So no outbox is needed here, the request topic is it.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { context, trace } from '@opentelemetry/api';
import { Compile } from 'typebox/compile';
import type { Logger } from 'winston';
import { type CouponResult, couponRequest } from '../../catalog/events/coupon.ts';
import { isNotNow, MusterError } from '../base/errors.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { deadLetterOf } from '../kafka/dead-letters.ts';
import type { Batch, IncomingRecord, Kafka, PartitionConsumer, Producer, RawRecord } from '../kafka/kafka.ts';
import { eventRecord, headerText } from '../kafka/records.ts';
import { reasonOf } from '../kafka/retry.ts';
import { inSpan, type MessageSpan, startProcess, startSend } from '../kafka/tracing-kafka.ts';
import { issuedRecord } from './events.ts';
import type { Locks } from './lock.ts';
import type { Ordering } from './ordering.ts';
import { type Decided, decideRequests, type NewRequest, type RequestStore } from './requests.ts';

export interface HandlerOptions {
  readonly kafka: Kafka;
  readonly store: RequestStore;
  readonly producer: Producer;
  readonly ordering: Ordering;
  readonly locks: Locks;
  readonly pseudonymKey: Buffer;
  readonly log: Logger;
  /** Called for each request that was decided just now. */
  onDecided?(decided: Decided): void;
  onFatal(error: Error): void;
  /** Most requests of one transaction. Default 500. */
  readonly maxBatch?: number;
}

export interface Handler {
  ready(): boolean;
  stop(): Promise<void>;
}

/** Between two fetches of a partition: a record that comes alone does not wait, under load one transaction decides more. */
const gatherMs = 30;
const isRequest = Compile(couponRequest);

/** Understands a record, or throws MUSTER_COUPON_REQUEST_INVALID. */
export function parseRequest(record: IncomingRecord): NewRequest {
  const invalid = (why: string, cause?: unknown) =>
    new MusterError('MUSTER_COUPON_REQUEST_INVALID', `not a request for a coupon: ${why}`, { cause });
  if (record.value === null) throw invalid('it has no value');
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(record.value));
  } catch {
    throw invalid('its value is no JSON');
  }
  if (!isRequest.Check(value)) throw invalid('its value is not of the schema CouponRequest');
  if (!value.userId.isWellFormed()) throw invalid('its user id is no text');
  const traceparent = headerText(record, 'traceparent');
  return { ...value, traceparent: traceparent?.length === 55 ? traceparent : undefined };
}

export async function startHandler(options: HandlerOptions): Promise<Handler> {
  const { kafka, store, producer, ordering, locks, log } = options;
  const { group } = ordering;
  const maxBatch = options.maxBatch ?? 500;
  let epochNow = 0;
  let ready = false;
  let stopping = false;
  /** How far a batch has come that is given again because a dependency was down. */
  const progress = new WeakMap<Batch, number>();

  const consumer: PartitionConsumer = await kafka.consumePartitions({
    groupId: group.id,
    topics: [ordering.requestTopic],
    async onAssigned(_assignment, epoch) {
      epochNow = epoch;
      ready = true;
      return [];
    },
    async onBatch(batch, epoch) {
      for (let from = progress.get(batch) ?? 0; from < batch.records.length; from += maxBatch) {
        // Not handled and not committed: whoever has the partition next begins here.
        if (stopping || epoch !== epochNow) return;
        const records = batch.records.slice(from, from + maxBatch);
        await handle(records);
        progress.set(batch, from + records.length);
        const { topic, partition } = batch;
        consumer.commit([{ topic, partition, offset: records.at(-1)!.offset + 1 }], epoch);
      }
      await sleep(gatherMs);
    },
    onFatal: options.onFatal,
  });

  /** Decides the records and writes what is to be told; rejects only for a dependency that is down. */
  async function handle(records: readonly IncomingRecord[]): Promise<void> {
    const understood: { record: IncomingRecord; request: NewRequest }[] = [];
    const deadLetters: RawRecord[] = [];
    const refuse = (record: IncomingRecord, error: unknown) => {
      const why = reasonOf(error, group.id);
      const { topic, partition, offset } = record;
      log.warn('a request goes to the dead letters', { code: why.code, topic, partition, offset });
      deadLetters.push(deadLetterOf(record, why, Date.now()));
    };
    const spans = new Map<string, MessageSpan>();
    for (const record of records) {
      try {
        const request = parseRequest(record);
        understood.push({ record, request });
        const span = startProcess(record, group.id, { 'messaging.batch.message_count': records.length });
        if (span !== undefined) spans.set(request.requestId, span);
      } catch (error) {
        refuse(record, error);
      }
    }
    try {
      await decideAndTell(understood, spans, deadLetters, refuse);
      for (const span of spans.values()) span.end();
    } catch (error) {
      for (const span of spans.values()) span.end(error);
      throw error;
    }
  }

  const outside = (winner: Decided) => issuedRecord(winner, options.pseudonymKey);

  async function decideAndTell(
    understood: readonly { record: IncomingRecord; request: NewRequest }[],
    spans: ReadonlyMap<string, MessageSpan>,
    deadLetters: RawRecord[],
    refuse: (record: IncomingRecord, error: unknown) => void,
  ): Promise<void> {
    let decided: readonly Decided[] = [];
    const decide = (list: typeof understood) =>
      locks.with([...new Set(list.map(({ request }) => lockKey(request)))], () =>
        decideRequests(
          store,
          list.map(({ request }) => request),
          outside,
        ),
      );
    try {
      if (understood.length > 0) decided = await decide(understood);
    } catch (error) {
      if (isNotNow(error)) throw error;
      // One of them is wrong: alone, each of the others is decided.
      const alone: Decided[] = [];
      for (const one of understood) {
        try {
          alone.push(...(await decide([one])));
        } catch (cause) {
          if (isNotNow(cause)) throw cause;
          refuse(one.record, cause);
        }
      }
      decided = alone;
    }
    for (const each of decided) if (each.first) options.onDecided?.(each);
    const sends: MessageSpan[] = [];
    const results = decided.map((each): RawRecord => {
      const topic = each.reason === undefined ? ordering.successTopic : ordering.failureTopic;
      const result = resultOf(each, options.pseudonymKey);
      const span = inSpan(spans.get(each.requestId), () => startSend(topic, 1, group.id));
      if (span !== undefined) sends.push(span);
      return eventRecord({
        topic,
        key: ordering.resultKey(result),
        type: 'CouponResult',
        source: '/muster/coupon-issue',
        id: each.requestId,
        timeMs: each.decidedAtMs,
        data: result,
        ...(span === undefined ? {} : { traceparent: span.traceparent }),
      });
    });
    const issued = decided
      .filter(({ couponHistoryId }) => couponHistoryId !== undefined)
      .map((winner) => ({ ...outside(winner), topic: ordering.outsideTopic }));
    try {
      await context.with(trace.deleteSpan(context.active()), () =>
        producer.send([...results, ...issued, ...deadLetters], { deadlineMs: 10_000 }),
      );
      for (const span of sends) span.end();
    } catch (error) {
      for (const span of sends) span.end(error);
      throw error;
    }
  }

  return {
    ready: () => ready,
    async stop() {
      stopping = true;
      await consumer.stop();
    },
  };
}

const lockKey = ({ couponId, userId }: NewRequest) => `coupon:${couponId}:user:${userId}`;

function resultOf(decided: Decided, pseudonymKey: Buffer): CouponResult {
  const { requestId, couponId, userId, reason, couponHistoryId, requestedAtMs, decidedAtMs } = decided;
  return {
    requestId,
    couponId,
    user: pseudonym(pseudonymKey, userId),
    outcome: reason === undefined ? 'SUCCESS' : 'FAILED',
    ...(reason === undefined ? {} : { reason }),
    ...(couponHistoryId === undefined ? {} : { couponHistoryId }),
    requestedAt: new Date(requestedAtMs).toISOString(),
    decidedAt: new Date(decidedAtMs).toISOString(),
  };
}
