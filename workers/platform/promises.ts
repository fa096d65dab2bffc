/** The platform's own promises: that stores take writes, and that nothing waits in the outbox for too long. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { platformDatabases } from '../../catalog/tables.ts';
import { overdueRows } from '../store/outbox.ts';
import { type Check, type CheckDeps, type ChecksOf, evidenceOf, mostBroken } from './checks.ts';

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

  'commits-on-both':
    ({ database }) =>
    async () => {
      const db = await database();
      const { rows } = await sql<{ Variable_name: string; Value: string }>`
        SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_%'`.execute(db);
      const said = new Map(rows.map(({ Variable_name: name, Value }) => [name, Value]));
      const { rows: names } = await sql<{ name: string | null }>`SELECT @@report_host AS name`.execute(db);
      const waits = said.get('Rpl_semi_sync_master_status') === 'ON';
      const followed = Number(said.get('Rpl_semi_sync_master_clients')) > 0;
      return evidenceOf(waits && followed ? [] : [{ id: names[0]?.name ?? 'the database' }]);
    },

  'outbox-published': (deps, { limitMs }) => nothingOverdue(deps, 'records', limitMs),

  'timers-fired': (deps, { limitMs }) => nothingOverdue(deps, 'timers', limitMs),
};

/** In no outbox of ours; one that cannot be asked is not passed over. */
function nothingOverdue({ database }: CheckDeps, of: 'records' | 'timers', limitMs: number): Check {
  return async () => {
    const overdue = platformDatabases.map(async (name) => {
      const rows = await overdueRows(await database(name), of, limitMs, mostBroken);
      return rows.map(({ id, sinceMs }) => ({ id: `${name} ${id}`, sinceMs }));
    });
    return evidenceOf((await Promise.all(overdue)).flat());
  };
}

async function taken(write: () => Promise<void>): Promise<boolean> {
  const done = write().then(
    () => true,
    () => false,
  );
  return Promise.race([done, sleep(writeWithinMs, false, { ref: false })]);
}
