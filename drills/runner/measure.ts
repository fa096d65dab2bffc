/** What was seen during a drill, from the attempts of those who looked: outages, recovery, curves. Pure. */
import type { Curve } from '../drill.ts';

/** Something that was asked of the platform by one who notes when it was done. Times are UTC ms. */
export interface Attempt {
  /** Who asked: a partition's probes, the API's clients, the receivers of promotion answers ... */
  readonly observer: string;
  readonly sentAtMs: number;
  /** Undefined: never. */
  readonly settledAtMs?: number;
}

export interface Outage {
  readonly observer: string;
  /** When the first attempt that failed was made. */
  readonly fromMs: number;
  /** When the last one of them was done at last, or given up. */
  readonly untilMs: number;
}

/** Something that was done to the environment, or taken back. */
export interface Disturbance {
  readonly atMs: number;
  readonly what: string;
  /** Of which case. */
  readonly of?: string;
}

export interface Recovery extends Disturbance {
  /** Until the first moment after which nobody saw a failure; undefined: nobody saw one. */
  readonly afterMs: number | undefined;
  /** Who saw the last one. */
  readonly lastSeenBy?: string;
}

/** Failures that are no further apart than this belong to one outage. */
const oneOutageMs = 1_000;

/**
 * Times in which an observer saw failures. An attempt fails when it is not done within `limitMs`: a client that has to
 * wait longer than the objective allows does not care that it was served in the end.
 */
export function outagesOf(attempts: readonly Attempt[], limitMs: number): readonly Outage[] {
  const open = new Map<string, { observer: string; fromMs: number; untilMs: number }>();
  const all: { observer: string; fromMs: number; untilMs: number }[] = [];
  const failing = attempts.filter(
    ({ sentAtMs, settledAtMs }) => settledAtMs === undefined || settledAtMs - sentAtMs > limitMs,
  );
  for (const { observer, sentAtMs, settledAtMs } of [...failing].sort((a, b) => a.sentAtMs - b.sentAtMs)) {
    const untilMs = settledAtMs ?? sentAtMs + limitMs;
    const last = open.get(observer);
    if (last !== undefined && sentAtMs <= last.untilMs + oneOutageMs)
      last.untilMs = Math.max(last.untilMs, untilMs);
    else {
      const one = { observer, fromMs: sentAtMs, untilMs };
      open.set(observer, one);
      all.push(one);
    }
  }
  return all.sort((a, b) => a.fromMs - b.fromMs);
}

/** Recovered is who saw no failure for so long: longer than the sessions of brokers and workers last. */
const quietMs = 10_000;

/**
 * How long it took to recover from each disturbance: until nobody had seen a failure for 10 s, without that silence. An
 * outage belongs to the newest disturbance before it; one that began up to `limitMs` before counts too, as what was under
 * way when it happened fails with it.
 */
export function recoveriesFrom(
  disturbances: readonly Disturbance[],
  outages: readonly Outage[],
  limitMs: number,
): readonly Recovery[] {
  const inOrder = [...disturbances].sort((a, b) => a.atMs - b.atMs);
  return inOrder.map((disturbance, index) => {
    const { atMs } = disturbance;
    const nextMs = Math.max(atMs, (inOrder[index + 1]?.atMs ?? Number.POSITIVE_INFINITY) - limitMs);
    let untilMs = atMs;
    let lastSeenBy: string | undefined;
    for (const outage of [...outages].sort((a, b) => a.fromMs - b.fromMs)) {
      if (outage.untilMs <= atMs || outage.fromMs < atMs - limitMs || outage.fromMs >= nextMs) continue;
      if (outage.fromMs > untilMs + quietMs) break;
      if (outage.untilMs <= untilMs) continue;
      untilMs = outage.untilMs;
      lastSeenBy = outage.observer;
    }
    return lastSeenBy === undefined
      ? { ...disturbance, afterMs: undefined }
      : { ...disturbance, afterMs: untilMs - atMs, lastSeenBy };
  });
}

/** Attempts by second: how many were sent and done, how many failed, and how long they took. */
export function curvesOf(
  attempts: readonly Attempt[],
  options: {
    readonly fromMs: number;
    readonly untilMs: number;
    readonly limitMs: number;
    /** Prefix of the curves' names, for example `load`. */
    readonly name: string;
  },
): readonly Curve[] {
  const { fromMs, untilMs, limitMs, name } = options;
  const seconds = Math.max(1, Math.ceil((untilMs - fromMs) / 1_000));
  const second = (atMs: number) => Math.floor((atMs - fromMs) / 1_000);
  const sent = new Array<number>(seconds).fill(0);
  const acked = new Array<number>(seconds).fill(0);
  const failed = new Array<number>(seconds).fill(0);
  const took = Array.from({ length: seconds }, () => [] as number[]);
  const inside = (index: number) => index >= 0 && index < seconds;
  for (const { sentAtMs, settledAtMs } of attempts) {
    const begun = second(sentAtMs);
    if (inside(begun)) {
      sent[begun]! += 1;
      if (settledAtMs === undefined || settledAtMs - sentAtMs > limitMs) failed[begun]! += 1;
    }
    if (settledAtMs === undefined || !inside(second(settledAtMs))) continue;
    acked[second(settledAtMs)]! += 1;
    took[second(settledAtMs)]!.push(settledAtMs - sentAtMs);
  }
  const curve = (what: string, unit: Curve['unit'], values: readonly (number | undefined)[]): Curve => ({
    name: `${name} ${what}`,
    unit,
    points: values.flatMap((value, index) =>
      value === undefined ? [] : [{ atMs: fromMs + index * 1_000, value }],
    ),
  });
  return [
    curve('sent', 'per second', sent),
    curve('acked', 'per second', acked),
    curve('failures', 'per second', failed),
    curve(
      'latency p50',
      'ms',
      took.map((values) => percentile(values, 0.5)),
    ),
    curve(
      'latency p99',
      'ms',
      took.map((values) => percentile(values, 0.99)),
    ),
  ];
}

/** Undefined of nothing. */
export function percentile(values: readonly number[], share: number): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}
