/** Runs one drill: steady state, load, faults at their times, heal, steady state again, checkers, report. */
import { randomUUID } from 'node:crypto';
import { cpus, loadavg, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { metrics } from '../../catalog/metrics.ts';
import { allTopics } from '../../catalog/topics.ts';
import { run } from '../../environment/children.ts';
import { containersOf } from '../../environment/docker.ts';
import { kafkaOf, silentLog } from '../../environment/kafka.ts';
import { checkout } from '../../environment/paths.ts';
import { ensureSecrets } from '../../environment/secrets.ts';
import { hostVariables, personToken, secretsFile } from '../../environment/variables.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { connectKafka } from '../../workers/kafka/kafkajs.ts';
import { seededRandom } from '../../workers/traffic/generate.ts';
import { owedHeader } from '../checker/foreign.ts';
import { answersFor } from '../checker/verdict.ts';
import type { Drill, DrillEvent, DrillReport, DrillStep } from '../drill.ts';
import type { Faults } from '../faults.ts';
import { type Links, startLinks } from '../links/links.ts';
import { groupsOf, type LoadResult, startLoad } from '../loads/index.ts';
import {
  type Broken,
  type DeadLetter,
  firstOf,
  judge,
  limitMs,
  type Measured,
  steadyWithinMs,
} from './judge.ts';
import { type Attempt, curvesOf, type Disturbance } from './measure.ts';
import { startProber, watchAlerts, watchAnswers, watchStarts } from './observers.ts';
import { takePrecedence } from './precedence.ts';
import { procedureNamed } from './procedures.ts';
import { valueNow, valuesOver } from './prometheus.ts';
import { asRequests, watchRequests } from './requests.ts';
import type { ProcedureStage } from './stage.ts';
import { aliasOf, untilSteady } from './steady.ts';

export interface RunDrillOptions {
  readonly environment: Environment;
  readonly faults: Faults;
  readonly signal: AbortSignal;
  /** The same seed sends the same messages. */
  readonly seed: number;
  /** What is being done, for a person who waits. */
  tell?(line: string): void;
}

const checkMs = 3 * 60_000;
const engineStartsMs = 10_000;
/** The canary says that an outage is over only after some silence, and Prometheus reads it every few seconds. */
const canarySettlesMs = 12_000;

/**
 * Throws MUSTER_DRILL_UNSTEADY before anything is broken when the environment is not well, and what injecting throws.
 * What goes wrong because of the faults is in the report.
 */
export async function runDrill(drill: Drill, options: RunDrillOptions): Promise<DrillReport> {
  const { environment, faults, signal } = options;
  const tell = options.tell ?? (() => {});
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const variables = await hostVariables(environment, secrets);
  const kafka = kafkaOf(environment);
  const events: DrillEvent[] = [];
  const disturbances: Disturbance[] = [];
  const event = (kind: DrillEvent['kind'], what: string) => {
    events.push({ atMs: Date.now(), kind, what });
    tell(what);
  };
  const broken: Broken[] = [];
  const measured: Measured[] = [];
  const disturbed = (what: string, kind: 'fault' | 'heal' = 'fault', of?: string) => {
    disturbances.push({ atMs: Date.now(), what, ...(of === undefined ? {} : { of }) });
    event(kind, what);
  };
  const closing: (() => Promise<unknown>)[] = [() => kafka.close()];
  const ending = new AbortController();
  let steps: readonly Promise<void>[] = [];
  try {
    tell('waiting for the steady state');
    await untilSteady(environment, kafka, { withinMs: steadyWithinMs, signal, tell });
    await behave(variables, { mode: 'ok' });
    const context = await contextOf(environment);
    const deadLettersBefore = await endsOf(kafka, deadLetterTopics);

    const runId = `drill-${randomUUID().slice(0, 8)}`;
    const answers = await watchAnswers(kafka, runId);
    const alerts = watchAlerts(environment);
    const prober = await startProber(kafka);
    const containers = watchStarts(environment);
    closing.push(
      () => containers.stop(),
      () => answers.stop(),
      () => alerts.stop(),
      () => prober.stop(),
    );
    const links = drill.steps.some((step) => 'link' in step)
      ? await startLinks(environment, variables, seededRandom(options.seed))
      : undefined;
    const entrances = entrancesOf(links, kafka, variables);
    closing.push(async () => {
      await entrances.close();
      await links?.close();
    });
    const watched = drill.expect.requests === undefined ? undefined : watchRequests(namesOf(variables));
    closing.push(async () => watched?.stop());
    const precedence = await takePrecedence();
    closing.push(() => precedence.end());
    const load = await startLoad(drill.loads, {
      variables,
      tokenOf: (role, subject) => personToken(environment, role, subject),
      entrances,
      run: runId,
      seed: options.seed,
      loadMs: drill.loadMs,
      retryForMs: patienceMs(drill),
      signal: AbortSignal.any([signal, ending.signal]),
    });
    const startedAtMs = Date.now();
    event('load', 'load begins');
    for (const name of load.leftOut)
      event('note', `load ${name} is left out: ${environment.name} has no entrance for it`);

    steps = drill.steps.map((step) =>
      runStep(step, {
        ...options,
        signal: AbortSignal.any([signal, ending.signal]),
        kafka,
        variables,
        links,
        startedAtMs,
        loadEndsAtMs: startedAtMs + drill.loadMs,
        broken,
        disturbed,
        note: (what) => event('note', what),
        measured: (name, wantedMs, tookMs) => measured.push({ name, wantedMs, tookMs }),
      }),
    );
    const stepsOver = Promise.all(steps);
    // Looked at below; here it must not be nobody's.
    stepsOver.catch(() => undefined);
    // A load that fails, when it cannot begin, ends the drill then and not after its time.
    const loadFails = load.done.then(() => new Promise<never>(() => undefined));
    let stepsOverAtMs = startedAtMs;
    const lasts =
      drill.afterMs === undefined
        ? Promise.all([sleep(drill.loadMs, undefined, { signal }), stepsOver])
        : stepsOver.then(() => {
            stepsOverAtMs = Date.now();
            return sleep(drill.afterMs, undefined, { signal });
          });
    await interruptible(Promise.race([lasts, loadFails]), signal);
    // Time to see the answers to the last messages.
    const loadEndedAtMs = Date.now();
    event('load', 'load ends');
    if (drill.afterMs !== undefined) load.close();
    load.end();
    watched?.stop();
    const result = await interruptible(load.done, signal);
    const probes = await prober.stop();
    const waited = await precedence.waited();
    if (waited !== undefined)
      event('note', `the load itself waited ${(waited * 100).toFixed(1)} % of the time for a processor`);
    await precedence.end();
    await faults.healAll();

    const firstFaultAtMs = disturbances[0]?.atMs ?? startedAtMs;
    const lastAlertAtMs =
      firstFaultAtMs + Math.max(0, ...(drill.expect.alerts ?? []).map(({ withinMs }) => withinMs));
    const missing = () =>
      (drill.expect.alerts ?? []).filter(
        ({ name }) => firstOf(alerts.arrivals(), name, firstFaultAtMs) === undefined,
      );
    while (missing().length > 0 && Date.now() < lastAlertAtMs + 5_000)
      await sleep(1_000, undefined, { signal });

    tell('waiting for the steady state again');
    let steady: string | undefined;
    await untilSteady(environment, kafka, { withinMs: steadyWithinMs, signal, tell }).catch(
      (error: unknown) => {
        signal.throwIfAborted();
        steady = (error as Error).message;
      },
    );
    if (steady === undefined) event('recovered', 'steady state');
    tell('checking what came out');
    const verdicts = await interruptible(load.judge(checkMs, disturbances.length > 0), signal);
    for (const verdict of verdicts)
      event('check', `${verdict.subject}: ${answersFor(verdict)}; ${verdict.findings.length} findings`);
    await answers.stop();
    await sleep(Math.max(0, canarySettlesMs - (Date.now() - loadEndedAtMs)), undefined, { signal });
    const arrivals = alerts.arrivals();
    const alertsUnknown = await alerts.stop();

    const answered = answerAttempts(result, answers.firstAtMs);
    const canary = await canaryOver(environment, startedAtMs, Date.now());
    const sessionsLost = await sessionsLostOver(environment, startedAtMs, Date.now());
    const unanswered = [
      ...(alertsUnknown === undefined ? [] : [{ id: 'alerts', why: alertsUnknown }]),
      ...(canary.outage === undefined || canary.outage.length === 0
        ? [{ id: 'canary', why: 'Prometheus does not say what the canary saw' }]
        : []),
      ...(sessionsLost === undefined
        ? [{ id: 'zookeeper', why: 'Prometheus does not say which sessions ended' }]
        : []),
      ...(drill.afterMs !== undefined && stepsOverAtMs > startedAtMs + drill.loadMs
        ? [{ id: 'load', why: 'most of it was over before what it was to see' }]
        : []),
    ];
    return judge({
      drill,
      environment,
      context,
      startedAtMs,
      loadEndedAtMs,
      disturbances,
      events,
      attempts: [...probes.attempts, ...result.attempts],
      answers: answered,
      result,
      probesFailed: probes.failed,
      ...(watched === undefined
        ? {}
        : {
            requests: {
              seen: [
                ...watched.seen,
                ...asRequests([
                  ...probes.attempts,
                  ...result.attempts.filter(({ observer }) => observer === 'way kafka'),
                ]),
              ],
              changed: { fromMs: firstFaultAtMs, untilMs: stepsOverAtMs },
            },
          }),
      verdicts,
      arrivals,
      steady,
      canary,
      broken,
      measured,
      starts: containers.starts,
      deadLetters: await deadLettersSince(kafka, deadLettersBefore),
      sessionsLost,
      unanswered,
      curves: [
        ...curvesOf(result.attempts, { ...span(startedAtMs, loadEndedAtMs), name: 'load' }),
        ...curvesOf(probes.attempts, { ...span(startedAtMs, loadEndedAtMs), name: 'probes' }),
        ...(drill.loads.promotion === undefined
          ? []
          : curvesOf(answered, {
              ...span(startedAtMs, loadEndedAtMs),
              name: 'answers',
            })),
        ...result.curves,
        {
          name: 'lag',
          unit: 's',
          points:
            (await valuesOver(
              environment,
              `max(${metrics.lag.groupLagSeconds}{consumergroup=~"${groupsOf(drill.loads).join('|')}"})`,
              startedAtMs,
              Date.now(),
            )) ?? [],
        },
        { name: 'canary outage', unit: 's', points: canary.outage ?? [] },
      ],
    });
  } finally {
    // A step that goes on after an error elsewhere would break what is healed now.
    ending.abort();
    // First: what is broken may be what the others wait for.
    await faults.healAll().catch(() => undefined);
    await Promise.allSettled(steps);
    await faults.healAll().catch(() => undefined);
    for (const close of closing.reverse()) await close().catch(() => undefined);
    await behave(variables, { mode: 'ok' }).catch(() => undefined);
  }
}

/** Nobody of the load gives up before what is broken is back. */
function patienceMs({ steps }: Drill): number {
  return Math.max(120_000, ...steps.map(({ healAfterMs = 0 }) => healAfterMs + 60_000));
}

const span = (fromMs: number, untilMs: number) => ({ fromMs, untilMs, limitMs });

/** Entrances over HTTP by their origin; one that shares that of another is told apart by the path. */
function namesOf(variables: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const [variable, name] of [
    ['MUSTER_API_URL', ''],
    ['MUSTER_PAY_URL', 'pay'],
    ['MUSTER_DELIVERY_URL', 'delivery'],
  ] as const) {
    const url = variables[variable];
    if (url !== undefined && !names.has(new URL(url).origin)) names.set(new URL(url).origin, name);
  }
  return names;
}

/** Where the load's clients send: through the proxies, where there are any. */
function entrancesOf(
  links: Links | undefined,
  kafka: Kafka,
  variables: Readonly<Record<string, string>>,
): { readonly apiUrl: string; readonly kafka: Kafka; close(): Promise<void> } {
  if (links === undefined) return { apiUrl: variables.MUSTER_API_URL!, kafka, close: async () => {} };
  const behind = connectKafka({
    brokers: links.variables.KAFKA_BROKERS!.split(','),
    clientId: 'muster-cli',
    log: silentLog,
  });
  return { apiUrl: links.variables.MUSTER_API_URL!, kafka: behind, close: () => behind.close() };
}

interface StepStage extends RunDrillOptions, ProcedureStage {
  /** Of the load's clients; undefined: it goes straight to the environment. */
  readonly links: Links | undefined;
  readonly startedAtMs: number;
  readonly loadEndsAtMs: number;
  readonly broken: Broken[];
  disturbed(what: string, kind?: 'fault' | 'heal', of?: string): void;
}

/** Waits until the step is due, does it, and takes it back in its time or when the load is over. */
async function runStep(step: DrillStep, stage: StepStage): Promise<void> {
  const { environment, faults, signal, startedAtMs, loadEndsAtMs, disturbed } = stage;
  const until = (atMs: number) => sleep(Math.max(0, atMs - Date.now()), undefined, { signal });
  await until(startedAtMs + step.atMs);
  if ('procedure' in step) {
    await procedureNamed(step.procedure)(stage);
    return;
  }
  if ('outside' in step) {
    disturbed(`webhooks: ${JSON.stringify(step.outside)}`);
    await behave(stage.variables, step.outside);
    await until(step.healAfterMs === undefined ? loadEndsAtMs : Date.now() + step.healAfterMs);
    disturbed('webhooks: as they should', 'heal');
    await behave(stage.variables, { mode: 'ok' });
    return;
  }
  if ('link' in step) {
    disturbed(`links of the load: ${JSON.stringify(step.link)}`);
    const mend = stage.links!.spoil(step.link);
    await until(step.healAfterMs === undefined ? loadEndsAtMs : Date.now() + step.healAfterMs);
    disturbed('links of the load: as they should', 'heal');
    stage.note(mend());
    return;
  }
  const alias = await aliasOf(environment, step.on);
  // Named before it is done: what fails meanwhile fails because of it.
  disturbed(`${step.inject.kind} ${alias}`, 'fault', step.of);
  const one: Broken = { alias, fromMs: Date.now(), untilMs: Number.POSITIVE_INFINITY };
  stage.broken.push(one);
  try {
    const injected = await faults.inject(alias, step.inject);
    if (step.inject.kind === 'restart' || step.inject.kind === 'emptied') return;
    if (step.inject.kind === 'crash' || step.inject.kind === 'signal') {
      // The engine starts it again by itself; this only makes sure of it.
      await sleep(engineStartsMs, undefined, { signal });
      await injected.heal();
      return;
    }
    await until(step.healAfterMs === undefined ? loadEndsAtMs : injected.atMs + step.healAfterMs);
    disturbed(`${alias} healed`, 'heal', step.of);
    await injected.heal();
  } finally {
    one.untilMs = Date.now();
  }
}

async function behave(
  variables: Readonly<Record<string, string>>,
  behaviour: Readonly<Record<string, unknown>>,
): Promise<void> {
  const url = variables.MUSTER_OUTSIDE_WORLD_URL;
  if (url === undefined) {
    // Where there is nobody outside, nobody misbehaves; and nobody can be told to.
    if (behaviour.mode === 'ok') return;
    throw new MusterError('MUSTER_DRILL_STEP', 'This environment has no world outside that could misbehave.');
  }
  const response = await fetch(`${url}/behaviour`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(behaviour),
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok)
    throw new MusterError('MUSTER_DRILL_STEP', `The world outside refuses ${JSON.stringify(behaviour)}.`);
}

/** Purchases as attempts: from their ack to the first answer. Those sent twice count once. */
function answerAttempts(
  { purchases }: LoadResult,
  firstAtMs: ReadonlyMap<string, number>,
): readonly Attempt[] {
  return [...purchases].map(([id, ackedAtMs]) => {
    const atMs = firstAtMs.get(id);
    return {
      observer: 'promotion answers',
      sentAtMs: ackedAtMs,
      // An answer may overtake the ack of its purchase.
      ...(atMs === undefined ? {} : { settledAtMs: Math.max(atMs, ackedAtMs) }),
    };
  });
}

/** What the canary saw: its outages while they went on (undefined: nobody says), and the longest that it has told since. */
async function canaryOver(environment: Environment, fromMs: number, untilMs: number) {
  const [outage, lengths] = await Promise.all([
    valuesOver(environment, `max(${metrics.canary.currentOutage})`, fromMs, untilMs),
    valuesOver(environment, `max(${metrics.canary.lastOutage})`, fromMs, untilMs),
  ]);
  const before = lengths?.[0]?.value;
  const told = (lengths ?? []).map(({ value }) => value).filter((value) => value !== before);
  return {
    outage: lengths === undefined ? undefined : outage,
    longestSeconds: told.length === 0 ? undefined : Math.max(...told),
  };
}

const deadLetterTopics = allTopics.flatMap(({ name }) => (name.endsWith('.dlq') ? [name] : []));

async function endsOf(kafka: Kafka, names: readonly string[]) {
  const ends = await Promise.all(
    names.map(async (topic) =>
      (await kafka.admin.offsets(topic)).map(({ partition, high }) => ({ topic, partition, high })),
    ),
  );
  return ends.flat();
}

/** Each record that was put aside, once: it may be put aside again after a crash. */
async function deadLettersSince(
  kafka: Kafka,
  before: Awaited<ReturnType<typeof endsOf>>,
): Promise<readonly DeadLetter[]> {
  const now = await endsOf(kafka, deadLetterTopics);
  const letters = new Map<string, DeadLetter>();
  for (const { topic, partition, high } of now) {
    const from = before.find((one) => one.topic === topic && one.partition === partition)?.high ?? 0;
    for await (const chunk of kafka.read(topic, partition, from, high))
      for (const { headers, timestampMs } of chunk) {
        const owed = headers[owedHeader];
        const source = String(headers['muster-source']);
        const id = owed === undefined ? source : String(owed);
        if (letters.has(id)) continue;
        const what = `${source} (${headers['muster-error-code']}) on ${topic}`;
        letters.set(id, { what, atMs: timestampMs, owed: owed !== undefined });
      }
  }
  return [...letters.values()];
}

/** How often brokers were told that their session had ended. */
async function sessionsLostOver(environment: Environment, fromMs: number, untilMs: number) {
  const seconds = Math.ceil((untilMs - fromMs) / 1_000);
  const lost = await valueNow(environment, `sum(increase(${metrics.kafka.zookeeperExpires}[${seconds}s]))`);
  return lost === undefined ? undefined : Math.round(lost);
}

/** Commit, machine and versions. */
async function contextOf(environment: Environment): Promise<Readonly<Record<string, string>>> {
  const git = async (...args: string[]) =>
    (await run('git', args, { cwd: checkout }).catch(() => undefined))?.stdout.trim() ?? '';
  const commit = await git('rev-parse', '--short', 'HEAD');
  const images = new Map(
    (await containersOf(environment)).map(({ component, image }) => [component, image] as const),
  );
  return {
    commit: commit === '' ? 'unknown' : commit,
    machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    'load average before': loadavg()
      .map((value) => value.toFixed(1))
      .join(' '),
    node: process.version,
    kafka: images.get('kafka') ?? 'unknown',
    zookeeper: images.get('zookeeper') ?? 'unknown',
    mysql: images.get('mysql') ?? 'unknown',
  };
}

/** The work's end, or the error of the signal when that comes first. */
function interruptible<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  promise.catch(() => undefined);
  return Promise.race([work, promise]).finally(() => signal.removeEventListener('abort', stop));
}
