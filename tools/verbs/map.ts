/** `./muster map`: who calls whom, from traces. */
import type { Command } from 'commander';
import { mapTable } from '../../drawing/service-map-table.ts';
import { jaegerOf } from '../../environment/jaeger.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { sampleTraces } from '../../workers/views/jaeger.ts';
import { serviceMap } from '../../workers/views/service-map.ts';
import { paint, parseDurationMs, say, sayJson } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addMap(program: Command): void {
  addVerb<{ range: string; json?: boolean }>(program, {
    usage: 'map',
    description: 'who calls whom over which topic or route: rate, errors, latency; from traces',
    examples: [
      ['map', 'of the last 15 minutes'],
      ['map --range 1h --json', 'for programs'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--range <time>', 'how far back: 90s, 15m, 2h', '15m')
        .option('--json', 'the map as data (ServiceMap in workers/views/service-map.ts)'),
    async run({ environment, signal }, options) {
      const rangeMs = parseDurationMs(options.range);
      const toMs = Date.now();
      const window = { fromMs: toMs - rangeMs, toMs };
      const sampleRatio = environment.traceSampleRatio;
      const traces = await sampleTraces(jaegerOf(environment, signal), window, { sampleRatio });
      const map = serviceMap(traces, window);
      if (options.json === true) {
        sayJson(map);
        return undefined;
      }
      if (map.traces === 0)
        throw new MusterError(
          'MUSTER_TRACE_UNKNOWN',
          `No trace of the last ${options.range}. Send something: ./muster --env ${environment.name} traffic --rate 20 --duration 10s.`,
        );
      say(mapTable(map, paint));
      return undefined;
    },
  });
}
