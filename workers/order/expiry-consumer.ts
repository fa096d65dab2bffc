/** Ends orders whose time to be paid is over. */
import type { Kysely } from 'kysely';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { counter } from '../base/metrics.ts';
import { consume } from '../kafka/consume.ts';
import type { Started, WorkerDeps } from '../platform/worker.ts';
import { readOrderExpiryDue } from './events.ts';
import { expireOrders } from './expiry.ts';
import type { OrderTables } from './store.ts';

/** Timers, each of up to a hundred orders, whose orders share a statement: nearly all of those are paid, and stay as they are. */
const atOnce = 20;
/** Between two fetches of a partition, so that more timers come together. */
const pauseMs = 100;

export async function startExpiry(
  group: ConsumerGroup,
  {
    database,
    kafka,
    log,
    metrics: registry,
    fail,
  }: Pick<WorkerDeps, 'database' | 'kafka' | 'log' | 'metrics' | 'fail'>,
): Promise<Started> {
  const expired = counter(registry, metrics.order.expired);
  const consumer = await consume(kafka, {
    group,
    log,
    parse: readOrderExpiryDue,
    atOnce,
    pauseMs,
    async apply(records) {
      if (records.length === 0) return undefined;
      const db = (await database()) as Kysely<OrderTables>;
      const orderIds = records.flatMap(({ data }) => data.orderIds);
      expired.inc(await expireOrders(db, orderIds));
      return undefined;
    },
    onFatal: fail,
  });
  return { ready: consumer.ready, waitingFor: () => 'its partitions', stop: consumer.stop };
}
