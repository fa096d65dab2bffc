/**
 * The journal: the entries of a day, for an accounting system, as CSV (RFC 4180). What is in it is settled: it was booked so
 * long ago that nothing can come between any more, and entries never change. So every reading of a day gives the same
 * lines, page by page, and needs no snapshot that is held while a slow reader reads.
 */
import { type Kysely, sql } from 'kysely';
import { MusterError } from '../base/errors.ts';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';
import { houseOf, isHouse } from './house.ts';

/**
 * How long after its time of booking an entry has committed, or never does: some statements of at most 10 s each, a minute in which
 * the server bears that nothing comes, and clocks that differ a little.
 */
export const settledAfterMs = 300_000;

const pageLegs = 2_000;

const columns = [
  'transfer_id',
  'leg',
  'booked_at',
  'account',
  'side',
  'amount_minor',
  'currency',
  'reason',
  'corrects',
] as const;

/** Moments, UTC ms: from the first to before the second. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Lines of the entries booked within a span, in the order of booking, a header first; some thousand of them at a time, so
 * that a day of any size needs the memory of one page. The span must be settled.
 */
export async function* journal(database: () => Promise<Kysely<unknown>>, span: Span): AsyncGenerator<string> {
  // With the first page: a database that is away is told before anything of the file.
  let header = lineOf(columns);
  let after: StoredLeg | undefined;
  for (;;) {
    const legs: readonly StoredLeg[] = await legsAfter(await database(), span, after);
    yield header + legs.flatMap(linesOf).join('');
    if (legs.length < pageLegs) return;
    header = '';
    after = legs.at(-1);
  }
}

interface StoredLeg {
  readonly transfer_id: Buffer;
  readonly leg: number;
  readonly booked_at: Date;
  readonly currency: string;
  readonly reason: string;
  readonly corrects: Buffer | null;
  readonly from_id: string;
  readonly to_id: string;
  /** Of the entries themselves; unset when there is none. */
  readonly debit_minor: number | string | null;
  readonly credit_minor: number | string | null;
}

const legColumns = sql`t.transfer_id, t.leg, t.booked_at, t.currency, t.reason, t.corrects, a.account_id AS from_id,
  b.account_id AS to_id, d.amount_minor AS debit_minor, c.amount_minor AS credit_minor`;
const itsSides = sql`
  JOIN ledger_account a ON a.account_no = t.from_no
  JOIN ledger_account b ON b.account_no = t.to_no
  LEFT JOIN ledger_entry d
    ON d.account_no = t.from_no AND d.version = t.from_version AND d.transfer_id = t.transfer_id AND d.leg = t.leg
  LEFT JOIN ledger_entry c
    ON c.account_no = t.to_no AND c.version = t.to_version AND c.transfer_id = t.transfer_id AND c.leg = t.leg`;

async function legsAfter(
  db: Kysely<unknown>,
  { fromMs, toMs }: Span,
  after: StoredLeg | undefined,
): Promise<readonly StoredLeg[]> {
  const from = after?.booked_at ?? new Date(fromMs);
  const beyond =
    after === undefined
      ? sql``
      : sql`AND (t.booked_at > ${from} OR t.transfer_id > ${after.transfer_id}
          OR (t.transfer_id = ${after.transfer_id} AND t.leg > ${after.leg}))`;
  const { rows } = await sql<StoredLeg>`
    SELECT ${legColumns} FROM ledger_transfer t FORCE INDEX (ledger_transfer_booked_at) ${itsSides}
    WHERE t.booked_at >= ${from} AND t.booked_at < ${new Date(toMs)} ${beyond}
    ORDER BY t.booked_at, t.transfer_id, t.leg LIMIT ${pageLegs}`.execute(db);
  return rows;
}

export interface BookedTransfer {
  readonly transferId: string;
  readonly bookedAtMs: number;
  readonly currency: string;
  /** The transfer that it takes back. */
  readonly corrects?: string;
  /** Two a leg: the debit, then the credit. */
  readonly entries: readonly {
    readonly account: string;
    readonly amountMinor: number;
    readonly reason: string;
  }[];
}

/** Transfers, the newest first, those before `before`. Throws MUSTER_BOOKS_BROKEN. */
export async function newestTransfers(
  db: Kysely<unknown>,
  { before, limit }: { readonly before: string; readonly limit: number },
): Promise<readonly BookedTransfer[]> {
  // Their first legs: a page begins and ends with a whole transfer.
  const { rows } = await sql<StoredLeg>`
    SELECT ${legColumns}
    FROM (SELECT transfer_id FROM ledger_transfer WHERE transfer_id < ${bytesOfUuid(before)} AND leg = 0
      ORDER BY transfer_id DESC LIMIT ${limit}) AS wanted
    JOIN ledger_transfer t ON t.transfer_id = wanted.transfer_id ${itsSides}
    ORDER BY t.transfer_id DESC, t.leg`.execute(db);
  return [...Map.groupBy(rows, (row) => uuidOfBytes(row.transfer_id))].map(([transferId, legs]) => {
    const [{ booked_at, currency, corrects }] = legs as [StoredLeg];
    return {
      transferId,
      bookedAtMs: booked_at.getTime(),
      currency,
      ...(corrects === null ? {} : { corrects: uuidOfBytes(corrects) }),
      entries: legs.flatMap((leg) =>
        sidesOf(leg).map(([account, amountMinor]) => ({ account, amountMinor, reason: leg.reason })),
      ),
    };
  });
}

/** The debit and the credit: account and amount. */
function sidesOf({ transfer_id, from_id, to_id, debit_minor, credit_minor }: StoredLeg) {
  // Half of a transfer in a file that says nothing of it would be worse than no file.
  if (debit_minor === null || credit_minor === null)
    throw new MusterError('MUSTER_BOOKS_BROKEN', `transfer ${uuidOfBytes(transfer_id)} lacks an entry`);
  const nameOf = (accountId: string) => (isHouse(accountId) ? houseOf(accountId).name : accountId);
  return [[nameOf(from_id), Number(debit_minor)] as const, [nameOf(to_id), Number(credit_minor)] as const];
}

function linesOf(leg: StoredLeg): readonly string[] {
  const { transfer_id, booked_at, currency, reason, corrects } = leg;
  return sidesOf(leg).map(([account, amountMinor]) =>
    lineOf([
      uuidOfBytes(transfer_id),
      leg.leg,
      booked_at.toISOString(),
      account,
      amountMinor < 0 ? 'DEBIT' : 'CREDIT',
      Math.abs(amountMinor),
      currency,
      reason,
      corrects === null ? '' : uuidOfBytes(corrects),
    ]),
  );
}

const lineOf = (fields: readonly (string | number)[]) => `${fields.map(fieldOf).join(',')}\r\n`;

function fieldOf(value: string | number): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
