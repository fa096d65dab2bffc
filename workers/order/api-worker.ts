/** Worker `order-api`: products, orders and payments, the ranking and the data platform's answers over HTTP. */
import type { Kysely } from 'kysely';
import { Type } from 'typebox';
import { orderPayWithinSeconds } from '../../catalog/contract.ts';
import { topics } from '../../catalog/topics.ts';
import { databaseSettings } from '../base/config.ts';
import type { Worker } from '../platform/worker.ts';
import { openDatabase } from '../store/database.ts';
import { type AnalyticsTables, analyticsSettings } from './analytics.ts';
import { registerFiguresRoutes } from './figures-routes.ts';
import { registerOrderRoutes } from './routes.ts';
import type { OrderTables } from './store.ts';

const config = Type.Object({
  ...databaseSettings.properties,
  ORDER_PAY_WITHIN_S: Type.Integer({
    minimum: 1,
    maximum: 31_536_000,
    default: orderPayWithinSeconds,
    description: 'seconds that an order waits for its payment; then it expires',
  }),
});

export const worker: Worker<typeof config> = {
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
  config,
  async start({ config: settings, database, redis, kafka, http, metrics: registry, secrets, relayOutbox }) {
    const analytics = openDatabase<AnalyticsTables>({
      settings: analyticsSettings(settings),
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
