/** Metrics of a process: a prom-client registry in OpenMetrics format (the only one that carries exemplars). */
import { readFileSync } from 'node:fs';
import { isSpanContextValid, type Span, TraceFlags, trace } from '@opentelemetry/api';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { instruments, type LabelOf, type NameOf } from '../../catalog/instruments.ts';
import { metrics } from '../../catalog/metrics.ts';

/** A registry that takes exemplars, without anything in it. */
export function emptyRegistry(): Registry {
  const registry = new Registry();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  return registry;
}

/** A registry with the process's own metrics: CPU, memory, descriptors, garbage collection, event-loop lag. */
export function createRegistry(): Registry {
  const registry = emptyRegistry();
  collectDefaultMetrics({ register: registry });
  gauge(registry, metrics.process.anonymousMemory, (memory) => memory.set(anonymousBytes()));
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

/** The metric of that name; two workers in one process share it. */
function registered<M>(registry: Registry, name: string, make: () => M): M {
  return (registry.getSingleMetric(name) as M | undefined) ?? make();
}

/** The instrument as prom-client wants it. */
const described = <Name extends keyof typeof instruments>(registry: Registry, name: Name) => ({
  name,
  help: instruments[name].help,
  labelNames: [...instruments[name].labels] as LabelOf<Name>[],
  registers: [registry],
});

/** The counter that the catalog describes under that name, with its known label values at 0. */
export function counter<Name extends NameOf<'counter'>>(
  registry: Registry,
  name: Name,
): Counter<LabelOf<Name>> {
  return registered(registry, name, () => {
    const made = new Counter<LabelOf<Name>>(described(registry, name));
    for (const labels of instruments[name].known) made.inc(labels as Record<LabelOf<Name>, string>, 0);
    return made;
  });
}

/** The gauge that the catalog describes under that name. `collect`: sets it anew at every scrape. */
export function gauge<Name extends NameOf<'gauge'>>(
  registry: Registry,
  name: Name,
  collect?: (gauge: Gauge<LabelOf<Name>>) => void,
): Gauge<LabelOf<Name>> {
  return registered(registry, name, () => {
    const made: Gauge<LabelOf<Name>> = new Gauge({
      ...described(registry, name),
      ...(collect && { collect: () => collect(made) }),
    });
    return made;
  });
}

export interface DurationHistogram<Label extends string = string> {
  /** Records `seconds`; the given span (else the active one) becomes the exemplar when it is sampled. */
  observe(labels: Partial<Record<Label, string | number>>, seconds: number, span?: Span): void;
}

/** The histogram of seconds that the catalog describes under that name; each bucket carries the trace of its latest observation. */
export function durationHistogram<Name extends NameOf<'histogram'>>(
  registry: Registry,
  name: Name,
): DurationHistogram<LabelOf<Name>> {
  const buckets = [...instruments[name].buckets];
  const histogram = registered(
    registry,
    name,
    () => new Histogram({ ...described(registry, name), buckets, enableExemplars: true }),
  );
  return {
    observe(labels, seconds, span) {
      histogram.observe({
        labels: labels as Record<LabelOf<Name>, string | number>,
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
