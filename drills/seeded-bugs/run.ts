/**
 * Does the checker of the drills catch anything? A worker with a bug takes the place of the deployed one, the load of a drill
 * runs, and the same checker judges: it must find the bug, and must find nothing when there is none.
 */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { type ConsumerGroup, groups } from '../../catalog/groups.ts';
import { askedBy } from '../../catalog/services.ts';
import { kafkaOf, lagOf } from '../../environment/kafka.ts';
import { checkout } from '../../environment/paths.ts';
import { ensureSecrets } from '../../environment/secrets.ts';
import { hostVariables, personToken, secretsFile } from '../../environment/variables.ts';
import { type Secrets, serviceTokenOf } from '../../stacks/config/secrets.ts';
import { aliasesOf } from '../../stacks/config/topology.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import type { Finding } from '../checker/verdict.ts';
import type { Faults, Injected } from '../faults.ts';
import { startLoad } from '../loads/index.ts';
import { untilSteady } from '../runner/steady.ts';
import type { SeededBug } from './bugs.ts';
import { type BuggyProcess, startBuggy } from './process.ts';

export interface BugResult {
  readonly bug: SeededBug;
  readonly acked: number;
  readonly findings: readonly Finding[];
  /** Caught; a control: nothing was found. */
  readonly asExpected: boolean;
}

export interface SeededBugsOptions {
  readonly environment: Environment;
  readonly faults: Faults;
  readonly signal: AbortSignal;
  /** The same seed sends the same messages. */
  readonly seed: number;
}

const loadMs = 15_000;
/** After the last kill: until the group has given the partitions away, and what was left is handled. */
const afterKillMs = 18_000;
const waits = {
  steadyMs: 5 * 60_000,
  handledMs: 30_000,
  outcomeMs: 30_000,
  judgeMs: 10_000,
  cleanMs: 60_000,
};

/** Which groups handle what is sent to a process. */
const groupsOf: Readonly<Record<SeededBug['process'], readonly ConsumerGroup[]>> = {
  promotion: [groups.promotionJoin],
  commerce: [groups.couponRequest, groups.orderRanking],
  api: [groups.orderRanking],
  delivery: [groups.deliveryOrders, groups.deliveryRiders, groups.deliveryMessages, groups.deliveryLog],
  pay: [groups.moneyRecharges, groups.remittanceEnds, groups.paymentEnds, groups.settlementSlips],
};

/** Runs one bug. The deployed process is stopped meanwhile. Throws MUSTER_DRILL_UNSTEADY, MUSTER_SEEDED_BUG, and what stopping throws. */
export async function runSeededBug(bug: SeededBug, options: SeededBugsOptions): Promise<BugResult> {
  const { environment, faults, signal, seed } = options;
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const variables = await hostVariables(environment, secrets);
  const spec = environment.processes.list.find(({ name }) => name === bug.process)!;
  const logs = join(checkout, 'build/seeded-bugs', environment.name);
  const uploads = join(logs, 'uploads');
  await mkdir(uploads, { recursive: true });
  const over = new AbortController();
  const kafka = kafkaOf(environment);
  const stopped: Injected[] = [];
  const closing: (() => Promise<void>)[] = [() => kafka.close()];
  try {
    await untilSteady(environment, kafka, { withinMs: waits.steadyMs, signal });
    for (const alias of aliasesOf(environment, bug.process))
      stopped.push(await faults.inject(alias, { kind: 'stop', graceMs: 30_000 }));
    const processes = await Promise.all(
      Array.from({ length: bug.replicas ?? 1 }, async (_, index) => {
        // The name of the deployed one: a group that is named by its process is the same.
        const name = index === 0 ? stopped[0]!.alias : `${bug.process}-${index + 1}`;
        const started = await startBuggy({
          bug: bug.name,
          workers: spec.workers,
          // The console is one of the API's workers, and membership makes tokens, too.
          variables: (url) => ({
            ...variables,
            TOKEN_SIGNING_KEY: secrets.tokenSigningKey,
            // A folder of its own: those that are deployed are in a volume.
            UPLOADS_DIRECTORY: uploads,
            ...asking(bug.process, spec.workers, { url, secrets, variables }),
            ...spec.env,
          }),
          name,
          logFile: join(logs, `${bug.name}-${index + 1}.log`),
          signal,
        });
        closing.push(() => started.stop());
        return started;
      }),
    );
    const [{ url }] = processes as [BuggyProcess];
    const apiUrl = bug.process === 'api' ? url : variables.MUSTER_API_URL!;
    const entrances = {
      MUSTER_API_URL: apiUrl,
      ...(bug.process === 'pay' ? { MUSTER_PAY_URL: url } : {}),
      ...(bug.process === 'delivery' ? { MUSTER_DELIVERY_URL: url } : {}),
    };
    const lastKillMs = bug.killedAtMs?.at(-1);
    const lastsMs = lastKillMs === undefined ? loadMs : lastKillMs + afterKillMs;
    const load = await startLoad(bug.loads, {
      variables: { ...variables, ...entrances },
      tokenOf: (role, subject) => personToken(environment, role, subject),
      entrances: { apiUrl, kafka },
      run: `bug-${randomUUID().slice(0, 8)}`,
      seed,
      loadMs: lastsMs,
      retryForMs: waits.outcomeMs,
      signal: AbortSignal.any([signal, over.signal]),
    });
    let nowMs = 0;
    for (const atMs of [...(bug.killedAtMs ?? []), lastsMs]) {
      await sleep(atMs - nowMs, undefined, { signal });
      nowMs = atMs;
      if (atMs < lastsMs) for (const one of processes) one.kill();
    }
    load.end();
    await load.done;
    await untilHandled(kafka, groupsOf[bug.process], signal);
    const patienceMs = bug.caughtAs.length === 0 ? waits.cleanMs : waits.judgeMs;
    const verdicts = await load.judge(patienceMs, bug.killedAtMs !== undefined);
    const findings = verdicts.flatMap((verdict) => verdict.findings);
    return {
      bug,
      acked: verdicts.reduce((sum, { acked }) => sum + acked, 0),
      findings,
      asExpected:
        bug.caughtAs.length === 0
          ? findings.length === 0
          : findings.some(({ kind }) => bug.caughtAs.includes(kind)),
    };
  } finally {
    over.abort();
    for (const close of closing.reverse()) await close().catch(() => undefined);
    for (const { heal } of stopped) await heal();
  }
}

/** What a process needs that asks services: all that are asked are in it, and the banks are where they are for the host. */
function asking(
  process: string,
  workers: readonly string[],
  {
    url,
    secrets,
    variables,
  }: {
    readonly url: string;
    readonly secrets: Secrets;
    readonly variables: Readonly<Record<string, string>>;
  },
): Readonly<Record<string, string>> {
  const asked = askedBy(workers);
  if (asked.length === 0) return {};
  return {
    ...Object.fromEntries(asked.map((worker) => [`${worker.toUpperCase().replaceAll('-', '_')}_URL`, url])),
    SERVICE_TOKEN: secrets[serviceTokenOf(process)]!,
    BANKS_URL: `${variables.MUSTER_OUTSIDE_WORLD_URL}/banks`,
  };
}

/** What was sent is handled, as far as the groups' commits tell; with some bugs that never comes. */
async function untilHandled(kafka: Kafka, of: readonly ConsumerGroup[], signal: AbortSignal): Promise<void> {
  for (const untilMs = Date.now() + waits.handledMs; Date.now() < untilMs; ) {
    const lags = await Promise.all(of.map((group) => lagOf(kafka, group)));
    if (lags.every(({ records = 0 }) => records === 0)) return;
    await sleep(500, undefined, { signal });
  }
}
