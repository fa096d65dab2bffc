/** Databases for one measurement, and what the server did meanwhile. */
import { type Kysely, sql } from 'kysely';
import type { DatabaseName } from '../../catalog/tables.ts';
import { pause } from '../../environment/interruption.ts';
import { databaseSettings, readSettings } from '../../workers/base/config.ts';
import { databaseOf, openDatabase } from '../../workers/store/database.ts';
import { foldersOf, migrate } from '../../workers/store/migrate.ts';

export type Scratch = Awaited<ReturnType<typeof openScratch>>;

/** Databases of their own on the deployed server, as migrated as the deployed ones; `bench` is in their names. */
export async function openScratch(
  variables: Readonly<Record<string, string>>,
  bench: string,
  databases: readonly DatabaseName[],
) {
  const deployed = readSettings(databaseSettings, variables);
  const own = { ...deployed, MYSQL_DATABASE: `${deployed.MYSQL_DATABASE}_test_bench_${bench}` };
  const server = openDatabase({ settings: deployed, connections: 1, queryTimeoutMs: 60_000 });
  const opened = new Map<DatabaseName, Kysely<unknown>>();
  const drop = async () => {
    for (const name of databases)
      await sql`DROP DATABASE IF EXISTS ${sql.id(databaseOf(own, name).MYSQL_DATABASE)}`.execute(server);
  };
  await drop();
  for (const name of databases) {
    const settings = databaseOf(own, name);
    await sql`CREATE DATABASE ${sql.id(settings.MYSQL_DATABASE)}`.execute(server);
    await migrate(settings, () => {}, { folders: foldersOf(name) });
    opened.set(name, openDatabase({ settings, connections: 2, queryTimeoutMs: 60_000 }));
  }
  const of = (name: DatabaseName) => opened.get(name)!;
  return {
    name: own.MYSQL_DATABASE,
    of,
    /** Of the whole server: whoever else uses it is counted, too. */
    async counters(): Promise<Readonly<Record<string, number>>> {
      const { rows } = await sql<{ Variable_name: string; Value: string }>`
        SHOW GLOBAL STATUS WHERE Variable_name IN ('Questions', 'Com_commit', 'Innodb_data_fsyncs', 'Innodb_os_log_written')`.execute(
        server,
      );
      return Object.fromEntries(rows.map(({ Variable_name, Value }) => [Variable_name, Number(Value)]));
    },
    /** Waits until nothing of the table is due any more. */
    async untilNoneDue(name: DatabaseName, table: string, signal: AbortSignal): Promise<void> {
      for (const untilMs = performance.now() + 120_000; ; await pause(200, signal)) {
        const { rows } = await sql<{ n: number }>`
          SELECT COUNT(*) AS n FROM ${sql.table(table)} WHERE due_at IS NOT NULL`.execute(of(name));
        if (Number(rows[0]!.n) === 0) return;
        if (performance.now() > untilMs)
          throw new Error(`${rows[0]!.n} of ${table} have not ended within two minutes`);
      }
    },
    async drop() {
      for (const db of opened.values()) await db.destroy();
      await drop();
      await server.destroy();
    },
  };
}
