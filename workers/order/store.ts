/** Products, orders and payments in SQL: the truth about what is sold and paid. */
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { transaction } from '../platform/database.ts';
import { appendOutbox } from '../platform/outbox.ts';
import { newId } from './ids.ts';
import {
  decidePayments,
  type Money,
  type Order,
  type OrderLine,
  type OrderStatus,
  type PaymentAnswer,
  type PaymentRequest,
  type Priced,
  priceOrder,
} from './order.ts';
import { paidRecords, productRecord } from './records.ts';

interface ProductTable {
  product_id: string;
  name: string;
  amount_minor: number;
  currency: string;
  stock: number;
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
  idempotency_key: Buffer;
  request_hash: string;
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

export interface Product {
  readonly productId: string;
  readonly name: string;
  readonly price: Money;
  readonly stock: number;
}

/** Adds a product, with its event. */
export async function createProduct(
  db: Kysely<OrderTables>,
  product: Omit<Product, 'productId'>,
  nowMs: number,
): Promise<Product> {
  const created = { ...product, productId: newId(nowMs) };
  await transaction(db, async (trx) => {
    await trx
      .insertInto('shop_product')
      .values({
        product_id: created.productId,
        name: created.name,
        amount_minor: created.price.amountMinor,
        currency: created.price.currency,
        stock: created.stock,
        version: 1,
        created_at: new Date(nowMs),
      })
      .execute();
    await appendOutbox(trx, [productRecord({ ...created, kind: 'CREATED', version: 1 }, nowMs)]);
  });
  return created;
}

export type ProductChange = { readonly price?: Money; readonly addStock?: number };

/**
 * Changes price and stock by hand, with an event for each that changes. `unknown`: no such product; `short`: the stock
 * would go below zero; `currency`: a product keeps its currency, because orders that wait for their payment have it.
 */
export async function changeProduct(
  db: Kysely<OrderTables>,
  productId: string,
  change: ProductChange,
  nowMs: number,
): Promise<Product | 'unknown' | 'short' | 'currency'> {
  return transaction(db, async (trx) => {
    const [before] = await lockProducts(trx, [productId]);
    if (before === undefined) return 'unknown';
    if (change.price !== undefined && change.price.currency !== before.currency) return 'currency';
    const stock = before.stock + (change.addStock ?? 0);
    if (stock < 0) return 'short';
    const events = [
      ...((change.price?.amountMinor ?? before.amount_minor) === before.amount_minor
        ? []
        : (['PRICE_CHANGED'] as const)),
      ...(stock === before.stock ? [] : (['STOCK_CHANGED'] as const)),
    ];
    const product: Product = {
      productId,
      name: before.name,
      price: change.price ?? { amountMinor: before.amount_minor, currency: before.currency },
      stock,
    };
    await trx
      .updateTable('shop_product')
      .set({ amount_minor: product.price.amountMinor, stock, version: before.version + events.length })
      .where('product_id', '=', productId)
      .execute();
    await appendOutbox(
      trx,
      events.map((kind, index) =>
        productRecord({ ...product, kind, version: before.version + 1 + index }, nowMs),
      ),
    );
    return product;
  });
}

/** Products, the newest first. */
export async function listProducts(db: Kysely<OrderTables>, limit: number): Promise<readonly Product[]> {
  const rows = await db
    .selectFrom('shop_product')
    .selectAll()
    .orderBy('product_id', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    productId: row.product_id,
    name: row.name,
    price: moneyOf(row),
    stock: row.stock,
  }));
}

export interface OrderPlacement {
  /** Pseudonym of the customer. */
  readonly user: string;
  readonly items: readonly { readonly productId: string; readonly quantity: number }[];
}

export type Placed = (Priced & { readonly ok: false }) | { readonly ok: true; readonly order: Order };

/** Places orders: one look at the products and one insert for all of them. Answers are in the order of the calls. */
export async function placeOrders(
  db: Kysely<OrderTables>,
  placements: readonly OrderPlacement[],
  nowMs: number,
): Promise<readonly Placed[]> {
  const ids = [...new Set(placements.flatMap(({ items }) => items.map(({ productId }) => productId)))];
  const products = await db
    .selectFrom('shop_product')
    .select(['product_id', 'amount_minor', 'currency'])
    .where('product_id', 'in', ids)
    .execute();
  const prices = new Map(products.map((row) => [row.product_id, moneyOf(row)]));
  const placed = placements.map(({ user, items }): Placed => {
    const priced = priceOrder(items, prices);
    if (!priced.ok) return priced;
    const { lines, total } = priced;
    return { ok: true, order: { orderId: newId(nowMs), user, status: 'PENDING', lines, total } };
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
  // One statement: all of it or nothing.
  if (rows.length > 0) await db.insertInto('shop_order').values(rows).execute();
  return placed;
}

export interface OrderView extends Order {
  readonly createdAtMs: number;
  /** When it was paid or failed. */
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

export interface PaymentCall extends PaymentRequest {
  readonly method: string;
  readonly cardLast4: string | undefined;
  /** Goes on in the events of the payment. */
  readonly traceparent: string | undefined;
}

/**
 * Pays orders in one transaction: payments, orders, stock and outbox rows of all of them commit together or not at all,
 * in as many round trips as for one. Rejects when the database is down; when that happened during the commit it is not
 * known here whether it took place, and the same calls again tell.
 */
export async function payOrders(
  db: Kysely<OrderTables>,
  calls: readonly PaymentCall[],
  nowMs: number,
): Promise<readonly PaymentAnswer[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await transaction(db, (trx) => payWithin(trx, calls, nowMs));
    } catch (error) {
      // Another process has used a key of the same customer at the same time: its payment can be seen now.
      if ((error as NodeJS.ErrnoException).errno !== duplicateEntry || attempt >= 3) throw error;
    }
  }
}

const duplicateEntry = 1062;

async function payWithin(
  trx: Transaction<OrderTables>,
  calls: readonly PaymentCall[],
  nowMs: number,
): Promise<readonly PaymentAnswer[]> {
  // Orders first, then products, each by id: two transactions that need the same rows wait and never deadlock.
  const rows = await trx
    .selectFrom('shop_order')
    .selectAll()
    .where('order_id', 'in', [...new Set(calls.map(({ orderId }) => orderId))])
    .orderBy('order_id')
    .forUpdate()
    .execute();
  const orders = new Map(rows.map((row) => [row.order_id, orderOf(row)]));
  const keys = calls.flatMap(({ orderId, idempotencyKey }) => {
    const order = orders.get(orderId);
    // Not (user, key) IN (...): MariaDB finds no index for that.
    return order === undefined
      ? []
      : [sql<boolean>`(user = ${order.user} AND idempotency_key = ${Buffer.from(idempotencyKey)})`];
  });
  const payments =
    keys.length === 0
      ? []
      : await trx
          .selectFrom('shop_payment')
          .select(['payment_id', 'order_id', 'user', 'idempotency_key', 'request_hash'])
          .where(sql<boolean>`(${sql.join(keys, sql` OR `)})`)
          .execute();
  const wanted = [...orders.values()]
    .filter(({ status }) => status === 'PENDING')
    .flatMap(({ lines }) => lines.map(({ productId }) => productId));
  const products = await lockProducts(trx, [...new Set(wanted)]);

  const decision = decidePayments(
    {
      orders,
      payments: payments.map((row) => ({
        paymentId: row.payment_id,
        orderId: row.order_id,
        user: row.user,
        idempotencyKey: row.idempotency_key.toString(),
        requestHash: row.request_hash,
      })),
      stock: new Map(products.map(({ product_id, stock }) => [product_id, stock])),
    },
    calls,
  );

  const settled = { settled_at: new Date(nowMs) };
  for (const { order, productId } of decision.failed)
    await trx
      .updateTable('shop_order')
      .set({ ...settled, status: 'FAILED', failed_product_id: productId })
      .where('order_id', '=', order.orderId)
      .execute();
  if (decision.paid.length === 0) return decision.answers;

  await trx
    .updateTable('shop_order')
    .set({ ...settled, status: 'COMPLETED' })
    .where(
      'order_id',
      'in',
      decision.paid.map(({ order }) => order.orderId),
    )
    .execute();
  const callOf = new Map(calls.map((call) => [call.paymentId, call]));
  await trx
    .insertInto('shop_payment')
    .values(
      decision.paid.map(({ request, order }) => {
        const call = callOf.get(request.paymentId)!;
        return {
          payment_id: call.paymentId,
          order_id: order.orderId,
          user: order.user,
          idempotency_key: Buffer.from(call.idempotencyKey),
          request_hash: call.requestHash,
          amount_minor: order.total.amountMinor,
          currency: order.total.currency,
          method: call.method,
          card_last4: call.cardLast4 ?? null,
          paid_at: new Date(nowMs),
        };
      }),
    )
    .execute();
  const depleted = products.filter(({ product_id }) => decision.stock.get(product_id) === 0);
  const changed = [...decision.stock];
  if (changed.length > 0)
    await sql`
      UPDATE shop_product
      SET stock = CASE product_id ${sql.join(
        changed.map(([id, stock]) => sql`WHEN ${id} THEN ${stock}`),
        sql` `,
      )} END,
        version = version + ${
          depleted.length === 0
            ? sql`0`
            : sql`(product_id IN (${sql.join(depleted.map(({ product_id }) => product_id))}))`
        }
      WHERE product_id IN (${sql.join(changed.map(([id]) => id))})`.execute(trx);
  await appendOutbox(trx, [
    ...decision.paid.flatMap(({ request, order }) => {
      const { paymentId, traceparent } = callOf.get(request.paymentId)!;
      return paidRecords(order, { paymentId, paidAtMs: nowMs, traceparent });
    }),
    ...depleted.map((row) =>
      productRecord(
        {
          productId: row.product_id,
          kind: 'DEPLETED',
          version: row.version + 1,
          name: row.name,
          price: moneyOf(row),
          stock: 0,
        },
        nowMs,
      ),
    ),
  ]);
  return decision.answers;
}

async function lockProducts(
  trx: Transaction<OrderTables>,
  ids: readonly string[],
): Promise<readonly Selectable<ProductTable>[]> {
  if (ids.length === 0) return [];
  return trx
    .selectFrom('shop_product')
    .selectAll()
    .where('product_id', 'in', ids)
    .orderBy('product_id')
    .forUpdate()
    .execute();
}

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
