/** The data platform: paid orders and products in a database of their own, and the questions asked of it. */
import { type Kysely, sql } from 'kysely';
import type { OrderCompleted, ProductEvent } from '../../catalog/events/order.ts';
import { transaction } from '../store/database.ts';

interface SaleTable {
  order_id: string;
  user: string;
  completed_at: Date;
  amount_minor: number;
  currency: string;
}

interface SaleItemTable {
  order_id: string;
  product_id: string;
  quantity: number;
  amount_minor: number | string | null;
  currency: string;
  user: string;
  completed_at: Date;
}

interface ProductTable {
  product_id: string;
  version: number;
  name: string;
  amount_minor: number;
  currency: string;
  stock: number;
  depleted_at: Date | null;
  changed_at: Date;
}

export interface AnalyticsTables {
  sale: SaleTable;
  sale_item: SaleItemTable;
  product: ProductTable;
}

/** Stores orders, each once however often it comes. */
export async function storeSales(
  db: Kysely<AnalyticsTables>,
  orders: readonly OrderCompleted[],
): Promise<void> {
  if (orders.length === 0) return;
  const sales = orders.map((order) => ({
    order_id: order.orderId,
    user: order.userId,
    completed_at: new Date(order.completedAt),
    amount_minor: order.totalAmount.amountMinor,
    currency: order.totalAmount.currency,
  }));
  const items = orders.flatMap((order) =>
    order.products.map(({ id, qty, unitAmountMinor }) => ({
      order_id: order.orderId,
      product_id: id,
      quantity: qty,
      // Exact beyond 2^53; what does not fit the column is refused by the server.
      amount_minor: unitAmountMinor === undefined ? null : String(BigInt(unitAmountMinor) * BigInt(qty)),
      currency: order.totalAmount.currency,
      user: order.userId,
      completed_at: new Date(order.completedAt),
    })),
  );
  await transaction(db, async (trx) => {
    // Not INSERT IGNORE: that would also cut and round what does not fit.
    await trx
      .insertInto('sale')
      .values(sales)
      .onDuplicateKeyUpdate({ order_id: sql`sale.order_id` })
      .execute();
    await trx
      .insertInto('sale_item')
      .values(items)
      .onDuplicateKeyUpdate({ order_id: sql`sale_item.order_id` })
      .execute();
  });
}

/** Keeps products as their newest event says, whatever order events come in. */
export async function storeProducts(
  db: Kysely<AnalyticsTables>,
  events: readonly ProductEvent[],
): Promise<void> {
  for (const event of events) {
    const changedAt = new Date(event.changedAt);
    const row = {
      version: event.version,
      name: event.name,
      amount_minor: event.price.amountMinor,
      currency: event.price.currency,
      stock: event.stock,
      changed_at: changedAt,
      ...(event.kind === 'DEPLETED' ? { depleted_at: changedAt } : {}),
    };
    await transaction(db, async (trx) => {
      await trx
        .insertInto('product')
        .values({ ...row, product_id: event.productId, version: 0, depleted_at: null })
        .onDuplicateKeyUpdate({ product_id: sql`product.product_id` })
        .execute();
      await trx
        .updateTable('product')
        .set(row)
        .where('product_id', '=', event.productId)
        .where('version', '<', event.version)
        .execute();
    });
  }
}

export interface Period {
  readonly fromMs: number;
  /** Not included. */
  readonly toMs: number;
}

const within = ({ fromMs, toMs }: Period) =>
  sql<boolean>`completed_at >= ${new Date(fromMs)} AND completed_at < ${new Date(toMs)}`;

/** Sales per hour or day (UTC) and currency, of everything or of one product. */
export async function salesOverTime(
  db: Kysely<AnalyticsTables>,
  period: Period,
  by: 'hour' | 'day',
  productId?: string,
) {
  const format = by === 'hour' ? '%Y-%m-%dT%H:00:00.000Z' : '%Y-%m-%dT00:00:00.000Z';
  const { rows } =
    productId === undefined
      ? await sql<{ start: string; orders: number; amount: string | number; currency: string }>`
          SELECT DATE_FORMAT(completed_at, ${format}) AS start, COUNT(*) AS orders,
            SUM(amount_minor) AS amount, currency
          FROM sale WHERE ${within(period)}
          GROUP BY start, currency ORDER BY start, currency`.execute(db)
      : await sql<{ start: string; orders: number; amount: string | number | null; currency: string }>`
          SELECT DATE_FORMAT(completed_at, ${format}) AS start, COUNT(*) AS orders,
            SUM(amount_minor) AS amount, currency
          FROM sale_item WHERE product_id = ${productId} AND ${within(period)}
          GROUP BY start, currency ORDER BY start, currency`.execute(db);
  return rows.map(({ start, orders, amount, currency }) => ({
    start,
    orders: Number(orders),
    amountMinor: Number(amount ?? 0),
    currency,
  }));
}

/** What was sold of each product, the most first. */
export async function salesByProduct(db: Kysely<AnalyticsTables>, period: Period, limit: number) {
  const { rows } = await sql<{
    productId: string;
    name: string | null;
    orders: number;
    quantity: string | number;
    amount: string | number | null;
    currency: string;
  }>`
    SELECT item.*, product.name FROM (
      SELECT product_id AS productId, COUNT(*) AS orders, SUM(quantity) AS quantity,
        SUM(amount_minor) AS amount, currency
      FROM sale_item WHERE ${within(period)}
      GROUP BY product_id, currency ORDER BY quantity DESC, product_id LIMIT ${limit}
    ) AS item LEFT JOIN product ON product.product_id = item.productId
    ORDER BY quantity DESC, productId`.execute(db);
  return rows.map((row) => ({
    productId: row.productId,
    name: row.name ?? undefined,
    orders: Number(row.orders),
    quantity: Number(row.quantity),
    amountMinor: Number(row.amount ?? 0),
    currency: row.currency,
  }));
}

/** Customers (pseudonyms) by what they spent, and how many come back. */
export async function customerBehaviour(db: Kysely<AnalyticsTables>, period: Period, limit: number) {
  const summary = await sql<{ customers: number; returning_: number | null; orders: number | null }>`
    SELECT COUNT(*) AS customers, SUM(orders > 1) AS returning_, SUM(orders) AS orders FROM (
      SELECT user, COUNT(*) AS orders FROM sale WHERE ${within(period)} GROUP BY user
    ) AS customer`.execute(db);
  const top = await sql<{
    user: string;
    orders: number;
    amount: string | number;
    currency: string;
    first_at: Date;
    last_at: Date;
  }>`
    SELECT user, COUNT(*) AS orders, SUM(amount_minor) AS amount, currency,
      MIN(completed_at) AS first_at, MAX(completed_at) AS last_at
    FROM sale WHERE ${within(period)}
    GROUP BY user, currency ORDER BY amount DESC, user LIMIT ${limit}`.execute(db);
  const { customers, returning_, orders } = summary.rows[0]!;
  return {
    customers: Number(customers),
    returning: Number(returning_ ?? 0),
    orders: Number(orders ?? 0),
    top: top.rows.map((row) => ({
      user: row.user,
      orders: Number(row.orders),
      amountMinor: Number(row.amount),
      currency: row.currency,
      firstOrderAt: row.first_at.toISOString(),
      lastOrderAt: row.last_at.toISOString(),
    })),
  };
}

/** Which products customers prefer: how many buy a product and how many buy it again; of one customer or of all. */
export async function productPreferences(
  db: Kysely<AnalyticsTables>,
  period: Period,
  limit: number,
  user?: string,
) {
  const { rows } = await sql<{
    productId: string;
    name: string | null;
    customers: number;
    again: number;
    quantity: string | number;
  }>`
    SELECT preference.*, product.name FROM (
      SELECT productId, COUNT(*) AS customers, SUM(orders > 1) AS again, SUM(quantity) AS quantity FROM (
        SELECT product_id AS productId, user, COUNT(*) AS orders, SUM(quantity) AS quantity
        FROM sale_item WHERE ${within(period)} ${user === undefined ? sql`` : sql`AND user = ${user}`}
        GROUP BY product_id, user
      ) AS bought
      GROUP BY productId ORDER BY customers DESC, quantity DESC, productId LIMIT ${limit}
    ) AS preference LEFT JOIN product ON product.product_id = preference.productId
    ORDER BY customers DESC, quantity DESC, productId`.execute(db);
  return rows.map((row) => ({
    productId: row.productId,
    name: row.name ?? undefined,
    customers: Number(row.customers),
    boughtAgain: Number(row.again),
    quantity: Number(row.quantity),
  }));
}
