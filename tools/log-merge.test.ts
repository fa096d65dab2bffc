import test from 'ava';
import { afterLast, type LogLine, mergeByTime, parseLine, showLine } from './log-merge.ts';

const at = (component: string, second: string, text: string): LogLine => ({
  component,
  time: `2026-11-21T04:20:${second}Z`,
  text,
});

test('lines of several containers come in the order of time, to the nanosecond', (t) => {
  const merged = mergeByTime([
    [at('api', '01.000000002', 'second'), at('api', '03.000000000', 'fourth')],
    [at('kafka-1', '01.000000001', 'first'), at('kafka-1', '02.000000000', 'third')],
  ]);
  t.deepEqual(
    merged.map(({ text }) => text),
    ['first', 'second', 'third', 'fourth'],
  );
});

test('lines of one component with the same stamp keep their order', (t) => {
  const merged = mergeByTime([[at('api', '01.000000000', 'a'), at('api', '01.000000000', 'b')]]);
  t.deepEqual(
    merged.map(({ text }) => text),
    ['a', 'b'],
  );
});

test('the engine’s stamp is split off; a line without one is no line', (t) => {
  t.deepEqual(
    parseLine('api', '2026-11-21T04:20:01.123456789Z hello you'),
    at('api', '01.123456789', 'hello you'),
  );
  t.is(parseLine('api', 'error from daemon: no'), undefined);
});

test('a worker’s JSON line is shown as level, message and fields, its trace last', (t) => {
  const text = JSON.stringify({
    ts: 'x',
    level: 'warn',
    process: 'api',
    message: 'slow',
    ms: 12,
    trace_id: 'abc',
    span_id: 'd',
  });
  t.is(
    showLine(at('api', '01.123456789', text), { colour: false, width: 5, index: 0 }),
    '04:20:01.123 api   warn  slow ms=12 trace=abc',
  );
});

test('other programs’ lines are shown as they are, without their colours', (t) => {
  t.is(
    showLine(at('kafka-1', '01.5', '\u001B[31mred\u001B[0m {'), { colour: false, width: 7, index: 0 }),
    '04:20:01.5Z kafka-1 red {',
  );
});

test('other programs’ own time is left out: it is shown already', (t) => {
  const cases = [
    ['[2026-11-21 08:37:07,229] INFO rolled', 'INFO rolled'],
    ['2026-11-21 08:37:08,958 [myid:] - INFO srvr', '[myid:] - INFO srvr'],
    ['2026-11-21  8:37:05 811 [Warning] aborted', '811 [Warning] aborted'],
    ['1:M 21 Nov 2026 08:10:05.592 * ready', '* ready'],
    ['ts=2026-11-21T08:10:05.672Z level=info', 'level=info'],
    ['time="2026-11-21T08:10:12Z" level=info', 'level=info'],
    ['2026-11-21T08:33:45.282Z\twarn\tfull', 'warn\tfull'],
    ['2026 was a good year', '2026 was a good year'],
  ] as const;
  for (const [text, shown] of cases)
    t.is(
      showLine(at('kafka-1', '01.5', text), { colour: false, width: 7, index: 0 }),
      `04:20:01.5Z kafka-1 ${shown}`,
    );
});

test('reading on begins a nanosecond after the newest line', (t) => {
  t.is(afterLast([at('api', '03.000000009', 'b'), at('api', '01.5', 'a')]), '2026-11-21T04:20:03.000000010Z');
  t.is(afterLast([at('api', '01.5', 'a')]), '2026-11-21T04:20:01.500000001Z');
  t.is(afterLast([at('api', '01', 'a')]), '2026-11-21T04:20:01.000000001Z');
  t.is(afterLast([]), undefined);
});
