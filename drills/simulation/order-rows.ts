/** The rows that orders are paid by in the simulated store: what workers/order/store.ts says in SQL, said again. */
import type { Order } from '../../workers/order/order.ts';
import type { PaymentCall, PaymentStore, VersionedProduct } from '../../workers/order/payments.ts';
import type { Kept, OnceRows } from '../../workers/store/once.ts';
import type { Life } from './kafka.ts';
import { appendOutbox } from './relay.ts';
import type { Reader, Row, SimulatedStore, Transaction } from './store.ts';

export interface OrderRowsBugs {
  readonly ordersNotLocked?: boolean;
  readonly stockNotLocked?: boolean;
  /** A key may pay two orders. */
  readonly noUniqueKeys?: boolean;
  readonly outboxOutsideTransaction?: boolean;
}

export interface PaymentRow extends Pick<PaymentCall, 'paymentId' | 'orderId' | 'idempotencyKey'> {
  readonly user: string;
  readonly amountMinor: number;
}

/** What workers/store/once.ts says in SQL, said again. */
export function simulatedOnce(trx: Transaction, isBlind: boolean): OnceRows {
  const place = ({ scope, key }: Kept) => ['once', `${scope} ${key}`] as const;
  return {
    async reserve(wanted) {
      const got = await trx.lockFree(() => wanted.map(place));
      const free = wanted.filter((row) => got.some(([, key]) => key === place(row)[1]));
      const kept = await trx.statement([], (rows) =>
        free.flatMap((row) => {
          const before = isBlind ? undefined : rows.get<Kept>(...place(row));
          if (before === undefined) rows.set(...place(row), row);
          return before ?? [];
        }),
      );
      return { kept, held: wanted.filter((row) => !free.includes(row)) };
    },
    answer: (changed) =>
      trx.statement(changed.map(place), (rows) => {
        for (const row of changed) rows.set(...place(row), row);
      }),
    release: (released) =>
      trx.statement(released.map(place), (rows) => {
        for (const row of released) rows.delete(...place(row));
      }),
  };
}

/** The port as a process sees it. */
export function simulatedPayments(store: SimulatedStore, life: Life, bugs: OrderRowsBugs = {}): PaymentStore {
  const lockThoseThere =
    (table: string, ids: readonly string[], take: (there: readonly string[]) => void) =>
    (rows: Reader): readonly Row[] => {
      const there = ids.filter((id) => rows.get(table, id) !== undefined).toSorted();
      take(there);
      return there.map((id) => [table, id]);
    };

  return {
    transaction: (work) =>
      store.transaction(life, (trx) => {
        async function lockRows<T>(
          table: string,
          ids: readonly string[],
          locked: boolean,
        ): Promise<readonly T[]> {
          let there: readonly string[] = [];
          const lock = lockThoseThere(table, ids, (found) => {
            there = found;
          });
          return trx.statement(
            (rows) => (locked ? lock(rows) : lock(rows).slice(0, 0)),
            (rows) => there.map((id) => rows.get<T>(table, id)!),
          );
        }
        const change = (orderIds: readonly string[], to: Partial<Order>) =>
          trx.statement(
            orderIds.toSorted().map((id) => ['order', id]),
            (rows) => {
              for (const id of orderIds) rows.set('order', id, { ...rows.get<Order>('order', id)!, ...to });
            },
          );

        return work({
          lockOrders: (orderIds) => lockRows('order', orderIds, bugs.ordersNotLocked !== true),
          lockProducts: (productIds) => lockRows('product', productIds, bugs.stockNotLocked !== true),
          once: simulatedOnce(trx, bugs.noUniqueKeys === true),
          failOrder: (orderId, failedProductId) => change([orderId], { status: 'FAILED', failedProductId }),
          completeOrders: (orderIds) => change(orderIds, { status: 'COMPLETED' }),
          addPayments: (paid) =>
            trx.statement(
              paid.flatMap(({ call, order }) => [
                ['payment', call.paymentId] as const,
                ['payment-order', order.orderId] as const,
              ]),
              (rows) => {
                for (const { call, order } of paid) {
                  const { paymentId, orderId, idempotencyKey } = call;
                  if (rows.get('payment-order', orderId) !== undefined)
                    throw Object.assign(new Error('simulated: a duplicate key'), { errno: 1062 });
                  rows.set('payment-order', orderId, paymentId);
                  rows.set('payment', paymentId, {
                    paymentId,
                    orderId,
                    user: order.user,
                    idempotencyKey,
                    amountMinor: order.total.amountMinor,
                  } satisfies PaymentRow);
                }
              },
            ),
          setStock: (stock, depleted) =>
            trx.statement(
              [...stock.keys()].toSorted().map((id) => ['product', id]),
              (rows) => {
                for (const [id, left] of stock) {
                  const product = rows.get<VersionedProduct>('product', id)!;
                  const version = product.version + (depleted.includes(id) ? 1 : 0);
                  rows.set('product', id, { ...product, stock: left, version } satisfies VersionedProduct);
                }
              },
            ),
          appendOutbox: (records) =>
            bugs.outboxOutsideTransaction === true
              ? store.transaction(life, (other) => appendOutbox(other, records))
              : appendOutbox(trx, records),
        });
      }),
  };
}
