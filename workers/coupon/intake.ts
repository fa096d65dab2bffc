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
import type { CouponRequest, OrderBy } from '../../catalog/events/coupon.ts';
import { uuidV7 } from '../base/ids.ts';
import { eventRecord } from '../kafka/records.ts';
import { traceparentOf } from '../kafka/tracing-kafka.ts';
import { groupCommit } from '../store/group-commit.ts';
import type { OutboxRecord } from '../store/outbox.ts';
import type { Relay } from '../store/relay.ts';
import { type Ordering, type Orderings, orderingOf } from './ordering.ts';
import { acceptRequests, type NewRequest, type RequestStore } from './requests.ts';

export interface IntakeOptions {
  readonly store: RequestStore;
  readonly relay: Pick<Relay, 'publish'>;
  readonly orderings: Orderings;
  /** Called for each commit with the number of its requests, by what is in order for their coupons. */
  onAccepted?(orderBy: OrderBy, requests: number): void;
}

export interface Intake {
  /**
   * Resolves to the request's id when it is durable. Rejects with MUSTER_DATABASE_DOWN (it may have been stored all the
   * same, and then it is decided like any other) or MUSTER_OVERLOADED.
   */
  request(asked: Omit<CouponRequest, 'requestId'>): Promise<string>;
}

export function startIntake({ store, relay, orderings, onAccepted }: IntakeOptions): Intake {
  const orderingFor = orderingOf(orderings, store.findOrderBy);
  const accept = groupCommit(
    async (asked: readonly { readonly request: NewRequest; readonly ordering: Ordering }[]) => {
      const requests = asked.map(({ request }) => request);
      const records = asked.map(({ request, ordering }) => requestRecord(request, ordering));
      const row = await acceptRequests(store, requests, records);
      // Before the answers, and never failing: what is durable will be published.
      relay.publish(row);
      for (const [name, list] of Map.groupBy(asked, ({ ordering }) => ordering.name))
        onAccepted?.(name, list.length);
      return requests.map(({ requestId }) => requestId);
    },
    // A request that comes alone goes at once; under load commits keep their distance and grow.
    { most: 500, waiting: 10_000, everyMs: 10 },
  );
  return {
    async request({ userId, couponId }) {
      const ordering = await orderingFor(couponId);
      const span = trace.getSpan(context.active())?.spanContext();
      const traceparent = span === undefined ? undefined : traceparentOf(span);
      return accept({ request: { requestId: uuidV7(Date.now()), userId, couponId, traceparent }, ordering });
    },
  };
}

/** A request as it lies on its topic, going on in the trace that it came in. */
export function requestRecord(request: NewRequest, ordering: Ordering): OutboxRecord {
  const { requestId, userId, couponId, traceparent } = request;
  const data: CouponRequest = { requestId, userId, couponId };
  return eventRecord({
    topic: ordering.requestTopic,
    key: ordering.requestKey(data),
    type: 'CouponRequest',
    source: '/muster/coupon-api',
    id: requestId,
    timeMs: Date.now(),
    data,
    ...(traceparent === undefined ? {} : { traceparent }),
  });
}
