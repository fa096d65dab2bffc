/**
 * What a payment changes, in one transaction: what is locked, what is decided on it (order.ts), what is written. Rows
 * come and go through a port: store.ts says it in SQL, the simulation in memory (drills/simulation).
 */
import type { OutboxRecord } from '../store/outbox.ts';
import {
  decidePayments,
  type Order,
  type Payment,
  type PaymentAnswer,
  type PaymentRequest,
  type Product,
} from './order.ts';
import { paidRecords, productRecord } from './records.ts';

export interface PaymentCall extends PaymentRequest {
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
  /** Payments of these customers under these keys. */
  findPayments(keys: readonly Pick<Payment, 'user' | 'idempotencyKey'>[]): Promise<readonly Payment[]>;
  /** As lockOrders(). */
  lockProducts(productIds: readonly string[]): Promise<readonly VersionedProduct[]>;
  failOrder(orderId: string, shortProductId: string, atMs: number): Promise<void>;
  completeOrders(orderIds: readonly string[], atMs: number): Promise<void>;
  /** Rejects with errno 1062 when one of the orders is paid, or one of the keys used by its customer. */
  addPayments(
    paid: readonly { readonly call: PaymentCall; readonly order: Order }[],
    atMs: number,
  ): Promise<void>;
  /** Sets what is left of products; the version of those in `depleted` grows by one. */
  setStock(stock: ReadonlyMap<string, number>, depleted: readonly string[]): Promise<void>;
  /** Published if and only if the transaction commits. */
  appendOutbox(records: readonly OutboxRecord[]): Promise<void>;
}

const duplicateEntry = 1062;

/**
 * Pays orders in one transaction: payments, orders, stock and outbox rows of all of them commit together or not at all,
 * in as many round trips as for one. Rejects when the database is down; when that happened during the commit it is not
 * known here whether it took place, and the same calls again tell.
 */
export async function payOrders(
  store: PaymentStore,
  calls: readonly PaymentCall[],
  nowMs: number,
): Promise<readonly PaymentAnswer[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await store.transaction((rows) => payWithin(rows, calls, nowMs));
    } catch (error) {
      // Another process has used a key of the same customer at the same time: its payment can be seen now.
      if ((error as NodeJS.ErrnoException).errno !== duplicateEntry || attempt >= 3) throw error;
    }
  }
}

async function payWithin(
  rows: PaymentRows,
  calls: readonly PaymentCall[],
  nowMs: number,
): Promise<readonly PaymentAnswer[]> {
  // Orders first, then products, each by id: two transactions that need the same rows wait and never deadlock.
  const found = await rows.lockOrders([...new Set(calls.map(({ orderId }) => orderId))]);
  const orders = new Map(found.map((order) => [order.orderId, order]));
  const payments = await rows.findPayments(
    calls.flatMap(({ orderId, idempotencyKey }) => {
      const order = orders.get(orderId);
      return order === undefined ? [] : [{ user: order.user, idempotencyKey }];
    }),
  );
  const wanted = found
    .filter(({ status }) => status === 'PENDING')
    .flatMap(({ lines }) => lines.map(({ productId }) => productId));
  const products = await rows.lockProducts([...new Set(wanted)]);

  const decision = decidePayments(
    { orders, payments, stock: new Map(products.map(({ productId, stock }) => [productId, stock])) },
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
