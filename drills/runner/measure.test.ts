import test from 'ava';
import { type Attempt, curvesOf, outagesOf, percentile, recoveriesFrom } from './measure.ts';

const limitMs = 2_000;
const attempt = (sentAtMs: number, settledAtMs?: number, observer = 'probe'): Attempt => ({
  observer,
  sentAtMs,
  ...(settledAtMs === undefined ? {} : { settledAtMs }),
});

test('an attempt that is done in time is no failure, at the limit neither', (t) => {
  t.deepEqual(outagesOf([attempt(0, 1), attempt(100, 2_100)], limitMs), []);
});

test('an outage lasts until the last of its attempts was done', (t) => {
  const attempts = [attempt(0, 10), attempt(100, 4_100), attempt(200, 4_150), attempt(3_000, 4_100)];
  t.deepEqual(outagesOf(attempts, limitMs), [{ observer: 'probe', fromMs: 100, untilMs: 4_150 }]);
});

test('an attempt that is never done is given up at the limit', (t) => {
  t.deepEqual(outagesOf([attempt(100)], limitMs), [{ observer: 'probe', fromMs: 100, untilMs: 2_100 }]);
});

test('outages of different observers, and those with more than a second between them, are kept apart', (t) => {
  const attempts = [attempt(0, 3_000), attempt(4_001, 7_000), attempt(10, 3_000, 'answers')];
  t.deepEqual(
    outagesOf(attempts, limitMs).map(({ observer, fromMs }) => [observer, fromMs]),
    [
      ['probe', 0],
      ['answers', 10],
      ['probe', 4_001],
    ],
  );
});

test('recovery lasts from the fault until nobody saw a failure any more', (t) => {
  const outages = [
    { observer: 'a', fromMs: 10_100, untilMs: 13_000 },
    { observer: 'b', fromMs: 10_500, untilMs: 14_200 },
    { observer: 'a', fromMs: 13_900, untilMs: 14_000 },
  ];
  t.deepEqual(recoveriesFrom([{ atMs: 10_000, what: 'kill' }], outages, limitMs), [
    { atMs: 10_000, what: 'kill', afterMs: 4_200, lastSeenBy: 'b' },
  ]);
});

test('failures after ten seconds without any are no part of the recovery', (t) => {
  const first = { observer: 'a', fromMs: 10_100, untilMs: 13_000 };
  const later = (fromMs: number) => ({ observer: 'b', fromMs, untilMs: fromMs + 2_500 });
  const after = (fromMs: number) =>
    recoveriesFrom([{ atMs: 10_000, what: 'kill' }], [later(fromMs), first], limitMs)[0]?.afterMs;
  t.is(after(22_900), 15_400);
  t.is(after(23_100), 3_000);
});

test('what was under way when the fault came counts; what was over before does not', (t) => {
  const disturbances = [{ atMs: 10_000, what: 'kill' }];
  const over = { observer: 'a', fromMs: 8_500, untilMs: 9_900 };
  t.is(recoveriesFrom(disturbances, [over], limitMs)[0]?.afterMs, undefined);
  const underWay = { observer: 'a', fromMs: 8_500, untilMs: 11_000 };
  t.is(recoveriesFrom(disturbances, [underWay], limitMs)[0]?.afterMs, 1_000);
});

test('an outage belongs to the newest disturbance before it, and may outlast the next one', (t) => {
  const disturbances = [
    { atMs: 10_000, what: 'kill' },
    { atMs: 30_000, what: 'heal' },
  ];
  const outages = [
    { observer: 'a', fromMs: 11_000, untilMs: 31_000 },
    { observer: 'a', fromMs: 35_000, untilMs: 38_000 },
  ];
  t.deepEqual(
    recoveriesFrom(disturbances, outages, limitMs).map(({ afterMs }) => afterMs),
    [21_000, 8_000],
  );
});

test('of two disturbances at the same time each outage is seen', (t) => {
  const disturbances = [
    { atMs: 10_000, what: 'kill a' },
    { atMs: 10_050, what: 'kill b' },
  ];
  const outages = [{ observer: 'a', fromMs: 10_020, untilMs: 13_000 }];
  const seen = recoveriesFrom(disturbances, outages, limitMs).map(({ afterMs }) => afterMs ?? 0);
  t.true(Math.max(...seen) >= 2_950);
});

test('curves count by second what was sent, done and failed, and leave seconds without latency out', (t) => {
  const attempts = [attempt(1_000, 1_010), attempt(1_500, 1_530), attempt(2_000, 5_000), attempt(3_000)];
  const curves = curvesOf(attempts, { fromMs: 1_000, untilMs: 6_000, limitMs, name: 'load' });
  const values = (name: string) =>
    curves.find((curve) => curve.name === `load ${name}`)?.points.map(({ value }) => value);
  t.deepEqual(values('sent'), [2, 1, 1, 0, 0]);
  t.deepEqual(values('acked'), [2, 0, 0, 0, 1]);
  t.deepEqual(values('failures'), [0, 1, 1, 0, 0]);
  t.deepEqual(values('latency p99'), [30, 3_000]);
});

test('a percentile of nothing is nothing', (t) => {
  t.is(percentile([], 0.5), undefined);
  t.is(percentile([3, 1, 2], 0.5), 2);
  t.is(percentile([3, 1, 2], 1), 3);
});
