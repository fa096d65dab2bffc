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
    async apply(records) {
      const db = (await database()) as Kysely<OrderTables>;
      for (const { data } of records) expired.inc(await expireOrders(db, data.orderIds));
      return undefined;
    },
    onFatal: fail,
  });
  return { ready: consumer.ready, waitingFor: () => 'its partitions', stop: consumer.stop };
}
