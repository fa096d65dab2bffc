import test from 'ava';
import { environments } from '../catalog/environments.ts';
import type { JaegerTrace } from '../workers/views/trace-tree.ts';
import { bestTrace, journeys, servicesOf } from './journeys.ts';

const trace = (traceID: string, first: string, endUs: number, orphan = false): JaegerTrace => ({
  traceID,
  processes: { p1: { serviceName: 'outside' } },
  spans: [
    { traceID, spanID: '1', operationName: first, startTime: 0, duration: endUs, processID: 'p1' },
    {
      traceID,
      spanID: '2',
      operationName: 'POST',
      startTime: 1,
      duration: 1,
      processID: 'p1',
      references: [{ refType: 'CHILD_OF', traceID, spanID: orphan ? '9' : '1' }],
    },
  ],
});
const { outside } = journeys;

test('the newest complete trace that began with the request of the journey is shown', (t) => {
  const best = bestTrace(
    [
      trace('old', outside!.begins, 100),
      trace('wanted', outside!.begins, 200),
      trace('on its way', outside!.begins, 300, true),
      trace('another beginning', 'process external-events', 400),
    ],
    outside!,
  );
  t.is(best?.traceID, 'wanted');
});

test('else the newest complete one, else the newest, else none', (t) => {
  const incomplete = trace('b', outside!.begins, 300, true);
  t.is(bestTrace([trace('a', 'send', 100), incomplete], outside!)?.traceID, 'a');
  t.is(bestTrace([incomplete], outside!)?.traceID, 'b');
  t.is(bestTrace([], outside!), undefined);
});

test('every journey ends in a worker that every environment runs', (t) => {
  for (const environment of Object.values(environments))
    for (const [name, { ends }] of Object.entries(journeys))
      t.true(servicesOf(environment, ends.worker).length > 0, `${name} in ${environment.name}`);
});
