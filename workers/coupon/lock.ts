/**
 * Locks `coupon:<couponId>:user:<userId>` in Redis, many at once. They only save work: two handlers that have the same
 * request at the same time (a rebalance, an owner that came back from a long pause) do not both go to the database. What
 * is right is decided there; without Redis everything is as right, and the two meet at a row lock instead.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisClientType } from 'redis';
import type { Logger } from 'winston';

export interface Locks {
  /** Runs `work` with the locks held, or after waiting for them in vain, or at once while Redis is away. */
  with<T>(keys: readonly string[], work: () => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

/** A handler that died frees its locks after this. */
const ttlMs = 3_000;
/** How long others' locks are waited for. */
const waitMs = 500;
const retryMs = 5_000;

/** Takes what is free; answers which of the keys it got. */
export const acquireScript = `
local got = {}
for i, key in ipairs(KEYS) do
  if redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then got[#got + 1] = i end
end
return got`;

export const releaseScript = `
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
return 0`;

/** No locks at all. */
export const noLocks: Locks = { with: (_keys, work) => work(), stop: async () => {} };

/** Never waits for Redis to come (back): until it is there, work goes on without locks. */
export function redisLocks(redis: () => Promise<RedisClientType>, log: Logger): Locks {
  let client: RedisClientType | undefined;
  let told = false;
  let awayUntilMs = 0;
  const stopping = new AbortController();

  async function connect(): Promise<void> {
    while (client === undefined && !stopping.signal.aborted) {
      try {
        client = await redis();
      } catch (error) {
        away(error);
        await sleep(retryMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }
  const connecting = connect();

  function away(error: unknown): void {
    if (!told) log.warn('redis is away: going on without locks', { error });
    told = true;
    // One that hangs must not cost every handler its timeout.
    awayUntilMs = Date.now() + retryMs;
  }

  async function acquire(keys: readonly string[], token: string): Promise<void> {
    const endMs = Date.now() + waitMs;
    for (let left = keys; left.length > 0; ) {
      const got = (await client!.eval(acquireScript, {
        keys: [...left],
        arguments: [token, String(ttlMs)],
      })) as number[];
      told = false;
      const taken = new Set(got);
      left = left.filter((_key, index) => !taken.has(index + 1));
      if (left.length === 0 || Date.now() >= endMs) return;
      await sleep(20);
    }
  }

  return {
    async with(keys, work) {
      if (client?.isReady !== true || Date.now() < awayUntilMs) return work();
      const token = randomUUID();
      try {
        await acquire(keys, token);
      } catch (error) {
        away(error);
        return work();
      }
      try {
        return await work();
      } finally {
        // Not awaited: what is not released ends by its time.
        client.eval(releaseScript, { keys: [...keys], arguments: [token] }).catch(() => undefined);
      }
    },
    async stop() {
      stopping.abort();
      // A first connection that is being tried ends by its own deadline.
      await Promise.race([connecting, sleep(100)]);
    },
  };
}
