/** What people ask of log lines, as a question to the log store (LogsQL) and as a look at a line that comes from elsewhere. Pure. */

import { during, ofTrace, type Period } from '../workers/views/log-store.ts';
import { fieldsOf, type LogLine } from './log-merge.ts';
import { usage } from './terminal.ts';

export interface LogFilter {
  readonly trace?: string;
  /** A pseudonym. */
  readonly user?: string;
  /** This level and worse ones. */
  readonly level?: string;
  /** Anywhere in the line, in either case. */
  readonly text?: string;
}

/** From bad to worse at the front, as winston's npm levels. */
export const levels = ['error', 'warn', 'info', 'http', 'verbose', 'debug'] as const;

const atLeast = (level: string) => levels.slice(0, levels.indexOf(level as never) + 1);
const quoted = (text: string) => JSON.stringify(text);

/** Lines of a process, from a moment (UTC ms) up to before another. */
export function logsQl(process: string, filter: LogFilter, period: Period = {}): string {
  const { trace, user, level, text } = filter;
  const pattern =
    text === undefined ? undefined : quoted(`(?i)${text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}`);
  return [
    during(period),
    `{process=${quoted(process)}}`,
    ...(trace === undefined ? [] : [ofTrace(trace)]),
    ...(user === undefined ? [] : [`line:${quoted(user)}`]),
    ...(level === undefined ? [] : [`level:in(${atLeast(level).map(quoted).join(',')})`]),
    ...(pattern === undefined ? [] : [`(_msg:~${pattern} or line:~${pattern})`]),
  ]
    .filter(Boolean)
    .join(' ');
}

/** Whether a line is asked for. One without a level (Kafka's, MySQL's) is of none. */
export function isAskedFor(line: LogLine, { trace, user, level, text }: LogFilter): boolean {
  if (trace !== undefined && !line.text.includes(trace)) return false;
  if (user !== undefined && !line.text.includes(user)) return false;
  if (level !== undefined && !atLeast(level).includes(fieldsOf(line.text)?.level as never)) return false;
  return text === undefined || line.text.toLowerCase().includes(text.toLowerCase());
}

const unitsMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A moment as UTC ms: `10m`, `1h30m` (ago) or a date; undefined when it is neither. */
export function momentMs(text: string, nowMs: number): number | undefined {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)];
  if (parts.length > 0 && parts.map(([part]) => part).join('') === text)
    return nowMs - parts.reduce((sum, [, count, unit]) => sum + Number(count) * unitsMs[unit as 's'], 0);
  const ms = /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/** The moment of an option, e.g. `--since`, as UTC ms. Throws MUSTER_USAGE. */
export function momentOf(option: string, text: string, nowMs: number): number {
  const ms = momentMs(text, nowMs);
  if (ms === undefined) throw usage(`${option} takes a time ago (10m, 2h) or a date, not "${text}".`);
  return ms;
}

/** A row of the store as a line; undefined for one that lacks what a line has. */
export function lineOfRow(row: Readonly<Record<string, string>>): LogLine | undefined {
  const { _time, process, line, _msg } = row;
  if (_time === undefined || process === undefined) return undefined;
  const [seconds = '', fraction = ''] = _time.slice(0, -1).split('.');
  return { component: process, time: `${seconds}.${fraction.padEnd(9, '0')}Z`, text: line ?? _msg ?? '' };
}

/** Whether a container's line is one that another process has logged: log-store writes all of them to its stdout. */
export function isCopy({ component, text }: LogLine): boolean {
  const process = fieldsOf(text)?.process;
  return typeof process === 'string' && process !== component;
}
