/**
 * Burrow's verdict on a group's partition, over a sliding window. Rules, in this order: lag at most the allowed -> ok;
 * no commit for longer than the window -> stop; the committed offset went back, and the lag was not at most the allowed
 * since then -> rewind; the lag was at most the allowed at some time of the window -> ok; the offset did not move -> stall;
 * the lag never shrank -> warn; else ok.
 *
 * Burrow keeps the commits of the window. Each rule only asks whether something has happened within it, so it is enough
 * to remember when it last did.
 */

/** Bad to worst, as Burrow ranks them. A group has the worst of its partitions. */
export const statuses = ['ok', 'warn', 'stop', 'stall', 'rewind'] as const;
export type Status = (typeof statuses)[number];

export interface VerdictSettings {
  /** Lag up to which a group counts as caught up. Burrow: 0. */
  readonly allowedLag: number;
  readonly windowMs: number;
  /** The lag is compared between commits at least this far apart: a tenth of the window, as Burrow's ten points. */
  readonly sampleMs: number;
}

export interface Observation {
  readonly offset: number;
  readonly lag: number;
  readonly timeMs: number;
  /**
   * Whether a member of the group has the partition. Commits that do not move the offset cannot be seen from outside of
   * the broker; a member that is there counts as committing.
   */
  readonly owned: boolean;
}

/** When each thing last happened, UTC ms. */
export interface Marks {
  committed: number;
  sampledLag: number;
  sampledAtMs: number;
  committedAtMs: number;
  movedAtMs: number;
  rewoundAtMs: number;
  caughtUpAtMs: number;
  shrankAtMs: number;
}

/** What the first observation tells: nothing has gone wrong yet, all rules begin to count here. */
export function firstMarks({ offset, lag, timeMs }: Observation, { allowedLag }: VerdictSettings): Marks {
  return {
    committed: offset,
    sampledLag: lag,
    sampledAtMs: timeMs,
    committedAtMs: timeMs,
    movedAtMs: timeMs,
    rewoundAtMs: Number.NEGATIVE_INFINITY,
    caughtUpAtMs: lag <= allowedLag ? timeMs : Number.NEGATIVE_INFINITY,
    shrankAtMs: timeMs,
  };
}

/** Takes the next observation in. */
export function observe(
  marks: Marks,
  { offset, lag, timeMs, owned }: Observation,
  settings: VerdictSettings,
): void {
  if (offset !== marks.committed) {
    if (offset < marks.committed) marks.rewoundAtMs = timeMs;
    marks.committed = offset;
    marks.movedAtMs = timeMs;
    marks.committedAtMs = timeMs;
    if (timeMs - marks.sampledAtMs >= settings.sampleMs) {
      if (lag < marks.sampledLag) marks.shrankAtMs = timeMs;
      marks.sampledLag = lag;
      marks.sampledAtMs = timeMs;
    }
  } else if (owned) marks.committedAtMs = timeMs;
  if (lag <= settings.allowedLag) marks.caughtUpAtMs = timeMs;
}

export function verdict(marks: Marks, lag: number, nowMs: number, settings: VerdictSettings): Status {
  const { allowedLag, windowMs } = settings;
  const since = nowMs - windowMs;
  if (lag <= allowedLag) return 'ok';
  if (marks.committedAtMs < since) return 'stop';
  // Burrow would say so until the window has passed. Caught up after it, nothing is done twice any more.
  if (marks.rewoundAtMs >= since && marks.caughtUpAtMs <= marks.rewoundAtMs) return 'rewind';
  if (marks.caughtUpAtMs >= since) return 'ok';
  if (marks.movedAtMs < since) return 'stall';
  if (marks.shrankAtMs < since) return 'warn';
  return 'ok';
}

export function worse(a: Status, b: Status): Status {
  return statuses.indexOf(a) >= statuses.indexOf(b) ? a : b;
}
