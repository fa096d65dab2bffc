/** Notifications: one a change of an order and a person who is to be told of it, kept until it is shown. */
import { type Kysely, sql, type Transaction } from 'kysely';
import type { DeliveryOrderEvent } from '../../catalog/events/delivery.ts';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';
import { transaction } from '../store/database.ts';
import { appendOutbox } from '../store/outbox.ts';
import { logRecord } from './events.ts';
import type { Row, State } from './machine.ts';

export type PersonRole = Row['tells'][number];

/** What is said, with the dish and nothing that names a person. */
const texts: Readonly<Record<State, string>> = {
  PLACED: 'The order is placed.',
  ACCEPTED: 'The shop has accepted the order.',
  COOKING: 'The order is being cooked.',
  CALLED: 'A rider is being looked for.',
  ASSIGNED: 'A rider has the order.',
  DELIVERING: 'The order is on its way.',
  DELIVERED: 'The order is delivered.',
  DELIVERY_FAILED: 'All riders are busy: call again, or cancel.',
  CANCELLED: 'The order is cancelled, and what was paid goes back.',
  REFUND_REQUESTED: 'A refund is asked for.',
  REFUND_APPROVED: 'The refund is approved, and what was paid goes back.',
  REFUND_REJECTED: 'The refund is rejected.',
  REDELIVERY: 'The order will be delivered once more.',
};

export const textOf = (state: string): string =>
  Object.hasOwn(texts, state) ? texts[state as State] : 'The order has changed.';

export interface Notification {
  /** Grows in the order in which a person is to be shown them. */
  readonly no: number;
  readonly orderId: string;
  readonly version: number;
  readonly state: string;
  readonly changedAtMs: number;
}

/** A notification, by what it is about and to whom. */
export interface Told {
  readonly orderId: string;
  readonly version: number;
  readonly role: PersonRole;
}

const toldOnce = ({ orderId, version, role }: Told) =>
  sql`(order_id = ${bytesOfUuid(orderId)} AND version = ${version} AND role = ${role})`;

const toldBefore = new Error('some of them were told before');

/**
 * Notifies of changes, some a statement: of those there must be none that was told before, unless it is the only one. Resolves to how
 * many people were told.
 */
async function tell(
  trx: Transaction<unknown>,
  statements: readonly (readonly DeliveryOrderEvent[])[],
): Promise<number> {
  const fresh: DeliveryOrderEvent[] = [];
  for (const events of statements) {
    const rows = events.flatMap(({ orderId, version, tells, state, at }) =>
      tells.map(
        ({ role, userId }) =>
          sql`(${bytesOfUuid(orderId)}, ${version}, ${role}, ${userId}, ${state}, ${new Date(at)}, UTC_TIMESTAMP(3))`,
      ),
    );
    const { numAffectedRows } = await sql`
      INSERT IGNORE INTO delivery_notification (order_id, version, role, person, state, changed_at, made_at)
      VALUES ${sql.join(rows)}`.execute(trx);
    // Which of several it was the statement does not say.
    if (events.length > 1 && Number(numAffectedRows) < rows.length) throw toldBefore;
    if (numAffectedRows !== 0n) fresh.push(...events);
  }
  const records = fresh.flatMap((event) =>
    event.tells.map((told) => logRecord(event, told, textOf(event.state))),
  );
  await appendOutbox(trx, records);
  return records.length;
}

export type NotificationStore = ReturnType<typeof notificationStore>;

export function notificationStore({ database }: { database(): Promise<Kysely<unknown>> }) {
  return {
    /**
     * Notifies of changes, of each once, in the order given, and writes the log event of each notification with it. Resolves to how
     * many people were told of changes that had not come before.
     */
    async notify(all: readonly DeliveryOrderEvent[]): Promise<number> {
      const events = all.filter(({ tells }) => tells.length > 0);
      if (events.length === 0) return 0;
      const db = await database();
      const inStatements = (some: readonly (readonly DeliveryOrderEvent[])[]) =>
        transaction(db, (trx) => tell(trx, some));
      return inStatements([events]).catch((error: unknown) => {
        if (error !== toldBefore) throw error;
        return inStatements(events.map((event) => [event]));
      });
    },

    /** What a person has not been shown yet, the first first; with one of theirs, what came after that as well. */
    async unshown(
      person: string,
      role: PersonRole,
      limit: number,
      after?: Told,
    ): Promise<readonly Notification[]> {
      const later =
        after === undefined
          ? sql`FALSE`
          : sql`no > (SELECT seen.no FROM delivery_notification AS seen
              WHERE ${toldOnce(after)} AND seen.person = ${person} AND seen.role = ${role})`;
      const { rows } = await sql<{
        no: number | string;
        order_id: Buffer;
        version: number;
        state: string;
        changed_at: Date;
      }>`
        SELECT no, order_id, version, state, changed_at FROM delivery_notification
        WHERE person = ${person} AND role = ${role} AND (shown_at IS NULL OR ${later}) ORDER BY no LIMIT ${limit}`.execute(
        await database(),
      );
      return rows.map(({ no, order_id, version, state, changed_at }) => ({
        ...{ no: Number(no), orderId: uuidOfBytes(order_id), version, state },
        changedAtMs: changed_at.getTime(),
      }));
    },

    /** These have reached an app of their person; those of others stay as they are. */
    async markTold(
      all: readonly { readonly person: string; readonly told: readonly Told[] }[],
    ): Promise<void> {
      const theirs = all.flatMap(({ person, told }) =>
        told.map((one) => sql`(person = ${person} AND ${toldOnce(one)})`),
      );
      if (theirs.length === 0) return;
      await sql`
        UPDATE delivery_notification SET shown_at = UTC_TIMESTAMP(3)
        WHERE shown_at IS NULL AND (${sql.join(theirs, sql` OR `)})`.execute(await database());
    },

    /** They were shown to their person; those of others stay as they are. */
    async markShown(person: string, role: PersonRole, nos: readonly number[]): Promise<void> {
      await sql`
        UPDATE delivery_notification SET shown_at = UTC_TIMESTAMP(3)
        WHERE person = ${person} AND role = ${role} AND shown_at IS NULL AND no IN (${sql.join([...nos])})`.execute(
        await database(),
      );
    },
  };
}
