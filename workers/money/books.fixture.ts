/** An auditor of the books, by SQL of its own: it shares nothing with the ledger. */
import { type Kysely, sql } from 'kysely';

/** What is wrong in the books, each with up to a few keys; empty when nothing is. */
export async function audit(db: Kysely<unknown>): Promise<readonly string[]> {
  const questions = {
    'all balances do not sum to zero in a currency': sql`
      SELECT currency AS what FROM ledger_account GROUP BY currency HAVING SUM(balance_minor) <> 0`,
    'a transfer does not sum to zero': sql`
      SELECT HEX(transfer_id) AS what FROM ledger_entry GROUP BY transfer_id, leg
      HAVING SUM(amount_minor) <> 0 OR COUNT(*) <> 2`,
    'a leg is not its two entries': sql`
      SELECT HEX(t.transfer_id) AS what FROM ledger_transfer t
      LEFT JOIN ledger_entry d ON d.account_no = t.from_no AND d.version = t.from_version
        AND d.transfer_id = t.transfer_id AND d.amount_minor = -t.amount_minor AND d.other_no = t.to_no
      LEFT JOIN ledger_entry c ON c.account_no = t.to_no AND c.version = t.to_version
        AND c.transfer_id = t.transfer_id AND c.amount_minor = t.amount_minor AND c.other_no = t.from_no
      WHERE d.account_no IS NULL OR c.account_no IS NULL`,
    'entries without a leg': sql`
      SELECT HEX(e.transfer_id) AS what FROM ledger_entry e
      LEFT JOIN ledger_transfer t ON t.transfer_id = e.transfer_id AND t.leg = e.leg
      WHERE t.transfer_id IS NULL`,
    'the balance is not the sum of the entries, or the version not their number': sql`
      SELECT a.account_id AS what FROM ledger_account a
      LEFT JOIN (
        SELECT account_no, SUM(amount_minor) AS amount, COUNT(*) AS n, MAX(version) AS last
        FROM ledger_entry GROUP BY account_no
      ) e ON e.account_no = a.account_no
      WHERE a.balance_minor <> COALESCE(e.amount, 0) OR a.version <> COALESCE(e.n, 0)
        OR a.version <> COALESCE(e.last, 0)`,
    'an entry’s running balance is not that of the one before it plus its amount': sql`
      SELECT CONCAT(e.account_no, '/', e.version) AS what FROM ledger_entry e
      LEFT JOIN ledger_entry b ON b.account_no = e.account_no AND b.version = e.version - 1
      WHERE e.balance_minor <> COALESCE(b.balance_minor, 0) + e.amount_minor OR (b.version IS NULL) <> (e.version = 1)`,
    'what is held is not the sum of the open holds': sql`
      SELECT a.account_id AS what FROM ledger_account a
      LEFT JOIN (
        SELECT from_no, SUM(amount_minor) AS amount FROM ledger_hold WHERE state = 'OPEN' GROUP BY from_no
      ) h ON h.from_no = a.account_no
      WHERE a.held_minor <> COALESCE(h.amount, 0)`,
    'a member is below zero, or has less than is held': sql`
      SELECT account_id AS what FROM ledger_account
      WHERE account_id NOT LIKE 'house:%' AND (balance_minor < 0 OR balance_minor < held_minor)`,
    'a member was below zero in between': sql`
      SELECT CONCAT(a.account_id, '/', e.version) AS what FROM ledger_entry e
      JOIN ledger_account a ON a.account_no = e.account_no
      WHERE a.account_id NOT LIKE 'house:%' AND e.balance_minor < 0`,
    'taken back twice': sql`
      SELECT HEX(corrects) AS what FROM ledger_transfer WHERE corrects IS NOT NULL
      GROUP BY corrects, leg HAVING COUNT(*) > 1`,
  };
  const wrong: string[] = [];
  for (const [what, question] of Object.entries(questions)) {
    const { rows } = await sql<{ what: string }>`${question} LIMIT 3`.execute(db);
    if (rows.length > 0) wrong.push(`${what}: ${rows.map((row) => row.what).join(', ')}`);
  }
  return wrong;
}

/** Of one moment: a statement sees what was committed when it began. */
export async function snapshot(
  db: Kysely<unknown>,
): Promise<{ readonly sum: number; readonly least: number }> {
  const { rows } = await sql<{ sum: string; least: string | null }>`
    SELECT SUM(balance_minor) AS sum, MIN(IF(account_id LIKE 'house:%', NULL, balance_minor - held_minor)) AS least
    FROM ledger_account`.execute(db);
  return { sum: Number(rows[0]!.sum), least: Number(rows[0]!.least ?? 0) };
}
