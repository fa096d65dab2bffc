/** How long the next record that a group has not read yet has been waiting for it, and how well that is known. */
import type { TimeTable } from './time-table.ts';

/** In the order of trust, best first. `uncommitted`: the group should read and has never committed; its oldest record counts. */
export const qualities = [
  'caught_up',
  'fetched',
  'interpolated',
  'estimated',
  'uncommitted',
  'unknown',
] as const;
export type Quality = (typeof qualities)[number];

export interface Waiting {
  readonly quality: Quality;
  /** UTC ms at which the record was written; not after `nowMs`. Without meaning for caught_up and unknown. */
  readonly sinceMs: number;
}

export interface WaitingInput {
  /** Offset of the next record to read: the committed offset, not below the log start, past transaction markers. */
  readonly position: number;
  /** Undefined: never seen. */
  readonly end: number | undefined;
  readonly table: TimeTable;
  /** Timestamp of the record at `position`; undefined: not read, or it has none. */
  readonly recordMs: number | undefined;
  /** The oldest record that is still there, when it was read. */
  readonly oldest: { readonly offset: number; readonly timestampMs: number } | undefined;
  readonly nowMs: number;
}

/** A record's timestamp may differ by this much from when we saw it come: clocks differ, and so do a batch's records. */
export const clockToleranceMs = 1_000;

/**
 * A timestamp is somebody else's clock (the broker's under LogAppendTime, the producer's under CreateTime). The table is
 * our own: where it knows between which two moments the record came, a timestamp outside of them is not believed.
 */
export function waiting(input: WaitingInput): Waiting {
  const { position, end, table, recordMs, oldest, nowMs } = input;
  if (end === undefined) return { quality: 'unknown', sinceMs: nowMs };
  if (position >= end) return { quality: 'caught_up', sinceMs: nowMs };
  const known = recordMs !== undefined;
  const found = table.lookup(position);
  switch (found.kind) {
    case 'covered': {
      if (
        known &&
        recordMs >= found.fromMs - clockToleranceMs &&
        recordMs <= found.untilMs + clockToleranceMs
      )
        return at('fetched', Math.min(Math.max(recordMs, found.fromMs), found.untilMs), nowMs);
      return at('interpolated', found.timeMs, nowMs);
    }
    case 'before': {
      if (known && recordMs <= found.untilMs + clockToleranceMs)
        return at('fetched', Math.min(recordMs, found.untilMs), nowMs);
      // It was there when the table began, whatever its timestamp says.
      if (known) return at('estimated', found.untilMs, nowMs);
      if (oldest !== undefined && oldest.offset <= position && oldest.timestampMs > 0) {
        const oldestMs = Math.min(oldest.timestampMs, found.untilMs);
        const share = (position - oldest.offset) / (found.headOffset - oldest.offset);
        return at('estimated', oldestMs + share * (found.untilMs - oldestMs), nowMs);
      }
      return at('estimated', found.timeMs, nowMs);
    }
    default:
      // The table was started over while the end we know is older: only the record itself can say.
      return known ? at('fetched', recordMs, nowMs) : { quality: 'unknown', sinceMs: nowMs };
  }
}

const at = (quality: Quality, sinceMs: number, nowMs: number): Waiting => ({
  quality,
  sinceMs: Math.min(sinceMs, nowMs),
});

/** Whether what the table knows of a position is good for 10 % or a second. */
export function isPrecise(table: TimeTable, position: number, nowMs: number): boolean {
  const found = table.lookup(position);
  if (found.kind !== 'covered') return found.kind === 'end';
  return found.untilMs - found.fromMs <= Math.max(1_000, (nowMs - found.untilMs) / 10);
}
