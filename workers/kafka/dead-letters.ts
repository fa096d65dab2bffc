/**
 * Dead letters: records that could not be understood or handled, kept as raw bytes in `<topic>.dlq` with the reason in
 * headers, to be looked at, counted and replayed.
 */
import { MusterError } from '../base/errors.ts';
import type { IncomingRecord, Kafka, Producer, RawHeaders, RawRecord } from './kafka.ts';
import { headerText, originHeader, parsePlace, placeOf, unreadableHeader } from './records.ts';

export const deadLetterSuffix = '.dlq';
/** Its committed offset on a dead letter topic says what was replayed already. */
export const replayGroup = 'muster-dlq-replay';

export interface DeadLetterReason {
  /** A stable MUSTER_* code. */
  readonly code: string;
  /** A sentence without personal data; never the value or a part of it. */
  readonly reason: string;
  readonly group: string;
}

/** The dead letter of a record: key, value (a tombstone stays one) and all headers as they are, the reason added. */
export function deadLetterOf(record: IncomingRecord, why: DeadLetterReason, nowMs: number): RawRecord {
  const origin = headerText(record, originHeader) ?? placeOf(record);
  const unreadable = headerText(record, unreadableHeader);
  return {
    topic: `${parsePlace(origin)?.topic ?? record.topic}${deadLetterSuffix}`,
    key: record.key,
    value: record.value,
    headers: {
      ...(record.headers as RawHeaders),
      'muster-error-code': unreadable === undefined ? why.code : 'MUSTER_KAFKA_UNREADABLE',
      'muster-error-reason': (unreadable ?? why.reason).slice(0, 500),
      [originHeader]: origin,
      'muster-failed-at': new Date(nowMs).toISOString(),
      'muster-group': why.group,
    },
  };
}

export interface DeadLetterSummary {
  readonly topic: string;
  readonly entries: number;
  /** Entries that were not replayed yet. */
  readonly open: number;
}

/** All dead letter topics with what is in them. */
export async function listDeadLetters(kafka: Kafka): Promise<readonly DeadLetterSummary[]> {
  const names = (await kafka.admin.topicNames()).filter((name) => name.endsWith(deadLetterSuffix)).sort();
  const summaries: DeadLetterSummary[] = [];
  for (const topic of names) {
    let entries = 0;
    let open = 0;
    const replayed = await kafka.admin.committed(replayGroup, topic);
    for (const { partition, low, high } of await kafka.admin.offsets(topic)) {
      entries += high - low;
      open += high - Math.max(low, Math.min(high, replayed.get(partition) ?? low));
    }
    summaries.push({ topic, entries, open });
  }
  return summaries;
}

export interface DeadLetterEntry {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly failedAt: string | undefined;
  readonly code: string;
  readonly reason: string;
  readonly source: string;
  readonly group: string | undefined;
  readonly replayed: boolean;
  readonly keyBytes: number | null;
  readonly valueBytes: number | null;
  /** The raw record. It may hold personal data: for whoever asked for this one entry, never for a log. */
  readonly record: IncomingRecord;
}

/** Entries of a dead letter topic (`purchase` or `purchase.dlq`), oldest first, the last `limit` of each partition. */
export async function showDeadLetters(
  kafka: Kafka,
  topic: string,
  options: { readonly limit?: number } = {},
): Promise<readonly DeadLetterEntry[]> {
  const name = await deadLetterTopicNamed(kafka, topic);
  const limit = options.limit ?? 100;
  const replayed = await kafka.admin.committed(replayGroup, name);
  const entries: DeadLetterEntry[] = [];
  for (const { partition, low, high } of await kafka.admin.offsets(name)) {
    for await (const chunk of kafka.read(name, partition, Math.max(low, high - limit), high)) {
      for (const record of chunk)
        entries.push(entryOf(record, record.offset < (replayed.get(partition) ?? 0)));
    }
  }
  return entries;
}

function entryOf(record: IncomingRecord, replayed: boolean): DeadLetterEntry {
  return {
    topic: record.topic,
    partition: record.partition,
    offset: record.offset,
    failedAt: headerText(record, 'muster-failed-at'),
    code: headerText(record, 'muster-error-code') ?? 'unknown',
    reason: headerText(record, 'muster-error-reason') ?? 'not told',
    source: headerText(record, originHeader) ?? 'unknown',
    group: headerText(record, 'muster-group'),
    replayed,
    keyBytes: record.key?.length ?? null,
    valueBytes: record.value?.length ?? null,
    record,
  };
}

/** The record to send again: to its source topic, as it was before muster touched it. */
export function replayOf(record: IncomingRecord): RawRecord {
  const headers = Object.fromEntries(
    Object.entries(record.headers as RawHeaders).filter(([name]) => !name.startsWith('muster-')),
  );
  const source = parsePlace(headerText(record, originHeader) ?? '');
  return {
    topic: source?.topic ?? record.topic.slice(0, -deadLetterSuffix.length),
    key: record.key,
    value: record.value,
    // Without an id of its own a record is known by its place; the old place keeps dedupe working.
    headers:
      headers.ce_id === undefined && source
        ? { ...headers, ce_id: headerText(record, originHeader)! }
        : headers,
  };
}

/**
 * Sends the dead letters of a topic back to where they came from. What was replayed before is left alone unless
 * `again`; progress is kept after every chunk, so that a replay that was cut off goes on where it stopped (a chunk may
 * then come twice: consumers dedupe by id).
 */
export async function replayDeadLetters(
  kafka: Kafka,
  producer: Producer,
  topic: string,
  options: { readonly again?: boolean; readonly limit?: number } = {},
): Promise<{ readonly replayed: number; readonly left: number }> {
  const name = await deadLetterTopicNamed(kafka, topic);
  const limit = options.limit ?? Number.POSITIVE_INFINITY;
  const done = await kafka.admin.committed(replayGroup, name);
  let replayed = 0;
  let left = 0;
  for (const { partition, low, high } of await kafka.admin.offsets(name)) {
    const from = options.again ? low : Math.max(low, Math.min(high, done.get(partition) ?? low));
    let position = from;
    if (replayed < limit) {
      for await (const chunk of kafka.read(name, partition, from, high)) {
        const taken = chunk.slice(0, limit - replayed);
        await producer.send(taken.map(replayOf));
        replayed += taken.length;
        position = taken.at(-1)!.offset + 1;
        const committed = Math.max(position, done.get(partition) ?? 0);
        await kafka.admin.setCommitted(replayGroup, name, new Map([[partition, committed]]));
        if (replayed >= limit) break;
      }
    }
    left += high - position;
  }
  return { replayed, left };
}

async function deadLetterTopicNamed(kafka: Kafka, topic: string): Promise<string> {
  const name = topic.endsWith(deadLetterSuffix) ? topic : `${topic}${deadLetterSuffix}`;
  const names = await kafka.admin.topicNames();
  if (names.includes(name)) return name;
  const known = names.filter((other) => other.endsWith(deadLetterSuffix)).sort();
  throw new MusterError(
    'MUSTER_DLQ_UNKNOWN',
    `no dead letter topic ${name}; there ${known.length === 1 ? 'is' : 'are'}: ${known.join(', ') || 'none'}`,
  );
}
