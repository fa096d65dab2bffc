/** What happens to remittances, in one transaction each or for many, and what people ask of them. */
import { context, propagation } from '@opentelemetry/api';
import { type Kysely, sql, type Transaction } from 'kysely';
import { bytesOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { databaseNowMs, transaction } from '../store/database.ts';
import { type OnceCall, once } from '../store/once.ts';
import { appendOutbox } from '../store/outbox.ts';
import { decidedRecord, type EndTold } from './events.ts';
import {
  afterWord,
  bankDown,
  type Change,
  firstState,
  isOpen,
  openStates,
  type Remittance,
  type State,
  type Word,
} from './remittance.ts';

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

export type Wish = Pick<
  Remittance,
  'sender' | 'to' | 'amountMinor' | 'feeMinor' | 'currency' | 'rechargeFrom'
>;

export interface Found {
  readonly one: Remittance;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | undefined;
  /** Of the request that made it. */
  readonly traceparent: string | undefined;
}

/** A remittance whose time has come, taken by this process: nobody else is at it until its lease ends. */
export interface Claimed {
  readonly one: Remittance;
  readonly traceparent: string | undefined;
}

export type RemittanceStore = ReturnType<typeof remittanceStore>;

export function remittanceStore({
  database,
  clock,
}: {
  database(): Promise<Db>;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}) {
  const within = async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
    transaction(await database(), async (trx) => work(trx, clock?.() ?? (await databaseNowMs(trx))));

  return {
    /** Accepts a remittance; durable when it resolves to its id. */
    accept: (wish: Wish, call: OnceCall): Promise<string> =>
      within((trx, now) => once(trx, call, () => insert(trx, wish, now))),

    /** Takes remittances whose time has come. What is about to be done is in their rows already. */
    claim: (most: number, leaseMs: number): Promise<readonly Claimed[]> =>
      within(async (trx, now) => {
        const rows = await remittanceRows(
          trx,
          sql`due_at <= ${new Date(now)} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`,
        );
        if (rows.length === 0) return [];
        await sql`
          UPDATE remittance SET claim = claim + 1, tries = tries + 1, due_at = ${new Date(now + leaseMs)}
          WHERE remittance_id IN (${sql.join(rows.map(({ one }) => bytesOfUuid(one.remittanceId)))})`.execute(
          trx,
        );
        return rows.map(({ one, traceparent }) => ({
          one: { ...one, claim: one.claim + 1, tries: one.tries + 1 },
          traceparent,
        }));
      }),

    /** Writes down what came of a call. */
    finish: ({ one }: Claimed, word: Word): Promise<Change | undefined> =>
      within(async (trx, now) => {
        const id = bytesOfUuid(one.remittanceId);
        const [row] = await remittanceRows(trx, sql`remittance_id = ${id} FOR UPDATE`);
        return row === undefined ? undefined : apply(trx, now, row, one.claim, word);
      }),

    /** Writes down the end of a recharge or firm banking; one that is of no remittance changes nothing. */
    told: ({ id, word }: EndTold): Promise<Change | undefined> =>
      within(async (trx, now) => {
        const column = sql.ref(word.of === 'RECHARGING' ? 'recharge_id' : 'firmbanking_id');
        const [row] = await remittanceRows(trx, sql`${column} = ${bytesOfUuid(id)} FOR UPDATE`);
        return row === undefined ? undefined : apply(trx, now, row, undefined, word);
      }),

    async find(remittanceId: string): Promise<Found | undefined> {
      const [row] = await remittanceRows(await database(), sql`remittance_id = ${bytesOfUuid(remittanceId)}`);
      return row;
    },

    /** In any order. */
    findAll: async (ids: readonly string[]): Promise<readonly Found[]> =>
      ids.length === 0
        ? []
        : remittanceRows(await database(), sql`remittance_id IN (${sql.join(ids.map(bytesOfUuid))})`),

    /** Those of a sender, the newest first, those before `before`. */
    findOf: async (
      sender: string,
      { before, limit }: { readonly before: string; readonly limit: number },
    ): Promise<readonly Found[]> =>
      remittanceRows(
        await database(),
        sql`sender = ${sender} AND remittance_id < ${bytesOfUuid(before)} ORDER BY remittance_id DESC LIMIT ${limit}`,
      ),

    /** How many have not ended, by state. */
    async open(): Promise<ReadonlyMap<State, number>> {
      const { rows } = await sql<{ state: State; n: number }>`
        SELECT state, COUNT(*) AS n FROM remittance WHERE state IN (${sql.join([...openStates])})
        GROUP BY state`.execute(await database());
      return new Map(rows.map(({ state, n }) => [state, Number(n)]));
    },
  };
}

async function insert(
  trx: Trx,
  { sender, to, amountMinor, feeMinor, currency, rechargeFrom }: Wish,
  now: number,
): Promise<string> {
  const remittanceId = uuidV7(now);
  const at = new Date(now);
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  await sql`
    INSERT INTO remittance (remittance_id, sender, receiver, to_account_id, amount_minor, fee_minor, currency, recharge_from,
      state, attempt, tries, claim, due_at, requested_at, counts_from, traceparent)
    VALUES (${bytesOfUuid(remittanceId)}, ${sender}, ${'member' in to ? to.member : null},
      ${'member' in to ? null : bytesOfUuid(to.bankAccountId)}, ${amountMinor}, ${feeMinor}, ${currency},
      ${bytesOr(rechargeFrom)}, ${firstState({ to })}, 1, 0, 0, ${at}, ${at}, ${at}, ${carrier.traceparent ?? null})`.execute(
    trx,
  );
  return remittanceId;
}

const bytesOr = (id: string | undefined) => (id === undefined ? null : bytesOfUuid(id));

/** The row after a word; when it has ended also its event. */
async function apply(
  trx: Trx,
  now: number,
  { one: before }: Found,
  claim: number | undefined,
  word: Word,
): Promise<Change | undefined> {
  const change = afterWord(before, claim, word);
  if (change === undefined) return undefined;
  const { next, againInMs } = change;
  const at = new Date(now);
  const excused = before.waitsFor === bankDown && next.waitsFor !== bankDown;
  await sql`
    UPDATE remittance SET state = ${next.state}, failure = ${next.failure ?? null}, waits_for = ${next.waitsFor ?? null},
      attempt = ${next.attempt}, recharge_minor = ${next.rechargeMinor ?? null}, recharge_id = ${bytesOr(next.rechargeId)},
      firmbanking_id = ${bytesOr(next.firmbankingId)}, hold_id = ${bytesOr(next.holdId)},
      fee_hold_id = ${bytesOr(next.feeHoldId)}, transfer_id = ${bytesOr(next.transferId)}, tries = ${next.tries},
      due_at = ${againInMs === undefined ? null : new Date(now + againInMs)},
      decided_at = ${isOpen(next) ? null : at}
      ${excused ? sql`, counts_from = ${at}` : sql``}
    WHERE remittance_id = ${bytesOfUuid(next.remittanceId)}`.execute(trx);
  if (!isOpen(next)) await appendOutbox(trx, [decidedRecord(next, now)]);
  return change;
}

async function remittanceRows(db: Db | Trx, where: ReturnType<typeof sql>): Promise<readonly Found[]> {
  const { rows } = await sql<{
    remittance_id: Buffer;
    sender: string;
    receiver: string | null;
    to_account_id: Buffer | null;
    amount_minor: number | string;
    fee_minor: number | string;
    currency: string;
    recharge_from: Buffer | null;
    state: State;
    failure: string | null;
    waits_for: string | null;
    attempt: number;
    recharge_minor: number | string | null;
    recharge_id: Buffer | null;
    firmbanking_id: Buffer | null;
    hold_id: Buffer | null;
    fee_hold_id: Buffer | null;
    transfer_id: Buffer | null;
    tries: number;
    claim: number;
    requested_at: Date;
    decided_at: Date | null;
    traceparent: string | null;
  }>`
    SELECT remittance_id, sender, receiver, to_account_id, amount_minor, fee_minor, currency, recharge_from, state, failure,
      waits_for, attempt, recharge_minor, recharge_id, firmbanking_id, hold_id, fee_hold_id, transfer_id, tries, claim,
      requested_at, decided_at, traceparent
    FROM remittance WHERE ${where}`.execute(db);
  const idOf = (id: Buffer | null) => (id === null ? undefined : uuidOfBytes(id));
  return rows.map((row) => ({
    one: {
      remittanceId: uuidOfBytes(row.remittance_id),
      sender: row.sender,
      to:
        row.receiver === null ? { bankAccountId: uuidOfBytes(row.to_account_id!) } : { member: row.receiver },
      amountMinor: Number(row.amount_minor),
      feeMinor: Number(row.fee_minor),
      currency: row.currency,
      rechargeFrom: idOf(row.recharge_from),
      state: row.state,
      failure: row.failure ?? undefined,
      waitsFor: row.waits_for ?? undefined,
      attempt: row.attempt,
      rechargeMinor: row.recharge_minor === null ? undefined : Number(row.recharge_minor),
      rechargeId: idOf(row.recharge_id),
      firmbankingId: idOf(row.firmbanking_id),
      holdId: idOf(row.hold_id),
      feeHoldId: idOf(row.fee_hold_id),
      transferId: idOf(row.transfer_id),
      tries: row.tries,
      claim: row.claim,
    },
    requestedAtMs: row.requested_at.getTime(),
    decidedAtMs: row.decided_at?.getTime(),
    traceparent: row.traceparent ?? undefined,
  }));
}
