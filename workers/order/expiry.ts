/** Orders that nobody paid in time: what their timer says, and what becomes of them. */
import { type Kysely, sql } from 'kysely';
import type { OrderExpiryDue } from '../../catalog/events/order.ts';
import { topics } from '../../catalog/topics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import { transaction } from '../store/database.ts';
import type { OrderTables } from './store.ts';

/** One record for all orders that were placed together: their time comes at the same moment. */
export function expiryRecord(orderIds: readonly string[], placedAtMs: number): OutgoingRecord {
  const { name, event } = topics.orderExpiry;
  return eventRecord({
    topic: name,
    key: null,
    type: event.type,
    source: '/muster/order',
    id: `${orderIds[0]}-expiry`,
    timeMs: placedAtMs,
    data: { orderIds: [...orderIds] } satisfies OrderExpiryDue,
  });
}

/**
 * Those of the orders that are still PENDING are EXPIRED from now on; the others stay what they are, so that it may be told
 * again. A payment at the same time has the row's lock before or after: it pays, or finds the order expired. Resolves to
 * how many expired.
 */
export async function expireOrders(db: Kysely<OrderTables>, orderIds: readonly string[]): Promise<number> {
  const { numAffectedRows } = await transaction(db, (trx) =>
    sql`
      UPDATE shop_order SET status = 'EXPIRED', settled_at = UTC_TIMESTAMP(3)
      WHERE order_id IN (${sql.join(orderIds)}) AND status = 'PENDING'`.execute(trx),
  );
  return Number(numAffectedRows ?? 0n);
}
