/** What orders promise, checked in the database, in Redis and on the topics, by questions of its own. */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { RedisClientType } from 'redis';
import { topics } from '../../catalog/topics.ts';
import { uuidV7Floor } from '../base/ids.ts';
import { headerText } from '../kafka/records.ts';
import { arrived } from '../platform/arrived.ts';
import { type Check, type CheckDeps, type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';
import { sweep } from '../store/sweep.ts';
import { rankingKey } from './ranking.ts';
import { type SoldSums, soldSums } from './sold-sums.ts';

/** Younger than retention makes rows of the event log. */
const keptDays = 80;

export const orderChecks: ChecksOf<'order'> = {
  'orders-paid-once': ({ database, payWithinMs }, { limitMs }) => {
    const common = { keyAt: uuidV7Floor, idOf: (id: string) => id };
    const settled = (judgedAfterMs: number) =>
      sweep<string>({
        ...common,
        judgedAfterMs,
        table: 'shop_order',
        key: 'order_id',
        wrong: (among) => sql`
          SELECT o.order_id AS id FROM (SELECT * FROM shop_order WHERE ${among}) AS o
          LEFT JOIN shop_payment p ON p.order_id = o.order_id
          WHERE (o.status = 'COMPLETED') <> (p.payment_id IS NOT NULL)
            OR p.amount_minor <> o.amount_minor OR p.currency <> o.currency`,
      });
    // Once soon after it was placed, once when no payment can come any more.
    const looks = [settled(limitMs), settled(payWithinMs + limitMs)];
    const paid = sweep<string>({
      ...common,
      judgedAfterMs: limitMs,
      table: 'shop_payment',
      key: 'payment_id',
      wrong: (among) => sql`
        SELECT p.payment_id AS id FROM (SELECT * FROM shop_payment WHERE ${among}) AS p
        LEFT JOIN shop_order o ON o.order_id = p.order_id
        WHERE o.order_id IS NULL OR o.status <> 'COMPLETED'`,
    });
    return async () => {
      const db = await database();
      const orders = new Set<string>();
      for (const look of looks) for (const id of await look(db)) orders.add(id);
      const payments = await paid(db);
      return evidenceOf([
        ...[...orders].map((id) => ({ id })),
        ...payments.map((id) => ({ id: `payment ${id}` })),
      ]);
    };
  },

  'orders-told': (deps, { limitMs }) => ordersTold(deps, limitMs),

  'orders-expired': ({ database, payWithinMs }, { limitMs }) => {
    const limit = sql`INTERVAL ${(payWithinMs + limitMs) * 1_000} MICROSECOND`;
    return async () => {
      const { rows } = await sql<{ id: string; since: Date }>`
        SELECT order_id AS id, created_at + ${limit} AS since FROM shop_order
        WHERE status = 'PENDING' AND created_at < UTC_TIMESTAMP(3) - ${limit}
        ORDER BY created_at LIMIT ${mostBroken}`.execute(await database());
      return evidenceOf(rows.map(({ id, since }) => ({ id, sinceMs: new Date(since).getTime() })));
    };
  },

  'stock-conserved': ({ database }) => {
    const look = stockLook(soldSums());
    return async () => evidenceOf((await look(await database())).map((id) => ({ id })));
  },

  'ranking-is-sum': ({ database, redis }, { limitMs }) => {
    const look = rankingLook(soldSums(), limitMs);
    return async () => evidenceOf(await look(await database(), await redis()));
  },
};

/** The three events of each payment: one in the event log, two on their topics. */
export function ordersTold(
  { database, kafka }: Pick<CheckDeps, 'database' | 'kafka'>,
  limitMs: number,
  on = [topics.orderCompleted.name, topics.orderConfirmed.name],
): Check {
  const onTopics = arrived({
    kafka,
    limitMs,
    topics: on,
    idOf: (record) => headerText(record, 'ce_id'),
    async expected(fromMs, toMs) {
      const { rows } = await sql<{ id: string }>`
        SELECT order_id AS id FROM shop_payment
        WHERE paid_at >= ${new Date(fromMs)} AND paid_at < ${new Date(toMs)}`.execute(await database());
      return rows.flatMap(({ id }) => [`${id}-completed`, `${id}-confirmed`]);
    },
  });
  const inLog = sweep<string>({
    table: 'shop_payment',
    key: 'payment_id',
    keyAt: uuidV7Floor,
    idOf: (id) => id,
    judgedAfterMs: limitMs,
    wrong: (among) => sql`
      SELECT p.payment_id AS id FROM (SELECT * FROM shop_payment WHERE ${among}) AS p
      LEFT JOIN muster_event e ON e.event_id = p.payment_id
      WHERE e.event_id IS NULL AND p.paid_at > UTC_TIMESTAMP(3) - INTERVAL ${keptDays} DAY`,
  });
  return async () => {
    const log = (await inLog(await database())).map((id) => ({ id: `payment ${id}` }));
    const { broken, ids, sinceMs } = await onTopics();
    const logged = evidenceOf(log);
    return { broken: logged.broken + broken, ids: [...logged.ids, ...ids], sinceMs };
  };
}

/** Products of one look beside those that were sold just now. */
const productsAtOnce = 500;

/** What was ever put in, less what was sold, is what is left. Products of before `stocked` was kept are passed over. */
function stockLook(sold: SoldSums): (db: Kysely<unknown>) => Promise<readonly string[]> {
  const wrong = new Set<string>();
  let after = '';
  return async (db) => {
    await sold.advance(db);
    // One view of the data: a payment that commits meanwhile is in the stock and in the sums, or in neither.
    return db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (trx) => {
        const newest = await sold.newest(trx);
        const ids = [...new Set([...wrong, ...newest.keys(), ...sold.takeChanged()])].slice(0, 2_000);
        const asked = ids.length === 0 ? sql`FALSE` : sql`product_id IN (${sql.join(ids)})`;
        const products = (which: RawBuilder<unknown>) =>
          sql<{ id: string; stock: number; stocked: number | string | null }>`
            SELECT product_id AS id, stock, stocked FROM shop_product WHERE ${which}`.execute(trx);
        const round = await products(sql`product_id > ${after} ORDER BY product_id LIMIT ${productsAtOnce}`);
        after = round.rows.length < productsAtOnce ? '' : round.rows.at(-1)!.id;
        const rows = [...round.rows, ...(await products(asked)).rows];
        wrong.clear();
        for (const { id, stock, stocked } of rows)
          if (stocked !== null && Number(stocked) - sold.of(id) - (newest.get(id) ?? 0) !== stock)
            wrong.add(id);
        return [...wrong];
      });
  };
}

/**
 * Each product's score lies between what was sold up to a minute ago and what was sold up to now: exactly the sum as soon as
 * a minute goes by without a sale. Broken is what does not for as long as the limit.
 */
export function rankingLook(
  sold: SoldSums,
  limitMs: number,
  key = rankingKey,
): (
  db: Kysely<unknown>,
  redis: RedisClientType,
) => Promise<readonly { readonly id: string; readonly sinceMs: number }[]> {
  /** Since when a product's score is wrong. */
  const wrong = new Map<string, number>();
  let cursor = '0';
  let place = 0;
  return async (db, redis) => {
    const nowMs = Date.now();
    await sold.advance(db, nowMs);
    const { cursor: next, members } = await redis.zScan(key, cursor, { COUNT: productsAtOnce });
    cursor = next;
    const sums = sold.page(place, productsAtOnce);
    place = sums.length < productsAtOnce ? 0 : place + productsAtOnce;
    const ids = [
      ...new Set([...wrong.keys(), ...sold.takeChanged(), ...sums, ...members.map(({ value }) => value)]),
    ];
    if (ids.length === 0) return [];
    const scores = await redis.zmScore(key, ids);
    // Read after the scores: nothing that they have is missing here.
    const newest = await sold.newest(db);
    for (const [index, id] of ids.entries()) {
      const score = scores[index] ?? 0;
      const least = sold.of(id);
      if (score >= least && score <= least + (newest.get(id) ?? 0)) wrong.delete(id);
      else if (!wrong.has(id)) wrong.set(id, nowMs);
    }
    return [...wrong]
      .filter(([, sinceMs]) => nowMs - sinceMs >= limitMs)
      .map(([id, sinceMs]) => ({ id, sinceMs: sinceMs + limitMs }));
  };
}
