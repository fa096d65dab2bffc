/**
 * The event log: what became of each event that others are told about, from its publishing on. The row, PUBLISHED, is
 * written in the transaction that decides the event; who tells of it moves it on, by transitions of event-states.ts.
 * Which topics have a log the catalog says.
 */
import { hash } from 'node:crypto';
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import { allTopics } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { transaction } from './database.ts';
import { beginAttempt, type EventProgress, type EventState, endAttempt } from './event-states.ts';

type Db = Kysely<unknown>;

export interface PublishedEvent {
  /** ce_id: 1 to 200 visible ASCII characters. */
  readonly id: string;
  readonly type: string;
  /** What it is about (ce_subject): the id of an order, of a coupon. */
  readonly subject: string;
  /** JSON, as it is in the record. */
  readonly body: Buffer;
  /** When it happened, by the event's own word; UTC ms. */
  readonly publishedAtMs: number;
}

const loggedTopics = new Set(allTopics.filter(({ hasEventLog }) => hasEventLog).map(({ name }) => name));

/** Logs as PUBLISHED those of the records (event records of muster's own) whose topic has an event log. */
export async function logPublished<DB>(
  trx: Transaction<DB>,
  records: readonly Omit<OutgoingRecord, 'partition'>[],
): Promise<void> {
  const logged = records.filter(({ topic }) => loggedTopics.has(topic));
  if (logged.length === 0) return;
  await insertPublished(
    trx,
    logged.map(({ value, headers }) => ({
      id: String(headers?.ce_id),
      type: String(headers?.ce_type),
      subject: String(headers?.ce_subject),
      body: Buffer.from(value as string),
      publishedAtMs: Date.parse(String(headers?.ce_time)),
    })),
  );
}

/** True when all of them were not known before. */
async function insertPublished<DB>(db: Kysely<DB>, events: readonly PublishedEvent[]): Promise<boolean> {
  const rows = events.map(
    ({ id, type, subject, body, publishedAtMs }) =>
      sql`(${id}, ${type}, ${subject}, ${body}, ${hashOf(body)}, 'PUBLISHED', ${new Date(publishedAtMs)})`,
  );
  const { numAffectedRows } = await sql`
    INSERT IGNORE INTO muster_event (event_id, type, subject, body, body_hash, state, published_at)
    VALUES ${sql.join(rows)}`.execute(db);
  return Number(numAffectedRows) === events.length;
}

const hashOf = (body: Buffer) => hash('sha256', body, 'buffer');

/** An attempt about to begin: its event, and the trace it runs in. */
export interface Beginning {
  readonly event: PublishedEvent;
  readonly traceId: string | undefined;
}

/**
 * Notes that receivers have taken events, COMPLETED, and begins the first attempt of others, PUBLISHED until now: in one
 * transaction, as both come by the hundred. False, and none is begun, when one of those to be begun is not PUBLISHED: then
 * each is for beginAttemptOf().
 */
export async function noteAttempts(
  db: Db,
  { begun, taken }: { readonly begun: readonly Beginning[]; readonly taken: readonly TakenEvent[] },
): Promise<boolean> {
  if (begun.length === 0) {
    await completeEvents(db, taken);
    return true;
  }
  const others = new Error('not all of them are to be begun');
  try {
    await transaction(db, async (trx) => {
      await completeEvents(trx, taken);
      if (!(await beginFirstAttempts(trx, begun))) throw others;
    });
    return true;
  } catch (error) {
    if (error !== others) throw error;
    await completeEvents(db, taken);
    return false;
  }
}

/** All in one statement; false when it was not so for all of them that they are PUBLISHED. */
async function beginFirstAttempts(
  trx: Transaction<unknown>,
  beginnings: readonly Beginning[],
): Promise<boolean> {
  const traceIds = beginnings.map(({ event, traceId }) => sql`WHEN ${event.id} THEN ${traceId ?? null}`);
  const wanted = beginnings.map(
    ({ event }) => sql`(event_id = ${event.id} AND body_hash = ${hashOf(event.body)})`,
  );
  const { numAffectedRows } = await sql`
    UPDATE muster_event
    SET state = 'IN_PROGRESS', attempts = 1, first_seen_at = UTC_TIMESTAMP(3), attempted_at = UTC_TIMESTAMP(3),
      trace_id = CASE event_id ${sql.join(traceIds, sql` `)} END
    WHERE (${sql.join(wanted, sql` OR `)}) AND state = 'PUBLISHED' AND attempts = 0`.execute(trx);
  return Number(numAffectedRows) === beginnings.length;
}

/** Logs an event whose publishing we did not see, a foreign producer's: PUBLISHED. True when it was not known before. */
export const logForeign = (db: Db, event: PublishedEvent): Promise<boolean> => insertPublished(db, [event]);

/**
 * Begins the next attempt of a logged event and says its number; undefined when the event is completed. Throws
 * MUSTER_DUPLICATE_ID_OTHER_BODY when the id is known with another body.
 */
export async function beginAttemptOf(db: Db, { event, traceId }: Beginning): Promise<number | undefined> {
  return transaction(db, async (trx) => {
    const row = await locked(trx, event.id);
    if (!row.body_hash.equals(hashOf(event.body)))
      throw new MusterError(
        'MUSTER_DUPLICATE_ID_OTHER_BODY',
        'this event id was used before with another body; a new event needs a new id',
      );
    const before = progressOf(row);
    const after = beginAttempt(before);
    if (after === undefined) return undefined;
    // Nobody lived to see the end of the one before.
    if (before.state === 'IN_PROGRESS')
      await keepFailedAttempt(trx, event.id, before.attempts, 'unknown', null);
    await write(trx, event.id, after, [
      sql`first_seen_at = COALESCE(first_seen_at, UTC_TIMESTAMP(3))`,
      sql`attempted_at = UTC_TIMESTAMP(3)`,
      sql`next_attempt_at = NULL`,
      sql`ended_at = NULL`,
      sql`trace_id = ${traceId ?? null}`,
    ]);
    return after.attempts;
  });
}

/** How an attempt ended, in the words of who made it. */
export interface AttemptEnd {
  /** At most 16 ASCII characters. */
  readonly outcome: string;
  /** A number that says more, such as an HTTP status. */
  readonly status: number | null;
  /** No answer came: the receiver may have done the work. */
  readonly inDoubt: boolean;
}

/** An event that its receiver has taken. */
export type TakenEvent = { readonly eventId: string } & Omit<AttemptEnd, 'inDoubt'>;

async function completeEvents(db: Db, taken: readonly TakenEvent[]): Promise<void> {
  // Receivers hardly ever answer in two ways, so this is one statement.
  for (const events of Map.groupBy(taken, ({ outcome, status }) => `${outcome} ${status}`).values())
    await sql`
      UPDATE muster_event
      SET state = 'COMPLETED', in_doubt = FALSE, outcome = ${events[0]!.outcome}, status = ${events[0]!.status},
        next_attempt_at = NULL, ended_at = UTC_TIMESTAMP(3)
      WHERE event_id IN (${sql.join(events.map(({ eventId }) => eventId))}) AND state <> 'COMPLETED'`.execute(
      db,
    );
}

/**
 * Notes how an attempt failed; resolves to the event's state then, which is COMPLETED when another attempt got through.
 * `retryInMs`: when the next attempt is due, if FAILED.
 */
export async function logFailure(
  db: Db,
  eventId: string,
  attempt: number,
  end: AttemptEnd,
  state: 'FAILED' | 'DEAD_LETTER',
  retryInMs: number | undefined,
): Promise<EventState> {
  return transaction(db, async (trx) => {
    const before = progressOf(await locked(trx, eventId));
    await keepFailedAttempt(trx, eventId, attempt, end.outcome, end.status);
    const after = endAttempt(before, attempt, state, end.inDoubt);
    if (after === undefined) return before.state;
    if (after.state === before.state) {
      await write(trx, eventId, after, []);
      return after.state;
    }
    const inMs = state === 'FAILED' ? retryInMs : undefined;
    await write(trx, eventId, after, [
      sql`outcome = ${end.outcome}`,
      sql`status = ${end.status}`,
      inMs === undefined
        ? sql`next_attempt_at = NULL`
        : sql`next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL ${inMs * 1_000} MICROSECOND`,
      state === 'DEAD_LETTER' ? sql`ended_at = UTC_TIMESTAMP(3)` : sql`ended_at = NULL`,
    ]);
    return after.state;
  });
}

interface LockedRow {
  readonly state: EventState;
  readonly attempts: number;
  readonly in_doubt: number;
  readonly body_hash: Buffer;
}

async function locked(trx: Transaction<unknown>, eventId: string): Promise<LockedRow> {
  const { rows } = await sql<LockedRow>`
    SELECT state, attempts, in_doubt, body_hash FROM muster_event
    WHERE event_id = ${eventId} FOR UPDATE`.execute(trx);
  if (rows[0] === undefined)
    throw new MusterError('MUSTER_EVENT_UNKNOWN', 'the event is not in the log any more');
  return rows[0];
}

function progressOf({ state, attempts, in_doubt }: LockedRow): EventProgress {
  return { state, attempts: Number(attempts), inDoubt: Number(in_doubt) === 1 };
}

async function write(
  trx: Transaction<unknown>,
  eventId: string,
  event: EventProgress,
  more: readonly RawBuilder<unknown>[],
): Promise<void> {
  const changes = [
    sql`state = ${event.state}`,
    sql`attempts = ${event.attempts}`,
    sql`in_doubt = ${event.inDoubt}`,
    ...more,
  ];
  await sql`UPDATE muster_event SET ${sql.join(changes)} WHERE event_id = ${eventId}`.execute(trx);
}

/** `unknown`: its end was not seen; it may still be told by who began it, hence the update. */
async function keepFailedAttempt(
  trx: Transaction<unknown>,
  eventId: string,
  attempt: number,
  outcome: string,
  status: number | null,
): Promise<void> {
  const endedAt = outcome === 'unknown' ? sql`NULL` : sql`UTC_TIMESTAMP(3)`;
  await sql`
    INSERT INTO muster_event_failure (event_id, attempt, started_at, ended_at, outcome, status)
    SELECT event_id, ${attempt}, attempted_at, ${endedAt}, ${outcome}, ${status}
    FROM muster_event WHERE event_id = ${eventId}
    ON DUPLICATE KEY UPDATE ended_at = ${endedAt}, outcome = ${outcome}, status = ${status}`.execute(trx);
}

/** Rows that people should know of. */
export async function countTroubles(
  db: Db,
): Promise<{ readonly deadLettered: number; readonly inDoubt: number }> {
  const { rows } = await sql<{ dead: number | string | null; doubt: number | string | null }>`
    SELECT SUM(state = 'DEAD_LETTER') AS dead, SUM(in_doubt) AS doubt FROM muster_event
    WHERE state IN ('PUBLISHED', 'IN_PROGRESS', 'FAILED', 'DEAD_LETTER')`.execute(db);
  return { deadLettered: Number(rows[0]?.dead ?? 0), inDoubt: Number(rows[0]?.doubt ?? 0) };
}

export interface FailedAttempt {
  readonly attempt: number;
  readonly startedAt: Date;
  readonly endedAt: Date | null;
  readonly outcome: string;
  readonly status: number | null;
}

export interface EventRow extends EventProgress {
  readonly eventId: string;
  readonly type: string;
  readonly subject: string;
  readonly outcome: string | null;
  readonly status: number | null;
  readonly traceId: string | null;
  readonly publishedAt: Date;
  /** When whoever tells of it saw it first; null: not yet. */
  readonly firstSeenAt: Date | null;
  readonly attemptedAt: Date | null;
  readonly nextAttemptAt: Date | null;
  readonly endedAt: Date | null;
}

const columns = sql`
  event_id AS eventId, type, subject, state, attempts, in_doubt AS inDoubt, outcome, status, trace_id AS traceId,
  published_at AS publishedAt, first_seen_at AS firstSeenAt, attempted_at AS attemptedAt,
  next_attempt_at AS nextAttemptAt, ended_at AS endedAt`;

type SelectedRow = Omit<EventRow, 'inDoubt'> & { readonly inDoubt: number };

const eventRow = (row: SelectedRow): EventRow => ({
  ...row,
  attempts: Number(row.attempts),
  // While an attempt runs, or its end was not seen, nobody knows either.
  inDoubt: Number(row.inDoubt) === 1 || row.state === 'IN_PROGRESS',
});

export interface FoundEvent {
  readonly event: EventRow;
  /** What it says. */
  readonly data: unknown;
  /** Oldest first. */
  readonly failedAttempts: readonly FailedAttempt[];
}

/** An event with all that is known of it; undefined when the log does not know it. */
export async function findEvent(db: Db, eventId: string): Promise<FoundEvent | undefined> {
  const { rows } = await sql<SelectedRow & { readonly body: Buffer }>`
    SELECT ${columns}, body FROM muster_event WHERE event_id = ${eventId}`.execute(db);
  if (rows[0] === undefined) return undefined;
  const { body, ...row } = rows[0];
  const failed = await sql<FailedAttempt>`
    SELECT attempt, started_at AS startedAt, ended_at AS endedAt, outcome, status
    FROM muster_event_failure WHERE event_id = ${eventId} ORDER BY attempt`.execute(db);
  return { event: eventRow(row), data: JSON.parse(body.toString('utf8')), failedAttempts: failed.rows };
}

/** Newest first. */
export async function listEvents(
  db: Db,
  filter: { readonly subject?: string; readonly state?: EventState; readonly limit: number },
): Promise<readonly EventRow[]> {
  const wanted = [
    ...(filter.subject === undefined ? [] : [sql`subject = ${filter.subject}`]),
    ...(filter.state === undefined ? [] : [sql`state = ${filter.state}`]),
  ];
  const { rows } = await sql<SelectedRow>`
    SELECT ${columns} FROM muster_event
    ${wanted.length === 0 ? sql`` : sql`WHERE ${sql.join(wanted, sql` AND `)}`}
    ORDER BY published_at DESC LIMIT ${filter.limit}`.execute(db);
  return rows.map(eventRow);
}
