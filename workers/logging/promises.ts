/**
 * What is promised of log lines, checked in the store: of each life of a process the numbers of its lines have no gap beyond
 * what its lines say was dropped, and what lies last on the topic has come.
 */
import { logHeaders } from '../../catalog/logs.ts';
import { topics } from '../../catalog/topics.ts';
import { type Check, type CheckDeps, type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';

/** Looked at in one question to the store: more is caught up by and by. */
const windowMs = 600_000;
/** What is before its beginning and is looked at all the same. */
const firstMs = 60_000;
/** Nobody stores it again by itself: until it has come, it is shown for so long. */
const shownMs = 3_600_000;
/** Lines that one question names: it may be 16 KiB long. */
const idsAtOnce = 200;
/** Of the topic's end, at each look. */
const recordsAtOnce = 1_000;

export const loggingChecks: ChecksOf<'logging'> = {
  'logs-stored': (deps, { limitMs }) => logsStored(deps, limitMs),
};

interface Numbers {
  readonly sequence: number;
  /** Lines before that which were dropped. */
  readonly dropped: number;
}

/** Numbers between two lines of a life that the store did not have. */
interface Gap {
  readonly process: string;
  readonly instance: string;
  readonly before: Numbers;
  readonly last: Numbers;
  /** So many lines must be there after `before`, up to `last`. */
  readonly wanted: number;
  readonly sinceMs: number;
}

/** A line on the topic, and when it was seen there. */
interface TopicLine {
  readonly sequence: number;
  readonly process: string;
  readonly seenMs: number;
}

interface Broken {
  readonly id: string;
  readonly sinceMs: number;
}

export function logsStored(
  { kafka, logStoreUrl }: Pick<CheckDeps, 'kafka' | 'logStoreUrl'>,
  limitMs: number,
  topic = topics.logs.name,
): Check {
  /** Up to when all is judged, and what the numbers of each life of a process were then. */
  let judgedToMs: number | undefined;
  const numbers = new Map<string, Numbers>();
  let beganMs: number | undefined;
  const gapsFound = new Map<string, Gap>();
  /** The last line of each life on the topic, and the one of each whose coming is awaited. */
  const newest = new Map<string, TopicLine>();
  const awaited = new Map<string, TopicLine>();
  let readTo: number | undefined;

  async function rows(query: string): Promise<Readonly<Record<string, string>>[]> {
    const body = new URLSearchParams({ query });
    const signal = AbortSignal.timeout(8_000);
    const response = await fetch(`${logStoreUrl}/select/logsql/query`, { method: 'POST', body, signal });
    const text = await response.text();
    if (!response.ok) throw new Error(`the log store answers ${response.status}: ${text.slice(0, 200)}`);
    return text
      .split('\n')
      .filter(Boolean)
      .map((row) => JSON.parse(row) as Record<string, string>);
  }

  /** Lives whose numbers have a gap in what was written before the limit. */
  async function gaps(nowMs: number): Promise<Broken[]> {
    const fromMs = judgedToMs ?? nowMs - limitMs - firstMs;
    beganMs ??= fromMs;
    const toMs = Math.min(nowMs - limitMs, fromMs + windowMs);
    if (toMs > fromMs) {
      const period = `[${new Date(fromMs).toISOString()}, ${new Date(toMs).toISOString()})`;
      const lives = await rows(
        `_time:${period} instance:* | stats by (process, instance) min(sequence) first, max(sequence) last, ` +
          'min(dropped) dropped_first, max(dropped) dropped_last, count_uniq(sequence) stored',
      );
      for (const life of lives) {
        const { process = '', instance = '' } = life;
        const last = { sequence: Number(life.last), dropped: Number(life.dropped_last) };
        const before = numbers.get(instance) ?? beforeFirst(life);
        numbers.set(instance, last);
        const wanted = last.sequence - before.sequence - (last.dropped - before.dropped);
        if (Number(life.stored) < wanted && gapsFound.size < mostBroken)
          gapsFound.set(`${process} ${instance} ${last.sequence}`, {
            process,
            instance,
            before,
            last,
            wanted,
            sinceMs: fromMs,
          });
      }
      judgedToMs = toMs;
    }
    const found: Broken[] = [];
    for (const [key, { process, instance, before, last, wanted, sinceMs }] of gapsFound) {
      // Whenever they were written: some may have come late.
      const [row] = await rows(
        `instance:=${JSON.stringify(instance)} sequence:range(${before.sequence}, ${last.sequence}] | stats count_uniq(sequence) stored`,
      );
      const missing = wanted - Number(row?.stored ?? 0);
      if (missing <= 0 || nowMs - sinceMs > shownMs) gapsFound.delete(key);
      else
        found.push({
          id: `${process} ${instance}: ${missing} of the lines ${before.sequence + 1} to ${last.sequence}`,
          sinceMs,
        });
    }
    return found;
  }

  /** What was before a life's first line that was looked at: nothing, if it began after this check did; else nobody knows. */
  function beforeFirst({ instance = '', first, dropped_first }: Readonly<Record<string, string>>): Numbers {
    // A UUID of version 7 begins with its time.
    const bornMs = Number.parseInt(instance.replaceAll('-', '').slice(0, 12), 16);
    return bornMs > beganMs!
      ? { sequence: 0, dropped: 0 }
      : { sequence: Number(first) - 1, dropped: Number(dropped_first) };
  }

  /** Lives of which a line that was the last on the topic has not come within the limit. */
  async function late(nowMs: number): Promise<Broken[]> {
    for (const { partition, low, high } of await kafka.admin.offsets(topic)) {
      if (partition !== 0) continue;
      const from = Math.max(low, high - recordsAtOnce, readTo ?? 0);
      for await (const records of kafka.read(topic, partition, from, high))
        for (const { headers } of records) {
          const [instance, sequence] = [headers[logHeaders.instance], Number(headers[logHeaders.sequence])];
          if (instance === undefined) continue;
          const process = String(headers.ce_source ?? '').slice(1);
          newest.set(String(instance), { sequence, process, seenMs: nowMs });
        }
      readTo = high;
    }
    // One at a time is waited for: of a process that goes on writing, the last would never be due.
    for (const [instance, line] of newest) if (!awaited.has(instance)) awaited.set(instance, line);
    const due = [...awaited].filter(([, { seenMs }]) => seenMs <= nowMs - limitMs);
    const came = new Set<string>();
    for (let i = 0; i < due.length; i += idsAtOnce) {
      const ids = due
        .slice(i, i + idsAtOnce)
        .map(([instance, { sequence }]) => JSON.stringify(`${instance}-${sequence}`));
      for (const { log_id } of await rows(`log_id:in(${ids.join(',')}) | fields log_id`)) came.add(log_id!);
    }
    const found: Broken[] = [];
    for (const [instance, line] of due) {
      const { sequence, process, seenMs } = line;
      const isThere = came.has(`${instance}-${sequence}`);
      if (!isThere) found.push({ id: `${process} ${instance}: line ${sequence}`, sinceMs: seenMs });
      if (!isThere && nowMs - seenMs <= shownMs) continue;
      awaited.delete(instance);
      if (newest.get(instance) === line) newest.delete(instance);
    }
    return found;
  }

  return async () => {
    const nowMs = Date.now();
    return evidenceOf([...(await gaps(nowMs)), ...(await late(nowMs))]);
  };
}
