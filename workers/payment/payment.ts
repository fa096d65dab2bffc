/** What may be refunded: pure decisions. How a slip goes on is that of any move of money (platform/move.ts). */
import type { Money } from '../base/money.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import type { Move } from '../platform/move.ts';

/** What a slip is beside a move of money. */
export interface Slip {
  readonly kind: 'PAYMENT' | 'REFUND';
  /** Of a refund: what it takes back. Of a payment: itself. */
  readonly paymentId: string;
  /** Pseudonyms. */
  readonly customer: string;
  readonly merchant: string;
  /** Of a payment: the sum of its refunds that have not failed. */
  readonly refundedMinor: number;
}

/**
 * Why a merchant may not give so much back by itself; undefined: it may. What it was paid out already is not ours to give away: it
 * could leave, and we would have paid twice. Staff decides that; the merchant's next settlements make up for it.
 */
export const refuseUncovered = (amountMinor: number, owedMinor: number): Refused | undefined =>
  amountMinor <= owedMinor
    ? undefined
    : refuse(
        409,
        'MUSTER_REFUND_NOT_COVERED',
        'more than what the merchant was paid since it was settled with: staff can give it back',
        [
          {
            field: 'amount.amountMinor',
            reason: `is above ${Math.max(owedMinor, 0)}, what is still owed to it`,
          },
        ],
      );

/** How much a refund is of, or why there is none. `amount` undefined: all of it, of which nothing has been refunded. */
export function refundOf(
  {
    one,
    own,
  }: {
    readonly one: Pick<Move, 'state' | 'amountMinor' | 'currency'>;
    readonly own: Pick<Slip, 'kind' | 'refundedMinor'>;
  },
  amount: Money | undefined,
): { readonly ok: true; readonly amountMinor: number } | Refused {
  if (own.kind === 'REFUND')
    return refuse(409, 'MUSTER_PAYMENT_IS_REFUND', 'this is a refund: it cannot be refunded');
  if (one.state !== 'DONE')
    return refuse(409, 'MUSTER_PAYMENT_NOT_PAID', 'only what was paid can be refunded', [
      { field: 'paymentId', reason: `is ${one.state}` },
    ]);
  if (amount !== undefined && amount.currency !== one.currency)
    return refuse(422, 'MUSTER_CURRENCIES_DIFFER', 'a refund is in the currency of its payment', [
      { field: 'amount.currency', reason: `is not ${one.currency}` },
    ]);
  const leftMinor = one.amountMinor - own.refundedMinor;
  const amountMinor = amount?.amountMinor ?? one.amountMinor;
  return amountMinor <= leftMinor
    ? { ok: true, amountMinor }
    : refuse(409, 'MUSTER_REFUND_TOO_LARGE', 'more would be refunded than was paid', [
        { field: 'amount.amountMinor', reason: `is above ${leftMinor}, what is left of it` },
      ]);
}
