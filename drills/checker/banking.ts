/**
 * Judges firm bankings against the books of the banks outside, transfer by transfer and in both directions, also those that
 * nobody of this run has asked for. Pure.
 */
import { type Finding, found, type Verdict } from './verdict.ts';

/** A firm banking that is under way, or was decided of late. */
export interface FirmbankingRow {
  readonly id: string;
  /** That carries it out. */
  readonly bank: string;
  readonly state: string;
  /** It was not decided before the run began: only then it is judged. */
  readonly isNew: boolean;
  /** Who said the last word: BANK, US; null: nobody yet. */
  readonly decidedBy: string | null;
  readonly amountMinor: number;
  readonly currency: string;
  readonly fromNumber: string;
  readonly toBank: string;
  readonly toNumber: string;
}

/** A transfer in the books of a bank. */
export interface BankTransfer {
  readonly transferId: string;
  readonly state: string;
  readonly from: string;
  readonly to: { readonly bank: string; readonly accountNumber: string };
  readonly amountMinor: number;
  readonly currency: string;
}

/** @param books by bank: what it has decided since some minutes before the run, the rows since some more before */
export function checkBanking(
  rows: readonly FirmbankingRow[],
  books: ReadonlyMap<string, readonly BankTransfer[]>,
): Verdict {
  const findings: Finding[] = [];
  const known = new Set(rows.map(({ bank, id }) => `${bank} ${id}`));
  for (const row of rows) {
    if (!row.isNew) continue;
    const theirs = (books.get(row.bank) ?? []).filter(({ transferId }) => transferId === row.id);
    findings.push(...judge(row, theirs));
  }
  for (const [bank, transfers] of books)
    for (const { transferId } of transfers)
      if (!known.has(`${bank} ${transferId}`))
        findings.push(found('from-nowhere', transferId, `${bank} has it, and nobody here asked for it`));
  return {
    subject: 'banking',
    acked: 0,
    looked: `${rows.filter(({ isNew }) => isNew).length} firm bankings of this run, and the books of ${books.size} banks`,
    inDoubt: 0,
    repeats: 0,
    findings,
  };
}

function judge(row: FirmbankingRow, theirs: readonly BankTransfer[]): readonly Finding[] {
  const { id, state } = row;
  if (state !== 'EXECUTED' && state !== 'REJECTED')
    return [found('lost', id, `is ${state}: nobody has said what became of it`)];
  if (theirs.length > 1) return [found('doubled', id, `${theirs.length} times in the bank's books`)];
  const [there] = theirs;
  if (there === undefined)
    return row.decidedBy === 'US' ? [] : [found('ledger', id, `${state} here, and not in the bank's books`)];
  if (there.state !== state) return [found('ledger', id, `${state} here, ${there.state} at the bank`)];
  const isSame =
    there.amountMinor === row.amountMinor &&
    there.currency === row.currency &&
    there.from === row.fromNumber &&
    there.to.bank === row.toBank &&
    there.to.accountNumber === row.toNumber;
  return isSame ? [] : [found('wrong', id, 'another amount or other accounts at the bank')];
}
