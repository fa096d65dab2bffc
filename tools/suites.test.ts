import test from 'ava';
import { fileOfTitle, phasesOf, runAvaTwice, Score, testFiles } from './suites.ts';

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
  await runAvaTwice(score, [{ files }], { signal: new AbortController().signal, match: undefined }, run);
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

test('lanes run beside each other, and what failed in one of them runs again when all are through', async (t) => {
  const told: string[] = [];
  const { promise: secondBegan, resolve: secondBegins } = Promise.withResolvers<void>();
  const run = async (score: Score, files: readonly string[], options: { env?: object }) => {
    told.push(`${files} begins ${JSON.stringify(options.env)}`);
    if (files.length > 1) {
      await secondBegan;
      score.fail('a › shaky › it holds at last');
    } else if (files[0] === 'workers/b/beside.test.ts') {
      secondBegins();
      await new Promise((resolve) => setImmediate(resolve));
    }
    score.pass();
    told.push(`${files} ends`);
  };
  const score = new Score();
  const lanes = [
    { files: ['workers/a/shaky.test.ts', 'workers/a/steady.test.ts'] },
    { files: ['workers/b/beside.test.ts'], env: { KAFKA_BROKERS: '127.0.0.1:1' } },
  ];
  const options = {
    signal: new AbortController().signal,
    match: undefined,
    env: { KAFKA_BROKERS: 'k:9092' },
  };
  await runAvaTwice(score, lanes, options, run);
  t.deepEqual(told.slice(0, 2), [
    'workers/a/shaky.test.ts,workers/a/steady.test.ts begins {"KAFKA_BROKERS":"k:9092"}',
    'workers/b/beside.test.ts begins {"KAFKA_BROKERS":"127.0.0.1:1"}',
  ]);
  t.deepEqual(told.slice(4), [
    'workers/a/shaky.test.ts begins {"KAFKA_BROKERS":"k:9092"}',
    'workers/a/shaky.test.ts ends',
  ]);
  t.deepEqual([score.passed, score.failed, score.unsteady.length], [3, 0, 1]);
});

test('a lane that is broken off waits for the others to end', async (t) => {
  const ended: string[] = [];
  const run = async (_: Score, files: readonly string[]) => {
    if (files[0] === 'a.test.ts') throw new Error('interrupted');
    await new Promise((resolve) => setImmediate(resolve));
    ended.push(...files);
  };
  const options = { signal: new AbortController().signal, match: undefined };
  const lanes = [{ files: ['a.test.ts'] }, { files: ['b.test.ts'] }];
  await t.throwsAsync(runAvaTwice(new Score(), lanes, options, run), { message: 'interrupted' });
  t.deepEqual(ended, ['b.test.ts']);
});

test('each test runs once, in its phase, and none has brokers that may be killed beside it', async (t) => {
  const [endToEnd, integration] = await Promise.all([testFiles('e2e'), testFiles('integration')]);
  const filesOf = async (suite: Parameters<typeof phasesOf>[0]) =>
    (await phasesOf(suite)).map(({ lanes }) => lanes.flatMap(({ files }) => files).toSorted());
  t.deepEqual(await filesOf('e2e'), [endToEnd]);
  t.deepEqual(await filesOf('integration'), [integration]);
  t.deepEqual((await filesOf('all')).flat().toSorted(), [...endToEnd, ...integration].toSorted());
  const [first, second] = await phasesOf('all');
  t.deepEqual(first!.lanes[0]!.files, endToEnd);
  t.deepEqual(first!.lanes[1]!.files, ['alerts/alerts.integration.test.ts']);
  t.deepEqual(
    second!.lanes.map(({ env }) => env?.KAFKA_BROKERS),
    [undefined, '127.0.0.1:1'],
  );
});
