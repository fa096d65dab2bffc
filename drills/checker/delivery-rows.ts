/** What the stores say of orders of dishes, of who is told of them, and of riders. */
import type { DatabaseName } from '../../catalog/tables.ts';
import type { DeliveryRows } from './delivery.ts';
import { type Ask, uuid } from './saga-rows.ts';

/**
 * @param schemaOf of a database of ours
 * @param of the dishes and districts that are asked for; nobody else has them
 */
export async function deliveryRows(
  ask: Ask,
  schemaOf: (name: DatabaseName) => string,
  of: { readonly itemIds: readonly string[]; readonly districts: readonly string[] },
): Promise<DeliveryRows> {
  const own = schemaOf('delivery');
  const ids = of.itemIds.map((id) => Buffer.from(id.replaceAll('-', ''), 'hex'));
  const dishes = await ask<{ itemId: string; stock: number }>(
    `SELECT HEX(item_id) AS itemId, stock FROM ${own}.delivery_item WHERE item_id IN (?)`,
    [ids],
  );
  type Order = DeliveryRows['orders'][number];
  const orders = await ask<Omit<Order, 'hasPhoto'> & { photos: number }>(
    `SELECT HEX(order_id) AS id, customer, owner, HEX(item_id) AS itemId, quantity, paid_minor AS paidMinor,
       refunded_minor AS refundedMinor, district, state, version,
       (SELECT COUNT(*) FROM ${own}.delivery_photo p
        WHERE p.photo_id = o.photo_id AND p.order_id = o.order_id AND p.stored_at IS NOT NULL) AS photos
     FROM ${own}.delivery_order o WHERE item_id IN (?)`,
    [ids],
  );
  const theirs = `order_id IN (SELECT order_id FROM ${own}.delivery_order WHERE item_id IN (?))`;
  type Change = DeliveryRows['changes'][number];
  const changes = await ask<Omit<Change, 'atMs'> & { at: string }>(
    `SELECT HEX(order_id) AS orderId, version, step, state, changed_at AS at
     FROM ${own}.delivery_change WHERE ${theirs} ORDER BY order_id, version`,
    [ids],
  );
  const notifications = await ask<DeliveryRows['notifications'][number]>(
    `SELECT HEX(order_id) AS orderId, version, role, person, state
     FROM ${own}.delivery_notification WHERE ${theirs} ORDER BY no`,
    [ids],
  );
  const riders = await ask<DeliveryRows['riders'][number]>(
    `SELECT rider, district, state FROM ${own}.delivery_rider WHERE district IN (?)`,
    [of.districts],
  );
  return {
    stock: new Map(dishes.map(({ itemId, stock }) => [uuid(itemId), stock])),
    orders: orders.map(({ photos, ...row }) => ({
      ...row,
      ...{ id: uuid(row.id), itemId: uuid(row.itemId), hasPhoto: Number(photos) === 1 },
    })),
    changes: changes.map(({ at, ...row }) => ({
      ...row,
      orderId: uuid(row.orderId),
      atMs: Date.parse(`${at.replace(' ', 'T')}Z`),
    })),
    notifications: notifications.map((row) => ({ ...row, orderId: uuid(row.orderId) })),
    riders,
  };
}
