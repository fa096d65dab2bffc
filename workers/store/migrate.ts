/**
 * Brings our databases up to date: `node workers/store/migrate.ts`. Environment: MYSQL_*. Prints what it did. Exit codes:
 * 0 up to date, 1 failed, 78 wrong environment. Two at once are safe: one waits for the other's lock.
 */

import { createHash } from 'node:crypto';
import { glob, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { type DatabaseName, databases } from '../../catalog/tables.ts';
import { ConfigError, type DatabaseSettings, databaseSettings, readSettings } from '../base/config.ts';
import { MusterError, NotNowError } from '../base/errors.ts';
import { connectionOptions, databaseOf } from './database.ts';

/** Each capability keeps the migrations of its tables beside its code, the stores keep the platform's. */
const folder = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Where the migrations of a database lie: the shop's in folders `migrations`, those of others say whose they are. */
export const foldersOf = (name: DatabaseName): readonly string[] =>
  name === 'shop'
    ? [folder('*/migrations')]
    : [...(databases[name].platform ? [folder('store/migrations')] : []), folder(`*/${name}-migrations`)];

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
}

/**
 * The migrations of the folders (a path, or a pattern of several), `000001.sql` or `000001-name.sql`, in one order of
 * numbers. A capability has a range of a hundred, so there are gaps, and a database may get a lower number after a higher
 * one: migrations of two ranges must not need each other. Throws on a double or another name.
 */
export async function readMigrations(
  folders: string | readonly string[] = foldersOf('shop'),
): Promise<readonly Migration[]> {
  const found: Migration[] = [];
  for await (const path of glob([folders].flat().map((each) => join(each, '*.sql')))) {
    const name = basename(path);
    const text = await readFile(path, 'utf8');
    const version = Number(/^(\d{6})(?:-[a-z0-9-]+)?\.sql$/.exec(name)?.[1]);
    found.push({ version, name, text, checksum: createHash('sha256').update(text).digest('hex') });
  }
  found.sort((a, b) => a.version - b.version);
  for (const [index, { version, name }] of found.entries())
    if (Number.isNaN(version) || version === found[index - 1]?.version)
      throw new MusterError(
        'MUSTER_MIGRATION_NAME',
        `migration "${name}" has no number of its own: it is named <six digits>-<name>.sql`,
      );
  return found;
}

/** Statements of a file: separated by a semicolon at the end of a line; whole-line `--` comments are left out. */
export function statementsOf(text: string): readonly string[] {
  return text
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('--'))
    .join('\n')
    .split(/;[ \t]*(?:\n|$)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

/**
 * Applies what is missing; `say` gets a line per step. A migration that was applied with another content is an error
 * (MUSTER_MIGRATION_CHANGED). DDL commits by itself: a migration that broke half-way runs again from its beginning, so
 * statements are written to bear that.
 */
export async function migrate(
  settings: DatabaseSettings,
  say: (line: string) => void,
  options: {
    readonly folders?: string | readonly string[];
    readonly lockSeconds?: number;
    readonly waitMs?: number;
  } = {},
): Promise<void> {
  const migrations = await readMigrations(options.folders);
  const connection = await connectPatiently(settings, say, options.waitMs ?? 60_000);
  try {
    await connection.query("SET SESSION time_zone = '+00:00'");
    const lock = await one<{ got: number | null }>(connection, 'SELECT GET_LOCK(?, ?) AS got', [
      `muster.migrate.${settings.MYSQL_DATABASE}`,
      options.lockSeconds ?? 60,
    ]);
    if (lock?.got !== 1)
      throw new MusterError(
        'MUSTER_MIGRATION_LOCKED',
        'another migration is running and did not end in time; try again',
      );
    await connection.query(`
      CREATE TABLE IF NOT EXISTS muster_migration (
        version INT UNSIGNED NOT NULL PRIMARY KEY,
        name VARCHAR(200) NOT NULL,
        checksum CHAR(64) NOT NULL,
        applied_at DATETIME(3) NOT NULL,
        duration_ms INT UNSIGNED NOT NULL
      ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4`);
    const [rows] = await connection.query<RowDataPacket[]>(
      'SELECT version, name, checksum FROM muster_migration ORDER BY version',
    );
    const applied = new Map(rows.map((row) => [Number(row.version), String(row.checksum)]));
    for (const migration of migrations) {
      const checksum = applied.get(migration.version);
      if (checksum === undefined) await apply(connection, migration, say);
      else if (checksum !== migration.checksum)
        throw new MusterError(
          'MUSTER_MIGRATION_CHANGED',
          `${migration.name} was applied with another content; put it back and add a new migration instead`,
        );
    }
    const newest = migrations.at(-1)?.version ?? 0;
    const unknown = [...applied.keys()].filter((version) => version > newest);
    if (unknown.length > 0)
      say(`the database is ahead of this program: versions ${unknown.join(', ')} are not known here`);
    const done = migrations.filter((migration) => !applied.has(migration.version)).length;
    say(
      done === 0
        ? `nothing to do: version ${newest}`
        : `applied ${done} migration${done === 1 ? '' : 's'}: version ${newest}`,
    );
  } finally {
    // The lock ends with the connection.
    await connection.end().catch(() => connection.destroy());
  }
}

/** Makes a database of ours beside MYSQL_DATABASE, unless it is that itself, and brings it up to date. */
export async function migrateDatabase(
  settings: DatabaseSettings,
  name: DatabaseName,
  say: (line: string) => void,
): Promise<void> {
  const own = databaseOf(settings, name);
  if (name !== 'shop') {
    const connection = await connectPatiently(settings, say, 60_000);
    await connection
      .query(
        `CREATE DATABASE IF NOT EXISTS \`${own.MYSQL_DATABASE}\` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
      )
      .finally(() => connection.end());
  }
  await migrate(own, say, { folders: foldersOf(name) });
}

/** A column or an index that is there already; one to be dropped that is not. */
const isDone = new Set<number | undefined>([1060, 1061, 1091]);

async function apply(
  connection: Connection,
  migration: Migration,
  say: (line: string) => void,
): Promise<void> {
  const startedMs = performance.now();
  for (const [index, statement] of statementsOf(migration.text).entries()) {
    try {
      await connection.query(statement);
    } catch (error) {
      // MySQL has no IF (NOT) EXISTS for these: a try that broke off after it has done it.
      if (isDone.has((error as NodeJS.ErrnoException).errno)) continue;
      throw new MusterError(
        'MUSTER_MIGRATION_FAILED',
        `${migration.name}, statement ${index + 1} (${statement.split('\n')[0]!.slice(0, 60)}): ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
  const durationMs = Math.round(performance.now() - startedMs);
  await connection.query(
    'INSERT INTO muster_migration (version, name, checksum, applied_at, duration_ms) VALUES (?, ?, ?, UTC_TIMESTAMP(3), ?)',
    [migration.version, migration.name, migration.checksum, durationMs],
  );
  say(`applied ${migration.name} (${durationMs} ms)`);
}

/** A server that has only just started may refuse for some seconds. A refused login is final. */
async function connectPatiently(
  settings: DatabaseSettings,
  say: (line: string) => void,
  waitMs: number,
): Promise<Connection> {
  const endMs = Date.now() + waitMs;
  const at = `${settings.MYSQL_HOST}:${settings.MYSQL_PORT}`;
  let told = false;
  for (;;) {
    try {
      return await mysql.createConnection(connectionOptions(settings) as mysql.ConnectionOptions);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code?.startsWith('ER_') && code !== 'ER_CON_COUNT_ERROR' && code !== 'ER_SERVER_SHUTDOWN')
        throw new MusterError(
          'MUSTER_DATABASE_DENIED',
          `the database at ${at} refuses the login (${code}): check MYSQL_USER, MYSQL_PASSWORD and MYSQL_DATABASE`,
          { cause: error },
        );
      if (Date.now() >= endMs)
        throw new NotNowError('MUSTER_DATABASE_DOWN', `no database answers at ${at} (${code})`, {
          cause: error,
        });
      if (!told) say(`waiting for the database at ${at} (${code})`);
      told = true;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

async function one<T>(connection: Connection, text: string, values: unknown[]): Promise<T | undefined> {
  const [rows] = await connection.query<RowDataPacket[]>(text, values);
  return rows[0] as T | undefined;
}

if (import.meta.main) {
  try {
    const settings = readSettings(databaseSettings, process.env);
    for (const name of Object.keys(databases) as DatabaseName[])
      await migrateDatabase(settings, name, (line) => console.log(`migrate ${name}: ${line}`));
  } catch (error) {
    const lines =
      error instanceof ConfigError
        ? error.lines
        : [
            `${error instanceof MusterError ? `${error.code}: ` : ''}${error instanceof Error ? error.message : String(error)}`,
          ];
    for (const line of lines) console.error(`migrate: ${line}`);
    process.exitCode = error instanceof ConfigError ? 78 : 1;
  }
}
