/**
 * Compares a bank's books with what we hold, transfer by transfer and in both directions, over its statement of the last
 * weeks. It judges what the rest of banking did, so it asks the rows by SQL of its own.
 */
import { type Kysely, sql } from 'kysely';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { NotNowError } from '../base/errors.ts';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';
import type { Logger } from '../base/log.ts';
import { startRepeated } from '../platform/repeated.ts';
import { transaction } from '../store/database.ts';
import type { Banks, StatementEntry } from './banks.ts';

export interface Reconciliation {
  readonly bank: string;
  /** Transfers on the statement. */
  readonly compared: number;
  readonly differences: readonly { readonly transferId: string; readonly difference: string }[];
}

const dayMs = 86_400_000;
/** Every transfer is compared that often, a day apart. */
const periodMs = 35 * dayMs;
/** A bank's clock and ours: at the edges of the period nothing is judged. */
const edgeMs = dayMs;
/** What is under way for no longer than this may differ yet. */
const underWayMs = 300_000;
const mostDifferences = 1_000;

interface Ours {
  readonly state: string;
  readonly amountMinor: number;
  readonly currency: string;
  readonly from: string;
  readonly to: string;
  readonly toBank: string;
  readonly ageMs: number;
}

/** Resolves to what was found, which is kept then. Rejects with MUSTER_BANK_AWAY (not now) when the bank does not show its books. */
export async function reconcile(
  db: Kysely<unknown>,
  banks: Pick<Banks, 'statement'>,
  bank: string,
): Promise<Reconciliation> {
  const { rows } = await sql<{ now: Date }>`SELECT UTC_TIMESTAMP(3) AS now`.execute(db);
  const beganAt = rows[0]!.now;
  const sinceMs = beganAt.getTime() - periodMs;
  const found = new Map<string, string>();
  const seen = new Set<string>();
  let compared = 0;
  for (let after: string | undefined, first = true; first || after !== undefined; first = false) {
    const page = await banks.statement(bank, sinceMs, after);
    if (page === undefined)
      throw new NotNowError('MUSTER_BANK_AWAY', 'the bank does not show its books just now');
    const same = await comparePage(db, bank, page.entries, found);
    if (same.length > 0)
      await sql`
        UPDATE firmbanking SET confirmed_at = UTC_TIMESTAMP(3)
        WHERE firmbanking_id IN (${sql.join(same.map(bytesOfUuid))})`.execute(db);
    const before = seen.size;
    for (const { transferId, state } of page.entries) {
      if (seen.has(transferId)) found.set(transferId, `${state} more than once at the bank`);
      seen.add(transferId);
    }
    // Else who compares would turn pages for ever.
    if (page.next !== undefined && seen.size === before)
      throw new NotNowError('MUSTER_BANK_AWAY', 'the bank shows a page of its books again and again');
    compared += page.entries.length;
    after = page.next;
  }
  for (const { id, state } of await notConfirmed(db, bank, beganAt))
    found.set(id, `${state} here, and not in the bank's books`);

  const differences = [...found]
    .slice(0, mostDifferences)
    .map(([transferId, difference]) => ({ transferId, difference }));
  await transaction(db, async (trx) => {
    await sql`DELETE FROM bank_difference WHERE bank = ${bank}`.execute(trx);
    if (differences.length > 0)
      await sql`
        INSERT INTO bank_difference (bank, transfer_id, difference, found_at)
        VALUES ${sql.join(
          differences.map((each) => sql`(${bank}, ${each.transferId}, ${each.difference}, ${beganAt})`),
        )}`.execute(trx);
    await sql`
      INSERT INTO bank_reconciliation (bank, began_at, ended_at, compared, differences)
      VALUES (${bank}, ${beganAt}, UTC_TIMESTAMP(3), ${compared}, ${found.size})`.execute(trx);
  });
  return { bank, compared, differences };
}

const ourId = new RegExp(uuidPattern);
const isOurId = (id: string) => ourId.test(id);

/** Puts what differs into `found`; resolves to the ids of those that are the same. */
async function comparePage(
  db: Kysely<unknown>,
  bank: string,
  entries: readonly StatementEntry[],
  found: Map<string, string>,
): Promise<readonly string[]> {
  const ids = entries.map(({ transferId }) => transferId).filter(isOurId);
  const ours = await oursOf(db, bank, ids);
  const same: string[] = [];
  for (const entry of entries) {
    const { transferId } = entry;
    const our = ours.get(transferId);
    const difference = differenceOf(entry, our);
    if (difference !== undefined) found.set(transferId, difference);
    else if (our?.state === entry.state) same.push(transferId);
  }
  return same;
}

function differenceOf(theirs: StatementEntry, our: Ours | undefined): string | undefined {
  if (our === undefined) return `${theirs.state} at the bank, and not known here`;
  if (our.state !== theirs.state) {
    const isOpen = our.state !== 'EXECUTED' && our.state !== 'REJECTED';
    if (isOpen && our.ageMs < underWayMs) return undefined;
    return `${theirs.state} at the bank, ${our.state} here`;
  }
  if (theirs.amountMinor !== our.amountMinor || theirs.currency !== our.currency)
    return `${theirs.amountMinor} ${theirs.currency} at the bank, ${our.amountMinor} ${our.currency} here`;
  if (theirs.from !== our.from || theirs.to.bank !== our.toBank || theirs.to.accountNumber !== our.to)
    return 'between other accounts at the bank';
  return undefined;
}

async function oursOf(
  db: Kysely<unknown>,
  bank: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, Ours>> {
  if (ids.length === 0) return new Map();
  const { rows } = await sql<{
    id: Buffer;
    state: string;
    amount_minor: number | string;
    currency: string;
    from_number: string;
    to_number: string;
    to_bank: string;
    age_s: number | string;
  }>`
    SELECT f.firmbanking_id AS id, f.state, f.amount_minor, f.currency, a.account_number AS from_number,
      b.account_number AS to_number, b.bank AS to_bank,
      TIMESTAMPDIFF(SECOND, f.counts_from, UTC_TIMESTAMP(3)) AS age_s
    FROM firmbanking AS f
    JOIN bank_account AS a ON a.account_id = f.from_id JOIN bank_account AS b ON b.account_id = f.to_id
    WHERE f.firmbanking_id IN (${sql.join(ids.map(bytesOfUuid))}) AND f.bank = ${bank}`.execute(db);
  return new Map(
    rows.map((row) => [
      uuidOfBytes(row.id),
      {
        state: row.state,
        amountMinor: Number(row.amount_minor),
        currency: row.currency,
        from: row.from_number,
        to: row.to_number,
        toBank: row.to_bank,
        ageMs: Number(row.age_s) * 1_000,
      },
    ]),
  );
}

/** Decided by the bank's word within the period, and not on its statement: this run has not confirmed them. */
async function notConfirmed(
  db: Kysely<unknown>,
  bank: string,
  beganAt: Date,
): Promise<readonly { readonly id: string; readonly state: string }[]> {
  const at = (ms: number) => new Date(beganAt.getTime() + ms);
  const { rows } = await sql<{ id: Buffer; state: string }>`
    SELECT firmbanking_id AS id, state FROM firmbanking
    WHERE bank = ${bank} AND decided_by = 'BANK' AND decided_at BETWEEN ${at(edgeMs - periodMs)} AND ${at(-1_000)}
      AND (confirmed_at IS NULL OR confirmed_at BETWEEN ${at(-periodMs - 7 * dayMs)} AND ${at(-1)})
    LIMIT ${mostDifferences}`.execute(db);
  return rows.map(({ id, state }) => ({ id: uuidOfBytes(id), state }));
}

// ---- daily

const lookEveryMs = 10 * 60_000;

/** Compares the books of each bank once a day; what did not work is tried again ten minutes later. */
export function reconcileDaily(options: {
  database(): Promise<Kysely<unknown>>;
  readonly banks: Pick<Banks, 'statement'>;
  readonly log: Logger;
}): { stop(): Promise<void> } {
  async function look(): Promise<void> {
    try {
      const db = await options.database();
      for (const bank of await notComparedToday(db)) await compare(db, bank);
    } catch (error) {
      options.log.warn('the books of banks could not be compared', { error });
    }
  }
  /** One that does not show its books, perhaps never again, keeps nobody from comparing those of the others. */
  async function compare(db: Kysely<unknown>, bank: string): Promise<void> {
    try {
      const { compared, differences } = await reconcile(db, options.banks, bank);
      const level = differences.length === 0 ? 'info' : 'error';
      options.log[level]('the books of a bank were compared with ours', {
        bank,
        compared,
        differences: differences.length,
      });
    } catch (error) {
      options.log.warn('the books of a bank could not be compared', { bank, error });
    }
  }
  return startRepeated(lookEveryMs, look);
}

/** Banks with which something was decided, and whose books nobody has compared for a day. */
async function notComparedToday(db: Kysely<unknown>): Promise<readonly string[]> {
  const { rows } = await sql<{ bank: string }>`
    SELECT bank FROM bank_contract AS c
    WHERE EXISTS (SELECT 1 FROM firmbanking AS f WHERE f.bank = c.bank)
      AND NOT EXISTS (
        SELECT 1 FROM bank_reconciliation AS r
        WHERE r.bank = c.bank AND r.ended_at > UTC_TIMESTAMP(3) - INTERVAL 1 DAY)`.execute(db);
  return rows.map(({ bank }) => bank);
}
