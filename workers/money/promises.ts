/** What money promises, checked in its database (and that of members) by questions of its own. */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { bytesOfUuid, uuidOfBytes, uuidV7Floor } from '../base/ids.ts';
import { type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';
import { sweep } from '../store/sweep.ts';
import { rechargesBooked, rechargesDecided } from './recharge-promises.ts';

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

  'recharges-decided': (deps, { limitMs }) => rechargesDecided(deps, limitMs),
  'recharges-booked': (deps, { limitMs }) => rechargesBooked(deps, limitMs),

  'members-have-accounts': ({ database }, { limitMs }) => {
    const look = accountsLook(limitMs);
    return async () => evidenceOf(await look(await database('membership'), await database('money')));
  },
};

/** Members of one look: of those that were told of just now, and of the round through all. */
const membersAtOnce = 2_000;
/** What was told of before its beginning and is looked at all the same. */
const beginBeforeMs = 30_000;

interface SeenMember {
  readonly memberId: string;
  /** Of their account, too. */
  readonly pseudonym: string;
  readonly state: 'ACTIVE' | 'SUSPENDED' | 'CLOSED';
  readonly version: number;
  readonly toldAt: Date;
}

/**
 * Compares members with their accounts: those that were told of when that was as long ago as the limit, all others round and
 * round, and whatever was wrong before. Two databases have no view of one moment: what looks wrong is asked for once more.
 */
function accountsLook(
  limitMs: number,
): (
  membership: Kysely<unknown>,
  money: Kysely<unknown>,
) => Promise<readonly { readonly id: string; readonly sinceMs: number }[]> {
  let after = '';
  let judgedTo: Date | undefined;
  /** Since when by what we saw, by pseudonym. */
  const wrong = new Map<string, number>();

  return async (membership, money) => {
    const nowMs = Date.now();
    const upTo = new Date(nowMs - limitMs);
    judgedTo ??= new Date(nowMs - limitMs - beginBeforeMs);
    const members = async (which: RawBuilder<unknown>) => {
      const { rows } = await sql<SeenMember>`
        SELECT member_id AS memberId, pseudonym, state, version, told_at AS toldAt FROM member
        WHERE ${which}`.execute(membership);
      return rows;
    };
    const named = (pseudonyms: readonly string[]) =>
      pseudonyms.length === 0 ? [] : members(sql`pseudonym IN (${sql.join(pseudonyms)})`);

    const fresh = await members(
      sql`told_at >= ${judgedTo} AND told_at < ${upTo} ORDER BY told_at LIMIT ${membersAtOnce}`,
    );
    const round = await members(sql`member_id > ${after} ORDER BY member_id LIMIT ${membersAtOnce}`);
    after = round.length < membersAtOnce ? '' : round.at(-1)!.memberId;
    const again = await named([...wrong.keys()]);
    const due = [...fresh, ...round, ...again].filter(({ toldAt }) => toldAt < upTo);
    const odd = await notFollowing(money, due);
    // What has changed since it was read is looked at when it is old enough again.
    const now = new Map((await named([...odd.keys()])).map((one) => [one.pseudonym, one.version]));
    const before = new Map(wrong);
    wrong.clear();
    for (const [id, { version }] of odd)
      if (now.get(id) === version && wrong.size < mostBroken) wrong.set(id, before.get(id) ?? nowMs);
    const behind = fresh.length === membersAtOnce;
    judgedTo = behind ? fresh.at(-1)!.toldAt : upTo;
    if (behind) throw new Error('it is behind: there are more changed members than it may look at');
    // An account that was left behind becomes empty at any time, and is closed soon after.
    return [...wrong]
      .filter(([id, sinceMs]) => odd.get(id)!.state !== 'CLOSED' || nowMs - sinceMs >= limitMs)
      .map(([id, sinceMs]) => ({ id, sinceMs }));
  };
}

/** Those whose account is not there, or not in the state that follows from theirs. */
async function notFollowing(
  money: Kysely<unknown>,
  members: readonly SeenMember[],
): Promise<ReadonlyMap<string, SeenMember>> {
  if (members.length === 0) return new Map();
  const { rows } = await sql<{ id: string; state: string; empty: number }>`
    SELECT account_id AS id, state, balance_minor = 0 AND held_minor = 0 AND NOT EXISTS (
        SELECT 1 FROM recharge AS r
        WHERE r.account_id = ledger_account.account_id AND r.state IN ('REQUESTED', 'ASKING', 'AT_BANK')
      ) AS empty FROM ledger_account
    WHERE account_id IN (${sql.join([...new Set(members.map(({ pseudonym }) => pseudonym))])})`.execute(
    money,
  );
  const accounts = new Map(rows.map((row) => [row.id, row]));
  const follows = ({ pseudonym, state }: SeenMember) => {
    const account = accounts.get(pseudonym);
    if (state !== 'CLOSED') return account?.state === (state === 'ACTIVE' ? 'OPEN' : 'SUSPENDED');
    return account === undefined || account.state === 'CLOSED' || Number(account.empty) === 0;
  };
  return new Map(members.filter((one) => !follows(one)).map((one) => [one.pseudonym, one]));
}
