/** Events of money. They name no person: accounts are pseudonyms. */

import { type Static, Type } from 'typebox';
import { money } from './promotion.ts';
import { uuidPattern } from './uuid.ts';

const uuid = (description: string) => Type.String({ pattern: uuidPattern, description });

/** A recharge has ended, for good: topic `recharge-events`. */
export const rechargeDecided = Type.Object(
  {
    rechargeId: uuid('the answer to the request; effects are keyed by it'),
    member: Type.String({
      pattern: '^u_[A-Za-z0-9_-]{22}$',
      description: 'keyed pseudonym of the member; never the id itself',
    }),
    state: Type.Enum(['DONE', 'FAILED']),
    reason: Type.Optional(Type.String({ maxLength: 60, description: 'of a failure: a word for programs' })),
    transferId: Type.Optional(uuid('of the ledger, that booked it')),
    amount: money,
    decidedAt: Type.String({
      pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
      description: 'ISO-8601 UTC with ms',
    }),
  },
  { $id: 'RechargeDecided', title: 'RechargeDecided', additionalProperties: false },
);
export type RechargeDecided = Static<typeof rechargeDecided>;
