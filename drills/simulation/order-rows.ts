/** The rows that orders are paid by in the simulated store: what workers/order/store.ts says in SQL, said again. */
import type { Order, Payment } from '../../workers/order/order.ts';
import type { PaymentStore, VersionedProduct } from '../../workers/order/payments.ts';
import type { Life } from './kafka.ts';
import { appendOutbox } from './relay.ts';
import type { Reader, Row, SimulatedStore } from './store.ts';

export interface OrderRowsBugs {
  readonly ordersNotLocked?: boolean;
  readonly stockNotLocked?: boolean;
  /** A key may pay two orders, and an order may be paid twice. */
  readonly noUniqueKeys?: boolean;
  readonly outboxOutsideTransaction?: boolean;
}

export interface PaymentRow extends Payment {
  readonly amountMinor: number;
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
          findPayments: (keys) =>
            trx.statement([], (rows) =>
              keys.flatMap(({ user, idempotencyKey }) => {
                const paymentId = rows.get<string>('payment-key', `${user} ${idempotencyKey}`);
                return paymentId === undefined ? [] : [rows.get<PaymentRow>('payment', paymentId)!];
              }),
            ),
          failOrder: (orderId, failedProductId) => change([orderId], { status: 'FAILED', failedProductId }),
          completeOrders: (orderIds) => change(orderIds, { status: 'COMPLETED' }),
          addPayments: (paid) => {
            const unique = paid.map(({ call, order }) => ({
              order: ['payment-order', order.orderId] as const,
              key: ['payment-key', `${order.user} ${call.idempotencyKey}`] as const,
            }));
            return trx.statement(
              paid.flatMap(({ call }, index) => [
                ['payment', call.paymentId] as const,
                unique[index]!.order,
                unique[index]!.key,
              ]),
              (rows) => {
                for (const [index, { call, order }] of paid.entries()) {
                  const rowsTaken = Object.values(unique[index]!);
                  if (
                    bugs.noUniqueKeys !== true &&
                    rowsTaken.some(([table, key]) => rows.get(table, key) !== undefined)
                  )
                    throw Object.assign(new Error('simulated: a duplicate key'), { errno: 1062 });
                  for (const [table, key] of rowsTaken) rows.set(table, key, call.paymentId);
                  rows.set('payment', call.paymentId, {
                    paymentId: call.paymentId,
                    orderId: order.orderId,
                    user: order.user,
                    idempotencyKey: call.idempotencyKey,
                    requestHash: call.requestHash,
                    amountMinor: order.total.amountMinor,
                  } satisfies PaymentRow);
                }
              },
            );
          },
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
