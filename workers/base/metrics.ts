/** Metrics of a process: a prom-client registry in OpenMetrics format (the only one that carries exemplars). */
import { readFileSync } from 'node:fs';
import { isSpanContextValid, type Span, TraceFlags, trace } from '@opentelemetry/api';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { durationBuckets, metrics } from '../../catalog/metrics.ts';

/** A registry with the process's own metrics: CPU, memory, descriptors, garbage collection, event-loop lag. */
export function createRegistry(): Registry {
  const registry = new Registry();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: metrics.process.anonymousMemory,
    help: 'Memory of the process without mapped files: what counts against the limit of its container.',
    registers: [registry],
    collect() {
      this.set(anonymousBytes());
    },
  });
  return registry;
}

/** Resident memory where the system does not tell the two apart. */
function anonymousBytes(): number {
  try {
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1_024;
  } catch {
    return process.memoryUsage.rss();
  }
}

export interface MetricText {
  /** Called at each scrape, before anything is written. */
  refresh(): Promise<void>;
  /** OpenMetrics text, in pieces that end with a line. */
  write(): Iterable<string>;
}
const texts = new WeakMap<Registry, MetricText[]>();

/** Adds metrics that write themselves: those with too many series for objects of their own. */
export function addMetricText(registry: Registry, text: MetricText): void {
  texts.set(registry, [...(texts.get(registry) ?? []), text]);
}

/** Written to the socket at once: a write has a cost of its own. */
const pieceLength = 32 * 1_024;

/** Everything that a scrape gets, in pieces: a monitor's hundreds of thousands of series are never one string. */
export async function* exposition(registry: Registry): AsyncGenerator<string> {
  const end = '# EOF\n';
  const own = texts.get(registry) ?? [];
  await Promise.all(own.map((each) => each.refresh()));
  const text = await registry.metrics();
  yield text.endsWith(end) ? text.slice(0, -end.length) : text;
  let piece = '';
  for (const each of own) {
    for (const more of each.write()) {
      piece += more;
      if (piece.length < pieceLength) continue;
      yield piece;
      piece = '';
    }
  }
  yield text.endsWith(end) ? piece + end : piece;
}

export interface MetricOptions<Label extends string = string> {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly Label[];
}

/**
 * The counter of that name: two workers in one process share it. `known`: labels that are there from the start, with 0; a
 * series that is born with its first event has no rate at that event, and a panel of it is empty until then.
 */
export function counter<Label extends string>(
  registry: Registry,
  { known = [], ...options }: MetricOptions<Label> & { readonly known?: readonly Record<Label, string>[] },
): Counter<Label> {
  const found = registry.getSingleMetric(options.name) as Counter<Label> | undefined;
  if (found !== undefined) return found;
  const made = new Counter<Label>({ ...options, registers: [registry] });
  for (const labels of known) made.inc(labels, 0);
  return made;
}

/** The gauge of that name: two workers in one process share it. */
export function gauge<Label extends string>(registry: Registry, options: MetricOptions<Label>): Gauge<Label> {
  return (
    (registry.getSingleMetric(options.name) as Gauge<Label> | undefined) ??
    new Gauge({ ...options, registers: [registry] })
  );
}

export interface DurationHistogram<Label extends string = string> {
  /** Records `seconds`; the given span (else the active one) becomes the exemplar when it is sampled. */
  observe(labels: Partial<Record<Label, string | number>>, seconds: number, span?: Span): void;
}

/** A histogram of seconds with the catalog's bounds; each bucket carries the trace of its latest observation. */
export function durationHistogram<Label extends string>(
  registry: Registry,
  options: MetricOptions<Label> & { readonly buckets?: readonly number[] },
): DurationHistogram<Label> {
  const histogram =
    (registry.getSingleMetric(options.name) as Histogram<Label> | undefined) ??
    new Histogram({
      name: options.name,
      help: options.help,
      labelNames: [...(options.labelNames ?? [])],
      buckets: [...(options.buckets ?? durationBuckets)],
      enableExemplars: true,
      registers: [registry],
    });
  return {
    observe(labels, seconds, span) {
      histogram.observe({
        labels: labels as Record<Label, string | number>,
        value: seconds,
        exemplarLabels: exemplar(span) as never,
      });
    },
  };
}

/** Labels of an exemplar: the trace of the given span (else of the active one), nothing when it is not sampled. */
export function exemplar(span: Span | undefined = trace.getActiveSpan()): Record<string, string> {
  const context = span?.spanContext();
  if (context === undefined || (context.traceFlags & TraceFlags.SAMPLED) === 0) return {};
  if (!isSpanContextValid(context)) return {};
  return { trace_id: context.traceId, span_id: context.spanId };
}
