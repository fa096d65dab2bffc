import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import test from 'ava';
import { couponReasons } from '../../catalog/events/coupon.ts';
import { metrics } from '../../catalog/metrics.ts';
import { addMetricText, counter, createRegistry, durationHistogram, exposition, gauge } from './metrics.ts';

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

const span = (traceFlags: number) =>
  trace.wrapSpanContext({
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    traceFlags,
  });

test('a duration carries the sampled trace it was measured in as its exemplar', async (t) => {
  const registry = createRegistry();
  const durations = durationHistogram(registry, metrics.outside.webhookDuration);
  context.with(trace.setSpan(context.active(), span(1)), () => durations.observe({ outcome: 'a' }, 0.02));
  durations.observe({ outcome: 'b' }, 0.02, span(0));
  durations.observe({ outcome: 'b' }, 0.02);
  const text = await registry.metrics();
  t.regex(
    text,
    /outside_webhook_duration_seconds_bucket\{le="0.025",outcome="a"\} 1 # \{trace_id="0af7651916cd43dd8448eb211c80319c",span_id="b7ad6b7169203331"\} 0.02 \d+/,
  );
  t.regex(text, /outside_webhook_duration_seconds_bucket\{le="0.025",outcome="b"\} 2\n/);
});

test('the registry speaks OpenMetrics and has the process, the heap and the event loop in it', async (t) => {
  const registry = createRegistry();
  t.true(registry.contentType.startsWith('application/openmetrics-text'));
  const text = await registry.metrics();
  for (const name of [
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'nodejs_eventloop_lag_p99_seconds',
  ])
    t.true(text.includes(`\n${name}`) || text.includes(`${name} `), name);
  t.true(text.trimEnd().endsWith('# EOF'));
});

test('two workers in one process share a metric of one name', async (t) => {
  const registry = createRegistry();
  counter(registry, metrics.order.orders).inc();
  counter(registry, metrics.order.orders).inc();
  gauge(registry, metrics.promotion.pendingMisses).set(2);
  gauge(registry, metrics.promotion.pendingMisses).inc();
  const text = await registry.metrics();
  t.regex(text, /\norder_orders_total 2\n/);
  t.regex(text, /\npromotion_pending_misses 3\n/);
});

test('a gauge that is computed is computed at every scrape', async (t) => {
  const registry = createRegistry();
  let brokers = 2;
  gauge(registry, metrics.canary.seenBrokers, (one) => one.set(brokers));
  t.regex(await registry.metrics(), /\ncanary_seen_brokers 2\n/);
  brokers = 3;
  t.regex(await registry.metrics(), /\ncanary_seen_brokers 3\n/);
});

test('labels that are known from the start are there with 0, and two that share a counter do not set it back', async (t) => {
  const registry = createRegistry();
  counter(registry, metrics.promotion.acts).inc({ action: 'click' });
  const again = counter(registry, metrics.promotion.acts);
  t.deepEqual(
    (await again.get()).values.map(({ labels, value }) => [labels.action, value]),
    [
      ['click', 1],
      ['view', 0],
    ],
  );
});

test('every combination of the known values of labels is there, and none that cannot be', async (t) => {
  const series = async (name: Parameters<typeof counter>[1]) =>
    (await counter(createRegistry(), name).get()).values.map(({ labels }) => Object.values(labels).join(' '));
  t.deepEqual(await series(metrics.coupon.outcomes), [
    'SUCCESS ',
    ...couponReasons.map((reason) => `FAILED ${reason}`),
  ]);
  t.deepEqual(await series(metrics.promotion.logLines), [
    'purchase published',
    'purchase dead_letter',
    'purchase blank',
    'promo_behavior published',
    'promo_behavior dead_letter',
    'promo_behavior blank',
  ]);
});

test('metrics that write themselves come after the others, in pieces, with one end', async (t) => {
  const registry = createRegistry();
  let refreshed = 0;
  addMetricText(registry, {
    async refresh() {
      refreshed += 1;
    },
    *write() {
      yield 'a 1\n';
      yield `b ${'2'.repeat(40_000)}\n`;
      yield 'c 3\n';
    },
  });
  const pieces: string[] = [];
  for await (const piece of exposition(registry)) pieces.push(piece);
  t.is(refreshed, 1);
  t.regex(pieces[0]!, /\nmuster_process_anonymous_memory_bytes [1-9]\d+\n/);
  t.regex(pieces[1]!, /^a 1\nb 2+\n$/);
  t.deepEqual(pieces.slice(2), ['c 3\n# EOF\n']);
});
