/** An environment's Jaeger, from its host. */
import type { Environment } from '../catalog/environments.ts';
import { urlFromHost } from '../stacks/config/index.ts';
import { MusterError } from '../workers/base/errors.ts';
import { isTraceId, type Jaeger, jaegerAt } from '../workers/views/jaeger.ts';
import type { JaegerTrace } from '../workers/views/trace-tree.ts';

export function jaegerOf(environment: Environment, signal: AbortSignal): Jaeger {
  const hint = `Is environment ${environment.name} up? See ./muster --env ${environment.name} status.`;
  return jaegerAt(urlFromHost(environment, 'jaeger'), signal, hint);
}

/** Throws MUSTER_USAGE (no trace id), MUSTER_TRACE_UNKNOWN, and as `jaegerAt`. */
export async function traceById(
  environment: Environment,
  id: string,
  signal: AbortSignal,
): Promise<JaegerTrace> {
  if (!isTraceId(id))
    throw new MusterError('MUSTER_USAGE', `"${id}" is no trace id: 32 hexadecimal digits are.`);
  const trace = await jaegerOf(environment, signal).find(id);
  if (trace === undefined)
    throw new MusterError(
      'MUSTER_TRACE_UNKNOWN',
      `Jaeger has no trace ${id}: it keeps the newest ${environment.jaeger.maxTraces}, and one in ${Math.round(1 / environment.traceSampleRatio)} is recorded.`,
    );
  return trace;
}
