/**
 * Accounts and who they are of: they follow their members (member-events), staff opens those that have none. Members are known
 * by their pseudonym, which is the id of their account.
 */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import type { MemberEvent } from '../../catalog/events/membership.ts';
import { groups } from '../../catalog/groups.ts';
import { homeCurrency } from '../base/money.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { transaction } from '../store/database.ts';
import { handleOnce, type Message } from '../store/queue-log.ts';
import { type Account, type AccountState, changeState } from './ledger.ts';
import { openRecharges } from './recharge.ts';
import { lockOrOpenAccount, saveState } from './store.ts';

type MemberState = MemberEvent['state'];

/** The state of an account when its member is in that state. Money that somebody has left behind stays theirs: nobody can use it, and it can be paid out. */
export function stateFor(
  member: MemberState,
  { state, balanceMinor, heldMinor }: Pick<Account, 'state' | 'balanceMinor' | 'heldMinor'>,
  isRecharging: boolean,
): AccountState {
  // For good, whatever its member does.
  if (state === 'CLOSED') return 'CLOSED';
  if (member === 'ACTIVE') return 'OPEN';
  const isEmpty = balanceMinor === 0 && heldMinor === 0 && !isRecharging;
  return member === 'CLOSED' && isEmpty ? 'CLOSED' : 'SUSPENDED';
}

/** That a recharge is under way for the account `id`: its money may come at any time. */
const recharging = (id: RawBuilder<unknown>) => sql<number>`EXISTS (
  SELECT 1 FROM recharge WHERE account_id = ${id} AND state IN (${sql.join([...openRecharges])}))`;

/** To be asked with the account locked: a recharge is accepted under the same lock. */
async function isRecharging(trx: Transaction<unknown>, accountId: string): Promise<boolean> {
  const { rows } = await sql<{ found: number }>`SELECT ${recharging(sql`${accountId}`)} AS found`.execute(
    trx,
  );
  return rows[0]!.found === 1;
}

/**
 * Takes on what an event says, unless something newer is known, in one transaction: a new member gets an account, one that is
 * there takes the state of its member. In any order and any number of times the end is that of the highest version.
 * `message`: as which it came, to be handled once.
 */
export async function followMember(
  db: Kysely<unknown>,
  event: MemberEvent,
  message?: Message,
): Promise<'FOLLOWED' | 'KNOWN'> {
  return transaction(db, async (trx) => {
    const follow = () => followWithin(trx, event);
    if (message === undefined) return follow();
    const usually = { status: 'success', result: 'FOLLOWED' } as const;
    const done = await handleOnce(
      trx,
      { group: groups.moneyMembers.id, message, usually },
      follow,
      (result) => ({
        status: 'success',
        result,
      }),
    );
    return done ?? 'KNOWN';
  });
}

async function followWithin(
  trx: Transaction<unknown>,
  { member, type, district, state, version, changedAt }: MemberEvent,
): Promise<'FOLLOWED' | 'KNOWN'> {
  await sql`
      INSERT INTO money_member (account_id, type, district, state, version, changed_at)
      VALUES (${member}, ${type}, ${district}, ${state}, 0, ${new Date(changedAt)})
      ON DUPLICATE KEY UPDATE account_id = money_member.account_id`.execute(trx);
  const { numAffectedRows } = await sql`
      UPDATE money_member
      SET type = ${type}, district = ${district}, state = ${state}, version = ${version}, changed_at = ${new Date(changedAt)}
      WHERE account_id = ${member} AND version < ${version}`.execute(trx);
  if (numAffectedRows === 0n) return 'KNOWN';
  const locked = await lockOrOpenAccount(trx, member, state === 'CLOSED' ? undefined : homeCurrency);
  if (locked === undefined) return 'FOLLOWED';
  const { accountNo, account } = locked;
  const after = stateFor(state, account, await isRecharging(trx, member));
  await saveState(trx, accountNo, after);
  await sql`
      UPDATE money_member SET account_no = ${after === 'CLOSED' ? null : accountNo}
      WHERE account_id = ${member}`.execute(trx);
  return 'FOLLOWED';
}

/** Opens an account for staff, or changes its state; the same again changes nothing. */
export async function setAccount(
  db: Kysely<unknown>,
  accountId: string,
  { currency, state }: { readonly currency: string; readonly state: AccountState },
): Promise<ReturnType<typeof changeState>> {
  return transaction(db, async (trx) => {
    const { accountNo, account } = (await lockOrOpenAccount(trx, accountId, currency))!;
    if (account.currency !== currency)
      return refuse(409, 'MUSTER_CURRENCIES_DIFFER', 'an account keeps its currency', [
        { field: 'currency', reason: `is ${account.currency}` },
      ]);
    const refused = await mayBe(trx, accountId, state);
    if (refused !== undefined) return refused;
    if (state === 'CLOSED' && (await isRecharging(trx, accountId)))
      return refuse(409, 'MUSTER_ACCOUNT_NOT_EMPTY', 'money is on its way into the account');
    const changed = changeState(account, state);
    if (changed.ok) await saveState(trx, accountNo, state);
    return changed;
  });
}

/**
 * Whether staff may give an account a state: that of a member is the member's, until they have left. To be asked with the
 * account locked, so that an event that comes meanwhile is either seen here or comes after.
 */
async function mayBe(
  trx: Transaction<unknown>,
  accountId: string,
  wanted: AccountState,
): Promise<Refused | undefined> {
  const { rows } = await sql<{ state: MemberState }>`
    SELECT state FROM money_member WHERE account_id = ${accountId}`.execute(trx);
  const state = rows[0]?.state;
  if (state === undefined || state === 'CLOSED') return undefined;
  const follows = state === 'ACTIVE' ? 'OPEN' : 'SUSPENDED';
  if (wanted === follows) return undefined;
  return refuse(409, 'MUSTER_ACCOUNT_FOLLOWS_MEMBER', 'the account of a member follows its member', [
    { field: 'state', reason: `is ${follows} while the member is ${state}: change that at membership` },
  ]);
}

/** Whether the account is that of a merchant, as far as member-events have told. */
export async function isMerchant(db: Kysely<unknown>, accountId: string): Promise<boolean> {
  const { rows } = await sql<{ type: MemberEvent['type'] }>`
    SELECT type FROM money_member WHERE account_id = ${accountId}`.execute(db);
  return rows[0]?.type === 'MERCHANT';
}

/**
 * Closes accounts of who has left that have become empty; resolves to how many still have money in them, or under way. A member
 * whose account is closed has none any more (`account_no` is unset): only those that are left are read.
 */
export async function closeLeftAccounts(db: Kysely<unknown>): Promise<number> {
  const { rows } = await sql<{ no: number; empty: number }>`
    SELECT a.account_no AS no,
      a.balance_minor = 0 AND a.held_minor = 0 AND NOT ${recharging(sql`a.account_id`)} AS empty
    FROM money_member m JOIN ledger_account a ON a.account_no = m.account_no
    WHERE m.state = 'CLOSED' AND m.account_no > 0`.execute(db);
  const empty = rows.filter((row) => row.empty === 1).map(({ no }) => no);
  if (empty.length > 0) {
    await sql`
      UPDATE ledger_account SET state = 'CLOSED'
      WHERE account_no IN (${sql.join(empty)}) AND balance_minor = 0 AND held_minor = 0
        AND NOT ${recharging(sql`ledger_account.account_id`)}`.execute(db);
    await sql`
      UPDATE money_member m JOIN ledger_account a ON a.account_no = m.account_no SET m.account_no = NULL
      WHERE m.account_no IN (${sql.join(empty)}) AND m.state = 'CLOSED' AND a.state = 'CLOSED'`.execute(db);
  }
  return rows.length - empty.length;
}

export interface DistrictSum {
  readonly district: string;
  readonly type: MemberEvent['type'];
  readonly currency: string;
  /** Who have not left. */
  readonly members: number;
  readonly balanceMinor: number;
}

/** What members have, by the district that they live in: of one moment, from the accounts themselves. */
export async function sumsByDistrict(
  db: Kysely<unknown>,
  district: string | undefined,
): Promise<readonly DistrictSum[]> {
  const { rows } = await sql<
    Omit<DistrictSum, 'members' | 'balanceMinor'> & { members: string; balance: string }
  >`
    SELECT m.district, m.type, a.currency, SUM(m.state <> 'CLOSED') AS members, SUM(a.balance_minor) AS balance
    FROM money_member m STRAIGHT_JOIN ledger_account a ON a.account_no = m.account_no
    ${district === undefined ? sql`` : sql`WHERE m.district = ${district}`}
    GROUP BY m.district, m.type, a.currency ORDER BY m.district, m.type, a.currency`.execute(db);
  return rows.map(({ members, balance, ...rest }) => ({
    ...rest,
    members: Number(members),
    balanceMinor: Number(balance),
  }));
}
