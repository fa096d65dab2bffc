/** The event log in SQL. One row an event; every change is a transition of delivery.ts. */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import { MusterError } from '../base/errors.ts';
import { transaction } from '../store/database.ts';
import {
  type Answer,
  beginAttempt,
  type EventState,
  endAttempt,
  type LoggedEvent,
  type Outcome,
} from './delivery.ts';
import type { OutsideEvent } from './event.ts';

type Db = Kysely<unknown>;

/** An attempt about to begin: its event, and the trace it runs in. */
export interface Beginning {
  readonly event: OutsideEvent;
  readonly traceId: string | undefined;
}

/**
 * Notes events that nobody knows yet and begins the first attempt of each, all in one statement. False, and nothing is
 * changed, when one of them is known already: then each is for beginAttemptOf().
 */
export async function beginFirstAttempts(db: Db, beginnings: readonly Beginning[]): Promise<boolean> {
  // By id: two processes that insert the same ones wait for each other and never deadlock.
  const rows = beginnings
    .toSorted((a, b) => (a.event.id < b.event.id ? -1 : 1))
    .map(
      ({ event, traceId }) => sql`(${noted(event)}, 'IN_PROGRESS', 1, UTC_TIMESTAMP(3), ${traceId ?? null})`,
    );
  try {
    await sql`
      INSERT INTO outside_event (${notedColumns}, state, attempts, attempted_at, trace_id)
      VALUES ${sql.join(rows)}`.execute(db);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).errno === duplicateEntry) return false;
    throw error;
  }
}

const duplicateEntry = 1062;
const notedColumns = sql.raw(
  'event_id, body_hash, order_id, payment_id, amount_minor, currency, published_at, first_seen_at',
);
const noted = ({ id, bodyHash, payment, publishedAtMs }: OutsideEvent) => sql`
  ${id}, ${bodyHash}, ${payment.orderId}, ${payment.paymentId}, ${payment.amount.amountMinor},
  ${payment.amount.currency}, ${new Date(publishedAtMs)}, UTC_TIMESTAMP(3)`;

/** Notes that the event is there: PUBLISHED. True when it was not known before. */
export async function noteEvent(db: Db, event: OutsideEvent): Promise<boolean> {
  const inserted = await sql`
    INSERT IGNORE INTO outside_event (${notedColumns}, state) VALUES (${noted(event)}, 'PUBLISHED')`.execute(
    db,
  );
  return inserted.numAffectedRows === 1n;
}

/**
 * Begins the next attempt of a noted event and says its number; undefined when the event is completed. Throws
 * MUSTER_DUPLICATE_ID_OTHER_BODY when the id is known with another body.
 */
export async function beginAttemptOf(db: Db, { event, traceId }: Beginning): Promise<number | undefined> {
  return transaction(db, async (trx) => {
    const row = await locked(trx, event.id);
    if (!row.body_hash.equals(event.bodyHash))
      throw new MusterError(
        'MUSTER_DUPLICATE_ID_OTHER_BODY',
        'this event id was used before with another body; a new event needs a new id',
      );
    const before = loggedEvent(row);
    const after = beginAttempt(before);
    if (after === undefined) return undefined;
    // Nobody lived to see the end of the one before.
    if (before.state === 'IN_PROGRESS')
      await keepFailedAttempt(trx, event.id, before.attempts, 'unknown', null);
    await write(trx, event.id, after, [
      sql`attempted_at = UTC_TIMESTAMP(3)`,
      sql`next_attempt_at = NULL`,
      sql`ended_at = NULL`,
      sql`trace_id = ${traceId ?? null}`,
    ]);
    return after.attempts;
  });
}

/** Notes that webhooks were taken, with the status of each: COMPLETED. */
export async function completeEvents(
  db: Db,
  taken: readonly { readonly eventId: string; readonly status: number }[],
): Promise<void> {
  // Receivers hardly ever answer with two kinds of 2xx, so this is one statement.
  for (const [status, events] of Map.groupBy(taken, (one) => one.status))
    await sql`
      UPDATE outside_event
      SET state = 'COMPLETED', in_doubt = FALSE, outcome = '2xx', status = ${status},
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
  answer: Answer,
  state: 'FAILED' | 'DEAD_LETTER',
  retryInMs: number | undefined,
): Promise<EventState> {
  return transaction(db, async (trx) => {
    const before = loggedEvent(await locked(trx, eventId));
    await keepFailedAttempt(trx, eventId, attempt, answer.outcome, answer.status);
    const after = endAttempt(before, attempt, answer, state);
    if (after === undefined) return before.state;
    if (after.state === before.state) {
      await write(trx, eventId, after, []);
      return after.state;
    }
    const inMs = state === 'FAILED' ? retryInMs : undefined;
    await write(trx, eventId, after, [
      sql`outcome = ${answer.outcome}`,
      sql`status = ${answer.status}`,
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
    SELECT state, attempts, in_doubt, body_hash FROM outside_event
    WHERE event_id = ${eventId} FOR UPDATE`.execute(trx);
  if (rows[0] === undefined)
    throw new MusterError('MUSTER_EVENT_UNKNOWN', 'the event is not in the log any more');
  return rows[0];
}

function loggedEvent({ state, attempts, in_doubt }: LockedRow): LoggedEvent {
  return { state, attempts: Number(attempts), inDoubt: Number(in_doubt) === 1 };
}

async function write(
  trx: Transaction<unknown>,
  eventId: string,
  event: LoggedEvent,
  more: readonly RawBuilder<unknown>[],
): Promise<void> {
  const changes = [
    sql`state = ${event.state}`,
    sql`attempts = ${event.attempts}`,
    sql`in_doubt = ${event.inDoubt}`,
    ...more,
  ];
  await sql`UPDATE outside_event SET ${sql.join(changes)} WHERE event_id = ${eventId}`.execute(trx);
}

/** `unknown`: its end was not seen; it may still be told by who began it, hence the update. */
async function keepFailedAttempt(
  trx: Transaction<unknown>,
  eventId: string,
  attempt: number,
  outcome: Outcome | 'unknown',
  status: number | null,
): Promise<void> {
  const endedAt = outcome === 'unknown' ? sql`NULL` : sql`UTC_TIMESTAMP(3)`;
  await sql`
    INSERT INTO outside_failed_attempt (event_id, attempt, started_at, ended_at, outcome, status)
    SELECT event_id, ${attempt}, attempted_at, ${endedAt}, ${outcome}, ${status}
    FROM outside_event WHERE event_id = ${eventId}
    ON DUPLICATE KEY UPDATE ended_at = ${endedAt}, outcome = ${outcome}, status = ${status}`.execute(trx);
}

/** Rows that people should know of. */
export async function countTroubles(
  db: Db,
): Promise<{ readonly deadLettered: number; readonly inDoubt: number }> {
  const { rows } = await sql<{ dead: number | string | null; doubt: number | string | null }>`
    SELECT SUM(state = 'DEAD_LETTER') AS dead, SUM(in_doubt) AS doubt FROM outside_event
    WHERE state IN ('PUBLISHED', 'IN_PROGRESS', 'FAILED', 'DEAD_LETTER')`.execute(db);
  return { deadLettered: Number(rows[0]?.dead ?? 0), inDoubt: Number(rows[0]?.doubt ?? 0) };
}

export interface FailedAttempt {
  readonly attempt: number;
  readonly startedAt: Date;
  readonly endedAt: Date | null;
  readonly outcome: Outcome | 'unknown';
  readonly status: number | null;
}

export interface EventRow extends LoggedEvent {
  readonly eventId: string;
  readonly orderId: string;
  readonly paymentId: string;
  readonly amount: { readonly amountMinor: number; readonly currency: string };
  readonly outcome: Outcome | null;
  readonly status: number | null;
  readonly traceId: string | null;
  readonly publishedAt: Date;
  readonly firstSeenAt: Date;
  readonly attemptedAt: Date | null;
  readonly nextAttemptAt: Date | null;
  readonly endedAt: Date | null;
}

const columns = sql`
  event_id AS eventId, order_id AS orderId, payment_id AS paymentId, amount_minor AS amountMinor, currency, state,
  attempts, in_doubt AS inDoubt, outcome, status, trace_id AS traceId, published_at AS publishedAt,
  first_seen_at AS firstSeenAt, attempted_at AS attemptedAt, next_attempt_at AS nextAttemptAt, ended_at AS endedAt`;

interface SelectedRow extends Omit<EventRow, 'amount' | 'inDoubt' | 'attempts'> {
  readonly amountMinor: number;
  readonly currency: string;
  readonly attempts: number;
  readonly inDoubt: number;
}

function eventRow({ amountMinor, currency, inDoubt, attempts, ...row }: SelectedRow): EventRow {
  return {
    ...row,
    attempts: Number(attempts),
    // While an attempt runs, or its end was not seen, nobody knows either.
    inDoubt: Number(inDoubt) === 1 || row.state === 'IN_PROGRESS',
    amount: { amountMinor: Number(amountMinor), currency },
  };
}

/** An event with its failed attempts, oldest first; undefined when the log does not know it. */
export async function findEvent(
  db: Db,
  eventId: string,
): Promise<{ readonly event: EventRow; readonly failedAttempts: readonly FailedAttempt[] } | undefined> {
  const { rows } = await sql<SelectedRow>`
    SELECT ${columns} FROM outside_event WHERE event_id = ${eventId}`.execute(db);
  if (rows[0] === undefined) return undefined;
  const failed = await sql<FailedAttempt>`
    SELECT attempt, started_at AS startedAt, ended_at AS endedAt, outcome, status
    FROM outside_failed_attempt WHERE event_id = ${eventId} ORDER BY attempt`.execute(db);
  return { event: eventRow(rows[0]), failedAttempts: failed.rows };
}

/** Newest first. */
export async function listEvents(
  db: Db,
  filter: { readonly orderId?: string; readonly state?: EventState; readonly limit: number },
): Promise<readonly EventRow[]> {
  const wanted = [
    ...(filter.orderId === undefined ? [] : [sql`order_id = ${filter.orderId}`]),
    ...(filter.state === undefined ? [] : [sql`state = ${filter.state}`]),
  ];
  const { rows } = await sql<SelectedRow>`
    SELECT ${columns} FROM outside_event
    ${wanted.length === 0 ? sql`` : sql`WHERE ${sql.join(wanted, sql` AND `)}`}
    ORDER BY first_seen_at DESC LIMIT ${filter.limit}`.execute(db);
  return rows.map(eventRow);
}
