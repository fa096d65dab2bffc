/** Room Traces: what Jaeger has, found and shown, with what was logged on the way. A few questions, and no others, go on to the stores. */
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { HttpError } from '../http/errors.ts';
import { typed } from '../http/typed.ts';
import { isTraceId, type Jaeger, jaegerAt, withLinked } from '../views/jaeger.ts';
import { during, logRows, ofTrace, periodOf } from '../views/log-store.ts';
import { buildTree, errorOf, isComplete, type JaegerTrace } from '../views/trace-tree.ts';

export interface TracesOptions {
  readonly jaegerUrl: string;
  readonly logsUrl: string;
}

const open = { config: { callers: 'anyone' } } as const;
const name = (description: string) => Type.String({ minLength: 1, maxLength: 300, description });
const ofService = Type.Object({ service: name('as it calls itself') }, { additionalProperties: false });
const wanted = Type.Object(
  {
    service: name('that took part'),
    operation: Type.Optional(name('of one of its spans')),
    minDurationMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_600_000 })),
    isFailed: Type.Optional(Type.Boolean()),
    rangeMinutes: Type.Integer({ minimum: 1, maximum: 1_440 }),
  },
  { additionalProperties: false },
);
const byId = Type.Object({ id: Type.String({ maxLength: 32 }) });

const timeoutMs = 15_000;
const shownAtMost = 50;
/** Jaeger cannot be asked for what failed alone, so more is looked through. */
const lookedThrough = 150;
const linesAtMost = 500;

export function registerTraces(http: FastifyInstance, { jaegerUrl, logsUrl }: TracesOptions): void {
  const routes = typed(http);
  const jaeger = () => jaegerAt(jaegerUrl, AbortSignal.timeout(timeoutMs));

  routes.get('/console/traces/services', { ...open, schema: { hide: true } }, async () => ({
    services: (await jaeger().services()).toSorted(),
  }));
  routes.get(
    '/console/traces/operations',
    { ...open, schema: { hide: true, querystring: ofService } },
    async (request) => ({ operations: (await jaeger().operations(request.query.service)).toSorted() }),
  );
  routes.get('/console/traces', { ...open, schema: { hide: true, querystring: wanted } }, async (request) => {
    const { service, operation, minDurationMs, isFailed = false, rangeMinutes } = request.query;
    const toMs = Date.now();
    const found = await jaeger().search({
      ...{ service, operation, minDurationMs, fromMs: toMs - rangeMinutes * 60_000, toMs },
      limit: isFailed ? lookedThrough : shownAtMost,
    });
    const traces = found.map(summaryOf).filter(({ failed }) => !isFailed || failed > 0);
    return { traces: traces.toSorted((a, b) => b.startedAtMs - a.startedAtMs).slice(0, shownAtMost) };
  });
  routes.get('/console/traces/:id', { ...open, schema: { hide: true, params: byId } }, async (request) => {
    const traces = await tracesFor(jaeger(), request.params.id);
    return { ...buildTree(traces), isComplete: isComplete(traces[0]!) };
  });
  routes.get(
    '/console/traces/:id/logs',
    { ...open, schema: { hide: true, params: byId } },
    async (request) => {
      const { id } = request.params;
      const period = during(periodOf(await tracesFor(jaeger(), id)));
      const rows = await logRows(
        logsUrl,
        `${period} ${ofTrace(id.toLowerCase())}`,
        linesAtMost,
        AbortSignal.timeout(timeoutMs),
      );
      const lines = rows.map(({ _time = '', process = '', level = '', _msg = '', line = '' }) => ({
        ...{ at: _time, process, level, message: _msg === '' ? line : _msg, line },
      }));
      return { lines: lines.toSorted((a, b) => a.at.localeCompare(b.at)) };
    },
  );
}

/** The trace and what it is linked with. Throws 404, 422. */
async function tracesFor(jaeger: Jaeger, id: string): Promise<readonly JaegerTrace[]> {
  if (!isTraceId(id)) throw new HttpError(422, 'MUSTER_VALIDATION', 'a trace id is 32 hexadecimal digits');
  const trace = await jaeger.find(id);
  if (trace === undefined || trace.spans.length === 0)
    throw new HttpError(404, 'MUSTER_TRACE_UNKNOWN', 'Jaeger has no trace of this id');
  return withLinked(jaeger, trace);
}

/** What tells one from another in a list. */
function summaryOf(trace: JaegerTrace) {
  const { roots, startedAtMs, durationUs, services, spans } = buildTree([trace]);
  const [root] = roots;
  return {
    ...{ id: trace.traceID, startedAtMs, durationUs, services, spans },
    name: root?.name ?? '',
    service: root?.service ?? '',
    failed: trace.spans.filter((span) => errorOf(span) !== undefined).length,
  };
}
