/**
 * Banks outside, with books of their own, and how they can be told to misbehave. Pure: clock and journal are passed in.
 * A transfer is booked by double entry, so all balances of a currency sum to zero; what a bank has decided under an id is its
 * answer to that id for good.
 */
import { type Static, Type } from 'typebox';

export const transferOrder = Type.Object(
  {
    from: Type.String({ minLength: 1, maxLength: 34 }),
    to: Type.Object({
      bank: Type.String({ minLength: 1, maxLength: 30 }),
      accountNumber: Type.String({ minLength: 1, maxLength: 34 }),
    }),
    amountMinor: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
    currency: Type.String({ pattern: '^[A-Z]{3}$' }),
  },
  { additionalProperties: false },
);
export type TransferOrder = Static<typeof transferOrder>;

export const bankModes = [
  'ok',
  'down',
  'hang',
  'slow',
  'late',
  'lose-answer',
  'cut',
  'twice',
  'reject',
  'no-contract',
  'wrong-amount',
] as const;

export const bankBehaviour = Type.Object(
  {
    mode: Type.Enum([...bankModes], {
      description:
        'down: every call is answered 503 and not worked on. hang: no call is answered or worked on. Transfers only: slow: works, answers after `delayMs`; late: works after `delayMs`, then answers; lose-answer: works, then cuts the connection; cut: cuts it without working; twice: works on each order twice, as if it had come twice; reject: with `reason`; no-contract: rejects, the contract has ended; wrong-amount: books one unit more than it was told.',
    }),
    delayMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 600_000, description: 'default 2000' })),
    reason: Type.Optional(Type.String({ pattern: '^[A-Z_]{1,60}$', description: 'default BANK_REFUSES' })),
    first: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'only for the first so many orders of each Idempotency-Key; ok from then on',
      }),
    ),
  },
  { additionalProperties: false },
);
export type BankBehaviour = Static<typeof bankBehaviour>;

export type AccountState = 'NORMAL' | 'FROZEN' | 'CLOSED';

export interface BankAccount {
  readonly state: AccountState;
  readonly currency: string;
  readonly balanceMinor: number;
}

export interface Transfer extends TransferOrder {
  readonly transferId: string;
  readonly state: 'EXECUTED' | 'REJECTED';
  readonly reason?: string;
  /** When it was decided, UTC ms by the bank's clock. */
  readonly atMs: number;
}

/** What a journal keeps, in order: from it the books are made again. */
export type JournalEntry =
  | {
      readonly kind: 'account';
      readonly bank: string;
      readonly accountNumber: string;
      readonly state: AccountState;
      readonly currency: string;
      readonly depositMinor: number;
    }
  | { readonly kind: 'transfer'; readonly bank: string; readonly transfer: Transfer };

interface Bank {
  readonly accounts: Map<string, BankAccount>;
  /** Of the other side: the vault, and what is owed to and by other banks. */
  readonly others: Map<string, number>;
  readonly transfers: Map<string, Transfer>;
  readonly statement: Transfer[];
  behaviour: BankBehaviour;
}

export type Decided =
  | { readonly kind: 'decided'; readonly transfer: Transfer }
  /** The id was used with another order. */
  | { readonly kind: 'conflict' };

export type OutsideBanks = ReturnType<typeof outsideBanks>;

/** @param keep writes an entry down for good, before anybody is told of it */
export function outsideBanks(keep: (entry: JournalEntry) => void) {
  const banks = new Map<string, Bank>();
  function bankOf(name: string): Bank {
    let bank = banks.get(name);
    if (bank === undefined) {
      bank = {
        accounts: new Map(),
        others: new Map(),
        transfers: new Map(),
        statement: [],
        behaviour: { mode: 'ok' },
      };
      banks.set(name, bank);
    }
    return bank;
  }

  function add(bank: Bank, accountNumber: string, amountMinor: number): void {
    const account = bank.accounts.get(accountNumber)!;
    bank.accounts.set(accountNumber, { ...account, balanceMinor: account.balanceMinor + amountMinor });
  }
  const addOther = (bank: Bank, name: string, amountMinor: number) =>
    bank.others.set(name, (bank.others.get(name) ?? 0) + amountMinor);

  function apply(entry: JournalEntry): void {
    const bank = bankOf(entry.bank);
    if (entry.kind === 'account') {
      const { accountNumber, state, currency, depositMinor } = entry;
      const balanceMinor = bank.accounts.get(accountNumber)?.balanceMinor ?? 0;
      bank.accounts.set(accountNumber, { state, currency, balanceMinor });
      add(bank, accountNumber, depositMinor);
      addOther(bank, `vault:${currency}`, -depositMinor);
      return;
    }
    const { transfer } = entry;
    bank.transfers.set(transfer.transferId, transfer);
    bank.statement.push(transfer);
    if (transfer.state === 'REJECTED') return;
    const { from, to, amountMinor, currency } = transfer;
    add(bank, from, -amountMinor);
    const receiver = bankOf(to.bank);
    if (receiver !== bank) {
      addOther(bank, `owed:${to.bank}:${currency}`, amountMinor);
      addOther(receiver, `owed:${entry.bank}:${currency}`, -amountMinor);
    }
    add(receiver, to.accountNumber, amountMinor);
  }

  function write(entry: JournalEntry): void {
    keep(entry);
    apply(entry);
  }

  function refusalOf(bank: Bank, { from, to, amountMinor, currency }: TransferOrder): string | undefined {
    const sender = bank.accounts.get(from);
    const receiver = banks.get(to.bank)?.accounts.get(to.accountNumber);
    if (sender === undefined) return 'SENDER_UNKNOWN';
    if (sender.state !== 'NORMAL') return `SENDER_${sender.state}`;
    if (receiver === undefined) return 'RECEIVER_UNKNOWN';
    if (receiver.state !== 'NORMAL') return `RECEIVER_${receiver.state}`;
    if (sender.currency !== currency || receiver.currency !== currency) return 'CURRENCIES_DIFFER';
    return sender.balanceMinor < amountMinor ? 'MONEY_SHORT' : undefined;
  }

  return {
    /** Makes the books from a journal. */
    replay: apply,

    behaviourOf: (bank: string): BankBehaviour => bankOf(bank).behaviour,
    behave(bank: string, behaviour: BankBehaviour): void {
      bankOf(bank).behaviour = behaviour;
    },

    account: (bank: string, accountNumber: string): BankAccount | undefined =>
      banks.get(bank)?.accounts.get(accountNumber),

    /** Opens an account or changes its state; `depositMinor` comes from the vault. */
    setAccount(
      bank: string,
      accountNumber: string,
      wanted: { readonly state: AccountState; readonly currency: string; readonly depositMinor: number },
    ): BankAccount {
      const currency = bankOf(bank).accounts.get(accountNumber)?.currency ?? wanted.currency;
      write({ kind: 'account', bank, accountNumber, ...wanted, currency });
      return bankOf(bank).accounts.get(accountNumber)!;
    },

    transfer: (bank: string, transferId: string): Transfer | undefined =>
      banks.get(bank)?.transfers.get(transferId),

    /** Decides an order, once per id; `misbehave`: what is wrong with the bank just now. */
    order(
      name: string,
      transferId: string,
      order: TransferOrder,
      { atMs, misbehave }: { readonly atMs: number; readonly misbehave: BankBehaviour },
    ): Decided {
      const bank = bankOf(name);
      const before = bank.transfers.get(transferId);
      if (before !== undefined) {
        const { from, to, amountMinor, currency } = order;
        const isSame =
          before.from === from &&
          before.to.bank === to.bank &&
          before.to.accountNumber === to.accountNumber &&
          before.currency === currency &&
          (before.amountMinor === amountMinor || misbehave.mode === 'wrong-amount');
        return isSame ? { kind: 'decided', transfer: before } : { kind: 'conflict' };
      }
      const forced =
        misbehave.mode === 'reject'
          ? (misbehave.reason ?? 'BANK_REFUSES')
          : misbehave.mode === 'no-contract'
            ? 'CONTRACT_ENDED'
            : undefined;
      const booked =
        misbehave.mode === 'wrong-amount' ? { ...order, amountMinor: order.amountMinor + 1 } : order;
      const reason = forced ?? refusalOf(bank, booked);
      const transfer: Transfer = {
        ...booked,
        transferId,
        state: reason === undefined ? 'EXECUTED' : 'REJECTED',
        ...(reason === undefined ? {} : { reason }),
        atMs,
      };
      write({ kind: 'transfer', bank: name, transfer });
      return { kind: 'decided', transfer };
    },

    /** Transfers decided since then, oldest first, from the `after`-th of the bank's on. */
    statement(
      bank: string,
      { sinceMs, after, limit }: { readonly sinceMs: number; readonly after: number; readonly limit: number },
    ): { readonly entries: readonly Transfer[]; readonly next: number | undefined } {
      const all = banks.get(bank)?.statement ?? [];
      const entries: Transfer[] = [];
      for (let at = after; at < all.length; at++) {
        if (all[at]!.atMs < sinceMs) continue;
        if (entries.length === limit) return { entries, next: at };
        entries.push(all[at]!);
      }
      return { entries, next: undefined };
    },

    /** What everything at all banks sums to; zero, or the books are wrong. */
    sum: (): number =>
      [...banks.values()]
        .flatMap(({ accounts, others }) => [
          ...[...accounts.values()].map(({ balanceMinor }) => balanceMinor),
          ...others.values(),
        ])
        .reduce((total, minor) => total + minor, 0),
  };
}
