import test from 'ava';
import { checkSettlements, type SettlementRow, type SettlementRows } from './settlements.ts';

const row = (differences: Partial<SettlementRow> = {}): SettlementRow => ({
  id: 's-1',
  state: 'DONE',
  paidMinor: 110,
  refundedMinor: 10,
  commissionMinor: 3,
  carriedMinor: 0,
  netMinor: 97,
  slipsPaidMinor: 110,
  slipsRefundedMinor: 10,
  slipsCommissionMinor: 3,
  ...differences,
});
const findings = (settlements: readonly SettlementRow[], more: Partial<SettlementRows> = {}) =>
  checkSettlements({
    settlements,
    openRuns: [],
    unsettled: [],
    misrated: [],
    owed: [],
    ...more,
  }).findings.map(({ kind, id }) => `${kind} ${id}`);

test('what is as its slips say is in order, also below zero, and what took that on', (t) => {
  t.deepEqual(findings([row()]), []);
  const below = {
    paidMinor: 0,
    slipsPaidMinor: 0,
    commissionMinor: 0,
    slipsCommissionMinor: 0,
    netMinor: -10,
  };
  t.deepEqual(findings([row({ state: 'CARRIED', ...below })]), []);
  t.deepEqual(findings([row({ carriedMinor: -10, netMinor: 87 })]), []);
  t.deepEqual(findings([], { owed: [{ currency: 'KRW', slipsMinor: 5, heldMinor: 5 }] }), []);
});

test('what is lost, wrong or does not add up is told', (t) => {
  t.deepEqual(findings([row({ slipsPaidMinor: 111 })]), ['ledger s-1']);
  t.deepEqual(findings([row({ slipsRefundedMinor: 0 })]), ['ledger s-1']);
  t.deepEqual(findings([row({ netMinor: 98 })]), ['ledger s-1']);
  t.deepEqual(findings([row({ slipsCommissionMinor: 4 })]), ['ledger s-1']);
  t.deepEqual(findings([], { misrated: ['e-1'] }), ['wrong e-1']);
  t.deepEqual(findings([row({ state: 'CARRIED' })]), ['wrong s-1']);
  t.deepEqual(findings([row({ carriedMinor: -110, netMinor: -13 })]), ['wrong s-1']);
  t.deepEqual(findings([], { openRuns: ['3'], unsettled: ['3 u_1'] }), ['lost 3', 'lost 3 u_1']);
  t.deepEqual(findings([], { owed: [{ currency: 'KRW', slipsMinor: 5, heldMinor: 6 }] }), [
    'ledger house:merchants:KRW',
  ]);
});
