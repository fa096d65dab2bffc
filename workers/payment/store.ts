/** Payments and refunds in SQL: how they are accepted, end and are found; how they go on is in slips.ts. */
import { type Kysely, sql, type Transaction } from 'kysely';
import type { MemberEvent } from '../../catalog/events/membership.ts';
import { bytesOfUuid, bytesOrNull, uuidV7 } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { traceparentNow } from '../base/traceparent.ts';
import { followMerchants, stateOfMerchant } from '../platform/merchants.ts';
import { type OnceCall, once } from '../store/once.ts';
import { refundOf, type Slip } from './payment.ts';
import { addRefunded, type Found, slipRows } from './slips.ts';

type Trx = Transaction<unknown>;

export interface Wish {
  readonly customer: string;
  readonly merchant: string;
  readonly amountMinor: number;
  readonly currency: string;
  readonly rechargeFrom: string | undefined;
}

export interface RefundWish {
  readonly paymentId: string;
  /** Whose payment it must be; undefined: anybody's. */
  readonly merchant: string | undefined;
  /** Undefined: all of it, of which nothing has been refunded. */
  readonly amount: { readonly amountMinor: number; readonly currency: string } | undefined;
}

type Accepted<Name extends string> = ({ readonly ok: true } & { readonly [name in Name]: string }) | Refused;

export type PaymentStore = ReturnType<typeof paymentStore>;

export function paymentStore({
  database,
  clock,
}: {
  database(): Promise<Kysely<unknown>>;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}) {
  const { read, within, ...moves } = slipRows({ database, clock });

  return {
    ...moves,

    /** Accepts a payment to a merchant in good standing; durable when it resolves to its id. */
    accept: (wish: Wish, call: OnceCall): Promise<Accepted<'paymentId'>> =>
      within((trx, now) =>
        once(
          trx,
          call,
          async (): Promise<Accepted<'paymentId'>> => {
            const refused = await standing(trx, wish.merchant);
            if (refused !== undefined) return refused;
            const paymentId = uuidV7(now);
            await insert(trx, paymentId, { ...wish, kind: 'PAYMENT', paymentId }, now);
            return { ok: true, paymentId };
          },
          ({ ok }) => ok,
        ),
      ),

    /** Accepts a refund, under the lock of its payment: two at once are one after the other. */
    refund: (wish: RefundWish, call: OnceCall): Promise<Accepted<'refundId'>> =>
      within((trx, now) =>
        once(
          trx,
          call,
          async (): Promise<Accepted<'refundId'>> => {
            const { paymentId, merchant, amount } = wish;
            const [found] = await read(trx, sql`slip_id = ${bytesOfUuid(paymentId)} FOR UPDATE`);
            if (found === undefined || (merchant !== undefined && found.own.merchant !== merchant))
              return refuse(404, 'MUSTER_PAYMENT_UNKNOWN', 'there is no such payment');
            const decided = refundOf(found, amount);
            if (!decided.ok) return decided;
            const { amountMinor } = decided;
            await addRefunded(trx, paymentId, amountMinor);
            const refundId = uuidV7(now);
            const { customer, merchant: refunds } = found.own;
            const slip = { customer, merchant: refunds, amountMinor, currency: found.one.currency };
            await insert(trx, refundId, { ...slip, rechargeFrom: undefined, kind: 'REFUND', paymentId }, now);
            return { ok: true, refundId };
          },
          ({ ok }) => ok,
        ),
      ),

    /** The refunds of payments, oldest first. */
    refundsOf: async (paymentIds: readonly string[]): Promise<readonly Found[]> =>
      paymentIds.length === 0
        ? []
        : read(
            await database(),
            sql`payment_id IN (${sql.join(paymentIds.map(bytesOfUuid))}) AND kind = 'REFUND' ORDER BY slip_id`,
          ),

    /** Payments of a customer, or to a merchant, the newest first, those before `before`. */
    findOf: async (
      side: 'customer' | 'merchant',
      member: string,
      { before, limit }: { readonly before: string; readonly limit: number },
    ): Promise<readonly Found[]> =>
      read(
        await database(),
        sql`${sql.ref(side)} = ${member} AND kind = 'PAYMENT' AND slip_id < ${bytesOfUuid(before)}
          ORDER BY slip_id DESC LIMIT ${limit}`,
      ),

    /** Takes on what membership tells of merchants, unless something newer is known. */
    follow: async (events: readonly MemberEvent[]): Promise<void> =>
      followMerchants(await database(), 'payment_merchant', events),
  };
}

async function standing(trx: Trx, merchant: string): Promise<Refused | undefined> {
  const state = await stateOfMerchant(trx, 'payment_merchant', merchant);
  if (state === undefined) return refuse(404, 'MUSTER_MERCHANT_UNKNOWN', 'there is no such merchant');
  return state === 'ACTIVE'
    ? undefined
    : refuse(409, 'MUSTER_MERCHANT_NOT_ACTIVE', `the merchant is ${state}`, [
        { field: 'merchantId', reason: `is ${state}` },
      ]);
}

async function insert(
  trx: Trx,
  slipId: string,
  slip: Wish & Pick<Slip, 'kind' | 'paymentId'>,
  now: number,
): Promise<void> {
  const at = new Date(now);
  const { kind, paymentId, customer, merchant, amountMinor, currency, rechargeFrom } = slip;
  await sql`
    INSERT INTO slip (slip_id, kind, payment_id, customer, merchant, amount_minor, currency, refunded_minor, recharge_from,
      state, attempt, tries, claim, due_at, requested_at, counts_from, traceparent)
    VALUES (${bytesOfUuid(slipId)}, ${kind}, ${bytesOfUuid(paymentId)}, ${customer}, ${merchant}, ${amountMinor},
      ${currency}, 0, ${bytesOrNull(rechargeFrom)}, 'TRANSFER', 1, 0, 0, ${at}, ${at}, ${at},
      ${traceparentNow() ?? null})`.execute(trx);
}
