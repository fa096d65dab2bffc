/** `./muster trace`: a trace as a tree with times. */
import type { Command } from 'commander';
import { MusterError } from '../../workers/platform/errors.ts';
import { findTrace, searchTraces, traceById } from '../jaeger.ts';
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
      const traces =
        id === undefined
          ? await lastOf(context, options.last!)
          : [await traceById(context.environment, id, context.signal)];
      await followLinks(context, traces);
      if (options.json === true) {
        process.stdout.write(`${JSON.stringify(traces, null, 2)}\n`);
        return undefined;
      }
      const { isTTY = false, columns = 120 } = process.stdout;
      const colour = isTTY && process.env.NO_COLOR === undefined;
      process.stdout.write(`${renderTree(buildTree(traces), { colour, width: columns })}\n`);
      const { name } = context.environment;
      const env = name === 'dev' ? '' : `--env ${name} `;
      process.stderr.write(`What was logged on the way: ./muster ${env}logs --trace ${traces[0]!.traceID}\n`);
      return undefined;
    },
  });
}

async function lastOf(context: VerbContext, journey: string): Promise<JaegerTrace[]> {
  const wanted = journeys[journey];
  if (wanted === undefined)
    throw new MusterError(
      'MUSTER_USAGE',
      `No journey "${journey}"; known: ${Object.keys(journeys).join(', ')}.`,
    );
  const { service, operation } = wanted;
  const toMs = Date.now();
  const window = { fromMs: toMs - 24 * 3_600_000, toMs };
  const found = await searchTraces(
    context.environment,
    { service, operation, ...window, limit: 40 },
    context.signal,
  );
  const newestFirst = [...found].sort((a, b) => lastMoment(b) - lastMoment(a));
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
    const found = await Promise.all(ids.map((id) => findTrace(context.environment, id, context.signal)));
    const added = found.filter((trace) => trace !== undefined);
    if (added.length === 0) return;
    traces.push(...added);
  }
}
