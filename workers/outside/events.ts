/** Reads a record of `external-events`. Pure. */
import { couponIssued, paymentCompleted } from '../../catalog/events/outside.ts';
import { MusterError } from '../base/errors.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { headerText, readEvent } from '../kafka/records.ts';
import type { PublishedEvent } from '../store/event-log.ts';

export interface OutsideEvent extends PublishedEvent {
  /** Path of the webhook; its Idempotency-Key is the id: ce_id, else topic-partition-offset. */
  readonly path: string;
}

/** By type: what it looks like, where it is told, and the field that says what it is about. */
const kinds = {
  PaymentCompleted: {
    read: eventReader(paymentCompleted),
    path: '/webhooks/payment-completed',
    subject: 'orderId',
  },
  CouponIssued: {
    read: eventReader(couponIssued),
    path: '/webhooks/coupon-issued',
    subject: 'couponId',
  },
} as const;

/**
 * The event of a record; one without a type is a PaymentCompleted. Throws, without a word of its content:
 * MUSTER_EMPTY_VALUE, MUSTER_JSON_INVALID, MUSTER_EVENT_TYPE, MUSTER_EVENT_ID or MUSTER_FIELD_INVALID.
 */
export function readOutsideEvent(record: IncomingRecord): OutsideEvent {
  const { id, type = 'PaymentCompleted', timeMs } = readEvent(record);
  if (record.value === null) throw new MusterError('MUSTER_EMPTY_VALUE', 'the record has no value');
  if (!Object.hasOwn(kinds, type))
    throw new MusterError(
      'MUSTER_EVENT_TYPE',
      `the type of the event is none of ${Object.keys(kinds).join(', ')}`,
    );
  const { read, path, subject } = kinds[type as keyof typeof kinds];
  // It becomes an HTTP header.
  if (!/^[\x21-\x7e]{1,200}$/.test(id))
    throw new MusterError('MUSTER_EVENT_ID', 'the event id is not 1 to 200 visible ASCII characters');
  const value: Readonly<Record<string, unknown>> = read(record);
  return {
    id,
    type,
    path,
    subject: headerText(record, 'ce_subject')?.slice(0, 200) ?? String(value[subject]),
    body: record.value,
    // A clock that is out of all reason must not reach a column of times.
    publishedAtMs: timeMs > Date.UTC(2000, 0) && timeMs < Date.UTC(2200, 0) ? timeMs : record.timestampMs,
  };
}
