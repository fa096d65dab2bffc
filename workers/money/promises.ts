/** What the ledger promises, checked in its database by questions of its own. */
import { sql } from 'kysely';
import { bytesOfUuid, uuidOfBytes, uuidV7Floor } from '../base/ids.ts';
import { type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';
import { sweep } from '../store/sweep.ts';

/** A transfer's entries are there with it: they commit together. */
const judgedAfterMs = 1_000;
const accountsAtOnce = 2_000;

export const moneyChecks: ChecksOf<'money'> = {
  'ledger-sums-to-zero': ({ database }) => {
    return async () => {
      const { rows } = await sql<{ id: string }>`
        SELECT currency AS id FROM ledger_account GROUP BY currency HAVING SUM(balance_minor) <> 0`.execute(
        await database('money'),
      );
      return evidenceOf(rows);
    };
  },

  'ledger-entries-linked': ({ database }) => {
    const look = sweep<Buffer>({
      table: 'ledger_transfer',
      key: 'transfer_id',
      keyAt: (ms) => bytesOfUuid(uuidV7Floor(ms)),
      idOf: uuidOfBytes,
      judgedAfterMs,
      // Each side: its entry, and that entry's balance from the one before it.
      wrong: (among) => sql`
        SELECT t.transfer_id AS id FROM (SELECT * FROM ledger_transfer WHERE ${among}) AS t
        LEFT JOIN ledger_entry d ON d.account_no = t.from_no AND d.version = t.from_version
        LEFT JOIN ledger_entry db ON db.account_no = d.account_no AND db.version = d.version - 1
        LEFT JOIN ledger_entry c ON c.account_no = t.to_no AND c.version = t.to_version
        LEFT JOIN ledger_entry cb ON cb.account_no = c.account_no AND cb.version = c.version - 1
        WHERE d.version IS NULL OR c.version IS NULL
          OR d.transfer_id <> t.transfer_id OR c.transfer_id <> t.transfer_id
          OR d.amount_minor <> -t.amount_minor OR c.amount_minor <> t.amount_minor
          OR d.balance_minor <> COALESCE(db.balance_minor, 0) + d.amount_minor
          OR c.balance_minor <> COALESCE(cb.balance_minor, 0) + c.amount_minor
          OR (db.version IS NULL) <> (d.version = 1) OR (cb.version IS NULL) <> (c.version = 1)`,
    });
    return async () => evidenceOf((await look(await database('money'))).map((id) => ({ id })));
  },

  'ledger-accounts-true': ({ database }) => {
    let after = 0;
    const wrong = new Map<number, string>();
    return async () => {
      const db = await database('money');
      const asked = wrong.size === 0 ? sql`FALSE` : sql`account_no IN (${sql.join([...wrong.keys()])})`;
      const page = sql`
        (SELECT * FROM ledger_account WHERE account_no > ${after} ORDER BY account_no LIMIT ${accountsAtOnce})
        UNION (SELECT * FROM ledger_account WHERE ${asked})`;
      // One statement is one view of the data.
      const { rows } = await sql<{ no: number; id: string; wrong: number }>`
        SELECT a.account_no AS no, a.account_id AS id,
          a.balance_minor <> COALESCE(e.balance_minor, 0) OR (a.version > 0 AND e.version IS NULL)
            OR beyond.version IS NOT NULL OR a.held_minor <> COALESCE(h.held, 0)
            OR (a.account_id NOT LIKE 'house:%' AND a.balance_minor < a.held_minor) AS wrong
        FROM (${page}) AS a
        LEFT JOIN ledger_entry e ON e.account_no = a.account_no AND e.version = a.version
        LEFT JOIN ledger_entry beyond ON beyond.account_no = a.account_no AND beyond.version = a.version + 1
        LEFT JOIN (
          SELECT from_no, SUM(amount_minor) AS held FROM ledger_hold WHERE state = 'OPEN' GROUP BY from_no
        ) AS h ON h.from_no = a.account_no
        ORDER BY no`.execute(db);
      const paged = rows.filter(({ no }) => no > after);
      after = paged.length < accountsAtOnce ? 0 : paged[accountsAtOnce - 1]!.no;
      wrong.clear();
      for (const row of rows)
        if (Number(row.wrong) === 1 && wrong.size < mostBroken) wrong.set(row.no, row.id);
      return evidenceOf([...wrong.values()].map((id) => ({ id })));
    };
  },
};
