/**
 * The canary against the truth: a broker is killed, and the outage that the canary saw is compared with a client's.
 *
 * `./muster bench canary -- [--broker=2] [--down-seconds=15] [--times=1]`
 *
 * The client is another process than the canary and writes to the canary's topic, which passes over what it has not sent
 * itself: a sender a partition, each waiting for its ack, so that the longest pause between two acks is the outage. The canary is the deployed one (read from
 * Prometheus), or, when none is deployed, one started here. The broker is started again whatever happens.
 */
import { randomBytes } from 'node:crypto';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { probeRules } from '../catalog/slos.ts';
import { topics } from '../catalog/topics.ts';
import { withFaults } from '../drills/faults.ts';
import { kafkaOf } from '../environment/kafka.ts';
import { brokersOutside, urlFromHost } from '../stacks/config/index.ts';
import { isWhole, shortcomings } from '../workers/kafka/cluster.ts';
import type { Kafka } from '../workers/kafka/kafka.ts';
import { prometheusAt } from '../workers/views/prometheus.ts';
import { type BenchOptions, context, optionsOf, say, writeReport } from './common/bench.ts';
import { noStores, startWorker } from './common/worker.ts';

const { name: topic, partitions } = topics.canary;

interface Outage {
  readonly broker: number;
  /** The longest time a sender waited from one ack to the next, and when the last of them was acked again. */
  readonly clientSeconds: number;
  readonly clientRecoveredAfterSeconds: number;
  readonly canarySeconds: number;
  readonly differenceSeconds: number;
  readonly toTheSecond: boolean;
  /** Sends of the client that got no ack at all. */
  readonly failedSends: number;
}

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { number } = optionsOf(options.args);
  const whole = (name: string, byDefault: number) => {
    const value = number(name, byDefault);
    if (!Number.isInteger(value)) throw new Error(`--${name} must be a whole number above 0`);
    return value;
  };
  const broker = whole('broker', 2);
  const downMs = whole('down-seconds', 15) * 1_000;
  const times = whole('times', 1);
  const kafka = kafkaOf(environment);
  const canary = await findCanary(environment, signal);
  const outages: Outage[] = [];
  try {
    for (let i = 0; i < times; i++) {
      await untilWhole(kafka, environment, signal);
      await until(
        'the canary sees no outage',
        async () => (await canary.gauge(metrics.canary.currentOutage)) === 0,
        signal,
      );
      outages.push(
        await withFaults(environment, { report: say, signal }, async (faults) => {
          const before = await canary.gauge(metrics.canary.lastOutage);
          const client = await startClient(kafka);
          await sleep(3_000, undefined, { signal });
          client.reset();
          const killed = await faults.inject(`kafka-${broker}`, { kind: 'kill' });
          say(`killed kafka-${broker}`);
          await sleep(downMs, undefined, { signal });
          const seen = client.outage(killed.atMs);
          // The canary calls an outage over when it has been quiet for a while; its figure is scraped after that.
          await until(
            'the canary has seen the end of an outage',
            async () =>
              (await canary.gauge(metrics.canary.lastOutage)) !== before &&
              (await canary.gauge(metrics.canary.currentOutage)) === 0,
            signal,
          );
          const canarySeconds = await canary.gauge(metrics.canary.lastOutage);
          await killed.heal();
          say(`started kafka-${broker} again`);
          await client.stop();
          const differenceSeconds = canarySeconds - seen.seconds;
          return {
            broker,
            clientSeconds: seen.seconds,
            clientRecoveredAfterSeconds: seen.recoveredAfterSeconds,
            canarySeconds,
            differenceSeconds,
            toTheSecond: Math.abs(differenceSeconds) <= probeRules.intervalMs / 1_000,
            failedSends: client.failed(),
          };
        }),
      );
      say(JSON.stringify(outages.at(-1)));
    }
    await untilWhole(kafka, environment, signal);
  } finally {
    await canary.stop();
    await kafka.close();
  }
  const report = {
    ...context(),
    loadAfter: loadavg()[0],
    environment: environment.name,
    zookeeperSessionMs: environment.kafka.zookeeperSessionTimeoutMs,
    canary: canary.what,
    outages,
  };
  writeReport('canary', report);
}

async function until(what: string, met: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  for (const giveUpAt = Date.now() + 120_000; !(await met().catch(() => false)); ) {
    if (Date.now() > giveUpAt) throw new Error(`not within two minutes: ${what}`);
    await sleep(500, undefined, { signal });
  }
}

/** All brokers are there and every copy is in sync: what is measured must begin from a steady state. */
async function untilWhole(kafka: Kafka, environment: Environment, signal: AbortSignal): Promise<void> {
  const cluster = kafka.cluster();
  try {
    await until(
      'all copies are in sync',
      async () => isWhole(shortcomings(await cluster.topology(), environment.kafka.nodes.length)),
      signal,
    );
  } finally {
    await cluster.close();
  }
}

interface Client {
  reset(): void;
  /** Worst sender since the reset. A sender that still waits counts up to now. */
  outage(faultMs: number): { readonly seconds: number; readonly recoveredAfterSeconds: number };
  failed(): number;
  stop(): Promise<void>;
}

async function startClient(kafka: Kafka): Promise<Client> {
  const producer = await kafka.producer('bench-canary');
  const gaps = Array.from({ length: partitions }, () => ({
    lastAckMs: Date.now(),
    worstMs: 0,
    worstEndMs: 0,
  }));
  let sending = true;
  let failures = 0;
  const senders = gaps.map(async (gap, partition) => {
    while (sending) {
      try {
        await producer.send([{ topic, key: null, value: 'x'.repeat(100), partition }], {
          deadlineMs: 60_000,
        });
        const now = Date.now();
        if (now - gap.lastAckMs > gap.worstMs) {
          gap.worstMs = now - gap.lastAckMs;
          gap.worstEndMs = now;
        }
        gap.lastAckMs = now;
      } catch {
        failures++;
      }
      await sleep(10);
    }
  });
  return {
    reset() {
      for (const gap of gaps) gap.worstMs = 0;
    },
    outage(faultMs) {
      const now = Date.now();
      const waiting = gaps.map(({ lastAckMs, worstMs, worstEndMs }) =>
        now - lastAckMs > worstMs ? { ms: now - lastAckMs, endMs: now } : { ms: worstMs, endMs: worstEndMs },
      );
      return {
        seconds: Math.max(...waiting.map(({ ms }) => ms)) / 1_000,
        recoveredAfterSeconds: (Math.max(...waiting.map(({ endMs }) => endMs)) - faultMs) / 1_000,
      };
    },
    failed: () => failures,
    async stop() {
      sending = false;
      await Promise.all(senders);
      await producer.close();
    },
  };
}

interface Canary {
  readonly what: string;
  gauge(name: string): Promise<number>;
  stop(): Promise<void>;
}

async function findCanary(environment: Environment, signal: AbortSignal): Promise<Canary> {
  const prometheus = prometheusAt(urlFromHost(environment, 'prometheus'), signal);
  const deployed = await prometheus.instant(metrics.canary.currentOutage, Date.now()).catch(() => []);
  if (deployed.length > 0)
    return {
      what: 'deployed',
      async gauge(name) {
        const [sample] = await prometheus.instant(`max(${name})`, Date.now());
        if (sample === undefined) throw new Error(`Prometheus has no ${name}`);
        return Number(sample.value[1]);
      },
      async stop() {},
    };
  return startCanary(environment, signal);
}

async function startCanary(environment: Environment, signal: AbortSignal): Promise<Canary> {
  const canary = await startWorker({
    workers: ['canary'],
    env: {
      ...noStores,
      MUSTER_ENV: environment.name,
      KAFKA_BROKERS: brokersOutside(environment),
      PSEUDONYM_KEY: randomBytes(32).toString('hex'),
    },
    signal,
  });
  return {
    what: 'started by the bench',
    async gauge(name) {
      const text = await (await fetch(`${canary.url}/metrics`)).text();
      const line = text.split('\n').find((each) => each.startsWith(`${name} `));
      if (line === undefined) throw new Error(`the canary shows no ${name}`);
      return Number(line.slice(name.length + 1));
    },
    stop: canary.stop,
  };
}
