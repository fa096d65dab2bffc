/** What the stores say of payments and refunds: those of payment itself, and settlement's copy. */
import type { DatabaseName } from '../../catalog/tables.ts';
import type { PaymentRows, Slip } from './payments.ts';
import { type Ask, uuid } from './saga-rows.ts';

/**
 * @param schemaOf of a database of ours
 * @param since what the database's clock said before the run
 */
export async function paymentRows(
  ask: Ask,
  schemaOf: (name: DatabaseName) => string,
  since: string,
): Promise<PaymentRows> {
  const own = `${schemaOf('payment')}.slip`;
  const anHourBefore = '? - INTERVAL 1 HOUR';
  const done = await ask<Slip & { isNew: number }>(
    `SELECT HEX(slip_id) AS id, IF(kind = 'PAYMENT', 'PAID', 'REFUNDED') AS kind, HEX(payment_id) AS paymentId,
       merchant, amount_minor AS amountMinor, currency, decided_at >= ? AS isNew
     FROM ${own} WHERE state = 'DONE' AND decided_at >= ${anHourBefore}`,
    [since, since],
  );
  const settled = await ask<Slip>(
    `SELECT HEX(event_id) AS id, kind, HEX(payment_id) AS paymentId, merchant, amount_minor AS amountMinor, currency
     FROM ${schemaOf('settlement')}.settlement_slip WHERE at >= ${anHourBefore}`,
    [since],
  );
  // Sums of exact numbers are text in the answer.
  const refunded = await ask<{ paymentId: string; paidMinor: number | null; refundedMinor: string }>(
    `SELECT HEX(r.payment_id) AS paymentId, p.amount_minor AS paidMinor, SUM(r.amount_minor) AS refundedMinor
     FROM ${own} r
     LEFT JOIN ${own} p ON p.slip_id = r.payment_id AND p.kind = 'PAYMENT' AND p.state = 'DONE'
     WHERE r.kind = 'REFUND' AND r.state <> 'FAILED' AND r.payment_id IN (
       SELECT payment_id FROM ${own}
       WHERE kind = 'REFUND' AND (decided_at IS NULL OR decided_at >= ${anHourBefore}))
     GROUP BY r.payment_id, p.amount_minor`,
    [since],
  );
  const named = <Row extends Slip>(row: Row): Row => ({
    ...row,
    id: uuid(row.id),
    paymentId: uuid(row.paymentId),
  });
  return {
    done: done.map((row) => ({ ...named(row), isNew: row.isNew === 1 })),
    settled: settled.map(named),
    refunded: refunded.map(({ paymentId, paidMinor, refundedMinor }) => ({
      paymentId: uuid(paymentId),
      paidMinor,
      refundedMinor: Number(refundedMinor),
    })),
  };
}
