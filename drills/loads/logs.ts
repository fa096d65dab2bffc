/** A process that logs at a rate, on its own topic of the environment: what a storm of lines is to the platform. */
import { Writable } from 'node:stream';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { createLog, silentLog } from '../../workers/base/log.ts';
import { emptyRegistry } from '../../workers/base/metrics.ts';
import { connectKafka } from '../../workers/kafka/kafkajs.ts';
import { startLogPublisher } from '../../workers/platform/log-publisher.ts';
import { keepPace } from '../../workers/traffic/pace.ts';
import { followProgress, type Part } from './load.ts';

export interface LogRates {
  /** Lines a second. */
  readonly rate: number;
}

export const logs: Part<LogRates> = {
  groups: [groups.logStore],
  async start({ rate }, { variables, run, person, loadMs, retryForMs, signal }) {
    const process = `${run}-logs`.toLowerCase().replaceAll(/[^a-z0-9-]/g, '-');
    const registry = emptyRegistry();
    const progress = followProgress('log lines published');
    const brokers = variables.KAFKA_BROKERS!.split(',');
    const kafka = connectKafka({ brokers, clientId: process, log: silentLog() });
    const publisher = startLogPublisher({
      topic: topics.logs.name,
      process,
      registry,
      onDropped: () => undefined,
    });
    await publisher.connect(kafka);
    const log = createLog({
      process,
      level: 'info',
      stream: new Writable({ write: (_chunk, _encoding, next) => next() }),
      publish: publisher.take,
    });
    const sum = async (name: string) =>
      (await registry.getSingleMetric(name)!.get()).values.reduce((so, { value }) => so + value, 0);
    let written = 0;
    const timer = setInterval(async () => progress.at(await sum('muster_log_lines_published_total')), 1_000);
    const untilMs = performance.now() + loadMs;
    const done = (async () => {
      await keepPace(
        async () => {
          written += 1;
          // The name of a person, where people put it: it must not come out at the other end.
          log.info('something happened', { written, userId: `${person}-${written % 100}` });
        },
        { rate, connections: 1, over: () => performance.now() >= untilMs || signal.aborted },
      );
      await publisher.close(retryForMs);
      clearInterval(timer);
      await kafka.close();
      const dropped = await sum('muster_log_lines_dropped_total');
      return { sent: written, failed: 0, failedTries: 0, dropped };
    })();
    return {
      progress,
      done,
      told: async () => ({ logs: { process, written, dropped: (await done).dropped } }),
    };
  },
};
