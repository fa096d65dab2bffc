/** Shops and their menus, and the stock of dishes, in one transaction each. */
import { type Kysely, sql, type Transaction } from 'kysely';
import { bytesOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import type { Money } from '../base/money.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { databaseNowMs, transaction } from '../store/database.ts';
import { type OnceCall, once } from '../store/once.ts';

type Trx = Transaction<unknown>;

export interface Database {
  database(): Promise<Kysely<unknown>>;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}

/** Reads the time, UTC ms. */
export const clockOf =
  ({ clock }: Database) =>
  async (db: Kysely<unknown>): Promise<number> =>
    clock?.() ?? databaseNowMs(db);

/** Runs work in a transaction, with the time. */
export const withinOf =
  (on: Database) =>
  // The clock is read before any lock: a request counts from when it came, not from when its turn came.
  async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
    transaction(await on.database(), async (trx) => work(trx, await clockOf(on)(trx)));

export interface Item {
  readonly itemId: string;
  readonly name: string;
  readonly price: Money;
  readonly stock: number;
}

export type Done = { readonly ok: true } | Refused;

const maxStock = 1_000_000_000;

export type ShopStore = ReturnType<typeof shopStore>;

export function shopStore(on: Database) {
  const { database } = on;
  const within = withinOf(on);
  return {
    /** A shop without a menu; resolves to its id. */
    openShop: (owner: string, name: string, call?: OnceCall): Promise<string> =>
      within((trx, now) =>
        once(trx, call, async () => {
          const shopId = uuidV7(now);
          await sql`INSERT INTO delivery_shop (shop_id, owner, name) VALUES (${bytesOfUuid(shopId)}, ${owner}, ${name})`.execute(
            trx,
          );
          return shopId;
        }),
      ),

    /** A dish of a shop of this owner. */
    addItem: (
      owner: string,
      shopId: string,
      { name, price, stock }: Omit<Item, 'itemId'>,
      call?: OnceCall,
    ): Promise<{ readonly ok: true; readonly itemId: string } | Refused> =>
      within((trx, now) =>
        once(
          trx,
          call,
          async () => {
            const itemId = uuidV7(now);
            const { numAffectedRows } = await sql`
              INSERT INTO delivery_item (item_id, shop_id, name, price_minor, currency, stock)
              SELECT ${bytesOfUuid(itemId)}, shop_id, ${name}, ${price.amountMinor}, ${price.currency}, ${stock}
              FROM delivery_shop WHERE shop_id = ${bytesOfUuid(shopId)} AND owner = ${owner}`.execute(trx);
            return numAffectedRows === 1n ? ({ ok: true, itemId } as const) : unknownShop;
          },
          ({ ok }) => ok,
        ),
      ),

    /** More of a dish, or less of what is left (below zero). */
    addStock: (owner: string, itemId: string, quantity: number, call: OnceCall): Promise<Done> =>
      within((trx) =>
        once(
          trx,
          call,
          async (): Promise<Done> => {
            const item = (await lockItems(trx, [itemId])).get(itemId);
            if (item === undefined || item.owner !== owner) return unknownItem;
            const stock = item.stock + quantity;
            if (stock < 0 || stock > maxStock)
              return refuse(409, 'MUSTER_STOCK_INVALID', 'there cannot be that many', [
                { field: 'quantity', reason: `there are ${item.stock}, and may be 0 to ${maxStock}` },
              ]);
            await changeStock(trx, [{ itemId, by: quantity }]);
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

    /** Shops, the newest first, from before an id on. */
    async shops({
      limit,
      before,
    }: {
      readonly limit: number;
      readonly before: string;
    }): Promise<readonly { readonly shopId: string; readonly name: string }[]> {
      const { rows } = await sql<{ shop_id: Buffer; name: string }>`
        SELECT shop_id, name FROM delivery_shop WHERE shop_id < ${bytesOfUuid(before)}
        ORDER BY shop_id DESC LIMIT ${limit}`.execute(await database());
      return rows.map(({ shop_id, name }) => ({ shopId: uuidOfBytes(shop_id), name }));
    },
  };
}

const unknownShop = refuse(404, 'MUSTER_SHOP_UNKNOWN', 'you have no such shop');
export const unknownItem = refuse(404, 'MUSTER_ITEM_UNKNOWN', 'there is no such dish');

/** By what a column is: the value for each. */
export const cases = (column: string, values: readonly (readonly [when: unknown, then: unknown])[]) =>
  sql`CASE ${sql.ref(column)} ${sql.join(
    values.map(([when, then]) => sql`WHEN ${when} THEN ${then}`),
    sql` `,
  )} END`;

export async function changeStock(
  trx: Trx,
  changes: readonly { readonly itemId: string; readonly by: number }[],
): Promise<void> {
  if (changes.length === 0) return;
  const sums = new Map<string, number>();
  for (const { itemId, by } of changes) sums.set(itemId, (sums.get(itemId) ?? 0) + by);
  const by = [...sums].map(([itemId, sum]) => [bytesOfUuid(itemId), sum] as const);
  await sql`
    UPDATE delivery_item SET stock = stock + ${cases('item_id', by)}
    WHERE item_id IN (${sql.join(by.map(([id]) => id))})`.execute(trx);
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

/** Those dishes that there are, locked in the order of their ids, with their shop's owner. */
export async function lockItems(trx: Trx, ids: readonly string[]) {
  // Of the shop nothing is locked: dishes of one shop do not wait for each other.
  const { rows } = await sql<ItemRow & { shop_id: Buffer; owner: string }>`
    SELECT item_id, name, price_minor, currency, stock, shop_id,
      (SELECT owner FROM delivery_shop s WHERE s.shop_id = i.shop_id) AS owner
    FROM delivery_item i WHERE item_id IN (${sql.join([...new Set(ids)].map(bytesOfUuid))})
    ORDER BY item_id FOR UPDATE`.execute(trx);
  const items = rows.map((row) => ({ ...itemOf(row), shopId: uuidOfBytes(row.shop_id), owner: row.owner }));
  return new Map(items.map((item) => [item.itemId, item]));
}
