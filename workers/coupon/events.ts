/** What coupons say on Kafka, and how it is read. Pure. No output names a person: users are pseudonyms. */
import { type CouponResult, couponRequest, couponResult } from '../../catalog/events/coupon.ts';
import type { CouponIssued } from '../../catalog/events/outside.ts';
import { topics } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { IncomingRecord, OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord, headerText } from '../kafka/records.ts';
import type { Decided, NewRequest } from './requests.ts';

const readRequest = eventReader(couponRequest, 'MUSTER_COUPON_REQUEST_INVALID');

/** Understands a record, or throws MUSTER_COUPON_REQUEST_INVALID. */
export function parseRequest(record: IncomingRecord): NewRequest {
  const request = readRequest(record);
  if (!request.userId.isWellFormed())
    throw new MusterError('MUSTER_COUPON_REQUEST_INVALID', 'not a CouponRequest: its user id is no text');
  const traceparent = headerText(record, 'traceparent');
  return { ...request, traceparent: traceparent?.length === 55 ? traceparent : undefined };
}

/** What became of a request, as everybody is told. */
export function resultOf(decided: Decided, pseudonymKey: Buffer): CouponResult {
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

/** Understands a result. Throws MUSTER_COUPON_RESULT_INVALID. */
export const parseResult = eventReader(couponResult, 'MUSTER_COUPON_RESULT_INVALID');
