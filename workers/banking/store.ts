/** Bank accounts and contracts in SQL. */
import { type Kysely, sql, type Transaction } from 'kysely';
import { daysOf } from '../base/days.ts';
import { bytesOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { databaseNowMs, transaction } from '../store/database.ts';
import { answeredBefore, type OnceCall, once } from '../store/once.ts';
import { plainNumber } from './account-number.ts';
import { type BankAccountState, type Contract, house, invalidity, refuseContract } from './firmbanking.ts';

export type Db = Kysely<unknown>;
export type Trx = Transaction<unknown>;

export interface StoreOptions {
  database(): Promise<Db>;
  /** In which a day of a contract begins and ends (IANA). */
  readonly timeZone: string;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}

export interface Account {
  readonly accountId: string;
  readonly owner: string;
  readonly bank: string;
  readonly accountNumber: string;
  readonly currency: string;
  readonly state: BankAccountState;
  readonly registeredAtMs: number;
  readonly closedAtMs: number | undefined;
}

/** What the stores share: the time that counts, its day, and transactions that are told it. */
export function momentsOf({ database, timeZone, clock }: StoreOptions) {
  const { dayOf } = daysOf(timeZone);
  const nowMs = async (db: Db | Trx): Promise<number> => clock?.() ?? databaseNowMs(db);
  return {
    nowMs,
    /** YYYY-MM-DD. */
    dayOf,
    within: async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
      transaction(await database(), async (trx) => work(trx, await nowMs(trx))),
  };
}

export type AccountStore = ReturnType<typeof accountStore>;

export function accountStore(options: StoreOptions) {
  const { database } = options;
  const { nowMs, dayOf, within } = momentsOf(options);
  return {
    // ---- accounts

    /** The answer of a registration or a closing that was made before under this key. Throws as once() does. */
    answeredBefore: async <T>(call: OnceCall): Promise<T | undefined> =>
      answeredBefore<T>(await database(), call),

    /** Registers an account that the bank has said is in order; one that is only paid to as often as somebody likes. */
    registerAccount: (
      account: Pick<Account, 'owner' | 'bank' | 'accountNumber' | 'currency'>,
      state: Exclude<BankAccountState, 'CLOSED'>,
      by: string,
      call: OnceCall,
    ) =>
      within((trx, now) =>
        once(
          trx,
          call,
          async (): Promise<{ readonly ok: true; readonly accountId: string } | Refused> => {
            const accountId = uuidV7(now);
            const { owner, bank, accountNumber, currency } = account;
            const registered = refuse(
              409,
              'MUSTER_BANK_ACCOUNT_REGISTERED',
              'this bank account is registered already',
            );
            const isTaken = owner === house ? isInUse : isOurs;
            if (await isTaken(trx, bank, accountNumber)) return registered;
            await sql`
              INSERT INTO bank_account (account_id, owner, bank, account_number, currency, state, registered_at)
              VALUES (${bytesOfUuid(accountId)}, ${owner}, ${bank}, ${accountNumber}, ${currency}, ${state},
                ${new Date(now)})
              ON DUPLICATE KEY UPDATE account_id = bank_account.account_id`.execute(trx);
            const [made] = await accountRows(trx, sql`account_id = ${bytesOfUuid(accountId)}`);
            if (made === undefined) return registered;
            const became = { state, owner, bank, currency };
            await remember(trx, { kind: 'ACCOUNT', subject: accountId, became, by, now });
            return { ok: true, accountId };
          },
          ({ ok }) => ok,
        ),
      ),

    /** Closes an account of that owner (undefined: anybody's); what was accepted before still goes on. */
    closeAccount: (accountId: string, owner: string | undefined, by: string, call: OnceCall) =>
      within((trx, now) =>
        once(
          trx,
          call,
          async (): Promise<{ readonly ok: true } | Refused> => {
            const [account] = await accountRows(trx, sql`account_id = ${bytesOfUuid(accountId)} FOR UPDATE`);
            if (account === undefined || (owner !== undefined && account.owner !== owner))
              return refuse(404, 'MUSTER_BANK_ACCOUNT_UNKNOWN', 'no such bank account is registered');
            if (account.state !== 'CLOSED') await closeWithin(trx, accountId, by, now);
            return { ok: true };
          },
          ({ ok }) => ok,
        ),
      ),

    /** The newest 200, oldest first. */
    accountsOf: async (owner: string): Promise<readonly Account[]> =>
      (
        await accountRows(await database(), sql`owner = ${owner} ORDER BY account_id DESC LIMIT 200`)
      ).toReversed(),

    findAccount: async (accountId: string): Promise<Account | undefined> =>
      (await accountRows(await database(), sql`account_id = ${bytesOfUuid(accountId)}`))[0],

    /** The newest 1,000 changes of an account or a contract, oldest first. */
    async historyOf(kind: 'ACCOUNT' | 'CONTRACT', subject: string) {
      const { rows } = await sql<{ became: string; changed_by: string; changed_at: Date }>`
        SELECT became, changed_by, changed_at FROM bank_history
        WHERE kind = ${kind} AND subject = ${subject} ORDER BY history_no DESC LIMIT 1000`.execute(
        await database(),
      );
      return rows.toReversed().map(({ became, changed_by: by, changed_at: at }) => ({
        became: JSON.parse(became) as Record<string, unknown>,
        changedBy: by,
        changedAt: at.toISOString(),
      }));
    },

    // ---- contracts

    setContract: (contract: Contract, by: string, call: OnceCall) =>
      within((trx, now) =>
        once(trx, call, async (): Promise<Contract> => {
          const { bank, state, expiresAtMs, currency, feeMinor, callLimitMinor, dayLimitMinor } = contract;
          await sql`
            INSERT INTO bank_contract
              (bank, state, expires_at, currency, fee_minor, call_limit_minor, day_limit_minor, version)
            VALUES (${bank}, ${state}, ${new Date(expiresAtMs)}, ${currency}, ${feeMinor}, ${callLimitMinor},
              ${dayLimitMinor}, 1)
            ON DUPLICATE KEY UPDATE state = VALUES(state), expires_at = VALUES(expires_at),
              currency = VALUES(currency), fee_minor = VALUES(fee_minor),
              call_limit_minor = VALUES(call_limit_minor), day_limit_minor = VALUES(day_limit_minor),
              version = version + 1`.execute(trx);
          const { bank: _, ...became } = contract;
          await remember(trx, { kind: 'CONTRACT', subject: bank, became, by, now });
          return contract;
        }),
      ),

    /** Makes an account of ours the one at its bank where the money of members lies; what was accepted before goes by the old one. */
    setCorporateAccount: (bank: string, accountId: string, by: string, call: OnceCall) =>
      within((trx, now) =>
        once(
          trx,
          call,
          async (): Promise<{ readonly ok: true } | Refused> => {
            const [account] = await accountRows(trx, sql`account_id = ${bytesOfUuid(accountId)} FOR UPDATE`);
            if (account?.owner !== house || account.bank !== bank)
              return refuse(404, 'MUSTER_BANK_ACCOUNT_UNKNOWN', 'no such account of ours is at that bank');
            if (account.state !== 'OPEN')
              return refuse(409, 'MUSTER_BANK_ACCOUNT_CLOSED', 'the bank account was closed here');
            await sql`
              INSERT INTO bank_corporate_account (bank, account_id) VALUES (${bank}, ${bytesOfUuid(accountId)})
              ON DUPLICATE KEY UPDATE account_id = VALUES(account_id)`.execute(trx);
            const became = { corporateAccountId: accountId };
            await remember(trx, { kind: 'CONTRACT', subject: bank, became, by, now });
            return { ok: true };
          },
          ({ ok }) => ok,
        ),
      ),

    /** Undefined: the bank may be asked; else the refusal that says why not. */
    async refusedBank(bank: string): Promise<Refused | undefined> {
      const db = await database();
      const why = invalidity(await contractOf(db, bank), await nowMs(db));
      return why === undefined ? undefined : refuseContract(why);
    },

    async contracts(): Promise<
      readonly (Contract & { readonly usedMinor: number; readonly corporateAccountId: string | undefined })[]
    > {
      const db = await database();
      const day = dayOf(await nowMs(db));
      const { rows } = await sql<StoredContract & { used: number | null; corporate: Buffer | null }>`
        SELECT ${contractColumns}, used_minor AS used, o.account_id AS corporate FROM bank_contract AS c
        LEFT JOIN bank_corporate_account AS o ON o.bank = c.bank
        LEFT JOIN bank_day AS d ON d.bank = c.bank AND d.day = ${day} ORDER BY c.bank`.execute(db);
      return rows.map((row) => ({
        ...contractIn(row),
        usedMinor: Number(row.used ?? 0),
        corporateAccountId: row.corporate === null ? undefined : uuidOfBytes(row.corporate),
      }));
    },

    /** Of calls that were executed from then on and before then, by bank and currency. */
    async fees(fromMs: number, toMs: number) {
      const { rows } = await sql<{ bank: string; currency: string; calls: number; fee: number | string }>`
        SELECT bank, currency, COUNT(*) AS calls, SUM(fee_minor) AS fee FROM firmbanking
        WHERE state = 'EXECUTED' AND decided_at >= ${new Date(fromMs)} AND decided_at < ${new Date(toMs)}
        GROUP BY bank, currency ORDER BY bank, currency`.execute(await database());
      return rows.map(({ bank, currency, calls, fee }) => ({
        bank,
        calls: Number(calls),
        fees: { amountMinor: Number(fee), currency },
      }));
    },
  };
}

/** Closes an account whose row is locked, and is not closed. */
export async function closeWithin(trx: Trx, accountId: string, by: string, now: number): Promise<void> {
  await sql`
    UPDATE bank_account SET state = 'CLOSED', closed_at = ${new Date(now)}
    WHERE account_id = ${bytesOfUuid(accountId)}`.execute(trx);
  await remember(trx, { kind: 'ACCOUNT', subject: accountId, became: { state: 'CLOSED' }, by, now });
}

/** Whether a number is that of an account of ours, however it is written: nobody takes from that, or is paid there. */
async function isOurs(trx: Trx, bank: string, accountNumber: string): Promise<boolean> {
  // Also one that was closed here: at the bank it is still ours.
  const ours = await accountRows(trx, sql`owner = ${house} AND bank = ${bank}`);
  return ours.some((each) => plainNumber(each.accountNumber) === plainNumber(accountNumber));
}

/** Whether somebody takes from a number, however it is written: an account of ours is nobody else's. */
async function isInUse(trx: Trx, bank: string, accountNumber: string): Promise<boolean> {
  const open = await accountRows(trx, sql`bank = ${bank} AND open_plain = ${plainNumber(accountNumber)}`);
  return open.length > 0;
}

type Change = {
  readonly kind: 'ACCOUNT' | 'CONTRACT';
  readonly subject: string;
  readonly became: object;
  readonly by: string;
  readonly now: number;
};

const remember = (trx: Trx, { kind, subject, became, by, now }: Change) =>
  sql`
    INSERT INTO bank_history (kind, subject, became, changed_by, changed_at)
    VALUES (${kind}, ${subject}, ${JSON.stringify(became)}, ${by}, ${new Date(now)})`.execute(trx);

interface StoredContract {
  readonly bank: string;
  readonly state: Contract['state'];
  readonly expires_at: Date;
  readonly currency: string;
  readonly fee_minor: number | string;
  readonly call_limit_minor: number | string;
  readonly day_limit_minor: number | string;
}

const contractColumns = sql`c.bank, c.state, c.expires_at, c.currency, c.fee_minor, c.call_limit_minor, c.day_limit_minor`;

const contractIn = (row: StoredContract): Contract => ({
  bank: row.bank,
  state: row.state,
  expiresAtMs: row.expires_at.getTime(),
  currency: row.currency,
  feeMinor: Number(row.fee_minor),
  callLimitMinor: Number(row.call_limit_minor),
  dayLimitMinor: Number(row.day_limit_minor),
});

export async function contractOf(db: Db | Trx, bank: string): Promise<Contract | undefined> {
  const { rows } = await sql<StoredContract>`
    SELECT ${contractColumns} FROM bank_contract AS c WHERE c.bank = ${bank}`.execute(db);
  return rows[0] === undefined ? undefined : contractIn(rows[0]);
}

export async function accountRows(db: Db | Trx, where: ReturnType<typeof sql>): Promise<readonly Account[]> {
  const { rows } = await sql<{
    account_id: Buffer;
    owner: string;
    bank: string;
    account_number: string;
    currency: string;
    state: Account['state'];
    registered_at: Date;
    closed_at: Date | null;
  }>`
    SELECT account_id, owner, bank, account_number, currency, state, registered_at, closed_at
    FROM bank_account WHERE ${where}`.execute(db);
  return rows.map((row) => ({
    accountId: uuidOfBytes(row.account_id),
    owner: row.owner,
    bank: row.bank,
    accountNumber: row.account_number,
    currency: row.currency,
    state: row.state,
    registeredAtMs: row.registered_at.getTime(),
    closedAtMs: row.closed_at?.getTime(),
  }));
}
