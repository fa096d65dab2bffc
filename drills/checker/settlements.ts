/**
 * Judges settlements against the slips that they are made of, and what is owed to merchants against the books; whether they were
 * paid out is for sagas.ts. Pure.
 */
import { type Finding, found, type Verdict } from './verdict.ts';

/** What a merchant gets for a period; minor units. */
export interface SettlementRow {
  readonly id: string;
  readonly state: string;
  readonly paidMinor: number;
  readonly refundedMinor: number;
  /** With that of settlements that it took on. */
  readonly commissionMinor: number;
  readonly carriedMinor: number;
  readonly netMinor: number;
  /** Of its slips. */
  readonly slipsPaidMinor: number;
  readonly slipsRefundedMinor: number;
  /** Of each rate of its slips, rounded to the nearest unit (a half towards zero), with that of settlements that it took on. */
  readonly slipsCommissionMinor: number;
}

/** Rows of one view of all their databases. */
export interface SettlementRows {
  readonly settlements: readonly SettlementRow[];
  /** Runs that do not have all their settlements, by number. */
  readonly openRuns: readonly string[];
  /** Slips of closed periods that are in no settlement, by run and merchant. */
  readonly unsettled: readonly string[];
  /** Slips with another rate of commission than the one in force when their payment was booked. */
  readonly misrated: readonly string[];
  /** What merchants were paid and did not get yet: what the slips say, and what our accounts hold. */
  readonly owed: readonly {
    readonly currency: string;
    readonly slipsMinor: number;
    readonly heldMinor: number;
  }[];
}

export function checkSettlements(rows: SettlementRows): Verdict {
  const { settlements, openRuns, unsettled, misrated, owed } = rows;
  return {
    subject: 'settlements',
    acked: 0,
    looked: `${settlements.length} settlements`,
    inDoubt: 0,
    repeats: 0,
    findings: [
      ...openRuns.map((id) => found('lost', id, 'the run is not summed up')),
      ...unsettled.map((id) => found('lost', id, 'slips are in no settlement')),
      ...misrated.map((id) => found('wrong', id, 'has another commission than was in force')),
      ...settlements.flatMap(judge),
      ...owed
        .filter(({ slipsMinor, heldMinor }) => slipsMinor !== heldMinor)
        .map(({ currency, slipsMinor, heldMinor }) =>
          found('ledger', `house:merchants:${currency}`, `holds ${heldMinor}, and slips say ${slipsMinor}`),
        ),
    ],
  };
}

function judge(row: SettlementRow): readonly Finding[] {
  const { id, state, netMinor, commissionMinor } = row;
  const findings: Finding[] = [];
  const out = (kind: Finding['kind'], detail: string) => findings.push(found(kind, id, detail));
  if (row.paidMinor !== row.slipsPaidMinor || row.refundedMinor !== row.slipsRefundedMinor)
    out('ledger', `is not what its slips sum to: ${row.slipsPaidMinor} less ${row.slipsRefundedMinor}`);
  if (commissionMinor !== row.slipsCommissionMinor)
    out(
      'ledger',
      `the commission is ${commissionMinor}, and by the rates of its slips ${row.slipsCommissionMinor}`,
    );
  if (row.paidMinor - row.refundedMinor + row.carriedMinor !== netMinor + commissionMinor)
    out('ledger', 'what is paid out and the commission are not the whole');
  if (state === 'CARRIED' ? netMinor >= 0 : netMinor < 0) out('wrong', `is ${state} with ${netMinor}`);
  return findings;
}
