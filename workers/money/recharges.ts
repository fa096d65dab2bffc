/** Recharges as sagas in their table: how they begin, how what the bank has taken is booked, and what people ask of them. */
import { propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { sql, type Transaction } from 'kysely';
import { groups } from '../../catalog/groups.ts';
import { uuidV7 } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import {
  type Page,
  type SagaStoreOptions,
  type SagaTable,
  sagaFinder,
  sagaOptions,
  sagaSql,
} from '../platform/saga-rows.ts';
import {
  type Answer,
  type Asked,
  type Begun,
  type Change,
  type Found,
  handledAs,
  type SagaKind,
  type SagaRows,
  sagas,
} from '../platform/sagas.ts';
import type { OnceCall } from '../store/once.ts';
import { decidedRecord } from './events.ts';
import { type Account, type AccountState, decide } from './ledger.ts';
import type { LedgerRows } from './postings.ts';
import {
  afterWord,
  isOpenRecharge,
  openRecharges,
  type Recharge,
  type RechargeWord,
  rechargeStep,
} from './recharge.ts';
import { findAccounts, ledgerRows } from './store.ts';

const tracer = trace.getTracer('muster/money');

export interface RechargeWish {
  readonly account: string;
  readonly bankAccountId: string;
  readonly amountMinor: number;
  readonly currency: string;
}

export type FoundRecharge = Found<Recharge>;

/** Rows within one transaction. */
export interface RechargeRows extends SagaRows<Recharge> {
  readonly ledger: Pick<LedgerRows, 'lockAccounts' | 'write'>;
  /** As they are now, not locked. */
  accountStates(accounts: readonly string[]): Promise<ReadonlyMap<string, AccountState>>;
}

const fields = {
  fixed: { accountId: 'text', bankAccountId: 'uuid', amountMinor: 'integer', currency: 'text' },
  changing: { reason: 'text?', firmbankingId: 'uuid?', transferId: 'uuid?' },
} as const;

const table: SagaTable<Recharge, undefined, typeof fields.fixed, typeof fields.changing> = {
  ...{ name: 'recharge', id: 'recharge_id', open: openRecharges, ...fields },
  rowOf: ({ one: { rechargeId, account, ...rest } }) => ({ ...rest, id: rechargeId, accountId: account }),
  of: ({ id, accountId, ...rest }) => ({
    one: { ...rest, rechargeId: id, account: accountId } as Recharge,
    own: undefined,
  }),
};
const rechargeSql = sagaSql(table);

const rechargeRows = (trx: Transaction<unknown>): RechargeRows => ({
  ...rechargeSql.rowsOf(trx),
  ledger: ledgerRows(trx),
  async accountStates(accounts) {
    const found = await findAccounts(trx, accounts);
    return new Map(found.map(({ accountId, state }) => [accountId, state]));
  },
});

interface Accepted {
  readonly ok: true;
  readonly rechargeId: string;
}

/** `houseAccount`: the sub-account of a house account that this process books on. */
export function rechargeKind(
  houseAccount: (house: 'bank', currency: string) => string,
): SagaKind<Recharge, undefined, RechargeWish, RechargeWord, Accepted, RechargeRows> {
  return {
    idOf: ({ rechargeId }) => rechargeId,
    isOpen: isOpenRecharge,
    waitsFor: ({ reason }) => reason,
    answer: ({ id }) => ({ ok: true, rechargeId: id }),
    begin,
    async claim(rows, found) {
      const states = await rows.accountStates([...new Set(found.map(({ one }) => one.account))]);
      return found.map(({ one }) => rechargeStep(one, states.get(one.account)).next);
    },
    decide: (rows, answers, now) => decideAll(rows, answers, now, houseAccount),
    ended: (rows, ended, now) =>
      rows.tell(ended.map(({ next, traceparent }) => decidedRecord(next, now, traceparent))),
    hears: { group: groups.moneyRecharges.id, usually: handledAs({ next: { state: 'DONE' } }) },
    target: (id) => ({ column: 'firmbanking_id', id }),
  };
}

export interface RechargeStoreOptions extends SagaStoreOptions {
  /** The sub-account of a house account that this process books on. */
  houseAccount(house: 'bank', currency: string): string;
}

export type RechargeStore = ReturnType<typeof rechargeStore>;

export function rechargeStore(options: RechargeStoreOptions) {
  const { accept, ...moves } = sagas(rechargeKind(options.houseAccount), sagaOptions(options, rechargeRows));
  const finder = sagaFinder(options, rechargeSql);
  return {
    ...moves,
    ...finder,

    /** Accepts a recharge, or says why not; durable when it resolves. */
    accept: async (
      wish: RechargeWish,
      call: OnceCall,
      how: { readonly keepsRefusal?: boolean } = {},
    ): Promise<Accepted | Refused> => (await accept(wish, call, how)).answer,

    /** Those of an account, the newest first. */
    findOf: (account: string, page: Page): Promise<readonly FoundRecharge[]> =>
      finder.page(sql`account_id = ${account}`, page),
  };
}

async function begin(
  rows: RechargeRows,
  asked: readonly Asked<RechargeWish>[],
): Promise<readonly (Begun<Recharge> | Refused)[]> {
  // Locked: whoever closes an account sees its recharge, or this one sees it closed.
  const locked = await rows.ledger.lockAccounts([...new Set(asked.map(({ wish }) => wish.account))]);
  const accounts = new Map(locked.map((account) => [account.accountId, account]));
  return asked.map(
    ({ id, wish }) =>
      refusalOf(wish, accounts.get(wish.account)) ?? {
        one: { ...wish, rechargeId: id, state: 'REQUESTED', ...untouched },
        own: undefined,
      },
  );
}

/** What one has that nothing has happened to. */
const untouched = {
  reason: undefined,
  firmbankingId: undefined,
  transferId: undefined,
  tries: 0,
  claim: 0,
} as const;

function refusalOf(
  { amountMinor, currency }: RechargeWish,
  account: Account | undefined,
): Refused | undefined {
  if (amountMinor < 1)
    return refuse(422, 'MUSTER_AMOUNT_INVALID', 'an amount is a whole number of minor units above zero');
  if (account === undefined) return refuse(404, 'MUSTER_ACCOUNT_UNKNOWN', 'there is no such account');
  if (account.currency !== currency)
    return refuse(422, 'MUSTER_CURRENCIES_DIFFER', 'an account has one currency');
  if (account.state !== 'OPEN')
    return refuse(409, 'MUSTER_ACCOUNT_NOT_OPEN', `the account is ${account.state}`);
  return undefined;
}

/** A booking that was refused needs people first. */
const bookAgainMs = 60_000;

/** What the bank has taken is booked in the transaction that ends its recharge, for all of a group at once. */
async function decideAll(
  rows: RechargeRows,
  answers: readonly Answer<Recharge, undefined, RechargeWord>[],
  now: number,
  houseAccount: RechargeStoreOptions['houseAccount'],
): Promise<readonly (Change<Recharge> | undefined)[]> {
  const changes = answers.map(({ row, asked, word }) => afterWord(row.one, asked?.claim, word));
  const taken = answers.flatMap(({ row: { one }, traceparent }, index) =>
    changes[index]?.book ? [{ one, traceparent, index, from: houseAccount('bank', one.currency) }] : [],
  );
  if (taken.length === 0) return changes;
  const named = new Set(taken.flatMap(({ one, from }) => [from, one.account]));
  const accounts = await rows.ledger.lockAccounts([...named]);
  const decision = decide(
    {
      accounts: new Map(accounts.map((each) => [each.accountId, each])),
      holds: new Map(),
      transfers: new Map(),
    },
    taken.map(({ one: { account, amountMinor, currency }, from }) => ({
      kind: 'transfer',
      transferId: uuidV7(now),
      currency,
      legs: [{ from, to: account, amountMinor, reason: 'recharge' }],
      promised: true,
    })),
  );
  const spans = taken.map(
    ({ traceparent }) =>
      traceparent &&
      tracer.startSpan('book recharge', {}, propagation.extract(ROOT_CONTEXT, { traceparent })),
  );
  await rows.ledger.write(decision, now);
  for (const span of spans) if (span) span.end();
  const booked = new Map(taken.map(({ index }, place) => [index, decision.answers[place]!]));
  return changes.map((change, index): Change<Recharge> | undefined => {
    const done = booked.get(index);
    if (done === undefined || change === undefined) return change;
    // Refused, and the money is at our bank: it stays undecided, is tried again, and the promise tells people.
    if (!done.ok)
      return { next: { ...answers[index]!.row.one, reason: 'BOOKING_REFUSED' }, againInMs: bookAgainMs };
    return { ...change, next: { ...change.next, transferId: done.id } };
  });
}
