/** The log store, VictoriaLogs, by its HTTP API: https://docs.victoriametrics.com/victorialogs/ */
import { MusterError, NotNowError } from '../base/errors.ts';
import type { StoredLine } from './line.ts';

export interface LogStore {
  /** Takes lines. They can be found within a second, and are on its disk some seconds later (catalog/logs.ts). */
  insert(lines: readonly StoredLine[]): Promise<void>;
  /** Ids of those of the lines that it has, however short ago they were inserted. */
  known(lines: readonly StoredLine[]): Promise<ReadonlySet<string>>;
  /** When it was started: another number tells that it was started anew. */
  startedAt(): Promise<number>;
  /** Answer of a LogsQL query, a row a line. */
  query(query: string): Promise<readonly Readonly<Record<string, string>>[]>;
}

const answerWithinMs = 10_000;

/** All calls reject with MUSTER_LOG_STORE_DOWN (not now) while it is away, MUSTER_LOG_STORE for what it never takes. */
export function victoriaLogs(url: string): LogStore {
  async function ask(path: string, init: RequestInit = {}): Promise<string> {
    let status: number;
    let text: string;
    try {
      const response = await fetch(`${url}${path}`, { ...init, signal: AbortSignal.timeout(answerWithinMs) });
      ({ status } = response);
      text = await response.text();
    } catch (cause) {
      throw new NotNowError('MUSTER_LOG_STORE_DOWN', 'the log store does not answer', { cause });
    }
    if (status < 300) return text;
    const said = `the log store answers ${status}: ${text.slice(0, 200)}`;
    // 429: its disk is full.
    if (status >= 500 || status === 429) throw new NotNowError('MUSTER_LOG_STORE_DOWN', said);
    throw new MusterError('MUSTER_LOG_STORE', said);
  }

  async function query(text: string): Promise<readonly Readonly<Record<string, string>>[]> {
    const body = new URLSearchParams({ query: text });
    const answer = await ask('/select/logsql/query', { method: 'POST', body });
    return answer
      .split('\n')
      .filter(Boolean)
      .map((row) => JSON.parse(row) as Record<string, string>);
  }

  return {
    query,
    async insert(lines) {
      const body = lines
        .map(({ time, fields }) => `${JSON.stringify({ _time: time, ...fields })}\n`)
        .join('');
      await ask('/insert/jsonline?_stream_fields=process', {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/stream+json' },
      });
    },
    async known(lines) {
      if (lines.length === 0) return new Set();
      // Makes what was inserted just now searchable.
      await ask('/internal/force_flush', { method: 'POST' });
      const known = new Set<string>();
      for (const some of askable(lines)) {
        const times = some.map(({ timeMs }) => timeMs);
        const period = [Math.min(...times), Math.max(...times) + 1].map((ms) => new Date(ms).toISOString());
        const ids = some.map(({ id }) => JSON.stringify(id)).join(',');
        const rows = await query(`_time:[${period.join(', ')}] log_id:in(${ids}) | fields log_id`);
        for (const { log_id } of rows) known.add(log_id!);
      }
      return known;
    },
    async startedAt() {
      const started = /^vm_app_start_timestamp (\d+)/m.exec(await ask('/metrics'))?.[1];
      if (started === undefined) throw new MusterError('MUSTER_LOG_STORE', 'it does not say when it started');
      return Number(started);
    },
  };
}

/** A question may be 16 KiB long. */
const idsLength = 14_000;

/** Lines so many that a question can name them. */
function* askable(lines: readonly StoredLine[]): Generator<readonly StoredLine[]> {
  let some: StoredLine[] = [];
  let length = 0;
  for (const line of lines) {
    if (some.length > 0 && length + line.id.length > idsLength) {
      yield some;
      some = [];
      length = 0;
    }
    some.push(line);
    length += line.id.length + 3;
  }
  if (some.length > 0) yield some;
}
