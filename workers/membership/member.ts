/** What becomes of a member: pure decisions, everything passed in. */
import { type Refused, refuse } from '../base/refusal.ts';

export type MemberType = 'PERSON' | 'MERCHANT';
export type MemberState = 'ACTIVE' | 'SUSPENDED' | 'CLOSED';

export interface MemberDetails {
  readonly name: string;
  readonly email: string;
  /** Street and number. */
  readonly address: string;
  /** The district that the address is in, e.g. Gangnam-gu. */
  readonly district: string;
}

export interface Member extends Omit<MemberDetails, 'email'> {
  readonly memberId: string;
  readonly type: MemberType;
  readonly state: MemberState;
  /** Undefined: closed. */
  readonly email: string | undefined;
  /** Of its last event. */
  readonly version: number;
}

export interface MemberChange extends Partial<MemberDetails> {
  readonly state?: MemberState;
}

/** `told`: others hear of it; a new name or e-mail is nobody else's business. */
export type ChangedMember = { readonly ok: true; readonly member: Member; readonly told: boolean } | Refused;

/** Details as they are kept: text trimmed and in one form, the e-mail in lower case. */
export function tidy<Details extends Partial<MemberDetails>>(details: Details): Details {
  const tidied = Object.entries(details).map(([field, text]) => {
    const plain = (text as string).trim().normalize('NFC');
    return [field, field === 'email' ? plain.toLowerCase() : plain];
  });
  return Object.fromEntries(tidied) as Details;
}

/**
 * A member after a change, by the member or by staff. Closing is for good, and forgets the e-mail. Who is suspended changes
 * nothing by themselves.
 */
export function changeMember(
  member: Member,
  { state, ...details }: MemberChange,
  by: 'member' | 'staff',
): ChangedMember {
  if (member.state === 'CLOSED') {
    if (state === 'CLOSED' && Object.keys(details).length === 0) return { ok: true, member, told: false };
    return refuse(409, 'MUSTER_MEMBER_CLOSED', 'the member is closed, for good');
  }
  if (member.state === 'SUSPENDED' && by === 'member') return suspended;
  const next = { ...member, ...tidy(details), ...(state === undefined ? {} : { state }) };
  const after: Member = next.state === 'CLOSED' ? { ...next, email: undefined } : next;
  const told = after.state !== member.state || after.district !== member.district;
  return { ok: true, member: told ? { ...after, version: member.version + 1 } : after, told };
}

export const suspended = refuse(
  409,
  'MUSTER_MEMBER_SUSPENDED',
  'the member is suspended: staff can reopen it',
);
export const unknownMember = refuse(404, 'MUSTER_MEMBER_UNKNOWN', 'there is no such member');
export const emailTaken = refuse(409, 'MUSTER_EMAIL_TAKEN', 'another member has this e-mail', [
  { field: 'email', reason: 'is taken' },
]);
