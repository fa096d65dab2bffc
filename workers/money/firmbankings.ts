/** Asks banking, over HTTP, for the firm banking of a recharge. */

import type { Registry } from 'prom-client';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { createOutgoing } from '../http/outgoing.ts';
import { codesOf, type FoundThere, findThere, saidOf } from '../http/said.ts';
import type { Recharge, RechargeWord } from './recharge.ts';

const accepted = Type.Object({
  firmbankingId: Type.String({ pattern: uuidPattern }),
});
const isAccepted = Compile(accepted);
/** Of banking: for good, under the same key. */
const refusals = codesOf(
  ...[
    'AMOUNT_INVALID',
    'BANK_ACCOUNT_CLOSED',
    'BANK_ACCOUNT_PAYEE',
    'BANK_ACCOUNT_UNKNOWN',
    'CONTRACT_INVALID',
  ],
  ...['CORPORATE_ACCOUNT_MISSING', 'CURRENCIES_DIFFER', 'LIMIT_CALL', 'LIMIT_DAY', 'SAME_ACCOUNT'],
);

export type Firmbankings = ReturnType<typeof askBanking>;

export function askBanking(options: {
  readonly baseUrl: string;
  readonly token: string;
  readonly timeoutMs: number;
  readonly registry: Registry;
  /** How long banking is left alone when it fails. Default 5,000. */
  readonly leftAloneMs?: number;
}) {
  const banking = createOutgoing({ name: 'banking', leftAloneMs: 5_000, ...options });
  return {
    /** Asks for it, once for good however often. */
    async ask({
      rechargeId,
      bankAccountId,
      account,
      amountMinor,
      currency,
    }: Recharge): Promise<RechargeWord> {
      const answer = await banking.call({
        method: 'POST',
        path: '/pay/banking/firmbankings',
        idempotencyKey: rechargeId,
        body: JSON.stringify({
          fromAccountId: bankAccountId,
          owner: account,
          amount: { amountMinor, currency },
        }),
        wantsBody: true,
      });
      const said = saidOf(
        answer,
        (body): body is Static<typeof accepted> => isAccepted.Check(body),
        refusals,
      );
      return said.kind === 'OK' ? { kind: 'ACCEPTED', firmbankingId: said.body.firmbankingId } : said;
    },

    /** Asks what has become of it. */
    async find({ firmbankingId }: Recharge): Promise<RechargeWord> {
      const said = await findThere(banking, '/pay/banking/firmbankings', firmbankingId!);
      return said.kind === 'OK' ? wordOf(said.body) : said;
    },
  };
}

/** What the state of a firm banking means to its recharge. */
export function wordOf({ state: now, reason, amount }: FoundThere): RechargeWord {
  if (now === 'EXECUTED') return { kind: 'EXECUTED', ...amount };
  if (now === 'REJECTED') return { kind: 'REJECTED', reason: reason ?? 'BANK_GAVE_NO_REASON' };
  return { kind: 'OPEN', reason };
}
