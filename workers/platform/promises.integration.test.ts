/** The platform's promises, broken on purpose in real stores. */
import test from 'ava';
import { sql } from 'kysely';
import { promises } from '../../catalog/promises.ts';
import { type DatabaseName, platformDatabases } from '../../catalog/tables.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { transaction } from '../store/database.ts';
import { appendOutbox, appendUnordered, setTimer } from '../store/outbox.ts';
import type { CheckDeps } from './checks.ts';
import { platformChecks } from './promises.ts';

test.beforeEach((t) => t.timeout(120_000));

const promise = (name: string) => promises.find((one) => one.name === name)!;
const fakeRedis = (set: () => Promise<unknown>) => async () => ({ set }) as never;
const depsOf = (deps: Partial<CheckDeps>) => deps as CheckDeps;

test('what waits in the outbox beyond its limit is told by its row, in order, unordered or as a timer', async (t) => {
  const { db, drop } = await scratchDatabase('promise_outbox');
  const others = await scratchDatabase('promise_outbox_others', 'money');
  try {
    const deps = depsOf({ database: async (name) => (name === 'shop' ? db : others.db) });
    const published = platformChecks['outbox-published'](deps, promise('outbox-published'));
    const fired = platformChecks['timers-fired'](deps, promise('timers-fired'));
    await transaction(db, async (trx) => {
      for (let n = 0; n < 50; n++) await appendOutbox(trx, [{ topic: 'out', key: `k${n}`, value: 'v' }]);
      for (let n = 0; n < 50; n++) await appendUnordered(trx, [{ topic: 'out', key: null, value: 'v' }]);
      await setTimer(trx, [{ topic: 'out', key: null, value: 'v' }], 3_600_000);
      await setTimer(trx, [{ topic: 'out', key: null, value: 'v' }], 1);
    });
    t.like(await published(), { broken: 0 });
    t.like(await fired(), { broken: 0 });

    const old = sql`UTC_TIMESTAMP(3) - INTERVAL 61 SECOND`;
    const first = await sql<{ shard: number; id: number }>`
      SELECT shard, id FROM muster_outbox ORDER BY shard, id LIMIT 1`.execute(db);
    const { shard, id } = first.rows[0]!;
    await sql`UPDATE muster_outbox SET created_at = ${old} WHERE shard = ${shard} AND id = ${id}`.execute(db);
    const late = await published();
    t.deepEqual([late.broken, late.ids], [1, [`shop ${shard}-${id} out`]]);
    t.true(Math.abs(Date.now() - 1_000 - late.sinceMs!) < 30_000);

    // Taken again and again by a relay that cannot send it.
    const due = await sql<{ id: number }>`
      SELECT MIN(id) AS id FROM muster_outbox_due WHERE due_at IS NULL`.execute(db);
    await sql`
      UPDATE muster_outbox_due SET created_at = ${old}, take_at = UTC_TIMESTAMP(3) + INTERVAL 14 SECOND
      WHERE id = ${due.rows[0]!.id}`.execute(db);
    t.deepEqual(
      [...(await published()).ids].sort(),
      [`shop ${shard}-${id} out`, `shop due-${due.rows[0]!.id}`].sort(),
    );
    t.like(await fired(), { broken: 0 });
    await sql`
      UPDATE muster_outbox_due SET due_at = UTC_TIMESTAMP(3) - INTERVAL 31 SECOND
      WHERE due_at < UTC_TIMESTAMP(3) + INTERVAL 1 MINUTE`.execute(db);
    t.like(await fired(), { broken: 1 });
  } finally {
    await others.drop();
    await drop();
  }
});

test('each database with an outbox is asked, and one that cannot be asked is not passed over', async (t) => {
  const { db, drop } = await scratchDatabase('promise_outboxes', 'money');
  try {
    await transaction(db, async (trx) => {
      await appendUnordered(trx, [{ topic: 'out', key: null, value: 'v' }]);
      await setTimer(trx, [{ topic: 'out', key: null, value: 'v' }], 1);
    });
    await sql`UPDATE muster_outbox_due SET created_at = created_at - INTERVAL 1 HOUR,
      due_at = due_at - INTERVAL 1 HOUR`.execute(db);
    let away: DatabaseName | undefined;
    const deps = depsOf({
      async database(name) {
        if (name === away) throw new Error(`${away} is away`);
        return db;
      },
    });
    for (const [name, row] of [
      ['outbox-published', 'due-1'],
      ['timers-fired', 'due-2'],
    ] as const) {
      const check = platformChecks[name](deps, promise(name));
      away = undefined;
      t.deepEqual(
        (await check()).ids,
        platformDatabases.map((database) => `${database} ${row}`),
      );
      for (away of platformDatabases) await t.throwsAsync(check(), { message: `${away} is away` });
    }
  } finally {
    await drop();
  }
});

test('a store that refuses writes is named although it can be read', async (t) => {
  const { db, drop } = await scratchDatabase('promise_writes');
  try {
    let redisWrites = async (): Promise<unknown> => 'OK';
    const deps = depsOf({ database: async () => db, redis: fakeRedis(() => redisWrites()) });
    const writes = platformChecks['stores-take-writes'](deps, promise('stores-take-writes'));
    t.like(await writes(), { broken: 0 });
    redisWrites = async () => {
      throw new Error('READONLY');
    };
    t.deepEqual((await writes()).ids, ['redis']);
    redisWrites = () => new Promise(() => {});
    t.deepEqual((await writes()).ids, ['redis'], 'an answer that does not come is no write either');
    redisWrites = async () => 'OK';
    // As if nothing may be written: our user may not set the server read-only.
    await sql`
      CREATE TRIGGER refuses BEFORE UPDATE ON muster_write_probe FOR EACH ROW
      SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'read-only'`.execute(db);
    t.deepEqual((await writes()).ids, ['mysql']);
  } finally {
    await drop();
  }
});
