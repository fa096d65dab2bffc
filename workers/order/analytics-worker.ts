/** Worker `order-analytics`: stores paid orders in the data platform's database. */
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { databaseSettings } from '../base/config.ts';
import { counter } from '../base/metrics.ts';
import type { Started, Worker } from '../platform/worker.ts';
import { storeSales } from './analytics.ts';
import { type DataPlatformOptions, startStore } from './data-platform.ts';
import { readOrderCompleted } from './events.ts';

export const worker: Worker<typeof databaseSettings> = {
  name: 'order-analytics',
  consumes: [groups.orderAnalytics],
  produces: [topics.orderCompletedDlq],
  config: databaseSettings,
  async start({ config: settings, kafka, log, metrics: registry, fail }) {
    return startAnalytics({ group: groups.orderAnalytics, kafka, log, registry, settings, fail });
  },
};

export function startAnalytics(options: DataPlatformOptions): Started {
  const events = counter(options.registry, {
    name: metrics.order.analyticsEvents,
    help: 'Paid orders that the data platform has stored, repeats included.',
  });
  return startStore(options, readOrderCompleted, async (db, orders) => {
    await storeSales(db, orders);
    events.inc(orders.length);
  });
}
