/** What the join reads and sends as Kafka records: understanding one, refusing one, moving one to its user's partition. */
import type { PromoBehavior, Purchase } from '../../catalog/events/promotion.ts';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { HeaderValue, IncomingRecord, OutgoingRecord } from '../kafka/kafka.ts';
import type { Rejection, Standardised } from './fields.ts';
import type { Join } from './join.ts';
import { type ReadRun, type Source, source, sources } from './join-runs.ts';
import { isPublicId } from './mask.ts';
import { parseJson, standardisePromoBehavior, standardisePurchase } from './standardise.ts';
import { parseUtcMs } from './time.ts';

/** What the join made of a record. */
export type Outcome = ReturnType<Join['act']> | ReturnType<Join['purchase']>;

/** Topic of a source. */
export const topicOf = [
  topics.purchase.name,
  topics.purchaseByUser.name,
  topics.promoBehavior.name,
  topics.promoBehaviorByUser.name,
] as const;
/** Source that a topic is. */
export const sourceOf = new Map<string, Source>(sources.map((from) => [topicOf[from] as string, from]));

const maxDeadLetterBytes = 900_000;
const appendedAtHeader = 'muster-appended-at';
const movedAmongHeader = 'muster-moved-among';

export const otherBody: Rejection = {
  code: 'MUSTER_DUPLICATE_ID_OTHER_BODY',
  field: 'purchaseId',
  reason: 'a purchase of this user with this id and another content came before',
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

/** When it happened, by its own word; UTC ms. */
export function happenedMs(value: Purchase | PromoBehavior): number {
  return parseUtcMs('purchasedAt' in value ? value.purchasedAt : value.actedAt);
}

/** When a record of a source was first appended: a moved one brings the time of its original. */
export function firstAppendedMs(one: Source, record: IncomingRecord): number {
  return one === source.purchase || one === source.act ? record.timestampMs : appendedMsOf(record);
}

/** Gives a record in standard form to the join; `trace`: the traceparent that its answer will carry. */
export function takeIn(
  join: Join,
  run: ReadRun,
  value: Purchase | PromoBehavior,
  times: { readonly happenedMs: number; readonly appendedMs: number; readonly nowMs: number },
  trace?: string,
): Outcome {
  const { happenedMs, appendedMs, nowMs } = times;
  return 'purchaseId' in value
    ? join.purchase(run, value, happenedMs, appendedMs, nowMs, trace)
    : join.act(value.userId, value.promotionId, value.action, happenedMs, appendedMs);
}

/** Where the user of a record belongs, of how many partitions. */
export interface Home {
  readonly partition: number;
  readonly among: number;
}

/**
 * Whether a record that was read from a partition is joined there: it is its user's, or it was moved here by somebody who
 * knew of as many partitions or more. Without that two members that disagree, while partitions are added, would pass it
 * to each other for ever.
 */
export function staysAt(partition: number, record: IncomingRecord, home: Home): boolean {
  return home.partition === partition || movedAmong(record) >= home.among;
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
 * traceparent `sentWith`, else its own. It says among how many partitions its home was chosen.
 */
export function moved(
  one: Source,
  record: IncomingRecord,
  value: Purchase | PromoBehavior,
  home: Home,
  sentWith: string | undefined,
): OutgoingRecord {
  const isPurchase = one < source.act;
  const traceparent = sentWith ?? textHeader(record, 'traceparent');
  return {
    topic: isPurchase ? topics.purchaseByUser.name : topics.promoBehaviorByUser.name,
    partition: home.partition,
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
      [movedAmongHeader]: String(home.among),
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

/** Among how many partitions a record was moved to its user's; 0: it was not. */
function movedAmong(record: IncomingRecord): number {
  if (record.headers[movedAmongHeader] === undefined) return 0;
  const text = textHeader(record, movedAmongHeader);
  return text !== undefined && /^\d{1,6}$/.test(text) ? Number(text) : 0;
}

/** When a record was first appended: a moved one brings the time of its original. */
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
