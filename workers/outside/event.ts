/** Reads a record of `external-events`. Pure. */
import { createHash } from 'node:crypto';
import { Compile } from 'typebox/compile';
import { type PaymentCompleted, paymentCompleted } from '../../catalog/events/outside.ts';
import { topics } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { readEvent } from '../kafka/records.ts';

export interface OutsideEvent {
  /** ce_id, else topic-partition-offset: the webhook's Idempotency-Key. */
  readonly id: string;
  readonly payment: PaymentCompleted;
  /** SHA-256 of the record's value. */
  readonly bodyHash: Buffer;
  /** When it happened, by the event's own word; UTC ms. */
  readonly publishedAtMs: number;
}

const isPayment = Compile(paymentCompleted);
const eventType = topics.externalEvents.event.type;

/**
 * The event of a record. Throws, without a word of its content: MUSTER_EMPTY_VALUE, MUSTER_JSON_INVALID,
 * MUSTER_EVENT_TYPE, MUSTER_EVENT_ID or MUSTER_FIELD_INVALID.
 */
export function readOutsideEvent(record: IncomingRecord): OutsideEvent {
  const { id, type, timeMs } = readEvent(record);
  if (record.value === null) throw new MusterError('MUSTER_EMPTY_VALUE', 'the record has no value');
  if (type !== undefined && type !== eventType)
    throw new MusterError('MUSTER_EVENT_TYPE', `the type of the event is not ${eventType}`);
  // It becomes an HTTP header.
  if (!/^[\x21-\x7e]{1,200}$/.test(id))
    throw new MusterError('MUSTER_EVENT_ID', 'the event id is not 1 to 200 visible ASCII characters');
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(record.value));
  } catch {
    throw new MusterError('MUSTER_JSON_INVALID', 'the value is not JSON');
  }
  if (!isPayment.Check(value)) {
    const fields = new Set(
      isPayment
        .Errors(value)
        .map(({ instancePath }) => instancePath.slice(1).replaceAll('/', '.') || 'value'),
    );
    // Paths of an unknown field would repeat what the sender wrote.
    const known = [...fields].filter((field) => /^(value|paymentId|orderId|amount|timestamp)\b/.test(field));
    throw new MusterError('MUSTER_FIELD_INVALID', `not a ${eventType}: see ${known.join(', ') || 'value'}`);
  }
  return {
    id,
    payment: value,
    bodyHash: createHash('sha256').update(record.value).digest(),
    // A clock that is out of all reason must not reach a column of times.
    publishedAtMs: timeMs > Date.UTC(2000, 0) && timeMs < Date.UTC(2200, 0) ? timeMs : record.timestampMs,
  };
}
