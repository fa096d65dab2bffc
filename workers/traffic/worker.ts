/** Worker `traffic`: makes a `dev` environment live. Never part of `prod`. */
import { Type } from 'typebox';
import { topics } from '../../catalog/topics.ts';
import type { Worker } from '../platform/worker.ts';
import { removeOldTrafficLogs, runTraffic, type TrafficProgress } from './run.ts';

const config = Type.Object({
  TRAFFIC_RATE: Type.Number({
    exclusiveMinimum: 0,
    maximum: 100_000,
    default: 20,
    description: 'messages a second, purchases and acts together',
  }),
  TRAFFIC_API_URL: Type.String({
    pattern: '^https?://[^\\s/]+$',
    default: 'http://api:8080',
    description: 'where POST /purchases is',
  }),
  TRAFFIC_TOKEN: Type.String({ minLength: 1, description: 'says to the API that a merchant calls' }),
  TRAFFIC_SEED: Type.Optional(Type.Integer({ description: 'the same seed gives the same messages' })),
  LOG_INBOX_DIRECTORY: Type.String({
    minLength: 1,
    default: '/var/log/muster/inbox',
    description: 'a share goes into log files here, when it is writable',
  }),
});

const reportEveryMs = 60_000;

export const worker: Worker<typeof config> = {
  name: 'traffic',
  consumes: [],
  produces: [topics.purchase, topics.promoBehavior],
  config,
  async start({ config, fail, kafka, log }) {
    const producer = await kafka.producer('traffic');
    const ending = new AbortController();
    await removeOldTrafficLogs(config.LOG_INBOX_DIRECTORY, Date.now());
    let toldAtMs = 0;
    let last: TrafficProgress | undefined;
    const done = runTraffic({
      apiUrl: config.TRAFFIC_API_URL,
      token: config.TRAFFIC_TOKEN,
      rate: config.TRAFFIC_RATE,
      seed: config.TRAFFIC_SEED ?? Date.now() % 2 ** 31,
      kafka: producer,
      logDirectory: config.LOG_INBOX_DIRECTORY,
      retryForMs: 10_000,
      signal: ending.signal,
      onProgress(progress) {
        if (progress.elapsedMs - toldAtMs < reportEveryMs) return;
        toldAtMs = progress.elapsedMs;
        last = progress;
        log.info('traffic', { ...progress });
      },
    });
    done.catch(fail);
    log.info('sends traffic', { rate: config.TRAFFIC_RATE, to: config.TRAFFIC_API_URL });
    return {
      ready: () => true,
      async stop() {
        ending.abort();
        const report = await done.catch(() => last);
        if (report !== undefined) {
          const { sent, acked, failed, unexpected } = report;
          log.info('traffic ends', { sent, acked, failed, unexpected });
        }
        await producer.close();
      },
    };
  },
};
