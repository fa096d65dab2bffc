/** The platform's own promises: that stores take writes, and that nothing waits in the outbox for too long. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { overdueRows } from '../store/outbox.ts';
import { type ChecksOf, evidenceOf, mostBroken } from './checks.ts';

/** A write that takes longer is not taken. */
const writeWithinMs = 3_000;
const probeKey = 'muster:write-probe';

export const platformChecks: ChecksOf<'platform'> = {
  'stores-take-writes': ({ database, redis }) => {
    const writes = {
      mysql: async () => {
        await sql`
          INSERT INTO muster_write_probe (id, written_at) VALUES (1, UTC_TIMESTAMP(3))
          ON DUPLICATE KEY UPDATE written_at = UTC_TIMESTAMP(3)`.execute(await database());
      },
      redis: async () => {
        await (await redis()).set(probeKey, String(Date.now()), { EX: 3_600 });
      },
    };
    return async () => {
      const refused = await Promise.all(
        Object.entries(writes).map(async ([id, write]) => ((await taken(write)) ? [] : [{ id }])),
      );
      return evidenceOf(refused.flat());
    };
  },

  'outbox-published': ({ database }, { limitMs }) => {
    return async () => evidenceOf(await overdueRows(await database(), 'records', limitMs, mostBroken));
  },

  'timers-fired': ({ database }, { limitMs }) => {
    return async () => evidenceOf(await overdueRows(await database(), 'timers', limitMs, mostBroken));
  },
};

async function taken(write: () => Promise<void>): Promise<boolean> {
  const done = write().then(
    () => true,
    () => false,
  );
  return Promise.race([done, sleep(writeWithinMs, false, { ref: false })]);
}
