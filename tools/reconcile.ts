/** What topics tell since a moment and no table knows: acked, and lost by a restore. */
import { type Kysely, sql } from 'kysely';
import { type Told, told } from '../catalog/told.ts';
import { bytesOfUuid, uuidOfBytes } from '../workers/base/ids.ts';
import type { Kafka } from '../workers/kafka/kafka.ts';
import { schemaOf } from '../workers/store/database.ts';

export interface Reconciled {
  readonly topic: string;
  /** What its events name, each once. */
  readonly looked: number;
  /** Of these the ids that the table does not know as the events tell them, in the order of the topic. */
  readonly unknown: readonly string[];
}

/** Asked for at once. */
const idsAtOnce = 500;

/** Each id that a topic tells of since a moment, with what is to be known of it. An event that cannot be read is nobody's. */
async function toldSince(
  kafka: Kafka,
  { topic, field, knows }: Told,
  sinceMs: number,
): Promise<Map<string, number>> {
  const from = await kafka.admin.offsetsAt(topic.name, sinceMs);
  const versions = new Map<string, number>();
  for (const { partition, low, high } of await kafka.admin.offsets(topic.name)) {
    const first = Math.max(low, from.get(partition) ?? low);
    for await (const records of kafka.read(topic.name, partition, first, high))
      for (const { value } of records) {
        const event = parsed(value);
        const id = event?.[field];
        if (typeof id !== 'string') continue;
        const version = knows === 'version' ? Number(event?.version ?? 0) : 0;
        versions.set(id, Math.max(versions.get(id) ?? 0, version));
      }
  }
  return versions;
}

function parsed(value: Buffer | null): Record<string, unknown> | undefined {
  try {
    const event: unknown = JSON.parse(String(value));
    return typeof event === 'object' && event !== null ? (event as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Of these ids those that the table has, as decided if they have to be, with the version of each; 0 where none is asked for. */
async function versionsOf(
  db: Kysely<unknown>,
  shop: string,
  { database, table, column, type, knows }: Told,
  ids: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const keys = ids.map((id) => (type === 'bytes' ? bytesOfUuid(id) : id));
  const { rows } = await sql<{ id: string | Buffer; version: number }>`
    SELECT ${sql.id(column)} AS id, ${knows === 'version' ? sql.id('version') : sql`0`} AS version
    FROM ${sql.id(schemaOf(shop, database), table)}
    WHERE ${sql.id(column)} IN (${sql.join(keys)}) ${knows === 'decided' ? sql`AND decided_at IS NOT NULL` : sql``}
  `.execute(db);
  return new Map(
    rows.map(({ id, version }) => [typeof id === 'string' ? id : uuidOfBytes(id), Number(version)]),
  );
}

/**
 * For each topic that tells of rows of ours (catalog/told.ts): what it tells since `sinceMs` (UTC ms) that its table does not know.
 *
 * @param shop the database of the shop (MYSQL_DATABASE)
 */
export async function reconcile(
  kafka: Kafka,
  db: Kysely<unknown>,
  shop: string,
  sinceMs: number,
): Promise<readonly Reconciled[]> {
  const all: Reconciled[] = [];
  for (const one of told) {
    const versions = await toldSince(kafka, one, sinceMs);
    const ids = [...versions.keys()];
    const unknown: string[] = [];
    for (let at = 0; at < ids.length; at += idsAtOnce) {
      const some = ids.slice(at, at + idsAtOnce);
      const known = await versionsOf(db, shop, one, some);
      unknown.push(...some.filter((id) => !(known.get(id)! >= versions.get(id)!)));
    }
    all.push({ topic: one.topic.name, looked: ids.length, unknown });
  }
  return all;
}
