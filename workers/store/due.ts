/** Rows that say in `due_at` when they are worked on next. */
import { type RawBuilder, sql } from 'kysely';

/** Longer than anybody puts a row off, by leases and by gaps between calls. */
const longestMs = 600_000;

/** A time that lies so far ahead was written before the clock was set back. */
export const isAhead = (ms: number, nowMs: number): boolean => ms > nowMs + longestMs;

/**
 * Those whose time has come. A row that is put off for longer than anybody does that was written while the clock was ahead: since
 * it was set back, waiting for it would be waiting for as long as it was set back.
 */
export const isDue = (column: string, nowMs: number): RawBuilder<unknown> => {
  const due = sql.ref(column);
  return sql`(${due} <= ${new Date(nowMs)} OR ${due} > ${new Date(nowMs + longestMs)})`;
};

/** In how many ms the first of them is due, when it is due at all in `inMs` by what it says (Infinity: there is none). */
export const unlessAhead = (inMs: number): number => (inMs > longestMs && Number.isFinite(inMs) ? 0 : inMs);
