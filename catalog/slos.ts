/** Service level objectives: what is promised, how it is counted, and how fast the budget may burn before people are told. */
import { metrics } from './metrics.ts';

/**
 * How a probe of the canary is judged.
 *
 * A probe goes out every `intervalMs` for each broker that the environment names. It is **good** when it was acked by
 * all in-sync replicas and received again, both within `goodWithinMs` of its sending: the time in which a purchase has
 * to become a promotion event, so a slower platform is of no use. Everything else is bad, also a probe that could not
 * even be sent. Whether it later turns out to be lost is counted apart.
 */
export const probeRules = {
  intervalMs: 1_000,
  goodWithinMs: 2_000,
  /** An acked probe that was not received this long after its sending is lost. */
  lostAfterMs: 10_000,
  /** An outage is over when nothing has failed for this long; its end is the moment before that silence. */
  settledAfterMs: 5_000,
  /** When the canary itself did not run for this long, the probes in flight say nothing about the platform. */
  stalledAfterMs: 1_000,
} as const;

export interface Slo {
  /** Label `slo` of its series. */
  readonly id: 'availability' | 'promotion_latency';
  readonly title: string;
  /** Share of good events that is promised over the period, 0 to 1. */
  readonly objective: number;
  /** Counters whose increases are good events and all events; summed over their labels. */
  readonly good: string;
  readonly total: string;
}

/** Selects the bucket of a histogram with this bound: Prometheus 3 writes a whole one as 2.0, Prometheus 2 as it came. */
export const atMost = (seconds: number): string => `{le=~"${seconds}([.]0)?"}`;

/** The promotion latency that counts as good; one of promotionLatencyBuckets. */
const promotionWithinSeconds = 2;

export const slos: readonly Slo[] = [
  {
    id: 'availability',
    title: 'Publish and subscribe work',
    objective: 0.9995,
    good: metrics.canary.goodProbes,
    total: metrics.canary.probes,
  },
  {
    id: 'promotion_latency',
    title: `A purchase is answered within ${promotionWithinSeconds} s`,
    objective: 0.9995,
    good: `${metrics.promotion.joinLatency}_bucket${atMost(promotionWithinSeconds)}`,
    total: `${metrics.promotion.joinLatency}_count`,
  },
];

/** The period that an objective is promised over. */
export const sloPeriod = '30d';

/** Windows over which the ratios are recorded; the alerts look at pairs of them. */
export const sloWindows = ['5m', '30m', '1h', '2h', '6h', '1d', '3d'] as const;
export type SloWindow = (typeof sloWindows)[number];

/**
 * Burn rates that people are told of: 1 uses the budget up in exactly the period. The long window says that it
 * matters, the short one that it still goes on. (Site Reliability Workbook, chapter 5.)
 */
export const burnRates: readonly {
  readonly rate: number;
  readonly long: SloWindow;
  readonly short: SloWindow;
  readonly severity: 'page' | 'ticket';
}[] = [
  { rate: 14.4, long: '1h', short: '5m', severity: 'page' },
  { rate: 6, long: '6h', short: '30m', severity: 'page' },
  { rate: 3, long: '1d', short: '2h', severity: 'ticket' },
  { rate: 1, long: '3d', short: '6h', severity: 'ticket' },
];

/** Names of the recorded series; all have the label `slo`. */
export const sloSeries = {
  /** Good events / events, 0 to 1, what was before the first measurement taken as good; absent when there were none. */
  ratio: (window: SloWindow | typeof sloPeriod) => `muster:slo:good_ratio_${window}`,
  /** How many times faster than promised the budget is used. */
  burnRate: (window: SloWindow) => `muster:slo:burn_rate_${window}`,
  /** 1 untouched, 0 used up, negative: the promise is broken. */
  budgetRemaining: `muster:slo:budget_remaining_ratio_${sloPeriod}`,
  objective: 'muster:slo:objective_ratio',
  /** Since when anybody counts, in Unix seconds; what was before is taken as good. */
  measuredSince: 'muster:slo:measured_since_seconds',
} as const;

/** Recovery objectives of the platform: what is required, and what we aim at. */
export const recoveryObjectives = {
  rtoSeconds: { required: 300, target: 5 },
  rpoSeconds: { required: 60, target: 0 },
} as const;
