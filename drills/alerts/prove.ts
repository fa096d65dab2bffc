/**
 * Proves alerts on a deployed environment: causes what they watch for, waits until they have arrived at a receiver, heals,
 * and waits for their end.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import { ruleGroups } from '../../alerts/index.ts';
import { type AlertRule, isAlert } from '../../alerts/rule.ts';
import type { Environment } from '../../catalog/environments.ts';
import { allGroups } from '../../catalog/groups.ts';
import { kafkaOf } from '../../environment/kafka.ts';
import { ensureSecrets } from '../../environment/secrets.ts';
import { hostVariables, secretsFile } from '../../environment/variables.ts';
import { databaseSettings, readSettings } from '../../workers/base/config.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { openDatabase } from '../../workers/store/database.ts';
import type { Faults } from '../faults.ts';
import { type CauseName, causes, lastSharedWave, removeScratch, type Stage, scratch } from './causes.ts';
import {
  type Detected,
  detection,
  inPrometheus,
  type Look,
  lengthMs,
  look,
  memoryMs,
  pagesSince,
  resolution,
} from './sightings.ts';

/** An alert with what is done to make it fire. */
export interface Planned {
  readonly alert: AlertRule;
  readonly cause: CauseName;
  /** Do not wait for its end: it remembers for longer than anybody wants to wait. */
  readonly leaveEnd: boolean;
}

export interface NotPlanned {
  readonly alert: AlertRule;
  readonly reason: string;
}

export interface Step {
  readonly cause: CauseName;
  readonly alerts: readonly Planned[];
}

/** First `alongside` and `shared` (waves, one after the other) at the same time; when all of that is over, `alone`. */
export interface Plan {
  readonly alongside: readonly Step[];
  readonly shared: readonly (readonly Step[])[];
  readonly alone: readonly (readonly Step[])[];
  readonly not: readonly NotPlanned[];
}

/** The short proof for the end-to-end tests: about five minutes. */
export const quickProof: Readonly<Record<string, CauseName>> = {
  Watchdog: 'nothing, it always fires',
  BrokersMissing: 'broker killed',
  DeadLetters: 'poison message',
  WorkerDown: 'log follower stopped',
  ConsumerStopped: 'consumer stopped',
};

/** Ends that come later than this are not waited for. */
const longestMemoryMs = { quick: 60_000, full: 16 * 60_000 };

/**
 * What will be done for which alert. `names`: only those. Throws MUSTER_USAGE for names that are no alert's, and
 * MUSTER_PROOF_CAUSE when an alert names a cause that nobody has written.
 */
export function planProof(
  environment: Environment,
  options: { readonly names?: readonly string[]; readonly quick?: boolean } = {},
): Plan {
  const all = ruleGroups(environment).flatMap(({ rules }) => rules.filter(isAlert));
  const { names = [], quick = false } = options;
  for (const name of names)
    if (!all.some((alert) => alert.name === name))
      throw new MusterError(
        'MUSTER_USAGE',
        `No alert "${name}"; there are: ${all.map((alert) => alert.name).join(', ')}.`,
      );
  const wanted = all.filter(({ name }) => names.length === 0 || names.includes(name));
  const planned: Planned[] = [];
  const not: NotPlanned[] = [];
  for (const alert of wanted) {
    const { live } = alert.proof;
    if ('notLive' in live) {
      not.push({ alert, reason: live.notLive });
      continue;
    }
    const cause = quick ? quickProof[alert.name] : live.cause;
    if (cause === undefined) {
      not.push({ alert, reason: 'not part of the short proof' });
      continue;
    }
    if (!Object.hasOwn(causes, cause))
      throw new MusterError(
        'MUSTER_PROOF_CAUSE',
        `${alert.name}: nobody has written how to cause "${cause}"`,
      );
    const remembersMs = memoryMs(alert.expr) + lengthMs(alert.keepFiringFor ?? '0s');
    const leaveEnd =
      cause === 'nothing, it always fires' ||
      remembersMs > (quick ? longestMemoryMs.quick : longestMemoryMs.full);
    planned.push({ alert, cause: cause as CauseName, leaveEnd });
  }
  const steps = [...new Set(planned.map(({ cause }) => cause))].map(
    (cause): Step => ({ cause, alerts: planned.filter((one) => one.cause === cause) }),
  );
  const waveOf = ({ cause }: Step) => causes[cause].wave;
  const numbers = [...new Set(steps.map(waveOf))]
    .filter((wave) => wave !== 'alongside')
    .sort((a, b) => a - b);
  const waves = (which: (wave: number) => boolean) =>
    numbers.filter(which).map((wave) => steps.filter((step) => waveOf(step) === wave));
  return {
    alongside: steps.filter((step) => waveOf(step) === 'alongside'),
    shared: waves((wave) => wave <= lastSharedWave),
    alone: waves((wave) => wave > lastSharedWave),
    not,
  };
}

export interface Proven {
  readonly alert: string;
  readonly severity: AlertRule['severity'];
  readonly cause: CauseName;
  /** Where it arrived, or that it was held back and by what; undefined: it was not seen. */
  readonly seen: string | undefined;
  /** From the beginning of the condition. */
  readonly detectedAfterS: number | undefined;
  /** From the healing; undefined: not seen, or not waited for. */
  readonly resolvedAfterS: number | undefined;
  readonly ok: boolean;
  readonly note: string;
}

export interface CauseProven {
  readonly cause: CauseName;
  readonly alerts: readonly Proven[];
  /** For a cause of which one page only may arrive: each page that arrived, by its alerts. */
  readonly pages: readonly (readonly string[])[] | undefined;
  /** Names of alerts that fired meanwhile and were kept back. */
  readonly heldBack: readonly string[];
  readonly ok: boolean;
}

/** What proofs need of a running environment, opened once. */
export interface Session {
  readonly environment: Environment;
  readonly faults: Faults;
  readonly signal: AbortSignal;
  readonly kafka: Kafka;
  readonly database: Kysely<unknown>;
  /** What the receiver and Alertmanager show now; asked once a second for all causes together. */
  look(): Promise<Look>;
  close(): Promise<void>;
}

/** Opens a session, and removes what a run that was cut off has left. Throws MUSTER_UNAVAILABLE_RECEIVER. */
export async function openSession(
  environment: Environment,
  faults: Faults,
  signal: AbortSignal,
): Promise<Session> {
  let askedAtMs = Date.now();
  let newest = look(environment, signal);
  await newest;
  await removeScratch(environment);
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const variables = await hostVariables(environment, secrets);
  const kafka = kafkaOf(environment);
  const database = openDatabase({
    settings: readSettings(databaseSettings, variables),
    connections: 2,
  });
  return {
    environment,
    faults,
    signal,
    kafka,
    database,
    look() {
      if (Date.now() - askedAtMs >= lookEveryMs * 0.8) {
        askedAtMs = Date.now();
        newest = look(environment, signal);
      }
      return newest;
    },
    async close() {
      await Promise.allSettled([kafka.close(), database.destroy()]);
    },
  };
}

const lookEveryMs = 1_000;
/** Beyond what an alert's own `for` and memory take: scrape, evaluation, grouping, and a loaded machine. */
const patienceMs = { detect: 4 * 60_000, resolve: 4 * 60_000 };
/** After an only page has arrived: what would page as well has had time to. */
const morePagesMs = 30_000;
const calmMs = 5 * 60_000;

interface Progress {
  readonly planned: Planned;
  detected: Detected | undefined;
  resolvedAtMs: number | undefined;
}

/**
 * Causes one condition and waits for its alerts and their ends. Takes the cause back whatever happens. Throws only when
 * the cause itself fails or the user stops; alerts that do not come are in the answer.
 */
export async function proveCause(
  session: Session,
  cause: CauseName,
  alerts: readonly Planned[],
  tell: (line: string) => void,
): Promise<CauseProven> {
  const { environment, signal } = session;
  const { begin, onlyPage, ripensMs = 0 } = causes[cause];
  const undos: (() => Promise<unknown>)[] = [];
  const tidies: (() => Promise<unknown>)[] = [];
  const over = new AbortController();
  let beganAtMs: number | undefined;
  const stage: Stage = {
    environment,
    faults: session.faults,
    signal,
    kafka: session.kafka,
    database: session.database,
    began() {
      beganAtMs ??= Date.now();
    },
    tell,
    undo: (action) => void undos.push(action),
    tidy: (action) => void tidies.push(action),
    repeat(everyMs, action) {
      const run = async (): Promise<void> => {
        while (!over.signal.aborted) {
          await action().catch(() => undefined);
          await sleep(everyMs, undefined, { signal: over.signal }).catch(() => undefined);
        }
      };
      const running = run();
      undos.push(async () => {
        over.abort();
        await running;
      });
    },
  };
  const undo = async (list: (() => Promise<unknown>)[]): Promise<void> => {
    const problems: unknown[] = [];
    for (const action of list.splice(0).reverse())
      await action().catch((error: unknown) => problems.push(error));
    if (problems.length > 0) throw problems[0];
  };
  const progress: Progress[] = alerts.map((planned) => ({
    planned,
    detected: undefined,
    resolvedAtMs: undefined,
  }));
  const heldBack = new Set<string>();
  let last: Look | undefined;

  try {
    if (onlyPage !== undefined) await untilCalm(session, tell);
    tell(causes[cause].does);
    const startedAtMs = Date.now();
    const firedBefore = new Set((await session.look()).held?.map(({ labels }) => labels.alertname));
    const beginning = begin(stage).then(() => stage.began());
    beginning.catch(() => undefined);
    let isBegun = false;
    void beginning.then(() => {
      isBegun = true;
    });
    const allowedMs =
      ripensMs +
      Math.max(
        ...alerts.map(({ alert }) => lengthMs(alert.for) + Math.min(memoryMs(alert.expr), 10 * 60_000)),
      );
    let untilMs = Number.POSITIVE_INFINITY;
    for (;;) {
      if (beganAtMs !== undefined) {
        last = await seen(session, last);
        for (const one of progress) one.detected ??= detection(wantedOf(one.planned), beganAtMs, last);
        for (const { labels, state, startsAtMs } of last.held ?? [])
          if (state === 'suppressed' && startsAtMs >= beganAtMs) heldBack.add(labels.alertname ?? '?');
      }
      const missing = progress.filter(({ detected }) => detected === undefined);
      if (isBegun) {
        untilMs = Math.min(untilMs, Date.now() + allowedMs + patienceMs.detect);
        if (missing.length === 0 || Date.now() > untilMs) break;
      }
      const seconds = Math.round((Date.now() - (beganAtMs ?? startedAtMs)) / 1_000);
      tell(`${causes[cause].does}: ${seconds} s, waiting for ${names(missing)}`);
      await Promise.race([pauseFor(lookEveryMs, signal), ...(isBegun ? [] : [failed(beginning)])]);
    }
    if (onlyPage !== undefined) {
      const end = Date.now() + morePagesMs;
      while (Date.now() < end) {
        tell(`${causes[cause].does}: waiting whether more pages come`);
        await pauseFor(lookEveryMs, signal);
        last = await seen(session, last);
        for (const { labels, state, startsAtMs } of last.held ?? [])
          if (state === 'suppressed' && startsAtMs >= beganAtMs!) heldBack.add(labels.alertname ?? '?');
      }
    }

    tell('healing');
    await undo(undos);
    const healedAtMs = Date.now();
    const ending = progress.filter(({ planned, detected }) => !planned.leaveEnd && detected !== undefined);
    const remembersMs = Math.max(
      0,
      ...ending.map(({ planned: { alert } }) => memoryMs(alert.expr) + lengthMs(alert.keepFiringFor ?? '0s')),
    );
    const endUntilMs = healedAtMs + remembersMs + patienceMs.resolve;
    for (;;) {
      last = await seen(session, last);
      for (const one of ending)
        one.resolvedAtMs ??= resolution(one.planned.alert.name, one.detected!, beganAtMs!, last);
      const firing = ending.filter(({ resolvedAtMs }) => resolvedAtMs === undefined);
      if (firing.length === 0 || Date.now() > endUntilMs) break;
      const seconds = Math.round((Date.now() - healedAtMs) / 1_000);
      tell(`healed: ${seconds} s, waiting for the end of ${names(firing)}`);
      await pauseFor(lookEveryMs, signal);
    }
    const pages = onlyPage === undefined ? undefined : pagesSince(beganAtMs!, last, isOfOthers);
    const proven = progress.map((one) =>
      report(one, beganAtMs!, healedAtMs, firedBefore.has(one.planned.alert.name)),
    );
    return {
      cause,
      alerts: proven,
      pages,
      heldBack: [...heldBack].sort(),
      ok:
        proven.every(({ ok }) => ok) &&
        (pages === undefined || (pages.length === 1 && pages[0]!.join() === onlyPage)),
    };
  } finally {
    over.abort();
    await undo(undos).finally(() => undo(tidies));
  }
}

/** About what was made for another proof, or about a group that is not ours: tests and benchmarks leave some behind. */
function isOfOthers(labels: Readonly<Record<string, string>>): boolean {
  const { consumergroup } = labels;
  if (Object.values(labels).some((value) => value.startsWith(scratch))) return true;
  return consumergroup !== undefined && !allGroups.some(({ id }) => id === consumergroup);
}

/** Waits, not for ever, until no page is about to go out: it would be taken for one of the cause's. */
async function untilCalm({ environment, signal }: Session, tell: (line: string) => void): Promise<void> {
  for (const untilMs = Date.now() + calmMs; Date.now() < untilMs; ) {
    const coming = (await inPrometheus(environment, signal)).filter(
      ({ labels, state }) => state === 'pending' && labels.severity === 'page' && !isOfOthers(labels),
    );
    if (coming.length === 0) return;
    tell(
      `waiting for calm: ${[...new Set(coming.map(({ labels }) => labels.alertname))].join(', ')} pending`,
    );
    await pauseFor(lookEveryMs, signal);
  }
}

/** The next look; while the receiver is away (its process may be what was broken) the last one stays. */
async function seen({ look, signal }: Session, last: Look | undefined): Promise<Look> {
  try {
    return await look();
  } catch (error) {
    signal.throwIfAborted();
    if (last === undefined) throw error;
    return { ...last, atMs: Date.now(), held: undefined };
  }
}

function wantedOf({ alert, cause }: Planned) {
  const always = cause === 'nothing, it always fires';
  // The dead man's switch has no severity and is sent all the same.
  return { name: alert.name, sent: always || alert.severity !== 'none', always };
}

function names(list: readonly Progress[]): string {
  return list.map(({ planned }) => planned.alert.name).join(', ');
}

/** Never resolves; rejects when the work fails. */
function failed(work: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => work.catch(reject));
}

async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal });
}

function report(
  { planned, detected, resolvedAtMs }: Progress,
  beganAtMs: number,
  healedAtMs: number,
  firedBefore: boolean,
): Proven {
  const { alert, cause, leaveEnd } = planned;
  const since = (atMs: number | undefined, fromMs: number) =>
    atMs === undefined ? undefined : Math.round(Math.max(0, atMs - fromMs) / 100) / 10;
  const endSeen = leaveEnd || resolvedAtMs !== undefined;
  const note =
    detected === undefined
      ? firedBefore
        ? 'it was firing before: heal that first'
        : 'did not show itself'
      : !endSeen
        ? 'its end was not seen'
        : leaveEnd && cause !== 'nothing, it always fires'
          ? 'its end comes later than anybody waits'
          : '';
  return {
    alert: alert.name,
    severity: alert.severity,
    cause,
    seen: detected?.how,
    detectedAfterS: since(detected?.atMs, beganAtMs),
    resolvedAfterS: since(resolvedAtMs, healedAtMs),
    ok: detected !== undefined && endSeen,
    note,
  };
}
