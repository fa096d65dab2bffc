/** Slips as sagas in their table: how they begin, and what their end means. How they go on is that of any move of money. */
import { sql, type Transaction } from 'kysely';
import type { MemberEvent } from '../../catalog/events/membership.ts';
import { groups } from '../../catalog/groups.ts';
import { hexOfUuid } from '../base/ids.ts';
import type { Money } from '../base/money.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { statesOfMerchants } from '../platform/merchants.ts';
import { type Move, openStates } from '../platform/move.ts';
import { begunMove, moveFields, moveKind, untouched } from '../platform/move-sagas.ts';
import { type SagaTable, sagaSql } from '../platform/saga-rows.ts';
import type { Asked, Begun, Found as FoundOf, SagaRows } from '../platform/sagas.ts';
import { bookedRecord, decidedRecord } from './events.ts';
import { refundOf, refuseUncovered, type Slip } from './payment.ts';

/** A slip as it stands. */
export type Found = FoundOf<Move, Slip>;

export interface PaymentWish {
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
  readonly amount: Money | undefined;
}

export type SlipWish =
  | ({ readonly kind: 'PAYMENT' } & PaymentWish)
  | ({ readonly kind: 'REFUND' } & RefundWish);

/** Rows within one transaction. */
export interface SlipRows extends SagaRows<Move, Slip> {
  /** Those that membership has told of. */
  merchants(which: readonly string[]): Promise<ReadonlyMap<string, MemberEvent['state']>>;
  /** What merchants are still owed, by owedKey(): locked. */
  owed(which: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** To the sums of payments' refunds: under the lock of their rows, or of a refund's. */
  addRefunded(minorByPayment: ReadonlyMap<string, number>): Promise<void>;
}

const ownFields = {
  kind: 'text',
  paymentId: 'uuid',
  customer: 'text',
  merchant: 'text',
  refundedMinor: 'integer',
} as const;
const fields = { fixed: { ...moveFields.fixed, ...ownFields }, changing: moveFields.changing } as const;

const ours = 'house:merchants';
const wayOf = ({ kind, customer }: Pick<Slip, 'kind' | 'customer'>) =>
  kind === 'PAYMENT'
    ? { sender: customer, to: { member: ours }, feeMinor: 0 }
    : { sender: ours, to: { member: customer }, feeMinor: 0 };

const table: SagaTable<Move, Slip, typeof fields.fixed, typeof fields.changing> = {
  ...{ name: 'slip', id: 'slip_id', open: openStates, ...fields },
  rowOf: ({ one, own }) => ({ ...one, ...own }),
  of: ({ kind, paymentId, customer, merchant, refundedMinor, ...rest }) => {
    const own = { kind, paymentId, customer, merchant, refundedMinor } as Slip;
    return { one: { ...untouched, ...rest, ...wayOf(own) } as Move, own };
  },
};
export const slipSql = sagaSql(table);

export const slipRows = (trx: Transaction<unknown>): SlipRows => ({
  ...slipSql.rowsOf(trx),
  merchants: (which) => statesOfMerchants(trx, 'payment_merchant', which),
  owed: (which) => lockOwed(trx, which),
  async addRefunded(minorByPayment) {
    const rows = [...minorByPayment].map(([id, minor]) => [hexOfUuid(id), minor]).sort();
    await sql`
      UPDATE JSON_TABLE(${JSON.stringify(rows)}, '$[*]' COLUMNS (
        id CHAR(32) PATH '$[0]', minor BIGINT PATH '$[1]')) AS it
      STRAIGHT_JOIN slip ON slip.slip_id = UNHEX(it.id)
      SET slip.refunded_minor = slip.refunded_minor + it.minor`.execute(trx);
  },
});

export const owedKey = (merchant: string, currency: string) => `${merchant} ${currency}`;

/** Adding to it is done by the database, with each slip (000902-payment-owed.sql). */
export async function lockOwed(
  trx: Transaction<unknown>,
  merchants: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const { rows } = await sql<{ merchant: string; currency: string; owed: number | string }>`
    SELECT merchant, currency, owed_minor AS owed FROM payment_owed
    WHERE merchant IN (${sql.join([...new Set(merchants)])}) ORDER BY merchant, currency FOR UPDATE`.execute(
    trx,
  );
  return new Map(rows.map(({ merchant, currency, owed }) => [owedKey(merchant, currency), Number(owed)]));
}

type Accepted = { readonly ok: true } & { readonly [id in 'paymentId' | 'refundId']?: string };

export const slipKind = moveKind<Slip, SlipWish, Accepted, SlipRows>(groups.paymentEnds, {
  columns: { RECHARGING: 'recharge_id' },
  answer: ({ id, wish: { kind } }) => ({
    ok: true,
    ...(kind === 'PAYMENT' ? { paymentId: id } : { refundId: id }),
  }),
  begin,
  async ended(rows, ended, now) {
    const [done, failed] = [
      ended.filter(({ next }) => next.state === 'DONE'),
      ended.filter(({ next }) => next.state === 'FAILED'),
    ];
    await rows.tell([
      ...done.map(({ next, row, traceparent }) => bookedRecord(next, row.own, now, traceparent)),
      ...ended.map(({ next, row, traceparent }) => decidedRecord(next, row.own, now, traceparent)),
    ]);
    // A refund that failed can be asked for again.
    const back = failed.filter(({ row }) => row.own.kind === 'REFUND');
    await addUp(
      rows,
      back.map(({ row, next }) => [row.own.paymentId, -next.amountMinor]),
    );
  },
});

async function addUp(rows: SlipRows, amounts: readonly (readonly [string, number])[]): Promise<void> {
  const sums = new Map<string, number>();
  for (const [id, minor] of amounts) sums.set(id, (sums.get(id) ?? 0) + minor);
  if (sums.size > 0) await rows.addRefunded(sums);
}

/** Refunds are decided one after the other, under the locks of their payments: each on what the ones before it left. */
async function begin(
  rows: SlipRows,
  asked: readonly Asked<SlipWish>[],
): Promise<readonly (Begun<Move, Slip> | Refused)[]> {
  const [merchants, payments] = [new Set<string>(), new Set<string>()];
  for (const { wish } of asked) {
    if (wish.merchant !== undefined) merchants.add(wish.merchant);
    if (wish.kind === 'REFUND') payments.add(wish.paymentId);
  }
  const states = merchants.size === 0 ? new Map() : await rows.merchants([...merchants]);
  const paid = new Map((await rows.lock([...payments])).map((row) => [row.one.id, row]));
  const givingBack = asked.flatMap(({ wish }) => (wish.kind === 'REFUND' ? (wish.merchant ?? []) : []));
  const owed = new Map(givingBack.length === 0 ? [] : await rows.owed(givingBack));
  const refunded: [string, number][] = [];
  const begun = asked.map(({ id, wish }): Begun<Move, Slip> | Refused => {
    if (wish.kind === 'PAYMENT') return standing(states.get(wish.merchant)) ?? begunSlip(id, id, wish);
    const { paymentId, merchant, amount } = wish;
    const found = paid.get(paymentId);
    if (found === undefined || (merchant !== undefined && found.own.merchant !== merchant))
      return refuse(404, 'MUSTER_PAYMENT_UNKNOWN', 'there is no such payment');
    // It is our money until the next settlement: who is suspended or has left may not give it away by a token that is still good.
    const notActive = merchant === undefined ? undefined : standing(states.get(merchant));
    if (notActive !== undefined) return notActive;
    const decided = refundOf(found, amount);
    if (!decided.ok) return decided;
    const { amountMinor } = decided;
    const key = owedKey(found.own.merchant, found.one.currency);
    const owedMinor = owed.get(key) ?? 0;
    const uncovered = merchant === undefined ? undefined : refuseUncovered(amountMinor, owedMinor);
    if (uncovered !== undefined) return uncovered;
    owed.set(key, owedMinor - amountMinor);
    const refundedMinor = found.own.refundedMinor + amountMinor;
    paid.set(paymentId, { ...found, own: { ...found.own, refundedMinor } });
    refunded.push([paymentId, amountMinor]);
    const { customer, merchant: refunds } = found.own;
    const { currency } = found.one;
    return begunSlip(id, paymentId, { kind: 'REFUND', customer, merchant: refunds, amountMinor, currency });
  });
  await addUp(rows, refunded);
  return begun;
}

function begunSlip(
  id: string,
  paymentId: string,
  wish: Pick<Slip, 'kind'> &
    Omit<PaymentWish, 'rechargeFrom'> & { readonly rechargeFrom?: string | undefined },
): Begun<Move, Slip> {
  const { kind, customer, merchant, amountMinor, currency, rechargeFrom } = wish;
  return {
    one: begunMove(id, { ...wayOf(wish), amountMinor, currency, rechargeFrom }),
    own: { kind, paymentId, customer, merchant, refundedMinor: 0 },
  };
}

function standing(state: MemberEvent['state'] | undefined): Refused | undefined {
  if (state === undefined) return refuse(404, 'MUSTER_MERCHANT_UNKNOWN', 'there is no such merchant');
  return state === 'ACTIVE'
    ? undefined
    : refuse(409, 'MUSTER_MERCHANT_NOT_ACTIVE', `the merchant is ${state}`, [
        { field: 'merchantId', reason: `is ${state}` },
      ]);
}
