import test from 'ava';
import { tapReader } from './tap.ts';

function read(text: string) {
  const told: string[] = [];
  const reader = tapReader((title, ok, details) =>
    told.push(`${ok ? '+' : '-'} ${title} [${details.length}]`),
  );
  for (const line of text.split('\n')) reader.line(line);
  return { summary: reader.end(), told };
}

test('passes, failures with their details, skips and todos are told apart', (t) => {
  const { summary, told } = read(`TAP version 13
ok 1 - engine › starts
not ok 2 - engine › stops
  ---
    name: AssertionError
    message: 'no'
  ...
ok 3 - engine › sleeps # SKIP
not ok 4 - engine › dreams # TODO
ok 5 - engine › wakes

1..5
# tests 4
# pass 2
# fail 1
`);
  t.deepEqual([summary.passed, summary.failed, summary.skipped], [2, 1, 2]);
  t.deepEqual(told, ['+ engine › starts [0]', '- engine › stops [2]', '+ engine › wakes [0]']);
  t.deepEqual(summary.failures[0]?.details, ['    name: AssertionError', "    message: 'no'"]);
});

test('a test file that crashes counts as failed', (t) => {
  const { summary } = read(
    'TAP version 13\nnot ok 1 - tools/x.test.ts exited with a non-zero exit code: 1\n',
  );
  t.is(summary.failed, 1);
});

test('what a test logged is told, and does not cut the details of a failure off', (t) => {
  const logs: string[] = [];
  const told: string[][] = [];
  const reader = tapReader(
    (_title, _ok, details) => told.push([...details]),
    (text) => logs.push(text),
  );
  for (const line of [
    'ok 1 - a',
    '#   quick',
    'not ok 2 - b',
    '#   slow',
    '  ---',
    '    message: no',
    '  ...',
    '# tests 2',
  ])
    reader.line(line);
  reader.end();
  t.deepEqual(logs, ['quick']);
  t.deepEqual(told, [[], ['    slow', '    message: no']]);
});

test('a failure on the very last line is not lost', (t) => {
  t.deepEqual(read('not ok 1 - last').told, ['- last [0]']);
});

test('a bail out is a failure', (t) => {
  t.is(read('ok 1 - a\nBail out! no more').summary.failed, 1);
});
