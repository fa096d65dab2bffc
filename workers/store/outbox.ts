/**
 * The outbox: records to publish are rows of the transaction that decides them; a relay publishes the rows after the
 * commit. At least once (a crash between sending and deleting sends again), in order per topic and key.
 *
 * Rows are spread over shards by topic and key. A relay locks the shards it works on (SKIP LOCKED), so that several
 * relays share the work and a key is never in two hands. The lock ends with the relay's connection, and the
 * server ends the connection of a relay that hangs (wait_timeout, database.ts).
 */
import { context, propagation } from '@opentelemetry/api';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { Registry } from 'prom-client';
import { metrics } from '../../catalog/metrics.ts';
import { MusterError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { gauge } from '../base/metrics.ts';
import { type Headers, murmur2, type OutgoingRecord, type Producer } from '../kafka/kafka.ts';
import { type MessageSpan, startLaterSend } from '../kafka/tracing-kafka.ts';
import { onCommit, transaction } from './database.ts';
import { logPublished } from './event-log.ts';

/** As many as rows in muster_outbox_shard. */
const shardCount = 8;
/** Below Kafka's default limit of a batch (1 MiB), so that no row can ever be too long to send. */
const maxRecordBytes = 900_000;

export type OutboxRecord = Omit<OutgoingRecord, 'partition'>;

/** Relays of this process, to be woken by a commit. */
const relays = new Set<(shards: readonly number[]) => void>();

/**
 * Adds records to the outbox within a transaction: they are published if and only if it commits. Order per topic and
 * key is the order of ids; two transactions on one key must therefore be ordered by a lock on their business row taken
 * before. The trace goes on in the records. Those of a topic with an event log are logged as PUBLISHED. Throws MUSTER_RECORD_TOO_LARGE.
 */
export async function appendOutbox<DB>(
  trx: Transaction<DB>,
  records: readonly OutboxRecord[],
): Promise<void> {
  if (records.length === 0) return;
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  const shards = new Set<number>();
  const rows = records.map((record) => {
    const key = record.key === null ? null : Buffer.from(record.key as string);
    const value = record.value === null ? null : Buffer.from(record.value as string);
    const headers = JSON.stringify(encodeHeaders({ ...carrier, ...record.headers }));
    if ((key?.length ?? 0) > 1_024 || (value?.length ?? 0) + headers.length > maxRecordBytes)
      throw new MusterError(
        'MUSTER_RECORD_TOO_LARGE',
        `a record for ${record.topic} has more than ${maxRecordBytes} bytes, or its key more than 1024`,
      );
    const shard = shardOf(record.topic, key);
    shards.add(shard);
    return sql`(${shard}, ${record.topic}, ${key}, ${value}, ${headers}, UTC_TIMESTAMP(3))`;
  });
  for (let from = 0; from < rows.length; from += 500) {
    await sql`
      INSERT INTO muster_outbox (shard, topic, record_key, value, headers, created_at)
      VALUES ${sql.join(rows.slice(from, from + 500))}`.execute(trx);
  }
  await logPublished(trx, records);
  onCommit(trx, () => {
    for (const wake of relays) wake([...shards]);
  });
}

function shardOf(topic: string, key: Buffer | null): number {
  const hash = murmur2(Buffer.concat([Buffer.from(topic), Buffer.from([0]), key ?? Buffer.alloc(0)]));
  return (hash >>> 0) % shardCount;
}

function encodeHeaders(headers: Headers): Record<string, string | { base64: string }> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : { base64: value.toString('base64') },
    ]),
  );
}

function decodeHeaders(text: Buffer): Headers {
  const stored = JSON.parse(text.toString('utf8')) as Record<string, string | { base64: string }>;
  return Object.fromEntries(
    Object.entries(stored).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : Buffer.from(value.base64, 'base64'),
    ]),
  );
}

interface Row {
  readonly shard: number;
  /** A string above 2^53. */
  readonly id: number | string;
  readonly topic: string;
  readonly record_key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Buffer;
}

export interface RelayOptions<DB> {
  readonly db: Kysely<DB>;
  readonly producer: Pick<Producer, 'send'>;
  readonly registry: Registry;
  readonly log: Logger;
  /** How often rows of other processes are looked for. Default 200. */
  readonly pollMs?: number;
  /** Most rows of one shard in one step. Default 250. */
  readonly rowsPerShard?: number;
}

export interface Relay {
  /** Finishes the running step and ends; rows that are left go out with the next relay. */
  stop(): Promise<void>;
}

/**
 * Publishes the outbox until stopped. A commit in this process wakes it at once; the rest it finds by polling. While
 * the database or Kafka is away it tries again, ever more slowly up to 5 s.
 */
export function startOutboxRelay<DB>(options: RelayOptions<DB>): Relay {
  const { log } = options;
  const pollMs = options.pollMs ?? 200;
  let stopped = false;
  let failures = 0;
  const asked = new Set<number>();
  let wakeUp: (() => void) | undefined;

  const wake = (shards: readonly number[]) => {
    for (const shard of shards) asked.add(shard);
    if (failures === 0) wakeUp?.();
  };
  relays.add(wake);

  const sleep = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    }).finally(() => {
      wakeUp = undefined;
    });

  async function run(): Promise<void> {
    let lastPollMs = 0;
    while (!stopped) {
      const all = Date.now() - lastPollMs >= pollMs;
      if (all) lastPollMs = Date.now();
      const wanted = all ? undefined : [...asked];
      asked.clear();
      try {
        const step = await relayStep(options, wanted);
        failures = 0;
        for (const shard of step.more) asked.add(shard);
        // Rows of ours in a shard that another relay holds: it may have looked before our commit.
        if (wanted !== undefined && step.missed.length > 0 && !stopped) {
          for (const shard of step.missed) asked.add(shard);
          await sleep(5);
        }
      } catch (error) {
        failures++;
        if (failures === 1 || failures % 20 === 0)
          log.warn('the outbox could not be published; trying again', { failures, error });
        await sleep(Math.min(5_000, 100 * 2 ** Math.min(failures, 6)));
        lastPollMs = 0;
        continue;
      }
      if (asked.size === 0 && !stopped) await sleep(Math.max(1, pollMs - (Date.now() - lastPollMs)));
    }
  }
  const running = run();
  const measuring = measureOutbox(options);
  return {
    async stop() {
      stopped = true;
      relays.delete(wake);
      measuring.stop();
      wakeUp?.();
      await running;
    },
  };
}

/** Locks shards, reads the head of each, sends, deletes, commits. Returns shards with more rows and shards held by others. */
async function relayStep<DB>(
  { db, producer, rowsPerShard = 250 }: RelayOptions<DB>,
  wanted: readonly number[] | undefined,
): Promise<{ readonly more: readonly number[]; readonly missed: readonly number[] }> {
  if (wanted?.length === 0) return { more: [], missed: [] };
  return transaction(db, async (trx) => {
    const locked = await sql<{ shard: number }>`
      SELECT shard FROM muster_outbox_shard
      ${wanted === undefined ? sql`` : sql`WHERE shard IN (${sql.join(wanted)})`}
      ORDER BY shard FOR UPDATE SKIP LOCKED`.execute(trx);
    const held = locked.rows.map((row) => row.shard);
    const missed = (wanted ?? []).filter((shard) => !held.includes(shard));
    if (held.length === 0) return { more: [], missed };
    const heads = held.map(
      (shard) => sql`
        (SELECT shard, id, topic, record_key, value, headers FROM muster_outbox
         WHERE shard = ${shard} ORDER BY id LIMIT ${rowsPerShard})`,
    );
    const { rows } = await sql<Row>`${sql.join(heads, sql` UNION ALL `)}`.execute(trx);
    if (rows.length === 0) return { more: [], missed };
    // UNION ALL promises no order of its own.
    rows.sort((a, b) => a.shard - b.shard || compareIds(a.id, b.id));
    await sendRows(producer, rows);
    const byShard = [...Map.groupBy(rows, (row) => row.shard)];
    const sent = byShard.map(
      // By ids, not by a range: a row with a smaller id may have been committed since.
      ([shard, own]) => sql`(shard = ${shard} AND id IN (${sql.join(own.map(({ id }) => id))}))`,
    );
    await sql`DELETE FROM muster_outbox WHERE ${sql.join(sent, sql` OR `)}`.execute(trx);
    return {
      more: byShard.filter(([, own]) => own.length === rowsPerShard).map(([shard]) => shard),
      missed,
    };
  });
}

/** Each record goes on in the trace of the work that made it, with the time that it took to get out. */
async function sendRows(producer: Pick<Producer, 'send'>, rows: readonly Row[]): Promise<void> {
  const spans: MessageSpan[] = [];
  const records = rows.map((row) => {
    const headers = decodeHeaders(row.headers);
    const span = startLaterSend(row.topic, headers, 'outbox');
    if (span !== undefined) spans.push(span);
    return {
      topic: row.topic,
      key: row.record_key,
      value: row.value,
      headers: span === undefined ? headers : { ...headers, traceparent: span.traceparent },
    };
  });
  try {
    await producer.send(records);
    for (const span of spans) span.end();
  } catch (error) {
    for (const span of spans) span.end(error);
    throw error;
  }
}

function compareIds(a: number | string, b: number | string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Keeps muster_outbox_pending and muster_outbox_oldest_age_seconds up to date; every relay reports the same numbers. */
function measureOutbox<DB>({ db, registry, log }: RelayOptions<DB>): { stop(): void } {
  const pending = gauge(registry, {
    name: metrics.outbox.pending,
    help: 'Records in the outbox that are not published yet.',
  });
  const oldest = gauge(registry, {
    name: metrics.outbox.oldestAgeSeconds,
    help: 'Age of the oldest record in the outbox; 0 when it is empty.',
  });
  const measure = async () => {
    try {
      const { rows } = await sql<{ pending: number; age: string | number | null }>`
        SELECT (SELECT COUNT(*) FROM muster_outbox) AS pending,
          (SELECT TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(3)) / 1000000
           FROM muster_outbox ORDER BY id LIMIT 1) AS age`.execute(db);
      pending.set(Number(rows[0]!.pending));
      oldest.set(Math.max(0, Number(rows[0]!.age ?? 0)));
    } catch (error) {
      log.debug('the outbox could not be measured', { error });
    }
  };
  void measure();
  const timer = setInterval(measure, 5_000);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
