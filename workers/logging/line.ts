/** A log line as the store has it: what people search by in fields of its own, and the line as it was written. Pure. */
import { logHeaders } from '../../catalog/logs.ts';
import { MusterError } from '../base/errors.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { headerText, jsonOf, readEvent } from '../kafka/records.ts';

export interface StoredLine {
  /** The same for the same line, however often it comes. */
  readonly id: string;
  readonly timeMs: number;
  /** RFC 3339 with nine digits. Those below the millisecond keep lines of one process in their order. */
  readonly time: string;
  /** Which line of which life of a process; undefined: of a program that does not count. */
  readonly numbered: { readonly instance: string; readonly sequence: number } | undefined;
  readonly process: string;
  /** As it was written. */
  readonly text: string;
  /** By the names that they have in the store. */
  readonly fields: Readonly<Record<string, string>>;
}

/** A producer's clock may be off by as much; of a line that is further off, the time counts at which it came. */
const clockMayBeOffMs = 3_600_000;
/** What comes later than this says nothing of when it was written. */
const mayWaitMs = 86_400_000;
/** In characters. The store skips what is as long as 256 KiB and says that it has taken it: so a line is shorter in any alphabet. */
const most = { line: 64 * 1024, message: 8 * 1024 + 50, word: 200 } as const;

/** The line of a record. Throws MUSTER_LOG_LINE_UNKNOWN for what is no JSON object. */
export function lineOf(record: IncomingRecord): StoredLine {
  const { id, timeMs } = readEvent(record);
  const entry = entryOf(record);
  const instance = headerText(record, logHeaders.instance);
  const sequence = headerText(record, logHeaders.sequence);
  const dropped = headerText(record, logHeaders.dropped);
  const whole = String(record.value);
  const text = whole.slice(0, most.line);
  const word = (value: unknown) => textOf(value)?.slice(0, most.word);
  const process = word(entry.process) ?? 'unknown';
  const fields: Record<string, string | undefined> = {
    _msg: textOf(entry.message)?.slice(0, most.message) ?? '(no message)',
    process,
    level: word(entry.level) ?? 'info',
    worker: word(entry.worker),
    trace_id: word(entry.trace_id),
    span_id: word(entry.span_id),
    code: word(entry.code) ?? word((entry.error as { code?: unknown } | null | undefined)?.code),
    log_id: id,
    instance,
    sequence,
    dropped,
    line: text,
  };
  const numbered =
    instance !== undefined && /^\d{1,15}$/.test(sequence ?? '')
      ? { instance, sequence: Number(sequence) }
      : undefined;
  const atMs = believable(timeMs, record.timestampMs) ? timeMs : record.timestampMs;
  const below = (numbered?.sequence ?? record.offset) % 1_000_000;
  return {
    id,
    timeMs: atMs,
    time: new Date(atMs).toISOString().replace('Z', `${String(below).padStart(6, '0')}Z`),
    numbered,
    process,
    text,
    fields: Object.fromEntries(
      Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined),
    ),
  };
}

function entryOf({ value }: IncomingRecord): Record<string, unknown> {
  try {
    const entry = value === null ? undefined : jsonOf(value);
    if (typeof entry === 'object' && entry !== null && !Array.isArray(entry))
      return entry as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new MusterError('MUSTER_LOG_LINE_UNKNOWN', 'a log line is a JSON object');
}

function believable(timeMs: number, appendedMs: number): boolean {
  return timeMs > appendedMs - mayWaitMs && timeMs < appendedMs + clockMayBeOffMs;
}

const textOf = (value: unknown): string | undefined => {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
};
