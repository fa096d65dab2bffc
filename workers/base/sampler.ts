/** Which new traces are kept: a share of them, and never more than so many a second. */
import { type Sampler, SamplingDecision, type SamplingResult } from '@opentelemetry/sdk-trace';

/** What decides about a trace that begins here: see limitRate. */
export interface RateLimit {
  /** Traces kept a second in the long run, above 0. */
  readonly perSecond: number;
  /** Traces kept at once after a quiet time, at least 1. */
  readonly burst: number;
  /** Milliseconds of a clock that never goes back. */
  readonly nowMs: () => number;
}

/**
 * Keeps what `inner` keeps as long as a token bucket has tokens (refilled with `perSecond`, at most `burst`). A trace costs
 * spans in every process that it passes and 1 ms of processor time in the store: under a rush of thousands a second a
 * hundredth of them tells as much.
 */
export function limitRate(inner: Sampler, { perSecond, burst, nowMs }: RateLimit): Sampler {
  let tokens = burst;
  let filledMs = nowMs();
  const drop: SamplingResult = { decision: SamplingDecision.NOT_RECORD };
  return {
    shouldSample(...what) {
      const wanted = inner.shouldSample(...what);
      if (wanted.decision === SamplingDecision.NOT_RECORD) return wanted;
      const now = nowMs();
      tokens = Math.min(burst, tokens + ((now - filledMs) * perSecond) / 1_000);
      filledMs = now;
      if (tokens < 1) return drop;
      tokens -= 1;
      return wanted;
    },
    toString: () => `RateLimited{${perSecond}/s, ${inner.toString()}}`,
  };
}
