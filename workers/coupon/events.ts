/** What coupons say on Kafka. Pure. No output names a person: users are pseudonyms. */
import type { CouponIssued } from '../../catalog/events/outside.ts';
import { topics } from '../../catalog/topics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Decided } from './requests.ts';

/** What systems outside are told of a coupon that was handed out: the same words each time. */
export function issuedRecord(winner: Decided, pseudonymKey: Buffer): OutgoingRecord {
  const { couponId, userId, couponHistoryId, decidedAtMs } = winner;
  const user = pseudonym(pseudonymKey, userId);
  return eventRecord({
    topic: topics.externalEvents.name,
    key: `user:${user}`,
    type: 'CouponIssued',
    source: '/muster/coupon-issue',
    id: couponHistoryId!,
    subject: couponId,
    timeMs: decidedAtMs,
    data: {
      couponHistoryId: couponHistoryId!,
      couponId,
      user,
      issuedAt: new Date(decidedAtMs).toISOString(),
    } satisfies CouponIssued,
  });
}
