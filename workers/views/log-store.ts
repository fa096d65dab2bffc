/** Questions to a log store (VictoriaLogs). */
import { MusterError, NotNowError } from '../base/errors.ts';
import type { JaegerTrace } from './trace-tree.ts';

/** A line as the store has it: what was asked for of its fields. */
export type StoredRow = Readonly<Record<string, string>>;

const timeoutMs = 60_000;

/**
 * Rows of a LogsQL query, in no order; with `newest` only so many, of the newest. Throws MUSTER_LOGSTORE_DOWN when the store does
 * not answer, MUSTER_LOGSTORE when it answers with an error.
 */
export async function logRows(
  url: string,
  query: string,
  newest: number | undefined,
  signal: AbortSignal,
): Promise<readonly StoredRow[]> {
  const body = new URLSearchParams({ query, ...(newest === undefined ? {} : { limit: String(newest) }) });
  let response: Response;
  try {
    response = await fetch(`${url}/select/logsql/query`, {
      method: 'POST',
      body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
  } catch (cause) {
    throw new NotNowError('MUSTER_LOGSTORE_DOWN', `The log store does not answer at ${url}.`, { cause });
  }
  const text = await response.text();
  if (!response.ok)
    throw new MusterError(
      'MUSTER_LOGSTORE',
      `The log store answers ${response.status}: ${text.slice(0, 300)}`,
    );
  return text
    .split('\n')
    .filter(Boolean)
    .map((row) => JSON.parse(row) as StoredRow);
}

export interface Period {
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
}

/** In LogsQL: from a moment (UTC ms) up to before another. */
export function during({ fromMs, toMs }: Period): string {
  const at = (ms: number) => JSON.stringify(new Date(ms).toISOString());
  return [
    ...(fromMs === undefined ? [] : [`_time:>=${at(fromMs)}`]),
    ...(toMs === undefined ? [] : [`_time:<${at(toMs)}`]),
  ].join(' ');
}

/** In LogsQL: lines that name a trace. */
export const ofTrace = (id: string) => `(trace_id:=${JSON.stringify(id)} or line:${JSON.stringify(id)})`;

/** Lines may be written a little before a span begins and after it has ended. */
const traceMarginMs = { before: 2_000, after: 15_000 };

/** When lines of these traces may have been written. */
export function periodOf(traces: readonly JaegerTrace[]): { readonly fromMs: number; readonly toMs: number } {
  const spans = traces.flatMap((trace) => trace.spans);
  const from = Math.min(...spans.map(({ startTime }) => startTime)) / 1000;
  const to = Math.max(...spans.map(({ startTime, duration }) => startTime + duration)) / 1000;
  return { fromMs: from - traceMarginMs.before, toMs: to + traceMarginMs.after };
}
