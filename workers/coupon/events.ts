/** What coupons say on Kafka, and how it is read. Pure. No output names a person: users are pseudonyms. */
import { Compile } from 'typebox/compile';
import { type CouponResult, couponRequest, couponResult } from '../../catalog/events/coupon.ts';
import type { CouponIssued } from '../../catalog/events/outside.ts';
import { topics } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import { pseudonym } from '../base/pseudonym.ts';
import type { IncomingRecord, OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord, headerText, jsonOf } from '../kafka/records.ts';
import type { Decided, NewRequest } from './requests.ts';

const isRequest = Compile(couponRequest);
const isResult = Compile(couponResult);

/** Understands a record, or throws MUSTER_COUPON_REQUEST_INVALID. */
export function parseRequest(record: IncomingRecord): NewRequest {
  const invalid = (why: string, cause?: unknown) =>
    new MusterError('MUSTER_COUPON_REQUEST_INVALID', `not a request for a coupon: ${why}`, { cause });
  if (record.value === null) throw invalid('it has no value');
  let value: unknown;
  try {
    value = jsonOf(record.value);
  } catch {
    throw invalid('its value is no JSON');
  }
  if (!isRequest.Check(value)) throw invalid('its value is not of the schema CouponRequest');
  if (!value.userId.isWellFormed()) throw invalid('its user id is no text');
  const traceparent = headerText(record, 'traceparent');
  return { ...value, traceparent: traceparent?.length === 55 ? traceparent : undefined };
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
