/**
 * The ordering key as data: what is handled in order, requests of one coupon or requests of one user. Everything else is
 * one code: correctness never hangs on the order, only fairness does.
 */
import { type TProperties, Type } from 'typebox';
import type { CouponRequest, CouponResult } from '../../catalog/events/coupon.ts';
import { type ConsumerGroup, groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';

export interface Ordering {
  readonly name: 'coupon' | 'user';
  readonly requestTopic: string;
  readonly group: ConsumerGroup;
  readonly successTopic: string;
  readonly failureTopic: string;
  /** Where systems outside are told of coupons handed out. */
  readonly outsideTopic: string;
  requestKey(request: CouponRequest): string;
  resultKey(result: CouponResult): string;
}

export const orderings: Readonly<Record<Ordering['name'], Ordering>> = {
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

/** The setting that both coupon workers share. */
export const orderingSetting = {
  COUPON_ORDERING: Type.Union([Type.Literal('coupon'), Type.Literal('user')], {
    default: 'user',
    description: 'what is handled in order: the requests of one coupon, or those of one user',
  }),
} satisfies TProperties;
