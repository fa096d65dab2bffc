/** Products, orders and payments in SQL: the truth about what is sold and paid. */

import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { uuidV7 } from '../base/ids.ts';
import type { Money } from '../base/money.ts';
import { refusedKey } from '../base/refusal.ts';
import { transaction } from '../store/database.ts';
import { type OnceCall, once, onceAll, onceRows } from '../store/once.ts';
import { appendOutbox, setTimer } from '../store/outbox.ts';
import { productRecord } from './events.ts';
import { expiryRecord } from './expiry.ts';
import {
  type ChangedProduct,
  changeProduct,
  type Order,
  type OrderLine,
  type OrderStatus,
  type Priced,
  type Product,
  type ProductChange,
  priceOrder,
  unknownProduct,
} from './order.ts';
import type { PaymentRows, PaymentStore, VersionedProduct } from './payments.ts';

interface ProductTable {
  product_id: string;
  name: string;
  amount_minor: number;
  currency: string;
  stock: number;
  /** All that was ever put in; null: not kept from the beginning. */
  stocked: number | string | null;
  version: number;
  created_at: Date;
}

interface OrderTable {
  order_id: string;
  user: string;
  status: OrderStatus;
  order_lines: string;
  amount_minor: number;
  currency: string;
  failed_product_id: string | null;
  created_at: Date;
  settled_at: Date | null;
}

interface PaymentTable {
  payment_id: string;
  order_id: string;
  user: string;
  amount_minor: number;
  currency: string;
  method: string;
  card_last4: string | null;
  paid_at: Date;
}

export interface OrderTables {
  shop_product: ProductTable;
  shop_order: OrderTable;
  shop_payment: PaymentTable;
}

/** Adds a product, once per call, with its event. */
export async function createProduct(
  db: Kysely<OrderTables>,
  product: Omit<Product, 'productId'>,
  call: OnceCall | undefined,
  nowMs: number,
): Promise<Product> {
  const create = async (trx: Transaction<OrderTables>) => {
    const created = { ...product, productId: uuidV7(nowMs) };
    await trx
      .insertInto('shop_product')
      .values({
        product_id: created.productId,
        name: created.name,
        amount_minor: created.price.amountMinor,
        currency: created.price.currency,
        stock: created.stock,
        stocked: created.stock,
        version: 1,
        created_at: new Date(nowMs),
      })
      .execute();
    await appendOutbox(trx, [productRecord({ ...created, kind: 'CREATED', version: 1 }, nowMs)]);
    return created;
  };
  return transaction(db, (trx) => once(trx, call, () => create(trx)));
}

/** Changes price and stock by hand, once per call, with an event for each that changes. */
export async function saveProductChange(
  db: Kysely<OrderTables>,
  productId: string,
  change: ProductChange,
  call: OnceCall | undefined,
  nowMs: number,
): Promise<ChangedProduct> {
  return transaction(db, (trx) =>
    once(
      trx,
      call,
      async () => {
        const [before] = await lockProducts(trx, [productId]);
        if (before === undefined) return unknownProduct;
        const changed = changeProduct(before, change);
        if (!changed.ok) return changed;
        const { product, events } = changed;
        const { price, stock } = product;
        await trx
          .updateTable('shop_product')
          .set({
            amount_minor: price.amountMinor,
            stock,
            stocked: sql`stocked + ${change.addStock ?? 0}`,
            version: before.version + events.length,
          })
          .where('product_id', '=', productId)
          .execute();
        const records = events.map((kind, index) =>
          productRecord({ ...product, kind, version: before.version + 1 + index }, nowMs),
        );
        await appendOutbox(trx, records);
        return changed;
      },
      ({ ok }) => ok,
    ),
  );
}

/** Products, the newest first. */
export async function listProducts(db: Kysely<OrderTables>, limit: number): Promise<Product[]> {
  const rows = await db
    .selectFrom('shop_product')
    .selectAll()
    .orderBy('product_id', 'desc')
    .limit(limit)
    .execute();
  return rows.map(productOf);
}

export interface OrderPlacement {
  /** Pseudonym of the customer. */
  readonly user: string;
  readonly items: readonly { readonly productId: string; readonly quantity: number }[];
  readonly call?: OnceCall | undefined;
}

export type Placed = (Priced & { readonly ok: false }) | { readonly ok: true; readonly order: Order };

/**
 * Places orders, each once per call: one look at the products, one insert and one timer for all. Those that are not paid
 * `payWithinMs` from now on expire. Answers are in the order given.
 */
export async function placeOrders(
  db: Kysely<OrderTables>,
  placements: readonly OrderPlacement[],
  nowMs: number,
  payWithinMs: number,
): Promise<readonly Placed[]> {
  const keyed = placements.flatMap((placement) =>
    placement.call === undefined ? [] : [{ ...placement.call, placement }],
  );
  return transaction(db, async (trx) => {
    const plain = placements.filter(({ call }) => call === undefined);
    const placed = new Map<OrderPlacement, Placed>();
    for (const [index, one] of (await insertOrders(trx, plain, nowMs, payWithinMs)).entries())
      placed.set(plain[index]!, one);
    const outcomes = await onceAll(
      onceRows(trx),
      keyed,
      (first) =>
        insertOrders(
          trx,
          first.map(({ placement }) => placement),
          nowMs,
          payWithinMs,
        ),
      ({ ok }) => ok,
    );
    for (const [index, outcome] of outcomes.entries())
      placed.set(keyed[index]!.placement, 'error' in outcome ? refusedKey(outcome.error) : outcome.answer);
    return placements.map((placement) => placed.get(placement)!);
  });
}

async function insertOrders(
  trx: Transaction<OrderTables>,
  placements: readonly OrderPlacement[],
  nowMs: number,
  payWithinMs: number,
): Promise<readonly Placed[]> {
  if (placements.length === 0) return [];
  const ids = [...new Set(placements.flatMap(({ items }) => items.map(({ productId }) => productId)))];
  const products = await trx
    .selectFrom('shop_product')
    .select(['product_id', 'amount_minor', 'currency'])
    .where('product_id', 'in', ids)
    .execute();
  const prices = new Map(products.map((row) => [row.product_id, moneyOf(row)]));
  const placed = placements.map(({ user, items }): Placed => {
    const priced = priceOrder(items, prices);
    if (!priced.ok) return priced;
    const { lines, total } = priced;
    return { ok: true, order: { orderId: uuidV7(nowMs), user, status: 'PENDING', lines, total } };
  });
  const rows = placed.flatMap((one) =>
    one.ok
      ? [
          {
            order_id: one.order.orderId,
            user: one.order.user,
            status: one.order.status,
            order_lines: JSON.stringify(one.order.lines),
            amount_minor: one.order.total.amountMinor,
            currency: one.order.total.currency,
            failed_product_id: null,
            created_at: new Date(nowMs),
            settled_at: null,
          },
        ]
      : [],
  );
  if (rows.length > 0) {
    await trx.insertInto('shop_order').values(rows).execute();
    const orderIds = rows.map(({ order_id }) => order_id);
    await setTimer(trx, [expiryRecord(orderIds, nowMs)], payWithinMs);
  }
  return placed;
}

export interface OrderView extends Order {
  readonly createdAtMs: number;
  /** When it was paid, failed or expired. */
  readonly settledAtMs: number | undefined;
  readonly paymentId: string | undefined;
}

export async function findOrder(db: Kysely<OrderTables>, orderId: string): Promise<OrderView | undefined> {
  const row = await db
    .selectFrom('shop_order')
    .leftJoin('shop_payment', 'shop_payment.order_id', 'shop_order.order_id')
    .selectAll('shop_order')
    .select('shop_payment.payment_id')
    .where('shop_order.order_id', '=', orderId)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    ...orderOf(row),
    createdAtMs: row.created_at.getTime(),
    settledAtMs: row.settled_at?.getTime(),
    paymentId: row.payment_id ?? undefined,
  };
}

/** The rows that orders are paid by. */
export function paymentStore(database: () => Promise<Kysely<OrderTables>>): PaymentStore {
  return {
    transaction: async (work) => transaction(await database(), (trx) => work(paymentRows(trx))),
  };
}

function paymentRows(trx: Transaction<OrderTables>): PaymentRows {
  return {
    async lockOrders(orderIds) {
      const rows = await trx
        .selectFrom('shop_order')
        .selectAll()
        .where('order_id', 'in', orderIds)
        .orderBy('order_id')
        .forUpdate()
        .execute();
      return rows.map(orderOf);
    },

    once: onceRows(trx),

    lockProducts: (productIds) => lockProducts(trx, productIds),

    async failOrder(orderId, shortProductId, atMs) {
      await trx
        .updateTable('shop_order')
        .set({ settled_at: new Date(atMs), status: 'FAILED', failed_product_id: shortProductId })
        .where('order_id', '=', orderId)
        .execute();
    },

    async completeOrders(orderIds, atMs) {
      await trx
        .updateTable('shop_order')
        .set({ settled_at: new Date(atMs), status: 'COMPLETED' })
        .where('order_id', 'in', orderIds)
        .execute();
    },

    async addPayments(paid, atMs) {
      await trx
        .insertInto('shop_payment')
        .values(
          paid.map(({ call, order }) => ({
            payment_id: call.paymentId,
            order_id: order.orderId,
            user: order.user,
            amount_minor: order.total.amountMinor,
            currency: order.total.currency,
            method: call.method,
            card_last4: call.cardLast4 ?? null,
            paid_at: new Date(atMs),
          })),
        )
        .execute();
    },

    async setStock(stock, depleted) {
      if (stock.size === 0) return;
      await sql`
        UPDATE shop_product
        SET stock = CASE product_id ${sql.join(
          [...stock].map(([id, left]) => sql`WHEN ${id} THEN ${left}`),
          sql` `,
        )} END,
          version = version + ${depleted.length === 0 ? sql`0` : sql`(product_id IN (${sql.join(depleted)}))`}
        WHERE product_id IN (${sql.join([...stock.keys()])})`.execute(trx);
    },

    appendOutbox: (records) => appendOutbox(trx, records),
  };
}

async function lockProducts(
  trx: Transaction<OrderTables>,
  ids: readonly string[],
): Promise<readonly VersionedProduct[]> {
  if (ids.length === 0) return [];
  const rows = await trx
    .selectFrom('shop_product')
    .selectAll()
    .where('product_id', 'in', ids)
    .orderBy('product_id')
    .forUpdate()
    .execute();
  return rows.map((row) => ({ ...productOf(row), version: row.version }));
}

const productOf = (row: Selectable<ProductTable>): Product => ({
  productId: row.product_id,
  name: row.name,
  price: moneyOf(row),
  stock: row.stock,
});

function orderOf(row: Selectable<OrderTable>): Order {
  return {
    orderId: row.order_id,
    user: row.user,
    status: row.status,
    lines: JSON.parse(row.order_lines) as OrderLine[],
    total: moneyOf(row),
    ...(row.failed_product_id === null ? {} : { failedProductId: row.failed_product_id }),
  };
}

const moneyOf = (row: { amount_minor: number; currency: string }): Money => ({
  amountMinor: Number(row.amount_minor),
  currency: row.currency,
});
