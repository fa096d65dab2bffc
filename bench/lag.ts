/**
 * The lag worker: a pass over 1,000 partitions x 50 groups, and lag seconds against the truth.
 *
 * `./muster bench lag -- [--only=scale,truth] [--topics=100] [--partitions=10] [--groups=50] [--seconds=60]
 * [--stopped-seconds=300] [--brokers=host:port,...]`
 *
 * Runs on the deployed cluster (or the one named) and leaves nothing behind: topics and groups of its own, removed at the
 * end. The worker is a process of this machine, scraped every 5 s; brokers, load and worker share the machine.
 * The chart of `truth` is written to build/bench/lag-truth.svg.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { metrics } from '../catalog/metrics.ts';
import { pause, throwIfInterrupted } from '../environment/interruption.ts';
import type { Kafka } from '../workers/kafka/kafka.ts';
import { createTopics, deleteGroups, testKafka } from '../workers/kafka/testing.ts';
import { type BenchOptions, context, optionsOf, reportFolder, say, writeReport } from './common/bench.ts';
import { startWorker } from './common/worker.ts';
import { type Sample, summarise, truthChart } from './lag/truth.ts';

const cycleMs = 5_000;

interface Context {
  readonly kafka: Kafka;
  readonly brokers: readonly string[];
  readonly signal: AbortSignal;
}

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { setting, number } = optionsOf(options.args);
  const only = (setting('only') ?? 'scale,truth').split(',');
  const brokers =
    setting('brokers')?.split(',') ??
    environment.kafka.nodes.map((node) => `${environment.hosts[node.host]!.address}:${node.externalPort}`);
  // The helpers of the integration tests read it from there.
  process.env.KAFKA_BROKERS = brokers.join(',');
  const kafka = testKafka('bench-lag');
  const bench: Context = { kafka, brokers, signal };
  const report: Record<string, unknown> = {
    ...context(),
  };
  mkdirSync(reportFolder, { recursive: true });
  try {
    if (only.includes('scale')) {
      report.scale = await scale(bench, {
        topics: number('topics', 100),
        partitions: number('partitions', 10),
        groups: number('groups', 50),
        seconds: number('seconds', 60),
      });
    }
    if (only.includes('truth')) {
      const { figures, chart } = await truth(bench, number('stopped-seconds', 300));
      report.truth = figures;
      writeFileSync(join(reportFolder, 'lag-truth.svg'), chart);
    }
  } finally {
    await kafka.close();
  }
  writeReport('lag', report);
}

interface LagWorker {
  readonly pid: number;
  /** Resolves to everything that a scrape gives, line by line, without keeping it. */
  scrape(onLine: (line: string) => void): Promise<{ readonly bytes: number; readonly seconds: number }>;
  stop(): Promise<void>;
}

/** The worker as somebody runs it who has nothing else of muster. */
async function startLag({ brokers, signal }: Context, prefix: string): Promise<LagWorker> {
  const { pid, url, stop } = await startWorker({
    workers: ['lag'],
    env: {
      // As in the environments' process and in docs/lag.md: one arena of the C library's heap instead of one a thread.
      MALLOC_ARENA_MAX: '1',
      KAFKA_BROKERS: brokers.join(','),
      LAG_CYCLE_MS: String(cycleMs),
      LAG_TOPICS: `^${prefix}`,
      LAG_GROUPS: `^${prefix}`,
    },
    signal,
  });
  return {
    pid,
    async scrape(onLine) {
      const beganMs = performance.now();
      const response = await fetch(`${url}/metrics`);
      const decoder = new TextDecoder();
      let bytes = 0;
      let rest = '';
      for await (const chunk of response.body!) {
        bytes += chunk.length;
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop()!;
        for (const line of lines) if (!line.startsWith('#')) onLine(line);
      }
      return { bytes, seconds: (performance.now() - beganMs) / 1_000 };
    },
    stop,
  };
}

/** Resident memory in MiB: now, and the most that it ever was. */
function memoryOf(pid: number): { readonly nowMiB: number; readonly peakMiB: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mebibytes = (field: string) =>
    Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  return { nowMiB: mebibytes('VmRSS'), peakMiB: mebibytes('VmHWM') };
}

const numberOf = (line: string) => Number(line.slice(line.lastIndexOf(' ') + 1));
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const rounded = (value: number) => Math.round(value * 1_000) / 1_000;

/** Every group has committed on every partition and lags on nearly all of them, while records keep coming. */
async function scale(
  context: Context,
  size: { topics: number; partitions: number; groups: number; seconds: number },
): Promise<unknown> {
  const { kafka, signal } = context;
  const prefix = `bench.lag.${randomBytes(3).toString('hex')}.`;
  const topics = Array.from({ length: size.topics }, (_, i) => `${prefix}topic-${i}`);
  const groups = Array.from({ length: size.groups }, (_, i) => `${prefix}group-${i}`);
  say(`creating ${size.topics} topics of ${size.partitions} partitions`);
  const made: { remove(): Promise<void> }[] = [];
  let worker: LagWorker | undefined;
  try {
    for (let i = 0; i < topics.length && !signal.aborted; i += 20) {
      const some = topics.slice(i, i + 20);
      made.push(
        await createTopics(some.map((name) => ({ name, partitions: size.partitions, replicationFactor: 1 }))),
      );
    }
    throwIfInterrupted(signal);
    const producer = await kafka.producer('bench');
    const everywhere = (records: number) =>
      producer.send(
        topics.flatMap((topic) =>
          Array.from({ length: size.partitions * records }, (_, i) => ({
            topic,
            key: null,
            value: 'x'.repeat(200),
            partition: i % size.partitions,
          })),
        ),
      );
    await everywhere(20);
    say(`committing as ${size.groups} groups`);
    const work = groups.flatMap((group) => topics.map((topic) => [group, topic] as const));
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        for (let next = work.pop(); next !== undefined && !signal.aborted; next = work.pop()) {
          const [group, topic] = next;
          const offsets = new Map(
            Array.from({ length: size.partitions }, (_, i) => [i, Math.floor(Math.random() * 20)]),
          );
          await kafka.admin.setCommitted(group, topic, offsets).catch(() => work.push([group, topic]));
        }
      }),
    );
    worker = await startLag(context, prefix);
    say(`measuring for ${size.seconds} s`);
    const cycles: number[] = [];
    const scrapes: { readonly bytes: number; readonly seconds: number }[] = [];
    const requests: number[] = [];
    const qualities = new Map<string, number>();
    let series = 0;
    let failures = 0;
    let before = { sum: 0, count: 0 };
    for (const until = Date.now() + size.seconds * 1_000; Date.now() < until && !signal.aborted; ) {
      await Promise.all([everywhere(1), pause(cycleMs, signal)]);
      const now = { sum: 0, count: 0 };
      series = 0;
      qualities.clear();
      scrapes.push(
        await worker.scrape((line) => {
          series++;
          if (line.startsWith(`${metrics.lag.cycleDuration}_sum`)) now.sum = numberOf(line);
          else if (line.startsWith(`${metrics.lag.cycleDuration}_count`)) now.count = numberOf(line);
          else if (line.startsWith(metrics.lag.cycleRequests)) requests.push(numberOf(line));
          else if (line.startsWith(metrics.lag.cycleFailures)) failures = numberOf(line);
          else if (line.startsWith(`${metrics.lag.groupLagSeconds}{`)) {
            const quality = /quality="(\w+)"/.exec(line)?.[1] ?? '';
            qualities.set(quality, (qualities.get(quality) ?? 0) + 1);
          }
        }),
      );
      if (now.count > before.count) cycles.push((now.sum - before.sum) / (now.count - before.count));
      before = now;
    }
    const memory = memoryOf(worker.pid);
    return {
      partitions: size.topics * size.partitions,
      groups: size.groups,
      seriesGiven: series,
      cycleSeconds: {
        median: rounded(median(cycles)),
        most: rounded(Math.max(...cycles)),
        measured: cycles.length,
      },
      requestsPerBrokerAndCycle: Math.max(...requests),
      failedCycles: failures,
      residentMiB: memory,
      scrape: {
        seconds: rounded(median(scrapes.map(({ seconds }) => seconds))),
        MiB: rounded(median(scrapes.map(({ bytes }) => bytes)) / 2 ** 20),
      },
      qualities: Object.fromEntries(qualities),
      reached: { cycle: Math.max(...cycles) <= 5, memory: memory.peakMiB <= 150 },
    };
  } finally {
    await worker?.stop();
    say('removing topics and groups');
    for (let i = 0; i < groups.length; i += 10)
      await deleteGroups(groups.slice(i, i + 10)).catch(() => undefined);
    for (const each of made) await each.remove();
  }
}

/** What is produced and consumed in `truth`: records a second, or so many at once every so often. */
const loads = {
  steady: { records: 2, everyMs: 100 },
  bursty: { records: 400, everyMs: 20_000 },
  idle: { records: 0, everyMs: 1_000 },
} as const;
type Load = keyof typeof loads;

/**
 * A consumer that commits every second, stops, and goes on again. The truth is known here: when each record was sent,
 * and which offset is committed. Lag seconds are compared every second as a scrape gives them.
 */
async function truth(
  context: Context,
  stoppedSeconds: number,
): Promise<{ readonly figures: unknown; readonly chart: string }> {
  const { kafka, signal } = context;
  const prefix = `bench.truth.${randomBytes(3).toString('hex')}.`;
  const names = Object.keys(loads) as Load[];
  const made = await createTopics(names.map((name) => ({ name: `${prefix}${name}`, partitions: 1 })));
  const groups = names.map((name) => `${prefix}${name}`);
  const ending = new AbortController();
  const producer = await kafka.producer('bench');
  const sentMs: Record<Load, number[]> = { steady: [], bursty: [], idle: [] };
  const committed: Record<Load, number> = { steady: 0, bursty: 0, idle: 0 };
  let consuming = true;

  async function every(ms: number, work: () => Promise<void>): Promise<void> {
    for (let next = Date.now(); !ending.signal.aborted && !signal.aborted; ) {
      await work();
      next = Math.max(next + ms, Date.now());
      await sleep(next - Date.now(), undefined, { signal: ending.signal }).catch(() => undefined);
    }
  }
  const send = async (load: Load, records: number) => {
    const atMs = Date.now();
    await producer.send(
      Array.from({ length: records }, () => ({
        topic: `${prefix}${load}`,
        key: null,
        value: 'x',
        partition: 0,
      })),
    );
    for (let i = 0; i < records; i++) sentMs[load].push(atMs);
  };
  const commit = async (load: Load) => {
    const end = sentMs[load].length;
    if (!consuming || end === committed[load]) return;
    const name = `${prefix}${load}`;
    await kafka.admin.setCommitted(name, name, new Map([[0, end]]));
    committed[load] = end;
  };

  let worker: LagWorker | undefined;
  try {
    await send('idle', 10);
    const running = [
      ...names.map((load) => {
        const { records, everyMs } = loads[load];
        return records === 0 ? Promise.resolve() : every(everyMs, () => send(load, records));
      }),
      ...names.map((load) => every(1_000, () => commit(load))),
    ];
    worker = await startLag(context, prefix);
    await sleep(4 * cycleMs, undefined, { signal });

    const samples: Sample[] = [];
    const stoppedAtMs = Date.now();
    consuming = false;
    say(`the consumer has stopped for ${stoppedSeconds} s`);
    const sampleUntil = async (untilMs: number) => {
      while (Date.now() < untilMs && !signal.aborted) {
        const atMs = Date.now();
        await worker!.scrape((line) => {
          if (!line.startsWith(`${metrics.lag.groupLagSeconds}{`)) return;
          const load = names.find((name) => line.includes(`consumergroup="${prefix}${name}"`))!;
          const next = sentMs[load][committed[load]];
          const nowMs = Date.now();
          samples.push({
            load,
            atSeconds: (nowMs - stoppedAtMs) / 1_000,
            stopped: !consuming,
            quality: /quality="(\w+)"/.exec(line)?.[1] ?? '',
            truth: next === undefined ? 0 : Math.max(0, (nowMs - next) / 1_000),
            shown: numberOf(line),
          });
        });
        await sleep(Math.max(0, atMs + 1_000 - Date.now()), undefined, { signal });
      }
    };
    await sampleUntil(stoppedAtMs + stoppedSeconds * 1_000);
    consuming = true;
    await sampleUntil(Date.now() + 6 * cycleMs);
    ending.abort();
    await Promise.all(running);
    return { figures: summarise(samples, 2 * (cycleMs / 1_000)), chart: truthChart(samples, stoppedSeconds) };
  } finally {
    ending.abort();
    await worker?.stop();
    await deleteGroups(groups).catch(() => undefined);
    await made.remove();
  }
}
