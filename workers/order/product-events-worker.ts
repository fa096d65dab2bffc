/** Worker `product-events`: keeps the data platform's products as their newest events say. */
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { databaseSettings } from '../base/config.ts';
import { counter } from '../base/metrics.ts';
import type { Started, Worker } from '../platform/worker.ts';
import { storeProducts } from './analytics.ts';
import { type DataPlatformOptions, startStore } from './data-platform.ts';
import { readProductEvent } from './events.ts';

export const worker: Worker<typeof databaseSettings> = {
  name: 'product-events',
  consumes: [groups.productEvents],
  produces: [topics.productEventsDlq],
  config: databaseSettings,
  async start({ config: settings, kafka, log, metrics: registry, fail }) {
    return startProductEvents({ group: groups.productEvents, kafka, log, registry, settings, fail });
  },
};

export function startProductEvents(options: DataPlatformOptions): Started {
  const events = counter(options.registry, {
    name: metrics.order.productEvents,
    help: 'Events of products that the data platform has stored, by kind, repeats included.',
    labelNames: ['kind'],
  });
  return startStore(options, readProductEvent, async (db, changes) => {
    await storeProducts(db, changes);
    for (const { kind } of changes) events.inc({ kind });
  });
}
