import test from 'ava';
import { fileOfTitle, runAvaTwice, Score } from './suites.ts';

test('a title leads to its file, whatever folders AVA leaves out', (t) => {
  const files = [
    'workers/order/consumers.integration.test.ts',
    'workers/lag/lag.integration.test.ts',
    'test/outside.test.ts',
  ];
  t.is(fileOfTitle('workers › order › consumers.integration › what Redis has lost', files), files[0]);
  t.is(fileOfTitle('consumers.integration › what Redis has lost', files), files[0]);
  t.is(fileOfTitle('outside › a receiver that is down', files), files[2]);
  t.is(fileOfTitle('tests hang: nothing finished for 20 minutes', files), undefined);
});

test('a test that fails twice has failed, one that passes at the second try is named, a file that breaks off fails', async (t) => {
  const files = ['workers/a/steady.test.ts', 'workers/a/shaky.test.ts', 'workers/b/broken.test.ts'];
  const runs: string[][] = [];
  const run = async (score: Score, which: readonly string[]) => {
    runs.push([...which]);
    if (which.length > 1) {
      score.passed = 7;
      for (const title of [
        'a › steady › it holds at last',
        'a › shaky › it never holds',
        'a › shaky › it holds at last',
        'b › broken › it ran',
        'tests hang: nothing finished for 4 minutes',
      ])
        score.fail(title);
    } else if (which[0] === files[0]) score.pass();
    else if (which[0] === files[1]) {
      score.pass();
      score.fail('it never holds');
      score.fail('it held before');
    } else score.fail('workers/b/broken.test.ts exited with a non-zero exit code: 1');
  };
  const score = new Score();
  await runAvaTwice(score, files, { signal: new AbortController().signal, match: undefined }, run);
  t.deepEqual(
    runs.slice(1),
    files.map((file) => [file]),
  );
  t.is(score.passed, 7 + 2);
  t.deepEqual(score.unsteady, ['a › steady › it holds at last', 'a › shaky › it holds at last']);
  t.deepEqual(score.failures, [
    'tests hang: nothing finished for 4 minutes',
    'a › shaky › it never holds',
    'it held before',
    'b › broken › it ran',
    'workers/b/broken.test.ts exited with a non-zero exit code: 1',
  ]);
});
