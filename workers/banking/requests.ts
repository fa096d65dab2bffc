/** What happens to firm bankings, in one transaction each, and what people ask of them. */
import { sql } from 'kysely';
import { bytesOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { traceparentNow } from '../base/traceparent.ts';
import { putOffMs } from '../platform/due-work.ts';
import { isDue } from '../store/due.ts';
import { type OnceCall, once } from '../store/once.ts';
import { appendOutbox } from '../store/outbox.ts';
import { decidedRecord } from './events.ts';
import {
  afterCall,
  type Firmbanking,
  invalidity,
  isOpen,
  openStates,
  type Party,
  type RegisteredAccount,
  refusalOf,
  type Said,
  type State,
  stepOf,
  type Wish,
} from './firmbanking.ts';
import { accountRows, contractOf, type Db, momentsOf, type StoreOptions, type Trx } from './store.ts';

/** A request as it is asked: an account that is left out is our corporate one at the bank of the other. */
export type Asked = Omit<Wish, 'fromId' | 'toId'> & {
  readonly fromId?: string | undefined;
  readonly toId?: string | undefined;
};

/** A request whose time has come, taken by this process: nobody else is at it until its lease ends. */
export interface Claimed {
  readonly call: 'SEND' | 'ASK';
  readonly one: Firmbanking;
  readonly before: Firmbanking;
  readonly traceparent: string | undefined;
}

export interface Found {
  readonly one: Firmbanking;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | undefined;
  readonly nextTryAtMs: number | undefined;
}

export interface HistoryStep {
  readonly state: State;
  readonly reason: string | undefined;
  readonly called: 'SEND' | 'ASK' | undefined;
  readonly outcome: string | undefined;
  readonly atMs: number;
}

export type RequestStore = ReturnType<typeof requestStore>;

export function requestStore(options: StoreOptions) {
  const { database } = options;
  const { nowMs, dayOf, within } = momentsOf(options);
  return {
    /**
     * Accepts a request, or says why not; durable when it resolves. `keepsRefusal`: the key has one answer for good, so that a
     * request that comes late can never be accepted after its repeat was refused.
     */
    accept: (asked: Asked, call: OnceCall, { keepsRefusal = false } = {}) =>
      within((trx, now) =>
        once(
          trx,
          call,
          async () => {
            const wish = await wishOf(trx, asked);
            return 'ok' in wish ? wish : acceptWithin(trx, wish, { now, day: dayOf(now) });
          },
          ({ ok }) => ok || keepsRefusal,
        ),
      ),

    /** Banks that have a request whose time has come. */
    async banksWithDue(): Promise<readonly string[]> {
      const db = await database();
      const now = await nowMs(db);
      // The primary key of contracts, then a look at the first due row of each: no row of a bank without a contract is accepted.
      const { rows } = await sql<{ bank: string }>`
        SELECT bank FROM bank_contract AS c
        WHERE EXISTS (SELECT 1 FROM firmbanking AS f WHERE f.bank = c.bank AND ${isDue('f.due_at', now)})`.execute(
        db,
      );
      return rows.map(({ bank }) => bank);
    },

    /**
     * Takes requests of a bank whose time has come, and writes down what is about to be done before it is: who dies then
     * leaves a row that says so. `more`: there may be others.
     */
    claim: (
      bank: string,
      {
        bankDown,
        most,
        leaseMs,
      }: { readonly bankDown: boolean; readonly most: number; readonly leaseMs: number },
    ): Promise<{ readonly claimed: readonly Claimed[]; readonly more: boolean }> =>
      within((trx, now) => claimWithin(trx, { bank, bankDown, most, leaseMs, now })),

    /** Writes down how a call ended. Resolves to the state that it led to; undefined: to none. */
    finish: ({ call, one, before }: Claimed, said: Said): Promise<State | undefined> =>
      within(async (trx, now) => {
        const id = bytesOfUuid(one.firmbankingId);
        const [row] = await requestRows(trx, sql`firmbanking_id = ${id} FOR UPDATE`);
        if (row === undefined) return undefined;
        const after = afterCall(row.one, before, one.claim, call, said);
        if (after === undefined) {
          // It cost all the same.
          await rememberStep(trx, row.one, { call, outcome: said.outcome, now });
          return undefined;
        }
        await save(trx, row, after.next, { againInMs: after.againInMs, now, call, outcome: said.outcome });
        return after.next.state;
      }),

    async find(firmbankingId: string): Promise<Found | undefined> {
      const [row] = await requestRows(await database(), sql`firmbanking_id = ${bytesOfUuid(firmbankingId)}`);
      return row;
    },

    /** Those that an owner's accounts are in, the newest first, those before `before`. */
    async findOf(owner: string, { before, limit }: { readonly before: string; readonly limit: number }) {
      const below = bytesOfUuid(before);
      const page = (column: 'from_owner' | 'to_owner') => sql`
        (SELECT firmbanking_id FROM firmbanking WHERE ${sql.ref(column)} = ${owner} AND firmbanking_id < ${below}
         ORDER BY firmbanking_id DESC LIMIT ${limit})`;
      const db = await database();
      const { rows } = await sql<{ firmbanking_id: Buffer }>`
        ${page('from_owner')} UNION ${page('to_owner')} ORDER BY firmbanking_id DESC LIMIT ${limit}`.execute(
        db,
      );
      if (rows.length === 0) return [];
      const these = sql.join(rows.map(({ firmbanking_id: id }) => id));
      return requestRows(db, sql`firmbanking_id IN (${these}) ORDER BY firmbanking_id DESC`);
    },

    /** The newest, oldest first: as many as an answer has room for that services of ours read (workers/http/outgoing.ts). */
    async stepsOf(firmbankingId: string): Promise<readonly HistoryStep[]> {
      const { rows } = await sql<{
        state: State;
        reason: string | null;
        called: 'SEND' | 'ASK' | null;
        outcome: string | null;
        at: Date;
      }>`
        SELECT state, reason, called, outcome, at FROM (
          SELECT history_no, state, reason, called, outcome, at FROM firmbanking_history
          WHERE firmbanking_id = ${bytesOfUuid(firmbankingId)} ORDER BY history_no DESC LIMIT 300
        ) AS newest ORDER BY history_no`.execute(await database());
      return rows.map(({ state, reason, called, outcome, at }) => ({
        state,
        reason: reason ?? undefined,
        called: called ?? undefined,
        outcome: outcome ?? undefined,
        atMs: at.getTime(),
      }));
    },

    /** How many are not decided, by bank and state. */
    async undecided() {
      const { rows } = await sql<{ bank: string; state: State; n: number }>`
        SELECT bank, state, COUNT(*) AS n FROM firmbanking
        WHERE state IN (${sql.join([...openStates])}) GROUP BY bank, state`.execute(await database());
      return rows.map(({ bank, state, n }) => ({ bank, state, count: Number(n) }));
    },
  };
}

/** With our corporate account in the place that was left open. */
async function wishOf(trx: Trx, { fromId, toId, ...rest }: Asked): Promise<Wish | Refused> {
  if (fromId !== undefined && toId !== undefined) return { ...rest, fromId, toId };
  const named = (fromId ?? toId)!;
  const { rows } = await sql<{ id: Buffer | null }>`
    SELECT c.account_id AS id FROM bank_account AS a LEFT JOIN bank_corporate_account AS c ON c.bank = a.bank
    WHERE a.account_id = ${bytesOfUuid(named)}`.execute(trx);
  const [at] = rows;
  if (at === undefined)
    return refuse(404, 'MUSTER_BANK_ACCOUNT_UNKNOWN', 'no such bank account is registered', [
      { field: fromId === undefined ? 'toAccountId' : 'fromAccountId', reason: 'is not registered' },
    ]);
  if (at.id === null)
    return refuse(409, 'MUSTER_CORPORATE_ACCOUNT_MISSING', 'we have no corporate account at that bank');
  const ours = uuidOfBytes(at.id);
  return { ...rest, fromId: fromId ?? ours, toId: toId ?? ours };
}

async function acceptWithin(
  trx: Trx,
  wish: Wish,
  { now, day }: { readonly now: number; readonly day: string },
): Promise<{ readonly ok: true; readonly firmbankingId: string } | Refused> {
  const { fromId, toId, amountMinor, currency } = wish;
  // A lock that many may hold: our own account is in nearly all of them.
  const found = await accountRows(
    trx,
    sql`account_id IN (${bytesOfUuid(fromId)}, ${bytesOfUuid(toId)}) ORDER BY account_id LOCK IN SHARE MODE`,
  );
  const accounts = new Map<string, RegisteredAccount>(found.map((each) => [each.accountId, each]));
  const bank = accounts.get(fromId)?.bank ?? '';
  const contract = await contractOf(trx, bank);
  const usedMinor = contract === undefined ? 0 : await lockDay(trx, bank, day);
  const refused = refusalOf(wish, { accounts, contract, usedMinor, nowMs: now });
  if (refused !== undefined) return refused;
  const firmbankingId = uuidV7(now);
  const at = new Date(now);
  await sql`
    UPDATE bank_day SET used_minor = used_minor + ${amountMinor} WHERE bank = ${bank} AND day = ${day}`.execute(
    trx,
  );
  await sql`
    INSERT INTO firmbanking (firmbanking_id, bank, from_id, to_id, from_owner, to_owner, amount_minor, currency, state,
      may_be_known, fee_minor, tries, claim, due_at, day, requested_at, counts_from, traceparent)
    VALUES (${bytesOfUuid(firmbankingId)}, ${bank}, ${bytesOfUuid(fromId)}, ${bytesOfUuid(toId)},
      ${accounts.get(fromId)!.owner}, ${accounts.get(toId)!.owner}, ${amountMinor}, ${currency}, 'REQUESTED',
      FALSE, ${contract!.feeMinor}, 0, 0, ${at}, ${day}, ${at}, ${at}, ${traceparentNow() ?? null})`.execute(
    trx,
  );
  await rememberStep(trx, { firmbankingId, state: 'REQUESTED', reason: undefined }, { now });
  return { ok: true, firmbankingId };
}

/** What of a day is used. Its row is locked: writing it does that, also when it was there. */
async function lockDay(trx: Trx, bank: string, day: string): Promise<number> {
  await sql`
    INSERT INTO bank_day (bank, day, used_minor) VALUES (${bank}, ${day}, 0)
    ON DUPLICATE KEY UPDATE used_minor = bank_day.used_minor`.execute(trx);
  const { rows } = await sql<{ used: number | string }>`
    SELECT used_minor AS used FROM bank_day WHERE bank = ${bank} AND day = ${day}`.execute(trx);
  return Number(rows[0]!.used);
}

async function claimWithin(
  trx: Trx,
  {
    bank,
    bankDown,
    most,
    leaseMs,
    now,
  }: {
    readonly bank: string;
    readonly bankDown: boolean;
    readonly most: number;
    readonly leaseMs: number;
    readonly now: number;
  },
): Promise<{ readonly claimed: readonly Claimed[]; readonly more: boolean }> {
  const rows = await requestRows(
    trx,
    sql`bank = ${bank} AND ${isDue('due_at', now)} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`,
  );
  if (rows.length === 0) return { claimed: [], more: false };
  const contract = await contractOf(trx, bank);
  const why = invalidity(contract, now);
  const claimed: Claimed[] = [];
  const unchanged: Buffer[] = [];
  for (const row of rows) {
    const { call, next } = stepOf(row.one, { bankDown, contract: why });
    if (call === undefined) {
      if (next.state === row.one.state && next.reason === row.one.reason)
        unchanged.push(bytesOfUuid(next.firmbankingId));
      else await save(trx, row, next, { againInMs: isOpen(next) ? putOffMs : undefined, now });
      continue;
    }
    const one = call === 'SEND' && contract !== undefined ? { ...next, feeMinor: contract.feeMinor } : next;
    await save(trx, row, one, { againInMs: leaseMs, now });
    claimed.push({ call, one, before: row.one, traceparent: row.traceparent });
  }
  if (unchanged.length > 0)
    await sql`
      UPDATE firmbanking SET due_at = ${new Date(now + putOffMs)}
      WHERE firmbanking_id IN (${sql.join(unchanged)})`.execute(trx);
  return { claimed, more: rows.length === most };
}

interface Stored extends Found {
  readonly day: string;
  readonly traceparent: string | undefined;
}

/** Writes a request as it is from now on, with its history; when it is decided also its event, and its share of the day. */
async function save(
  trx: Trx,
  { one: before, day }: Stored,
  next: Firmbanking,
  {
    againInMs,
    now,
    call,
    outcome,
  }: {
    readonly againInMs: number | undefined;
    readonly now: number;
    readonly call?: 'SEND' | 'ASK';
    readonly outcome?: string;
  },
): Promise<void> {
  const at = new Date(now);
  const decided = !isOpen(next);
  const excused = before.state === 'WAITING' && before.reason === 'BANK_DOWN';
  await sql`
    UPDATE firmbanking SET state = ${next.state}, reason = ${next.reason ?? null}, may_be_known = ${next.mayBeKnown},
      decided_by = ${next.decidedBy ?? null}, fee_minor = ${next.feeMinor}, tries = ${next.tries}, claim = ${next.claim},
      due_at = ${againInMs === undefined ? null : new Date(now + againInMs)},
      decided_at = ${decided ? at : null},
      confirmed_at = ${next.decidedBy === 'US' ? at : null}
      ${excused ? sql`, counts_from = ${at}` : sql``}
    WHERE firmbanking_id = ${bytesOfUuid(next.firmbankingId)}`.execute(trx);
  await rememberStep(trx, next, { call, outcome, now });
  if (!decided) return;
  if (next.state === 'REJECTED')
    await sql`
      UPDATE bank_day SET used_minor = used_minor - ${next.amountMinor}
      WHERE bank = ${next.bank} AND day = ${day}`.execute(trx);
  await appendOutbox(trx, [decidedRecord(next, now)]);
}

const rememberStep = (
  trx: Trx,
  { firmbankingId, state, reason }: Pick<Firmbanking, 'firmbankingId' | 'state' | 'reason'>,
  {
    call,
    outcome,
    now,
  }: {
    readonly call?: 'SEND' | 'ASK' | undefined;
    readonly outcome?: string | undefined;
    readonly now: number;
  },
) =>
  sql`
    INSERT INTO firmbanking_history (firmbanking_id, state, reason, called, outcome, at)
    VALUES (${bytesOfUuid(firmbankingId)}, ${state}, ${reason ?? null}, ${call ?? null}, ${outcome ?? null},
      ${new Date(now)})`.execute(trx);

/** Requests, with the accounts that they are between: those are read without a lock, because what is asked of them never changes. */
async function requestRows(db: Db | Trx, where: ReturnType<typeof sql>): Promise<readonly Stored[]> {
  const { rows } = await sql<{
    firmbanking_id: Buffer;
    bank: string;
    from_id: Buffer;
    to_id: Buffer;
    amount_minor: number | string;
    currency: string;
    state: State;
    reason: string | null;
    may_be_known: number;
    decided_by: 'BANK' | 'US' | null;
    fee_minor: number | string;
    tries: number;
    claim: number;
    due_at: Date | null;
    day: string;
    requested_at: Date;
    decided_at: Date | null;
    traceparent: string | null;
  }>`
    SELECT firmbanking_id, bank, from_id, to_id, amount_minor, currency, state, reason, may_be_known, decided_by, fee_minor,
      tries, claim, due_at, CAST(day AS CHAR) AS day, requested_at, decided_at, traceparent
    FROM firmbanking WHERE ${where}`.execute(db);
  if (rows.length === 0) return [];
  const ids = new Map(
    rows.flatMap(({ from_id: from, to_id: to }) => [from, to]).map((id) => [uuidOfBytes(id), id]),
  );
  const accounts = await accountRows(db, sql`account_id IN (${sql.join([...ids.values()])})`);
  const parties = new Map<string, Party>(accounts.map((account) => [account.accountId, account]));
  return rows.map((row) => ({
    one: {
      firmbankingId: uuidOfBytes(row.firmbanking_id),
      bank: row.bank,
      from: parties.get(uuidOfBytes(row.from_id))!,
      to: parties.get(uuidOfBytes(row.to_id))!,
      amountMinor: Number(row.amount_minor),
      currency: row.currency,
      state: row.state,
      reason: row.reason ?? undefined,
      mayBeKnown: row.may_be_known === 1,
      decidedBy: row.decided_by ?? undefined,
      feeMinor: Number(row.fee_minor),
      tries: row.tries,
      claim: row.claim,
    },
    requestedAtMs: row.requested_at.getTime(),
    decidedAtMs: row.decided_at?.getTime(),
    nextTryAtMs: row.due_at?.getTime(),
    day: row.day,
    traceparent: row.traceparent ?? undefined,
  }));
}
