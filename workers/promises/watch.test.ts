import test from 'ava';
import { checkDeadlineMs, promises, uncheckedAfterMs } from '../../catalog/promises.ts';
import type { Check, Evidence } from '../platform/checks.ts';
import { type Clock, type PromiseState, type WatchOptions, watchPromises } from './watch.ts';

const promise = promises.find(({ name }) => name === 'coupon-requests-decided')!;
const { periodMs } = promise;
const holds: Evidence = { broken: 0, ids: [] };

/** A clock that goes on when told to, and lets what is due run to its end. */
function handClock(startMs = 1_000_000) {
  let elapsedMs = 0;
  let step = 0;
  const timers = new Set<{ readonly atMs: number; readonly call: () => void }>();
  const settle = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  const clock: Clock = {
    nowMs: () => startMs + step + elapsedMs,
    elapsedMs: () => elapsedMs,
    after(ms, call) {
      const timer = { atMs: elapsedMs + ms, call };
      timers.add(timer);
      return () => timers.delete(timer);
    },
  };
  return {
    clock,
    startMs,
    timers,
    stepWall(ms: number) {
      step += ms;
    },
    async pass(ms: number) {
      const until = elapsedMs + ms;
      for (;;) {
        const due = [...timers].filter(({ atMs }) => atMs <= until).sort((a, b) => a.atMs - b.atMs)[0];
        if (due === undefined) break;
        timers.delete(due);
        elapsedMs = Math.max(elapsedMs, due.atMs);
        due.call();
        await settle();
      }
      elapsedMs = until;
      await settle();
    },
  };
}

function watching(check: Check, more: Partial<WatchOptions> = {}) {
  const time = handClock();
  const watch = watchPromises({ checks: [{ promise, check }], clock: time.clock, ...more });
  return { time, watch, state: (): PromiseState => watch.states()[0]! };
}

test('before the first check nothing is said to hold', (t) => {
  const { watch, state } = watching(async () => holds);
  t.is(state().status, 'not checked');
  t.is(state().checkedAtMs, undefined);
  t.is(state().why, 'it was not checked yet');
  t.false(watch.tried());
});

test('what was checked holds, as of the moment in which the check began', async (t) => {
  const { time, watch, state } = watching(async () => holds);
  await time.pass(0);
  t.like(state(), { status: 'holds', checkedAtMs: time.startMs, broken: 0, why: undefined });
  t.true(watch.tried());
  await time.pass(periodMs);
  t.is(state().checkedAtMs, time.startMs + periodMs);
});

test('broken is told with its ids, and since when: by its own word, else since it was first seen', async (t) => {
  let evidence: Evidence = { broken: 2, ids: ['a', 'b'] };
  const { time, state } = watching(async () => evidence);
  await time.pass(periodMs);
  t.like(state(), { status: 'broken', broken: 2, brokenSinceMs: time.startMs });
  t.deepEqual(state().ids, ['a', 'b']);
  evidence = { broken: 1, ids: ['a'], sinceMs: 77 };
  await time.pass(periodMs);
  t.is(state().brokenSinceMs, 77);
  evidence = holds;
  await time.pass(periodMs);
  t.like(state(), { status: 'holds', brokenSinceMs: undefined });
  evidence = { broken: 1, ids: ['c'] };
  await time.pass(periodMs);
  t.is(state().brokenSinceMs, time.startMs + 4 * periodMs);
});

test('a check that cannot look ends what held, and says why; what was broken stays known', async (t) => {
  let answer: () => Promise<Evidence> = async () => holds;
  const failures: unknown[] = [];
  const { time, state } = watching(() => answer(), { onFailure: (_, error) => failures.push(error) });
  await time.pass(0);
  answer = async () => {
    throw new Error('the database is away');
  };
  await time.pass(uncheckedAfterMs(promise));
  t.is(state().status, 'holds');
  await time.pass(1);
  t.like(state(), { status: 'not checked', why: 'the database is away', checkedAtMs: time.startMs });
  t.true(failures.length > 1);
  answer = async () => ({ broken: 3, ids: ['x'] });
  await time.pass(periodMs);
  t.is(state().status, 'broken');
  answer = async () => {
    throw new Error('away again');
  };
  await time.pass(uncheckedAfterMs(promise) + periodMs);
  t.like(state(), { status: 'not checked', broken: 3, why: 'away again' });
  t.deepEqual(state().ids, ['x']);
});

test('one that could not look looks again within seconds, and in its period when it could', async (t) => {
  const time = handClock();
  const begunAtMs: number[] = [];
  let isAway = true;
  watchPromises({
    clock: time.clock,
    checks: [
      {
        promise: { ...promise, periodMs: 30_000 },
        async check() {
          begunAtMs.push(time.clock.elapsedMs());
          if (isAway) throw new Error('the database is away');
          return holds;
        },
      },
    ],
  });
  await time.pass(5_000);
  isAway = false;
  await time.pass(40_000);
  t.deepEqual(begunAtMs, [0, 5_000, 10_000, 40_000]);
});

test('one that throws at once is as one that rejects', async (t) => {
  const { time, watch, state } = watching(() => {
    throw new Error('wrong from the start');
  });
  await time.pass(0);
  t.like(state(), { status: 'not checked', why: 'wrong from the start' });
  t.true(watch.tried());
});

test('a check beyond its deadline says nothing, not even later, and does not run twice at once', async (t) => {
  const begun: PromiseWithResolvers<Evidence>[] = [];
  const { time, watch, state } = watching(() => {
    begun.push(Promise.withResolvers<Evidence>());
    return begun.at(-1)!.promise;
  });
  await time.pass(checkDeadlineMs - 1);
  t.false(watch.tried());
  await time.pass(1);
  t.true(watch.tried());
  t.like(state(), { status: 'not checked', why: 'the check did not end within 10 s' });
  await time.pass(10 * periodMs);
  t.is(begun.length, 1);
  begun[0]!.resolve(holds);
  await time.pass(0);
  t.is(state().status, 'not checked');
  await time.pass(periodMs);
  t.is(begun.length, 2);
  begun[1]!.resolve(holds);
  await time.pass(0);
  t.is(state().status, 'holds');
});

test('a clock that is set makes nothing young or old', async (t) => {
  let works = true;
  const { time, state } = watching(async () => {
    if (!works) throw new Error('away');
    return holds;
  });
  await time.pass(0);
  time.stepWall(86_400_000);
  t.is(state().status, 'holds');
  works = false;
  await time.pass(uncheckedAfterMs(promise) + 1);
  time.stepWall(-2 * 86_400_000);
  t.is(state().status, 'not checked');
});

test('one that hangs holds up no other, and checks are spread over their period', async (t) => {
  const time = handClock();
  const begun: [string, number][] = [];
  const all = promises.filter((one) => one.periodMs === periodMs);
  const watch = watchPromises({
    clock: time.clock,
    checks: all.map((one, index) => ({
      promise: one,
      check: () => {
        begun.push([one.name, time.clock.elapsedMs()]);
        return index === 0 ? new Promise<Evidence>(() => {}) : Promise.resolve(holds);
      },
    })),
  });
  await time.pass(periodMs - 1);
  t.is(new Set(begun.map(([, atMs]) => atMs)).size, all.length);
  t.is(begun.length, all.length);
  await time.pass(periodMs);
  t.is(begun.length, 2 * all.length - 1);
  t.deepEqual(
    watch.states().map(({ status }) => status),
    all.map((_, index) => (index === 0 ? 'not checked' : 'holds')),
  );
});

test('when it is stopped nothing is begun any more, and what runs is waited for', async (t) => {
  const running = Promise.withResolvers<Evidence>();
  const { time, watch } = watching(() => running.promise);
  await time.pass(0);
  let stopped = false;
  const stopping = watch.stop().then(() => {
    stopped = true;
  });
  await time.pass(0);
  t.false(stopped);
  running.reject(new Error('the database is away'));
  await stopping;
  t.is(time.timers.size, 0);
});
