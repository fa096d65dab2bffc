/**
 * Taking requests in: durable first, then published.
 *
 * Group commit: requests that arrive while a transaction runs share the next one, so that the cost of a commit (round
 * trips, the disk) is paid once for many. The event log rows and one row of the outbox for all of them commit together;
 * only then a request is answered. What was committed is published from memory; when that fails, or this process dies, the
 * row is published by whichever relay finds it. No order of requests that are under way at the same time is promised: what
 * is handled in order is what lies on the topic.
 */
import { context, trace } from '@opentelemetry/api';
import type { CouponRequest } from '../../catalog/events/coupon.ts';
import { uuidV7 } from '../base/ids.ts';
import { eventRecord } from '../kafka/records.ts';
import { traceparentOf } from '../kafka/tracing-kafka.ts';
import { groupCommit } from '../store/group-commit.ts';
import type { OutboxRecord } from '../store/outbox.ts';
import type { Relay } from '../store/relay.ts';
import type { Ordering } from './ordering.ts';
import { acceptRequests, type NewRequest, type RequestStore } from './requests.ts';

export interface IntakeOptions {
  readonly store: RequestStore;
  readonly relay: Pick<Relay, 'publish'>;
  readonly ordering: Ordering;
  /** Called with the number of requests of each commit. */
  onAccepted?(requests: number): void;
}

export interface Intake {
  /**
   * Resolves to the request's id when it is durable. Rejects with MUSTER_DATABASE_DOWN (it may have been stored all the
   * same, and then it is decided like any other) or MUSTER_OVERLOADED.
   */
  request(asked: Omit<CouponRequest, 'requestId'>): Promise<string>;
}

export function startIntake({ store, relay, ordering, onAccepted }: IntakeOptions): Intake {
  const accept = groupCommit(
    async (requests: readonly NewRequest[]) => {
      const row = await acceptRequests(store, requests, requestRecords(requests, ordering));
      // Before the answers, and never failing: what is durable will be published.
      relay.publish(row);
      onAccepted?.(requests.length);
      return requests.map(({ requestId }) => requestId);
    },
    // A request that comes alone goes at once; under load commits keep their distance and grow.
    { most: 500, waiting: 10_000, everyMs: 10 },
  );
  return {
    request({ userId, couponId }) {
      const span = trace.getSpan(context.active())?.spanContext();
      const traceparent = span === undefined ? undefined : traceparentOf(span);
      return accept({ requestId: uuidV7(Date.now()), userId, couponId, traceparent });
    },
  };
}

/** Requests as they lie on their topic, each going on in the trace that it came in. */
export function requestRecords(requests: readonly NewRequest[], ordering: Ordering): readonly OutboxRecord[] {
  const timeMs = Date.now();
  return requests.map(({ requestId, userId, couponId, traceparent }) => {
    const data: CouponRequest = { requestId, userId, couponId };
    return eventRecord({
      topic: ordering.requestTopic,
      key: ordering.requestKey(data),
      type: 'CouponRequest',
      source: '/muster/coupon-api',
      id: requestId,
      timeMs,
      data,
      ...(traceparent === undefined ? {} : { traceparent }),
    });
  });
}
