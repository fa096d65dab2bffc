import test from 'ava';
import { type BankTransfer, checkBanking, type FirmbankingRow } from './banking.ts';

const row = (differences: Partial<FirmbankingRow> = {}): FirmbankingRow => ({
  id: 'f-1',
  bank: 'hana',
  state: 'EXECUTED',
  isNew: true,
  decidedBy: 'BANK',
  amountMinor: 5,
  currency: 'KRW',
  fromNumber: '1',
  toBank: 'hana',
  toNumber: '2',
  ...differences,
});
const transfer = (differences: Partial<BankTransfer> = {}): BankTransfer => ({
  transferId: 'f-1',
  state: 'EXECUTED',
  from: '1',
  to: { bank: 'hana', accountNumber: '2' },
  amountMinor: 5,
  currency: 'KRW',
  ...differences,
});
const findings = (rows: readonly FirmbankingRow[], ...transfers: readonly BankTransfer[]) =>
  checkBanking(rows, new Map([['hana', transfers]])).findings.map(({ kind, id }) => `${kind} ${id}`);

test('what the bank has as we have it is in order, and what never reached it', (t) => {
  t.deepEqual(findings([row()], transfer()), []);
  t.deepEqual(findings([row({ state: 'REJECTED' })], transfer({ state: 'REJECTED' })), []);
  t.deepEqual(findings([row({ state: 'REJECTED', decidedBy: 'US' })]), []);
});

test('what was decided before the run began is not judged, and not from nowhere either', (t) => {
  t.deepEqual(findings([row({ isNew: false, state: 'REJECTED' })], transfer()), []);
  t.deepEqual(findings([row({ isNew: false })]), []);
});

test('what is lost, doubled, from nowhere or different is told', (t) => {
  for (const state of ['REQUESTED', 'WAITING', 'SENT', 'IN_DOUBT'])
    t.deepEqual(findings([row({ state, decidedBy: null })], transfer()), ['lost f-1']);
  t.deepEqual(findings([row()], transfer(), transfer()), ['doubled f-1']);
  t.deepEqual(findings([row()]), ['ledger f-1']);
  t.deepEqual(findings([row()], transfer({ state: 'REJECTED' })), ['ledger f-1']);
  t.deepEqual(findings([row({ state: 'REJECTED', decidedBy: 'US' })], transfer()), ['ledger f-1']);
  t.deepEqual(findings([row()], transfer({ amountMinor: 6 })), ['wrong f-1']);
  t.deepEqual(findings([row()], transfer({ to: { bank: 'woori', accountNumber: '2' } })), ['wrong f-1']);
  t.deepEqual(findings([], transfer()), ['from-nowhere f-1']);
  t.deepEqual(findings([row({ bank: 'woori' })], transfer()), ['ledger f-1', 'from-nowhere f-1']);
});
