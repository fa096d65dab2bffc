/** The service map as a table for people. Pure. */

import { type ServiceCall, type ServiceMap, type Way, wayText } from '../workers/views/service-map.ts';
import { duration } from '../workers/views/trace-tree.ts';
import { age, type Paint, plainTable, tableText } from './table.ts';

const kinds: readonly Way['kind'][] = ['http', 'topic', 'store'];

/** Callers in the order in which work reaches them: from outside first, then whom that calls, and so on. */
function callersInOrder(map: ServiceMap): readonly (string | undefined)[] {
  const order: (string | undefined)[] = [undefined];
  for (const from of order)
    for (const call of map.calls)
      if (call.from === from && call.to !== undefined && !order.includes(call.to)) order.push(call.to);
  return [...order, ...map.services.filter((service) => !order.includes(service))];
}

/** Below this share errors are shown with decimals, so that 1 in 1,000 is not read as none. */
function share(call: ServiceCall): string {
  if (call.errors === 0) return '0 %';
  const percent = call.errorRatio * 100;
  return percent < 0.01 ? '< 0.01 %' : `${percent.toPrecision(percent < 10 ? 2 : 3)} %`;
}

function rate(perSecond: number): string {
  return perSecond >= 100
    ? perSecond.toFixed(0)
    : perSecond >= 1
      ? perSecond.toFixed(1)
      : perSecond.toPrecision(2);
}

/** A row a call, grouped by caller. */
export function mapTable(map: ServiceMap, paint: Paint): string {
  const table = plainTable(['caller', 'over', 'to', 'per s', 'errors', 'p50', 'p95'], [3, 4, 5, 6], paint);
  for (const from of callersInOrder(map)) {
    const calls = map.calls
      .filter((call) => call.from === from)
      .sort((a, b) => kinds.indexOf(a.way.kind) - kinds.indexOf(b.way.kind) || b.calls - a.calls);
    calls.forEach((call, index) => {
      const took = (ms: number | undefined) => (ms === undefined ? '' : duration(ms * 1000));
      const over = call.way.kind === 'topic' ? `topic ${call.way.topic}` : wayText(call.way);
      table.push([
        index > 0 ? '' : from === undefined ? paint('dim', 'outside') : paint('bold', from),
        over,
        call.to ?? paint('dim', call.way.kind === 'topic' ? 'nobody seen' : 'outside'),
        rate(call.perSecond),
        call.errors === 0 ? paint('dim', share(call)) : paint('red', share(call)),
        took(call.p50Ms),
        took(call.p95Ms),
      ]);
    });
  }
  const head = `${map.services.length} services, ${map.calls.length} ways, from ${map.traces} traces of ${age(map.toMs - map.fromMs)} until ${new Date(map.toMs).toISOString().slice(0, 19)}Z`;
  const foot =
    'per s, errors: estimated when only some traces were looked at. Request: until its answer; message: from its sending until it was handled.';
  return [paint('bold', head), tableText(table), paint('dim', foot)].join('\n');
}
