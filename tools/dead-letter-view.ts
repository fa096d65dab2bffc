/** How dead letters are shown: whole and raw only when asked for, else with everything personal masked. Pure. */
import type { DeadLetterEntry } from '../workers/kafka/dead-letters.ts';
import { headerText } from '../workers/kafka/records.ts';

/** Fields whose value may be shown as it is: they say nothing about a person. */
const harmless = new Set([
  'couponId',
  'orderId',
  'paymentId',
  'promotionId',
  'promotion_id',
  'requestId',
  'productId',
  'product_id',
  'productName',
  'product_name',
  'quantity',
  'qty',
  'price',
  'amount',
  'amountMinor',
  'currency',
  'action',
  'purchasedAt',
  'purchased_at',
  'actedAt',
  'acted_at',
  'timestamp',
  'ts',
]);

/**
 * A value with everything that could be personal replaced by its kind and length. Only JSON objects show anything:
 * of bytes that are not understood nobody can say what they hold.
 */
export function maskedValue(value: Buffer | null): string {
  if (value === null) return 'no value (tombstone)';
  let parsed: unknown;
  try {
    parsed = JSON.parse(value.toString('utf8'));
  } catch {
    return `${value.length} bytes that are no JSON`;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return `${value.length} bytes, JSON ${Array.isArray(parsed) ? 'array' : typeof parsed}`;
  return JSON.stringify(maskedFields(parsed, 3));
}

/** Objects in a field that may be shown are shown in the same way, a few levels deep. */
function maskedFields(fields: object, levels: number): object {
  const shown = (name: string, field: unknown): unknown => {
    if (!harmless.has(name)) return masked(field);
    if (typeof field !== 'object' || field === null) return looksPersonal(field) ? masked(field) : field;
    return levels > 1 && !Array.isArray(field) ? maskedFields(field, levels - 1) : masked(field);
  };
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [
      // A name that we do not know may itself be data.
      /^[A-Za-z_][A-Za-z0-9_-]{0,40}$/.test(name) && !/\d{6,}/.test(name) ? name : '(odd name)',
      shown(name, field),
    ]),
  );
}

/** Long runs of digits (cards, phones) and addresses hide in free text. */
function looksPersonal(field: unknown): boolean {
  const text = String(field);
  return text.length > 60 || /@/.test(text) || text.replaceAll(/[ -]/g, '').match(/\d{14,}/) !== null;
}

function masked(field: unknown): string {
  if (typeof field === 'string') return `(text, ${field.length})`;
  if (typeof field === 'number') return '(number)';
  if (Array.isArray(field)) return `(list, ${field.length})`;
  return field === null ? '(null)' : `(${typeof field})`;
}

/** When the newest entry came, and the three most frequent codes. */
export function newestReasons(entries: readonly DeadLetterEntry[]): {
  readonly newest: string;
  readonly why: string;
} {
  const times = entries.flatMap(({ failedAt }) => (failedAt === undefined ? [] : [failedAt])).sort();
  const counts = [...Map.groupBy(entries, ({ code }) => code)].map(
    ([code, those]) => [code, those.length] as const,
  );
  counts.sort((a, b) => b[1] - a[1]);
  const said = counts.slice(0, 3).map(([code, number]) => `${code}${number > 1 ? ` x${number}` : ''}`);
  if (counts.length > said.length) said.push(`${counts.length - said.length} more`);
  return { newest: times.at(-1) ?? '', why: said.join(', ') };
}

/** One entry for people: what it was, why it is here, and what it says. */
export function shownEntry(entry: DeadLetterEntry, { raw }: { readonly raw: boolean }): string {
  const { record } = entry;
  const { key, value } = record;
  const header = (name: string) => headerText(record, name);
  const id = header('ce_id');
  const type = header('ce_type');
  const retries = Number(header('muster-attempt') ?? 0);
  const traceId = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(header('traceparent') ?? '')?.[1];
  const from = [
    entry.source,
    ...(entry.group === undefined ? [] : [`group ${entry.group}`]),
    ...(retries > 0 ? [`after ${retries} ${retries === 1 ? 'retry' : 'retries'}`] : []),
  ];
  const lines: (readonly [string, string])[] = [
    ['reason', entry.reason],
    ...(id === undefined
      ? []
      : [
          [
            'event',
            `${shownWord(id, raw)}${type === undefined ? '' : ` (${shownWord(type, raw)})`}`,
          ] as const,
        ]),
    ['from', from.join(', ')],
    ...(traceId === undefined ? [] : [['trace', traceId] as const]),
    ['key', raw ? rawText(key) : key === null ? 'none' : `${key.length} bytes`],
    ['value', raw ? rawText(value) : maskedValue(value)],
  ];
  const place = `${entry.topic}-${entry.partition}-${entry.offset}`;
  const head = [place, entry.failedAt ?? '', `${entry.code}${entry.replayed ? ', replayed' : ''}`];
  return [head.join('  '), ...lines.map(([name, text]) => `  ${name.padEnd(6)}  ${text}`), ''].join('\n');
}

/** An id is shown when it looks like one that a program has made. */
function shownWord(text: string, raw: boolean): string {
  return raw ||
    (/^[\w.:/-]{1,100}$/.test(text) && !looksPersonal(text.slice(0, 60)) && !text.startsWith('user:'))
    ? text
    : masked(text);
}

/** Bytes as text where they are text, else as hexadecimal. */
export function rawText(bytes: Buffer | null): string {
  if (bytes === null) return 'null';
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : `0x${bytes.toString('hex')}`;
}
