/**
 * Log lines: from a process to the log store at a rate, and what publishing them costs a process that is busy.
 *
 * `./muster bench logs -- [--rate=10000] [--seconds=15] [--rounds=3] [--only=cost|pipeline]`
 *
 * Runs on the deployed brokers and the deployed log store (LOG_STORE_URL: another one), on a topic of its own; process and
 * worker log-store are this process. Cost: lines written with and without the publisher turn about, a round each.
 */
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { groups } from '../catalog/groups.ts';
import { topics } from '../catalog/topics.ts';
import { throwIfInterrupted } from '../environment/interruption.ts';
import { ensureSecrets } from '../environment/secrets.ts';
import { hostVariables, secretsFile } from '../environment/variables.ts';
import { createLog, silentLog } from '../workers/base/log.ts';
import { createRegistry } from '../workers/base/metrics.ts';
import { createTopics, testKafka, uniqueName } from '../workers/kafka/testing.ts';
import { startLogStore } from '../workers/logging/log-store.ts';
import { victoriaLogs } from '../workers/logging/victorialogs.ts';
import { type LogPublisher, startLogPublisher } from '../workers/platform/log-publisher.ts';
import { keepPace } from '../workers/traffic/pace.ts';
import { type BenchOptions, context, optionsOf, say, writeReport } from './common/bench.ts';

export async function run(options: BenchOptions): Promise<void> {
  const { number, setting } = optionsOf(options.args);
  const [rate, seconds, rounds] = [number('rate', 10_000), number('seconds', 15), number('rounds', 3)];
  const { secrets } = await ensureSecrets(secretsFile(options.environment));
  const variables = await hostVariables(options.environment, secrets);
  process.env.KAFKA_BROKERS ??= variables.KAFKA_BROKERS;
  const store = victoriaLogs(process.env.LOG_STORE_URL ?? variables.LOG_STORE_URL!);
  const topic = { ...topics.logs, name: uniqueName('bench-logs') };
  const { remove } = await createTopics([topic, { ...topic, name: `${topic.name}.dlq` }]);
  const kafka = testKafka('bench-logs');
  const only = setting('only');
  try {
    const cost = only === 'pipeline' ? undefined : await costOfPublishing();
    const pipeline = only === 'cost' ? undefined : await throughPipeline();
    writeReport('logs', { ...context(), rate, seconds, cost, pipeline });
  } finally {
    await kafka.close();
    await remove();
  }

  /** A process that logs to nowhere, and to the topic if it is to. */
  function aProcess(name: string, publisher?: LogPublisher) {
    return createLog({
      process: name,
      level: 'info',
      stream: new Writable({ write: (_chunk, _encoding, done) => done() }),
      ...(publisher === undefined ? {} : { publish: publisher.take }),
    });
  }

  function aPublisher(name: string, registry = createRegistry()) {
    return startLogPublisher({ topic: topic.name, process: name, registry, onDropped: () => undefined });
  }

  /** Processor time a line, with and without the publisher. */
  async function costOfPublishing() {
    const publisher = aPublisher('bench-cost');
    await publisher.connect(kafka);
    const sides = { without: aProcess('bench-cost'), with: aProcess('bench-cost', publisher) };
    const times: Record<keyof typeof sides, number[]> = { without: [], with: [] };
    for (let round = 0; round <= rounds; round++)
      for (const side of ['without', 'with'] as const) {
        const before = process.cpuUsage();
        const lines = await write(sides[side], Math.max(1_000, Math.floor((seconds * 1_000) / rounds / 2)));
        await publisher.flush(10_000);
        const { user, system } = process.cpuUsage(before);
        // The first round compiles what is hot.
        if (round > 0) times[side].push((user + system) / lines);
      }
    await publisher.close(5_000);
    const [without, withIt] = [median(times.without), median(times.with)];
    const round = (value: number) => Math.round(value * 100) / 100;
    return {
      microsecondsALine: { without: round(without), with: round(withIt) },
      ratio: round(withIt / without),
      shareOfCoreAtRate: round(((withIt - without) * rate) / 1e6),
    };
  }

  /** Writes lines at the rate; resolves to how many. */
  async function write(log: ReturnType<typeof aProcess>, forMs: number): Promise<number> {
    const untilMs = performance.now() + forMs;
    let lines = 0;
    await keepPace(
      async () => {
        log.info('an order was placed', {
          orderId: `order-${lines}`,
          amountMinor: 10_000,
          currency: 'KRW',
          lines,
        });
        lines += 1;
      },
      { rate, connections: 1, over: () => performance.now() >= untilMs || options.signal.aborted },
    );
    throwIfInterrupted(options.signal);
    return lines;
  }

  async function throughPipeline() {
    const name = uniqueName('bench-logs').replaceAll('.', '-');
    const registry = createRegistry();
    const publisher = aPublisher(name, registry);
    const consumer = await startLogStore(kafka, {
      group: { ...groups.logStore, id: uniqueName('bench-logs'), topics: [topic] },
      store,
      write: () => undefined,
      registry,
      log: silentLog(),
      onFatal: (error) => {
        throw error;
      },
    });
    await publisher.connect(kafka);
    const beganMs = performance.now();
    const before = process.cpuUsage();
    const lines = await write(aProcess(name, publisher), seconds * 1_000);
    const wroteMs = performance.now() - beganMs;
    await publisher.flush(30_000);
    const count = async (what: string) =>
      Number((await registry.getSingleMetric(what)!.get()).values.reduce((sum, { value }) => sum + value, 0));
    const dropped = await count('muster_log_lines_dropped_total');
    let stored = 0;
    let behindMs = 0;
    while (stored < lines - dropped && behindMs < 60_000 && !options.signal.aborted) {
      const [row] = await store.query(
        `{process=${JSON.stringify(name)}} | stats count_uniq(sequence) stored`,
      );
      stored = Number(row?.stored ?? 0);
      behindMs = performance.now() - beganMs - wroteMs;
      if (stored < lines - dropped) await sleep(100);
    }
    const { user, system } = process.cpuUsage(before);
    const [all] = await store.query(`{process=${JSON.stringify(name)}} | stats count() lines`);
    say(`${lines} lines in ${Math.round(wroteMs)} ms, ${stored} stored, ${dropped} dropped`);
    await publisher.close(1_000);
    await consumer.stop();
    return {
      linesASecond: Math.round((lines * 1_000) / wroteMs),
      lines,
      stored,
      dropped,
      lost: lines - stored - dropped,
      twice: Number(all?.lines ?? 0) - stored,
      lastFoundAfterMs: Math.round(behindMs),
      microsecondsALineBothEnds: Math.round((user + system) / lines),
    };
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
