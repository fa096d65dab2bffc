/** Worker `traffic`: makes a `dev` environment live. Never part of `prod`. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Static, Type } from 'typebox';
import { topics } from '../../catalog/topics.ts';
import type { Logger } from '../base/log.ts';
import type { Worker } from '../platform/worker.ts';
import { type DeliveryOptions, runDelivery } from './delivery.ts';
import { openPay, type PayOptions, trafficBanks } from './pay.ts';
import { removeOldTrafficLogs, runTraffic, type TrafficProgress } from './run.ts';

const token = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));
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
  TRAFFIC_STAFF_TOKEN: token('says to my-pay that its staff calls'),
  TRAFFIC_DELIVERY_RATE: Type.Number({
    exclusiveMinimum: 0,
    maximum: 100,
    default: 0.2,
    description: 'orders of dishes a second',
  }),
  TRAFFIC_DELIVERY_URL: Type.Optional(url('where food delivery is; unset: nobody orders there')),
  TRAFFIC_CUSTOMER_TOKEN: token('of the customer who orders dishes'),
  TRAFFIC_OWNER_TOKEN: token('of the owner who cooks them'),
  TRAFFIC_RIDER_TOKEN: token('of the rider who brings them'),
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

/** Lets one customer, one owner and one rider live until the signal. While food delivery does not answer they wait for it. */
async function liveDelivery(options: DeliveryOptions, rate: number, log: Logger): Promise<void> {
  const { signal } = options;
  while (signal?.aborted !== true) {
    try {
      const ends: Record<string, number> = {};
      await runDelivery(options, {
        rate,
        onOrdered({ outcome, end }) {
          const what = end ?? outcome;
          ends[what] = (ends[what] ?? 0) + 1;
        },
      });
      log.info('traffic of food delivery ends', ends);
    } catch (error) {
      log.warn('food delivery takes no traffic yet', { error: (error as Error).message });
      await sleep(tryAgainMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** The people of food delivery, as their tokens say; undefined: the environment has none. */
function deliveryOf(settings: Static<typeof config>): Omit<DeliveryOptions, 'signal' | 'seed'> | undefined {
  const { TRAFFIC_DELIVERY_URL: deliveryUrl } = settings;
  const {
    TRAFFIC_CUSTOMER_TOKEN: customer,
    TRAFFIC_OWNER_TOKEN: owner,
    TRAFFIC_RIDER_TOKEN: rider,
  } = settings;
  if (deliveryUrl === undefined || customer === undefined || owner === undefined || rider === undefined)
    return undefined;
  return {
    ...{ deliveryUrl, prefix: 'traffic', district: 'traffic', retryForMs: 10_000 },
    count: { customers: 1, owners: 1, riders: 1 },
    tokenOf: async (role) => ({ customer, owner, rider })[role],
  };
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
    const people = deliveryOf(config);
    const delivery =
      people === undefined
        ? undefined
        : liveDelivery(
            { ...people, seed: config.TRAFFIC_SEED ?? Date.now() % 2 ** 31, signal: ending.signal },
            config.TRAFFIC_DELIVERY_RATE,
            log,
          );
    log.info('sends traffic', { rate: config.TRAFFIC_RATE, to: config.TRAFFIC_API_URL });
    return {
      ready: () => true,
      async stop() {
        ending.abort();
        await Promise.all([pay, delivery]);
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
