/**
 * Judges the ledger and what members sent each other: what they were told, against the books. The books are judged as a
 * whole, also what nobody of this run has booked. Pure.
 */
import { type Finding, found, type Verdict } from './verdict.ts';

/** An amount that a member sent to another. */
export interface SentAmount {
  /** No other of the run is the same: it is known by it in the books. */
  readonly amountMinor: number;
  readonly from: string;
  readonly to: string;
  /** `refused`: its sender has not so much, or its Idempotency-Key was used for another one. */
  readonly owes: 'booked' | 'refused';
  /** `booked`: 201; `refused`: 4xx; `failed`: never a final answer. */
  readonly outcome: 'booked' | 'refused' | 'failed';
  /** As answered, each time that it was sent. */
  readonly transferIds: readonly string[];
}

/** A member of this run, with what was first put into the account. */
export interface FundedMember {
  readonly member: string;
  readonly transferId: string;
  readonly amountMinor: number;
}

export interface MoneyTold {
  readonly members: readonly FundedMember[];
  readonly sent: readonly SentAmount[];
}

/** The books, of one moment. */
export interface LedgerRows {
  /** All of them. */
  readonly accounts: readonly {
    readonly no: number;
    readonly id: string;
    readonly currency: string;
    readonly balanceMinor: number;
    readonly heldMinor: number;
    readonly version: number;
    /** Sum and number of its entries, and the sum of its open holds. */
    readonly entriesMinor: number;
    readonly entries: number;
    readonly openMinor: number;
  }[];
  /** Since a moment. */
  readonly legs: readonly {
    readonly transferId: string;
    readonly leg: number;
    readonly fromNo: number;
    readonly fromVersion: number;
    readonly toNo: number;
    readonly toVersion: number;
    readonly amountMinor: number;
  }[];
  readonly entries: readonly {
    readonly no: number;
    readonly version: number;
    readonly transferId: string;
    readonly leg: number;
    readonly amountMinor: number;
    readonly balanceMinor: number;
    /** Of the entry before it; null: there is none. */
    readonly beforeMinor: number | null;
  }[];
}

export interface MoneyInputs {
  readonly told: MoneyTold;
  readonly rows: LedgerRows;
  /** What the API says is in each member's account. */
  readonly balances: ReadonlyMap<string, number>;
  /** Must not be in the books: what ids of members begin with. */
  readonly personal: readonly string[];
}

export function checkMoney({ told, rows, balances, personal }: MoneyInputs): Verdict {
  const findings: Finding[] = [
    ...checkAccounts(rows),
    ...checkEntries(rows),
    ...checkSent(told, rows),
    ...checkBalances(told, rows, balances),
  ];
  for (const { id } of rows.accounts)
    if (personal.some((text) => id.includes(text)))
      findings.push(found('personal-data', 'ledger_account', 'an account has the name of its member'));
  const booked = told.sent.filter(({ outcome }) => outcome === 'booked');
  return {
    subject: 'money',
    acked: booked.length,
    inDoubt: told.sent.filter(({ outcome }) => outcome === 'failed').length,
    repeats: booked.reduce((sum, { transferIds }) => sum + transferIds.length - 1, 0),
    findings,
  };
}

/** Each currency sums to zero; each account has what its entries say; nobody spends what is not there. */
function checkAccounts({ accounts }: LedgerRows): readonly Finding[] {
  const findings: Finding[] = [];
  for (const [currency, own] of Map.groupBy(accounts, (account) => account.currency)) {
    const sum = own.reduce((so, { balanceMinor }) => so + balanceMinor, 0);
    if (sum !== 0) findings.push(found('ledger', currency, `all balances sum to ${sum}`));
  }
  for (const { id, balanceMinor, heldMinor, version, entriesMinor, entries, openMinor } of accounts) {
    const out = (detail: string) => findings.push(found('ledger', id, detail));
    if (balanceMinor !== entriesMinor)
      out(`the balance is ${balanceMinor}, its entries sum to ${entriesMinor}`);
    if (version !== entries) out(`the version is ${version}, and it has ${entries} entries`);
    if (heldMinor !== openMinor) out(`${heldMinor} are held, the open holds sum to ${openMinor}`);
    if (!id.startsWith('house:') && balanceMinor < heldMinor)
      out(`the balance is ${balanceMinor}, with ${heldMinor} held`);
  }
  return findings;
}

/** Each leg is two entries, each entry belongs to a leg and goes on from the one before it. */
function checkEntries({ legs, entries }: LedgerRows): readonly Finding[] {
  const findings: Finding[] = [];
  const place = (no: number, version: number) => `${no}/${version}`;
  const open = new Map(entries.map((entry) => [place(entry.no, entry.version), entry]));
  for (const { transferId, leg, fromNo, fromVersion, toNo, toVersion, amountMinor } of legs)
    for (const [at, amount] of [
      [place(fromNo, fromVersion), -amountMinor],
      [place(toNo, toVersion), amountMinor],
    ] as const) {
      const entry = open.get(at);
      open.delete(at);
      if (entry?.transferId !== transferId || entry.leg !== leg || entry.amountMinor !== amount)
        findings.push(found('ledger', transferId, `its entry of ${amount} is not at ${at}`));
    }
  for (const { transferId } of open.values())
    findings.push(found('ledger', transferId, 'an entry belongs to no leg of it'));
  for (const { no, version, transferId, amountMinor, balanceMinor, beforeMinor } of entries)
    if (balanceMinor !== (beforeMinor ?? 0) + amountMinor || (beforeMinor === null) !== (version === 1)) {
      const detail = `entry ${place(no, version)} says ${balanceMinor} after ${beforeMinor} and ${amountMinor}`;
      findings.push(found('ledger', transferId, detail));
    }
  return findings;
}

/** What was answered as booked is there once; what was refused is not; what is in doubt is there once at most. */
function checkSent({ members, sent }: MoneyTold, { legs }: LedgerRows): readonly Finding[] {
  const findings: Finding[] = [];
  const noOf = accountsOf(members, legs);
  for (const { member, transferId } of members)
    if (!noOf.has(member)) findings.push(found('lost', transferId, 'money was put in, and is not there'));
  const bookedAs = Map.groupBy(between(noOf, legs), ({ amountMinor }) => amountMinor);
  for (const { amountMinor, from, to, owes, outcome, transferIds } of sent) {
    const own = bookedAs.get(amountMinor) ?? [];
    bookedAs.delete(amountMinor);
    const id = transferIds[0] ?? own[0]?.transferId ?? `${amountMinor} minor units`;
    const out = (kind: Finding['kind'], detail: string) => findings.push(found(kind, id, detail));
    if (own.length > 1) out('doubled', `is booked ${own.length} times`);
    if (new Set(transferIds).size > 1) out('doubled', 'the same request was answered with two transfers');
    if (outcome === 'booked' && own.length === 0) out('lost', 'answered as booked, and is not');
    if (outcome === 'refused' && own.length > 0) out('wrong', 'was refused, and is booked');
    if (outcome !== 'failed' && outcome !== owes) out('wrong', `was ${outcome}, and had to be ${owes}`);
    if (outcome === 'failed' && owes === 'refused' && own.length > 0) out('wrong', 'had to be refused');
    for (const leg of own) {
      if (outcome === 'booked' && leg.transferId !== id) out('wrong', `is booked as ${leg.transferId}`);
      if (leg.fromNo !== noOf.get(from) || leg.toNo !== noOf.get(to))
        out('wrong', 'went from another account, or to another one');
    }
  }
  for (const [amountMinor, own] of bookedAs)
    findings.push(found('from-nowhere', own[0]!.transferId, `nobody has sent ${amountMinor}`));
  return findings;
}

/** Each member has what was put in, and what came, less what went; the API says the same. */
function checkBalances(
  { members, sent }: MoneyTold,
  { accounts, legs }: LedgerRows,
  balances: ReadonlyMap<string, number>,
): readonly Finding[] {
  const noOf = accountsOf(members, legs);
  const isThere = new Set(between(noOf, legs).map(({ amountMinor }) => amountMinor));
  const must = new Map(members.map(({ member, amountMinor }) => [member, amountMinor]));
  for (const { from, to, amountMinor, outcome } of sent) {
    if (outcome === 'refused' || (outcome === 'failed' && !isThere.has(amountMinor))) continue;
    must.set(from, must.get(from)! - amountMinor);
    must.set(to, must.get(to)! + amountMinor);
  }
  const byNo = new Map(accounts.map((account) => [account.no, account]));
  return members.flatMap(({ member }) => {
    const account = byNo.get(noOf.get(member) ?? -1);
    if (account === undefined) return [];
    const { id, balanceMinor } = account;
    const said = balances.get(member);
    return [
      ...(balanceMinor === must.get(member)
        ? []
        : [found('ledger', id, `the balance is ${balanceMinor}, must be ${must.get(member)}`)]),
      ...(said === balanceMinor
        ? []
        : [found('wrong', id, `the API says ${said}, the store ${balanceMinor}`)]),
    ];
  });
}

/** Legs from one of these accounts to another of them. */
function between(noOf: ReadonlyMap<string, number>, legs: LedgerRows['legs']): LedgerRows['legs'] {
  const ours = new Set(noOf.values());
  return legs.filter(({ fromNo, toNo }) => ours.has(fromNo) && ours.has(toNo));
}

/** Numbers of accounts by member: where their first money went. */
function accountsOf(members: readonly FundedMember[], legs: LedgerRows['legs']): ReadonlyMap<string, number> {
  const to = new Map(legs.map(({ transferId, toNo }) => [transferId, toNo]));
  return new Map(
    members.flatMap(({ member, transferId }) => {
      const no = to.get(transferId);
      return no === undefined ? [] : [[member, no] as const];
    }),
  );
}
