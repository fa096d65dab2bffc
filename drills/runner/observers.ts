/** Those who look at the platform during a drill, beside the load: a client that probes, receivers of answers and pages. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { allGroups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { run } from '../../environment/children.ts';
import { dockerArgs, enginesOf, environmentLabel } from '../../environment/docker.ts';
import { NotNowError } from '../../workers/base/errors.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { eventRecord } from '../../workers/kafka/records.ts';
import { type Arrival, look } from '../alerts/sightings.ts';
import type { Attempt } from './measure.ts';

export interface Prober {
  /** How many probes were given up. */
  stop(): Promise<{ readonly attempts: readonly Attempt[]; readonly failed: number }>;
}

const probeEveryMs = 250;
const probeDeadlineMs = 60_000;

/**
 * One record each 250 ms to each partition of the canary's topic, of which each broker leads one. The canary looks at its
 * own probes only.
 */
export async function startProber(kafka: Kafka): Promise<Prober> {
  const producer = await kafka.producer('drill-probe', { deliveryTimeoutMs: probeDeadlineMs });
  const instance = randomBytes(8).toString('hex');
  const attempts: Attempt[] = [];
  const underWay = new Set<Promise<void>>();
  let failed = 0;
  let sequence = 0;

  async function probe(partition: number): Promise<void> {
    sequence += 1;
    const observer = `probes of partition ${partition}`;
    const sentAtMs = Date.now();
    const record = eventRecord({
      topic: topics.canary.name,
      key: null,
      type: 'CanaryProbe',
      source: '/drill',
      id: `${instance}-${sequence}`,
      timeMs: sentAtMs,
      data: { instance, sequence },
    });
    try {
      await producer.send([{ ...record, partition }]);
      attempts.push({ observer, sentAtMs, settledAtMs: Date.now() });
    } catch {
      failed += 1;
      attempts.push({ observer, sentAtMs });
    }
  }

  const timer = setInterval(() => {
    for (let partition = 0; partition < topics.canary.partitions; partition += 1) {
      const one = probe(partition).finally(() => underWay.delete(one));
      underWay.add(one);
    }
  }, probeEveryMs);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      await producer.close();
      return { attempts, failed };
    },
  };
}

/** Notes when the first answer to each purchase comes out of the platform. Throws MUSTER_DRILL_UNSTEADY. */
export async function watchAnswers(
  kafka: Kafka,
  run: string,
): Promise<{ readonly firstAtMs: ReadonlyMap<string, number>; stop(): Promise<void> }> {
  const firstAtMs = new Map<string, number>();
  const partitions = Array.from({ length: topics.purchaseEnriched.partitions }, (_, partition) => partition);
  const follower = kafka.follow({
    topic: topics.purchaseEnriched.name,
    partitions,
    onRecords(_partition, records) {
      const nowMs = Date.now();
      for (const { value } of records) {
        const { purchaseId } = JSON.parse(String(value)) as { purchaseId: string };
        if (purchaseId.startsWith(run) && !firstAtMs.has(purchaseId)) firstAtMs.set(purchaseId, nowMs);
      }
    },
  });
  for (const untilMs = Date.now() + 30_000; Date.now() < untilMs; await sleep(100))
    if (partitions.every((partition) => follower.position(partition) !== undefined))
      return { firstAtMs, stop: () => follower.stop() };
  await follower.stop();
  throw new NotNowError(
    'MUSTER_DRILL_UNSTEADY',
    `Topic ${topics.purchaseEnriched.name} cannot be followed: nobody would see the answers.`,
  );
}

export interface Start {
  readonly alias: string;
  readonly atMs: number;
}

/** Notes each time that a container of the environment is started, by whomever. */
export function watchStarts(environment: Environment): {
  readonly starts: readonly Start[];
  stop(): Promise<void>;
} {
  const starts: Start[] = [];
  const over = new AbortController();
  const filters = ['type=container', 'event=start', `label=${environmentLabel}=${environment.name}`];
  const args = ['events', ...filters.flatMap((filter) => ['--filter', filter]), '--format', '{{json .}}'];
  const watching = enginesOf(environment).map((engine) =>
    run('docker', dockerArgs(engine, args), {
      signal: over.signal,
      onLine(line) {
        const { timeNano, Actor } = JSON.parse(line) as {
          timeNano: number;
          Actor: { Attributes: { name: string } };
        };
        const alias = Actor.Attributes.name.slice(environment.prefix.length + 1);
        starts.push({ alias, atMs: Math.floor(timeNano / 1e6) });
      },
    }),
  );
  return {
    starts,
    async stop() {
      over.abort();
      await Promise.allSettled(watching);
    },
  };
}

/** Asks the receiver of alerts each second what has arrived. */
export function watchAlerts(environment: Environment): {
  arrivals(): readonly Arrival[];
  /** Ends it. Resolves to why nobody knows what has arrived; undefined: it is known. */
  stop(): Promise<string | undefined>;
} {
  const hasReceiver = environment.processes.list.some(({ workers }) => workers.includes('webhook-stub'));
  const over = new AbortController();
  let newest: readonly Arrival[] = [];
  let isAnswered = false;
  const watching = (async () => {
    while (hasReceiver && !over.signal.aborted) {
      const seen = await look(environment, over.signal).catch(() => undefined);
      newest = seen?.arrivals ?? newest;
      if (!over.signal.aborted) isAnswered = seen !== undefined;
      await sleep(1_000, undefined, { signal: over.signal }).catch(() => undefined);
    }
  })();
  return {
    arrivals: () => newest.filter(({ labels }) => isOurs(labels)),
    async stop() {
      over.abort();
      await watching;
      if (!hasReceiver) return 'the receiver of alerts is not known in this environment';
      return isAnswered ? undefined : 'the receiver of alerts does not answer';
    },
  };
}

/** About the catalog's own parts: tests and proofs beside us make groups and topics of their own. */
function isOurs(labels: Readonly<Record<string, string>>): boolean {
  const { consumergroup } = labels;
  if (Object.values(labels).some((value) => value.startsWith('muster-proof-') || value.startsWith('test.')))
    return false;
  return consumergroup === undefined || allGroups.some(({ id }) => id === consumergroup);
}
