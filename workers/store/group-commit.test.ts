import test from 'ava';
import { NotNowError } from '../base/errors.ts';
import { groupCommit, inGroups } from './group-commit.ts';

test('what comes while a run goes on is done by the next run, in order, each call with its own answer', async (t) => {
  const runs: number[][] = [];
  let release: () => void = () => {};
  const double = groupCommit(
    async (calls: readonly number[]) => {
      runs.push([...calls]);
      if (runs.length === 1) await new Promise<void>((resolve) => (release = resolve));
      return calls.map((call) => call * 2);
    },
    { most: 3, waiting: 100 },
  );
  const first = double(1);
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const rest = [2, 3, 4, 5].map(double);
  release();
  t.is(await first, 2);
  t.deepEqual(await Promise.all(rest), [4, 6, 8, 10]);
  t.deepEqual(runs, [[1], [2, 3, 4], [5]]);
});

test('calls of one turn share a run, and an idle one starts again', async (t) => {
  let runs = 0;
  const echo = groupCommit(
    async (calls: readonly string[]) => {
      runs++;
      return calls;
    },
    { most: 10, waiting: 100 },
  );
  t.deepEqual(await Promise.all(['a', 'b'].map(echo)), ['a', 'b']);
  t.is(runs, 1);
  t.is(await echo('c'), 'c');
  t.is(runs, 2);
});

test('a run waits until it is its turn, but not when there is no room for more', async (t) => {
  const runs: number[][] = [];
  const echo = groupCommit(
    async (calls: readonly number[]) => {
      runs.push([...calls]);
      return calls;
    },
    { most: 3, waiting: 100, everyMs: 3_600_000 },
  );
  await echo(1);
  const waiting = [echo(2), echo(3)];
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  t.deepEqual(runs, [[1]]);
  await Promise.all([...waiting, echo(4)]);
  t.deepEqual(runs, [[1], [2, 3, 4]]);
});

test('a run that fails fails its own calls and nobody else’s', async (t) => {
  let runs = 0;
  const fragile = groupCommit(
    async (calls: readonly number[]) => {
      if (++runs === 1) throw new Error('down');
      return calls;
    },
    { most: 2, waiting: 100 },
  );
  const results = await Promise.allSettled([1, 2, 3].map(fragile));
  t.deepEqual(
    results.map((result) => (result.status === 'fulfilled' ? result.value : result.reason.message)),
    ['down', 'down', 3],
  );
});

test('beyond the limit a call is refused at once', async (t) => {
  const slow = groupCommit(async (calls: readonly number[]) => calls, { most: 1, waiting: 2 });
  const results = await Promise.allSettled([1, 2, 3].map(slow));
  t.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  );
  t.like((results[2] as PromiseRejectedResult).reason, { code: 'MUSTER_OVERLOADED' });
});

test('what fails together is tried one by one, and what comes after it does not wait for that', async (t) => {
  const runs: string[] = [];
  const slow = Promise.withResolvers<void>();
  const upper = inGroups(async (calls: readonly string[]) => {
    runs.push(calls.join(' '));
    if (calls.length > 1 && calls.includes('bad')) throw new Error('one of them');
    if (calls.includes('slow')) await slow.promise;
    if (calls.includes('bad')) throw new Error('bad');
    return calls.map((call) => call.toUpperCase());
  });
  const [a, bad, last] = ['a', 'bad', 'slow'].map(upper);
  t.is(await a, 'A');
  await t.throwsAsync(bad!, { message: 'bad' });
  t.is(await upper('next'), 'NEXT');
  slow.resolve();
  t.is(await last, 'SLOW');
  t.deepEqual(runs, ['a bad slow', 'a', 'bad', 'slow', 'next']);
});

test('many that wait for one lock take few connections, and the runs that follow have theirs', async (t) => {
  const lock = Promise.withResolvers<void>();
  let [waiting, most] = [0, 0];
  const upper = inGroups(async (calls: readonly string[]) => {
    if (calls[0] === 'next') return ['NEXT'];
    if (calls.length > 1) throw new Error('the lock was not free in time');
    most = Math.max(most, ++waiting);
    await lock.promise;
    waiting--;
    if (calls[0] === 'call 3') throw new Error('its own');
    return [calls[0]!.toUpperCase()];
  });
  const all = Promise.allSettled(Array.from({ length: 30 }, (_, each) => upper(`call ${each}`)));
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  t.is(waiting, 4);
  t.is(await upper('next'), 'NEXT');
  lock.resolve();
  t.deepEqual(
    (await all).map((each): unknown => (each.status === 'fulfilled' ? each.value : each.reason.message)),
    Array.from({ length: 30 }, (_, each) => (each === 3 ? 'its own' : `CALL ${each}`)),
  );
  t.is(most, 4);
});

test('locks take a run apart, a database that is away does not', async (t) => {
  const refuses = (errno: number) =>
    new NotNowError('MUSTER_DATABASE_REFUSES', 'not now', { cause: Object.assign(new Error(), { errno }) });
  for (const [error, expected] of [
    [refuses(1_213), [1, 2]],
    [refuses(1_205), [1, 2]],
    [refuses(1_021), ['not now', 'not now']],
    [new NotNowError('MUSTER_DATABASE_DOWN', 'away'), ['away', 'away']],
  ] as const) {
    const echo = inGroups(async (calls: readonly number[]) => {
      if (calls.length > 1) throw error;
      return calls;
    });
    const results = await Promise.allSettled([1, 2].map(echo));
    t.deepEqual(
      results.map((each): unknown => (each.status === 'fulfilled' ? each.value : each.reason.message)),
      [...expected],
    );
  }
});
