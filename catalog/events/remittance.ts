/** Events of remittances. They name no person: members are pseudonyms. */

import { type Static, Type } from 'typebox';
import { money } from './promotion.ts';
import { uuidPattern } from './uuid.ts';

const uuid = (description: string) => Type.String({ pattern: uuidPattern, description });
const member = Type.String({
  pattern: '^u_[A-Za-z0-9_-]{22}$',
  description: 'keyed pseudonym of the member; never the id itself',
});

/** A remittance has ended, for good: topic `remittance-events`. */
export const remittanceDecided = Type.Object(
  {
    remittanceId: uuid('the answer to the request; effects are keyed by it'),
    sender: member,
    receiver: Type.Optional(member),
    toAccountId: Type.Optional(uuid('the bank account that it went to, as registered at banking')),
    state: Type.Enum(['DONE', 'FAILED']),
    reason: Type.Optional(Type.String({ maxLength: 60, description: 'of a failure: a word for programs' })),
    amount: money,
    fee: money,
    rechargeId: Type.Optional(uuid('of the recharge that went before it')),
    decidedAt: Type.String({
      pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
      description: 'ISO-8601 UTC with ms',
    }),
  },
  { $id: 'RemittanceDecided', title: 'RemittanceDecided', additionalProperties: false },
);
export type RemittanceDecided = Static<typeof remittanceDecided>;
