/**
 * Riders and delivery orders: what happens to them, and what people ask of them. What comes while a transaction runs shares the next.
 * Locks are taken in one order (keys, orders, riders, dishes), so two transactions that need the same rows do not wait in a circle.
 */
import { sql, type Transaction } from 'kysely';
import type { DeliveryEvent } from '../../catalog/events/delivery.ts';
import { isNotNow } from '../base/errors.ts';
import { bytesOfUuid, uuidV7 } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { traceparentNow } from '../base/traceparent.ts';
import { nextDueInMs, onCommit, transaction } from '../store/database.ts';
import { isDue, unlessAhead } from '../store/due.ts';
import { inGroups } from '../store/group-commit.ts';
import { type GroupedCall, type OnceCall, onceAll, onceRows } from '../store/once.ts';
import { appendUnordered } from '../store/outbox.ts';
import type { Relay } from '../store/relay.ts';
import { deliveryRecord } from './events.ts';
import {
  type Asked,
  type Asker,
  deliveryVersion,
  type Order,
  openStates,
  placing,
  type State,
} from './machine.ts';
import { changeStock, clockOf, type Database, type Done, lockItems, unknownItem, withinOf } from './shops.ts';
import { type Ask, lockOrders, orderRows, type Taken, take, write } from './steps.ts';

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

/** What came from a person. */
interface Came extends Pick<Ask, 'traceparent'> {
  /** By the clock of this process that nobody sets. */
  readonly cameMs: number;
}
interface Placing extends GroupedCall<Placed>, Wish, Came {
  readonly orderId: string;
}
interface Stepping extends OnceCall, Omit<Ask, 'atMs'>, Came {}

/** What is told of a delivery is told again after this, until the order has taken it. */
const tellAgainMs = 10_000;
/** What the clock does: it finds riders for those who were called for, and ends deliveries. */
const dueOf = {
  calls: sql`state = 'CALLED'`,
  ends: sql`state <> 'CALLED'`,
};
/** An order that throws waits this long, so that those behind it do not. */
const putOffMs = 30_000;
const maxQuantity = 1_000;

/** @param on.publish publishes what is told of deliveries once it has committed; unset: it goes out with a relay that finds it */
export function deliveryStore(on: Database & Partial<Pick<Relay, 'publish'>>) {
  const { database, publish = () => {} } = on;
  const within = withinOf(on);
  const readClock = clockOf(on);
  const clockwork = { readClock, publish };

  /** For how long something waits. */
  const passed = on.clock ?? (() => performance.now());
  const came = () => ({ cameMs: passed(), traceparent: traceparentNow() });

  /**
   * Work of calls that share a transaction, each once under its key; a refusal uses no key up. `atMs`: when a call came, by the
   * database's clock. It counts from then on, not from when it had waited for others.
   */
  function onceInGroups<T extends Done, Call extends GroupedCall<T> & Came>(
    work: (trx: Trx, first: readonly Call[], atMs: (call: Call) => number) => Promise<readonly T[]>,
  ): (call: Call) => Promise<T> {
    const grouped = inGroups(async (calls: readonly Call[]) =>
      transaction(
        await database(),
        async (trx) => {
          // Of this try: what the ones before it have waited for is behind the call as well.
          const askedMs = passed();
          const now = await readClock(trx);
          return onceAll<T, Call>(
            onceRows(trx),
            calls,
            (first) => work(trx, first, ({ cameMs }) => Math.ceil(now - (askedMs - cameMs))),
            ({ ok }) => ok,
          );
        },
        // Of several the one that waits for a lock goes on waiting alone.
        calls.length === 1 ? {} : { attempts: 1 },
      ),
    );
    return async (call) => {
      const outcome = await grouped(call);
      if ('error' in outcome) throw outcome.error;
      return outcome.answer;
    };
  }
  const placeInGroups = onceInGroups(placeAll);
  const stepInGroups = onceInGroups(async (trx, first: readonly Stepping[], atMs) => {
    const asks = first.map((each) => ({ ...each, atMs: atMs(each) }));
    return (await take(trx, await lockOrders(trx, asks), asks)).map(
      (taken): Stepped =>
        taken.ok ? { ok: true, state: taken.order.state, version: taken.order.version } : taken,
    );
  });

  /** Each in a transaction of its own, after one of them has thrown. */
  async function takeEach(most: number, of: keyof typeof dueOf): Promise<readonly DueDone[]> {
    const db = await database();
    const now = await readClock(db);
    const which = sql`${isDue('due_at', now)} AND ${dueOf[of]} ORDER BY due_at LIMIT ${most}`;
    const due = await orderRows(db, which);
    const done: DueDone[] = [];
    for (const { orderId, dueAtMs } of due) {
      const which = sql`order_id = ${bytesOfUuid(orderId)} AND ${isDue('due_at', now)}`;
      try {
        await within(async (trx, atMs) => {
          const [order] = await orderRows(trx, sql`${which} FOR UPDATE SKIP LOCKED`);
          if (order !== undefined) done.push(...(await takeAll(trx, [order], atMs, clockwork)));
        });
      } catch (error) {
        if (isNotNow(error)) throw error;
        await sql`UPDATE delivery_order SET due_at = ${new Date(now + putOffMs)} WHERE ${which}`.execute(db);
        done.push({ orderId, outcome: 'PUT_OFF', lateMs: lateOf(dueAtMs, now), error });
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
    place(wish: Wish, call: OnceCall): Promise<Placed> {
      const orderId = uuidV7(on.clock?.() ?? Date.now());
      const expected = { ok: true, orderId } as const;
      return placeInGroups({ ...call, ...wish, orderId, expected, ...came() });
    },

    /** Takes a step of a person. Under one key it is taken once. */
    step: (orderId: string, by: Asker, asked: AskedByPeople, call: OnceCall): Promise<Stepped> =>
      stepInGroups({ ...call, orderId, by, asked, ...came() }),

    nextInMs: async (of: keyof typeof dueOf): Promise<number> =>
      unlessAhead(await nextDueInMs(await database(), 'delivery_order', on.clock?.(), dueOf[of])),

    /**
     * Does what is due of up to so many orders: who was called for gets a rider, and of deliveries that have ended (1 s after the
     * assignment, or nobody is free) the order is told by an event, again and again until it has taken it. Several processes share the
     * work; one that dies leaves what it had for the next. An order that throws holds nobody up: it is put off.
     */
    async takeDue(most: number, of: keyof typeof dueOf): Promise<readonly DueDone[]> {
      try {
        return await within(async (trx, now) => {
          const due = sql`
            ${isDue('due_at', now)} AND ${dueOf[of]} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`;
          return takeAll(trx, await orderRows(trx, due), now, clockwork);
        });
      } catch (error) {
        if (isNotNow(error)) throw error;
        return takeEach(most, of);
      }
    },

    /** Orders take what is told of their deliveries, at the version that it is about and no other. */
    async hear(events: readonly DeliveryEvent[]): Promise<readonly Heard[]> {
      if (events.length === 0) return [];
      return within(async (trx, now) => {
        const orders = await lockOrders(trx, events);
        const asks = events.map(({ orderId, version, status }): Ask => {
          const order = orders.get(orderId);
          // What is about another delivery is about no version of the order.
          const ifVersion = order !== undefined && deliveryVersion(order) === version ? order.version : 0;
          const asked =
            status === 'succeeded'
              ? { step: 'deliver' as const }
              : { step: 'dispatch' as const, rider: undefined };
          return { orderId, by: 'clock', asked: { ...asked, ifVersion }, atMs: now };
        });
        return (await take(trx, orders, asks)).map((taken) =>
          taken.ok ? 'TAKEN' : (heardAs.get(taken.refusal.code) ?? 'STALE'),
        );
      });
    },

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

const busyRider = refuse(409, 'MUSTER_RIDER_BUSY', 'the rider has an order to deliver first');

const heardAs: ReadonlyMap<string, Heard> = new Map([
  ['MUSTER_DELIVERY_ORDER_UNKNOWN', 'UNKNOWN'],
  ['MUSTER_STEP_TOO_EARLY', 'EARLY'],
]);

/** How late is not known of what was written before the clock was set back. */
const lateOf = (dueAtMs: number | undefined, now: number): number => Math.max(0, now - dueAtMs!);

/** What is due of orders, whose rows the caller has locked. */
async function takeAll(
  trx: Trx,
  due: readonly Order[],
  now: number,
  { readClock, publish }: { readClock(trx: Trx): Promise<number> } & Pick<Relay, 'publish'>,
): Promise<readonly DueDone[]> {
  const called = Map.groupBy(
    due.filter(({ state }) => state === 'CALLED'),
    ({ district }) => district,
  );
  const riders = new Map<string, FreeRider>();
  for (const district of [...called.keys()].sort()) {
    const waiting = called.get(district)!;
    for (const [index, free] of (await freeRiders(trx, district, waiting.length)).entries())
      riders.set(waiting[index]!.orderId, free);
  }
  // Who was waited for became free after this began: he has his order from now on, and a second from now on. His own time may lie far
  // ahead, when the clock was set back since.
  const isLater = [...riders.values()].some(({ changed_at }) => changed_at.getTime() > now);
  const atMs = isLater ? await readClock(trx) : now;
  const dispatched = await take(
    trx,
    new Map(due.map((order) => [order.orderId, order])),
    Array.from(riders, ([orderId, { rider }]): Ask => {
      return { orderId, by: 'clock', asked: { step: 'dispatch', rider }, atMs };
    }),
  );
  for (const taken of dispatched) if (!taken.ok) throw new Error(`dispatch: ${taken.refusal.code}`);
  const words = new Map(
    due
      .filter(({ orderId }) => !riders.has(orderId))
      .map((order) => [
        order.orderId,
        deliveryRecord(order, order.state === 'CALLED' ? 'failed' : 'succeeded', now),
      ]),
  );
  if (words.size > 0) {
    await sql`
      UPDATE delivery_order SET due_at = ${new Date(now + tellAgainMs)}
      WHERE order_id IN (${sql.join([...words.keys()].map(bytesOfUuid))})`.execute(trx);
    // The order takes a word at one version and no other, so none of them has to come before another: they need not wait for what
    // the relay sends in order.
    const row = await appendUnordered(
      trx,
      [...words.values()].map(({ record }) => record),
    );
    onCommit(trx, () => publish(row));
  }
  return due.map(({ orderId, dueAtMs }): DueDone => {
    const lateMs = lateOf(dueAtMs, now);
    const told = words.get(orderId)?.event;
    if (told === undefined) return { orderId, outcome: 'ASSIGNED', lateMs };
    return { orderId, outcome: told.status === 'failed' ? 'TOLD_FAILED' : 'TOLD_SUCCEEDED', lateMs, told };
  });
}

/** Those that come for the first time, one after the other: the dish is there for the first of them. */
async function placeAll(
  trx: Trx,
  asked: readonly Placing[],
  atMs: (wish: Placing) => number,
): Promise<readonly Placed[]> {
  const items = await lockItems(
    trx,
    asked.map(({ itemId }) => itemId),
  );
  const taken: Taken[] = [];
  const placed = asked.map((wish): Placed => {
    const item = items.get(wish.itemId);
    if (item === undefined) return unknownItem;
    const { orderId, quantity, itemId, customer, district, traceparent } = wish;
    const { price, owner, shopId, stock } = item;
    const paidMinor = price.amountMinor * quantity;
    if (quantity > maxQuantity || !Number.isSafeInteger(paidMinor))
      return refuse(422, 'MUSTER_ORDER_TOO_LARGE', 'the order is too large', [
        { field: 'quantity', reason: `is at most ${maxQuantity}, and the amount one that can be counted` },
      ]);
    if (stock < quantity)
      return refuse(409, 'MUSTER_OUT_OF_STOCK', 'there is not enough of the dish', [
        { field: 'quantity', reason: `there are ${stock}` },
      ]);
    items.set(itemId, { ...item, stock: stock - quantity });
    const order: Order = {
      ...{ orderId, customer, owner, rider: undefined, shopId, itemId, itemName: item.name, quantity },
      ...{ paidMinor, refundedMinor: 0, currency: price.currency, district, state: 'PLACED', version: 1 },
      ...{ assignedAtMs: undefined, deliveredAtMs: undefined, dueAtMs: undefined, wanted: undefined },
      ...{ complaint: undefined, photoId: undefined, rejection: undefined, changedAtMs: atMs(wish) },
    };
    taken.push({ ok: true, row: placing, order, traceparent });
    return { ok: true, orderId };
  });
  await changeStock(
    trx,
    taken.map(({ order: { itemId, quantity } }) => ({ itemId, by: -quantity })),
  );
  await write(trx, taken);
  return placed;
}

interface FreeRider {
  readonly rider: string;
  readonly changed_at: Date;
}

/** Those who have waited longest. Waits for one who is just being taken: a rider is not busy before that is committed. */
async function freeRiders(trx: Trx, district: string, most: number): Promise<readonly FreeRider[]> {
  const { rows } = await sql<FreeRider>`
    SELECT rider, changed_at FROM delivery_rider WHERE district = ${district} AND state = 'FREE'
    ORDER BY changed_at, rider LIMIT ${most} FOR UPDATE`.execute(trx);
  return rows;
}
