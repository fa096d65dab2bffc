import { ROOT_CONTEXT, SpanKind } from '@opentelemetry/api';
import { AlwaysOffSampler, AlwaysOnSampler, SamplingDecision } from '@opentelemetry/sdk-trace';
import test from 'ava';
import { limitRate } from './sampler.ts';

/** How many of `count` new traces at this moment are kept. */
const keptBy = (sampler: ReturnType<typeof limitRate>, count: number) =>
  Array.from({ length: count }, () =>
    sampler.shouldSample(ROOT_CONTEXT, '0af7651916cd43dd8448eb211c80319c', 'x', SpanKind.SERVER, {}, []),
  ).filter(({ decision }) => decision === SamplingDecision.RECORD_AND_SAMPLED).length;

test('a burst is kept whole, a rush only at the rate, and quiet fills up to the burst again', (t) => {
  let now = 1_000;
  const sampler = limitRate(new AlwaysOnSampler(), { perSecond: 50, burst: 100, nowMs: () => now });
  t.is(keptBy(sampler, 60), 60);
  t.is(keptBy(sampler, 1_000), 40);
  now += 200;
  t.is(keptBy(sampler, 1_000), 10);
  now += 5;
  t.is(keptBy(sampler, 10), 0);
  now += 15;
  t.is(keptBy(sampler, 10), 1);
  now += 3_600_000;
  t.is(keptBy(sampler, 1_000), 100);
});

test('what the sampler inside drops takes no token', (t) => {
  const sampler = limitRate(new AlwaysOffSampler(), { perSecond: 1, burst: 1, nowMs: () => 0 });
  t.is(keptBy(sampler, 1_000), 0);
});
