/** Shops, riders and delivery orders: what happens to them, in one transaction each, and what people ask of them. */
import { type Kysely, sql, type Transaction } from 'kysely';
import { bytesOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import type { Money } from '../base/money.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { databaseNowMs, transaction } from '../store/database.ts';
import { type OnceCall, once } from '../store/once.ts';
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

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

export interface Wish {
  /** Pseudonym. */
  readonly customer: string;
  readonly itemId: string;
  readonly quantity: number;
  /** Where it goes. */
  readonly district: string;
}

export interface Item {
  readonly itemId: string;
  readonly name: string;
  readonly price: Money;
  readonly stock: number;
}

export type Placed = { readonly ok: true; readonly orderId: string } | Refused;
/** What a step led to; its row of the machine says who is told. */
export type Taken = { readonly ok: true; readonly row: Row; readonly order: Order } | Refused;
/** What was asked for a person, under a key. */
type Stepped = { readonly ok: true; readonly state: State; readonly version: number } | Refused;
export type Done = { readonly ok: true } | Refused;

/** What people ask for; what is due is the clock's. */
export type AskedByPeople = Exclude<Asked, { step: 'dispatch' }>;

const maxQuantity = 1_000;
const maxStock = 1_000_000_000;

export function deliveryStore({
  database,
  clock,
}: {
  database(): Promise<Db>;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}) {
  // The clock is read before any lock: a request counts from when it came, not from when its turn came.
  const within = async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
    transaction(await database(), async (trx) => work(trx, clock?.() ?? (await databaseNowMs(trx))));

  return {
    /** A shop without a menu; resolves to its id. */
    openShop: (owner: string, name: string): Promise<string> =>
      within(async (trx, now) => {
        const shopId = uuidV7(now);
        await sql`INSERT INTO delivery_shop (shop_id, owner, name) VALUES (${bytesOfUuid(shopId)}, ${owner}, ${name})`.execute(
          trx,
        );
        return shopId;
      }),

    /** A dish of a shop of this owner; resolves to its id, undefined when he has no such shop. */
    addItem: (
      owner: string,
      shopId: string,
      { name, price, stock }: Omit<Item, 'itemId'>,
    ): Promise<string | undefined> =>
      within(async (trx, now) => {
        const itemId = uuidV7(now);
        const { numAffectedRows } = await sql`
          INSERT INTO delivery_item (item_id, shop_id, name, price_minor, currency, stock)
          SELECT ${bytesOfUuid(itemId)}, shop_id, ${name}, ${price.amountMinor}, ${price.currency}, ${stock}
          FROM delivery_shop WHERE shop_id = ${bytesOfUuid(shopId)} AND owner = ${owner}`.execute(trx);
        return numAffectedRows === 1n ? itemId : undefined;
      }),

    /** More of a dish, or less of what is left (below zero). */
    addStock: (owner: string, itemId: string, quantity: number, call: OnceCall): Promise<Done> =>
      within((trx) =>
        once(
          trx,
          call,
          async (): Promise<Done> => {
            const item = await lockItem(trx, itemId);
            if (item === undefined || item.owner !== owner) return unknownItem;
            const stock = item.stock + quantity;
            if (stock < 0 || stock > maxStock)
              return refuse(409, 'MUSTER_STOCK_INVALID', 'there cannot be that many', [
                { field: 'quantity', reason: `there are ${item.stock}, and may be 0 to ${maxStock}` },
              ]);
            await changeStock(trx, itemId, quantity);
            return { ok: true };
          },
          ({ ok }) => ok,
        ),
      ),

    /** What a shop offers, the oldest first; empty when there is no such shop. */
    async menu(shopId: string): Promise<readonly Item[]> {
      const { rows } = await sql<ItemRow>`
        SELECT item_id, name, price_minor, currency, stock FROM delivery_item
        WHERE shop_id = ${bytesOfUuid(shopId)} ORDER BY item_id`.execute(await database());
      return rows.map(itemOf);
    },

    /** A rider begins or ends work; the district may change meanwhile. Not while he has an order. */
    setRider: (rider: string, district: string, state: 'FREE' | 'OFF'): Promise<Done> =>
      within(async (trx, now) => {
        const at = new Date(now);
        // Who says again that he is free keeps his place.
        const same = sql`state = ${state} AND district = ${district}`;
        await sql`
          INSERT INTO delivery_rider (rider, district, state, changed_at) VALUES (${rider}, ${district}, ${state}, ${at})
          ON DUPLICATE KEY UPDATE
            changed_at = IF(state = 'BUSY' OR (${same}), changed_at, ${at}),
            district = IF(state = 'BUSY', district, ${district}),
            state = IF(state = 'BUSY', state, ${state})`.execute(trx);
        const { rows } = await sql<{ state: string }>`
          SELECT state FROM delivery_rider WHERE rider = ${rider}`.execute(trx);
        return rows[0]!.state === 'BUSY' ? busyRider : { ok: true };
      }),

    /** Places an order, which takes its stock and is taken as paid; durable when it resolves. */
    place: (wish: Wish, call: OnceCall): Promise<Placed> =>
      within((trx, now) =>
        once(
          trx,
          call,
          () => place(trx, wish, now),
          ({ ok }) => ok,
        ),
      ),

    /** Takes a step of a person. Under one key it is taken once. */
    step: (orderId: string, by: Asker, asked: AskedByPeople, call: OnceCall): Promise<Stepped> =>
      within((trx, now) =>
        once(
          trx,
          call,
          async (): Promise<Stepped> => {
            const [order] = await orderRows(trx, sql`order_id = ${bytesOfUuid(orderId)} FOR UPDATE`);
            if (order === undefined) return unknownOrder;
            const taken = await take(trx, order, by, asked, now);
            return taken.ok ? { ok: true, state: taken.order.state, version: taken.order.version } : taken;
          },
          ({ ok }) => ok,
        ),
      ),

    /**
     * Takes up to so many steps of the clock that are due: who is called gets a rider, who was assigned has delivered. Resolves to
     * what was done. Several processes share the work; one that dies leaves what it had for the next.
     */
    takeDue: (most: number): Promise<readonly Taken[]> =>
      within(async (trx, now) => {
        const due = await orderRows(
          trx,
          sql`due_at <= ${new Date(now)} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`,
        );
        const taken: Taken[] = [];
        for (const order of due) {
          const asked: Asked =
            order.state === 'CALLED'
              ? { step: 'dispatch', rider: await freeRider(trx, order.district) }
              : { step: 'deliver' };
          taken.push(await take(trx, order, 'clock', asked, now));
        }
        return taken;
      }),

    async find(orderId: string): Promise<Order | undefined> {
      const [order] = await orderRows(await database(), sql`order_id = ${bytesOfUuid(orderId)}`);
      return order;
    },
  };
}

const busyRider = refuse(409, 'MUSTER_RIDER_BUSY', 'the rider has an order to deliver first');
const unknownItem = refuse(404, 'MUSTER_ITEM_UNKNOWN', 'there is no such dish');

/** The order after a step, with all that goes with it; the caller has locked its row. */
async function take(trx: Trx, order: Order, by: Asker, asked: Asked, now: number): Promise<Taken> {
  const decided = decide(order, by, asked, now);
  if (!decided.ok) return decided;
  const { row, next } = decided;
  const id = bytesOfUuid(next.orderId);
  const { numAffectedRows } = await sql`
    UPDATE delivery_order SET state = ${next.state}, version = ${next.version}, rider = ${next.rider ?? null},
      refunded_minor = ${next.refundedMinor}, assigned_at = ${dateOr(next.assignedAtMs)},
      delivered_at = ${dateOr(next.deliveredAtMs)}, due_at = ${dateOr(next.dueAtMs)}, wanted = ${next.wanted ?? null},
      complaint = ${next.complaint ?? null}, rejection = ${next.rejection ?? null},
      changed_at = ${new Date(next.changedAtMs)}
    WHERE order_id = ${id} AND version = ${order.version}`.execute(trx);
  if (numAffectedRows !== 1n) throw new Error(`order ${next.orderId} changed under its lock`);
  await noteChange(trx, next, row.step);
  if (row.givesBack) await changeStock(trx, next.itemId, next.quantity);
  const at = new Date(next.changedAtMs);
  if (row.rider === 'takes')
    await sql`
      UPDATE delivery_rider SET state = 'BUSY', order_id = ${id}, changed_at = ${at} WHERE rider = ${next.rider}`.execute(
      trx,
    );
  if (row.rider === 'frees')
    await sql`
      UPDATE delivery_rider SET state = 'FREE', order_id = NULL, changed_at = ${at} WHERE order_id = ${id}`.execute(
      trx,
    );
  return { ok: true, row, order: next };
}

async function place(trx: Trx, { customer, itemId, quantity, district }: Wish, now: number): Promise<Placed> {
  const item = await lockItem(trx, itemId);
  if (item === undefined) return unknownItem;
  const { price, owner, shopId } = item;
  const paidMinor = price.amountMinor * quantity;
  if (quantity > maxQuantity || !Number.isSafeInteger(paidMinor))
    return refuse(422, 'MUSTER_ORDER_TOO_LARGE', 'the order is too large', [
      { field: 'quantity', reason: `is at most ${maxQuantity}, and the amount one that can be counted` },
    ]);
  if (item.stock < quantity)
    return refuse(409, 'MUSTER_OUT_OF_STOCK', 'there is not enough of the dish', [
      { field: 'quantity', reason: `there are ${item.stock}` },
    ]);
  await changeStock(trx, itemId, -quantity);
  const orderId = uuidV7(now);
  const at = new Date(now);
  await sql`
    INSERT INTO delivery_order (order_id, customer, owner, shop_id, item_id, quantity, paid_minor, refunded_minor, currency,
      district, state, version, changed_at)
    VALUES (${bytesOfUuid(orderId)}, ${customer}, ${owner}, ${bytesOfUuid(shopId)}, ${bytesOfUuid(itemId)}, ${quantity},
      ${paidMinor}, 0, ${price.currency}, ${district}, 'PLACED', 1, ${at})`.execute(trx);
  await noteChange(trx, { orderId, version: 1, state: 'PLACED', changedAtMs: now }, 'place');
  return { ok: true, orderId };
}

async function noteChange(
  trx: Trx,
  { orderId, version, state, changedAtMs }: Pick<Order, 'orderId' | 'version' | 'state' | 'changedAtMs'>,
  step: string,
): Promise<void> {
  await sql`
    INSERT INTO delivery_change (order_id, version, step, state, changed_at)
    VALUES (${bytesOfUuid(orderId)}, ${version}, ${step}, ${state}, ${new Date(changedAtMs)})`.execute(trx);
}

/** Who has waited longest. Waits for one that is just being taken: a rider is not busy before that is committed. */
async function freeRider(trx: Trx, district: string): Promise<string | undefined> {
  const { rows } = await sql<{ rider: string }>`
    SELECT rider FROM delivery_rider WHERE district = ${district} AND state = 'FREE'
    ORDER BY changed_at, rider LIMIT 1 FOR UPDATE`.execute(trx);
  return rows[0]?.rider;
}

async function changeStock(trx: Trx, itemId: string, by: number): Promise<void> {
  await sql`UPDATE delivery_item SET stock = stock + ${by} WHERE item_id = ${bytesOfUuid(itemId)}`.execute(
    trx,
  );
}

interface ItemRow {
  item_id: Buffer;
  name: string;
  price_minor: number | string;
  currency: string;
  stock: number | string;
}

const itemOf = ({ item_id, name, price_minor, currency, stock }: ItemRow): Item => ({
  itemId: uuidOfBytes(item_id),
  name,
  price: { amountMinor: Number(price_minor), currency },
  stock: Number(stock),
});

async function lockItem(trx: Trx, itemId: string) {
  // Of the shop nothing is locked: dishes of one shop do not wait for each other.
  const { rows } = await sql<ItemRow & { shop_id: Buffer; owner: string }>`
    SELECT item_id, name, price_minor, currency, stock, shop_id,
      (SELECT owner FROM delivery_shop s WHERE s.shop_id = i.shop_id) AS owner
    FROM delivery_item i WHERE item_id = ${bytesOfUuid(itemId)} FOR UPDATE`.execute(trx);
  const [row] = rows;
  return row === undefined
    ? undefined
    : { ...itemOf(row), shopId: uuidOfBytes(row.shop_id), owner: row.owner };
}

const dateOr = (ms: number | undefined) => (ms === undefined ? null : new Date(ms));

async function orderRows(db: Db | Trx, where: ReturnType<typeof sql>): Promise<readonly Order[]> {
  const { rows } = await sql<{
    order_id: Buffer;
    customer: string;
    owner: string;
    rider: string | null;
    shop_id: Buffer;
    item_id: Buffer;
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
    rejection: string | null;
    changed_at: Date;
  }>`
    SELECT order_id, customer, owner, rider, shop_id, item_id, quantity, paid_minor, refunded_minor, currency, district, state,
      version, assigned_at, delivered_at, due_at, wanted, complaint, rejection, changed_at
    FROM delivery_order WHERE ${where}`.execute(db);
  return rows.map((row) => ({
    orderId: uuidOfBytes(row.order_id),
    customer: row.customer,
    owner: row.owner,
    rider: row.rider ?? undefined,
    shopId: uuidOfBytes(row.shop_id),
    itemId: uuidOfBytes(row.item_id),
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
    rejection: row.rejection ?? undefined,
    changedAtMs: row.changed_at.getTime(),
  }));
}
