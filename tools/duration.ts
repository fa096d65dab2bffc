/** Durations as people type them. Pure. */
import { MusterError } from '../workers/base/errors.ts';

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 };

/** `30s`, `5m`, `1h`, `250ms`; a bare number is seconds. Throws MUSTER_USAGE. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?$/.exec(text.trim());
  if (match === null || Number(match[1]) === 0)
    throw new MusterError('MUSTER_USAGE', `"${text}" is no duration; write 30s, 5m or 1h.`);
  return Math.round(Number(match[1]) * unitMs[match[2] ?? 's']!);
}
