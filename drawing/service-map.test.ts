import { stripVTControlCharacters } from 'node:util';
import test from 'ava';
import { type ServiceCall, serviceMap, wayText } from '../workers/views/service-map.ts';
import type { JaegerSpan, JaegerTrace } from '../workers/views/trace-tree.ts';
import { mapTable } from './service-map-table.ts';

interface Given {
  readonly id: string;
  readonly service: string;
  readonly kind: 'server' | 'client' | 'producer' | 'consumer';
  readonly atMs?: number;
  readonly tookMs?: number;
  /** Span id, or `trace:span` for a link to another trace. */
  readonly of?: readonly string[];
  readonly tags?: Readonly<Record<string, unknown>>;
}

function trace(traceID: string, given: readonly Given[]): JaegerTrace {
  return {
    traceID,
    processes: Object.fromEntries(given.map(({ service }) => [service, { serviceName: service }])),
    spans: given.map(
      ({ id, service, kind, atMs = 0, tookMs = 1, of = [], tags = {} }): JaegerSpan => ({
        traceID,
        spanID: id,
        operationName: id,
        startTime: atMs * 1000,
        duration: tookMs * 1000,
        processID: service,
        references: of.map((ref) => {
          const [trace, span] = ref.includes(':') ? ref.split(':') : [traceID, ref];
          return { refType: 'FOLLOWS_FROM', traceID: trace!, spanID: span! };
        }),
        tags: Object.entries({ 'span.kind': kind, ...tags }).map(([key, value]) => ({ key, value })),
      }),
    ),
  };
}

const kafka = (topic: string, type: 'send' | 'process' | 'receive', group?: string) => ({
  'messaging.system': 'kafka',
  'messaging.operation.type': type,
  'messaging.destination.name': topic,
  ...(group === undefined ? {} : { 'messaging.consumer.group.name': group }),
});
const http = (route: string, status = 200) => ({
  'http.request.method': 'POST',
  'http.route': route,
  'http.response.status_code': status,
});

const window = { fromMs: 0, toMs: 10_000 };
const mapOf = (...traces: JaegerTrace[]) =>
  serviceMap(
    traces.map((one) => ({ trace: one, weight: 1 })),
    window,
  );
const shown = ({ from = 'outside', way, to = 'nobody' }: ServiceCall) => `${from} -${wayText(way)}-> ${to}`;

const journey = (id: string, status = 202) =>
  trace(id, [
    { id: 'request', service: 'api', kind: 'server', tookMs: 8, tags: http('/purchases', status) },
    {
      id: 'send',
      service: 'api',
      kind: 'producer',
      atMs: 2,
      of: ['request'],
      tags: kafka('purchase', 'send'),
    },
    {
      id: 'poll',
      service: 'join',
      kind: 'client',
      atMs: 5,
      of: ['send'],
      tags: kafka('purchase', 'receive', 'g'),
    },
    {
      id: 'process',
      service: 'join',
      kind: 'consumer',
      atMs: 6,
      tookMs: 4,
      of: ['send'],
      tags: kafka('purchase', 'process', 'g'),
    },
  ]);

test('a request and the message that it causes are two calls: from outside, and from sender to receiver', (t) => {
  const map = mapOf(journey('a'));
  t.deepEqual(map.calls.map(shown).sort(), ['api -purchase-> join', 'outside -POST /purchases-> api']);
  t.deepEqual(map.services, ['api', 'join']);
  t.is(map.traces, 1);
});

test('a message that is polled and then handled alone counts once, from its sending to the end of its handling', (t) => {
  const call = mapOf(journey('a')).calls.find(({ way }) => way.kind === 'topic')!;
  t.like(call, { calls: 1, perSecond: 0.1, errors: 0, p50Ms: 8, p95Ms: 8 });
});

test('two groups that read a topic are two calls of one sending', (t) => {
  const both = trace('a', [
    { id: 'send', service: 'api', kind: 'producer', tags: kafka('orders', 'send') },
    { id: 'p1', service: 'ranking', kind: 'consumer', of: ['send'], tags: kafka('orders', 'process', 'r') },
    { id: 'p2', service: 'analytics', kind: 'consumer', of: ['send'], tags: kafka('orders', 'process', 's') },
  ]);
  t.deepEqual(mapOf(both).calls.map(shown).sort(), ['api -orders-> analytics', 'api -orders-> ranking']);
});

test('a batch that is polled under a trace of its own is joined with its senders by its links', (t) => {
  const sends = ['a', 'b'].map((id) =>
    trace(id, [{ id: 'send', service: 'api', kind: 'producer', tags: kafka('acts', 'send') }]),
  );
  const poll = trace('c', [
    {
      id: 'poll',
      service: 'view',
      kind: 'client',
      atMs: 30,
      of: ['a:send', 'b:send'],
      tags: kafka('acts', 'receive', 'v'),
    },
  ]);
  const [call, ...others] = mapOf(...sends, poll).calls;
  t.is(shown(call!), 'api -acts-> view');
  t.like(call, { calls: 2, p50Ms: 30 });
  t.deepEqual(others, []);
});

test('links to senders that were not looked at are shared out among those seen sending to the topic', (t) => {
  const sends = trace('a', [
    { id: 's1', service: 'api', kind: 'producer', tags: kafka('acts', 'send') },
    { id: 's2', service: 'api', kind: 'producer', tags: kafka('acts', 'send') },
    { id: 's3', service: 'api', kind: 'producer', tags: kafka('acts', 'send') },
    { id: 's4', service: 'follower', kind: 'producer', tags: kafka('acts', 'send') },
  ]);
  const poll = trace('c', [
    { id: 'poll', service: 'view', kind: 'client', of: ['x:1', 'y:2'], tags: kafka('acts', 'receive', 'v') },
  ]);
  const calls = mapOf(sends, poll).calls;
  t.deepEqual(
    calls.map((call) => [shown(call), call.calls]),
    [
      ['api -acts-> view', 1.5],
      ['follower -acts-> view', 0.5],
    ],
  );
});

test('errors are those of the side that answers: 5xx is one, 4xx is not, a failed handling is one', (t) => {
  const broken = trace('b', [
    { id: 'send', service: 'api', kind: 'producer', tags: kafka('purchase', 'send') },
    {
      id: 'process',
      service: 'join',
      kind: 'consumer',
      of: ['send'],
      tags: { ...kafka('purchase', 'process', 'g'), error: true },
    },
  ]);
  const map = mapOf(journey('a', 503), journey('c', 422), broken);
  const of = (name: string) => map.calls.find((call) => wayText(call.way) === name)!;
  t.like(of('POST /purchases'), { calls: 2, errors: 1, errorRatio: 0.5 });
  t.like(of('purchase'), { calls: 3, errors: 1 });
});

test('a client’s request belongs to the server’s span when there is one, else goes outside; a database is a store', (t) => {
  const calls = mapOf(
    trace('a', [
      { id: 'c1', service: 'outside', kind: 'client', tags: http('/hook') },
      { id: 's1', service: 'world', kind: 'server', of: ['c1'], tags: http('/hook') },
      { id: 'c2', service: 'outside', kind: 'client', tags: http('/elsewhere') },
      { id: 'd', service: 'outside', kind: 'client', tags: { 'db.system.name': 'mysql' } },
    ]),
  ).calls;
  t.deepEqual(calls.map(shown).sort(), [
    'outside -POST /elsewhere-> nobody',
    'outside -POST /hook-> world',
    'outside -mysql-> nobody',
  ]);
});

test('what a trace stands for weighs its counts and its percentiles', (t) => {
  const slow = trace('b', [
    { id: 'r', service: 'api', kind: 'server', tookMs: 90, tags: http('/purchases') },
  ]);
  const fast = trace('a', [
    { id: 'r', service: 'api', kind: 'server', tookMs: 10, tags: http('/purchases') },
  ]);
  const map = serviceMap(
    [
      { trace: fast, weight: 96 },
      { trace: slow, weight: 4 },
    ],
    window,
  );
  t.like(map.calls[0], { calls: 100, perSecond: 10, p50Ms: 10, p95Ms: 10 });
});

test('no traces give an empty map, and a clock that is behind gives no negative time', (t) => {
  t.deepEqual(mapOf(), { ...window, traces: 0, services: [], calls: [] });
  const skewed = trace('a', [
    { id: 'send', service: 'api', kind: 'producer', atMs: 50, tags: kafka('x', 'send') },
    { id: 'p', service: 'join', kind: 'consumer', atMs: 10, of: ['send'], tags: kafka('x', 'process', 'g') },
  ]);
  t.is(mapOf(skewed).calls[0]?.p50Ms, 0);
});

test('the table goes from outside inwards, and says where nobody was seen', (t) => {
  const sent = trace('b', [
    { id: 'send', service: 'join', kind: 'producer', tags: kafka('promotion', 'send') },
  ]);
  const lines = mapTable(mapOf(journey('a'), sent), (_format, text) => stripVTControlCharacters(text)).split(
    '\n',
  );
  t.regex(lines[0]!, /^2 services, 3 ways, from 2 traces of 10 s until 1970-01-01T00:00:10Z$/);
  t.deepEqual(
    lines.slice(2, 5).map((line) => line.split(/ {2,}/).slice(0, 3)),
    [
      ['outside', 'POST /purchases', 'api'],
      ['api', 'topic purchase', 'join'],
      ['join', 'topic promotion', 'nobody seen'],
    ],
  );
});
