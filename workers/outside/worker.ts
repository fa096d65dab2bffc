/** The workers of outside events: `outside-api` (the event log over HTTP) and `outside-events` (tells systems outside by webhook). */

import type { Kysely } from 'kysely';
import type { Registry } from 'prom-client';
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { metrics as names } from '../../catalog/metrics.ts';
import { urlOf } from '../base/config.ts';
import type { Logger } from '../base/log.ts';
import { gauge } from '../base/metrics.ts';
import type { Worker } from '../platform/worker.ts';
import { countTroubles } from '../store/event-log.ts';
import { deliverEvents } from './delivery-consumer.ts';
import { registerEventRoutes } from './routes.ts';

export const api: Worker = {
  name: 'outside-api',
  consumes: [],
  produces: [],
  config: Type.Object({}),
  async start({ http, database }) {
    registerEventRoutes(http, database);
    return { ready: () => true, async stop() {} };
  },
};

const eventsConfig = Type.Object({
  OUTSIDE_WEBHOOK_URL: urlOf('the receiver of webhooks'),
  OUTSIDE_WEBHOOK_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 60_000,
    default: 5_000,
    description: 'longest wait for the answer to a webhook',
  }),
});

const countEveryMs = 5_000;

export const events: Worker<typeof eventsConfig> = {
  name: 'outside-events',
  consumes: [groups.outsideEvents],
  produces: [],
  config: eventsConfig,
  async start({ config, database, fail, kafka, log, metrics }) {
    const db = await database();
    const consumer = await deliverEvents({
      kafka,
      db,
      log,
      registry: metrics,
      group: groups.outsideEvents,
      webhook: { baseUrl: config.OUTSIDE_WEBHOOK_URL, timeoutMs: config.OUTSIDE_WEBHOOK_TIMEOUT_MS },
      onFatal: fail,
    });
    const counting = countTroublesInto(metrics, db, log);
    log.info('delivers webhooks', { to: config.OUTSIDE_WEBHOOK_URL });
    return {
      ready: () => consumer.ready(),
      waitingFor: () => 'its partitions',
      async stop() {
        counting.stop();
        await consumer.stop();
      },
    };
  },
};

/** Keeps the gauges of what people should know of up to date, from the log itself: they survive a restart. */
function countTroublesInto(registry: Registry, db: Kysely<unknown>, log: Logger): { stop(): void } {
  const deadLettered = gauge(registry, names.outside.deadLettered);
  const inDoubt = gauge(registry, names.outside.inDoubt);
  const count = async () => {
    try {
      const troubles = await countTroubles(db);
      deadLettered.set(troubles.deadLettered);
      inDoubt.set(troubles.inDoubt);
    } catch (error) {
      log.debug('the event log could not be counted', { error });
    }
  };
  void count();
  const timer = setInterval(count, countEveryMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
