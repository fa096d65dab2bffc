/** Payments and refunds: how they are accepted, and what people ask of them. */
import { sql } from 'kysely';
import type { MemberEvent } from '../../catalog/events/membership.ts';
import { bytesOfUuid } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { followMerchants } from '../platform/merchants.ts';
import type { Claimed } from '../platform/move.ts';
import { type Page, type SagaStoreOptions, sagaFinder, sagaOptions } from '../platform/saga-rows.ts';
import { sagas } from '../platform/sagas.ts';
import { transaction } from '../store/database.ts';
import { type OnceCall, once } from '../store/once.ts';
import {
  type Found,
  lockOwed,
  owedKey,
  type PaymentWish,
  type RefundWish,
  type SlipWish,
  slipKind,
  slipRows,
  slipSql,
} from './slips.ts';

/** `claimed`: by this process, which is to work on it at once. Undefined: whoever claims it does. */
type Accepted<Name extends string> = (
  | ({ readonly ok: true } & { readonly [name in Name]: string })
  | Refused
) & {
  readonly claimed: Claimed | undefined;
};

export type PaymentStore = ReturnType<typeof paymentStore>;

export function paymentStore(options: SagaStoreOptions) {
  const { accept, ...moves } = sagas(slipKind, sagaOptions(options, slipRows));
  const finder = sagaFinder(options, slipSql);
  async function acceptAs<Name extends string>(wish: SlipWish, call: OnceCall): Promise<Accepted<Name>> {
    const { answer, claimed } = await accept(wish, call);
    return { ...answer, claimed } as Accepted<Name>;
  }

  return {
    ...moves,
    ...finder,

    /** Accepts a payment to a merchant in good standing; durable when it resolves to its id. */
    accept: (wish: PaymentWish, call: OnceCall) => acceptAs<'paymentId'>({ ...wish, kind: 'PAYMENT' }, call),

    /** Accepts a refund, under the lock of its payment: two at once are one after the other. */
    refund: (wish: RefundWish, call: OnceCall) => acceptAs<'refundId'>({ ...wish, kind: 'REFUND' }, call),

    /**
     * Takes what is about to be settled out of what its merchant is owed: from then on the merchant cannot give it back by itself.
     * Refused, for good under this key, when less is owed: something was given back that the settlement does not know of.
     */
    settle: async (
      {
        merchant,
        currency,
        amountMinor,
      }: { readonly merchant: string; readonly currency: string; readonly amountMinor: number },
      call: OnceCall,
    ): Promise<{ readonly ok: true } | Refused> =>
      transaction(await options.database(), (trx) =>
        once(trx, call, async (): Promise<{ readonly ok: true } | Refused> => {
          const owedMinor = (await lockOwed(trx, [merchant])).get(owedKey(merchant, currency)) ?? 0;
          if (amountMinor > owedMinor)
            return refuse(409, 'MUSTER_REFUNDED_SINCE', 'some of it was given back since', [
              { field: 'amount.amountMinor', reason: `is above ${owedMinor}, what is still owed` },
            ]);
          await sql`
            UPDATE payment_owed SET owed_minor = owed_minor - ${amountMinor}
            WHERE merchant = ${merchant} AND currency = ${currency}`.execute(trx);
          return { ok: true };
        }),
      ),

    /** The refunds of payments, oldest first. */
    refundsOf: async (paymentIds: readonly string[]): Promise<readonly Found[]> =>
      paymentIds.length === 0
        ? []
        : finder.findBy(
            sql`payment_id IN (${sql.join(paymentIds.map(bytesOfUuid))}) AND kind = 'REFUND' ORDER BY slip_id`,
          ),

    /** Payments of a customer, or to a merchant, the newest first. */
    findOf: (side: 'customer' | 'merchant', member: string, page: Page): Promise<readonly Found[]> =>
      finder.page(sql`${sql.ref(side)} = ${member} AND kind = 'PAYMENT'`, page),

    /** Takes on what membership tells of merchants, unless something newer is known. */
    follow: async (events: readonly MemberEvent[]): Promise<void> =>
      followMerchants(await options.database(), 'payment_merchant', events),
  };
}
