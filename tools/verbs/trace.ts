/** `./muster trace`: a trace as a tree with times. */
import type { Command } from 'commander';
import { jaegerOf, traceById } from '../../environment/jaeger.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { withLinked } from '../../workers/views/jaeger.ts';
import { buildTree, type JaegerTrace, renderTree } from '../../workers/views/trace-tree.ts';
import { bestTrace, journeys, servicesOf } from '../journeys.ts';
import { colour, environmentFlag, say, sayJson, usage } from '../terminal.ts';
import { addVerb, type VerbContext } from '../verb.ts';

const known = Object.keys(journeys).join(', ');

export function addTrace(program: Command): void {
  addVerb<{ last?: string; json?: boolean }>(program, {
    usage: 'trace [id]',
    description: 'print a trace as a tree with times, from Jaeger',
    examples: [
      ...Object.entries(journeys).map(
        ([name, { what }]) => [`trace --last ${name}`, `the newest complete one ${what}`] as const,
      ),
      ['trace 4bf92f3577b34da6a3ce929d0e0e4736', 'the one that a log line names'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--last <journey>', `the newest complete trace of: ${known}`)
        .option('--json', "Jaeger's JSON instead of the tree"),
    async run(context, options, [id]) {
      if ((id === undefined) === (options.last === undefined))
        throw usage(`Name a trace id, or --last with one of: ${known}.`);
      const { environment, signal } = context;
      const trace =
        id === undefined ? await lastOf(context, options.last!) : await traceById(environment, id, signal);
      const traces = await withLinked(jaegerOf(environment, signal), trace);
      if (options.json === true) {
        sayJson(traces);
        return undefined;
      }
      const { columns = 120 } = process.stdout;
      say(renderTree(buildTree(traces), { colour, width: columns }));
      process.stderr.write(
        `What was logged on the way: ./muster ${environmentFlag(environment)}logs --trace ${trace.traceID}\n`,
      );
      return undefined;
    },
  });
}

async function lastOf(context: VerbContext, name: string): Promise<JaegerTrace> {
  const { environment, signal } = context;
  const journey = journeys[name];
  if (journey === undefined) throw usage(`No journey "${name}"; known: ${known}.`);
  const { worker, operation } = journey.ends;
  const toMs = Date.now();
  const window = { operation, fromMs: toMs - 24 * 3_600_000, toMs, limit: 40 };
  const found = await Promise.all(
    servicesOf(environment, worker).map((service) =>
      jaegerOf(environment, signal).search({ service, ...window }),
    ),
  );
  const best = bestTrace(found.flat(), journey);
  if (best === undefined)
    throw new MusterError(
      'MUSTER_TRACE_UNKNOWN',
      `No trace of the last 24 h reaches "${operation}" of ${worker}. Send something: ./muster --env ${environment.name} ${journey.made}.`,
    );
  return best;
}
