/** On a real MySQL or MariaDB: MYSQL_HOST, MYSQL_PORT, MYSQL_USER, MYSQL_PASSWORD, MYSQL_DATABASE. */
import { createServer, type Socket } from 'node:net';
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import type { DatabaseSettings } from '../base/config.ts';
import { isNotNow } from '../base/errors.ts';
import { scratchDatabase } from './database.fixture.ts';
import { openDatabase, pingDatabase, transaction } from './database.ts';

let db: Kysely<unknown>;
let settings: DatabaseSettings;
let drop: () => Promise<void>;

test.before(async () => {
  ({ db, settings, drop } = await scratchDatabase('db'));
});
test.after.always(() => drop?.());
test.beforeEach(async () => {
  await sql`DELETE FROM test_effect`.execute(db);
});

test.serial('a deadlock rolls one back and runs it again: both effects are there', async (t) => {
  await sql`INSERT INTO test_effect (id, n) VALUES ('a', 0), ('b', 0)`.execute(db);
  let runs = 0;
  const both = async (first: string, second: string) =>
    transaction(db, async (trx) => {
      runs++;
      await sql`UPDATE test_effect SET n = n + 1 WHERE id = ${first}`.execute(trx);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await sql`UPDATE test_effect SET n = n + 1 WHERE id = ${second}`.execute(trx);
    });
  await Promise.all([both('a', 'b'), both('b', 'a')]);
  const { rows } = await sql<{ n: number }>`SELECT n FROM test_effect`.execute(db);
  t.deepEqual(
    rows.map((row) => row.n),
    [2, 2],
  );
  t.true(runs >= 3, `${runs} runs`);
});

test.serial('what the server refuses for now is not now: it says nothing about what was asked', async (t) => {
  await sql`INSERT INTO test_effect (id, n) VALUES ('busy', 0)`.execute(db);
  const write = sql`UPDATE test_effect SET n = n + 1 WHERE id = 'busy'`;
  const refused = async (why: string, work: Promise<unknown>) => {
    const error = await t.throwsAsync(work, { code: 'MUSTER_DATABASE_REFUSES' }, why);
    t.true(isNotNow(error), why);
  };
  await refused(
    'a transaction that may not write',
    db
      .transaction()
      .setAccessMode('read only')
      .execute((trx) => write.execute(trx)),
  );
  await refused(
    'a table that is full',
    db.connection().execute(async (one) => {
      await sql`SET SESSION max_heap_table_size = 16384`.execute(one);
      await sql`CREATE TEMPORARY TABLE full_one (filler CHAR(200)) ENGINE = MEMORY`.execute(one);
      await sql`INSERT INTO full_one SELECT REPEAT('x', 200) FROM information_schema.columns`
        .execute(one)
        .finally(() => sql`DROP TEMPORARY TABLE full_one`.execute(one));
    }),
  );
  await db.transaction().execute(async (holder) => {
    await write.execute(holder);
    await refused(
      'a lock that is not free, after its tries',
      transaction(
        db,
        async (trx) => {
          await sql`SET SESSION innodb_lock_wait_timeout = 1`.execute(trx);
          await write.execute(trx);
        },
        { attempts: 2 },
      ),
    );
  });
});

test.serial('what is wrong itself is never not now', async (t) => {
  await sql`INSERT INTO test_effect (id, n) VALUES ('busy', 0)`.execute(db);
  for (const [why, wrong] of [
    ['a value too long', sql`INSERT INTO test_effect (id, n) VALUES (REPEAT('x', 300), 1)`],
    ['a value out of range', sql`INSERT INTO test_effect (id, n) VALUES ('huge', 1e30)`],
    ['a row that is there', sql`INSERT INTO test_effect (id, n) VALUES ('busy', 1)`],
    ['a mistake', sql`SELEKT 1`],
    ['a table that is not there', sql`SELECT * FROM nowhere`],
  ] as const) {
    const error = await t.throwsAsync(wrong.execute(db), undefined, why);
    t.false(isNotNow(error), `${why}: ${error?.message}`);
  }
});

test.serial('an error that is no deadlock is not tried again', async (t) => {
  let runs = 0;
  await t.throwsAsync(
    transaction(db, async () => {
      runs++;
      throw new Error('no');
    }),
  );
  t.is(runs, 1);
});

test.serial('integers beyond 2^53 come back exact, times in UTC, text in four-byte UTF-8', async (t) => {
  const { rows } = await sql<{ big: unknown; small: unknown; at: Date; text: string; zone: string }>`
    SELECT CAST(9007199254740993 AS SIGNED) AS big, 7 AS small, CAST('2026-11-21 04:00:00.123' AS DATETIME(3)) AS at,
      ${'₩ 😀'} AS text, @@session.time_zone AS zone`.execute(db);
  t.deepEqual(rows[0], {
    big: '9007199254740993',
    small: 7,
    at: new Date('2026-11-21T04:00:00.123Z'),
    text: '₩ 😀',
    zone: '+00:00',
  });
});

test.serial(
  'a statement past its deadline is MUSTER_DATABASE_DOWN, and the pool goes on with another connection',
  async (t) => {
    const hasty = openDatabase({ settings, connections: 1, queryTimeoutMs: 200 });
    t.teardown(() => hasty.destroy());
    const startedMs = Date.now();
    await t.throwsAsync(sql`SELECT SLEEP(5)`.execute(hasty), { code: 'MUSTER_DATABASE_DOWN' });
    t.true(Date.now() - startedMs < 1_500);
    await t.notThrowsAsync(pingDatabase(hasty));
  },
);

test.serial('waiting for a connection has a deadline', async (t) => {
  const narrow = openDatabase({ settings, connections: 1, acquireTimeoutMs: 200 });
  t.teardown(() => narrow.destroy());
  const busy = sql`SELECT SLEEP(0.6)`.execute(narrow);
  await t.throwsAsync(pingDatabase(narrow), {
    code: 'MUSTER_DATABASE_DOWN',
    message: /no connection within 200 ms/,
  });
  await busy;
  await t.notThrowsAsync(pingDatabase(narrow));
});

test.serial(
  'a server that is away or silent is MUSTER_DATABASE_DOWN in time, a wrong password MUSTER_DATABASE_DENIED',
  async (t) => {
    const heard: Socket[] = [];
    const silent = createServer((socket) => void heard.push(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const silentPort = (silent.address() as { port: number }).port;
    for (const [changes, code] of [
      [{ MYSQL_PORT: 1 }, 'MUSTER_DATABASE_DOWN'],
      [{ MYSQL_PORT: silentPort }, 'MUSTER_DATABASE_DOWN'],
      [{ MYSQL_PASSWORD: 'wrong' }, 'MUSTER_DATABASE_DENIED'],
    ] as const) {
      const away = openDatabase({ settings: { ...settings, ...changes }, acquireTimeoutMs: 500 });
      const startedMs = Date.now();
      await t.throwsAsync(pingDatabase(away), { code });
      t.true(Date.now() - startedMs < 2_000);
      // A pool whose only connection never came up may not end in time: it holds nothing.
      void away.destroy().catch(() => {});
    }
    for (const socket of heard) socket.destroy();
    silent.close();
  },
);
