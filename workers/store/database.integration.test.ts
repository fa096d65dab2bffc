/** On a real MySQL or MariaDB: MYSQL_HOST, MYSQL_PORT, MYSQL_USER, MYSQL_PASSWORD, MYSQL_DATABASE. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import type { DatabaseSettings } from '../base/config.ts';
import { countOf, scratchDatabase } from './database.fixture.ts';
import { openDatabase, pingDatabase, transaction } from './database.ts';
import { cleanInbox, handleOnce } from './inbox.ts';
import { appendOutbox } from './outbox.ts';

let db: Kysely<unknown>;
let settings: DatabaseSettings;
let drop: () => Promise<void>;

test.before(async () => {
  ({ db, settings, drop } = await scratchDatabase('db'));
});
test.after.always(() => drop?.());
test.beforeEach(async () => {
  for (const table of ['muster_inbox', 'muster_outbox', 'test_effect'])
    await sql`DELETE FROM ${sql.table(table)}`.execute(db);
});

const handle = (id: string, body: string, fails = false) =>
  transaction(db, (trx) =>
    handleOnce(trx, { consumer: 'test', messageId: id, body }, async () => {
      await sql`INSERT INTO test_effect (id, n) VALUES (${id}, 1)`.execute(trx);
      await appendOutbox(trx, [{ topic: 'out', key: 'k', value: id }]);
      if (fails) throw new Error('effect failed');
      return 'done';
    }),
  );

const counts = async () => ({
  inbox: await countOf(db, 'muster_inbox'),
  outbox: await countOf(db, 'muster_outbox'),
  effects: await countOf(db, 'test_effect'),
});

test.serial(
  'effect, inbox row and outbox row commit together, and the same message again has no effect',
  async (t) => {
    t.deepEqual(await handle('m-1', 'hello'), { first: true, result: 'done' });
    t.deepEqual(await handle('m-1', 'hello'), { first: false });
    t.deepEqual(await counts(), { inbox: 1, outbox: 1, effects: 1 });
  },
);

test.serial('an effect that fails leaves nothing behind, and the message can be handled again', async (t) => {
  await t.throwsAsync(handle('m-1', 'hello', true), { message: 'effect failed' });
  t.deepEqual(await counts(), { inbox: 0, outbox: 0, effects: 0 });
  t.true((await handle('m-1', 'hello')).first);
});

test.serial('the same id with another body is an error and no repeat', async (t) => {
  await handle('m-1', 'hello');
  await t.throwsAsync(handle('m-1', 'other'), { code: 'MUSTER_DUPLICATE_ID_OTHER_BODY' });
  t.deepEqual(await counts(), { inbox: 1, outbox: 1, effects: 1 });
});

test.serial('ids are told apart byte by byte: case, trailing spaces and accents count', async (t) => {
  for (const id of ['a', 'A', 'a ', '\u00e1', 'a\u0301'])
    t.true((await handle(id, id)).first, JSON.stringify(id));
  t.is(await countOf(db, 'muster_inbox'), 5);
  await t.throwsAsync(handle('x'.repeat(256), ''), { code: 'MUSTER_MESSAGE_ID' });
});

test.serial('of twenty at once with one id exactly one has the effect', async (t) => {
  const results = await Promise.all(Array.from({ length: 20 }, () => handle('m-1', 'hello')));
  t.is(results.filter((result) => result.first).length, 1);
  t.deepEqual(await counts(), { inbox: 1, outbox: 1, effects: 1 });
});

test.serial('a process killed before the commit leaves nothing, killed after it everything', async (t) => {
  const fixture = fileURLToPath(new URL('./database.fixture.ts', import.meta.url));
  for (const [moment, n] of [
    ['before', 0],
    ['after', 1],
  ] as const) {
    const env = Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]));
    const child = spawn(process.execPath, [fixture, moment], { env: { PATH: process.env.PATH, ...env } });
    const [, signal] = await once(child, 'close');
    t.is(signal, 'SIGKILL');
    t.deepEqual(await counts(), { inbox: n, outbox: n, effects: n }, moment);
  }
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
    const silent = createServer(() => {});
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
    silent.close();
  },
);

test.serial('cleaning removes old rows only, in steps', async (t) => {
  await sql`INSERT INTO muster_inbox (consumer, message_id, body_hash, handled_at) VALUES
    ${sql.join(
      Array.from(
        { length: 25 },
        (_, i) => sql`('test', ${`old-${i}`}, REPEAT('x', 32), UTC_TIMESTAMP(3) - INTERVAL 2 DAY)`,
      ),
    )}`.execute(db);
  await handle('new', 'x');
  t.is(await cleanInbox(db, 86_400_000, 10), 25);
  t.is(await countOf(db, 'muster_inbox'), 1);
});
