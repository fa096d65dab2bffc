/**
 * The promotion join: latency at 200/s and draining a backlog, turn about with Kafka Streams and several times, because
 * one run of either tells little; and the highest sustained rate through one worker process.
 *
 * `./muster bench promotion -- [--only=latency,drain,sustained] [--runs=5] [--latency-seconds=60] [--events=600000]
 * [--seconds=20] [--max-rate=60000] [--brokers=host:port,...] [--no-peer] [--profile]`
 *
 * Without Java or Maven, or with --no-peer, the report says "not compared". The peer's topics are its own (peer.*).
 *
 * Runs on the deployed cluster (or the one named). Latency is that of the deployed join, with only the other traffic
 * stopped; for a profile, and for drain and sustained, a worker process of this machine takes its place, for these two with
 * the API and log follower stopped as well. All are started again at the end. A cluster that is named gets a worker of this
 * machine for everything. Brokers, load and worker share the machine.
 */
import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import winston from 'winston';
import { groups } from '../catalog/groups.ts';
import { topics } from '../catalog/topics.ts';
import { oracle } from '../drills/checker/oracle.ts';
import { pause, throwIfInterrupted } from '../environment/interruption.ts';
import type { Kafka } from '../workers/kafka/kafka.ts';
import { connectKafka } from '../workers/kafka/kafkajs.ts';
import {
  type BenchOptions,
  context,
  optionsOf,
  reportFolder,
  root,
  say,
  stopDeployed,
  writeReport,
} from './common/bench.ts';
import { noStores, type RunningWorker, startWorker } from './common/worker.ts';
import { type Peer, preparePeer, spread } from './promotion/peer.ts';
import { benchRecord, type ProduceOrder, type ProduceReport } from './promotion/produce.ts';

const groupId = groups.promotionJoin.id;

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { setting, number } = optionsOf(options.args);
  const only = (setting('only') ?? 'latency,drain,sustained').split(',');
  const brokers =
    setting('brokers')?.split(',') ??
    environment.kafka.nodes.map((node) => `${environment.hosts[node.host]!.address}:${node.externalPort}`);
  const kafka = connectKafka({ brokers, clientId: 'bench', log: winston.createLogger({ silent: true }) });
  const restart: (() => Promise<void>)[] = [];
  const deployed = setting('brokers') === undefined;
  const stop = async (...processes: string[]) => {
    if (deployed) restart.push(await stopDeployed(environment, processes));
  };
  await stop('traffic');
  const report: Record<string, unknown> = {
    ...context(),
  };
  const bench: Context = {
    kafka,
    brokers,
    signal,
    profile: options.args.includes('--profile'),
    deployed,
  };
  try {
    if (bench.profile) await stop('promotion');
    const runs = Math.round(number('runs', 5));
    const peer = options.args.includes('--no-peer')
      ? 'not compared: --no-peer'
      : await preparePeer(brokers, signal);
    if (only.includes('latency')) {
      const seconds = number('latency-seconds', 60);
      report.latency = await turnAbout({
        runs,
        peer,
        signal,
        ours: () => latency(bench, seconds),
        theirs: (peer) => peer.latency(seconds, warmUpSeconds),
        figures: {
          'purchase to promotion, p50 ms': [(one) => one.purchaseToPromotion.p50Ms, (one) => one.p50Ms],
          'purchase to promotion, p99 ms': [(one) => one.purchaseToPromotion.p99Ms, (one) => one.p99Ms],
        },
      });
    }
    // How fast one worker can be is asked without the others.
    if (only.some((part) => part !== 'latency')) await stop('promotion', 'api', 'log-follower');
    if (only.includes('drain')) {
      const events = Math.round(number('events', 600_000));
      report.drain = await turnAbout({
        runs,
        peer,
        signal,
        ours: () => drain(bench, events),
        theirs: (peer) => peer.drain(events),
        figures: {
          'events a second': [(one) => one.eventsPerSecond, (one) => one.eventsPerSecond],
          'events a second, with the start': [
            (one) => one.events / one.secondsWithStart,
            (one) => one.events / one.secondsWithStart,
          ],
        },
      });
    }
    if (only.includes('sustained'))
      report.sustained = await sustained(bench, number('seconds', 20), number('max-rate', 60_000));
  } finally {
    await kafka.close();
    for (const start of restart.reverse()) await start();
  }
  writeReport('promotion', report);
}

interface Context {
  readonly kafka: Kafka;
  readonly brokers: readonly string[];
  readonly signal: AbortSignal;
  readonly profile: boolean;
  /** The cluster is the environment's, so its own join can be asked. */
  readonly deployed: boolean;
}

interface Turns<Ours, Theirs> {
  readonly runs: number;
  /** A sentence when there is none. */
  readonly peer: Peer | string;
  readonly signal: AbortSignal;
  ours(): Promise<Ours>;
  theirs(peer: Peer): Promise<Theirs>;
  /** What is compared, by name: where it is in a result of ours and of theirs. */
  readonly figures: Readonly<Record<string, readonly [(one: Ours) => number, (one: Theirs) => number]>>;
}

/** Runs of ours and of the peer by turns; medians with their spread, the ratio of the medians, and all that was measured. */
async function turnAbout<Ours, Theirs>({
  runs,
  peer,
  signal,
  ours,
  theirs,
  figures,
}: Turns<Ours, Theirs>): Promise<object> {
  const own: Ours[] = [];
  const peers: Theirs[] = [];
  for (let run = 0; run < runs; run += 1) {
    own.push(await ours());
    throwIfInterrupted(signal);
    if (typeof peer === 'string') continue;
    peers.push(await theirs(peer));
    say(`Kafka Streams: ${JSON.stringify(peers.at(-1))}`);
  }
  const compared = Object.entries(figures).map(([name, [ofOurs, ofTheirs]]) => {
    const mine = spread(own.map(ofOurs));
    if (typeof peer === 'string') return [name, { ours: mine, kafkaStreams: peer }];
    const other = spread(peers.map(ofTheirs));
    const ratio = Math.round((mine.median / other.median) * 100) / 100;
    return [name, { ours: mine, kafkaStreams: other, ratio }];
  });
  return { runs, ...Object.fromEntries(compared), ours: own, kafkaStreams: peers };
}

function startJoin({ brokers, signal, profile }: Context): Promise<RunningWorker> {
  mkdirSync(reportFolder, { recursive: true });
  return startWorker({
    workers: ['promotion-join'],
    nodeFlags: profile ? ['--cpu-prof', `--cpu-prof-dir=${reportFolder}`] : [],
    env: {
      ...noStores,
      MUSTER_ENV: 'ci',
      KAFKA_BROKERS: brokers.join(','),
      PSEUDONYM_KEY: randomBytes(32).toString('hex'),
    },
    signal,
  });
}

async function produce(context: Context, order: Omit<ProduceOrder, 'brokers'>): Promise<ProduceReport> {
  const child = spawn(
    process.execPath,
    [join(root, 'bench/promotion/produce.ts'), JSON.stringify({ ...order, brokers: context.brokers })],
    { stdio: ['ignore', 'pipe', 'inherit'], signal: context.signal, env: { PATH: process.env.PATH } },
  );
  // A stop on Ctrl-C is told by how it closes.
  child.on('error', () => undefined);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the producer ended with ${code}`);
  return JSON.parse(output) as ProduceReport;
}

/** Events of both inputs that the group has not committed. */
async function lag({ kafka }: Context): Promise<number> {
  let sum = 0;
  for (const topic of groups.promotionJoin.topics) {
    const [ends, done] = await Promise.all([
      kafka.admin.offsets(topic.name),
      kafka.admin.committed(groupId, topic.name),
    ]);
    for (const { partition, low, high } of ends) sum += Math.max(0, high - (done.get(partition) ?? low));
  }
  return sum;
}

async function ends({ kafka }: Context, topic: string): Promise<number> {
  return (await kafka.admin.offsets(topic)).reduce((sum, { high }) => sum + high, 0);
}

/** CPU seconds and highest resident MiB of a process (Linux); undefined elsewhere. */
function usage(pid: number): { cpuSeconds: number; peakMiB: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    // Fields 14 and 15, counted in ticks of 10 ms.
    return {
      cpuSeconds: (Number(stat[11]) + Number(stat[12])) / 100,
      peakMiB: Math.round(Number(peak) / 1024),
    };
  } catch {
    return undefined;
  }
}

function percentiles(values: readonly number[]) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), p999Ms: at(0.999), maxMs: at(1) };
}

/** Seconds before the timed ones, checked like them: what was just started compiles its hot code. The peer has as many. */
const warmUpSeconds = 15;

/** 100 purchases and 100 acts a second, half of the purchases with an act a second before; every answer checked. */
async function latency(context: Context, seconds: number) {
  say(`latency: 200 events/s for ${seconds} s`);
  const { kafka, signal } = context;
  const runId = randomUUID().slice(0, 8);
  const worker = context.deployed && !context.profile ? undefined : await startJoin(context);
  const sentMs = new Map<string, number>();
  const answeredMs = new Map<string, number>();
  const promotedMs = new Map<string, number>();
  const affect = new Map<string, { version: number; affect: number }>();
  const consumer = await kafka.consumePartitions({
    groupId: `bench-${runId}`,
    topics: [topics.purchaseEnriched.name, topics.promotion.name],
    async onAssigned(list) {
      const starts = [];
      for (const topic of [topics.purchaseEnriched.name, topics.promotion.name])
        for (const { partition, high } of await kafka.admin.offsets(topic))
          if (list.some((one) => one.topic === topic && one.partition === partition))
            starts.push({ topic, partition, offset: high });
      ready = true;
      return starts;
    },
    onBatch(batch) {
      const nowMs = performance.now();
      for (const { value } of batch.records) {
        const answer = JSON.parse(String(value)) as {
          purchaseId: string;
          version: number;
          promotion_affect: number;
        };
        const id = answer.purchaseId;
        if (!sentMs.has(id)) continue;
        const seen = batch.topic === topics.promotion.name ? promotedMs : answeredMs;
        if (!seen.has(id)) seen.set(id, nowMs);
        const best = affect.get(id);
        if (best === undefined || answer.version > best.version)
          affect.set(id, { version: answer.version, affect: answer.promotion_affect });
      }
    },
    onFatal(error) {
      throw error;
    },
  });
  let ready = false;
  for (const until = Date.now() + 30_000; !ready; await pause(50, signal))
    if (Date.now() > until) throw new Error('the reader got no assignment within 30 s');
  await sleep(500);
  const producer = await kafka.producer('bench-latency');
  const purchases: { purchaseId: string; userId: string; purchasedAt: string }[] = [];
  const acts: { userId: string; promotionId: string; action: 'click' | 'view'; actedAt: string }[] = [];
  const sends: Promise<void>[] = [];
  const startMs = performance.now();
  const timedFromMs = startMs + warmUpSeconds * 1000;
  const total = Math.round((seconds + warmUpSeconds) * 200);
  // The last second sends no acts that would have no purchase to meet.
  for (let index = 0; index < total && !signal.aborted; index += 1) {
    const dueMs = startMs + index * 5;
    const waitMs = dueMs - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    // Every other purchase is by a user who acted about a second (200 events) ago; the others never act.
    const userId =
      index % 2 === 0
        ? `user-${runId}-${index}`
        : index % 4 === 1
          ? `user-${runId}-${index - 201}`
          : `user-${runId}-never-${index}`;
    const record = benchRecord(runId, index, userId, Date.now());
    const value = JSON.parse(record.value as string);
    if (index % 2 === 0) acts.push(value);
    else {
      purchases.push(value);
      sentMs.set(value.purchaseId, performance.now());
    }
    sends.push(producer.send([record]));
  }
  await Promise.all(sends);
  const answered = () => answeredMs.size >= purchases.length || signal.aborted;
  for (const until = Date.now() + 10_000; !answered() && Date.now() < until; ) await sleep(100);
  await sleep(500);
  const expected = oracle(purchases, acts);
  const hits: number[] = [];
  const misses: number[] = [];
  let lost = 0;
  let wrong = 0;
  for (const [id, answer] of expected) {
    const before = sentMs.get(id)!;
    const at = answer.affect === 1 ? promotedMs.get(id) : answeredMs.get(id);
    if (at === undefined) lost += 1;
    else if (before >= timedFromMs)
      (answer.affect === 1 ? hits : misses).push(Math.round((at - before) * 10) / 10);
    if (affect.get(id)?.affect !== answer.affect) wrong += 1;
  }
  await consumer.stop();
  await worker?.stop();
  const result = {
    seconds,
    warmUpSeconds,
    eventsPerSecond: 200,
    purchases: purchases.length,
    acts: acts.length,
    lost,
    otherThanOracle: wrong,
    purchaseToPromotion: percentiles(hits),
    purchaseToNonMatch: percentiles(misses),
  };
  say(JSON.stringify(result));
  return result;
}

/** A backlog drained by one worker process. */
async function drain(context: Context, events: number) {
  say(`drain: preloading ${events} events`);
  const runId = randomUUID().slice(0, 8);
  const enrichedBefore = await ends(context, topics.purchaseEnriched.name);
  const loaded = await produce(context, {
    run: runId,
    events,
    rate: 0,
    users: Math.max(1, Math.round(events / 2)),
  });
  const first = await lag(context);
  say(
    `drain: ${first} events of ${loaded.averageBytes} bytes wait (loaded at ${Math.round(events / loaded.seconds)}/s)`,
  );
  const startMs = performance.now();
  const worker = await startJoin(context);
  const readyMs = performance.now();
  const points: { ms: number; left: number }[] = [];
  for (let left = first; left > 0 && !context.signal.aborted; await sleep(250)) {
    left = await lag(context);
    points.push({ ms: performance.now(), left });
  }
  const used = usage(worker.pid);
  const enriched = (await ends(context, topics.purchaseEnriched.name)) - enrichedBefore;
  await worker.stop();
  const result = {
    events: first,
    averageBytes: loaded.averageBytes,
    // From ready to the last commit: commits lag behind the work, so this is rather too low.
    eventsPerSecond: Math.round(first / ((points.at(-1)!.ms - readyMs) / 1000)),
    secondsWithStart: Math.round(points.at(-1)!.ms - startMs) / 1000,
    enriched,
    workerCpuMicrosecondsPerEvent: used && Math.round((used.cpuSeconds / first) * 1e7) / 10,
    workerPeakMiB: used?.peakMiB,
  };
  say(JSON.stringify(result));
  return result;
}

/** The highest rate at which the lag does not grow. */
async function sustained(context: Context, seconds: number, maxRate: number): Promise<unknown> {
  const tries: unknown[] = [];
  let best = 0;
  const attempt = async (rate: number): Promise<boolean> => {
    const worker = await startJoin(context);
    const before = usage(worker.pid);
    const lags: number[] = [];
    let done = false;
    const producing = produce(context, {
      run: randomUUID().slice(0, 8),
      events: rate * seconds,
      rate,
      users: Math.max(1, Math.round((rate * seconds) / 2)),
    }).finally(() => {
      done = true;
    });
    while (!done) {
      await Promise.race([sleep(1_000), producing.catch(() => undefined)]);
      lags.push(await lag(context));
    }
    const produced = await producing;
    const used = usage(worker.pid);
    const atEnd = lags.at(-1) ?? 0;
    const drained = async () => context.signal.aborted || (await lag(context)) === 0;
    for (const until = Date.now() + 120_000; !(await drained()) && Date.now() < until; ) await sleep(250);
    await worker.stop();
    const reached = produced.events / produced.seconds;
    // Commits follow the work by some 100 ms, misses by up to the hold time: two seconds' worth is no backlog.
    const holds = reached >= rate * 0.97 && atEnd <= rate * 2;
    tries.push({
      rate,
      producedPerSecond: Math.round(reached),
      lagAtEnd: atEnd,
      lagSeconds: Math.round((atEnd / rate) * 10) / 10,
      workerCpuShare:
        used && before && Math.round(((used.cpuSeconds - before.cpuSeconds) / produced.seconds) * 100) / 100,
      holds,
    });
    say(`sustained: ${JSON.stringify(tries.at(-1))}`);
    if (holds) best = Math.max(best, rate);
    return holds;
  };
  let low = 0;
  let high = maxRate;
  for (
    let rate = Math.min(5_000, maxRate);
    !context.signal.aborted;
    rate = Math.min(maxRate, Math.round(rate * 1.6))
  ) {
    if (await attempt(rate)) low = rate;
    else {
      high = rate;
      break;
    }
    if (rate === maxRate) break;
  }
  while (high - low > Math.max(500, low * 0.08) && low > 0 && low < maxRate && !context.signal.aborted) {
    const middle = Math.round((low + high) / 200) * 100;
    if (await attempt(middle)) low = middle;
    else high = middle;
  }
  return { eventsPerSecond: best, secondsEach: seconds, tries };
}
