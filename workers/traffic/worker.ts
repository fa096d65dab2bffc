/** Worker `traffic`: makes a `dev` environment live. Never part of `prod`. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Type } from 'typebox';
import { topics } from '../../catalog/topics.ts';
import type { Logger } from '../base/log.ts';
import type { Worker } from '../platform/worker.ts';
import { openPay, type PayOptions, trafficBanks } from './pay.ts';
import { removeOldTrafficLogs, runTraffic, type TrafficProgress } from './run.ts';

const url = (description: string) => Type.String({ pattern: '^https?://[^\\s/]+$', description });

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
  TRAFFIC_PAY_RATE: Type.Number({
    exclusiveMinimum: 0,
    maximum: 1_000,
    default: 0.5,
    description: 'what members of my-pay ask for, a second',
  }),
  TRAFFIC_PAY_URL: Type.Optional(url('where my-pay is; unset: nobody asks for anything there')),
  TRAFFIC_BANKS_URL: Type.Optional(url('where the banks outside are, for my-pay')),
  TRAFFIC_STAFF_TOKEN: Type.Optional(
    Type.String({ minLength: 1, description: 'says to my-pay that its staff calls' }),
  ),
  TRAFFIC_TOKEN: Type.String({ minLength: 1, description: 'says to the API that a merchant calls' }),
  TRAFFIC_SEED: Type.Optional(Type.Integer({ description: 'the same seed gives the same messages' })),
  LOG_INBOX_DIRECTORY: Type.String({
    minLength: 1,
    default: '/var/log/muster/inbox',
    description: 'a share goes into log files here, when it is writable',
  }),
});

const reportEveryMs = 60_000;
const tryAgainMs = 10_000;

/** Lets members of my-pay live until the signal. While it does not answer they wait for it; the others go on. */
async function livePay(options: PayOptions, rate: number, log: Logger): Promise<void> {
  const { signal } = options;
  while (signal?.aborted !== true) {
    try {
      // New people: the others have forgotten their passwords.
      const world = await openPay({ ...options, prefix: `traffic-${randomUUID().slice(0, 8)}` });
      const counts = { DONE: 0, FAILED: 0, other: 0 };
      await world
        .run({
          rate,
          misbehave: false,
          onAsked({ end }) {
            counts[end ?? 'other'] += 1;
          },
        })
        .finally(world.close);
      log.info('traffic of my-pay ends', counts);
    } catch (error) {
      log.warn('my-pay takes no traffic yet', { error: (error as Error).message });
      await sleep(tryAgainMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

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
    const { TRAFFIC_PAY_URL: payUrl, TRAFFIC_BANKS_URL: outsideUrl, TRAFFIC_STAFF_TOKEN: token } = config;
    const pay =
      payUrl === undefined || outsideUrl === undefined || token === undefined
        ? undefined
        : livePay(
            {
              payUrl,
              outsideUrl,
              token,
              prefix: '',
              banks: trafficBanks,
              seed: config.TRAFFIC_SEED ?? Date.now() % 2 ** 31,
              retryForMs: 10_000,
              signal: ending.signal,
            },
            config.TRAFFIC_PAY_RATE,
            log,
          );
    log.info('sends traffic', { rate: config.TRAFFIC_RATE, to: config.TRAFFIC_API_URL });
    return {
      ready: () => true,
      async stop() {
        ending.abort();
        await pay;
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
