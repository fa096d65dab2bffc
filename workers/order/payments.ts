/**
 * What a payment changes, in one transaction: what is locked, what is decided on it (order.ts), what is written. Rows
 * come and go through a port: store.ts says it in SQL, the simulation in memory (drills/simulation).
 */
import { refusedKey } from '../base/refusal.ts';
import { type OnceRows, onceAll } from '../store/once.ts';
import type { OutboxRecord } from '../store/outbox.ts';
import { paidRecords, productRecord } from './events.ts';
import {
  decidePayments,
  type Order,
  type PaymentAnswer,
  type PaymentRequest,
  type Product,
  unknownOrder,
} from './order.ts';

export interface PaymentCall extends PaymentRequest {
  /** Of the order's customer: two customers may use the same one, one customer for two orders may not. */
  readonly idempotencyKey: string;
  /** Keyed hash of the request, to tell a repeat from another request under the same key; hexadecimal. */
  readonly requestHash: string;
  readonly method: string;
  readonly cardLast4: string | undefined;
  /** Goes on in the events of the payment. */
  readonly traceparent: string | undefined;
}

export interface VersionedProduct extends Product {
  /** Of its last event. */
  readonly version: number;
}

export interface PaymentStore {
  /**
   * Runs `work` in a transaction: all of it or nothing. It may run more than once (a deadlock). Rejects with
   * MUSTER_DATABASE_DOWN when the store cannot be asked, or when it is not known whether the transaction was committed.
   */
  transaction<T>(work: (rows: PaymentRows) => Promise<T>): Promise<T>;
}

/** Rows within one transaction. What is not locked may be changed by others before the next question. */
export interface PaymentRows {
  /** Those that there are, locked one after the other in the order of their ids. */
  lockOrders(orderIds: readonly string[]): Promise<readonly Order[]>;
  readonly once: OnceRows;
  /** As lockOrders(). */
  lockProducts(productIds: readonly string[]): Promise<readonly VersionedProduct[]>;
  failOrder(orderId: string, shortProductId: string, atMs: number): Promise<void>;
  completeOrders(orderIds: readonly string[], atMs: number): Promise<void>;
  /** Rejects when one of the orders is paid. */
  addPayments(
    paid: readonly { readonly call: PaymentCall; readonly order: Order }[],
    atMs: number,
  ): Promise<void>;
  /** Sets what is left of products; the version of those in `depleted` grows by one. */
  setStock(stock: ReadonlyMap<string, number>, depleted: readonly string[]): Promise<void>;
  /** Published if and only if the transaction commits. */
  appendOutbox(records: readonly OutboxRecord[]): Promise<void>;
}

export type PaymentOutcome = PaymentAnswer & { readonly repeated: boolean };

/**
 * Pays orders in one transaction: payments, orders, stock and outbox rows of all of them commit together or not at all,
 * in as many round trips as for one. A repeat has the answer of the first. Rejects when the database is down; when that
 * happened during the commit it is not known here whether it took place, and the same calls again tell.
 */
export async function payOrders(
  store: PaymentStore,
  calls: readonly PaymentCall[],
  nowMs: number,
): Promise<readonly PaymentOutcome[]> {
  return store.transaction(async (rows) => {
    // Orders first, then keys, then products, each by id: two transactions that need the same rows never deadlock.
    const found = await rows.lockOrders([...new Set(calls.map(({ orderId }) => orderId))]);
    const orders = new Map(found.map((order) => [order.orderId, order]));
    const known = calls.flatMap((call) => {
      const order = orders.get(call.orderId);
      if (order === undefined) return [];
      const expected: PaymentAnswer = { ok: true, paymentId: call.paymentId };
      return [
        { scope: `order:${order.user}`, key: call.idempotencyKey, body: call.requestHash, expected, call },
      ];
    });
    const outcomes = await onceAll(
      rows.once,
      known,
      (first) =>
        payWithin(
          rows,
          orders,
          first.map(({ call }) => call),
          nowMs,
        ),
      ({ ok }) => ok,
    );
    const outcomeOf = new Map(known.map(({ call }, index) => [call, outcomes[index]!]));
    return calls.map((call): PaymentOutcome => {
      const outcome = outcomeOf.get(call);
      if (outcome === undefined) return { ...unknownOrder, repeated: false };
      if ('error' in outcome) return { ...refusedKey(outcome.error), repeated: false };
      return { ...outcome.answer, repeated: outcome.repeated };
    });
  });
}

async function payWithin(
  rows: PaymentRows,
  orders: ReadonlyMap<string, Order>,
  calls: readonly PaymentCall[],
  nowMs: number,
): Promise<readonly PaymentAnswer[]> {
  const wanted = calls
    .map(({ orderId }) => orders.get(orderId)!)
    .filter(({ status }) => status === 'PENDING')
    .flatMap(({ lines }) => lines.map(({ productId }) => productId));
  const products = await rows.lockProducts([...new Set(wanted)]);

  const decision = decidePayments(
    { orders, stock: new Map(products.map(({ productId, stock }) => [productId, stock])) },
    calls,
  );
  for (const { order, productId } of decision.failed) await rows.failOrder(order.orderId, productId, nowMs);
  if (decision.paid.length === 0) return decision.answers;

  await rows.completeOrders(
    decision.paid.map(({ order }) => order.orderId),
    nowMs,
  );
  const callOf = new Map(calls.map((call) => [call.paymentId, call]));
  const paid = decision.paid.map(({ request, order }) => ({ call: callOf.get(request.paymentId)!, order }));
  await rows.addPayments(paid, nowMs);
  const depleted = products.filter(({ productId }) => decision.stock.get(productId) === 0);
  await rows.setStock(
    decision.stock,
    depleted.map(({ productId }) => productId),
  );
  await rows.appendOutbox([
    ...paid.flatMap(({ call: { paymentId, traceparent }, order }) =>
      paidRecords(order, { paymentId, paidAtMs: nowMs, traceparent }),
    ),
    ...depleted.map(({ productId, version, name, price }) =>
      productRecord({ productId, kind: 'DEPLETED', version: version + 1, name, price, stock: 0 }, nowMs),
    ),
  ]);
  return decision.answers;
}
