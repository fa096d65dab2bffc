/** `./muster trace`: a trace as a tree with times. */
import type { Command } from 'commander';
import { reachFromHost } from '../../stacks/config/index.ts';
import { MusterError } from '../../workers/platform/errors.ts';
import { buildTree, isComplete, type JaegerTrace, linkedTraceIds, renderTree } from '../trace-tree.ts';
import { addVerb, type VerbContext } from '../verb.ts';

/** What `--last <name>` looks for: the span that shows that the way was gone to its end. */
const journeys: Readonly<Record<string, { readonly service: string; readonly operation: string }>> = {
  promotion: { service: 'promotion', operation: 'send promotion' },
};

export function addTrace(program: Command): void {
  addVerb<{ last?: string; json?: boolean }>(program, {
    usage: 'trace [id]',
    description: 'print a trace as a tree with times, from Jaeger',
    examples: [
      ['trace --last promotion', 'the newest complete one from HTTP to topic promotion'],
      ['trace 4bf92f3577b34da6a3ce929d0e0e4736', 'the one that a log line names'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--last <journey>', `the newest complete trace of: ${Object.keys(journeys).join(', ')}`)
        .option('--json', "Jaeger's JSON instead of the tree"),
    async run(context, options, [id]) {
      if ((id === undefined) === (options.last === undefined))
        throw new MusterError('MUSTER_USAGE', 'Name a trace id, or --last promotion.');
      const traces = id === undefined ? await lastOf(context, options.last!) : [await traceById(context, id)];
      await followLinks(context, traces);
      if (options.json === true) {
        process.stdout.write(`${JSON.stringify(traces, null, 2)}\n`);
        return undefined;
      }
      const { isTTY = false, columns = 120 } = process.stdout;
      const colour = isTTY && process.env.NO_COLOR === undefined;
      process.stdout.write(`${renderTree(buildTree(traces), { colour, width: columns })}\n`);
      return undefined;
    },
  });
}

/** Asks Jaeger's query API. Throws MUSTER_JAEGER_DOWN. */
async function ask(
  context: VerbContext,
  path: string,
): Promise<{ status: number; data: readonly JaegerTrace[] }> {
  const base = `http://${reachFromHost(context.environment, 'jaeger', 'query')}`;
  let response: Response;
  try {
    const signal = AbortSignal.any([context.signal, AbortSignal.timeout(15_000)]);
    response = await fetch(`${base}${path}`, { signal });
  } catch (error) {
    throw new MusterError(
      'MUSTER_JAEGER_DOWN',
      `Jaeger does not answer at ${base}. Is environment ${context.environment.name} up? See ./muster --env ${context.environment.name} status.`,
      { cause: error },
    );
  }
  if (response.status === 404) return { status: 404, data: [] };
  if (!response.ok)
    throw new MusterError(
      'MUSTER_JAEGER',
      `Jaeger answers ${response.status} to ${path}: ${await response.text()}`,
    );
  const { data } = (await response.json()) as { data: JaegerTrace[] | null };
  return { status: 200, data: data ?? [] };
}

async function traceById(context: VerbContext, id: string): Promise<JaegerTrace> {
  if (!/^[0-9a-f]{16,32}$/i.test(id))
    throw new MusterError('MUSTER_USAGE', `"${id}" is no trace id: 32 hexadecimal digits are.`);
  const { data } = await ask(context, `/api/traces/${id}`);
  if (data[0] === undefined)
    throw new MusterError(
      'MUSTER_TRACE_UNKNOWN',
      `Jaeger has no trace ${id}: it keeps the newest ${context.environment.jaeger.maxTraces}, and one in ${Math.round(1 / context.environment.traceSampleRatio)} is recorded.`,
    );
  return data[0];
}

async function lastOf(context: VerbContext, journey: string): Promise<JaegerTrace[]> {
  const wanted = journeys[journey];
  if (wanted === undefined)
    throw new MusterError(
      'MUSTER_USAGE',
      `No journey "${journey}"; known: ${Object.keys(journeys).join(', ')}.`,
    );
  const { service, operation } = wanted;
  const nowUs = Date.now() * 1000;
  const query = new URLSearchParams({
    service,
    operation,
    limit: '40',
    lookback: 'custom',
    start: String(nowUs - 24 * 3_600_000_000),
    end: String(nowUs),
  });
  const { data } = await ask(context, `/api/traces?${query}`);
  const newestFirst = [...data].sort((a, b) => lastMoment(b) - lastMoment(a));
  const complete = newestFirst.filter(isComplete);
  // A trace that began with a request shows more than one that began with a log line or a foreign producer.
  const best = complete.find(beganWithHttp) ?? complete[0] ?? newestFirst[0];
  if (best === undefined)
    throw new MusterError(
      'MUSTER_TRACE_UNKNOWN',
      `No trace of the last 24 h reaches "${operation}" of ${service}. Send something: ./muster --env ${context.environment.name} traffic --rate 20 --duration 10s.`,
    );
  return [best];
}

function lastMoment(trace: JaegerTrace): number {
  return Math.max(...trace.spans.map(({ startTime, duration }) => startTime + duration));
}

function beganWithHttp({ spans }: JaegerTrace): boolean {
  return spans.some(({ operationName }) => /^(HTTP )?POST\b/.test(operationName));
}

/** Adds the traces that these are linked with, a few steps far. */
async function followLinks(context: VerbContext, traces: JaegerTrace[]): Promise<void> {
  for (let step = 0; step < 3; step += 1) {
    const ids = linkedTraceIds(traces).slice(0, 20);
    if (ids.length === 0) return;
    const found = await Promise.all(ids.map((id) => ask(context, `/api/traces/${id}`)));
    const added = found.flatMap(({ data }) => data);
    if (added.length === 0) return;
    traces.push(...added);
  }
}
