/**
 * Judges what members of my-pay asked for and were told against the rows: each is there once, ended as its member was told, and
 * each member has, here and at the bank, what follows from that. Pure.
 */
import type { Saga, SagaRows } from './sagas.ts';
import { type Finding, found, type Verdict } from './verdict.ts';

/** What the load says that members asked for, and were told. */
export interface PayTold {
  readonly members: readonly {
    /** As the API knows it; rows have its pseudonym. */
    readonly memberId: string;
    /** That put the first amount in: its account is that member's. */
    readonly transferId: string;
    readonly amountMinor: number;
    /** Where it recharges from, and who it sends to (of a merchant: where it is paid out to): accounts at banks that nobody else uses. */
    readonly bank: BankPlace;
    readonly payee: BankPlace;
  }[];
  readonly asked: readonly {
    readonly kind: Saga['kind'];
    /** As answered, each time that it was sent. */
    readonly ids: readonly string[];
    /** Of a refund the customer, who gets it. */
    readonly from: string;
    /** Of a payment and its refunds: who is paid. */
    readonly merchant?: string;
    /** Of a refund: the payment that it takes back. */
    readonly paymentId?: string;
    readonly amountMinor: number;
    readonly owes: 'refused' | 'ended' | 'DONE' | 'FAILED';
    readonly outcome: 'accepted' | 'refused' | 'failed';
    /** Undefined: nobody said. */
    readonly end: 'DONE' | 'FAILED' | undefined;
  }[];
  /** Settlements of merchants of the run, as staff was told at last. */
  readonly settlements: readonly { readonly id: string; readonly merchant: string; readonly state: string }[];
}

export interface BankPlace {
  readonly bank: string;
  readonly accountNumber: string;
  readonly depositMinor: number;
}

export interface PayInputs {
  readonly told: PayTold;
  readonly rows: SagaRows;
  /** What the API says is in each member's account. */
  readonly balances: ReadonlyMap<string, number>;
  /** What the banks say is in these accounts, by bank and number: `hana 110-1`. */
  readonly atBanks: ReadonlyMap<string, number>;
  /** Of everything at all banks. */
  readonly banksSumMinor: number;
}

export function checkPay(inputs: PayInputs): Verdict {
  const { told, rows, banksSumMinor } = inputs;
  const { members, asked } = told;
  const firstTo = new Map(rows.legs.map(({ transferId, to }) => [transferId, to]));
  const accountOf = new Map(members.map((one) => [one.memberId, firstTo.get(one.transferId)]));
  const accepted = asked.filter(({ outcome }) => outcome === 'accepted');
  return {
    subject: 'pay',
    acked: accepted.length,
    inDoubt: asked.filter(({ outcome }) => outcome === 'failed').length,
    repeats: accepted.reduce((sum, { ids }) => sum + ids.length - 1, 0),
    findings: [
      ...members.flatMap(({ memberId, transferId }) =>
        accountOf.get(memberId) === undefined
          ? [found('lost', transferId, 'money was put in, and is not there')]
          : [],
      ),
      ...checkAsked(told, rows.sagas, accountOf),
      ...checkSettled(told, rows.sagas, accountOf),
      ...checkBalances(inputs, accountOf),
      ...(banksSumMinor === 0
        ? []
        : [found('ledger', 'banks', `all balances at all banks sum to ${banksSumMinor}`)]),
    ],
  };
}

type Accounts = ReadonlyMap<string, string | undefined>;

/** What was accepted is there once, as it was told; what was refused is not; what is in doubt is there once at most. */
function checkAsked({ asked }: PayTold, sagas: readonly Saga[], accountOf: Accounts): readonly Finding[] {
  const findings: Finding[] = [];
  const byId = new Map(sagas.map((saga) => [`${saga.kind} ${saga.id}`, saga]));
  const ours = new Set(accountOf.values());
  const unasked = new Map(
    sagas.flatMap((saga) => (ours.has(saga.account) ? [[`${saga.kind} ${saga.id}`, saga] as const] : [])),
  );
  // Recharged by the platform itself, for a remittance or payment that names it; settled for a merchant by staff or schedule.
  for (const { kind, id, rechargeId } of sagas) {
    unasked.delete(`recharge ${rechargeId}`);
    if (kind === 'settlement') unasked.delete(`settlement ${id}`);
  }
  const inDoubt = new Set<string>();
  for (const one of asked) {
    const { kind, ids, from, merchant, paymentId, amountMinor, owes, outcome, end } = one;
    if (outcome === 'failed') inDoubt.add(inWords(one));
    const [id = `${amountMinor} minor units`] = ids;
    const out = (what: Finding['kind'], detail: string) => findings.push(found(what, id, detail));
    if (new Set(ids).size > 1) out('doubled', 'the same request was accepted as two');
    if (outcome === 'accepted' && owes === 'refused') out('wrong', 'was accepted, and had to be refused');
    if (outcome === 'refused' && owes !== 'refused') out('wrong', 'was refused, and is in order');
    if (outcome !== 'accepted') continue;
    const saga = byId.get(`${kind} ${id}`);
    unasked.delete(`${kind} ${id}`);
    if (saga === undefined) {
      out('lost', 'was accepted, and is not there');
      continue;
    }
    if (saga.account !== accountOf.get(from) || saga.amountMinor !== amountMinor)
      out('wrong', "is another amount than was asked for, or somebody else's");
    if (saga.paymentId !== paymentId || (merchant !== undefined && saga.merchant !== accountOf.get(merchant)))
      out('wrong', 'is of another payment or merchant than was asked for');
    if (end !== undefined && end !== saga.state)
      out('wrong', `its member was told ${end}, and it is ${saga.state}`);
    if (end === undefined && saga.state !== 'DONE' && saga.state !== 'FAILED')
      out('untold', `its member never heard of its end; it is ${saga.state}`);
    if ((owes === 'DONE' || owes === 'FAILED') && saga.state !== owes)
      out('wrong', `is ${saga.state}, and had to be ${owes}`);
  }
  // One in doubt may be there, once.
  for (const saga of unasked.values())
    if (!inDoubt.delete(inWords(saga)))
      findings.push(
        found('from-nowhere', saga.id, `nobody has asked for this ${saga.kind} of ${saga.amountMinor}`),
      );
  return findings;
}

/** No two of a run are asked for with the same. */
const inWords = ({ kind, amountMinor, paymentId }: Pick<Saga, 'kind' | 'amountMinor' | 'paymentId'>) =>
  `${kind} ${amountMinor} ${paymentId}`;

/** Each settlement that staff was told of is there, of that merchant, and has ended so. */
function checkSettled(
  { settlements }: PayTold,
  sagas: readonly Saga[],
  accountOf: Accounts,
): readonly Finding[] {
  const byId = new Map(sagas.flatMap((saga) => (saga.kind === 'settlement' ? [[saga.id, saga]] : [])));
  return settlements.flatMap(({ id, merchant, state }) => {
    const saga = byId.get(id);
    if (saga === undefined)
      return [found('lost', id, 'staff was told of this settlement, and it is not there')];
    if (saga.account !== accountOf.get(merchant))
      return [found('wrong', id, 'is the settlement of another merchant than was told')];
    const hasEnded = (one: string) => one === 'DONE' || one === 'CARRIED';
    if (!hasEnded(saga.state))
      return [
        found(
          'lost',
          id,
          `is ${saga.state}, and banks are as they should be: nobody has carried it to its end`,
        ),
      ];
    return hasEnded(state) && state !== saga.state
      ? [found('wrong', id, `staff was told ${state}, and it is ${saga.state}`)]
      : [];
  });
}

/** Each member has what was put in and came, less what went, here and at the bank. */
function checkBalances(
  { told, rows, balances, atBanks }: PayInputs,
  accountOf: Accounts,
): readonly Finding[] {
  const findings: Finding[] = [];
  const here = new Map<string, number>();
  const taken = new Map<string, number>();
  const paidOut = new Map<string, number>();
  const add = (to: Map<string, number>, account: string, amountMinor: number) =>
    to.set(account, (to.get(account) ?? 0) + amountMinor);
  for (const { state, legs, payment } of rows.sagas) {
    if (state !== 'DONE') continue;
    for (const { from, to, amountMinor } of legs) {
      add(here, from, -amountMinor);
      add(here, to, amountMinor);
    }
    if (payment !== undefined && payment.to === 'house') add(taken, payment.from, payment.amountMinor);
    if (payment !== undefined && payment.from === 'house') add(paidOut, payment.to, payment.amountMinor);
  }
  for (const { memberId, amountMinor, bank, payee } of told.members) {
    const account = accountOf.get(memberId);
    if (account === undefined) continue;
    const { balanceMinor, heldMinor } = rows.accounts.get(account) ?? { balanceMinor: 0, heldMinor: 0 };
    const must = amountMinor + (here.get(account) ?? 0);
    const differ = (what: string, is: number | undefined, owed: number) => {
      if (is !== owed) findings.push(found('ledger', account, `${what} is ${is}, must be ${owed}`));
    };
    differ('the balance', balanceMinor, must);
    differ('what the API says', balances.get(memberId), must);
    differ('what is held', heldMinor, 0);
    const atBank = ({ bank: name, accountNumber }: BankPlace) => atBanks.get(`${name} ${accountNumber}`);
    differ('what lies at the bank', atBank(bank), bank.depositMinor - (taken.get(account) ?? 0));
    differ('what the payee has at the bank', atBank(payee), payee.depositMinor + (paidOut.get(account) ?? 0));
  }
  return findings;
}
