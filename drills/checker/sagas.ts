/**
 * Judges what was accepted to be carried out step by step, also what nobody of this run has asked for: what has ended has moved
 * what its end says, in the books, in holds and at the banks, and nothing else has moved. A capability joins by saying in
 * saga-rows.ts what each of its rows must have moved. Pure.
 */
import { type Finding, found, type Verdict } from './verdict.ts';

/** Money from one account of the ledger to another: pseudonyms of members, or `house:bank`, `house:fee`, `house:merchants`. */
export interface Leg {
  /** Null: it names none. */
  readonly transferId: string | null;
  readonly from: string;
  readonly to: string;
  readonly amountMinor: number;
}

/** Money from a bank account of one owner to one of another: pseudonyms of members, or `house`. */
export interface Payment {
  readonly firmbankingId: string | null;
  readonly from: string;
  readonly to: string;
  readonly amountMinor: number;
}

/** Something accepted, and what it must have moved when it is DONE; nothing of it when it is FAILED, or CARRIED or STOPPED. */
export interface Saga {
  readonly kind: 'recharge' | 'remittance' | 'payment' | 'refund' | 'settlement';
  readonly id: string;
  /** DONE, one of those in which nothing has moved, or one of those that are under way. */
  readonly state: string;
  /** It had not ended before the run began: only then it is judged. */
  readonly isNew: boolean;
  /** Whose it is: a pseudonym. Of a refund the customer's, who gets it. */
  readonly account: string;
  /** Of a payment or a refund: the merchant's pseudonym. */
  readonly merchant?: string;
  /** Of a refund: the payment that it takes back. */
  readonly paymentId?: string;
  readonly amountMinor: number;
  readonly legs: readonly Leg[];
  readonly payment: Payment | undefined;
  /** States of the holds that it has made. */
  readonly holds: readonly string[];
  /** The recharge that it has asked for, and that must be there. */
  readonly rechargeId: string | null;
}

/** Everything of one moment, those that moved with an hour before the run. */
export interface SagaRows {
  readonly sagas: readonly Saga[];
  readonly legs: readonly (Leg & { readonly transferId: string; readonly reason: string })[];
  readonly payments: readonly (Payment & {
    readonly firmbankingId: string;
    readonly state: string;
    readonly isNew: boolean;
  })[];
  /** Accounts of the ledger by name. */
  readonly accounts: ReadonlyMap<string, { readonly balanceMinor: number; readonly heldMinor: number }>;
}

export function checkSagas(rows: SagaRows): Verdict {
  const judged = rows.sagas.filter(({ isNew }) => isNew);
  const legs = Map.groupBy(rows.legs, ({ transferId }) => transferId);
  const payments = new Map(rows.payments.map((payment) => [payment.firmbankingId, payment]));
  const recharges = new Map(
    rows.sagas.flatMap((saga) => (saga.kind === 'recharge' ? [[saga.id, saga]] : [])),
  );
  return {
    subject: 'sagas',
    acked: 0,
    looked: `${judged.length} recharges, remittances, payments, refunds and settlements`,
    inDoubt: 0,
    repeats: 0,
    findings: [
      ...judged.flatMap((saga) => [
        ...moved(saga, legs, payments),
        ...(saga.rechargeId === null || recharges.get(saga.rechargeId)?.account === saga.account
          ? []
          : [found('wrong', saga.id, `its recharge ${saga.rechargeId} is not there, or somebody else's`)]),
      ]),
      ...unnamed(rows),
    ],
  };
}

function moved(
  { id, state, legs, payment, holds }: Saga,
  booked: ReadonlyMap<string, readonly Leg[]>,
  payments: ReadonlyMap<string, SagaRows['payments'][number]>,
): readonly Finding[] {
  if (state !== 'DONE' && !unmoved.has(state))
    return [found('lost', id, `is ${state}: nobody has carried it to its end`)];
  const isDone = state === 'DONE';
  const findings: Finding[] = [];
  const atBank = payment?.firmbankingId == null ? undefined : payments.get(payment.firmbankingId);
  if (isDone) {
    for (const leg of legs) {
      const own = leg.transferId === null ? [] : (booked.get(leg.transferId) ?? []);
      if (own.length === 0) findings.push(found('lost', id, `DONE, and ${leg.amountMinor} are not booked`));
      else if (own.length > 1 || !isSame(leg, own[0]!))
        findings.push(found('wrong', id, `DONE, and its transfer is another one than it says`));
    }
    if (payment !== undefined && (atBank?.state !== 'EXECUTED' || !isSame(payment, atBank)))
      findings.push(
        found('ledger', payment.firmbankingId ?? id, `booked by ${id}, and the bank has not moved it so`),
      );
  } else if (atBank?.state === 'EXECUTED')
    findings.push(found('ledger', atBank.firmbankingId, `the bank has moved it, and ${id} is ${state}`));
  const ended = isDone ? 'POSTED' : 'RELEASED';
  if (holds.some((hold) => hold !== ended))
    findings.push(found('wrong', id, `${state}, and still holds money`));
  return findings;
}

/** It has ended, or stopped and people were told, and no money has moved. */
const unmoved: ReadonlySet<string> = new Set(['FAILED', 'CARRIED', 'STOPPED']);

const isSame = (a: Omit<Leg, 'transferId'>, b: Omit<Leg, 'transferId'>): boolean =>
  a.from === b.from && a.to === b.to && a.amountMinor === b.amountMinor;

/** What only they book under. */
const ownReasons: ReadonlySet<string> = new Set([
  'recharge',
  'payout',
  'fee',
  'payment',
  'refund',
  'settlement',
]);

/** What moved, and is named by nothing that was accepted, or by two. */
function unnamed({ sagas, legs, payments }: SagaRows): readonly Finding[] {
  const findings: Finding[] = [];
  const named = new Set<string>();
  for (const { id, state, legs: own } of sagas)
    for (const { transferId } of own) {
      if (transferId === null || unmoved.has(state)) continue;
      if (named.has(transferId))
        findings.push(found('doubled', id, 'its transfer is that of another one, too'));
      named.add(transferId);
    }
  for (const { transferId, reason } of legs)
    if (ownReasons.has(reason) && !named.has(transferId))
      findings.push(
        found('from-nowhere', transferId, `is booked as ${reason}, and nothing accepted names it`),
      );
  const known = new Set(sagas.map(({ payment }) => payment?.firmbankingId));
  for (const { firmbankingId, from, to, state, isNew } of payments)
    if (isNew && state === 'EXECUTED' && from !== to && !known.has(firmbankingId))
      findings.push(found('from-nowhere', firmbankingId, 'money of a member moved at a bank for nothing'));
  return findings;
}
