/**
 * Worker `canary`: a small client of the platform that never rests. Each second it sends one probe through each broker
 * and receives it again; what becomes of the probes is the availability that the SLO counts, and the length of outages.
 * Beside that it looks at where the copies of every partition are: what would be lost with one more broker.
 *
 * It must not harm what it watches: three small requests a second, a deadline of its own on each, and never more than a
 * handful in flight, whatever state the cluster is in.
 */
import { randomBytes } from 'node:crypto';
import type { Registry } from 'prom-client';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { type Environment, environments } from '../../catalog/environments.ts';
import { canaryProbe } from '../../catalog/events/canary.ts';
import { metrics } from '../../catalog/metrics.ts';
import { probeRules } from '../../catalog/slos.ts';
import { topics } from '../../catalog/topics.ts';
import { kafkaOnlySettings } from '../base/config.ts';
import { MusterError } from '../base/errors.ts';
import { counter, durationHistogram, gauge } from '../base/metrics.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Worker } from '../platform/worker.ts';
import { type Counted, counted, openProbeBook, type ProbeBook } from './probes.ts';
import { partitionKey, singleCopies, watchRecovery } from './recovery.ts';

const config = Type.Object({
  MUSTER_ENV: kafkaOnlySettings.properties.MUSTER_ENV,
  CANARY_EXPECTED_BROKERS: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 100,
      description: 'brokers that should be there; unset: as many as MUSTER_ENV has in the catalog',
    }),
  ),
  CANARY_TOPIC: Type.String({
    minLength: 1,
    default: topics.canary.name,
    description: 'topic of the probes: as many partitions as brokers',
  }),
});

const tickEveryMs = 100;
const lookEveryMs = 2_000;
/** A partition that is found sooner is probed at once; one that is not counts as failing from then on. */
const patienceAtStartMs = 10_000;
/** The deadline frees a place after 2 s: more is only ever in flight when something is very wrong. */
const mostInFlight = 4;
const isProbe = Compile(canaryProbe);

export const worker: Worker<typeof config> = {
  name: 'canary',
  consumes: [],
  reads: [topics.canary],
  produces: [topics.canary],
  kafkaOnly: true,
  config,
  async start({ config: settings, kafka, log, metrics: registry }) {
    const topic = settings.CANARY_TOPIC;
    const expected = expectedBrokers(settings);
    const partitions = Array.from({ length: expected }, (_, partition) => partition);
    const instance = randomBytes(8).toString('hex');
    const meters = createMeters(registry, partitions);
    const book = openProbeBook(meters.count);
    const now = () => performance.now();

    const cluster = kafka.cluster();
    const recovery = watchRecovery();
    let seenBrokers = 0;
    let looking = false;
    registerGauges(registry, { expected, book, recovery, now, seenBrokers: () => seenBrokers });

    const producer = await kafka.producer('canary', {
      deliveryTimeoutMs: probeRules.goodWithinMs,
      // A batch that nobody waits for any more is dropped as a whole: small ones, so that they end soon.
      batchBytes: 1_024,
      bufferBytes: 64 * 1_024,
    });
    const follower = kafka.follow({
      topic,
      partitions,
      onRecords(partition, records) {
        const nowMs = now();
        for (const record of records) {
          const sequence = sequenceOf(record, instance);
          if (sequence === undefined) continue;
          const tookMs = book.received(partition, sequence, nowMs);
          if (tookMs !== undefined) meters.endToEnd(partition, tookMs / 1_000);
        }
      },
    });

    const startedMs = now();
    const inFlight = new Map(partitions.map((partition) => [partition, 0]));
    // Spread over the interval: an outage is seen a third of a second after it began.
    const due = new Map(
      partitions.map((partition) => [partition, startedMs + (partition * probeRules.intervalMs) / expected]),
    );

    async function probe(partition: number): Promise<void> {
      const sequence = book.sent(partition, now());
      inFlight.set(partition, inFlight.get(partition)! + 1);
      try {
        await producer.send([
          {
            ...eventRecord({
              topic,
              key: null,
              type: 'CanaryProbe',
              source: '/canary',
              id: `${instance}-${partition}-${sequence}`,
              timeMs: Date.now(),
              data: { instance, sequence },
            }),
            partition,
          },
        ]);
        const tookMs = book.acked(partition, sequence, now());
        if (tookMs !== undefined) meters.produce(partition, tookMs / 1_000);
      } catch (error) {
        log.debug('a probe got no ack', { partition, error: (error as Error).message });
        book.failed(partition, sequence);
      } finally {
        inFlight.set(partition, inFlight.get(partition)! - 1);
      }
    }

    let told = { currentSeconds: 0, lastSeconds: 0 };

    /** For people who look for the beginning and the end in the log. */
    function tellOutage(nowMs: number): void {
      const outage = book.outage(nowMs);
      if (outage.currentSeconds > 0 && told.currentSeconds === 0)
        log.warn('probes fail', { sinceSeconds: outage.currentSeconds });
      if (outage.lastSeconds !== told.lastSeconds)
        log.warn('an outage is over', { seconds: outage.lastSeconds });
      told = outage;
    }

    function tick(): void {
      const nowMs = now();
      book.tick(nowMs);
      tellOutage(nowMs);
      for (const [partition, dueMs] of due) {
        if (nowMs < dueMs) continue;
        const isFound = follower.position(partition) !== undefined;
        if (!isFound && nowMs - startedMs < patienceAtStartMs) continue;
        // After a pause of our own there is nothing to catch up on.
        const next = dueMs + probeRules.intervalMs;
        due.set(partition, next > nowMs ? next : nowMs + probeRules.intervalMs);
        if (isFound && inFlight.get(partition)! < mostInFlight) void probe(partition);
        else book.notSent(partition, nowMs);
      }
    }

    async function look(): Promise<void> {
      if (looking) return;
      looking = true;
      try {
        const { brokers, topics: all } = await cluster.topology();
        seenBrokers = brokers.length;
        const seen = all.filter(({ name }) => !name.startsWith('__'));
        recovery.see(seen, await endsOf(singleCopies(seen)), now());
      } catch (error) {
        seenBrokers = 0;
        log.debug('no broker says where the copies are', { error: (error as Error).message });
      } finally {
        looking = false;
      }
    }

    /** A leader that does not answer leaves its partitions out: their ends are not known until the next look. */
    async function endsOf(single: ReturnType<typeof singleCopies>): Promise<ReadonlyMap<string, number>> {
      const answers = await Promise.all(
        [...single].map(([leader, partitions]) => cluster.offsets(leader, 'end', partitions).catch(() => [])),
      );
      return new Map(
        answers.flat().map(({ topic: name, partition, offset }) => [partitionKey(name, partition), offset]),
      );
    }

    const timers = [setInterval(tick, tickEveryMs), setInterval(() => void look(), lookEveryMs)];
    void look();
    const missing = () => partitions.filter((partition) => follower.position(partition) === undefined);
    return {
      ready: () => missing().length === 0,
      waitingFor: () => `partitions ${missing().join(', ')} of ${topic}`,
      async stop() {
        for (const timer of timers) clearInterval(timer);
        await Promise.all([follower.stop(), producer.close(), cluster.close()]);
      },
    };
  },
};

/** Pinned, never counted from those that answer: a dead broker must be missed. Throws MUSTER_CONFIG. */
function expectedBrokers(settings: { MUSTER_ENV: string; CANARY_EXPECTED_BROKERS?: number }): number {
  const environment: Environment | undefined = Object.values(environments).find(
    ({ name }) => name === settings.MUSTER_ENV,
  );
  const expected = settings.CANARY_EXPECTED_BROKERS ?? environment?.kafka.nodes.length;
  if (expected === undefined)
    throw new MusterError(
      'MUSTER_CONFIG',
      `CANARY_EXPECTED_BROKERS is not set, and environment "${settings.MUSTER_ENV}" is not in the catalog`,
    );
  return expected;
}

/** The sequence number of a probe of ours. Anything else that lies on the topic is nobody's business. */
function sequenceOf(record: IncomingRecord, instance: string): number | undefined {
  try {
    const probe: unknown = JSON.parse(String(record.value));
    return isProbe.Check(probe) && probe.instance === instance ? probe.sequence : undefined;
  } catch {
    return undefined;
  }
}

function createMeters(registry: Registry, partitions: readonly number[]) {
  const byWhat = new Map(counted.map((what) => [what, counter(registry, metrics.canary[what])]));
  // From 0 on: a counter that appears with its first event hides that event from increase().
  for (const one of byWhat.values()) for (const partition of partitions) one.inc({ partition }, 0);
  const produce = durationHistogram(registry, metrics.canary.produceLatency);
  const endToEnd = durationHistogram(registry, metrics.canary.endToEndLatency);
  return {
    count: (what: Counted, partition: number) => byWhat.get(what)!.inc({ partition }),
    produce: (partition: number, seconds: number) => produce.observe({ partition }, seconds),
    endToEnd: (partition: number, seconds: number) => endToEnd.observe({ partition }, seconds),
  };
}

function registerGauges(
  registry: Registry,
  sources: {
    readonly expected: number;
    readonly book: ProbeBook;
    readonly recovery: ReturnType<typeof watchRecovery>;
    readonly now: () => number;
    readonly seenBrokers: () => number;
  },
): void {
  const { expected, book, recovery, now, seenBrokers } = sources;
  gauge(registry, metrics.canary.expectedBrokers).set(expected);
  gauge(registry, metrics.canary.seenBrokers, (one) => one.set(seenBrokers()));
  gauge(registry, metrics.canary.currentOutage, (one) => one.set(book.outage(now()).currentSeconds));
  gauge(registry, metrics.canary.lastOutage, (one) => one.set(book.outage(now()).lastSeconds));
  for (const [name, field] of [
    [metrics.recovery.replicationAge, 'replicationAgeSeconds'],
    [metrics.recovery.secondsAtRisk, 'atRiskSeconds'],
  ] as const) {
    gauge(registry, name, (one) => {
      one.reset();
      for (const at of recovery.at(now())) one.set({ topic: at.topic, partition: at.partition }, at[field]);
    });
  }
}
