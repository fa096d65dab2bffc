/**
 * Judges payments and refunds, also those that nobody of this run has asked for: never more is given back than was paid, and
 * what was booked is told on payment-events and is what settlement has. What they moved in the books is for sagas.ts. Pure.
 */
import { topics } from '../../catalog/topics.ts';
import type { SeenRecord } from './reading.ts';
import { type Finding, found, type Verdict } from './verdict.ts';
import { bodyOf, nameOf, showing, traceIdOf } from './wire.ts';

export const paymentTopics: readonly string[] = [topics.paymentEvents.name];

/** A payment or a refund, as whoever has it says: its own row, the event, or settlement's copy. */
export interface Slip {
  readonly id: string;
  readonly kind: 'PAID' | 'REFUNDED';
  readonly paymentId: string;
  /** A pseudonym. */
  readonly merchant: string;
  readonly amountMinor: number;
  readonly currency: string;
}

/** Rows of one view of both databases. */
export interface PaymentRows {
  /** That are DONE, of an hour before the run on; `isNew`: since it began. */
  readonly done: readonly (Slip & { readonly isNew: boolean })[];
  /** What settlement has of the same time. */
  readonly settled: readonly Slip[];
  /** Payments with refunds of that time, and the sums of all their refunds that have not failed. */
  readonly refunded: readonly {
    readonly paymentId: string;
    /** Null: nothing was paid. */
    readonly paidMinor: number | null;
    readonly refundedMinor: number;
  }[];
}

/** @param records everything on payment-events since the run began */
export function checkPayments(
  { done, settled, refunded }: PaymentRows,
  records: readonly SeenRecord[],
  personal: readonly string[],
): Verdict {
  const findings: Finding[] = [];
  const own = new Map(done.map((slip) => [slip.id, slip]));
  const taken = new Map(settled.map((slip) => [slip.id, slip]));
  const told = new Set<string>();
  let repeats = 0;
  for (const record of records) {
    const slip = slipOf(record);
    const out = (kind: Finding['kind'], detail: string) =>
      findings.push(found(kind, slip?.id ?? nameOf(record), detail, traceIdOf(record)));
    if (slip === undefined) {
      out('wrong', 'is no event of a payment');
      continue;
    }
    if (told.has(slip.id)) repeats += 1;
    told.add(slip.id);
    const row = own.get(slip.id);
    if (row === undefined) out('from-nowhere', 'is told, and no slip of it is DONE');
    else if (!isSame(row, slip)) out('wrong', 'is told as another one than it is');
  }
  for (const slip of done.filter(({ isNew }) => isNew)) {
    const copy = taken.get(slip.id);
    if (copy !== undefined && !isSame(slip, copy))
      findings.push(found('wrong', slip.id, 'settlement has another one than it is'));
    if (copy !== undefined) continue;
    findings.push(
      told.has(slip.id)
        ? found('lost', slip.id, 'is told, and settlement has not taken it')
        : found('untold', slip.id, 'is DONE, and not on payment-events'),
    );
  }
  for (const { id } of settled)
    if (!own.has(id))
      findings.push(found('from-nowhere', id, 'settlement has it, and no slip of it is DONE'));
  for (const { paymentId, paidMinor, refundedMinor } of refunded)
    if (refundedMinor > (paidMinor ?? 0))
      findings.push(
        found('ledger', paymentId, `${refundedMinor} are refunded, and ${paidMinor ?? 'nothing'} was paid`),
      );
  const shown = showing(records, personal);
  if (shown !== undefined) findings.push(found('personal-data', nameOf(shown), 'shows whose it is'));
  const looked = `${own.size} payments and refunds`;
  return { subject: 'payments', acked: 0, looked, inDoubt: 0, repeats, findings };
}

/** What a record says; undefined: it does not say it. */
function slipOf(record: SeenRecord): Slip | undefined {
  const { eventId, refundId, kind, paymentId, merchantId, amount } = (bodyOf(record) ?? {}) as {
    readonly eventId?: string;
    readonly refundId?: string;
    readonly kind?: string;
    readonly paymentId?: string;
    readonly merchantId?: string;
    readonly amount?: { readonly amountMinor: number; readonly currency: string };
  };
  if (eventId === undefined || paymentId === undefined || merchantId === undefined || amount === undefined)
    return undefined;
  const isRefund = kind === 'REFUNDED';
  if ((kind !== 'PAID' && !isRefund) || (isRefund ? refundId !== eventId : refundId !== undefined))
    return undefined;
  return { id: eventId, kind, paymentId, merchant: merchantId, ...amount };
}

const isSame = (a: Slip, b: Slip): boolean =>
  a.kind === b.kind &&
  a.paymentId === b.paymentId &&
  a.merchant === b.merchant &&
  a.amountMinor === b.amountMinor &&
  a.currency === b.currency;
