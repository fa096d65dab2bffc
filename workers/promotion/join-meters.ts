/** What the join tells of itself: counters, the latency of answers, purchases that wait. */
import type { Registry } from 'prom-client';
import type { PromoBehavior, Purchase } from '../../catalog/events/promotion.ts';
import { metrics as names, promotionLatencyBuckets } from '../../catalog/metrics.ts';
import { counter, durationHistogram, gauge } from '../base/metrics.ts';
import type { Answer, JoinOptions } from './join.ts';
import { type Outcome, topicOf } from './join-records.ts';
import type { Source } from './join-runs.ts';

/** The join's metrics, all by names of the catalog. */
export type JoinMeters = ReturnType<typeof createJoinMeters>;

export function createJoinMeters(registry: Registry, { graceMs }: Pick<JoinOptions, 'graceMs'>) {
  const purchases = counter(registry, {
    name: names.promotion.purchases,
    help: 'Purchases answered, by whether a promotion affected them (first answer).',
    labelNames: ['promotion_affect'],
    known: [{ promotion_affect: '0' }, { promotion_affect: '1' }],
  });
  const acts = counter(registry, {
    name: names.promotion.acts,
    help: 'Acts on promotions taken into the join.',
    labelNames: ['action'],
    known: [{ action: 'click' }, { action: 'view' }],
  });
  const corrections = counter(registry, {
    name: names.promotion.corrections,
    help: 'Later answers with a higher version, because an act came after its purchase.',
  });
  const duplicates = counter(registry, {
    name: names.promotion.duplicates,
    help: 'Records that said nothing new.',
    labelNames: ['topic'],
  });
  const late = counter(registry, {
    name: names.promotion.late,
    help: 'Records appended more than the grace after they happened: acts and purchases that belong together may have missed each other.',
    labelNames: ['topic'],
  });
  const rejected = counter(registry, {
    name: names.promotion.rejected,
    help: 'Records that could not be understood.',
    labelNames: ['topic', 'code'],
  });
  const deadLetters = counter(registry, {
    name: names.messaging.deadLetters,
    help: 'Records moved to a dead letter topic.',
    labelNames: ['messaging_destination_name', 'code'],
  });
  const pending = gauge(registry, {
    name: names.promotion.pendingMisses,
    help: 'Purchases without an act so far that wait for the act side to be read.',
  });
  const latency = durationHistogram(registry, {
    name: names.promotion.joinLatency,
    help: 'From the append of a purchase to the ack of its first answer.',
    labelNames: ['promotion_affect'],
    buckets: promotionLatencyBuckets,
  });
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
