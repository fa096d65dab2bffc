/**
 * The wire form of an event: CloudEvents 1.0, Kafka binary binding (attributes as ce_* headers, the data as the value).
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
 */
import type { Bytes, IncomingRecord, OutgoingRecord } from './kafka.ts';

/** Where a record was first read, once it has travelled over retry or dead letter topics. */
export const originHeader = 'muster-source';

/** Why a record stands for others that cannot be read; its value is then the batch as it lies in the log. */
export const unreadableHeader = 'muster-unreadable';

export interface EventInput {
  readonly topic: string;
  readonly key: Bytes | string | null;
  readonly type: string;
  /** Who says so: a URI reference such as `/promotion-join`. */
  readonly source: string;
  /** Unique per source; consumers dedupe by it. */
  readonly id: string;
  /** What it is about: the id of an order, for example. */
  readonly subject?: string;
  /** When it happened, UTC ms. */
  readonly timeMs: number;
  /** Written as JSON. */
  readonly data?: unknown;
  /** The JSON as bytes or text already, instead of `data`. */
  readonly valueBytes?: Bytes | string;
  /** W3C context of the work that causes it; unset: the active span's, put in by the producer. */
  readonly traceparent?: string;
}

/** An event as a Kafka record. */
export function eventRecord(event: EventInput): OutgoingRecord {
  const headers: Record<string, string> = {
    ce_specversion: '1.0',
    ce_id: event.id,
    ce_type: event.type,
    ce_source: event.source,
    ce_time: new Date(event.timeMs).toISOString(),
    'content-type': 'application/json',
  };
  if (event.subject !== undefined) headers.ce_subject = event.subject;
  if (event.traceparent !== undefined) headers.traceparent = event.traceparent;
  return {
    topic: event.topic,
    key: event.key,
    value: event.valueBytes ?? JSON.stringify(event.data),
    headers,
  };
}

export interface EventView {
  /** ce_id, or `topic-partition-offset` of where a record that carries none was first read: stable over redeliveries. */
  readonly id: string;
  readonly type: string | undefined;
  readonly source: string | undefined;
  /** ce_time when it can be read, else the record's timestamp; UTC ms. */
  readonly timeMs: number;
  readonly traceparent: string | undefined;
}

/** What a record says of itself. Never throws: a plain producer's record without headers is welcome. */
export function readEvent(record: IncomingRecord): EventView {
  const ceTime = headerText(record, 'ce_time');
  const timeMs = ceTime === undefined ? Number.NaN : Date.parse(ceTime);
  return {
    id: headerText(record, 'ce_id') || headerText(record, originHeader) || placeOf(record),
    type: headerText(record, 'ce_type'),
    source: headerText(record, 'ce_source'),
    timeMs: Number.isNaN(timeMs) ? record.timestampMs : timeMs,
    traceparent: headerText(record, 'traceparent'),
  };
}

/** `topic-partition-offset`. */
export function placeOf(record: Pick<IncomingRecord, 'topic' | 'partition' | 'offset'>): string {
  return `${record.topic}-${record.partition}-${record.offset}`;
}

/** Reads `topic-partition-offset`; topics may have dashes of their own. Undefined when it is not one. */
export function parsePlace(place: string): { topic: string; partition: number; offset: number } | undefined {
  const match = /^(.+)-(\d+)-(\d+)$/.exec(place);
  return match ? { topic: match[1]!, partition: Number(match[2]), offset: Number(match[3]) } : undefined;
}

/** A header as text; of several under one name the last, as later additions come behind. */
export function headerText(record: Pick<IncomingRecord, 'headers'>, name: string): string | undefined {
  const header = record.headers[name];
  const value = Array.isArray(header) ? header.at(-1) : header;
  return value === undefined || value === null ? undefined : value.toString();
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A value as JSON. Throws for bytes that are not UTF-8, and for text that is not JSON: nothing is repaired. */
export function jsonOf(value: Buffer): unknown {
  return JSON.parse(utf8.decode(value));
}
