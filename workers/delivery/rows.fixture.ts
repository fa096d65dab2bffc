/** Rows of orders as a database answers them. */
import { bytesOfUuid, uuidV7 } from '../base/ids.ts';
import type { State } from './machine.ts';

const placedAt = new Date(Date.UTC(2026, 10, 29, 11));

/** An order that was just placed, but for what is given. */
export function orderRow<More extends { readonly state: State }>(more: More) {
  const id = () => bytesOfUuid(uuidV7(placedAt.getTime()));
  return {
    ...{ order_id: id(), shop_id: id(), item_id: id(), customer: 'u_customer', owner: 'u_owner' },
    ...{ rider: null, item_name: 'Udon', quantity: 1, paid_minor: 9_000, refunded_minor: 0, currency: 'KRW' },
    ...{ district: 'mapo', version: 1, assigned_at: null, delivered_at: null, due_at: null, wanted: null },
    ...{ complaint: null, photo_id: null, rejection: null, changed_at: placedAt },
    ...more,
  };
}
