/** What the join reads and sends as Kafka records: understanding one, refusing one, moving one to its user's partition. */
import type { PromoBehavior, Purchase } from '../../catalog/events/promotion.ts';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { HeaderValue, IncomingRecord, OutgoingRecord } from '../kafka/kafka.ts';
import type { Rejection, Standardised } from './fields.ts';
import { type Join, type Source, source, type Ticket } from './join.ts';
import { isPublicId } from './mask.ts';
import { parseJson, standardisePromoBehavior, standardisePurchase } from './standardise.ts';
import { parseUtcMs } from './time.ts';

/** What the join made of a record. */
export type Outcome = ReturnType<Join['act']> | ReturnType<Join['purchase']>;

/** The four sources, in the order of their numbers. */
export const sources = [source.purchase, source.purchaseByUser, source.act, source.actByUser] as const;
/** Topic of a source. */
export const topicOf = [
  topics.purchase.name,
  topics.purchaseByUser.name,
  topics.promoBehavior.name,
  topics.promoBehaviorByUser.name,
] as const;
/** Source that a topic is. */
export const sourceOf = new Map<string, Source>(sources.map((from) => [topicOf[from], from]));

const maxDeadLetterBytes = 900_000;
const appendedAtHeader = 'muster-appended-at';

export const otherBody: Rejection = {
  code: 'MUSTER_DUPLICATE_ID_OTHER_BODY',
  field: 'purchaseId',
  reason: 'a purchase with this id and another content came before',
};

/** The record in standard form, or why it cannot be understood. A zone-less time is in `timeZone`. */
export function understand(
  one: Source,
  record: IncomingRecord,
  timeZone: string,
): Standardised<Purchase | PromoBehavior> {
  const parsed = parseJson(record.value);
  if (!parsed.ok) return parsed;
  if (one >= source.act) return standardisePromoBehavior(parsed.value, { timeZone });
  const result = standardisePurchase(parsed.value, { timeZone });
  if (
    result.ok ||
    result.rejection.code !== 'MUSTER_FIELD_MISSING' ||
    result.rejection.field !== 'purchaseId'
  )
    return result;
  // An id of the sender's that must not go out gives way to where the record lies.
  const id = messageId(record);
  return standardisePurchase(parsed.value, {
    timeZone,
    fallbackId: isPublicId(id) ? id : positionOf(record),
  });
}

/** Gives a record in standard form to the join; `trace`: the traceparent that its answer will carry. */
export function feed(
  join: Join,
  ticket: Ticket,
  one: Source,
  record: IncomingRecord,
  value: Purchase | PromoBehavior,
  trace: string | undefined,
): Outcome {
  const appendedMs =
    one === source.purchase || one === source.act ? record.timestampMs : appendedMsOf(record);
  if (one >= source.act) {
    const act = value as PromoBehavior;
    return join.act(ticket, act.userId, act.promotionId, act.action, parseUtcMs(act.actedAt), appendedMs);
  }
  const purchase = value as Purchase;
  return join.purchase(ticket, purchase, parseUtcMs(purchase.purchasedAt), appendedMs, Date.now(), trace);
}

/** The record as a dead letter: its bytes (the first 900 kB) and headers, with the reason. */
export function deadLetter(one: Source, record: IncomingRecord, rejection: Rejection): OutgoingRecord {
  const topic = one < source.act ? topics.purchaseDlq.name : topics.promoBehaviorDlq.name;
  const tooLong = record.value !== null && record.value.length > maxDeadLetterBytes;
  return {
    topic,
    key: record.key,
    value: tooLong ? record.value.subarray(0, maxDeadLetterBytes) : record.value,
    headers: {
      ...headersOf(record),
      'muster-error-code': rejection.code,
      'muster-error-reason':
        rejection.field === '' ? rejection.reason : `${rejection.field}: ${rejection.reason}`,
      'muster-source': positionOf(record),
      'muster-failed-at': new Date().toISOString(),
      'muster-group': groups.promotionJoin.id,
      ...(tooLong ? { 'muster-cut': 'true' } : {}),
    },
  };
}

/**
 * The record in standard form on its way to the partition of its user. Its id and its append time go with it, and
 * traceparent `sentWith`, else its own.
 */
export function forwarded(
  one: Source,
  record: IncomingRecord,
  value: Purchase | PromoBehavior,
  sentWith: string | undefined,
): OutgoingRecord {
  const isPurchase = one < source.act;
  const traceparent = sentWith ?? textHeader(record, 'traceparent');
  return {
    topic: isPurchase ? topics.purchaseByUser.name : topics.promoBehaviorByUser.name,
    key: value.userId,
    value: JSON.stringify(value),
    headers: {
      ce_specversion: '1.0',
      ce_id: messageId(record),
      ce_type: isPurchase ? 'Purchase' : 'PromoBehavior',
      ce_source: textHeader(record, 'ce_source') ?? '/muster/promotion-join',
      ce_time: textHeader(record, 'ce_time') ?? new Date(record.timestampMs).toISOString(),
      'content-type': 'application/json',
      'muster-source': textHeader(record, 'muster-source') ?? positionOf(record),
      [appendedAtHeader]: String(appendedMsOf(record)),
      ...(traceparent === undefined ? {} : { traceparent }),
    },
  };
}

/** The sender's own id of a message, else where it lies. */
function messageId(record: IncomingRecord): string {
  const id = textHeader(record, 'ce_id');
  return id !== undefined && id !== '' && id.length <= 200 ? id : positionOf(record);
}

function positionOf({ topic, partition, offset }: IncomingRecord): string {
  return `${topic}-${partition}-${offset}`;
}

/** When a record was first appended: a forwarded one brings the time of its original. */
export function appendedMsOf(record: IncomingRecord): number {
  const text =
    record.headers[appendedAtHeader] === undefined ? undefined : textHeader(record, appendedAtHeader);
  const original = text !== undefined && /^\d{13}$/.test(text) ? Number(text) : record.timestampMs;
  return Math.min(original, record.timestampMs);
}

function textHeader(record: IncomingRecord, name: string): string | undefined {
  const value = record.headers[name];
  const first = Array.isArray(value) ? value[0] : value;
  return first === undefined || first === null ? undefined : first.toString();
}

function headersOf(record: IncomingRecord): Record<string, HeaderValue | readonly HeaderValue[]> {
  const headers: Record<string, HeaderValue | readonly HeaderValue[]> = {};
  for (const [name, value] of Object.entries(record.headers))
    if (value !== undefined) headers[name] = value as HeaderValue | readonly HeaderValue[];
  return headers;
}
