/** Riders and delivery orders: what happens to them, in one transaction each, and what people ask of them. */
import { type Kysely, sql, type Transaction } from 'kysely';
import type { DeliveryEvent } from '../../catalog/events/delivery.ts';
import { isNotNow } from '../base/errors.ts';
import { bytesOfUuid, bytesOrNull, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { nextDueInMs } from '../store/database.ts';
import { type OnceCall, once } from '../store/once.ts';
import { appendOutbox } from '../store/outbox.ts';
import { deliveryRecord, orderRecord } from './events.ts';
import {
  type Asked,
  type Asker,
  decide,
  deliveryVersion,
  type Order,
  openStates,
  placedTells,
  type Row,
  type State,
  unknownOrder,
  type Wanted,
} from './machine.ts';
import { changeStock, clockOf, type Database, type Done, lockItem, unknownItem, withinOf } from './shops.ts';

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

export type Placed = { readonly ok: true; readonly orderId: string } | Refused;
type Taken = { readonly ok: true; readonly row: Row; readonly order: Order } | Refused;
/** What was done about an order whose time had come; `lateMs` after that. */
export interface DueDone {
  readonly orderId: string;
  /** ASSIGNED: it has a rider. The others: that is what was told of its delivery. PUT_OFF: it threw. */
  readonly outcome: 'ASSIGNED' | 'TOLD_SUCCEEDED' | 'TOLD_FAILED' | 'PUT_OFF';
  readonly lateMs: number;
  /** Of what was told. */
  readonly told?: DeliveryEvent;
  readonly error?: unknown;
}
/** What an order made of the word on its delivery. EARLY comes again. */
export type Heard = 'TAKEN' | 'STALE' | 'UNKNOWN' | 'EARLY';
/** What was asked for a person, under a key. */
type Stepped = { readonly ok: true; readonly state: State; readonly version: number } | Refused;

/** What people ask for; what is due is the clock's. */
export type AskedByPeople = Exclude<Asked, { step: 'dispatch' }>;

/** What is told of a delivery is told again after this, until the order has taken it. */
const tellAgainMs = 10_000;
/** An order that throws waits this long, so that those behind it do not. */
const putOffMs = 30_000;
const maxQuantity = 1_000;

export function deliveryStore(on: Database) {
  const { database } = on;
  const within = withinOf(on);
  const readClock = clockOf(on);

  /** Each in a transaction of its own, after one of them has thrown. */
  async function takeEach(most: number): Promise<readonly DueDone[]> {
    const db = await database();
    const now = await readClock(db);
    const due = await orderRows(db, sql`due_at <= ${new Date(now)} ORDER BY due_at LIMIT ${most}`);
    const done: DueDone[] = [];
    for (const { orderId, dueAtMs } of due) {
      const which = sql`order_id = ${bytesOfUuid(orderId)} AND due_at <= ${new Date(now)}`;
      try {
        await within(async (trx, atMs) => {
          const [order] = await orderRows(trx, sql`${which} FOR UPDATE SKIP LOCKED`);
          if (order !== undefined) done.push(await takeOne(trx, order, atMs, readClock));
        });
      } catch (error) {
        if (isNotNow(error)) throw error;
        await sql`UPDATE delivery_order SET due_at = ${new Date(now + putOffMs)} WHERE ${which}`.execute(db);
        done.push({ orderId, outcome: 'PUT_OFF', lateMs: now - dueAtMs!, error });
      }
    }
    return done;
  }

  return {
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

    nextInMs: async (): Promise<number> => nextDueInMs(await database(), 'delivery_order', on.clock?.()),

    /**
     * Does what is due of up to so many orders: who was called for gets a rider, and of deliveries that have ended (1 s after the
     * assignment, or nobody is free) the order is told by an event, again and again until it has taken it. Several processes share the
     * work; one that dies leaves what it had for the next. An order that throws holds nobody up: it is put off.
     */
    async takeDue(most: number): Promise<readonly DueDone[]> {
      try {
        return await within(async (trx, now) => {
          const due = sql`due_at <= ${new Date(now)} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`;
          const done: DueDone[] = [];
          for (const order of await orderRows(trx, due)) done.push(await takeOne(trx, order, now, readClock));
          return done;
        });
      } catch (error) {
        if (isNotNow(error)) throw error;
        return takeEach(most);
      }
    },

    /** The order takes what is told of its delivery, at the version that this is about and no other. */
    hear: ({ orderId, version, status }: DeliveryEvent): Promise<Heard> =>
      within(async (trx, now) => {
        const [order] = await orderRows(trx, sql`order_id = ${bytesOfUuid(orderId)} FOR UPDATE`);
        if (order === undefined) return 'UNKNOWN';
        if (deliveryVersion(order) !== version) return 'STALE';
        const asked: Asked =
          status === 'succeeded' ? { step: 'deliver' } : { step: 'dispatch', rider: undefined };
        const taken = await take(trx, order, 'clock', asked, now);
        if (taken.ok) return 'TAKEN';
        return taken.refusal.code === 'MUSTER_STEP_TOO_EARLY' ? 'EARLY' : 'STALE';
      }),

    async find(orderId: string): Promise<Order | undefined> {
      const [order] = await orderRows(await database(), sql`order_id = ${bytesOfUuid(orderId)}`);
      return order;
    },

    /** Orders of a person in a role, the newest first, from before an id on. */
    async findOf(
      { role, who }: Exclude<Asker, 'clock'>,
      { limit, before }: { readonly limit: number; readonly before: string },
    ): Promise<readonly Order[]> {
      return orderRows(
        await database(),
        sql`${sql.ref(role)} = ${who} AND order_id < ${bytesOfUuid(before)} ORDER BY order_id DESC LIMIT ${limit}`,
      );
    },

    /** How many orders are in each state that is not the last, since when the first of them, and what riders do. */
    async counts(): Promise<{
      readonly orders: ReadonlyMap<string, { readonly count: number; readonly oldestMs: number }>;
      readonly riders: ReadonlyMap<string, number>;
    }> {
      const db = await database();
      const orders = await sql<{ state: string; n: number | string; age: number | string }>`
        SELECT CONCAT(state) AS state, COUNT(*) AS n,
          TIMESTAMPDIFF(MICROSECOND, MIN(changed_at), UTC_TIMESTAMP(3)) DIV 1000 AS age
        FROM delivery_order WHERE state IN (${sql.join([...openStates])}) GROUP BY delivery_order.state`.execute(
        db,
      );
      const riders = await sql<{ state: string; n: number | string }>`
        SELECT CONCAT(state) AS state, COUNT(*) AS n FROM delivery_rider GROUP BY delivery_rider.state`.execute(
        db,
      );
      return {
        orders: new Map(
          orders.rows.map(({ state, n, age }) => [state, { count: Number(n), oldestMs: Number(age) }]),
        ),
        riders: new Map(riders.rows.map(({ state, n }) => [state, Number(n)])),
      };
    },
  };
}

export type DeliveryStore = ReturnType<typeof deliveryStore>;

const unknownPhoto = refuse(422, 'MUSTER_PHOTO_UNKNOWN', 'the request is not valid', [
  { field: 'photoId', reason: 'is no photo of this order' },
]);
const busyRider = refuse(409, 'MUSTER_RIDER_BUSY', 'the rider has an order to deliver first');

/** What is due of an order, whose row the caller has locked. */
async function takeOne(
  trx: Trx,
  order: Order,
  now: number,
  readClock: (trx: Trx) => Promise<number>,
): Promise<DueDone> {
  const { orderId } = order;
  const lateMs = now - order.dueAtMs!;
  const free = order.state === 'CALLED' ? await freeRider(trx, order.district) : undefined;
  if (free !== undefined) {
    // Who was waited for became free after this began: he has it from now on, and a second from now on. His own time may lie far
    // ahead, when the clock was set back since.
    const at = free.changed_at.getTime() > now ? await readClock(trx) : now;
    const taken = await take(trx, order, 'clock', { step: 'dispatch', rider: free.rider }, at);
    if (!taken.ok) throw new Error(`order ${orderId}: ${taken.refusal.code}`);
    return { orderId, outcome: 'ASSIGNED', lateMs };
  }
  const status = order.state === 'CALLED' ? 'failed' : 'succeeded';
  const { record, event: told } = deliveryRecord(order, status, now);
  await sql`
    UPDATE delivery_order SET due_at = ${new Date(now + tellAgainMs)} WHERE order_id = ${bytesOfUuid(orderId)}`.execute(
    trx,
  );
  await appendOutbox(trx, [record]);
  return { orderId, outcome: status === 'failed' ? 'TOLD_FAILED' : 'TOLD_SUCCEEDED', lateMs, told };
}

/** The order after a step, with all that goes with it; the caller has locked its row. */
async function take(trx: Trx, order: Order, by: Asker, asked: Asked, now: number): Promise<Taken> {
  const decided = decide(order, by, asked, now);
  if (!decided.ok) return decided;
  const { row, next } = decided;
  if (asked.step === 'requestRefund' && (await photoOf(trx, next.orderId, asked.photoId)) !== 'STORED')
    return unknownPhoto;
  const id = bytesOfUuid(next.orderId);
  const { numAffectedRows } = await sql`
    UPDATE delivery_order SET state = ${next.state}, version = ${next.version}, rider = ${next.rider ?? null},
      refunded_minor = ${next.refundedMinor}, assigned_at = ${dateOr(next.assignedAtMs)},
      delivered_at = ${dateOr(next.deliveredAtMs)}, due_at = ${dateOr(next.dueAtMs)}, wanted = ${next.wanted ?? null},
      complaint = ${next.complaint ?? null}, photo_id = ${bytesOrNull(next.photoId)}, rejection = ${next.rejection ?? null},
      changed_at = ${new Date(next.changedAtMs)}
    WHERE order_id = ${id} AND version = ${order.version}`.execute(trx);
  if (numAffectedRows !== 1n) throw new Error(`order ${next.orderId} changed under its lock`);
  await noteChange(trx, next, row.step, row.tells);
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
  const order: Order = {
    ...{
      orderId,
      customer,
      owner,
      rider: undefined,
      shopId,
      itemId,
      itemName: item.name,
      quantity,
      paidMinor,
    },
    ...{ refundedMinor: 0, currency: price.currency, district, state: 'PLACED', version: 1 },
    ...{ assignedAtMs: undefined, deliveredAtMs: undefined, dueAtMs: undefined },
    ...{
      wanted: undefined,
      complaint: undefined,
      photoId: undefined,
      rejection: undefined,
      changedAtMs: now,
    },
  };
  await sql`
    INSERT INTO delivery_order (order_id, customer, owner, shop_id, item_id, quantity, paid_minor, refunded_minor, currency,
      district, state, version, changed_at)
    VALUES (${bytesOfUuid(orderId)}, ${customer}, ${owner}, ${bytesOfUuid(shopId)}, ${bytesOfUuid(itemId)}, ${quantity},
      ${paidMinor}, 0, ${price.currency}, ${district}, 'PLACED', 1, ${new Date(now)})`.execute(trx);
  await noteChange(trx, order, 'place', placedTells);
  return { ok: true, orderId };
}

/** The change, and its event. */
async function noteChange(trx: Trx, order: Order, step: string, tells: Row['tells']): Promise<void> {
  const { orderId, version, state, changedAtMs } = order;
  await sql`
    INSERT INTO delivery_change (order_id, version, step, state, changed_at)
    VALUES (${bytesOfUuid(orderId)}, ${version}, ${step}, ${state}, ${new Date(changedAtMs)})`.execute(trx);
  await appendOutbox(trx, [orderRecord(order, tells)]);
}

/** Who has waited longest. Waits for one that is just being taken: a rider is not busy before that is committed. */
async function freeRider(
  trx: Trx,
  district: string,
): Promise<{ readonly rider: string; readonly changed_at: Date } | undefined> {
  const { rows } = await sql<{ rider: string; changed_at: Date }>`
    SELECT rider, changed_at FROM delivery_rider WHERE district = ${district} AND state = 'FREE'
    ORDER BY changed_at, rider LIMIT 1 FOR UPDATE`.execute(trx);
  return rows[0];
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
