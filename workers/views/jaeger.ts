/** Questions to a Jaeger over its query API. */
import { MusterError, NotNowError } from '../base/errors.ts';
import type { WeightedTrace } from './service-map.ts';
import { type JaegerTrace, linkedTraceIds } from './trace-tree.ts';

export interface Search {
  readonly service: string;
  readonly operation?: string | undefined;
  /** Of one of its spans. */
  readonly minDurationMs?: number | undefined;
  readonly fromMs: number;
  readonly toMs: number;
  readonly limit: number;
}

export interface Jaeger {
  /** Those that write spans. */
  services(): Promise<readonly string[]>;
  operations(service: string): Promise<readonly string[]>;
  /** The trace, or undefined when Jaeger has none of this id. */
  find(id: string): Promise<JaegerTrace | undefined>;
  /** The newest traces in which the service took part. */
  search(search: Search): Promise<readonly JaegerTrace[]>;
}

const timeoutMs = 15_000;

/** Throws MUSTER_JAEGER_DOWN when it does not answer (`hint`: what to do then), MUSTER_JAEGER when it answers with an error. */
export function jaegerAt(url: string, signal: AbortSignal, hint = 'Is it up?'): Jaeger {
  async function ask<Data>(path: string): Promise<Data | undefined> {
    let response: Response;
    try {
      response = await fetch(`${url}${path}`, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
    } catch (cause) {
      throw new NotNowError('MUSTER_JAEGER_DOWN', `Jaeger does not answer at ${url}. ${hint}`, { cause });
    }
    if (response.status === 404) return undefined;
    if (!response.ok)
      throw new MusterError(
        'MUSTER_JAEGER',
        `Jaeger answers ${response.status} to ${path}: ${await response.text()}`,
      );
    const { data } = (await response.json()) as { data: Data | null };
    return data ?? undefined;
  }

  return {
    // It traces itself, too.
    services: async () =>
      ((await ask<string[]>('/api/services')) ?? []).filter((service) => service !== 'jaeger'),
    operations: async (service) =>
      (await ask<string[]>(`/api/services/${encodeURIComponent(service)}/operations`)) ?? [],
    find: async (id) => (await ask<JaegerTrace[]>(`/api/traces/${id}`))?.[0],
    async search({ service, operation, minDurationMs, fromMs, toMs, limit }) {
      const query = new URLSearchParams({
        service,
        ...(operation === undefined ? {} : { operation }),
        ...(minDurationMs === undefined ? {} : { minDuration: `${minDurationMs}ms` }),
        limit: String(limit),
        lookback: 'custom',
        start: String(Math.floor(fromMs * 1000)),
        end: String(Math.ceil(toMs * 1000)),
      });
      return (await ask<JaegerTrace[]>(`/api/traces?${query}`)) ?? [];
    },
  };
}

export function isTraceId(text: string): boolean {
  return /^[0-9a-f]{16,32}$/i.test(text);
}

/** The trace and those that it is linked with, a few steps far: batches are linked with what they are of. */
export async function withLinked(jaeger: Jaeger, trace: JaegerTrace): Promise<readonly JaegerTrace[]> {
  const traces = [trace];
  for (let step = 0; step < 3; step += 1) {
    const ids = linkedTraceIds(traces).slice(0, 20);
    const found = await Promise.all(ids.map((id) => jaeger.find(id)));
    const added = found.filter((one) => one !== undefined);
    if (added.length === 0) break;
    traces.push(...added);
  }
  return traces;
}

/** Traces looked at for one map; more cost seconds and megabytes and change little. */
const mapTraces = 2_000;
const mapSlices = 10;

/**
 * Traces of a window with what each stands for. All of them when they are few; else the newest ones of each tenth of
 * the window and each service, weighted by the share of the tenth that they cover.
 */
export async function sampleTraces(
  jaeger: Jaeger,
  window: { readonly fromMs: number; readonly toMs: number },
  options: { readonly sampleRatio: number; readonly most?: number },
): Promise<readonly WeightedTrace[]> {
  const { sampleRatio, most = mapTraces } = options;
  const services = await jaeger.services();
  const limit = Math.max(5, Math.floor(most / mapSlices / Math.max(1, services.length)));
  const sliceMs = (window.toMs - window.fromMs) / mapSlices;
  const found = new Map<string, { readonly trace: JaegerTrace; coveredMs: number }>();
  for (let slice = 0; slice < mapSlices; slice += 1) {
    const fromMs = window.fromMs + slice * sliceMs;
    const toMs = fromMs + sliceMs;
    const perService = await Promise.all(
      services.map((service) => jaeger.search({ service, fromMs, toMs, limit })),
    );
    for (const traces of perService) {
      const oldestMs = Math.min(...traces.map(beginMs));
      const coveredMs = traces.length < limit ? sliceMs : Math.min(sliceMs, Math.max(1, toMs - oldestMs));
      for (const trace of traces) {
        const known = found.get(trace.traceID);
        if (known === undefined) found.set(trace.traceID, { trace, coveredMs });
        else known.coveredMs = Math.max(known.coveredMs, coveredMs);
      }
    }
  }
  return [...found.values()].map(({ trace, coveredMs }) => ({
    trace,
    weight: sliceMs / coveredMs / sampleRatio,
  }));
}

function beginMs({ spans }: JaegerTrace): number {
  return Math.min(...spans.map(({ startTime }) => startTime)) / 1000;
}
