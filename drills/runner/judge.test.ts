import test from 'ava';
import { environments } from '../../catalog/environments.ts';
import type { Drill } from '../drill.ts';
import { judge, type Seen } from './judge.ts';

const begin = 1_800_000_000_000;
const drill: Drill = {
  name: 'broker-killed',
  about: 'A broker is killed.',
  loadMs: 60_000,
  loads: { promotion: { rate: 200 } },
  steps: [{ atMs: 10_000, inject: { kind: 'kill' }, on: { alias: 'kafka-1' } }],
  expect: { rtoMs: 5_000 },
};
/** Killed after 10 s; messages of the first 3 s after that are acked when those are over. */
const seen: Seen = {
  drill,
  environment: environments.ci,
  context: {},
  startedAtMs: begin,
  loadEndedAtMs: begin + 60_000,
  disturbances: [{ atMs: begin + 10_000, what: 'kill kafka-1' }],
  events: [],
  attempts: Array.from({ length: 600 }, (_, index) => {
    const sentAtMs = begin + index * 100;
    const isHeld = sentAtMs >= begin + 10_000 && sentAtMs < begin + 13_000;
    return { observer: 'api', sentAtMs, settledAtMs: isHeld ? begin + 13_000 : sentAtMs + 5 };
  }),
  answers: [],
  result: {
    attempts: [],
    purchases: new Map([['lost-one', begin + 4_000]]),
    sentAtMs: new Map(),
    undecided: [],
    stalls: [],
    curves: [],
    sent: 600,
    failed: 0,
    failedTries: 0,
    latencyMs: undefined,
  },
  probesFailed: 0,
  verdicts: [{ subject: 'promotion', acked: 600, inDoubt: 0, repeats: 0, findings: [] }],
  arrivals: [],
  steady: undefined,
  canary: { longestSeconds: undefined },
  broken: [],
  measured: [],
  starts: [],
  deadLetters: [],
  sessionsLost: 0,
  unanswered: [],
  curves: [],
};
const targetOf = (report: ReturnType<typeof judge>, name: string) =>
  report.targets.find((target) => target.name === name);

test('an outage that is over in time, and nothing lost: as promised', (t) => {
  const report = judge(seen);
  t.is(report.rtoMs, 3_000);
  t.true(report.passed);
  t.is(report.detectionMs, undefined);
});

test('the canary’s outage counts where it is the longer one', (t) => {
  const report = judge({ ...seen, canary: { longestSeconds: 6 } });
  t.is(report.rtoMs, 6_000);
  t.like(targetOf(report, 'RTO'), { met: false, measured: '6.0 s' });
  t.false(report.passed);
});

test('what was acked and is lost counts with its age when the fault came', (t) => {
  const report = judge({
    ...seen,
    verdicts: [
      {
        subject: 'promotion',
        acked: 600,
        inDoubt: 0,
        repeats: 0,
        findings: [{ kind: 'lost', id: 'lost-one', detail: 'no answer' }],
      },
    ],
  });
  t.deepEqual(report.rpo, { lost: 1, oldestLostAgeMs: 6_000 });
  t.false(report.passed);
});

test('an ended process and a dead letter count where a drill forbids them, and nowhere else', (t) => {
  const letter = { what: 'purchase-1-7', atMs: begin + 20_000, owed: false };
  const ended = { ...seen, starts: [{ alias: 'api', atMs: begin + 20_000 }], deadLetters: [letter] };
  t.true(judge(ended).passed);
  const strict = { ...drill, expect: { ...drill.expect, restarts: 0, deadLetters: 0 } };
  t.true(judge({ ...seen, drill: strict }).passed);
  const report = judge({ ...ended, drill: strict });
  t.like(targetOf(report, 'processes that ended'), { met: false, measured: 'api' });
  t.like(targetOf(report, 'dead letters that are not owed'), { met: false, measured: '1, purchase-1-7' });
});

test('what a procedure measures by itself is a target: missed when it was late or did not come', (t) => {
  const whole = (tookMs: number | undefined) =>
    judge({ ...seen, measured: [{ name: 'all ZooKeepers serve', wantedMs: 45_000, tookMs }] });
  t.true(whole(12_000).passed);
  t.like(targetOf(whole(12_000), 'all ZooKeepers serve'), { met: true, measured: '12.0 s' });
  for (const tookMs of [45_001, undefined]) t.false(whole(tookMs).passed);
});

test('what was accepted and has not ended fails the drill, and is named', (t) => {
  const report = judge({ ...seen, result: { ...seen.result, undecided: ['pay remittance-1'] } });
  t.like(targetOf(report, 'accepted, and no end seen'), { measured: '1, pay remittance-1', met: false });
  t.is(report.undecided, 1);
  t.false(report.passed);
});

test('of ZooKeeper sessions as many may end as a drill says, and no more', (t) => {
  const expecting = { ...drill, expect: { ...drill.expect, sessionsLost: 3 } };
  t.true(judge({ ...seen, drill: expecting, sessionsLost: 3 }).passed);
  t.false(judge({ ...seen, drill: expecting, sessionsLost: 4 }).passed);
  t.false(judge({ ...seen, sessionsLost: 1 }).passed);
});

test('what a step ends itself, and what the load sends to be put aside, counts as neither', (t) => {
  const strict = { ...drill, expect: { ...drill.expect, restarts: 0, deadLetters: 0 } };
  const report = judge({
    ...seen,
    drill: strict,
    broken: [{ alias: 'kafka-1', fromMs: begin + 10_000, untilMs: begin + 40_000 }],
    starts: [
      { alias: 'kafka-1', atMs: begin + 40_500 },
      { alias: 'kafka-1-stand-in', atMs: begin + 12_000 },
    ],
    deadLetters: [{ what: 'purchase-1-7', atMs: begin + 20_000, owed: true }],
  });
  t.true(report.passed);
  t.is(report.deadLettersOwed, 1);
  const other = judge({ ...seen, drill: strict, starts: [{ alias: 'kafka-1', atMs: begin + 40_500 }] });
  t.false(other.passed);
});

test('of several cases each is judged by what happened from its begin to that of the next', (t) => {
  const several: Drill = {
    ...drill,
    cases: [
      { name: 'first', rtoMs: 5_000 },
      { name: 'second', rtoMs: 5_000 },
    ],
    expect: { rtoMs: 0, restarts: 0, deadLetters: 0 },
  };
  const report = judge({
    ...seen,
    drill: several,
    disturbances: [
      { atMs: begin + 10_000, what: 'kill kafka-1', of: 'first' },
      { atMs: begin + 40_000, what: 'kill mysql', of: 'second' },
    ],
    result: { ...seen.result, sentAtMs: new Map([['lost-one', begin + 41_000]]) },
    verdicts: [
      {
        ...seen.verdicts[0]!,
        findings: [{ kind: 'lost', id: 'lost-one', detail: 'no answer' }],
      },
    ],
    starts: [{ alias: 'api', atMs: begin + 20_000 }],
  });
  t.like(report.cases?.[0], { name: 'first', rtoMs: 3_000, lost: 0, restarted: ['api'], passed: false });
  t.like(report.cases?.[1], { name: 'second', rtoMs: undefined, lost: 1, restarted: [], passed: false });
  t.like(targetOf(report, 'RTO of first'), { met: true, measured: '3.0 s' });
  t.is(targetOf(report, 'RTO'), undefined);
});

test('a living broker that loses its session is a failure, a frozen one is not', (t) => {
  t.like(targetOf(judge({ ...seen, sessionsLost: 1 }), 'ZooKeeper sessions lost'), { met: false });
  const frozen = judge({
    ...seen,
    sessionsLost: 1,
    drill: { ...drill, steps: [{ atMs: 10_000, inject: { kind: 'pause' }, on: { role: 'controller' } }] },
  });
  t.like(targetOf(frozen, 'ZooKeeper sessions lost'), { met: true });
  t.like(targetOf(judge({ ...seen, sessionsLost: undefined }), 'ZooKeeper sessions lost'), { met: false });
});

test('who did not answer is a finding of its own, and fails the drill', (t) => {
  const report = judge({ ...seen, unanswered: [{ id: 'prometheus', why: 'it does not answer' }] });
  t.false(report.passed);
  t.like(targetOf(report, 'not checked'), { met: false, measured: '1' });
  t.like(targetOf(report, 'wrong, doubled or untold'), { met: true });
  t.like(report.verdicts.at(-1), {
    subject: 'the drill itself',
    findings: [{ kind: 'not-checked', id: 'prometheus', detail: 'it does not answer' }],
  });
});

test('what a checker could not look at fails the drill', (t) => {
  const findings = [{ kind: 'not-checked', id: 'mysql', detail: 'MySQL did not answer' } as const];
  const report = judge({
    ...seen,
    verdicts: [{ subject: 'coupons', acked: 0, inDoubt: 0, repeats: 0, findings }],
  });
  t.false(report.passed);
  t.like(targetOf(report, 'not checked'), { met: false, measured: '1' });
});

test('only a page that the drill expects is its detection, whatever else pages meanwhile', (t) => {
  const arrival = (alertname: string, afterMs: number, receiver = 'page') => ({
    receiver,
    arrivedAtMs: begin + 10_000 + afterMs,
    startsAtMs: begin + 10_000 + afterMs - 1_000,
    status: 'firing' as const,
    labels: { alertname },
    notification: alertname,
  });
  const expecting = (...names: string[]): Drill => ({
    ...drill,
    expect: { ...drill.expect, alerts: names.map((name) => ({ name, withinMs: 75_000 })) },
  });
  const arrivals = [
    arrival('CanarySilent', 20_000),
    arrival('UnderReplicated', 30_000, 'ticket'),
    arrival('OfflinePartitions', 70_000),
    arrival('BrokersMissing', 65_000),
  ];
  t.is(judge({ ...seen, arrivals, drill: expecting('BrokersMissing') }).detectionMs, 65_000);
  const two = expecting('OfflinePartitions', 'BrokersMissing');
  t.is(judge({ ...seen, arrivals, drill: two }).detectionMs, 65_000, 'the first of them');
  t.is(judge({ ...seen, arrivals, drill: expecting('UnderReplicated', 'DiskLow') }).detectionMs, undefined);
  t.is(judge({ ...seen, arrivals }).detectionMs, undefined);
  const early = judge({ ...seen, arrivals, drill: expecting('BrokersMissing') });
  t.deepEqual(
    early.events.filter(({ kind }) => kind === 'detected').map(({ what }) => what),
    ['page: BrokersMissing'],
  );
});

/** A change from the tenth second to the thirtieth, with an order and a purchase every 100 ms. */
function changedSeen(
  requests: NonNullable<Drill['expect']['requests']>,
  requestAt: (sentAtMs: number, of: string) => { readonly tookMs: number; readonly problem?: string },
): Seen {
  return {
    ...seen,
    drill: { ...drill, expect: { rtoMs: 5_000, requests } },
    requests: {
      changed: { fromMs: begin + 10_000, untilMs: begin + 30_000 },
      seen: Array.from({ length: 600 }, (_, index) => begin + index * 100).flatMap((sentAtMs) =>
        ['orders', 'purchases'].map((of) => ({ of, sentAtMs, ...requestAt(sentAtMs - begin, of) })),
      ),
    },
  };
}
const failedRequests = 'requests that failed, each try counted';
const p99 = 'p99 of requests while it was changed';

test('a change that nobody notices is as promised, with its requests by class and phase', (t) => {
  const report = judge(changedSeen({ p99Ms: 'as before' }, () => ({ tookMs: 20 })));
  t.true(report.passed);
  t.is(targetOf(report, failedRequests)!.measured, '0');
  t.regex(targetOf(report, p99)!.target, /^<= 120 ms \(before: 20 ms\)$/);
  t.deepEqual(report.requests!.map(({ phase, of, sent }) => `${phase} ${of} ${sent}`).slice(3, 6), [
    'while all 402',
    'while orders 201',
    'while purchases 201',
  ]);
});

test('one request that fails while something is changed, or soon after, fails the drill, though a second try went well', (t) => {
  for (const failsAtMs of [15_000, 40_000]) {
    const report = judge(
      changedSeen({ p99Ms: 2_000 }, (atMs, of) =>
        atMs === failsAtMs && of === 'orders' ? { tookMs: 1, problem: 'ECONNREFUSED' } : { tookMs: 20 },
      ),
    );
    t.false(report.passed);
    t.regex(targetOf(report, failedRequests)!.measured, /^1 of \d+: 1 orders ECONNREFUSED$/);
  }
});

test('a change that slows requests down beyond its limit misses it; what is slow before does not count', (t) => {
  const slow = (fromMs: number, untilMs: number) => (atMs: number) => ({
    tookMs: atMs >= fromMs && atMs < untilMs ? 700 : 20,
  });
  t.false(targetOf(judge(changedSeen({ p99Ms: 500 }, slow(12_000, 14_000))), p99)!.met);
  t.true(targetOf(judge(changedSeen({ p99Ms: 500 }, slow(8_000, 10_000))), p99)!.met);
  t.false(targetOf(judge(changedSeen({ p99Ms: 'as before' }, slow(12_000, 14_000))), p99)!.met);
});

test('where 503 is allowed for some classes and a time, neither others may answer it nor these for longer', (t) => {
  const may = { mayAnswer503: { classes: ['orders'], forMs: 5_000 } };
  const away = (forMs: number, classes: readonly string[]) =>
    judge(
      changedSeen(may, (atMs, of) =>
        atMs >= 12_000 && atMs < 12_000 + forMs && classes.includes(of)
          ? { tookMs: 5, problem: '503' }
          : { tookMs: 20 },
      ),
    );
  t.true(away(4_000, ['orders']).passed);
  t.false(targetOf(away(6_000, ['orders']), '503 of orders in a row')!.met);
  t.regex(
    targetOf(away(1_000, ['orders', 'purchases']), failedRequests)!.measured,
    /^10 of .* purchases 503$/,
  );
});
