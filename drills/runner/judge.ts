/** What a run means: from what clients, alerts and checkers saw to RTO, RPO, detection and met or missed targets. */
import type { Environment } from '../../catalog/environments.ts';
import { probeRules } from '../../catalog/slos.ts';
import type { Arrival } from '../alerts/sightings.ts';
import { found } from '../checker/verdict.ts';
import type { Curve, Drill, DrillEvent, DrillReport, Target } from '../drill.ts';
import type { LoadResult } from '../loads/index.ts';
import { standInOf } from '../stand-in.ts';
import { casesOf } from './cases.ts';
import {
  type Attempt,
  type Disturbance,
  outagesOf,
  percentile,
  type Recovery,
  recoveriesFrom,
} from './measure.ts';
import type { Start } from './observers.ts';
import { countsOf, longestFailureMs, type RequestCount, type SeenRequest, type Span } from './requests.ts';

/** A client that waits longer than this sees a failure: the objective of the canary and of promotions. */
export const limitMs = probeRules.goodWithinMs;
/** Within this time after a drill everything has to be as before. */
export const steadyWithinMs = 5 * 60_000;
/** A client that has just started is slow by itself: without a fault, failures count from here on. */
const warmUpMs = 8_000;

/** The first arrival of an alert that began after a moment. */
export function firstOf(arrivals: readonly Arrival[], name: string, sinceMs: number): Arrival | undefined {
  return arrivals
    .filter(
      ({ labels, status, arrivedAtMs, startsAtMs }) =>
        labels.alertname === name &&
        status === 'firing' &&
        arrivedAtMs >= sinceMs &&
        startsAtMs >= sinceMs - 1_000,
    )
    .sort((a, b) => a.arrivedAtMs - b.arrivedAtMs)[0];
}

export interface Broken {
  readonly alias: string;
  readonly fromMs: number;
  /** When it was healed; infinite: not yet. */
  untilMs: number;
}

export interface DeadLetter {
  /** Where it came from, and why, without personal data. */
  readonly what: string;
  readonly atMs: number;
  /** The load has sent it to be put aside. */
  readonly owed: boolean;
}

/** What a procedure has measured by itself. */
export interface Measured {
  readonly name: string;
  readonly wantedMs: number;
  /** undefined: not within the time. */
  readonly tookMs: number | undefined;
}

/** After a fault is taken back the engine may still start what it has ended. */
const startsLateMs = 15_000;

/** Processes that ended and began again although no step has ended them. */
export function restartsOf({ broken, starts }: Pick<Seen, 'broken' | 'starts'>): readonly Start[] {
  return starts.filter(
    ({ alias, atMs }) =>
      !broken.some(
        (one) =>
          (alias === one.alias || alias.startsWith(standInOf(one.alias))) &&
          atMs >= one.fromMs - 1_000 &&
          atMs <= one.untilMs + startsLateMs,
      ),
  );
}

/** What a drill's run has seen, before it is judged. */
export interface Seen {
  readonly drill: Drill;
  readonly environment: Environment;
  readonly context: Readonly<Record<string, string>>;
  readonly startedAtMs: number;
  readonly loadEndedAtMs: number;
  readonly disturbances: readonly Disturbance[];
  readonly events: DrillEvent[];
  readonly attempts: readonly Attempt[];
  readonly answers: readonly Attempt[];
  readonly result: LoadResult;
  readonly probesFailed: number;
  /** Of a drill that changes what runs: what was asked meanwhile, and from the begin of its first step to the end of the last. */
  readonly requests?: { readonly seen: readonly SeenRequest[]; readonly changed: Span };
  readonly verdicts: DrillReport['verdicts'];
  readonly arrivals: readonly Arrival[];
  readonly steady: string | undefined;
  readonly canary: { readonly longestSeconds: number | undefined };
  /** What was broken by a step, and when. */
  readonly broken: readonly Broken[];
  readonly measured: readonly Measured[];
  /** Containers that were started meanwhile. */
  readonly starts: readonly Start[];
  /** Records that were put aside meanwhile. */
  readonly deadLetters: readonly DeadLetter[];
  /** How often a broker was told that its ZooKeeper session had ended; undefined: Prometheus did not say. */
  readonly sessionsLost: number | undefined;
  /** What could not be looked at, beside what the verdicts say: who did not answer, and why. */
  readonly unanswered: readonly { readonly id: string; readonly why: string }[];
  readonly curves: readonly Curve[];
}

/** Works out recovery, loss and detection, and holds them against what the drill expects. */
export function judge(seen: Seen): DrillReport {
  const { drill, result, disturbances, startedAtMs } = seen;
  const unanswered = seen.unanswered.map(({ id, why }) => found('not-checked', id, why));
  const verdicts =
    unanswered.length === 0
      ? seen.verdicts
      : [
          ...seen.verdicts,
          { subject: 'the drill itself', acked: 0, inDoubt: 0, repeats: 0, findings: unanswered },
        ];
  const { expect } = drill;
  const firstFaultAtMs = disturbances[0]?.atMs ?? startedAtMs;
  const events = [...seen.events];

  // --- recovery
  const outages = [...outagesOf(seen.attempts, limitMs), ...result.stalls];
  const answerOutages = outagesOf(seen.answers, limitMs);
  const apart = expect.answersMs !== undefined;
  for (const { observer, fromMs, untilMs } of [...outages, ...answerOutages])
    if (untilMs <= firstFaultAtMs)
      events.push({ atMs: fromMs, kind: 'note', what: `failures before any fault: ${observer}` });
  const from =
    disturbances.length > 0 ? disturbances : [{ atMs: startedAtMs + warmUpMs, what: 'the warm-up' }];
  const recoveries = recoveriesFrom(from, apart ? outages : [...outages, ...answerOutages], limitMs);
  const recoveredAtMs = Math.max(
    firstFaultAtMs,
    ...recoveries.map(({ atMs, afterMs = 0 }) => atMs + afterMs),
  );
  const later = outages.filter(({ fromMs }) => fromMs > recoveredAtMs);
  if (later.length > 0)
    events.push({
      atMs: later[0]!.fromMs,
      kind: 'note',
      what: `failures again after the recovery, ${later.length} times, first seen by ${later[0]!.observer}`,
    });
  const answerRecoveries = apart ? recoveriesFrom(from, answerOutages, limitMs) : [];
  for (const { atMs, what, afterMs, lastSeenBy } of [...recoveries, ...answerRecoveries])
    if (afterMs !== undefined)
      events.push({
        atMs: atMs + afterMs,
        kind: 'recovered',
        what: `${(afterMs / 1_000).toFixed(1)} s after ${what}: the last failure was seen by ${lastSeenBy}`,
      });
  const canaryMs = (seen.canary.longestSeconds ?? 0) * 1_000;
  if (canaryMs > 0)
    events.push({
      atMs: firstFaultAtMs,
      kind: 'note',
      what: `the canary saw an outage of ${(canaryMs / 1_000).toFixed(1)} s`,
    });
  const longestMs = (which: readonly Recovery[]) => Math.max(0, ...which.map(({ afterMs }) => afterMs ?? 0));
  const rtoMs = Math.max(canaryMs, longestMs(recoveries));

  const answersMs = longestMs(answerRecoveries);

  // --- what was lost
  const findings = verdicts.flatMap((verdict) => verdict.findings);
  const lost = findings.filter(({ kind }) => kind === 'lost');
  const lostAgesMs = lost.map(({ id }) => firstFaultAtMs - (result.purchases.get(id) ?? firstFaultAtMs));
  const rpo = { lost: lost.length, oldestLostAgeMs: Math.max(0, ...lostAgesMs) };

  // --- alerts
  const since = seen.arrivals.filter(
    ({ startsAtMs, arrivedAtMs }) => startsAtMs >= firstFaultAtMs - 1_000 && arrivedAtMs >= firstFaultAtMs,
  );
  // Another page may come for another reason: whoever gets it is not told of this fault.
  const page = (expect.alerts ?? [])
    .flatMap(({ name }) => firstOf(seen.arrivals, name, firstFaultAtMs) ?? [])
    .filter(({ receiver }) => receiver === 'page')
    .sort((a, b) => a.arrivedAtMs - b.arrivedAtMs)[0];
  const names = [...new Set(since.map(({ labels }) => labels.alertname ?? '?'))];
  const alerts = names.flatMap((name) => {
    const first = firstOf(seen.arrivals, name, firstFaultAtMs);
    if (first === undefined) return [];
    const end = since.find(({ labels, status }) => labels.alertname === name && status === 'resolved');
    return [
      {
        name,
        receiver: first.receiver,
        firedAtMs: first.arrivedAtMs,
        ...(end === undefined ? {} : { resolvedAtMs: end.arrivedAtMs }),
      },
    ];
  });
  for (const { name, receiver, firedAtMs } of alerts)
    events.push({ atMs: firedAtMs, kind: 'alert', what: `${name} arrives at ${receiver}` });
  if (page !== undefined)
    events.push({ atMs: page.arrivedAtMs, kind: 'detected', what: `page: ${page.labels.alertname}` });

  // --- against what was expected
  const tookMs = result.attempts.flatMap(({ sentAtMs, settledAtMs }) =>
    settledAtMs === undefined ? [] : [settledAtMs - sentAtMs],
  );
  const latencyMs = {
    p50: percentile(tookMs, 0.5) ?? result.latencyMs?.p50 ?? 0,
    p99: percentile(tookMs, 0.99) ?? result.latencyMs?.p99 ?? 0,
    max: percentile(tookMs, 1) ?? result.latencyMs?.max ?? 0,
  };
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
  const target = (name: string, wanted: string, measured: string, met: boolean) => ({
    name,
    target: wanted,
    measured,
    met,
  });
  const notChecked = findings.filter(({ kind }) => kind === 'not-checked').length;
  const wrong = findings.length - lost.length - notChecked;
  const restarts = restartsOf(seen);
  const deadLetters = seen.deadLetters.filter(({ owed }) => !owed);
  const counts = requestCountsOf(seen);
  const cases = casesOf(seen, { recoveries, restarts, deadLetters, findings });
  const failedShare = result.failed / Math.max(1, result.sent);
  const failedTries = result.failedTries + seen.probesFailed;
  const mayLose = sessionsToLose(drill, seen.environment.kafka.nodes.length) + (expect.sessionsLost ?? 0);
  const targets = [
    ...(cases === undefined
      ? [{ name: 'RTO', wantedMs: expect.rtoMs, tookMs: rtoMs }]
      : cases.map(({ name, wantedMs, rtoMs: tookMs = 0 }) => ({ name: `RTO of ${name}`, wantedMs, tookMs }))
    ).map(({ name, wantedMs, tookMs }) =>
      target(
        name,
        `<= ${seconds(wantedMs)}`,
        tookMs === 0 ? 'no failure seen' : seconds(tookMs),
        tookMs <= wantedMs,
      ),
    ),
    ...(expect.answersMs === undefined
      ? []
      : [
          target(
            'answers in time again',
            `<= ${seconds(expect.answersMs)}`,
            answersMs === 0 ? 'no failure seen' : seconds(answersMs),
            answersMs <= expect.answersMs,
          ),
        ]),
    ...seen.measured.map(({ name, wantedMs, tookMs }) =>
      target(
        name,
        `<= ${seconds(wantedMs)}`,
        tookMs === undefined ? 'not in time' : seconds(tookMs),
        tookMs !== undefined && tookMs <= wantedMs,
      ),
    ),
    target('acked and lost', '0', String(lost.length), lost.length === 0),
    target('wrong, doubled or untold', '0', String(wrong), wrong === 0),
    target('not checked', '0', String(notChecked), notChecked === 0),
    target(
      'requests failed for good',
      `<= ${((expect.failedShare ?? 0) * 100).toFixed(1)} %`,
      `${result.failed} of ${result.sent}`,
      failedShare <= (expect.failedShare ?? 0),
    ),
    target(
      'accepted, and no end seen',
      '0',
      [result.undecided.length, ...result.undecided.slice(0, 3)].join(', '),
      result.undecided.length === 0,
    ),
    ...(expect.failedTries === undefined
      ? []
      : [
          target(
            'tries that failed',
            `<= ${expect.failedTries}`,
            String(failedTries),
            failedTries <= expect.failedTries,
          ),
        ]),
    ...(seen.requests === undefined || expect.requests === undefined
      ? []
      : requestTargets(expect.requests, counts, seen.requests, seen.loadEndedAtMs)),
    ...(expect.p99Ms === undefined
      ? []
      : [
          target(
            'p99',
            `<= ${expect.p99Ms} ms`,
            `${Math.round(latencyMs.p99)} ms`,
            latencyMs.p99 <= expect.p99Ms,
          ),
        ]),
    ...(expect.alerts ?? []).map(({ name, withinMs }) => {
      const first = firstOf(seen.arrivals, name, firstFaultAtMs);
      const after = first === undefined ? undefined : first.arrivedAtMs - firstFaultAtMs;
      return target(
        `alert ${name}`,
        `<= ${seconds(withinMs)}`,
        after === undefined ? 'did not arrive' : seconds(after),
        after !== undefined && after <= withinMs,
      );
    }),
    ...(expect.restarts === undefined
      ? []
      : [
          target(
            'processes that ended',
            `<= ${expect.restarts}`,
            restarts.length === 0 ? '0' : restarts.map(({ alias }) => alias).join(', '),
            restarts.length <= expect.restarts,
          ),
        ]),
    ...(expect.deadLetters === undefined
      ? []
      : [
          target(
            'dead letters that are not owed',
            `<= ${expect.deadLetters}`,
            [deadLetters.length, ...deadLetters.slice(0, 3).map(({ what }) => what)].join(', '),
            deadLetters.length <= expect.deadLetters,
          ),
        ]),
    target(
      'ZooKeeper sessions lost',
      `<= ${mayLose}`,
      String(seen.sessionsLost ?? 'not known'),
      seen.sessionsLost !== undefined && seen.sessionsLost <= mayLose,
    ),
    target(
      'steady state again',
      `<= ${steadyWithinMs / 60_000} min`,
      seen.steady ?? 'reached',
      seen.steady === undefined,
    ),
  ];
  return {
    drill: drill.name,
    about: drill.about,
    environment: seen.environment.name,
    context: seen.context,
    startedAtMs,
    endedAtMs: Date.now(),
    events: events.sort((a, b) => a.atMs - b.atMs),
    curves: seen.curves,
    rtoMs: rtoMs === 0 ? undefined : rtoMs,
    ...(apart ? { answersMs } : {}),
    rpo,
    detectionMs: page === undefined ? undefined : page.arrivedAtMs - firstFaultAtMs,
    alerts,
    sent: result.sent,
    failed: result.failed,
    undecided: result.undecided.length,
    deadLettersOwed: seen.deadLetters.length - deadLetters.length,
    ...(cases === undefined ? {} : { cases }),
    ...(seen.requests === undefined ? {} : { requests: counts }),
    latencyMs,
    verdicts,
    targets,
    passed: targets.every(({ met }) => met),
  };
}

/** By class and phase; a client that has just started is slow by itself. */
function requestCountsOf({ requests, startedAtMs, loadEndedAtMs }: Seen): readonly RequestCount[] {
  if (requests === undefined) return [];
  const whole = { fromMs: startedAtMs + warmUpMs, untilMs: loadEndedAtMs };
  return countsOf(requests.seen, whole, requests.changed);
}

/** The p99 of before is that of some seconds. */
const asBefore = (beforeMs: number): number => Math.max(2 * beforeMs, beforeMs + 100);

function requestTargets(
  { p99Ms, mayAnswer503 }: NonNullable<Drill['expect']['requests']>,
  counts: readonly RequestCount[],
  { seen, changed }: NonNullable<Seen['requests']>,
  loadEndedAtMs: number,
): DrillReport['targets'] {
  const all = (phase: RequestCount['phase']) => counts.find((one) => one.phase === phase && one.of === 'all');
  const [before, meanwhile, after] = [all('before'), all('while'), all('after')];
  const isAllowed = ({ of, problem }: SeenRequest) =>
    problem === '503' && mayAnswer503?.classes.includes(of) === true;
  const own = seen.filter(({ sentAtMs }) => sentAtMs >= changed.fromMs && sentAtMs <= loadEndedAtMs);
  const failed = own.filter((one) => one.problem !== undefined && !isAllowed(one));
  const ways = [...Map.groupBy(failed, ({ of, problem }) => `${of} ${problem}`)].map(
    ([what, some]) => `${some.length} ${what}`,
  );
  const wantedMs = p99Ms === 'as before' ? asBefore(before?.p99Ms ?? 0) : p99Ms;
  const awayMs = longestFailureMs(own.filter(isAllowed));
  const ms = (value: number | undefined) =>
    value === undefined ? 'nothing sent' : `${Math.round(value)} ms`;
  return [
    {
      name: 'requests that failed, each try counted',
      target: '0',
      measured:
        failed.length === 0 ? '0' : `${failed.length} of ${own.length}: ${ways.slice(0, 4).join(', ')}`,
      met: failed.length === 0,
    },
    ...(mayAnswer503 === undefined
      ? []
      : [
          {
            name: `503 of ${mayAnswer503.classes.join(', ')} in a row`,
            target: `<= ${mayAnswer503.forMs / 1_000} s`,
            measured: `${(awayMs / 1_000).toFixed(1)} s`,
            met: awayMs <= mayAnswer503.forMs,
          },
        ]),
    ...(wantedMs === undefined
      ? []
      : [
          {
            name: 'p99 of requests while it was changed',
            target: `<= ${Math.round(wantedMs)} ms${p99Ms === 'as before' ? ` (before: ${ms(before?.p99Ms)})` : ''}`,
            measured: ms(meanwhile?.p99Ms),
            met: meanwhile !== undefined && meanwhile.p99Ms <= wantedMs,
          },
        ]),
    {
      name: 'requests were sent before, while and after',
      target: 'yes',
      measured: [before, meanwhile, after].map((one) => one?.sent ?? 0).join(', '),
      met: before !== undefined && meanwhile !== undefined && after !== undefined,
    },
  ];
}

/**
 * Brokers that cannot keep their session: frozen or cut off for longer than it lasts, or all of them when most ZooKeepers
 * are away together. One that is killed comes back with a new one; any other loss is a living broker taken for a dead one.
 */
function sessionsToLose({ steps }: Drill, brokers: number): number {
  const onZooKeeper = steps.filter((step) => 'inject' in step && isZooKeeper(step.on));
  const quorums = [...Map.groupBy(onZooKeeper, ({ atMs }) => atMs).values()].filter((own) => own.length > 1);
  const ofBrokers = steps.filter(
    (step) =>
      'inject' in step &&
      (step.inject.kind === 'pause' || step.inject.kind === 'cut') &&
      ('role' in step.on ? step.on.role === 'controller' : step.on.alias.startsWith('kafka-')),
  ).length;
  return ofBrokers + quorums.length * brokers;
}

const isZooKeeper = (on: Target) =>
  'role' in on ? on.role.startsWith('zookeeper') : on.alias.startsWith('zookeeper');
