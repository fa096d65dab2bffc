/**
 * What the data platform knows of all that was ever sold: what a ranking is made of again when Redis has lost it and the
 * topic no longer holds its beginning.
 */
import { type Kysely, sql } from 'kysely';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { NotNowError } from '../base/errors.ts';
import type { Kafka } from '../kafka/kafka.ts';
import type { AnalyticsTables } from './analytics.ts';

export interface SalesHistory {
  /**
   * Sums of all that was sold, as of one moment. Rejects with a NotNowError while the data platform is behind or away.
   * Undefined: it does not know all of what is gone from the topic, because that went before it had read it.
   */
  sums(): Promise<SalesSums | undefined>;
}

export interface SalesSums {
  readonly quantities: ReadonlyMap<string, number>;
  /** Per partition the offset before which all orders are in the sums. */
  readonly next: ReadonlyMap<number, number>;
  /** Ids of the newest orders in the sums, oldest first: those beyond `next` are among them. */
  readonly newest: readonly string[];
}

/** Orders that are not committed, but perhaps stored already; with more of them it is behind. */
const mostAhead = 10_000;

/** `group`: as which the data platform reads the topic. */
export function salesHistory(
  kafka: Pick<Kafka, 'admin'>,
  topic: string,
  group: ConsumerGroup,
  db: Kysely<AnalyticsTables>,
): SalesHistory {
  return {
    async sums() {
      // In this order: what is committed by now is in the tables that are read next.
      const committed = await kafka.admin.committed(group.id, topic);
      const logs = await kafka.admin.offsets(topic);
      const next = new Map<number, number>();
      let ahead = 0;
      for (const { partition, low, high } of logs) {
        const at = committed.get(partition) ?? 0;
        if (at < low) return undefined;
        ahead += high - at;
        next.set(partition, at);
      }
      if (ahead > mostAhead)
        throw new NotNowError('MUSTER_SALES_BEHIND', 'the data platform has not read all orders yet');
      return db
        .transaction()
        .setIsolationLevel('repeatable read')
        .execute(async (trx) => {
          const sums = await sql<{ productId: string; quantity: string | number }>`
            SELECT product_id AS productId, SUM(quantity) AS quantity FROM sale_item GROUP BY product_id`.execute(
            trx,
          );
          const newest = await sql<{ orderId: string }>`
            SELECT order_id AS orderId FROM sale ORDER BY completed_at DESC LIMIT ${2 * mostAhead}`.execute(
            trx,
          );
          return {
            next,
            quantities: new Map(sums.rows.map(({ productId, quantity }) => [productId, Number(quantity)])),
            newest: newest.rows.map(({ orderId }) => orderId).reverse(),
          };
        });
    },
  };
}
