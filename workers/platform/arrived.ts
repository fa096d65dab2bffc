/** The check that what was to be told has come to its topics. */

import { arrivals } from '../kafka/arrivals.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { type Check, type CheckDeps, evidenceOf, mostBroken } from './checks.ts';

interface Expected {
  readonly kafka: CheckDeps['kafka'];
  readonly topics: readonly string[];
  /** What a record of these topics says has come; undefined: nothing. */
  idOf(record: IncomingRecord): string | undefined;
  /** What must have come by now, of what was decided at that time (UTC ms, the end not included). */
  expected(fromMs: number, toMs: number): Promise<readonly string[]>;
  /** How long it may take. */
  readonly limitMs: number;
  /** How long before it was decided it may have come: a repeat is not told again. */
  readonly aheadMs?: number;
}

/** Between the clocks of hosts, database and brokers. */
const clocksMs = 5_000;
/** What was decided before its beginning and is looked at all the same. */
const firstMs = 15_000;
/** Nobody tells it again by itself: until somebody has, it is shown for so long. */
const shownMs = 3_600_000;

/** What did not come within its limit is looked for at each check, and shown until it has come or an hour is over. */
export function arrived(options: Expected): Check {
  const { limitMs, expected, aheadMs = 0 } = options;
  const seen = arrivals({ ...options, backMs: limitMs + aheadMs + firstMs + 2 * clocksMs });
  const missing = new Map<string, number>();
  let judgedToMs: number | undefined;
  return async () => {
    const nowMs = Date.now();
    const toMs = nowMs - limitMs;
    judgedToMs ??= toMs - firstMs;
    // Who decides may not have been asked for long (its database is away): what came meanwhile is still to be judged.
    await seen.advance(nowMs, judgedToMs - aheadMs - clocksMs);
    judgedToMs = Math.max(judgedToMs, seen.completeFromMs + aheadMs + clocksMs);
    if (judgedToMs > toMs) throw new Error('it has not read the topics for long enough');
    for (const id of await expected(judgedToMs, toMs))
      if (seen.follows(id) && !seen.has(id) && missing.size < mostBroken) missing.set(id, nowMs);
    judgedToMs = toMs;
    for (const [id, sinceMs] of missing) if (seen.has(id) || nowMs - sinceMs > shownMs) missing.delete(id);
    return evidenceOf([...missing].map(([id, sinceMs]) => ({ id, sinceMs })));
  };
}
