/** What a record says, read as the CloudEvents binding for Kafka says: attributes in headers, JSON as the value. */
import type { SeenRecord } from './reading.ts';

/** The value as JSON; undefined: it is none, or no object. */
export function bodyOf(record: Pick<SeenRecord, 'value'>): Readonly<Record<string, unknown>> | undefined {
  try {
    const body: unknown = JSON.parse(
      new TextDecoder('utf-8', { fatal: true }).decode(record.value ?? undefined),
    );
    return typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** A header as text; undefined: the record has none of this name. */
export function headerOf({ headers }: Pick<SeenRecord, 'headers'>, name: string): string | undefined {
  return headers[name]?.toString();
}

/** Trace id of a record's traceparent. */
export function traceIdOf(record: Pick<SeenRecord, 'headers'>): string | undefined {
  const id = headerOf(record, 'traceparent')?.split('-')[1];
  return id !== undefined && /^[0-9a-f]{32}$/.test(id) ? id : undefined;
}

/** `topic-partition-offset`, as dead letters name their source. */
export const nameOf = ({ topic, partition, offset }: Pick<SeenRecord, 'topic' | 'partition' | 'offset'>) =>
  `${topic}-${partition}-${offset}`;

/** The first record that shows one of these texts, in key, value or a header. */
export function showing(records: readonly SeenRecord[], personal: readonly string[]): SeenRecord | undefined {
  return records.find(({ key, value, headers }) => {
    const text = `${key} ${value} ${Object.entries(headers).flat().join(' ')}`;
    return personal.some((one) => text.includes(one));
  });
}

const uuids = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** Which of these ids, which are UUIDs, occur in the texts. */
export function mentioned(texts: readonly string[], ids: ReadonlySet<string>): ReadonlySet<string> {
  return new Set(texts.flatMap((text) => text.match(uuids) ?? []).filter((id) => ids.has(id)));
}
