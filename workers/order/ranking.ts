/**
 * The ranking of products in Redis: a sorted set that each sale adds its quantities to.
 *
 * The position in the topic is kept beside the counts and moves in the same atomic step, so that a record counts once
 * however often it is delivered, and when Redis has lost its last second (or everything) the worker goes on from what
 * is really in it. An order that comes again under another offset, because its publisher died between sending and
 * noting it, is found among the last orders of its partition: repeats come close behind the original.
 */

import { randomUUID } from 'node:crypto';
import type { RedisClientType } from 'redis';
import type { OrderCompleted } from '../../catalog/events/order.ts';
import { isNotNow, NotNowError } from '../base/errors.ts';
import type { SalesSums } from './sales-history.ts';

export const rankingKey = 'ranking:products';
/** Orders remembered per partition: some 110 bytes each, 7 MB in all; ten seconds' worth at ten times the design load. */
const remembered = 20_000;

const positionsOf = (key: string) => `${key}:positions`;
const partialOf = (key: string) => `${key}:partial`;
const recentOf = (key: string, partition: number) => `${key}:recent:${partition}`;

/** KEYS: counts, positions, recent orders. ARGV: partition, expected position, next position, orders to remember, then per order its offset, id, number of products and those as id and quantity. */
export const addScript = `
local at = redis.call('HGET', KEYS[2], ARGV[1]) or ''
if at ~= ARGV[2] then return { 0, at } end
local i, counted = 5, 0
while i <= #ARGV do
  local products = tonumber(ARGV[i + 2])
  if redis.call('ZADD', KEYS[3], 'NX', ARGV[i], ARGV[i + 1]) == 1 then
    counted = counted + 1
    for j = i + 3, i + 1 + 2 * products, 2 do
      redis.call('ZINCRBY', KEYS[1], ARGV[j + 1], ARGV[j])
    end
  end
  i = i + 3 + 2 * products
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[4]))
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return { 1, counted }`;

export interface SoldOrder {
  readonly offset: number;
  readonly order: Pick<OrderCompleted, 'orderId' | 'products'>;
}

export type Added =
  | { readonly ok: true; readonly counted: number }
  /** The ranking is elsewhere: at this offset, or at the beginning. */
  | { readonly ok: false; readonly at: number | undefined };

/**
 * Adds orders of a partition, if the ranking is at `expected` (undefined: has nothing of it), and moves it to `next`. All
 * or nothing. Rejects with not now only: an order is never at fault.
 */
export async function addToRanking(
  redis: RedisClientType,
  orders: readonly SoldOrder[],
  at: { readonly partition: number; readonly expected: number | undefined; readonly next: number },
  key = rankingKey,
): Promise<Added> {
  const [ok, value] = (await asked(() =>
    redis.eval(addScript, {
      keys: [key, positionsOf(key), recentOf(key, at.partition)],
      arguments: [
        String(at.partition),
        at.expected === undefined ? '' : String(at.expected),
        String(at.next),
        String(remembered),
        ...orders.flatMap(({ offset, order }) => [
          String(offset),
          order.orderId,
          String(order.products.length),
          ...order.products.flatMap(({ id, qty }) => [id, String(qty)]),
        ]),
      ],
    }),
  )) as [number, number | string];
  if (ok === 1) return { ok: true, counted: Number(value) };
  return { ok: false, at: value === '' ? undefined : Number(value) };
}

/** The position per partition, as far as the ranking has one. */
export async function rankingPositions(
  redis: RedisClientType,
  key = rankingKey,
): Promise<ReadonlyMap<number, number>> {
  const positions = await asked(() => redis.hGetAll(positionsOf(key)));
  return new Map(Object.entries(positions).map(([partition, offset]) => [Number(partition), Number(offset)]));
}

/** Forgets the position of a partition whose topic was made anew; what was counted stays. */
export async function forgetPosition(
  redis: RedisClientType,
  partition: number,
  key = rankingKey,
): Promise<void> {
  await asked(() =>
    redis.multi().hDel(positionsOf(key), String(partition)).del(recentOf(key, partition)).exec(),
  );
}

/** KEYS: counts, positions, mark; then pairs of a key and what is staged for it. ARGV: partition, its position so far. */
const restoreScript = `
if (redis.call('HGET', KEYS[2], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[3])
for i = 4, #KEYS, 2 do
  redis.call('DEL', KEYS[i])
  if redis.call('EXISTS', KEYS[i + 1]) == 1 then
    redis.call('RENAME', KEYS[i + 1], KEYS[i])
    redis.call('PERSIST', KEYS[i])
  end
end
return 1`;

/** Elements of one command while a ranking is staged. */
const stagedAtOnce = 1_000;

/**
 * Replaces the ranking, all of it at one moment, if it is still at `at` in the partition (undefined: has nothing of it).
 * False when somebody else was faster.
 */
export async function restoreRanking(
  redis: RedisClientType,
  { quantities, next, newest }: SalesSums,
  { partition, at }: { readonly partition: number; readonly at: number | undefined },
  key = rankingKey,
): Promise<boolean> {
  const stage = `${key}:staged:${randomUUID()}`;
  const stageSet = async (name: string, members: readonly { value: string; score: number }[]) => {
    for (let from = 0; from < members.length; from += stagedAtOnce) {
      await redis.zAdd(name, members.slice(from, from + stagedAtOnce));
      await redis.expire(name, 600);
    }
  };
  return asked(async () => {
    await stageSet(
      stage,
      [...quantities].map(([value, score]) => ({ value, score })),
    );
    await redis.hSet(
      positionsOf(stage),
      Object.fromEntries([...next].map(([each, offset]) => [String(each), String(offset)])),
    );
    await redis.expire(positionsOf(stage), 600);
    // Which partition an order is in nobody says: each remembers all, as older than any that it has still to read.
    for (const [each, offset] of next)
      await stageSet(
        recentOf(stage, each),
        newest.map((value, index) => ({ value, score: offset - newest.length + index })),
      );
    const done = await redis.eval(restoreScript, {
      keys: [
        key,
        positionsOf(key),
        partialOf(key),
        ...[key, stage],
        ...[positionsOf(key), positionsOf(stage)],
        ...[...next.keys()].flatMap((each) => [recentOf(key, each), recentOf(stage, each)]),
      ],
      arguments: [String(partition), at === undefined ? '' : String(at)],
    });
    return Number(done) === 1;
  });
}

/** Notes that the ranking lacks orders, until it is emptied or restored. */
export async function markPartial(redis: RedisClientType, key = rankingKey): Promise<void> {
  await asked(() => redis.set(partialOf(key), '1'));
}

/** Whether it lacks orders that were on the topic once. */
export async function isPartial(redis: RedisClientType, key = rankingKey): Promise<boolean> {
  return (await asked(() => redis.exists(partialOf(key)))) === 1;
}

/** Empties the ranking; whoever fills it begins again: at the beginning of the topic, or with the data platform’s sums. */
export async function clearRanking(
  redis: RedisClientType,
  partitions: number,
  key = rankingKey,
): Promise<void> {
  const recent = Array.from({ length: partitions }, (_, partition) => recentOf(key, partition));
  await asked(() => redis.del([key, positionsOf(key), partialOf(key), ...recent]));
}

export interface RankedProduct {
  readonly productId: string;
  readonly quantity: number;
}

/** The best-sold first. */
export async function topProducts(
  redis: RedisClientType,
  limit: number,
  key = rankingKey,
): Promise<readonly RankedProduct[]> {
  const rows = await asked(() => redis.zRangeWithScores(key, 0, limit - 1, { REV: true }));
  return rows.map(({ value, score }) => ({ productId: value, quantity: score }));
}

/** No order is at fault when the ranking's own keys or script are: they hold it up until somebody has mended them. */
async function asked<T>(question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (error) {
    if (isNotNow(error)) throw error;
    throw new NotNowError('MUSTER_DEPENDENCY_DOWN', `redis refuses: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
