/**
 * The ordering key as data: what is handled in order for a coupon, its requests or those of each user. It is chosen when the
 * coupon is created, and both are served side by side. Everything else is one code: correctness never hangs on the order,
 * only fairness does.
 */
import type { CouponRequest, CouponResult, OrderBy } from '../../catalog/events/coupon.ts';
import { type ConsumerGroup, groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';

export interface Ordering {
  readonly name: OrderBy;
  readonly requestTopic: string;
  readonly group: ConsumerGroup;
  readonly successTopic: string;
  readonly failureTopic: string;
  /** Where systems outside are told of coupons handed out. */
  readonly outsideTopic: string;
  requestKey(request: CouponRequest): string;
  resultKey(result: CouponResult): string;
}

export type Orderings = Readonly<Record<OrderBy, Ordering>>;

export const orderings: Orderings = {
  coupon: {
    name: 'coupon',
    requestTopic: topics.couponIssue.name,
    group: groups.couponIssue,
    successTopic: topics.couponIssueSucceeded.name,
    failureTopic: topics.couponIssueFailed.name,
    outsideTopic: topics.externalEvents.name,
    requestKey: ({ couponId }) => couponId,
    resultKey: ({ couponId }) => couponId,
  },
  user: {
    name: 'user',
    requestTopic: topics.couponRequests.name,
    group: groups.couponRequest,
    successTopic: topics.couponResults.name,
    failureTopic: topics.couponResults.name,
    outsideTopic: topics.externalEvents.name,
    requestKey: ({ userId }) => `user:${userId}`,
    // A result topic is an output: the user is a pseudonym there, in the key, too.
    resultKey: ({ user }) => `user:${user}`,
  },
};

/** Coupons whose ordering is remembered: the ones asked for last. */
const remembered = 10_000;

/**
 * Says what is in order for a coupon; an ordering never changes, so the store (`find`) is asked once per coupon. A coupon
 * that there is not is asked for again, and goes by user: it is refused as NOT_FOUND wherever it goes.
 */
export function orderingOf(
  orderings: Orderings,
  find: (couponId: string) => Promise<OrderBy | undefined>,
): (couponId: string) => Promise<Ordering> {
  const known = new Map<string, Promise<OrderBy | undefined>>();
  return async (couponId) => {
    let asked = known.get(couponId);
    if (asked === undefined) {
      asked = find(couponId);
      known.set(couponId, asked);
      if (known.size > remembered) known.delete(known.keys().next().value!);
      const forget = () => known.get(couponId) === asked && known.delete(couponId);
      asked.then((orderBy) => orderBy === undefined && forget(), forget);
    }
    return orderings[(await asked) ?? 'user'];
  };
}
