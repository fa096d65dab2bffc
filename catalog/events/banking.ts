/** Events of banking. They name no person: owners are pseudonyms, of account numbers there are the last four characters. */
import { type Static, Type } from 'typebox';
import { money } from './promotion.ts';
import { uuid } from './uuid.ts';

const party = Type.Object(
  {
    accountId: uuid('as it is registered here'),
    owner: Type.String({
      pattern: '^(u_[A-Za-z0-9_-]{22}|house)$',
      description: 'keyed pseudonym of the member; house: the account is ours',
    }),
    bank: Type.String({ pattern: '^[a-z0-9-]{1,30}$' }),
    accountNumber: Type.String({ pattern: '^\\*{4}.{0,4}$', description: 'masked but for the last four' }),
  },
  { additionalProperties: false },
);

/** A firm banking is decided, for good: topic `firmbanking-events`. */
export const firmbankingDecided = Type.Object(
  {
    firmbankingId: uuid('the answer to the request; effects are keyed by it'),
    state: Type.Enum(['EXECUTED', 'REJECTED']),
    reason: Type.Optional(Type.String({ maxLength: 60, description: 'of a rejection: a word for programs' })),
    bank: Type.String({ pattern: '^[a-z0-9-]{1,30}$', description: 'that carried it out, or refused to' }),
    from: party,
    to: party,
    amount: money,
    decidedAt: Type.String({
      pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
      description: 'when it came to be known here, ISO-8601 UTC with ms',
    }),
  },
  { $id: 'FirmbankingDecided', title: 'FirmbankingDecided', additionalProperties: false },
);
export type FirmbankingDecided = Static<typeof firmbankingDecided>;
