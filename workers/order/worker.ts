/**
 * The workers of orders: `order-api` (products, orders and payments, the ranking and the data platform's answers over
 * HTTP), `order-expiry` (ends orders whose time to be paid is over), `order-ranking` (adds what was sold to the ranking), `order-analytics` and `product-events` (fill the data
 * platform's database).
 */
import type { Kysely } from 'kysely';
import { Type } from 'typebox';
import { orderPayWithinSeconds } from '../../catalog/contract.ts';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { databaseSettings } from '../base/config.ts';
import type { Worker } from '../platform/worker.ts';
import { databaseOf, openDatabase } from '../store/database.ts';
import type { AnalyticsTables } from './analytics.ts';
import { startAnalytics, startProductEvents } from './data-platform.ts';
import { startExpiry } from './expiry-consumer.ts';
import { registerFiguresRoutes } from './figures-routes.ts';
import { startRanking } from './ranking-consumer.ts';
import { registerOrderRoutes } from './routes.ts';
import { salesHistory } from './sales-history.ts';
import type { OrderTables } from './store.ts';

const apiConfig = Type.Object({
  ...databaseSettings.properties,
  ORDER_PAY_WITHIN_S: Type.Integer({
    minimum: 1,
    maximum: 31_536_000,
    default: orderPayWithinSeconds,
    description: 'seconds that an order waits for its payment; then it expires',
  }),
});

export const api: Worker<typeof apiConfig> = {
  name: 'order-api',
  consumes: [],
  reads: [topics.orderCompleted],
  produces: [
    topics.orderCompleted,
    topics.orderConfirmed,
    topics.externalEvents,
    topics.productEvents,
    topics.orderExpiry,
  ],
  config: apiConfig,
  async start({ config: settings, database, redis, kafka, http, metrics: registry, secrets, relayOutbox }) {
    const analytics = openDatabase<AnalyticsTables>({
      settings: databaseOf(settings, 'analytics'),
      connections: 3,
    });
    registerOrderRoutes(http, {
      database: async () => (await database()) as Kysely<OrderTables>,
      payWithinMs: settings.ORDER_PAY_WITHIN_S * 1_000,
      pseudonymKey: secrets.pseudonymKey,
      registry,
    });
    registerFiguresRoutes(http, { redis, kafka, analytics });
    await relayOutbox();
    return {
      ready: () => true,
      stop: () => analytics.destroy(),
    };
  },
};

export const ranking: Worker<typeof databaseSettings> = {
  name: 'order-ranking',
  consumes: [groups.orderRanking],
  produces: [topics.orderCompletedDlq],
  config: databaseSettings,
  async start({ config: settings, kafka, redis, log, metrics: registry, fail }) {
    const group = groups.orderRanking;
    // Connects only when the ranking must be restored.
    const analytics = openDatabase<AnalyticsTables>({
      settings: databaseOf(settings, 'analytics'),
      connections: 1,
      queryTimeoutMs: 120_000,
    });
    const history = salesHistory(kafka, group.topics[0]!.name, groups.orderAnalytics, analytics);
    const ranking = await startRanking({ group, kafka, redis, history, log, registry, fail });
    return {
      ...ranking,
      async stop() {
        await ranking.stop();
        await analytics.destroy();
      },
    };
  },
};

export const analytics: Worker<typeof databaseSettings> = {
  name: 'order-analytics',
  consumes: [groups.orderAnalytics],
  produces: [topics.orderCompletedDlq],
  config: databaseSettings,
  async start({ config: settings, kafka, log, metrics: registry, fail }) {
    return startAnalytics({ group: groups.orderAnalytics, kafka, log, registry, settings, fail });
  },
};

export const productEvents: Worker<typeof databaseSettings> = {
  name: 'product-events',
  consumes: [groups.productEvents],
  produces: [topics.productEventsDlq],
  config: databaseSettings,
  async start({ config: settings, kafka, log, metrics: registry, fail }) {
    return startProductEvents({ group: groups.productEvents, kafka, log, registry, settings, fail });
  },
};

export const expiry: Worker = {
  name: 'order-expiry',
  consumes: [groups.orderExpiry],
  produces: [topics.orderExpiryDlq],
  config: Type.Object({}),
  start: (deps) => startExpiry(groups.orderExpiry, deps),
};
