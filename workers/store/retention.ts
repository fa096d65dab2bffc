/**
 * Deletes rows that are older than the catalog keeps them (catalog/tables.ts), a few at a time and with pauses, so that
 * nobody else waits. It keeps no notes: a round that was cut off is gone on with by the next, and two at once only share
 * the work. A row that names a file is deleted after its file, by the worker that keeps those.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Registry } from 'prom-client';
import { metrics } from '../../catalog/metrics.ts';
import { type RetentionRule, type Table, tables } from '../../catalog/tables.ts';
import { uuidOfBytes } from '../base/ids.ts';
import type { Logger } from '../base/log.ts';
import { counter, gauge } from '../base/metrics.ts';
import { schemaOf, transaction } from './database.ts';
import type { FileStore } from './files.ts';

type Sql = RawBuilder<unknown>;

const cleanEveryMs = 3_600_000;
const measureEveryMs = 60_000;
/** Rows of one statement: some milliseconds, and as few locks. */
const rowsAtOnce = 500;

export interface RetentionOptions {
  readonly db: Kysely<unknown>;
  /** MYSQL_DATABASE. */
  readonly database: string;
  readonly registry: Registry;
  readonly log: Logger;
  /** A table whose rows name files, and those. Then it is the only one, and otherwise all that name none are cleaned. */
  readonly kept?: { readonly table: string; readonly files: FileStore };
}

/**
 * Cleans now and every hour until stopped, and measures every minute the room that tables take (not for a table with files: one
 * process measures them all).
 */
export function startRetention(options: RetentionOptions): { stop(): Promise<void> } {
  const { db, database, registry, log, kept } = options;
  const deleted = counter(registry, metrics.tables.deletedRows);
  const succeeded = gauge(registry, metrics.tables.cleanedTime);
  const bytes = gauge(registry, metrics.tables.bytes);
  const cleaned = tables.filter(
    ({ rules, name, fileKey }) =>
      rules.length > 0 && (kept === undefined ? fileKey === undefined : kept.table === name),
  );
  const labelsOf = ({ database, name }: Table) => ({ database, table: name });
  for (const table of cleaned) {
    deleted.inc(labelsOf(table), 0);
    succeeded.set(labelsOf(table), Date.now() / 1_000);
  }
  const stopping = new AbortController();

  async function clean(): Promise<void> {
    for (const table of cleaned) {
      try {
        const said = (rows: number) => deleted.inc(labelsOf(table), rows);
        const count = await cleanTable(db, database, table, stopping.signal, said, kept?.files);
        if (stopping.signal.aborted) return;
        succeeded.set(labelsOf(table), Date.now() / 1_000);
        if (count > 0) log.info('old rows deleted', { ...labelsOf(table), rows: count });
      } catch (error) {
        log.warn('old rows could not be deleted; the next round tries again', { ...labelsOf(table), error });
      }
    }
  }

  async function measure(): Promise<void> {
    try {
      const sizes = await tableSizes(db);
      bytes.reset();
      for (const { schema, table, size } of sizes) bytes.set({ schema, table }, size);
    } catch (error) {
      log.warn('the sizes of tables could not be read', { error });
    }
  }

  async function every(ms: number, work: () => Promise<void>): Promise<void> {
    while (!stopping.signal.aborted) {
      await work();
      await sleep(ms, undefined, { signal: stopping.signal }).catch(() => {});
    }
  }
  const ended = Promise.all([
    every(cleanEveryMs, clean),
    ...(kept === undefined ? [every(measureEveryMs, measure)] : []),
  ]);
  return {
    async stop() {
      stopping.abort();
      await ended;
    },
  };
}

/**
 * Deletes what is too old in one table; resolves to how many rows that were, `said` gets them as they go. The clock of the
 * database and our own must both find a row old: one that has jumped ahead deletes nothing.
 */
export async function cleanTable(
  db: Kysely<unknown>,
  database: string,
  table: Table,
  signal: AbortSignal,
  said: (rows: number) => void,
  files?: FileStore,
): Promise<number> {
  const name = sql.id(schemaOf(database, table.database), table.name);
  let total = 0;
  for (const rule of table.rules) {
    for (let rows = rowsAtOnce; rows === rowsAtOnce && !signal.aborted; ) {
      const beganMs = performance.now();
      const old = sql`
        ${onlyOf(rule)} ${sql.id(rule.timeColumn)} < LEAST(UTC_TIMESTAMP(3), ${new Date()}) - INTERVAL ${rule.days} DAY
        LIMIT ${rowsAtOnce}`;
      rows =
        files === undefined
          ? await deleteRows(db, name, old)
          : await deleteWithFiles(db, name, old, { key: sql.id(table.fileKey!), files });
      total += rows;
      said(rows);
      // At most half of the time: others work with these tables.
      if (rows === rowsAtOnce)
        await sleep(performance.now() - beganMs, undefined, { signal }).catch(() => {});
    }
  }
  return total;
}

async function deleteRows(db: Kysely<unknown>, table: Sql, which: Sql): Promise<number> {
  // Two at the same rows may lock their entries in different indexes the other way round.
  const { numAffectedRows } = await transaction(db, (trx) =>
    sql`DELETE FROM ${table} WHERE ${which}`.execute(trx),
  );
  return Number(numAffectedRows ?? 0);
}

/** The files first: who dies in between leaves a row that names one, never one that nothing names. */
async function deleteWithFiles(
  db: Kysely<unknown>,
  table: Sql,
  which: Sql,
  { key, files }: { readonly key: Sql; readonly files: FileStore },
): Promise<number> {
  const { rows } = await sql<{ id: Buffer }>`SELECT ${key} AS id FROM ${table} WHERE ${which}`.execute(db);
  if (rows.length === 0) return 0;
  for (const { id } of rows) await files.remove(uuidOfBytes(id));
  return deleteRows(db, table, sql`${key} IN (${sql.join(rows.map(({ id }) => id))})`);
}

const onlyOf = ({ only }: RetentionRule) =>
  only === undefined ? sql`` : sql`${sql.id(only.column)} IN (${sql.join(only.values)}) AND`;

/** Bytes of each table that our user sees, those of tests beside it as well: they are on the same disk. */
async function tableSizes(
  db: Kysely<unknown>,
): Promise<readonly { readonly schema: string; readonly table: string; readonly size: number }[]> {
  return db.connection().execute(async (connection) => {
    // MySQL keeps these figures for a day unless told not to; MariaDB reads a comment here.
    await sql`SET SESSION time_zone = '+00:00' /*!80000 , information_schema_stats_expiry = 0 */`.execute(
      connection,
    );
    const { rows } = await sql<{ schema: string; table: string; size: number | string | null }>`
      SELECT table_schema AS \`schema\`, table_name AS \`table\`, data_length + index_length + data_free AS size
      FROM information_schema.tables
      WHERE table_type = 'BASE TABLE' AND table_schema <> 'information_schema'`.execute(connection);
    return rows.map(({ schema, table, size }) => ({ schema, table, size: Number(size ?? 0) }));
  });
}
