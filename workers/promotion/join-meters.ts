/** What the join tells of itself: counters, the latency of answers, purchases that wait. */
import type { Registry } from 'prom-client';
import type { PromoBehavior, Purchase } from '../../catalog/events/promotion.ts';
import { metrics as names } from '../../catalog/metrics.ts';
import { counter, durationHistogram, gauge } from '../base/metrics.ts';
import type { Answer, JoinOptions } from './join.ts';
import { type Outcome, topicOf } from './join-records.ts';
import type { Source } from './join-runs.ts';

/** The join's metrics, all by names of the catalog. */
export type JoinMeters = ReturnType<typeof createJoinMeters>;

export function createJoinMeters(registry: Registry, { graceMs }: Pick<JoinOptions, 'graceMs'>) {
  const purchases = counter(registry, names.promotion.purchases);
  const acts = counter(registry, names.promotion.acts);
  const corrections = counter(registry, names.promotion.corrections);
  const duplicates = counter(registry, names.promotion.duplicates);
  const late = counter(registry, names.promotion.late);
  const rejected = counter(registry, names.promotion.rejected);
  const deadLetters = counter(registry, names.messaging.deadLetters);
  const pending = gauge(registry, names.promotion.pendingMisses);
  const latency = durationHistogram(registry, names.promotion.joinLatency);
  const labels = { hit: { promotion_affect: '1' }, miss: { promotion_affect: '0' } } as const;
  return {
    /** `tookMs`: from when it happened to its append. */
    outcome(one: Source, outcome: Outcome, value: Purchase | PromoBehavior, tookMs: number) {
      if (tookMs > graceMs) late.inc({ topic: topicOf[one] });
      if (outcome === 'duplicate') duplicates.inc({ topic: topicOf[one] });
      else if (outcome === 'new') acts.inc({ action: (value as PromoBehavior).action });
    },
    rejected(topic: string, deadLetterTopic: string, code: string) {
      rejected.inc({ topic, code });
      deadLetters.inc({ messaging_destination_name: deadLetterTopic, code });
    },
    answered(answers: readonly Answer[]) {
      const nowMs = Date.now();
      for (const { purchase, touches, correction } of answers) {
        if (correction) corrections.inc();
        else {
          const by = touches.length > 0 ? labels.hit : labels.miss;
          purchases.inc(by);
          latency.observe(by, Math.max(0, nowMs - purchase.appendedMs) / 1000);
        }
      }
    },
    held: (count: number) => pending.set(count),
  };
}
