import test from 'ava';
import {
  buildTree,
  duration,
  isComplete,
  type JaegerTrace,
  linkedTraceIds,
  renderTree,
} from './trace-tree.ts';

type Reference = { refType: 'CHILD_OF' | 'FOLLOWS_FROM'; traceID: string; spanID: string };
const span = (
  traceID: string,
  spanID: string,
  operationName: string,
  processID: string,
  startTime: number,
  length: number,
  references: Reference[] = [],
  tags: { key: string; value: unknown }[] = [],
) => ({ traceID, spanID, operationName, processID, startTime, duration: length, references, tags });
const child = (traceID: string, spanID: string): Reference[] => [{ refType: 'CHILD_OF', traceID, spanID }];
const link = (traceID: string, spanID: string): Reference[] => [{ refType: 'FOLLOWS_FROM', traceID, spanID }];

const startUs = Date.UTC(2026, 10, 21, 4, 20) * 1000;
const sample: JaegerTrace = {
  traceID: 'a',
  processes: { p1: { serviceName: 'api' }, p2: { serviceName: 'promotion' } },
  spans: [
    span('a', '3', 'process purchase', 'p2', startUs + 10_000, 30_000, child('a', '2')),
    span('a', '1', 'POST /purchases', 'p1', startUs, 12_300),
    span('a', '2', 'send purchase', 'p1', startUs + 1_000, 8_000, child('a', '1')),
    span('a', '4', 'send promotion', 'p2', startUs + 12_000, 800, child('a', '3'), [
      { key: 'error', value: true },
      { key: 'error.type', value: 'MUSTER_KAFKA_SEND' },
    ]),
  ],
};

test('a trace becomes a tree by parents, with offsets from its first moment, whatever order its spans come in', (t) => {
  const tree = buildTree([sample]);
  t.is(tree.spans, 4);
  t.is(tree.durationUs, 40_000);
  t.deepEqual(tree.services, ['api', 'promotion']);
  const [root] = tree.roots;
  t.is(root?.name, 'POST /purchases');
  t.is(root?.children[0]?.name, 'send purchase');
  t.is(root?.children[0]?.children[0]?.offsetUs, 10_000);
});

test('the printed tree says offset, duration, service and what failed', (t) => {
  const text = renderTree(buildTree([sample]), { colour: false, width: 120 });
  t.regex(text, /^trace a · 4 spans · api, promotion · 40\.0 ms · 2026-11-21T04:20:00\.000Z$/m);
  t.regex(text, /\+0 µs +12\.3 ms .* api +POST \/purchases$/m);
  t.regex(text, /\+12\.0 ms +800 µs .* promotion +└─ send promotion ✖ MUSTER_KAFKA_SEND$/m);
  t.false(text.includes('\u001B'));
});

test('a span of another trace hangs below the span that it links to, and says so', (t) => {
  const other: JaegerTrace = {
    traceID: 'b',
    processes: { p1: { serviceName: 'promotion' } },
    spans: [span('b', '9', 'commit purchase', 'p1', startUs + 50_000, 100, link('a', '3'))],
  };
  t.deepEqual(linkedTraceIds([other]), ['a']);
  t.deepEqual(linkedTraceIds([other, sample]), []);
  const text = renderTree(buildTree([sample, other]), { colour: false, width: 120 });
  t.regex(text, /commit purchase \(by link\)/);
});

test('a link within the same trace is its parent and no news', (t) => {
  const own: JaegerTrace = {
    ...sample,
    spans: [sample.spans[1]!, span('a', '7', 'poll purchase', 'p2', startUs + 5, 1, link('a', '1'))],
  };
  const [root] = buildTree([own]).roots;
  t.is(root?.children[0]?.name, 'poll purchase');
  t.false(root?.children[0]?.byLink);
});

test('a span whose parent has not arrived is shown at the top, and the trace is not complete', (t) => {
  const partial: JaegerTrace = { ...sample, spans: sample.spans.filter(({ spanID }) => spanID !== '1') };
  t.true(isComplete(sample));
  t.false(isComplete(partial));
  const text = renderTree(buildTree([partial]), { colour: false, width: 120 });
  t.regex(text, /send purchase \(its parent is missing\)/);
});

test('a span whose parent has not arrived does not hang below what it links to meanwhile', (t) => {
  const linked: JaegerTrace = {
    ...sample,
    spans: [
      sample.spans[1]!,
      span('a', '8', 'late', 'p2', startUs, 1, [...child('a', '7'), ...link('a', '1')]),
    ],
  };
  t.deepEqual(
    buildTree([linked]).roots.map(({ name }) => name),
    ['POST /purchases', 'late'],
  );
});

test('links that run in a circle lose no span and do not hang', (t) => {
  const circle: JaegerTrace = {
    traceID: 'c',
    processes: { p: { serviceName: 's' } },
    spans: [
      span('c', '1', 'one', 'p', startUs, 1, link('c', '2')),
      span('c', '2', 'two', 'p', startUs, 1, link('c', '1')),
    ],
  };
  const text = renderTree(buildTree([circle]), { colour: false, width: 100 });
  t.regex(text, /one/);
  t.regex(text, /two/);
});

test('durations are short enough to read', (t) => {
  t.deepEqual([7, 999, 1_000, 12_345, 250_000, 1_500_000].map(duration), [
    '7 µs',
    '999 µs',
    '1.0 ms',
    '12.3 ms',
    '250 ms',
    '1.50 s',
  ]);
});
