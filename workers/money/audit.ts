/**
 * The audit of a day: members who moved much, or oddly, for people to look at. A movement is what leaves a member's account, but
 * for our fees and corrections. Each rule is a question of its own to the sums of the day, which are made by the hour, by the index
 * on the time of booking, in a temporary table: no statement reads more than an hour of the books.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { homeCurrency } from '../base/money.ts';
import type { Span } from './journal.ts';

const hourMs = 3_600_000;
/** Of each rule, those who moved most. */
const mostFindings = 500;
/** Of an account, entries before its day that are looked through for who was paid before. */
const entriesBefore = 10_000;
/** Accounts whose counterparties are looked at, those with the most movements. */
const mostLookedAt = 200;

export interface AuditRule {
  readonly name: string;
  /** Why people should look. */
  readonly reason: string;
  /** Of the sums of the day: which accounts. */
  readonly of: (limitMinor: number) => RawBuilder<unknown>;
}

export const auditRules: readonly AuditRule[] = [
  {
    name: 'ABOVE_DAILY_LIMIT',
    reason: 'more left the account than a member may move on a day',
    of: (limit) => sql`out_minor > ${limit}`,
  },
  {
    name: 'JUST_BELOW_LIMIT',
    reason: 'three or more movements that together stay within a tenth below the limit: as who knows it does',
    of: (limit) => sql`movements >= 3 AND out_minor BETWEEN ${Math.ceil(limit * 0.9)} AND ${limit}`,
  },
  {
    name: 'IN_AND_OUT',
    reason:
      'half of the limit or more came in, and nine tenths of it left on the same day: money that passes through',
    of: (limit) => sql`in_minor >= ${Math.ceil(limit / 2)} AND out_minor * 10 >= in_minor * 9`,
  },
  {
    name: 'NEW_COUNTERPARTIES',
    reason: 'two dozen or more members were paid whom the account had not paid, or got from, before',
    of: () => sql`account_no IN (
      SELECT account_no FROM (
        SELECT e.account_no, e.other_no FROM (
          SELECT account_no, first_version, last_version FROM audit_busy
        ) d
        JOIN ledger_entry e ON e.account_no = d.account_no
          AND e.version BETWEEN GREATEST(CAST(d.first_version AS SIGNED) - ${entriesBefore}, 0) AND d.last_version
        JOIN ledger_account o ON o.account_no = e.other_no AND o.may_overdraw = 0
        GROUP BY e.account_no, e.other_no
        HAVING MIN(e.version) >= MIN(d.first_version) AND SUM(e.amount_minor < 0) > 0
      ) fresh GROUP BY account_no HAVING COUNT(*) >= 24)`,
  },
];

export interface Finding {
  rule: string;
  /** Pseudonym. */
  account: string;
  outMinor: number;
  inMinor: number;
  movements: number;
}

/** Whom the rules find within a settled span, those of each who moved most first. `more`: a rule has found more than are told. */
export async function auditOf(
  database: Kysely<unknown>,
  span: Span,
  limitMinor: number,
): Promise<{ readonly findings: Finding[]; readonly more: boolean }> {
  return database.connection().execute(async (db) => {
    try {
      await sumUp(db, span);
      const found: Finding[][] = [];
      for (const rule of auditRules) found.push(await findingsOf(db, rule, limitMinor));
      return {
        findings: found.flatMap((own) => own.slice(0, mostFindings)),
        more: found.some((own) => own.length > mostFindings),
      };
    } finally {
      await sql`DROP TEMPORARY TABLE IF EXISTS audit_day, audit_busy`.execute(db);
    }
  });
}

async function sumUp(db: Kysely<unknown>, { fromMs, toMs }: Span): Promise<void> {
  await sql`
    CREATE TEMPORARY TABLE audit_day (
      account_no INT UNSIGNED NOT NULL PRIMARY KEY, out_minor DECIMAL(30) NOT NULL, in_minor DECIMAL(30) NOT NULL,
      movements INT UNSIGNED NOT NULL, first_version INT UNSIGNED NULL, last_version INT UNSIGNED NULL)`.execute(
    db,
  );
  for (let ms = fromMs; ms < toMs; ms += hourMs) {
    const hour = sql`
      FROM ledger_transfer FORCE INDEX (ledger_transfer_booked_at)
      WHERE booked_at >= ${new Date(ms)} AND booked_at < ${new Date(Math.min(ms + hourMs, toMs))}
        AND currency = ${homeCurrency} AND reason <> 'correction'`;
    await sql`
      INSERT INTO audit_day (account_no, out_minor, in_minor, movements, first_version, last_version)
      SELECT m.no, SUM(m.out_minor), SUM(m.in_minor), SUM(m.n), MIN(m.version), MAX(m.version)
      FROM (
        SELECT from_no AS no, amount_minor AS out_minor, 0 AS in_minor, 1 AS n, from_version AS version
        ${hour} AND reason <> 'fee'
        UNION ALL
        SELECT to_no, 0, amount_minor, 0, NULL ${hour}
      ) m JOIN ledger_account a ON a.account_no = m.no AND a.may_overdraw = 0
      GROUP BY m.no
      ON DUPLICATE KEY UPDATE out_minor = audit_day.out_minor + VALUES(out_minor),
        in_minor = audit_day.in_minor + VALUES(in_minor), movements = audit_day.movements + VALUES(movements),
        first_version = COALESCE(audit_day.first_version, VALUES(first_version)),
        last_version = COALESCE(VALUES(last_version), audit_day.last_version)`.execute(db);
  }
  await sql`
    CREATE TEMPORARY TABLE audit_busy AS
    SELECT account_no, first_version, last_version FROM audit_day
    WHERE movements >= 24 ORDER BY movements DESC LIMIT ${mostLookedAt}`.execute(db);
}

async function findingsOf(
  db: Kysely<unknown>,
  { name, of }: AuditRule,
  limitMinor: number,
): Promise<Finding[]> {
  const { rows } = await sql<{ id: string; out_minor: string; in_minor: string; movements: number }>`
    SELECT a.account_id AS id, d.out_minor, d.in_minor, d.movements
    FROM (SELECT * FROM audit_day WHERE ${of(limitMinor)} ORDER BY out_minor DESC LIMIT ${mostFindings + 1}) d
    JOIN ledger_account a ON a.account_no = d.account_no
    ORDER BY d.out_minor DESC, a.account_id`.execute(db);
  return rows.map((row) => ({
    rule: name,
    account: row.id,
    outMinor: Number(row.out_minor),
    inMinor: Number(row.in_minor),
    movements: row.movements,
  }));
}
