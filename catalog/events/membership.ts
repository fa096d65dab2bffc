/**
 * Events of members. Nothing in one names a person: no name, no e-mail, no street; a district is where many live. What may go
 * out is this list: pseudonym, type, district, state, version, time.
 */
import { type Static, Type } from 'typebox';

export const memberEvent = Type.Object(
  {
    member: Type.String({
      pattern: '^u_[A-Za-z0-9_-]{22}$',
      description: 'keyed pseudonym of the member; never the id itself',
    }),
    type: Type.Enum(['PERSON', 'MERCHANT']),
    district: Type.String({
      minLength: 1,
      maxLength: 100,
      pattern: '^[^\\p{Cc}\\p{Cs}]+$',
      description: 'of the address',
    }),
    state: Type.Enum(['ACTIVE', 'SUSPENDED', 'CLOSED']),
    version: Type.Integer({
      minimum: 1,
      maximum: 4_294_967_295,
      description: 'one more with each change: keep what has the highest',
    }),
    changedAt: Type.String({
      pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
      description: 'ISO-8601 UTC with ms',
    }),
  },
  { $id: 'MemberEvent', title: 'MemberEvent', additionalProperties: false },
);
export type MemberEvent = Static<typeof memberEvent>;
