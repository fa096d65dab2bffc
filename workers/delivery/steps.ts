/**
 * Rows of delivery orders, and steps of them within a transaction: orders are locked, steps decided one after the other, and what all
 * of them have left is written, a statement a table.
 */
import { type Kysely, sql, type Transaction } from 'kysely';
import { bytesOfUuid, bytesOrNull, uuidOfBytes } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { appendOutbox } from '../store/outbox.ts';
import { orderRecord } from './events.ts';
import {
  type Asked,
  type Asker,
  decide,
  type Order,
  type Row,
  type State,
  unknownOrder,
  type Wanted,
} from './machine.ts';
import { cases, changeStock } from './shops.ts';

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

/** A step that is asked of an order. */
export interface Ask {
  readonly orderId: string;
  readonly by: Asker;
  readonly asked: Asked;
  /** When it was asked for, UTC by the database's clock. */
  readonly atMs: number;
  /** Of who asks. */
  readonly traceparent?: string | undefined;
}
/** A step that was taken, and the order as it left it. */
export interface Taken extends Pick<Ask, 'traceparent'> {
  readonly ok: true;
  readonly row: Pick<Row, 'givesBack' | 'rider' | 'tells'> & { readonly step: string };
  readonly order: Order;
}

const unknownPhoto = refuse(422, 'MUSTER_PHOTO_UNKNOWN', 'the request is not valid', [
  { field: 'photoId', reason: 'is no photo of this order' },
]);

/**
 * Takes steps of orders that the caller has locked, one after the other: each is decided on what those before it have left. An order
 * that is not among them is unknown.
 */
export async function take(
  trx: Trx,
  locked: ReadonlyMap<string, Order>,
  asks: readonly Ask[],
): Promise<readonly (Taken | Refused)[]> {
  const orders = new Map(locked);
  const outcomes: (Taken | Refused)[] = [];
  for (const { orderId, by, asked, atMs, traceparent } of asks) {
    const order = orders.get(orderId);
    const decided = order === undefined ? unknownOrder : decide(order, by, asked, atMs);
    if (!decided.ok) outcomes.push(decided);
    else if (asked.step === 'requestRefund' && (await photoOf(trx, orderId, asked.photoId)) !== 'STORED')
      outcomes.push(unknownPhoto);
    else {
      orders.set(orderId, decided.next);
      outcomes.push({ ok: true, row: decided.row, order: decided.next, traceparent });
    }
  }
  await write(
    trx,
    outcomes.filter((outcome) => outcome.ok),
  );
  return outcomes;
}

/** Writes orders as the last of their steps has left them, and of each step the change, what goes with it, and its event. */
export async function write(trx: Trx, taken: readonly Taken[]): Promise<void> {
  if (taken.length === 0) return;
  await saveOrders(trx, [...new Map(taken.map(({ order }) => [order.orderId, order])).values()]);
  const changes = taken.map(({ row: { step }, order: { orderId, version, state, changedAtMs } }) => {
    return sql`(${bytesOfUuid(orderId)}, ${version}, ${step}, ${state}, ${new Date(changedAtMs)})`;
  });
  // A version is there once: of two that would make the same one only one can.
  await sql`
    INSERT INTO delivery_change (order_id, version, step, state, changed_at) VALUES ${sql.join(changes)}`.execute(
    trx,
  );
  await moveRiders(trx, taken);
  await changeStock(
    trx,
    taken
      .filter(({ row }) => row.givesBack)
      .map(({ order: { itemId, quantity } }) => ({ itemId, by: quantity })),
  );
  await appendOutbox(
    trx,
    taken.map(({ row, order, traceparent }) => orderRecord(order, row.tells, traceparent)),
  );
}

/** What a step may change of an order. */
const changing = [
  ...['rider', 'refunded_minor', 'state', 'version', 'assigned_at', 'delivered_at', 'due_at', 'wanted'],
  ...['complaint', 'photo_id', 'rejection', 'changed_at'],
];
const changed = sql.raw(changing.map((column) => `${column} = VALUES(${column})`).join(', '));

/** Orders that are new, or locked. */
async function saveOrders(trx: Trx, orders: readonly Order[]): Promise<void> {
  const rows = orders.map(
    (order) => sql`(
      ${bytesOfUuid(order.orderId)}, ${order.customer}, ${order.owner}, ${bytesOfUuid(order.shopId)},
      ${bytesOfUuid(order.itemId)}, ${order.quantity}, ${order.paidMinor}, ${order.currency}, ${order.district},
      ${order.rider ?? null}, ${order.refundedMinor}, ${order.state}, ${order.version}, ${dateOr(order.assignedAtMs)},
      ${dateOr(order.deliveredAtMs)}, ${dateOr(order.dueAtMs)}, ${order.wanted ?? null}, ${order.complaint ?? null},
      ${bytesOrNull(order.photoId)}, ${order.rejection ?? null}, ${new Date(order.changedAtMs)})`,
  );
  await sql`
    INSERT INTO delivery_order (order_id, customer, owner, shop_id, item_id, quantity, paid_minor, currency, district,
      ${sql.raw(changing.join(', '))})
    VALUES ${sql.join(rows)} ON DUPLICATE KEY UPDATE ${changed}`.execute(trx);
}

async function moveRiders(trx: Trx, taken: readonly Taken[]): Promise<void> {
  const moved = taken
    .filter(({ row }) => row.rider !== undefined)
    .map(({ row, order }) => {
      const [id, takes] = [bytesOfUuid(order.orderId), row.rider === 'takes'];
      const state = takes ? 'BUSY' : 'FREE';
      return {
        rider: order.rider,
        state,
        at: new Date(order.changedAtMs),
        had: takes ? null : id,
        has: takes ? id : null,
      };
    });
  if (moved.length === 0) return;
  const by = (what: 'state' | 'at' | 'has') =>
    cases(
      'rider',
      moved.map((one) => [one.rider, one[what]]),
    );
  const each = moved.map(({ rider, had }) => sql`(rider = ${rider} AND order_id <=> ${had})`);
  // By their names alone: who is free is no business of others.
  const { numAffectedRows } = await sql`
    UPDATE delivery_rider FORCE INDEX (PRIMARY) SET state = ${by('state')}, changed_at = ${by('at')}, order_id = ${by('has')}
    WHERE ${sql.join(each, sql` OR `)}`.execute(trx);
  if (Number(numAffectedRows) !== moved.length)
    throw new Error('a rider has changed under the lock of his order');
}

const dateOr = (ms: number | undefined) => (ms === undefined ? null : new Date(ms));

/** Whether a photo is an order's, and has its file. */
export async function photoOf(
  db: Db | Trx,
  orderId: string,
  photoId: string,
): Promise<'COMING' | 'STORED' | undefined> {
  const { rows } = await sql<{ state: 'COMING' | 'STORED' }>`
    SELECT IF(stored_at IS NULL, 'COMING', 'STORED') AS state FROM delivery_photo
    WHERE photo_id = ${bytesOfUuid(photoId)} AND order_id = ${bytesOfUuid(orderId)}`.execute(db);
  return rows[0]?.state;
}

/** Those that there are, locked in the order of their ids: two transactions do not wait in a circle. */
export async function lockOrders(
  trx: Trx,
  of: readonly { readonly orderId: string }[],
): Promise<ReadonlyMap<string, Order>> {
  const ids = [...new Set(of.map(({ orderId }) => orderId))].map(bytesOfUuid);
  const orders = await orderRows(trx, sql`order_id IN (${sql.join(ids)}) ORDER BY order_id FOR UPDATE`);
  return new Map(orders.map((order) => [order.orderId, order]));
}

export async function orderRows(db: Db | Trx, where: ReturnType<typeof sql>): Promise<readonly Order[]> {
  const { rows } = await sql<{
    order_id: Buffer;
    customer: string;
    owner: string;
    rider: string | null;
    shop_id: Buffer;
    item_id: Buffer;
    item_name: string;
    quantity: number;
    paid_minor: number | string;
    refunded_minor: number | string;
    currency: string;
    district: string;
    state: State;
    version: number;
    assigned_at: Date | null;
    delivered_at: Date | null;
    due_at: Date | null;
    wanted: Wanted | null;
    complaint: string | null;
    photo_id: Buffer | null;
    rejection: string | null;
    changed_at: Date;
  }>`
    SELECT order_id, customer, owner, rider, shop_id, item_id,
      (SELECT name FROM delivery_item i WHERE i.item_id = delivery_order.item_id) AS item_name, quantity, paid_minor, refunded_minor, currency, district, state,
      version, assigned_at, delivered_at, due_at, wanted, complaint, photo_id, rejection, changed_at
    FROM delivery_order WHERE ${where}`.execute(db);
  return rows.map((row) => ({
    orderId: uuidOfBytes(row.order_id),
    customer: row.customer,
    owner: row.owner,
    rider: row.rider ?? undefined,
    shopId: uuidOfBytes(row.shop_id),
    itemId: uuidOfBytes(row.item_id),
    itemName: row.item_name,
    quantity: row.quantity,
    paidMinor: Number(row.paid_minor),
    refundedMinor: Number(row.refunded_minor),
    currency: row.currency,
    district: row.district,
    state: row.state,
    version: row.version,
    assignedAtMs: row.assigned_at?.getTime(),
    deliveredAtMs: row.delivered_at?.getTime(),
    dueAtMs: row.due_at?.getTime(),
    wanted: row.wanted ?? undefined,
    complaint: row.complaint ?? undefined,
    photoId: row.photo_id === null ? undefined : uuidOfBytes(row.photo_id),
    rejection: row.rejection ?? undefined,
    changedAtMs: row.changed_at.getTime(),
  }));
}
