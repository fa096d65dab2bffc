/** MySQL or MariaDB (10.11) behind Kysely: one pool a process, deadlines everywhere, transactions that retry. */

import { Kysely, MysqlDialect, type RawBuilder, sql, type Transaction } from 'kysely';
import mysql, { type PoolConnection, type PoolOptions } from 'mysql2';
import type { DatabaseName } from '../../catalog/tables.ts';
import type { DatabaseSettings } from '../base/config.ts';
import {
  databaseDown,
  isClosedForWrites,
  isLockConflict,
  isTurnedAway,
  translateDatabaseError,
} from './database-errors.ts';

export interface DatabaseOptions {
  readonly settings: DatabaseSettings;
  /** Most connections of this process. Default 10. */
  readonly connections?: number;
  /** Longest wait for a connection, a new one's handshake included. Default 3 s. */
  readonly acquireTimeoutMs?: number;
  /** Longest run of one statement; its connection is dropped then. Default 10 s. */
  readonly queryTimeoutMs?: number;
}

/**
 * Settings of each connection: UTC, strict, READ COMMITTED (fewer gap locks), short lock waits; and a process that hangs
 * in a transaction is cut off after a minute, its locks with it (the server's default is 8 hours).
 */
const sessionStatements = [
  "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = 5, wait_timeout = 60",
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
];

/** Until somebody takes writes, or lets one in, again. */
const againAfterMs = 100;
/** For how long a transaction is tried again that met a server which takes no writes. */
const closedForMs = 2_000;

/** The schema of a database of ours, from that of the shop's (MYSQL_DATABASE). */
export const schemaOf = (shop: string, name: DatabaseName): string =>
  name === 'shop' ? shop : `${shop}_${name}`;

/** Settings of a database of ours, from those of the shop's. */
export function databaseOf(settings: DatabaseSettings, name: DatabaseName): DatabaseSettings {
  return { ...settings, MYSQL_DATABASE: schemaOf(settings.MYSQL_DATABASE, name) };
}

/** Options of a mysql2 connection as all of muster uses them. Integers beyond 2^53 come as strings, never rounded. */
export function connectionOptions(settings: DatabaseSettings): PoolOptions {
  return {
    host: settings.MYSQL_HOST,
    port: settings.MYSQL_PORT,
    user: settings.MYSQL_USER,
    password: settings.MYSQL_PASSWORD,
    database: settings.MYSQL_DATABASE,
    charset: 'utf8mb4',
    timezone: 'Z',
    supportBigNumbers: true,
    bigNumberStrings: false,
    connectTimeout: 3_000,
    enableKeepAlive: true,
    keepAliveInitialDelay: 10_000,
  };
}

/**
 * Opens the pool. Nothing is connected yet: `pingDatabase` tells whether it can be. Statements and connecting reject
 * with MUSTER_DATABASE_DOWN when the server cannot be asked in time, MUSTER_DATABASE_REFUSES when it does not serve just
 * now (read-only, full, busy), MUSTER_DATABASE_DENIED when it refuses the login.
 */
export function openDatabase<DB = unknown>(options: DatabaseOptions): Kysely<DB> {
  const connectionLimit = options.connections ?? 10;
  const acquireTimeoutMs = options.acquireTimeoutMs ?? 3_000;
  const queryTimeoutMs = options.queryTimeoutMs ?? 10_000;
  // Made at the first use: Kysely does not end a pool that was never used, and its timer would keep the process alive.
  let made: mysql.Pool | undefined;
  const poolOf = (): mysql.Pool => {
    if (made !== undefined) return made;
    const pool = mysql.createPool({
      ...connectionOptions(options.settings),
      connectionLimit,
      // Idle connections go before the server cuts them off (wait_timeout); mysql2 looks only when maxIdle < limit.
      maxIdle: connectionLimit - 1,
      idleTimeout: 30_000,
      waitForConnections: true,
      queueLimit: 1_000,
    });
    // Else each look, one a second, also ends those beyond maxIdle, however short they were idle: the only one of a pool of one.
    pool.config.maxIdle = connectionLimit;
    pool.on('connection', (connection) => {
      // Queued first on the connection, so they run before any statement of ours. A failure shows as that one's error.
      for (const statement of sessionStatements)
        connection.query(statement, (error: unknown) => {
          if (error) connection.destroy();
        });
    });
    made = pool;
    return pool;
  };
  const guardedConnections = new WeakMap<PoolConnection, PoolConnection>();
  const db = new Kysely<DB>({
    dialect: new MysqlDialect({
      pool: {
        getConnection(callback) {
          let late = false;
          const timer = setTimeout(() => {
            late = true;
            callback(
              databaseDown(new Error(`no connection within ${acquireTimeoutMs} ms`)),
              undefined as never,
            );
          }, acquireTimeoutMs);
          const get = () =>
            poolOf().getConnection((error, connection) => {
              if (late) {
                if (!error) connection.release();
                return;
              }
              if (error && isTurnedAway(error)) {
                setTimeout(() => {
                  if (!late) get();
                }, againAfterMs);
                return;
              }
              clearTimeout(timer);
              if (error) {
                callback(translateDatabaseError(error), undefined as never);
                return;
              }
              let guarded = guardedConnections.get(connection);
              if (guarded === undefined) {
                guarded = guardQueries(connection, queryTimeoutMs);
                guardedConnections.set(connection, guarded);
              }
              callback(null, guarded as never);
            });
          get();
        },
        end: (callback) => poolOf().end(callback as never),
      },
    }),
  });
  schemas.set(db, options.settings.MYSQL_DATABASE);
  return db;
}

const schemas = new WeakMap<object, string | undefined>();

/** The schema that is asked through what openDatabase() has opened, or in a transaction() of it; undefined: not known. */
export const schemaOfDatabase = (db: object): string | undefined => schemas.get(db);

/** The connection with a deadline on each statement; after a missed one it is dropped, because the server still works on it. */
function guardQueries(connection: PoolConnection, timeoutMs: number): PoolConnection {
  const query = connection.query.bind(connection) as unknown as (
    options: { sql: string; values: unknown; timeout: number },
    callback: (error: unknown, result: unknown) => void,
  ) => unknown;
  return new Proxy(connection, {
    get(target, name) {
      if (name === 'query')
        return (
          text: string,
          values: unknown,
          callback: ((error: unknown, result: unknown) => void) | undefined,
        ) =>
          query({ sql: text, values, timeout: timeoutMs }, (error, result) => {
            if (error && (error as NodeJS.ErrnoException).code === 'PROTOCOL_SEQUENCE_TIMEOUT')
              target.destroy();
            callback?.(error ? translateDatabaseError(error) : error, result);
          });
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Resolves when the database answers; else rejects with MUSTER_DATABASE_DOWN or MUSTER_DATABASE_DENIED. */
export async function pingDatabase(db: Kysely<never> | Kysely<unknown>): Promise<void> {
  await sql`SELECT 1`.execute(db as Kysely<unknown>);
}

/** The database's clock, UTC ms: one for all processes. */
export async function databaseNowMs(db: Kysely<unknown> | Transaction<unknown>): Promise<number> {
  const { rows } = await sql<{ now: Date }>`SELECT UTC_TIMESTAMP(3) AS now`.execute(db);
  return rows[0]!.now.getTime();
}

/**
 * In how many ms the first row of a table is due (its index begins with `due_at`), of those that `which` names if it does, by the
 * database's clock unless `nowMs` is given; 0 or less: now, Infinity: none is. A look without locks, and one statement.
 */
export async function nextDueInMs(
  db: Kysely<unknown>,
  table: string,
  nowMs?: number,
  which?: RawBuilder<unknown>,
): Promise<number> {
  // MIN() would look at all that fit; in the order of the index the first that does is enough.
  const first =
    which === undefined
      ? sql`SELECT MIN(due_at) FROM ${sql.table(table)}`
      : sql`SELECT due_at FROM ${sql.table(table)} WHERE due_at IS NOT NULL AND ${which} ORDER BY due_at LIMIT 1`;
  const now = nowMs === undefined ? sql`UTC_TIMESTAMP(3)` : sql`${new Date(nowMs)}`;
  const { rows } = await sql<{ us: number | string | null }>`
    SELECT TIMESTAMPDIFF(MICROSECOND, ${now}, (${first})) AS us`.execute(db);
  const us = rows[0]!.us;
  return us === null ? Number.POSITIVE_INFINITY : Number(us) / 1_000;
}

const afterCommit = new WeakMap<object, (() => void)[]>();

/** Runs `hook` once the transaction (of `transaction()` below) has committed; never when it rolls back. */
export function onCommit(trx: object, hook: () => void): void {
  afterCommit.get(trx)?.push(hook);
}

/**
 * Runs `work` in a transaction. A deadlock or a wait for a lock that took too long rolls back and runs `work` again, up to
 * `attempts` times (default 5) with growing random pauses: `work` must have no effects outside of it. After the last it is
 * MUSTER_DATABASE_REFUSES, which is not now. So it is done for two seconds where the server takes no writes.
 */
export async function transaction<DB, T>(
  db: Kysely<DB>,
  work: (trx: Transaction<DB>) => Promise<T>,
  options: { readonly attempts?: number } = {},
): Promise<T> {
  const attempts = options.attempts ?? 5;
  const closedUntilMs = performance.now() + closedForMs;
  for (let attempt = 1; ; attempt++) {
    const hooks: (() => void)[] = [];
    try {
      const result = await db.transaction().execute(async (trx) => {
        afterCommit.set(trx, hooks);
        schemas.set(trx, schemas.get(db));
        return work(trx);
      });
      for (const hook of hooks) hook();
      return result;
    } catch (error) {
      const closed = isClosedForWrites(error) && performance.now() < closedUntilMs;
      if (!closed && (!isLockConflict(error) || attempt >= attempts)) throw error;
      const pauseMs = closed ? againAfterMs : Math.random() * 10 * 2 ** attempt;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
