/** What the stores say of settlements and of what is owed to merchants. */
import type { DatabaseName } from '../../catalog/tables.ts';
import { type Ask, uuid } from './saga-rows.ts';
import type { SettlementRow, SettlementRows } from './settlements.ts';

/** @param schemaOf of a database of ours */
export async function settlementRows(
  ask: Ask,
  schemaOf: (name: DatabaseName) => string,
): Promise<SettlementRows> {
  const [own, money] = [schemaOf('settlement'), schemaOf('money')];
  const openRuns = await ask<{ id: string }>(
    `SELECT CAST(run_no AS CHAR) AS id FROM ${own}.settlement_run WHERE summed_at IS NULL`,
  );
  // Sums of exact numbers are text in the answer.
  type Stored = { readonly [Name in keyof SettlementRow]: string | number };
  const lines = await ask<Stored>(
    `SELECT HEX(l.line_id) AS id, l.state, l.paid_minor AS paidMinor, l.refunded_minor AS refundedMinor,
       l.commission_minor + l.carried_commission_minor AS commissionMinor, l.carried_minor AS carriedMinor,
       l.net_minor AS netMinor, COALESCE(s.paid, 0) AS slipsPaidMinor, COALESCE(s.refunded, 0) AS slipsRefundedMinor,
       COALESCE(s.commission, 0) + l.carried_commission_minor AS slipsCommissionMinor
     FROM ${own}.settlement_run r JOIN ${own}.settlement_line l ON l.run_no = r.run_no
     LEFT JOIN (SELECT period_no, merchant, currency, SUM(paid) AS paid, SUM(refunded) AS refunded,
         SUM(SIGN(paid - refunded) * ((ABS(paid - refunded) * rate + 4999) DIV 10000)) AS commission
       FROM (SELECT period_no, merchant, currency, rate_basis_points AS rate,
           SUM(IF(kind = 'PAID', amount_minor, 0)) AS paid, SUM(IF(kind = 'REFUNDED', amount_minor, 0)) AS refunded
         FROM ${own}.settlement_slip GROUP BY period_no, merchant, currency, rate_basis_points) AS band
       GROUP BY period_no, merchant, currency) s
       ON s.period_no = l.run_no AND s.merchant = l.merchant AND s.currency = l.currency
     WHERE r.started_at > UTC_TIMESTAMP(3) - INTERVAL 2 DAY`,
  );
  const unsettled = await ask<{ id: string }>(
    `SELECT DISTINCT CONCAT(s.period_no, ' ', s.merchant) AS id FROM ${own}.settlement_slip s
     JOIN ${own}.settlement_run r ON r.run_no = s.period_no AND r.summed_at IS NOT NULL
     LEFT JOIN ${own}.settlement_line l
       ON l.run_no = s.period_no AND l.merchant = s.merchant AND l.currency = s.currency
     WHERE l.line_id IS NULL`,
  );
  // A refund has the rate of its payment.
  const rate = (whose: string) =>
    `(SELECT c.rate_basis_points FROM ${own}.settlement_commission c
      WHERE c.merchant = ${whose} AND c.from_at <= COALESCE(p.at, s.at) ORDER BY c.from_at DESC LIMIT 1)`;
  const misrated = await ask<{ id: string }>(
    `SELECT HEX(s.event_id) AS id FROM ${own}.settlement_slip s
     LEFT JOIN ${own}.settlement_slip p ON p.payment_id = s.payment_id AND p.kind = 'PAID'
     WHERE s.at > UTC_TIMESTAMP(3) - INTERVAL 2 HOUR
       AND s.rate_basis_points <> COALESCE(${rate('s.merchant')}, ${rate("'*'")}, -1)`,
  );
  const owed = await ask<{ currency: string; slipsMinor: string; heldMinor: string }>(
    `SELECT currency, SUM(slips) AS slipsMinor, SUM(held) AS heldMinor FROM (
       SELECT currency, IF(kind = 'PAID', amount_minor, -amount_minor) AS slips, 0 AS held FROM ${own}.settlement_slip
       UNION ALL
       SELECT currency, -IF(transfer_id IS NULL, 0, net_minor)
         - IF(commission_transfer_id IS NULL, 0, commission_minor + carried_commission_minor), 0
       FROM ${own}.settlement_line
       UNION ALL
       SELECT currency, 0, balance_minor FROM ${money}.ledger_account WHERE account_id LIKE 'house:merchants:%'
     ) AS side GROUP BY currency`,
  );
  return {
    settlements: lines.map(({ id, state, ...sums }) => ({
      id: uuid(String(id)),
      state: String(state),
      paidMinor: Number(sums.paidMinor),
      refundedMinor: Number(sums.refundedMinor),
      commissionMinor: Number(sums.commissionMinor),
      carriedMinor: Number(sums.carriedMinor),
      netMinor: Number(sums.netMinor),
      slipsPaidMinor: Number(sums.slipsPaidMinor),
      slipsRefundedMinor: Number(sums.slipsRefundedMinor),
      slipsCommissionMinor: Number(sums.slipsCommissionMinor),
    })),
    openRuns: openRuns.map(({ id }) => id),
    unsettled: unsettled.map(({ id }) => id),
    misrated: misrated.map(({ id }) => uuid(id)),
    owed: owed.map(({ currency, slipsMinor, heldMinor }) => ({
      currency,
      slipsMinor: Number(slipsMinor),
      heldMinor: Number(heldMinor),
    })),
  };
}
