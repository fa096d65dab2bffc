/** A scratch schema for tests that need a real database, and a child process that dies within a transaction. */
import { connect, createServer, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import mysql from 'mysql2/promise';
import { type DatabaseName, platformDatabases } from '../../catalog/tables.ts';
import type { DatabaseSettings } from '../base/config.ts';
import { connectionOptions, databaseOf, openDatabase, transaction } from './database.ts';
import { foldersOf, migrate } from './migrate.ts';
import { once } from './once.ts';
import { appendOutbox, type OutboxRecord, outboxStore } from './outbox.ts';

export const serverSettings: DatabaseSettings = {
  MYSQL_HOST: process.env.MYSQL_HOST ?? '127.0.0.1',
  MYSQL_PORT: Number(process.env.MYSQL_PORT ?? 3306),
  MYSQL_USER: process.env.MYSQL_USER ?? 'muster',
  MYSQL_PASSWORD: process.env.MYSQL_PASSWORD ?? '',
  MYSQL_DATABASE: process.env.MYSQL_DATABASE ?? 'muster',
};

/**
 * An empty schema of its own, dropped by `drop()`. A user that may not create schemas tests in MYSQL_DATABASE, whose
 * platform tables are dropped first: only for databases that belong to tests.
 */
export async function scratchSchema(name: string): Promise<{
  readonly settings: DatabaseSettings;
  drop(): Promise<void>;
}> {
  const server = await mysql.createConnection({
    ...(connectionOptions(serverSettings) as mysql.ConnectionOptions),
    multipleStatements: true,
  });
  const schema = `${serverSettings.MYSQL_DATABASE}_test_${name}_${process.pid}`;
  let own = true;
  try {
    await server.query(`CREATE DATABASE \`${schema}\``);
  } catch (error) {
    if (!['ER_DBACCESS_DENIED_ERROR', 'ER_ACCESS_DENIED_ERROR'].includes((error as { code: string }).code))
      throw error;
    own = false;
    await server.query(dropTables);
  }
  return {
    settings: own ? { ...serverSettings, MYSQL_DATABASE: schema } : serverSettings,
    async drop() {
      await server.query(own ? `DROP DATABASE \`${schema}\`` : dropTables);
      // A shared schema is left as a deployed environment expects it.
      if (!own) await migrate(serverSettings, () => {});
      await server.end();
    },
  };
}

const dropTables =
  'DROP TABLE IF EXISTS muster_once, muster_outbox, muster_outbox_due, muster_outbox_shard, muster_migration, test_effect';

/** What waits in the outbox, in order per key. */
export async function outboxRecords<DB>(db: Kysely<DB>): Promise<readonly OutboxRecord[]> {
  const found: OutboxRecord[] = [];
  const all = new Error('all of them');
  const read = outboxStore(db).transaction(async ({ lockShards, heads, removeOrdered }) => {
    const shards = await lockShards(undefined);
    found.length = 0;
    for (;;) {
      const { rows } = await heads(shards, 1_000);
      // They stay.
      if (rows.length === 0) throw all;
      found.push(...rows.map(({ record }) => record));
      await removeOrdered(rows);
    }
  });
  await read.catch((error: unknown) => {
    if (error !== all) throw error;
  });
  return found;
}

/** A scratch schema migrated as one of our databases, with a table `test_effect (id, n)` for effects. */
export async function scratchDatabase(name: string, like: DatabaseName = 'shop') {
  const scratch = await scratchSchema(name);
  await migrate(scratch.settings, () => {}, { folders: foldersOf(like) });
  const db = openDatabase({ settings: scratch.settings });
  await sql`CREATE TABLE test_effect (id VARBINARY(255) NOT NULL PRIMARY KEY, n BIGINT NOT NULL)`.execute(db);
  return {
    db,
    settings: scratch.settings,
    async drop() {
      await db.destroy();
      await scratch.drop();
    },
  };
}

/** A scratch database like the shop's, and beside it all others with the platform's tables, named as they are. */
export async function scratchDatabases(name: string) {
  const { db: shop, settings, drop } = await scratchDatabase(name);
  const beside = platformDatabases
    .filter((other) => other !== 'shop')
    .map((other) => ({ other, own: databaseOf(settings, other) }));
  const databases = new Map<DatabaseName, Kysely<unknown>>([['shop', shop]]);
  // Side by side: each waits for the server's disk again and again.
  await Promise.all(
    beside.map(async ({ other, own }) => {
      await sql`CREATE DATABASE ${sql.id(own.MYSQL_DATABASE)}`.execute(shop);
      await migrate(own, () => {}, { folders: foldersOf(other) });
      databases.set(other, openDatabase({ settings: own, connections: 4 }));
    }),
  );
  return {
    settings,
    of: (database: DatabaseName) => databases.get(database)!,
    async drop() {
      await Promise.all(
        beside.map(async ({ other, own }) => {
          await databases.get(other)!.destroy();
          await sql`DROP DATABASE ${sql.id(own.MYSQL_DATABASE)}`.execute(shop);
        }),
      );
      await drop();
    },
  };
}

export async function countOf(db: Kysely<unknown>, table: string): Promise<number> {
  const { rows } = await sql<{ n: number }>`SELECT COUNT(*) AS n FROM ${sql.table(table)}`.execute(db);
  return Number(rows[0]!.n);
}

/** Rows and index entries that the server has looked at for a connection so far. */
export async function rowsLookedAt(connection: Kysely<unknown>): Promise<number> {
  const { rows } = await sql<{ Variable_name: string; Value: string }>`
    SHOW SESSION STATUS LIKE 'Handler_read%'`.execute(connection);
  return rows
    .filter(({ Variable_name: name }) => !name.endsWith('deleted'))
    .reduce((sum, { Value }) => sum + Number(Value), 0);
}

/** How many it looks at for `work`. */
export async function rowsRead(
  db: Kysely<unknown>,
  work: (db: Kysely<unknown>) => Promise<unknown>,
): Promise<number> {
  return db.connection().execute(async (connection) => {
    const before = await rowsLookedAt(connection);
    await work(connection);
    return (await rowsLookedAt(connection)) - before;
  });
}

/** A TCP relay to the database (`at`: by it) that cuts all connections. */
export async function cuttingRelay(t: ExecutionContext, settings: DatabaseSettings) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(settings.MYSQL_PORT, settings.MYSQL_HOST);
    near.pipe(far);
    far.pipe(near);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
        sockets.delete(socket);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(() => {
    server.close();
    cut();
  });
  const { port } = server.address() as { port: number };
  return {
    at: { ...settings, MYSQL_HOST: '127.0.0.1', MYSQL_PORT: port },
    cut,
    /** Lets nobody through any more. */
    refuse: () => server.close(),
  };
}

/** `node database.fixture.ts <before|after>`: does m-1 and dies just before or just after the commit. */
if (import.meta.main) {
  const db = openDatabase({ settings: serverSettings });
  await transaction(db, async (trx) => {
    await once(trx, { scope: 'test', key: 'm-1', body: 'hello' }, async () => {
      await sql`INSERT INTO test_effect (id, n) VALUES ('m-1', 1)`.execute(trx);
      await appendOutbox(trx, [{ topic: 'out', key: 'k', value: 'm-1' }]);
      return 'done';
    });
    if (process.argv[2] === 'before') process.kill(process.pid, 'SIGKILL');
    // The signal is asynchronous: do not reach the commit.
    if (process.argv[2] === 'before') await new Promise(() => {});
  });
  process.kill(process.pid, 'SIGKILL');
}

/** A pool to a server that there is not. */
export const databaseAway = <DB>(): Kysely<DB> =>
  openDatabase<DB>({
    settings: {
      MYSQL_HOST: '127.0.0.1',
      MYSQL_PORT: 1,
      MYSQL_USER: 'x',
      MYSQL_PASSWORD: 'x',
      MYSQL_DATABASE: 'x',
    },
    acquireTimeoutMs: 200,
  });
