/** Slips as rows: claimed, and changed by what came of a call, in one transaction each. */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import { groups } from '../../catalog/groups.ts';
import { bytesOfUuid, bytesOrNull, uuidOfBytes } from '../base/ids.ts';
import {
  afterWord,
  bankDown,
  type Change,
  type Claimed,
  type EndTold,
  handledAs,
  isOpen,
  type Move,
  openStates,
  type State,
  type Word,
} from '../platform/move.ts';
import { databaseNowMs, transaction } from '../store/database.ts';
import { appendOutbox } from '../store/outbox.ts';
import { handleOnce, type Message } from '../store/queue-log.ts';
import { bookedRecord } from './events.ts';
import type { Slip } from './payment.ts';

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

/** A slip as it stands. */
export interface Found extends Claimed {
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | undefined;
  readonly own: Slip;
}

const idOf = (id: Buffer | null) => (id === null ? undefined : uuidOfBytes(id));

export function slipRows({
  database,
  clock,
}: {
  database(): Promise<Db>;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: (() => number) | undefined;
}) {
  const within = async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
    transaction(await database(), async (trx) => work(trx, clock?.() ?? (await databaseNowMs(trx))));

  /** The row after a word; when it has ended also what that means. */
  async function apply(
    trx: Trx,
    now: number,
    before: Found,
    asked: Move | undefined,
    word: Word,
  ): Promise<Change | undefined> {
    const change = afterWord(before.one, asked, word);
    if (change === undefined) return undefined;
    const { next, againInMs } = change;
    const at = new Date(now);
    const excused = before.one.waitsFor === bankDown && next.waitsFor !== bankDown;
    await sql`
      UPDATE slip SET state = ${next.state}, failure = ${next.failure ?? null}, waits_for = ${next.waitsFor ?? null},
        attempt = ${next.attempt}, recharge_minor = ${next.rechargeMinor ?? null},
        recharge_id = ${bytesOrNull(next.rechargeId)}, transfer_id = ${bytesOrNull(next.transferId)}, tries = ${next.tries},
        due_at = ${againInMs === undefined ? null : new Date(now + againInMs)},
        decided_at = ${isOpen(next) ? null : at}
        ${excused ? sql`, counts_from = ${at}` : sql``}
      WHERE slip_id = ${bytesOfUuid(next.id)}`.execute(trx);
    if (next.state === 'DONE') await appendOutbox(trx, [bookedRecord(next, before.own, now)]);
    // A refund that failed can be asked for again.
    if (next.state === 'FAILED' && before.own.kind === 'REFUND')
      await addRefunded(trx, before.own.paymentId, -next.amountMinor);
    return change;
  }

  return {
    within,
    read,

    /** Takes those whose time has come. What is about to be done is in their rows already. */
    claim: (most: number, leaseMs: number): Promise<readonly Claimed[]> =>
      within(async (trx, now) => {
        const rows = await read(
          trx,
          sql`due_at <= ${new Date(now)} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`,
        );
        if (rows.length === 0) return [];
        await sql`
          UPDATE slip SET claim = claim + 1, tries = tries + 1, due_at = ${new Date(now + leaseMs)}
          WHERE slip_id IN (${sql.join(rows.map(({ one }) => bytesOfUuid(one.id)))})`.execute(trx);
        return rows.map(({ one, traceparent }) => ({
          one: { ...one, claim: one.claim + 1, tries: one.tries + 1 },
          traceparent,
        }));
      }),

    /** Writes down what came of a call. */
    finish: ({ one }: Claimed, word: Word): Promise<Change | undefined> =>
      within(async (trx, now) => {
        const [row] = await read(trx, sql`slip_id = ${bytesOfUuid(one.id)} FOR UPDATE`);
        return row === undefined ? undefined : apply(trx, now, row, one, word);
      }),

    /** Writes down the end of a recharge or firm banking; one that is of no move here changes nothing. */
    told: ({ id, word }: EndTold, message: Message): Promise<Change | undefined> =>
      within((trx, now) =>
        handleOnce(
          trx,
          { group: groups.paymentEnds.id, message, usually: handledAs(undefined) },
          async () => {
            if (word.of !== 'RECHARGING') return undefined;
            const [row] = await read(trx, sql`recharge_id = ${bytesOfUuid(id)} FOR UPDATE`);
            return row === undefined ? undefined : apply(trx, now, row, undefined, word);
          },
          handledAs,
        ),
      ),

    async find(id: string): Promise<Found | undefined> {
      const [row] = await read(await database(), sql`slip_id = ${bytesOfUuid(id)}`);
      return row;
    },

    /** How many have not ended, by state. */
    async open(): Promise<ReadonlyMap<State, number>> {
      const { rows } = await sql<{ state: State; n: number }>`
        SELECT state, COUNT(*) AS n FROM slip WHERE state IN (${sql.join([...openStates])})
        GROUP BY state`.execute(await database());
      return new Map(rows.map(({ state, n }) => [state, Number(n)]));
    },
  };
}

/** The sum of a payment's refunds, under the lock of its row or of the refund's. */
export const addRefunded = (trx: Trx, paymentId: string, amountMinor: number) =>
  sql`
    UPDATE slip SET refunded_minor = refunded_minor + ${amountMinor}
    WHERE slip_id = ${bytesOfUuid(paymentId)}`.execute(trx);

const ours = 'house:merchants';

async function read(db: Db | Trx, where: RawBuilder<unknown>): Promise<readonly Found[]> {
  const { rows } = await sql<{
    slip_id: Buffer;
    kind: Slip['kind'];
    payment_id: Buffer;
    customer: string;
    merchant: string;
    amount_minor: number | string;
    currency: string;
    refunded_minor: number | string;
    recharge_from: Buffer | null;
    state: State;
    failure: string | null;
    waits_for: string | null;
    attempt: number;
    recharge_minor: number | string | null;
    recharge_id: Buffer | null;
    transfer_id: Buffer | null;
    tries: number;
    claim: number;
    requested_at: Date;
    decided_at: Date | null;
    traceparent: string | null;
  }>`
    SELECT slip_id, kind, payment_id, customer, merchant, amount_minor, currency, refunded_minor, recharge_from, state,
      failure, waits_for, attempt, recharge_minor, recharge_id, transfer_id, tries, claim, requested_at, decided_at,
      traceparent
    FROM slip WHERE ${where}`.execute(db);
  return rows.map((row): Found => {
    const isPayment = row.kind === 'PAYMENT';
    const one: Move = {
      id: uuidOfBytes(row.slip_id),
      sender: isPayment ? row.customer : ours,
      to: { member: isPayment ? ours : row.customer },
      amountMinor: Number(row.amount_minor),
      feeMinor: 0,
      currency: row.currency,
      rechargeFrom: idOf(row.recharge_from),
      state: row.state,
      failure: row.failure ?? undefined,
      waitsFor: row.waits_for ?? undefined,
      attempt: row.attempt,
      rechargeMinor: row.recharge_minor === null ? undefined : Number(row.recharge_minor),
      rechargeId: idOf(row.recharge_id),
      // Of what goes to banks.
      firmbankingId: undefined,
      holdId: undefined,
      feeHoldId: undefined,
      transferId: idOf(row.transfer_id),
      tries: row.tries,
      claim: row.claim,
    };
    return {
      one,
      requestedAtMs: row.requested_at.getTime(),
      decidedAtMs: row.decided_at?.getTime(),
      traceparent: row.traceparent ?? undefined,
      own: {
        kind: row.kind,
        paymentId: uuidOfBytes(row.payment_id),
        customer: row.customer,
        merchant: row.merchant,
        refundedMinor: Number(row.refunded_minor),
      },
    };
  });
}
