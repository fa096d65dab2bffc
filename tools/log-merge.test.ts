import test from 'ava';
import { belongsTo, type LogLine, mergeByTime, parseLine, showLine } from './log-merge.ts';

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

test('a line belongs to a trace that it names', (t) => {
  t.true(belongsTo(at('api', '01', '{"trace_id":"abc"}'), 'abc'));
  t.false(belongsTo(at('api', '01', '{"trace_id":"abd"}'), 'abc'));
});
