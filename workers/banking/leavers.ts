/** Members who have left: their bank accounts stay for as long as something may have to be paid out to them, and are closed then. */
import { sql } from 'kysely';
import { memberEvent } from '../../catalog/events/membership.ts';
import { groups } from '../../catalog/groups.ts';
import { isNotNow } from '../base/errors.ts';
import { consume } from '../kafka/consume.ts';
import { eventReader } from '../kafka/event-reader.ts';
import { startRepeated } from '../platform/repeated.ts';
import type { Started, WorkerDeps } from '../platform/worker.ts';
import { accountRows, closeWithin, momentsOf, type StoreOptions } from './store.ts';

const readMember = eventReader(memberEvent, 'MUSTER_EVENT_INVALID');

/** What is left in their account here, and what a merchant was paid, goes out by then; 90 days. */
export const keptMs = 90 * 86_400_000;
const mostAtOnce = 100;
const lookEveryMs = 600_000;

export function leaverStore(options: StoreOptions) {
  const { within } = momentsOf(options);
  return {
    /** Remembers who has left when. */
    async left(leavers: readonly { readonly owner: string; readonly leftAtMs: number }[]): Promise<void> {
      if (leavers.length === 0) return;
      await sql`
        INSERT INTO bank_leaver (owner, close_at)
        VALUES ${sql.join(leavers.map(({ owner, leftAtMs }) => sql`(${owner}, ${new Date(leftAtMs + keptMs)})`))}
        ON DUPLICATE KEY UPDATE owner = bank_leaver.owner`.execute(await options.database());
    },

    /** Closes the accounts of some whose time has come; resolves to whether there may be more. */
    closeDue: (): Promise<boolean> =>
      within(async (trx, now) => {
        const { rows } = await sql<{ owner: string }>`
          SELECT owner FROM bank_leaver WHERE close_at <= ${new Date(now)}
          ORDER BY close_at LIMIT ${mostAtOnce} FOR UPDATE`.execute(trx);
        if (rows.length === 0) return false;
        const owners = sql.join(rows.map(({ owner }) => owner));
        const open = await accountRows(trx, sql`owner IN (${owners}) AND state <> 'CLOSED' FOR UPDATE`);
        for (const { accountId } of open) await closeWithin(trx, accountId, 'banking:left', now);
        await sql`DELETE FROM bank_leaver WHERE owner IN (${owners})`.execute(trx);
        return rows.length === mostAtOnce;
      }),
  };
}

/** Hears who leaves, and closes their accounts when it is time; until stopped. */
export async function startFollowingLeavers(
  stores: StoreOptions,
  { kafka, log, fail }: Pick<WorkerDeps, 'kafka' | 'log' | 'fail'>,
): Promise<Started> {
  const leavers = leaverStore(stores);
  const consumer = await consume(kafka, {
    group: groups.bankingMembers,
    log,
    parse: readMember,
    async apply(records) {
      const closed = records.filter(({ data }) => data.state === 'CLOSED');
      await leavers.left(
        closed.map(({ data }) => ({ owner: data.member, leftAtMs: Date.parse(data.changedAt) })),
      );
      return undefined;
    },
    onFatal: fail,
  });
  const closing = startRepeated(lookEveryMs, async () => {
    try {
      while (await leavers.closeDue());
    } catch (error) {
      // Of a database that is away others tell.
      log[isNotNow(error) ? 'debug' : 'warn']('bank accounts of members who have left could not be closed', {
        error,
      });
    }
  });
  return {
    ready: consumer.ready,
    waitingFor: () => 'its partitions',
    async stop() {
      await Promise.all([consumer.stop(), closing.stop()]);
    },
  };
}
