/** Questions to an environment's Jaeger, over its query API. */
import type { Environment } from '../catalog/environments.ts';
import { urlFromHost } from '../stacks/config/index.ts';
import { MusterError } from '../workers/base/errors.ts';
import type { WeightedTrace } from './service-map.ts';
import type { JaegerTrace } from './trace-tree.ts';

/** Throws MUSTER_JAEGER_DOWN when it does not answer, MUSTER_JAEGER when it answers with an error. */
async function ask<Data>(
  environment: Environment,
  path: string,
  signal: AbortSignal,
): Promise<Data | undefined> {
  const base = urlFromHost(environment, 'jaeger');
  let response: Response;
  try {
    response = await fetch(`${base}${path}`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(15_000)]),
    });
  } catch (error) {
    throw new MusterError(
      'MUSTER_JAEGER_DOWN',
      `Jaeger does not answer at ${base}. Is environment ${environment.name} up? See ./muster --env ${environment.name} status.`,
      { cause: error },
    );
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

/** The trace, or undefined when Jaeger has none of this id. */
export async function findTrace(
  environment: Environment,
  id: string,
  signal: AbortSignal,
): Promise<JaegerTrace | undefined> {
  return (await ask<JaegerTrace[]>(environment, `/api/traces/${id}`, signal))?.[0];
}

/** Like `findTrace`. Throws MUSTER_USAGE (no trace id), MUSTER_TRACE_UNKNOWN. */
export async function traceById(
  environment: Environment,
  id: string,
  signal: AbortSignal,
): Promise<JaegerTrace> {
  if (!isTraceId(id))
    throw new MusterError('MUSTER_USAGE', `"${id}" is no trace id: 32 hexadecimal digits are.`);
  const trace = await findTrace(environment, id, signal);
  if (trace === undefined)
    throw new MusterError(
      'MUSTER_TRACE_UNKNOWN',
      `Jaeger has no trace ${id}: it keeps the newest ${environment.jaeger.maxTraces}, and one in ${Math.round(1 / environment.traceSampleRatio)} is recorded.`,
    );
  return trace;
}

export function isTraceId(text: string): boolean {
  return /^[0-9a-f]{16,32}$/i.test(text);
}

export interface Search {
  readonly service: string;
  readonly operation?: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly limit: number;
}

/** The newest traces in which the service took part. */
export async function searchTraces(
  environment: Environment,
  { service, operation, fromMs, toMs, limit }: Search,
  signal: AbortSignal,
): Promise<readonly JaegerTrace[]> {
  const query = new URLSearchParams({
    service,
    ...(operation === undefined ? {} : { operation }),
    limit: String(limit),
    lookback: 'custom',
    start: String(Math.floor(fromMs * 1000)),
    end: String(Math.ceil(toMs * 1000)),
  });
  return (await ask<JaegerTrace[]>(environment, `/api/traces?${query}`, signal)) ?? [];
}

/** Traces looked at for one map; more cost seconds and megabytes and change little. */
const mapTraces = 2_000;
const mapSlices = 10;

/**
 * Traces of a window with what each stands for. All of them when they are few; else the newest ones of each tenth of
 * the window and each service, weighted by the share of the tenth that they cover.
 */
export async function sampleTraces(
  environment: Environment,
  window: { readonly fromMs: number; readonly toMs: number },
  signal: AbortSignal,
): Promise<readonly WeightedTrace[]> {
  const all = (await ask<string[]>(environment, '/api/services', signal)) ?? [];
  // Jaeger traces itself, too.
  const services = all.filter((service) => service !== 'jaeger');
  const limit = Math.max(5, Math.floor(mapTraces / mapSlices / Math.max(1, services.length)));
  const sliceMs = (window.toMs - window.fromMs) / mapSlices;
  const found = new Map<string, { readonly trace: JaegerTrace; coveredMs: number }>();
  for (let slice = 0; slice < mapSlices; slice += 1) {
    const fromMs = window.fromMs + slice * sliceMs;
    const toMs = fromMs + sliceMs;
    const perService = await Promise.all(
      services.map((service) => searchTraces(environment, { service, fromMs, toMs, limit }, signal)),
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
    weight: sliceMs / coveredMs / environment.traceSampleRatio,
  }));
}

function beginMs({ spans }: JaegerTrace): number {
  return Math.min(...spans.map(({ startTime }) => startTime)) / 1000;
}
