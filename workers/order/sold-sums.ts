/**
 * How many of each product were sold, from the payments and the lines of their orders: what is older than a minute is added up
 * once and remembered, what is newer is read each time.
 */
import { type Kysely, sql, type Transaction } from 'kysely';

/** Longer than a payment takes from its time to its commit. */
const settledMs = 60_000;
/** Payments of one statement, and statements of one call. */
const paymentsAtOnce = 5_000;
const mostStatements = 20;

export interface SoldSums {
  /** Adds up what has become old enough. Rejects while there is more than it does in one call. */
  advance(db: Kysely<unknown>, nowMs?: number): Promise<void>;
  /** Sold before the minute that is left out. */
  of(productId: string): number;
  /** Sold since then, by product. */
  newest(db: Kysely<unknown> | Transaction<unknown>): Promise<ReadonlyMap<string, number>>;
  /** Products that were added to since the last call. */
  takeChanged(): readonly string[];
  /** Some of the products that were ever sold, in an order that stays. */
  page(from: number, count: number): readonly string[];
}

export function soldSums(): SoldSums {
  const sums = new Map<string, number>();
  const products: string[] = [];
  let changed = new Set<string>();
  /** What was paid before is in `sums`; undefined: nothing was read yet. */
  let toMs: number | undefined;

  async function soldWithin(
    db: Kysely<unknown>,
    fromMs: number,
    untilMs: number | undefined,
  ): Promise<readonly { readonly id: string; readonly quantity: number }[]> {
    const until = untilMs === undefined ? sql`` : sql`AND p.paid_at < ${new Date(untilMs)}`;
    const { rows } = await sql<{ id: string; quantity: string | number }>`
      SELECT line.id, SUM(line.quantity) AS quantity
      FROM shop_payment p JOIN shop_order o ON o.order_id = p.order_id,
        JSON_TABLE(o.order_lines, '$[*]' COLUMNS (
          id VARCHAR(200) PATH '$.productId', quantity BIGINT PATH '$.quantity')) AS line
      WHERE p.paid_at >= ${new Date(fromMs)} ${until}
      GROUP BY line.id`.execute(db);
    return rows.map(({ id, quantity }) => ({ id, quantity: Number(quantity) }));
  }

  /** Where the next statement has to end. */
  async function endOf(db: Kysely<unknown>, fromMs: number, upToMs: number): Promise<number> {
    const { rows } = await sql<{ at: Date }>`
      SELECT paid_at AS at FROM shop_payment
      WHERE paid_at > ${new Date(fromMs)} AND paid_at < ${new Date(upToMs)}
      ORDER BY paid_at LIMIT 1 OFFSET ${paymentsAtOnce}`.execute(db);
    return rows[0]?.at.getTime() ?? upToMs;
  }

  return {
    async advance(db, nowMs = Date.now()) {
      const upToMs = nowMs - settledMs;
      // Never younger than a minute: what commits late has an earlier time than what was seen already.
      let fromMs = toMs ?? Math.min((await firstPaidMs(db)) ?? upToMs, upToMs);
      for (let n = 0; fromMs < upToMs; n++) {
        if (n === mostStatements)
          throw new Error(`it still adds up what was sold before ${new Date(fromMs).toISOString()}`);
        const untilMs = await endOf(db, fromMs, upToMs);
        for (const { id, quantity } of await soldWithin(db, fromMs, untilMs)) {
          if (!sums.has(id)) products.push(id);
          sums.set(id, (sums.get(id) ?? 0) + quantity);
          changed.add(id);
        }
        fromMs = untilMs;
        toMs = fromMs;
      }
      toMs = fromMs;
    },
    of: (productId) => sums.get(productId) ?? 0,
    async newest(db) {
      return new Map((await soldWithin(db, toMs!, undefined)).map(({ id, quantity }) => [id, quantity]));
    },
    takeChanged() {
      const taken = [...changed];
      changed = new Set();
      return taken;
    },
    page: (from, count) => products.slice(from, from + count),
  };
}

async function firstPaidMs(db: Kysely<unknown>): Promise<number | undefined> {
  const { rows } = await sql<{ first: Date | null }>`SELECT MIN(paid_at) AS first FROM shop_payment`.execute(
    db,
  );
  return rows[0]?.first?.getTime();
}
