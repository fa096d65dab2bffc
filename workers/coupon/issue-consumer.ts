/**
 * Handles requests for coupons as they come off their topic, many of a partition in one transaction.
 *
 * Order of events: decide and commit, then write the outcomes and wait for Kafka's ack, then commit the offsets. Whoever
 * dies in between is followed by somebody who gets the same records again, finds them decided and tells the outcomes
 * again: at least once, with one effect. So no outbox is needed here, the request topic is it.
 */

import { context, trace } from '@opentelemetry/api';
import type { Logger } from 'winston';
import type { Understood } from '../kafka/apply.ts';
import { consume, type RecordConsumer } from '../kafka/consume.ts';
import type { Kafka, Producer, RawRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import { inSpan, type MessageSpan, startSend } from '../kafka/tracing-kafka.ts';
import { issuedRecord, parseRequest, resultOf } from './events.ts';
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

/** Between two fetches of a partition: a record that comes alone does not wait, under load one transaction decides more. */
const pauseMs = 30;

/** Decides requests and tells the outcomes until stopped. */
export async function startHandler(options: HandlerOptions): Promise<RecordConsumer> {
  const { store, producer, ordering, locks } = options;
  const { group } = ordering;

  const outside = (winner: Decided) => issuedRecord(winner, options.pseudonymKey);

  async function decideAndTell(understood: readonly Understood<NewRequest>[]): Promise<undefined> {
    if (understood.length === 0) return;
    const requests = understood.map(({ data }) => data);
    const decided = await locks.with([...new Set(requests.map(lockKey))], () =>
      decideRequests(store, requests, outside),
    );
    for (const each of decided) if (each.first) options.onDecided?.(each);
    const spans = new Map(understood.map(({ data, span }) => [data.requestId, span]));
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
    let wrong: unknown;
    try {
      await context.with(trace.deleteSpan(context.active()), () =>
        producer.send([...results, ...issued], { deadlineMs: 10_000 }),
      );
    } catch (error) {
      wrong = error;
      throw error;
    } finally {
      for (const span of sends) span.end(wrong);
    }
  }

  return consume<NewRequest>(options.kafka, {
    group,
    log: options.log,
    producer,
    atOnce: options.maxBatch ?? 500,
    pauseMs,
    parse: parseRequest,
    apply: decideAndTell,
    onFatal: options.onFatal,
  });
}

const lockKey = ({ couponId, userId }: NewRequest) => `coupon:${couponId}:user:${userId}`;
