/** Redis: a client that reconnects for ever and fails each command fast, and a lock that saves work. */

import { randomUUID } from 'node:crypto';
import {
  ClientClosedError,
  ClientOfflineError,
  ConnectionTimeoutError,
  createClient,
  DisconnectsClientError,
  type RedisClientType,
  SocketClosedUnexpectedlyError,
  SocketTimeoutError,
  TimeoutError,
} from 'redis';
import { MusterError, NotNowError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

export interface RedisOptions {
  readonly host: string;
  readonly port: number;
  readonly password: string | undefined;
  readonly clientName: string;
  readonly log: Logger;
  /** Longest wait for one command. Default 2 s. */
  readonly commandTimeoutMs?: number;
  /** Longest wait for the first connection. Default 5 s. */
  readonly connectDeadlineMs?: number;
}

/**
 * Connects, or rejects with MUSTER_REDIS_DOWN within the deadline. Afterwards the client reconnects by itself; commands
 * reject at once with MUSTER_REDIS_DOWN while it is away (nothing queues up) and after `commandTimeoutMs` when no
 * answer comes.
 */
export async function connectRedis(options: RedisOptions): Promise<RedisClientType> {
  const { log } = options;
  let down = false;
  const client = createClient({
    socket: {
      host: options.host,
      port: options.port,
      connectTimeout: 2_000,
      keepAlive: true,
      reconnectStrategy: (retries) => Math.min(50 * 2 ** Math.min(retries, 6), 2_000) + Math.random() * 100,
    },
    ...(options.password === undefined ? {} : { password: options.password }),
    name: options.clientName,
    disableOfflineQueue: true,
    commandsQueueMaxLength: 10_000,
  });
  client.on('error', (error: Error) => {
    if (!down) log.warn('redis is not available; reconnecting', { error });
    down = true;
  });
  client.on('ready', () => {
    if (down) log.info('redis is available again');
    down = false;
  });
  const deadlineMs = options.connectDeadlineMs ?? 5_000;
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new TimeoutError(`no connection within ${deadlineMs} ms`)), deadlineMs);
  });
  try {
    await Promise.race([client.connect(), tooLate]);
  } catch (error) {
    client.destroy();
    throw translateRedisError(error, options);
  } finally {
    clearTimeout(timer);
  }
  return guardCommands(client as unknown as RedisClientType, options, options.commandTimeoutMs ?? 2_000);
}

const away = [
  ClientClosedError,
  ClientOfflineError,
  ConnectionTimeoutError,
  DisconnectsClientError,
  SocketClosedUnexpectedlyError,
  SocketTimeoutError,
  TimeoutError,
];
const awayCodes = /^(ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EPIPE|EHOSTUNREACH|ENETUNREACH)$/;
/** First words of what a server says that does not serve just now; behind a dash when a script hands it on. */
const refusals =
  /(^|-)(LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|READONLY|MISCONF|OOM|NOREPLICAS|BUSY|UNBLOCKED|NOMASTERLINK) |max number of clients/;

/**
 * What an error of the client or the server means: MUSTER_REDIS_DOWN (nobody answers) and MUSTER_REDIS_REFUSES (loading,
 * read-only, full, not able to save) are not now; any other is given back as it is.
 */
export function translateRedisError(
  error: unknown,
  at?: { readonly host: string; readonly port: number },
): unknown {
  if (!(error instanceof Error) || error instanceof MusterError) return error;
  const where = at === undefined ? '' : ` at ${at.host}:${at.port}`;
  const is = (code: `MUSTER_${string}`, what: string) =>
    new NotNowError(code, `redis${where} ${what}: ${error.message}`, { cause: error });
  if (
    away.some((kind) => error instanceof kind) ||
    awayCodes.test(String((error as { code?: unknown }).code))
  )
    return is('MUSTER_REDIS_DOWN', 'is not available');
  return refusals.test(error.message) ? is('MUSTER_REDIS_REFUSES', 'refuses for now') : error;
}

/** Commands that wait for data on purpose, and those that are no commands: no deadline for them. */
const unhurried = /^(b[lrz]|xRead|wait|subscribe|pSubscribe|sSubscribe|connect|close|quit|disconnect)/i;

/**
 * The same client, its commands rejecting by what the client's many errors mean (translateRedisError), and after
 * `timeoutMs` without an answer: the client's own timeout covers only the wait for sending.
 */
function guardCommands(
  client: RedisClientType,
  at: { readonly host: string; readonly port: number },
  timeoutMs: number,
): RedisClientType {
  return new Proxy(client, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== 'function') return value;
      return (...parameters: unknown[]) => {
        const result = (value as (...p: unknown[]) => unknown).apply(target, parameters);
        if (!(result instanceof Promise)) return result;
        const guarded = typeof name === 'symbol' || unhurried.test(name) ? result : within(result, timeoutMs);
        return guarded.catch((error: unknown) => {
          throw translateRedisError(error, at);
        });
      };
    },
  });
}

function within<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TimeoutError(`no answer within ${timeoutMs} ms`)), timeoutMs);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Ends the client: running commands may finish for `deadlineMs`, then the socket is cut. Never rejects. */
export async function closeRedis(client: RedisClientType, deadlineMs: number): Promise<void> {
  const timer = setTimeout(() => client.destroy(), deadlineMs);
  try {
    await client.close();
  } catch {
    // Already closed, or cut by the deadline.
  } finally {
    clearTimeout(timer);
  }
}

export interface Lock {
  /** Grows with every lock ever given: a store that keeps the highest seen can refuse a late holder. */
  readonly fence: number;
  /** Aborted when the lock's time is over: somebody else may hold it now. */
  readonly signal: AbortSignal;
}

/**
 * Takes the lock and draws its fencing token in one step. The token is the server's clock in microseconds, made
 * strictly increasing by the last one given: it grows on even when Redis lost its data.
 */
const acquireScript = `
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
local now = redis.call('TIME')
local fence = tonumber(now[1]) * 1000000 + tonumber(now[2])
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if fence <= last then fence = last + 1 end
local text = string.format('%.0f', fence)
redis.call('SET', KEYS[2], text)
return text`;

const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

/**
 * Runs `fn` while holding the lock `key` for at most `ttlMs`. Rejects with MUSTER_LOCK_HELD when another holds it
 * longer than `waitMs` (default 0), with MUSTER_REDIS_DOWN when Redis cannot be asked. The lock only saves work: a
 * holder that pauses longer than `ttlMs` overlaps with the next one, so the database must decide (or check `fence`).
 */
export async function withLock<T>(
  client: RedisClientType,
  key: string,
  ttlMs: number,
  fn: (lock: Lock) => Promise<T>,
  options: { readonly waitMs?: number } = {},
): Promise<T> {
  const name = `lock:${key}`;
  const token = randomUUID();
  const endMs = Date.now() + (options.waitMs ?? 0);
  let askedMs: number;
  let fence: unknown;
  for (;;) {
    askedMs = Date.now();
    fence = await client.eval(acquireScript, {
      keys: [name, 'lock-fence'],
      arguments: [token, String(ttlMs)],
    });
    if (fence !== null) break;
    const leftMs = endMs - Date.now();
    if (leftMs <= 0)
      throw new NotNowError('MUSTER_LOCK_HELD', `another holder has the lock of ${key.split(':')[0]}`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(leftMs, 10 + Math.random() * 20)));
  }
  const controller = new AbortController();
  // Counted from before the question: our view of the end is never later than the server's.
  const timer = setTimeout(
    () => controller.abort(new MusterError('MUSTER_LOCK_LOST', 'the time of the lock is over')),
    Math.max(0, ttlMs - (Date.now() - askedMs)),
  );
  try {
    return await fn({ fence: Number(fence), signal: controller.signal });
  } finally {
    clearTimeout(timer);
    // Not released for whatever reason: it ends by its time.
    await client.eval(releaseScript, { keys: [name], arguments: [token] }).catch(() => {});
  }
}
