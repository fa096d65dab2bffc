/** The consumers of the data platform, into a database of its own. */
import type { Kysely } from 'kysely';
import type { Registry } from 'prom-client';
import type { Logger } from 'winston';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import type { DatabaseSettings } from '../base/config.ts';
import { counter } from '../base/metrics.ts';
import { consume } from '../kafka/consume.ts';
import type { IncomingRecord, Kafka } from '../kafka/kafka.ts';
import type { Started } from '../platform/worker.ts';
import { databaseOf, openDatabase } from '../store/database.ts';
import { type AnalyticsTables, storeProducts, storeSales } from './analytics.ts';
import { readOrderCompleted, readProductEvent } from './events.ts';

/** Between two fetches of a partition: nobody waits for these rows, and under load one transaction stores more of them. */
const pauseMs = 100;

export interface DataPlatformOptions {
  readonly group: ConsumerGroup;
  readonly kafka: Kafka;
  readonly log: Logger;
  readonly registry: Registry;
  /** Of the shop's database; the data platform's lies beside it. */
  readonly settings: DatabaseSettings;
  fail(error: Error): void;
}

/** Stores what the group's topic brings until stopped; while the database is away its partitions are held. */
async function startStore<T>(
  { group, kafka, log, settings, fail }: DataPlatformOptions,
  parse: (record: IncomingRecord) => T,
  store: (db: Kysely<AnalyticsTables>, events: readonly T[]) => Promise<void>,
): Promise<Started> {
  // Few connections of its own: the shop's work never waits behind the data platform's.
  const db = openDatabase<AnalyticsTables>({ settings: databaseOf(settings, 'analytics'), connections: 3 });
  const consumer = await consume<T>(kafka, {
    group,
    log,
    parse,
    pauseMs,
    async apply(records) {
      const events = records.map(({ data }) => data);
      if (events.length > 0) await store(db, events);
      return undefined;
    },
    onFatal: fail,
  });
  return {
    ready: consumer.ready,
    waitingFor: () => 'its partitions',
    async stop() {
      await consumer.stop();
      await db.destroy();
    },
  };
}

/** Stores paid orders. */
export function startAnalytics(options: DataPlatformOptions): Promise<Started> {
  const events = counter(options.registry, metrics.order.analyticsEvents);
  return startStore(options, readOrderCompleted, async (db, orders) => {
    await storeSales(db, orders);
    events.inc(orders.length);
  });
}

/** Keeps the products as their newest events say. */
export function startProductEvents(options: DataPlatformOptions): Promise<Started> {
  const events = counter(options.registry, metrics.order.productEvents);
  return startStore(options, readProductEvent, async (db, changes) => {
    await storeProducts(db, changes);
    for (const { kind } of changes) events.inc({ kind });
  });
}
