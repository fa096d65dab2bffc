/** Outcomes on their way to clients: from the result topics to the connections of this replica. */
import { trace } from '@opentelemetry/api';
import type { Logger } from 'winston';
import type { CouponReason, CouponResult } from '../../catalog/events/coupon.ts';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import type { Letter, Mailboxes } from '../http/mailbox.ts';
import type { Understood } from '../kafka/apply.ts';
import { consume, type RecordConsumer } from '../kafka/consume.ts';
import type { Kafka, Producer } from '../kafka/kafka.ts';
import { headerText } from '../kafka/records.ts';
import { inSpan, parseTraceparent } from '../kafka/tracing-kafka.ts';
import { parseResult } from './events.ts';
import type { LoggedRequest } from './store.ts';

/** Between two fetches of a partition, so that under load one brings more. */
const pauseMs = 30;
const tracer = trace.getTracer('muster/coupon');

/** What a client is told of a request. */
export interface CouponOutcome {
  readonly requestId: string;
  readonly couponId: string;
  readonly outcome: 'SUCCESS' | 'FAILED';
  readonly reason?: CouponReason;
  readonly couponHistoryId?: string;
  /** The trace that began with the request; absent when it was not traced. */
  readonly traceId?: string;
}

/** As it is sent: known by the request's id. */
export const letterOf = (outcome: CouponOutcome): Letter => ({
  type: 'coupon-outcome',
  id: outcome.requestId,
  data: outcome,
});

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
  readonly producer: Producer;
  readonly mailboxes: Mailboxes;
  readonly group: ConsumerGroup;
  readonly log: Logger;
  /** Called for each outcome that was sent to a client, with the time since its request. */
  onPushed?(sinceRequestMs: number): void;
  onFatal(error: Error): void;
}

/** Reads all results (every replica does) and pushes those whose users have clients here. */
export async function startPusher(options: PusherOptions): Promise<Pick<RecordConsumer, 'ready' | 'stop'>> {
  const { mailboxes, group } = options;
  const consumer = await consume<CouponResult>(options.kafka, {
    group,
    log: options.log,
    producer: options.producer,
    pauseMs,
    parse: parseResult,
    async apply(results) {
      for (const result of results) pushOne(result);
      return undefined;
    },
    onFatal: options.onFatal,
  });

  /** That it was sent is noted nowhere: it counts when a client has acknowledged it. */
  function pushOne({ data: result, record, span: process }: Understood<CouponResult>): void {
    if (!mailboxes.has(result.user)) return;
    const traceparent = headerText(record, 'traceparent');
    const clients = inSpan(process, () => {
      const span = process === undefined ? undefined : tracer.startSpan('push coupon-outcome');
      const count = mailboxes.push(result.user, letterOf(outcomeOf(result, traceparent)));
      span?.setAttribute('coupon.push.clients', count);
      span?.end();
      return count;
    });
    if (clients > 0) options.onPushed?.(Date.now() - Date.parse(result.requestedAt));
  }

  return consumer;
}
