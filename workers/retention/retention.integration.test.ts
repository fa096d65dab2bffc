/** Old rows go and others stay, on real tables; and nothing that is asked every few seconds reads a whole table. */
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { Registry } from 'prom-client';
import { environments } from '../../catalog/environments.ts';
import { metrics } from '../../catalog/metrics.ts';
import {
  databases as allDatabases,
  type DatabaseName,
  type RetentionRule,
  type Table,
  tables,
} from '../../catalog/tables.ts';
import { allTopics } from '../../catalog/topics.ts';
import { createLog } from '../base/log.ts';
import { listCoupons } from '../coupon/store.ts';
import { rowsRead, scratchDatabase } from '../store/database.fixture.ts';
import { databaseOf } from '../store/database.ts';
import { countTroubles, listEvents } from '../store/event-log.ts';
import { migrateDatabase } from '../store/migrate.ts';
import { outboxStore } from '../store/outbox.ts';
import { cleanTable, startRetention } from '../store/retention.ts';

test.beforeEach((t) => t.timeout(120_000));

async function databases(name: string) {
  const scratch = await scratchDatabase(name);
  const schemaOf = (database: DatabaseName) => databaseOf(scratch.settings, database).MYSQL_DATABASE;
  const others = (Object.keys(allDatabases) as DatabaseName[]).filter((database) => database !== 'shop');
  await Promise.all(others.map((database) => migrateDatabase(scratch.settings, database, () => {})));
  return {
    db: scratch.db,
    shop: schemaOf('shop'),
    schemas: ['shop' as const, ...others].map(schemaOf),
    schemaOf: (table: Table) => schemaOf(table.database),
    async drop() {
      await Promise.all(
        others.map((database) => sql`DROP DATABASE ${sql.id(schemaOf(database))}`.execute(scratch.db)),
      );
      await scratch.drop();
    },
  };
}
type Databases = Awaited<ReturnType<typeof databases>>;

/** Adds rows of that age with a value in `only`; whatever else a column needs is made up. */
async function fill(
  { db, schemaOf }: Databases,
  table: Table,
  rule: RetentionRule,
  rows: { readonly from: number; readonly count: number; readonly ageDays: number; readonly value?: string },
): Promise<void> {
  const schema = schemaOf(table);
  const unique = await sql<{ name: string }>`
    SELECT DISTINCT column_name AS name FROM information_schema.statistics
    WHERE table_schema = ${schema} AND table_name = ${table.name} AND non_unique = 0`.execute(db);
  const columns = new Map(unique.rows.map(({ name }) => [name, sql`seq`]));
  columns.set(rule.timeColumn, sql`UTC_TIMESTAMP(3) - INTERVAL ${rows.ageDays} DAY`);
  if (rule.only !== undefined) columns.set(rule.only.column, sql`${rows.value ?? rule.only.values[0]}`);
  await db.connection().execute(async (connection) => {
    // Not strict: columns that nobody asks for get what is nothing in their type, whatever a check says of it.
    await sql`SET SESSION sql_mode = '', check_constraint_checks = 0`.execute(connection);
    await sql`
      INSERT INTO ${sql.id(schema, table.name)} (${sql.join([...columns.keys()].map((name) => sql.id(name)))})
      SELECT ${sql.join([...columns.values()])}
      FROM ${sql.id(`seq_${rows.from}_to_${rows.from + rows.count - 1}`)}`.execute(connection);
    await sql`ANALYZE TABLE ${sql.id(schema, table.name)}`.execute(connection);
  });
}

async function count({ db, schemaOf }: Databases, table: Table): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    SELECT COUNT(*) AS n FROM ${sql.id(schemaOf(table), table.name)}`.execute(db);
  return Number(rows[0]!.n);
}

const ruled = tables.filter(({ rules }) => rules.length > 0);
const never = new AbortController().signal;

test('what tells a repeat from something new outlives every record that can come again', (t) => {
  const longestMs = Math.max(
    ...Object.values(environments).flatMap((environment) =>
      allTopics.map(({ retentionMs }) =>
        retentionMs === 'environment' ? environment.retentionMs : retentionMs,
      ),
    ),
  );
  for (const name of ['muster_once', 'coupon_request', 'muster_event', 'sale'])
    for (const { days } of tables.find((table) => table.name === name)!.rules)
      t.true(days * 86_400_000 > longestMs, name);
});

test('the catalog names every table that there is, and no other', async (t) => {
  const own = await databases('tables');
  const { db, drop } = own;
  try {
    const { rows } = await sql<{ schema: string; name: string }>`
      SELECT table_schema AS \`schema\`, table_name AS name FROM information_schema.tables
      WHERE table_schema IN (${sql.join(own.schemas)}) AND table_type = 'BASE TABLE' AND table_name <> 'test_effect'`.execute(
      db,
    );
    const named = tables.flatMap((table) => `${own.schemaOf(table)}.${table.name}`);
    t.deepEqual(rows.map(({ schema, name }) => `${schema}.${name}`).sort(), named.sort());
  } finally {
    await drop();
  }
});

test('what is older than it is kept goes, and nothing else; three at once do it once', async (t) => {
  const own = await databases('retention');
  try {
    for (const table of ruled) {
      let from = 1;
      const add = async (rule: RetentionRule, count: number, ageDays: number, value?: string) => {
        await fill(own, table, rule, { from, count, ageDays, ...(value === undefined ? {} : { value }) });
        from += count;
      };
      for (const rule of table.rules) {
        await add(rule, 1_300, rule.days + 1);
        await add(rule, 7, rule.days - 1);
      }
      const undecided = { coupon_request: 'PENDING', muster_event: 'FAILED' }[table.name];
      if (undecided !== undefined) await add(table.rules[0]!, 5, 4_000, undecided);
      const stay = 7 * table.rules.length + (undecided === undefined ? 0 : 5);
      const told: number[] = [];
      const each = await Promise.all(
        [1, 2, 3].map(() => cleanTable(own.db, own.shop, table, never, (rows) => told.push(rows))),
      );
      t.is(await count(own, table), stay, table.name);
      t.is(
        each.reduce((sum, n) => sum + n, 0),
        1_300 * table.rules.length,
        table.name,
      );
      t.true(Math.max(...told) <= 500, 'no step is large');
    }
  } finally {
    await own.drop();
  }
});

test('where nothing is old hardly a row is read, however large the table', async (t) => {
  const own = await databases('idle');
  try {
    for (const table of ruled) {
      let from = 1;
      for (const rule of table.rules) {
        await fill(own, table, rule, { from, count: 20_000, ageDays: 20 });
        from += 20_000;
      }
      const read = await rowsRead(own.db, (db) => cleanTable(db, own.shop, table, never, () => {}));
      t.true(read < 200, `${table.name}: ${read} rows read`);
    }
  } finally {
    await own.drop();
  }
});

test('what is asked every few seconds does not read a whole table', async (t) => {
  const own = await databases('polls');
  try {
    const table = (name: string) => tables.find((each) => each.name === name)!;
    const events = table('muster_event');
    await fill(own, events, events.rules[0]!, { from: 1, count: 20_000, ageDays: 5 });
    await fill(own, events, events.rules[0]!, { from: 20_001, count: 50, ageDays: 1, value: 'DEAD_LETTER' });
    const requests = table('coupon_request');
    await fill(own, requests, requests.rules[0]!, { from: 1, count: 20_000, ageDays: 5 });
    const polls: Record<string, (db: Kysely<unknown>) => Promise<unknown>> = {
      countTroubles,
      newestEvents: (db) => listEvents(db, { limit: 50 }),
      newestDeadLetters: (db) => listEvents(db, { state: 'DEAD_LETTER', limit: 50 }),
      eventsOfOrder: (db) => listEvents(db, { subject: '17', limit: 50 }),
      outbox: (db) => outboxStore(db).backlog(),
      listCoupons: (db) => listCoupons(db, 50),
    };
    for (const [name, poll] of Object.entries(polls)) {
      const read = await rowsRead(own.db, poll);
      t.true(read < 500, `${name}: ${read} rows read`);
    }
  } finally {
    await own.drop();
  }
});

test('it tells what it deleted, when it was done, and the room that tables take', async (t) => {
  const own = await databases('told');
  const registry = new Registry();
  try {
    const once = tables.find(({ name }) => name === 'muster_once')!;
    await fill(own, once, once.rules[0]!, { from: 1, count: 12, ageDays: 31 });
    const beganSeconds = Date.now() / 1_000;
    const retention = startRetention({
      db: own.db,
      database: own.shop,
      registry,
      log: createLog({ process: 'test', level: 'error' }),
    });
    const value = async (name: string, labels: Readonly<Record<string, string>>) =>
      (await registry.getSingleMetric(name)!.get()).values.find((each) =>
        Object.entries(labels).every(([label, wanted]) => each.labels[label] === wanted),
      )?.value;
    const size = () => value(metrics.tables.bytes, { schema: own.shop, table: 'muster_once' });
    const cleaned = () =>
      value(metrics.tables.cleanedTime, { table: tables.findLast(({ rules }) => rules.length > 0)!.name });
    // As it was set at the start: the last table is cleaned after all others.
    const firstCleaned = await cleaned();
    while ((await size()) === undefined || (await cleaned()) === firstCleaned)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await retention.stop();
    t.is(await value(metrics.tables.deletedRows, { table: 'muster_once' }), 12);
    t.is(await value(metrics.tables.deletedRows, { table: 'sale' }), 0);
    t.true((await value(metrics.tables.cleanedTime, { table: 'muster_once' }))! >= beganSeconds);
    t.true((await value(metrics.tables.bytes, { schema: own.shop, table: 'muster_once' }))! > 0);
  } finally {
    await own.drop();
  }
});
