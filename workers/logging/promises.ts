/**
 * What is promised of log lines, checked in the store: of each life of a process the numbers of its lines have no gap beyond
 * what its lines say was dropped, and what lies last on the topic has come.
 */
import { logHeaders } from '../../catalog/logs.ts';
import { topics } from '../../catalog/topics.ts';
import { type Check, type CheckDeps, type ChecksOf, evidenceOf } from '../platform/checks.ts';

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
  readonly last: number;
  readonly dropped: number;
}

export function logsStored(
  { kafka, logStoreUrl }: Pick<CheckDeps, 'kafka' | 'logStoreUrl'>,
  limitMs: number,
  topic = topics.logs.name,
): Check {
  /** Up to when all is judged, and what the numbers of each life of a process were then. */
  let judgedToMs: number | undefined;
  let numbers = new Map<string, Numbers>();
  let brokenSinceMs: number | undefined;
  /** The last line of each life on the topic, when it was seen, until the store has it. */
  const lastOnTopic = new Map<
    string,
    { readonly sequence: number; readonly process: string; seenMs: number }
  >();
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
  async function gaps(nowMs: number): Promise<{ id: string; sinceMs: number }[]> {
    const isFirst = judgedToMs === undefined;
    const fromMs = judgedToMs ?? nowMs - limitMs - firstMs;
    const toMs = Math.min(nowMs - limitMs, Math.max(fromMs, brokenSinceMs ?? 0) + windowMs);
    if (toMs <= fromMs) return [];
    const period = `[${new Date(fromMs).toISOString()}, ${new Date(toMs).toISOString()})`;
    const lives = await rows(
      `_time:${period} instance:* | stats by (process, instance) min(sequence) first, max(sequence) last, ` +
        'min(dropped) dropped_first, max(dropped) dropped_last, count_uniq(sequence) stored',
    );
    const found: { id: string; sinceMs: number }[] = [];
    const after = new Map(numbers);
    for (const life of lives) {
      const { process = '', instance = '' } = life;
      const [first, last, droppedFirst, dropped, stored] = [
        life.first,
        life.last,
        life.dropped_first,
        life.dropped_last,
        life.stored,
      ].map(Number) as [number, number, number, number, number];
      // At the beginning nobody knows what was before.
      const before =
        numbers.get(instance) ??
        (isFirst ? { last: first - 1, dropped: droppedFirst } : { last: 0, dropped: 0 });
      const missing = last - before.last - stored - (dropped - before.dropped);
      after.set(instance, { last, dropped });
      if (missing > 0)
        found.push({
          id: `${process} ${instance}: ${missing} of the lines ${before.last + 1} to ${last}`,
          sinceMs: fromMs,
        });
    }
    // What has a gap is looked at again as a whole.
    if (found.length > 0 && nowMs - fromMs < shownMs) {
      judgedToMs = fromMs;
      brokenSinceMs = fromMs;
      return found;
    }
    brokenSinceMs = undefined;
    judgedToMs = toMs;
    numbers = after;
    return found;
  }

  /** Lives whose last line on the topic has not come within the limit. */
  async function late(nowMs: number): Promise<{ id: string; sinceMs: number }[]> {
    for (const { partition, low, high } of await kafka.admin.offsets(topic)) {
      if (partition !== 0) continue;
      const from = Math.max(low, high - recordsAtOnce, readTo ?? 0);
      for await (const records of kafka.read(topic, partition, from, high))
        for (const { headers } of records) {
          const [instance, sequence] = [headers[logHeaders.instance], Number(headers[logHeaders.sequence])];
          if (instance === undefined || !(sequence > (lastOnTopic.get(String(instance))?.sequence ?? 0)))
            continue;
          const process = String(headers.ce_source ?? '').slice(1);
          lastOnTopic.set(String(instance), { sequence, process, seenMs: nowMs });
        }
      readTo = high;
    }
    const due = [...lastOnTopic].filter(([, { seenMs }]) => seenMs < nowMs - limitMs);
    if (due.length === 0) return [];
    const came = new Set<string>();
    for (let i = 0; i < due.length; i += idsAtOnce) {
      const ids = due
        .slice(i, i + idsAtOnce)
        .map(([instance, { sequence }]) => JSON.stringify(`${instance}-${sequence}`));
      for (const { log_id } of await rows(`log_id:in(${ids.join(',')}) | fields log_id`)) came.add(log_id!);
    }
    const found: { id: string; sinceMs: number }[] = [];
    for (const [instance, { sequence, process, seenMs }] of due) {
      const isThere = came.has(`${instance}-${sequence}`);
      if (isThere || nowMs - seenMs > shownMs) lastOnTopic.delete(instance);
      if (!isThere) found.push({ id: `${process} ${instance}: line ${sequence}`, sinceMs: seenMs });
    }
    return found;
  }

  return async () => {
    const nowMs = Date.now();
    return evidenceOf([...(await gaps(nowMs)), ...(await late(nowMs))]);
  };
}
