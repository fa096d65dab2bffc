/**
 * Deletes rows that are older than the catalog keeps them (catalog/tables.ts), a few at a time and with pauses, so that
 * nobody else waits. It keeps no notes: a round that was cut off is gone on with by the next, and two at once only share
 * the work.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type { Registry } from 'prom-client';
import { metrics } from '../../catalog/metrics.ts';
import { type RetentionRule, type Table, tables } from '../../catalog/tables.ts';
import type { Logger } from '../base/log.ts';
import { counter, gauge } from '../base/metrics.ts';
import { schemaOf, transaction } from './database.ts';

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
}

/** Cleans now and every hour, and measures every minute the room that tables take, until stopped. */
export function startRetention(options: RetentionOptions): { stop(): Promise<void> } {
  const { db, database, registry, log } = options;
  const deleted = counter(registry, metrics.tables.deletedRows);
  const succeeded = gauge(registry, metrics.tables.cleanedTime);
  const bytes = gauge(registry, metrics.tables.bytes);
  const cleaned = tables.filter(({ rules }) => rules.length > 0);
  const labelsOf = ({ database, name }: Table) => ({ database, table: name });
  for (const table of cleaned) {
    deleted.inc(labelsOf(table), 0);
    succeeded.set(labelsOf(table), Date.now() / 1_000);
  }
  const stopping = new AbortController();

  async function clean(): Promise<void> {
    for (const table of cleaned) {
      try {
        const count = await cleanTable(db, database, table, stopping.signal, (rows) =>
          deleted.inc(labelsOf(table), rows),
        );
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
  const ended = Promise.all([every(cleanEveryMs, clean), every(measureEveryMs, measure)]);
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
): Promise<number> {
  const schema = schemaOf(database, table.database);
  let total = 0;
  for (const rule of table.rules) {
    for (let rows = rowsAtOnce; rows === rowsAtOnce && !signal.aborted; ) {
      const beganMs = performance.now();
      const old = sql`
        DELETE FROM ${sql.id(schema, table.name)}
        WHERE ${onlyOf(rule)} ${sql.id(rule.timeColumn)} < LEAST(UTC_TIMESTAMP(3), ${new Date()}) - INTERVAL ${rule.days} DAY
        LIMIT ${rowsAtOnce}`;
      // Two at the same rows may lock their entries in different indexes the other way round.
      const { numAffectedRows } = await transaction(db, (trx) => old.execute(trx));
      rows = Number(numAffectedRows ?? 0);
      total += rows;
      said(rows);
      // At most half of the time: others work with these tables.
      if (rows === rowsAtOnce)
        await sleep(performance.now() - beganMs, undefined, { signal }).catch(() => {});
    }
  }
  return total;
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
