/**
 * The outbox: records to publish are rows of the transaction that decides them; a relay (relay.ts) publishes what has
 * committed. At least once: a crash between an ack and the deletion of a row publishes it again, so consumers are
 * idempotent. There are three ways in:
 *
 * - `appendOutbox`: in order per topic and key. The first copies of a key's records lie on their topic in the order of
 *   their rows; a copy that comes again may follow newer records. Rows are spread over shards by topic and key; a relay
 *   locks the shards it works on and reads each in order, so a key is never in two hands.
 * - `appendUnordered`: one row for all records of a transaction, which this process publishes from its memory right after
 *   the commit (`Relay.publish`). Cheaper, and no order is promised: of two commits either may be published first, and
 *   what a dead process left follows seconds later.
 * - `setTimer`: published when its time has come, never before, by the database's clock and no other. A step of that
 *   clock moves all timers with it; what any other host's clock says, crashes and freezes change nothing but lateness.
 */
import { deflateSync, inflateSync } from 'node:zlib';
import { context, propagation } from '@opentelemetry/api';
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import { MusterError } from '../base/errors.ts';
import { type Headers, murmur2, type OutgoingRecord } from '../kafka/kafka.ts';
import { onCommit, schemaOfDatabase, transaction } from './database.ts';
import { logPublished } from './event-log.ts';
import { hasQueueLog, logProduced } from './queue-log.ts';
import {
  type DueRow,
  type OrderedRow,
  type OutboxRows,
  type OutboxStore,
  takenForMs,
  wakeForTimer,
  wakeRelays,
} from './relay.ts';

/** As many as rows in muster_outbox_shard. */
const shardCount = 8;
/**
 * Of so many records at once those of a shard share rows, numbered as its own shard beyond the others but by the same ids.
 * Fewer are a row each, which people can read.
 */
const packedFromRecords = 9;
/** Most records and characters of such a row. */
const packedRecords = 100;
const packedBytes = 1_000_000;
/** Such rows of a shard in one step of a relay. */
const packedHeads = 8;
/** Below Kafka's default limit of a batch (1 MiB), so that no row can ever be too long to send. */
const maxRecordBytes = 900_000;
/** Below what a server takes in one statement (16 MiB). */
const maxRowBytes = 8_000_000;
/** Characters; below, nothing is gained. */
const packedFromBytes = 4_000;

export type OutboxRecord = Omit<OutgoingRecord, 'partition'>;

/**
 * Adds records to the outbox within a transaction: they are published if and only if it commits, in order per topic and
 * key. That order is the order of ids; two transactions on one key must therefore be ordered by a lock on their business
 * row taken before. The trace goes on in the records. Those of a topic with an event log are logged as PUBLISHED, those of one
 * with a queue log once per id.
 * Throws MUSTER_RECORD_TOO_LARGE, MUSTER_DUPLICATE_ID_OTHER_BODY.
 */
export async function appendOutbox<DB>(trx: Transaction<DB>, all: readonly OutboxRecord[]): Promise<void> {
  const records = await logProduced(trx, all);
  if (records.length === 0) return;
  const shards = Map.groupBy(records, shardOf);
  const rows = records.length < packedFromRecords ? plainRows(records) : packedRows(shards);
  for (let from = 0; from < rows.length; from += 500) {
    await sql`
      INSERT INTO muster_outbox (shard, topic, record_key, value, headers, created_at)
      VALUES ${sql.join(rows.slice(from, from + 500))}`.execute(trx);
  }
  await logPublished(trx, records);
  onCommit(trx, () => wakeRelays([...shards.keys()], schemaOfDatabase(trx)));
}

/** A row a record. */
function plainRows(records: readonly OutboxRecord[]): readonly RawBuilder<unknown>[] {
  const carrier = traceCarrier();
  return records.map((record) => {
    const { topic } = record;
    const [key, value] = [bytesOf(record.key), bytesOf(record.value)];
    const headers = JSON.stringify(encodeHeaders({ ...carrier, ...record.headers }));
    checkSize(topic, key?.length ?? 0, (value?.length ?? 0) + headers.length);
    return sql`(${shardOf(record)}, ${topic}, ${key}, ${value}, ${headers}, UTC_TIMESTAMP(3))`;
  });
}

/**
 * Some rows a shard, each with records in order; `topic` names theirs, for people, and `headers` the ids of those of which a queue
 * log tells whether they wait (its view looks for them there).
 */
function packedRows(shards: ReadonlyMap<number, readonly OutboxRecord[]>): readonly RawBuilder<unknown>[] {
  return [...shards].flatMap(([shard, records]) => {
    const rows: { readonly texts: string[]; readonly ids: object[] }[] = [];
    let bytes = Number.POSITIVE_INFINITY;
    for (const [index, text] of encodedRecords(records).entries()) {
      if (rows.at(-1)?.texts.length === packedRecords || bytes + text.length > packedBytes) {
        rows.push({ texts: [], ids: [] });
        bytes = 0;
      }
      const { texts, ids } = rows.at(-1)!;
      texts.push(text);
      const { topic, headers } = records[index]!;
      if (hasQueueLog(topic)) ids.push({ ce_id: String(headers?.ce_id) });
      bytes += text.length;
    }
    const names = [...new Set(records.map(({ topic }) => topic))].join(',').slice(0, 249);
    return rows.map(
      ({ texts, ids }) =>
        sql`(${shard + shardCount}, ${names}, NULL, ${pack(`[${texts.join(',')}]`)}, ${JSON.stringify(ids)},
          UTC_TIMESTAMP(3))`,
    );
  });
}

const bytesOf = (value: Uint8Array | string | null) => (value === null ? null : Buffer.from(value as string));

/**
 * Adds records, all of them in one row, within a transaction: they are published if and only if it commits. Give the row
 * to `Relay.publish` after the commit; without that it goes out with the relay that finds it, up to a quarter of a minute
 * later. Throws MUSTER_RECORD_TOO_LARGE.
 */
export async function appendUnordered<DB>(
  trx: Transaction<DB>,
  records: readonly OutboxRecord[],
): Promise<DueRow> {
  const id = await insertDue(trx, records, undefined);
  await logPublished(trx, records);
  return { id, records, timer: undefined };
}

/**
 * Publishes records `dueInMs` after now, by the database's clock, if the transaction commits. They carry the headers
 * `muster-timer-due` (ISO-8601) and `muster-timer-late-ms`. Resolves to the timer's id, for cancelTimer().
 */
export async function setTimer<DB>(
  trx: Transaction<DB>,
  records: readonly OutboxRecord[],
  dueInMs: number,
): Promise<string> {
  onCommit(trx, () => wakeForTimer(dueInMs, schemaOfDatabase(trx)));
  return insertDue(trx, records, dueInMs);
}

/**
 * Takes a timer back within a transaction. True: it will never fire, if the transaction commits. False: it has fired, is
 * about to, or was cancelled before; whoever consumes it must bear that it comes.
 */
export async function cancelTimer<DB>(trx: Transaction<DB>, id: string): Promise<boolean> {
  const { numAffectedRows } = await sql`
    DELETE FROM muster_outbox_due WHERE id = ${id} AND take_at = due_at`.execute(trx);
  return numAffectedRows === 1n;
}

async function insertDue<DB>(
  trx: Transaction<DB>,
  records: readonly OutboxRecord[],
  dueInMs: number | undefined,
): Promise<string> {
  const text = `[${encodedRecords(records).join(',')}]`;
  if (text.length > maxRowBytes)
    throw new MusterError(
      'MUSTER_RECORD_TOO_LARGE',
      `the records take ${text.length} bytes together, more than the ${maxRowBytes} of one row`,
    );
  const now = sql`UTC_TIMESTAMP(3)`;
  const after = (ms: number) => sql`${now} + INTERVAL ${Math.ceil(ms) * 1_000} MICROSECOND`;
  const times = dueInMs === undefined ? [sql`NULL`, after(takenForMs)] : [after(dueInMs), after(dueInMs)];
  const { insertId } = await sql`
    INSERT INTO muster_outbox_due (due_at, take_at, records, created_at)
    VALUES (${sql.join(times)}, ${pack(text)}, ${now})`.execute(trx);
  return String(insertId);
}

/** Each as JSON: topic, key, value, headers. The trace goes on in them. */
function encodedRecords(records: readonly OutboxRecord[]): readonly string[] {
  const carrier = traceCarrier();
  return records.map(({ topic, key, value, headers }) => {
    const own = encodeHeaders({ ...carrier, ...headers });
    checkSize(topic, key?.length ?? 0, (value?.length ?? 0) + sizeOf(own));
    return JSON.stringify([topic, encode(key), encode(value), own]);
  });
}

function traceCarrier(): Record<string, string> {
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  return carrier;
}

function checkSize(topic: string, keyBytes: number, otherBytes: number): void {
  if (keyBytes > 1_024 || otherBytes > maxRecordBytes)
    throw new MusterError(
      'MUSTER_RECORD_TOO_LARGE',
      `a record for ${topic} has more than ${maxRecordBytes} bytes, or its key more than 1024`,
    );
}

function shardOf({ topic, key }: OutboxRecord): number {
  const hash = murmur2(
    Buffer.concat([Buffer.from(topic), Buffer.from([0]), bytesOf(key) ?? Buffer.alloc(0)]),
  );
  return (hash >>> 0) % shardCount;
}

type Encoded = string | null | { readonly base64: string };

function encode(value: Uint8Array | string | null): Encoded {
  return value === null || typeof value === 'string'
    ? value
    : { base64: Buffer.from(value).toString('base64') };
}

const decode = (value: Encoded) =>
  value === null || typeof value === 'string' ? value : Buffer.from(value.base64, 'base64');

function encodeHeaders(headers: Headers): Record<string, Encoded> {
  const own: Record<string, Encoded> = { ...headers } as Record<string, string>;
  for (const name in own) if (typeof own[name] !== 'string') own[name] = encode(headers[name]!);
  return own;
}

function sizeOf(headers: Readonly<Record<string, Encoded>>): number {
  let size = 0;
  for (const name in headers) {
    const value = headers[name];
    size += name.length + (typeof value === 'string' ? value.length : (value?.base64.length ?? 0));
  }
  return size;
}

/** Records of one kind say most things again and again: the database writes a seventh of it, for a microsecond a record. */
const pack = (text: string): Buffer | string =>
  text.length < packedFromBytes ? text : deflateSync(text, { level: 1 });

/** JSON of an array begins with a bracket, what is deflated (zlib) with 0x78. */
const unpack = (stored: Buffer): Buffer => (stored[0] === 0x5b ? stored : inflateSync(stored));

function decodeHeaders(stored: Record<string, Encoded>): Headers {
  return Object.fromEntries(Object.entries(stored).map(([name, value]) => [name, decode(value)!]));
}

// ---- what the relay reads and deletes

interface StoredRow {
  readonly shard: number;
  /** A string above 2^53. */
  readonly id: number | string;
  readonly topic: string;
  readonly record_key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Buffer;
}

interface StoredDue {
  readonly id: number | string;
  readonly records: Buffer;
  readonly due_at: Date | null;
  readonly late_us: number | string | null;
}

export function outboxStore<DB>(db: Kysely<DB>): OutboxStore {
  return {
    schema: schemaOfDatabase(db),
    transaction: (work) => transaction(db, (trx) => work(rowsOf(trx))),

    async nextInMs(lane) {
      const { rows } = await (lane === 'ordered'
        ? sql<{ us: number }>`SELECT 0 AS us FROM muster_outbox LIMIT 1`
        : sql<{ us: number }>`
            SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), take_at) AS us
            FROM muster_outbox_due ORDER BY take_at LIMIT 1`
      ).execute(db);
      return rows[0] === undefined ? Number.POSITIVE_INFINITY : Number(rows[0].us) / 1_000;
    },

    async removeDue(ids) {
      // In one with a retry: it may meet the locks of a relay that takes rows.
      await transaction(db, (trx) =>
        sql`DELETE FROM muster_outbox_due WHERE id IN (${sql.join(ids)})`.execute(trx),
      );
    },

    async backlog() {
      const now = sql`UTC_TIMESTAMP(3)`;
      const { rows } = await sql<{ pending: number; age: string | number | null }>`
        SELECT COUNT(*) AS pending,
          TIMESTAMPDIFF(MICROSECOND, MIN(since), ${now}) / 1000000 AS age
        FROM (
          SELECT created_at AS since FROM muster_outbox
          UNION ALL
          SELECT COALESCE(due_at, created_at) FROM muster_outbox_due
          WHERE take_at <= ${now} + INTERVAL ${takenForMs * 1_000} MICROSECOND
            AND (due_at IS NULL OR due_at <= ${now})
        ) AS waiting`.execute(db);
      return { pending: Number(rows[0]!.pending), oldestAgeSeconds: Math.max(0, Number(rows[0]!.age ?? 0)) };
    },
  };
}

/**
 * Rows that are overdue, at most `most` of each table: records that were committed longer ago than `limitMs`, or timers that
 * were due longer ago. `sinceMs`: since when. An id names the table's row, and the topic where that costs nothing.
 */
export async function overdueRows<DB>(
  db: Kysely<DB>,
  of: 'records' | 'timers',
  limitMs: number,
  most: number,
): Promise<readonly { readonly id: string; readonly sinceMs: number }[]> {
  const limit = sql`INTERVAL ${limitMs * 1_000} MICROSECOND`;
  const due = sql`
    SELECT CONCAT('due-', id) AS id, COALESCE(due_at, created_at) + ${limit} AS since FROM muster_outbox_due
    WHERE take_at <= UTC_TIMESTAMP(3) + INTERVAL ${takenForMs * 1_000} MICROSECOND
      AND ${of === 'timers' ? sql`due_at` : sql`due_at IS NULL AND created_at`} < UTC_TIMESTAMP(3) - ${limit}
    LIMIT ${most}`;
  // The oldest of each shard: it has no index by time, and needs none.
  const heads = Array.from(
    { length: 2 * shardCount },
    (_, shard) => sql`
      (SELECT shard, id, topic, created_at FROM muster_outbox
       WHERE shard = ${shard} ORDER BY id LIMIT ${Math.ceil(most / shardCount)})`,
  );
  const ordered = sql`
    SELECT CONCAT(shard, '-', id, ' ', topic) AS id, created_at + ${limit} AS since
    FROM (${sql.join(heads, sql` UNION ALL `)}) AS head
    WHERE created_at < UTC_TIMESTAMP(3) - ${limit}`;
  const { rows } = await sql<{ id: string; since: Date }>`
    ${of === 'timers' ? due : sql`(${due}) UNION ALL (${ordered})`}`.execute(db);
  return rows.map(({ id, since }) => ({ id, sinceMs: new Date(since).getTime() }));
}

function rowsOf<DB>(trx: Transaction<DB>): OutboxRows {
  return {
    async lockShards(wanted) {
      const { rows } = await sql<{ shard: number }>`
        SELECT shard FROM muster_outbox_shard
        ${wanted === undefined ? sql`` : sql`WHERE shard IN (${sql.join(wanted)})`}
        ORDER BY shard FOR UPDATE SKIP LOCKED`.execute(trx);
      return rows.map(({ shard }) => shard);
    },

    async heads(shards, limit) {
      const heads = shards.flatMap((shard) =>
        [
          [shard, limit],
          [shard + shardCount, packedHeads],
        ].map(
          ([stored, most]) => sql`
            (SELECT shard, id, topic, record_key, value, headers FROM muster_outbox
             WHERE shard = ${stored} ORDER BY id LIMIT ${most})`,
        ),
      );
      const { rows } = await sql<StoredRow>`${sql.join(heads, sql` UNION ALL `)}`.execute(trx);
      // UNION ALL promises no order of its own.
      rows.sort((a, b) => compareIds(a.id, b.id));
      const more: number[] = [];
      const found = [...Map.groupBy(rows, ({ shard }) => shard % shardCount)].flatMap(([shard, own]) => {
        const packed = own.filter((row) => row.shard !== shard);
        // Of rows that were not read some may come before those of the other kind.
        const ends = [
          ...(packed.length === packedHeads ? [packed.at(-1)!] : []),
          ...(own.length - packed.length === limit ? [own.findLast((row) => row.shard === shard)!] : []),
        ].toSorted((a, b) => compareIds(a.id, b.id));
        if (ends.length > 0) more.push(shard);
        return ends.length === 0 ? own : own.slice(0, own.indexOf(ends[0]!) + 1);
      });
      return { rows: found.flatMap(orderedRows), more };
    },

    async removeOrdered(rows: readonly OrderedRow[]) {
      const sent = [...Map.groupBy(rows, ({ shard }) => shard)].map(
        // By ids, not by a range: a row with a smaller id may have been committed since.
        ([shard, own]) =>
          sql`(shard IN (${shard}, ${shard + shardCount}) AND id IN (${sql.join([...new Set(own.map(({ id }) => id))])}))`,
      );
      await sql`DELETE FROM muster_outbox WHERE ${sql.join(sent, sql` OR `)}`.execute(trx);
    },

    async takeDue({ rows: most, bytes: mostBytes, forMs }) {
      const found = await sql<{ id: number | string; bytes: number }>`
        SELECT id, LENGTH(records) AS bytes FROM muster_outbox_due
        WHERE take_at <= UTC_TIMESTAMP(3) ORDER BY take_at LIMIT ${most} FOR UPDATE SKIP LOCKED`.execute(trx);
      let bytes = 0;
      const ids = found.rows
        .filter((row, index) => {
          bytes += row.bytes;
          return index === 0 || bytes <= mostBytes;
        })
        .map(({ id }) => id);
      if (ids.length === 0) return [];
      const these = sql`WHERE id IN (${sql.join(ids)})`;
      await sql`
        UPDATE muster_outbox_due SET take_at = UTC_TIMESTAMP(3) + INTERVAL ${forMs * 1_000} MICROSECOND
        ${these}`.execute(trx);
      const { rows } = await sql<StoredDue>`
        SELECT id, records, due_at, TIMESTAMPDIFF(MICROSECOND, due_at, UTC_TIMESTAMP(3)) AS late_us
        FROM muster_outbox_due ${these}`.execute(trx);
      return rows.map((row) => ({
        id: String(row.id),
        records: decodeRecords(row.records),
        timer:
          row.due_at === null
            ? undefined
            : { dueAtMs: row.due_at.getTime(), lateMs: Math.max(0, Number(row.late_us) / 1_000) },
      }));
    },
  };
}

/** The records of a row. */
function orderedRows({
  shard,
  id,
  topic,
  record_key: key,
  value,
  headers,
}: StoredRow): readonly OrderedRow[] {
  const records =
    shard < shardCount
      ? [{ topic, key, value, headers: decodeHeaders(JSON.parse(headers.toString('utf8'))) }]
      : decodeRecords(value!);
  return records.map((record) => ({ shard: shard % shardCount, id: String(id), record }));
}

function decodeRecords(stored: Buffer): readonly OutboxRecord[] {
  const text = unpack(stored).toString('utf8');
  const list = JSON.parse(text) as [string, Encoded, Encoded, Record<string, Encoded>][];
  return list.map(([topic, key, value, headers]) => ({
    topic,
    key: decode(key),
    value: decode(value),
    headers: decodeHeaders(headers),
  }));
}

function compareIds(a: number | string, b: number | string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}
