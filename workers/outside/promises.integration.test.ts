import test from 'ava';
import { sql } from 'kysely';
import { promises } from '../../catalog/promises.ts';
import type { CheckDeps } from '../platform/checks.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { outsideChecks } from './promises.ts';

test('an event that is neither taken nor given up after its limit is told by its id, and no other', async (t) => {
  t.timeout(120_000);
  const { db, drop } = await scratchDatabase('promise_outside');
  try {
    const check = outsideChecks['outside-events-ended'](
      { database: async () => db } as CheckDeps,
      promises.find(({ name }) => name === 'outside-events-ended')!,
    );
    const add = (id: string, state: string, agoSeconds: number) =>
      sql`
      INSERT INTO muster_event (event_id, type, subject, body, body_hash, state, published_at)
      VALUES (${id}, 'PaymentCompleted', 'o', '{}', REPEAT('h', 32), ${state}, UTC_TIMESTAMP(3) - INTERVAL ${agoSeconds} SECOND)`.execute(
        db,
      );
    for (const state of ['PUBLISHED', 'IN_PROGRESS', 'FAILED', 'COMPLETED', 'DEAD_LETTER'])
      for (let n = 0; n < 20; n++) await add(`${state}-${n}`, state, 590);
    await add('old-completed', 'COMPLETED', 10_000);
    await add('old-dead', 'DEAD_LETTER', 10_000);
    t.like(await check(), { broken: 0 });
    await add('lost', 'PUBLISHED', 601);
    const evidence = await check();
    t.deepEqual(evidence.ids, ['lost']);
    t.true(Math.abs(Date.now() - 1_000 - evidence.sinceMs!) < 30_000);
    await add('never-ended', 'IN_PROGRESS', 700);
    await add('never-tried-again', 'FAILED', 700);
    t.is((await check()).broken, 3);
  } finally {
    await drop();
  }
});
