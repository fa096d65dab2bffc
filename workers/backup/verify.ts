/**
 * Does a backup bring back what was there? What the tables of the running server hold at one moment is compared with what a copy
 * holds that was restored to that very moment.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RowDataPacket } from 'mysql2/promise';
import { MusterError, NotNowError } from '../base/errors.ts';
import type { Archive } from './archive.ts';
import { type LogPosition, reaches } from './binlog.ts';
import { planRestore } from './plan.ts';
import { inScratch, restore } from './restore.ts';
import { type Source, schemasOf } from './server.ts';

type Query = (statement: string) => Promise<readonly RowDataPacket[]>;

/** What each table holds: rows, and a sum over all their values. */
type Holdings = ReadonlyMap<string, { readonly rows: number; readonly sum: string }>;

export interface Verified {
  readonly atMs: number;
  readonly base: string;
  readonly upTo: LogPosition;
  readonly tables: number;
  readonly rows: number;
}

const keptWithinMs = 30_000;
/** Types whose text could be cut or read in another way between the two; numbers and times are their own text. */
const asBytes = /char|text|blob|binary|enum|set|json/;

async function holdingsOf(query: Query, schemas: readonly string[]): Promise<Holdings> {
  const list = schemas.map((schema) => `'${schema}'`).join(', ');
  const columns = await query(
    `SELECT c.table_schema AS s, c.table_name AS t, c.column_name AS c, c.data_type AS type
     FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
     WHERE t.table_type = 'BASE TABLE' AND c.table_schema IN (${list})
     ORDER BY c.table_schema, c.table_name, c.ordinal_position`,
  );
  const tables = Map.groupBy(columns, ({ s, t }) => `\`${s}\`.\`${t}\``);
  const holdings = new Map<string, { rows: number; sum: string }>();
  for (const [table, its] of tables) {
    const values = its.map(({ c, type }) => (asBytes.test(type) ? `HEX(\`${c}\`)` : `\`${c}\``));
    const absent = its.map(({ c }) => `ISNULL(\`${c}\`)`);
    const [found] = await query(
      `SELECT COUNT(*) AS n, COALESCE(SUM(CRC32(CONCAT_WS('#', ${values.join(', ')}, CONCAT(${absent.join(', ')})))), 0) AS total FROM ${table}`,
    );
    holdings.set(table.replaceAll('`', ''), { rows: Number(found!.n), sum: String(found!.total) });
  }
  return holdings;
}

/** What the running server holds at one moment, and which that is in its log. Nobody waits for it. */
async function holdingsOfSource(
  source: Source,
  schemas: readonly string[],
): Promise<{ readonly holdings: Holdings; readonly at: LogPosition }> {
  await source.query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
  await source.query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
  const status = await source.query("SHOW STATUS LIKE 'binlog_snapshot_%'");
  const said = new Map(
    status.map(({ Variable_name: name, Value: value }) => [String(name).toLowerCase(), value]),
  );
  const at = {
    file: String(said.get('binlog_snapshot_file')),
    position: Number(said.get('binlog_snapshot_position')),
  };
  const holdings = await holdingsOf(source.query, schemas);
  await source.query('COMMIT');
  return { holdings, at };
}

/**
 * Restores the newest base and the log since, and compares. Notes in the archive that it was well. Throws MUSTER_BACKUP_DIFFERS with
 * the tables that differ, MUSTER_BACKUP_BEHIND (not now) when the log is not kept within 30 s, MUSTER_BACKUP_BUSY (not now), and what restore() throws.
 */
export async function verify(options: {
  readonly source: Source;
  readonly archive: Archive;
  readonly scratch: string;
  readonly shop: string;
  readonly tell: (line: string) => void;
}): Promise<Verified> {
  const { source, archive, scratch, shop, tell } = options;
  const schemas = schemasOf(shop);
  // Two servers at once would not find room in the memory of one container.
  if (!(await source.takeTurn('verify')))
    throw new NotNowError('MUSTER_BACKUP_BUSY', 'a backup is being tried already');
  const { holdings, at } = await holdingsOfSource(source, schemas);
  tell(`the server holds ${holdings.size} tables at ${at.file} ${at.position}`);
  for (const deadline = performance.now() + keptWithinMs; ; await sleep(500)) {
    const head = await archive.head(source.serverId);
    if (head !== undefined && reaches(head, at)) break;
    if (performance.now() > deadline)
      throw new NotNowError('MUSTER_BACKUP_BEHIND', `the log is not kept to ${at.file} ${at.position} yet`);
  }
  const plan = await planRestore(archive, undefined);
  if (plan.base.serverId !== source.serverId || !reaches(at, plan.base.position))
    throw new NotNowError('MUSTER_BACKUP_BEHIND', `${plan.base.name} is not of a moment before`);
  const differing: string[] = [];
  await inScratch(scratch, (folder) =>
    restore({
      archive,
      plan,
      until: at,
      folder: join(folder, 'data'),
      shop,
      tell,
      async look(query) {
        const restored = await holdingsOf(query, schemas);
        for (const table of new Set([...holdings.keys(), ...restored.keys()])) {
          const [there, here] = [holdings.get(table), restored.get(table)];
          if (there?.rows !== here?.rows || there?.sum !== here?.sum)
            differing.push(`${table} (${there?.rows ?? 'no'} rows there, ${here?.rows ?? 'no'} restored)`);
        }
      },
    }),
  );
  if (differing.length > 0)
    throw new MusterError('MUSTER_BACKUP_DIFFERS', `restored otherwise than it was: ${differing.join(', ')}`);
  const { atMs } = await source.standing();
  const rows = [...holdings.values()].reduce((sum, each) => sum + each.rows, 0);
  const verified = { atMs, base: plan.base.name, upTo: at, tables: holdings.size, rows };
  await archive.noteVerified(verified);
  return verified;
}
