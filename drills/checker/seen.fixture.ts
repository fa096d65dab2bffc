/** Records for tests, as the reader would give them. */
import type { SeenRecord } from './reading.ts';

export const trace = '0123456789abcdef0123456789abcdef';

/** A record with a trace; `value` is written as JSON unless it is text. */
export function seen(
  record: Partial<Omit<SeenRecord, 'key' | 'value' | 'headers'>> & {
    readonly key?: string | null;
    readonly value?: object | string;
    readonly headers?: Readonly<Record<string, string>>;
  },
): SeenRecord {
  const { topic = 'topic', partition = 0, offset = 0, key = null, value = {}, headers = {} } = record;
  const named = { traceparent: `00-${trace}-0123456789abcdef-01`, ...headers };
  return {
    topic,
    partition,
    offset,
    key: key === null ? null : Buffer.from(key),
    value: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
    headers: Object.fromEntries(Object.entries(named).map(([name, text]) => [name, Buffer.from(text)])),
  };
}
