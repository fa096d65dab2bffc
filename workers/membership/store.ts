/** Members in SQL, in a database of their own. */
import type { Kysely, Selectable, Transaction } from 'kysely';
import { uuidV7 } from '../base/ids.ts';
import { pseudonym } from '../base/pseudonym.ts';
import type { Refused } from '../base/refusal.ts';
import { transaction } from '../store/database.ts';
import { type OnceCall, once } from '../store/once.ts';
import { appendOutbox } from '../store/outbox.ts';
import { memberRecord } from './events.ts';
import {
  type ChangedMember,
  changeMember,
  emailTaken,
  type Member,
  type MemberChange,
  type MemberDetails,
  type MemberState,
  type MemberType,
  tidy,
  unknownMember,
} from './member.ts';

interface MemberTable {
  member_id: string;
  pseudonym: string;
  type: MemberType;
  state: MemberState;
  name: string;
  email: string | null;
  address: string;
  district: string;
  password: string | null;
  version: number;
  told_at: Date;
  created_at: Date;
}

export interface MembershipTables {
  member: MemberTable;
}
type Db = Kysely<MembershipTables>;

/**
 * Adds a member, once per call, with its event. The answer that is kept has the id and nothing else: it outlives a member
 * that closes. `password`: as keepPassword() made it.
 */
export async function createMember(
  db: Db,
  { type, password, ...details }: MemberDetails & { readonly type: MemberType; readonly password: string },
  call: OnceCall,
  { pseudonymKey, nowMs }: { readonly pseudonymKey: Buffer; readonly nowMs: number },
): Promise<{ readonly ok: true; readonly memberId: string } | Refused> {
  const at = new Date(nowMs);
  const memberId = uuidV7(nowMs);
  const known = pseudonym(pseudonymKey, memberId);
  const member: Member = { ...tidy(details), type, memberId, state: 'ACTIVE', version: 1 };
  const create = async (trx: Transaction<MembershipTables>) => {
    const ids = { member_id: memberId, pseudonym: known };
    const row = { ...rowOf(member), ...ids, type, password, told_at: at, created_at: at };
    if (!(await isFree(() => trx.insertInto('member').values(row).execute()))) return emailTaken;
    await appendOutbox(trx, [memberRecord(member, known, nowMs)]);
    return { ok: true, memberId } as const;
  };
  return transaction(db, (trx) =>
    once(
      trx,
      call,
      () => create(trx),
      ({ ok }) => ok,
    ),
  );
}

/** Changes details or state; the same again changes nothing. Others hear of a new state or district. */
export async function saveMember(
  db: Db,
  memberId: string,
  change: MemberChange,
  by: 'member' | 'staff',
  nowMs: number,
): Promise<ChangedMember> {
  return transaction(db, async (trx): Promise<ChangedMember> => {
    const row = await trx
      .selectFrom('member')
      .selectAll()
      .where('member_id', '=', memberId)
      .forUpdate()
      .executeTakeFirst();
    if (row === undefined) return unknownMember;
    const changed = changeMember(memberOf(row), change, by);
    if (!changed.ok) return changed;
    const { member, told } = changed;
    const set = {
      ...rowOf(member),
      ...(told ? { told_at: new Date(nowMs) } : {}),
      ...(member.state === 'CLOSED' ? { password: null } : {}),
    };
    const update = () => trx.updateTable('member').set(set).where('member_id', '=', memberId).execute();
    if (!(await isFree(update))) return emailTaken;
    // The row is locked, so that a member's events come in the order of their versions.
    if (told) await appendOutbox(trx, [memberRecord(member, row.pseudonym, nowMs)]);
    return changed;
  });
}

export async function findMember(db: Db, memberId: string): Promise<Member | undefined> {
  const row = await db.selectFrom('member').selectAll().where('member_id', '=', memberId).executeTakeFirst();
  return row === undefined ? undefined : memberOf(row);
}

/** For a login. */
export async function findByEmail(
  db: Db,
  email: string,
): Promise<{ readonly member: Member; readonly password: string | undefined } | undefined> {
  const { email: wanted } = tidy({ email });
  const row = await db.selectFrom('member').selectAll().where('email', '=', wanted).executeTakeFirst();
  if (row === undefined) return undefined;
  return { member: memberOf(row), password: row.password ?? undefined };
}

/** False when another member has the e-mail. */
async function isFree(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    if ((((error as Error).cause ?? error) as NodeJS.ErrnoException).errno === duplicateEntry) return false;
    throw error;
  }
}
const duplicateEntry = 1062;

const memberOf = (row: Selectable<MemberTable>): Member => ({
  memberId: row.member_id,
  type: row.type,
  state: row.state,
  name: row.name,
  email: row.email ?? undefined,
  address: row.address,
  district: row.district,
  version: row.version,
});

const rowOf = ({ state, name, email, address, district, version }: Member) => ({
  state,
  name,
  email: email ?? null,
  address,
  district,
  version,
});
