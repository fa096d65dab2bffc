/** The consumers of the data platform, into a database of its own. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import type { Registry } from 'prom-client';
import type { Logger } from 'winston';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import type { DatabaseSettings } from '../base/config.ts';
import { counter } from '../base/metrics.ts';
import { consume, type RecordConsumer } from '../kafka/consume.ts';
import type { IncomingRecord, Kafka } from '../kafka/kafka.ts';
import type { Started } from '../platform/worker.ts';
import { openDatabase } from '../store/database.ts';
import {
  type AnalyticsTables,
  analyticsSettings,
  prepareAnalytics,
  storeProducts,
  storeSales,
} from './analytics.ts';
import { readOrderCompleted, readProductEvent } from './events.ts';

export interface DataPlatformOptions {
  readonly group: ConsumerGroup;
  readonly kafka: Kafka;
  readonly log: Logger;
  readonly registry: Registry;
  /** Of the shop's database; the data platform's lies beside it. */
  readonly settings: DatabaseSettings;
  fail(error: Error): void;
}

/**
 * Stores what the group's topic brings until stopped. The database is made ready in the background: a process whose other workers need none starts without it.
 */
function startStore<T>(
  { group, kafka, log, settings, fail }: DataPlatformOptions,
  parse: (record: IncomingRecord) => T,
  store: (db: Kysely<AnalyticsTables>, events: readonly T[]) => Promise<void>,
): Started {
  // Few connections of its own: the shop's work never waits behind the data platform's.
  const db = openDatabase<AnalyticsTables>({ settings: analyticsSettings(settings), connections: 3 });
  const stopping = new AbortController();
  let consumer: RecordConsumer | undefined;

  async function begin(): Promise<void> {
    for (let failures = 0; !stopping.signal.aborted; failures++) {
      try {
        await prepareAnalytics(settings, (line) => log.info(line));
        break;
      } catch (error) {
        if (failures % 20 === 0)
          log.warn('the data platform’s database cannot be made ready: waiting', { error });
        await sleep(Math.min(5_000, 200 * 2 ** failures), undefined, { signal: stopping.signal }).catch(
          () => {},
        );
      }
    }
    if (stopping.signal.aborted) return;
    consumer = await consume<T>(kafka, {
      group,
      log,
      parse,
      async apply(records) {
        const events = records.map(({ data }) => data);
        if (events.length > 0) await store(db, events);
        return undefined;
      },
      onFatal: fail,
    });
  }
  const begun = begin().catch(fail);

  return {
    ready: () => consumer?.ready() ?? false,
    waitingFor: () => (consumer === undefined ? 'the data platform’s database' : 'its partitions'),
    async stop() {
      stopping.abort();
      await begun;
      await consumer?.stop();
      await db.destroy();
    },
  };
}

/** Stores paid orders. */
export function startAnalytics(options: DataPlatformOptions): Started {
  const events = counter(options.registry, metrics.order.analyticsEvents);
  return startStore(options, readOrderCompleted, async (db, orders) => {
    await storeSales(db, orders);
    events.inc(orders.length);
  });
}

/** Keeps the products as their newest events say. */
export function startProductEvents(options: DataPlatformOptions): Started {
  const events = counter(options.registry, metrics.order.productEvents);
  return startStore(options, readProductEvent, async (db, changes) => {
    await storeProducts(db, changes);
    for (const { kind } of changes) events.inc({ kind });
  });
}
