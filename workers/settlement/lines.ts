/** Lines on their way, in SQL: what happens to them in one transaction each, and what people ask of them. */
import { type Kysely, sql, type Transaction } from 'kysely';
import { groups } from '../../catalog/groups.ts';
import { bytesOfUuid, bytesOrNull, uuidOfBytes } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { bankDown } from '../platform/due-work.ts';
import { handledAs } from '../platform/sagas.ts';
import { databaseNowMs, nextDueInMs, transaction } from '../store/database.ts';
import { isDue, unlessAhead } from '../store/due.ts';
import { type OnceCall, once } from '../store/once.ts';
import { type Handled, handleOnce, type Message } from '../store/queue-log.ts';
import { carryInto, lineKey, takeCarried } from './carried.ts';
import {
  afterWord,
  type Change,
  dayIsFull,
  isOpen,
  type Line,
  refundedSince,
  retried,
  type State,
  states,
  type Word,
  withCarried,
} from './settlement.ts';

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

export interface LineFound {
  readonly line: Line;
  readonly madeAtMs: number;
  readonly endedAtMs: number | undefined;
}

export type LineStore = ReturnType<typeof lineStore>;

export function lineStore({
  database,
  nextDayMs,
  clock,
}: {
  database(): Promise<Db>;
  /** When the day after that of a moment begins, UTC ms. */
  nextDayMs(ms: number): number;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}) {
  const within = async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
    transaction(await database(), async (trx) => work(trx, clock?.() ?? (await databaseNowMs(trx))));

  async function apply(
    trx: Trx,
    now: number,
    where: ReturnType<typeof sql>,
    claim: number | undefined,
    word: Word,
  ): Promise<Change | undefined> {
    const [found] = await lineRows(trx, sql`${where} FOR UPDATE`);
    if (found === undefined) return undefined;
    const decided = afterWord(found.line, claim, word, nextDayMs(now) - now);
    const change = decided?.next.waitsFor === refundedSince ? await takeOn(trx, decided) : decided;
    if (change !== undefined) await save(trx, now, found.line, change);
    return change;
  }

  return {
    async nextInMs(): Promise<number> {
      const db = await database();
      const inMs = await nextDueInMs(db, 'settlement_line', clock?.());
      if (unlessAhead(inMs) === inMs) return inMs;
      const now = clock?.() ?? (await databaseNowMs(db));
      const { rows } = await sql<{ found: number }>`
        SELECT EXISTS (SELECT 1 FROM settlement_line WHERE ${isLineDue(now)}) AS found`.execute(db);
      return rows[0]!.found === 1 ? 0 : inMs;
    },

    /** Takes lines whose time has come. What is about to be done is in their rows already. */
    claim: (most: number, leaseMs: number): Promise<readonly Line[]> =>
      within(async (trx, now) => {
        const found = await lineRows(
          trx,
          sql`${isLineDue(now)} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`,
        );
        if (found.length === 0) return [];
        await sql`
          UPDATE settlement_line SET claim = claim + 1, tries = tries + 1, due_at = ${new Date(now + leaseMs)}
          WHERE line_id IN (${sql.join(found.map(({ line }) => bytesOfUuid(line.lineId)))})`.execute(trx);
        return found.map(({ line }) => ({ ...line, claim: line.claim + 1, tries: line.tries + 1 }));
      }),

    /** Writes down what came of a call. */
    finish: ({ lineId, claim }: Line, word: Word): Promise<Change | undefined> =>
      within((trx, now) => apply(trx, now, sql`line_id = ${bytesOfUuid(lineId)}`, claim, word)),

    /** Writes down the end of a firm banking, once a message; one that is of no line changes nothing. */
    told: (word: Word & { readonly kind: 'ENDED' }, message: Message): Promise<Change | undefined> =>
      within((trx, now) =>
        handleOnce(
          trx,
          { group: groups.settlementEnds.id, message, usually: handledAs(undefined) },
          () => apply(trx, now, sql`firmbanking_id = ${bytesOfUuid(word.firmbankingId)}`, undefined, word),
          lineHandledAs,
        ),
      ),

    /** Tries a line again that has stopped. */
    retry: (lineId: string, call: OnceCall) =>
      within((trx, now) =>
        once(
          trx,
          call,
          async (): Promise<{ readonly ok: true } | Refused> => {
            const [found] = await lineRows(trx, sql`line_id = ${bytesOfUuid(lineId)} FOR UPDATE`);
            if (found === undefined)
              return refuse(404, 'MUSTER_SETTLEMENT_UNKNOWN', 'there is no such settlement');
            const change = retried(found.line);
            if (change === undefined)
              return refuse(409, 'MUSTER_SETTLEMENT_NOT_STOPPED', `the settlement is ${found.line.state}`);
            await save(trx, now, found.line, change);
            return { ok: true };
          },
          ({ ok }) => ok,
        ),
      ),

    /** The newest first, those before `before`: of a merchant, or all in a state. */
    async list(
      of: { readonly merchant: string } | { readonly state: State },
      { before, limit }: { readonly before: string; readonly limit: number },
    ): Promise<readonly LineFound[]> {
      const whose = 'merchant' in of ? sql`merchant = ${of.merchant}` : sql`state = ${of.state}`;
      return lineRows(
        await database(),
        sql`${whose} AND line_id < ${bytesOfUuid(before)} ORDER BY line_id DESC LIMIT ${limit}`,
      );
    },

    /** How many have not ended, by state. */
    async open(): Promise<ReadonlyMap<State, number>> {
      const { rows } = await sql<{ state: State; n: number }>`
        SELECT state, COUNT(*) AS n FROM settlement_line
        WHERE state IN (${sql.join(states.filter((state) => state !== 'DONE' && state !== 'CARRIED'))})
        GROUP BY state`.execute(await database());
      return new Map(rows.map(({ state, n }) => [state, Number(n)]));
    },
  };
}

/** With what lines below zero have left by now, if there is any. */
async function takeOn(trx: Trx, waiting: Change): Promise<Change> {
  const { lineId, merchant, currency } = waiting.next;
  const left = (await takeCarried(trx, [merchant])).get(lineKey(merchant, currency));
  if (left === undefined) return waiting;
  await carryInto(trx, left.ids, lineId);
  return withCarried(waiting.next, left);
}

/** As isDue(); only what waits for the next day of a bank is put off for so long on purpose. */
const isLineDue = (now: number) =>
  sql`${isDue('due_at', now)} AND (due_at <= ${new Date(now)} OR NOT waits_for <=> ${dayIsFull})`;

/** A line that has stopped has failed, for as long as nobody tries it again. */
const lineHandledAs = (change: Change | undefined): Handled =>
  change?.next.state === 'STOPPED' ? { status: 'failure', result: 'STOPPED' } : handledAs(change);

async function save(trx: Trx, now: number, before: Line, { next, againInMs }: Change): Promise<void> {
  const dueAt = againInMs === undefined ? null : new Date(now + againInMs);
  // Its limit counts from when it does not wait any more for what nobody here can change.
  const countsFrom =
    next.waitsFor === dayIsFull || next.waitsFor === refundedSince
      ? dueAt
      : (before.waitsFor === bankDown && next.waitsFor !== bankDown) || before.state === 'STOPPED'
        ? new Date(now)
        : undefined;
  await sql`
    UPDATE settlement_line SET state = ${next.state}, failure = ${next.failure ?? null}, waits_for = ${next.waitsFor ?? null},
      attempt = ${next.attempt}, account_id = ${bytesOrNull(next.accountId)}, firmbanking_id = ${bytesOrNull(next.firmbankingId)},
      transfer_id = ${bytesOrNull(next.transferId)}, commission_transfer_id = ${bytesOrNull(next.commissionTransferId)},
      carried_minor = ${next.carriedMinor}, carried_commission_minor = ${next.carriedCommissionMinor},
      net_minor = ${next.netMinor}, tries = ${next.tries}, claim = ${next.claim}, due_at = ${dueAt}, ended_at = ${isOpen(next) ? null : new Date(now)}
      ${countsFrom === undefined ? sql`` : sql`, counts_from = ${countsFrom}`}
    WHERE line_id = ${bytesOfUuid(next.lineId)}`.execute(trx);
}

async function lineRows(db: Db | Trx, where: ReturnType<typeof sql>): Promise<readonly LineFound[]> {
  const { rows } = await sql<{
    line_id: Buffer;
    run_no: number;
    merchant: string;
    currency: string;
    paid_minor: number | string;
    refunded_minor: number | string;
    commission_minor: number | string;
    carried_minor: number | string;
    carried_commission_minor: number | string;
    net_minor: number | string;
    state: State;
    failure: string | null;
    waits_for: string | null;
    attempt: number;
    account_id: Buffer | null;
    firmbanking_id: Buffer | null;
    transfer_id: Buffer | null;
    commission_transfer_id: Buffer | null;
    tries: number;
    claim: number;
    made_at: Date;
    ended_at: Date | null;
  }>`
    SELECT line_id, run_no, merchant, currency, paid_minor, refunded_minor, commission_minor, carried_minor,
      carried_commission_minor, net_minor, state, failure, waits_for, attempt, account_id, firmbanking_id, transfer_id,
      commission_transfer_id, tries, claim, made_at, ended_at
    FROM settlement_line WHERE ${where}`.execute(db);
  const idOf = (id: Buffer | null) => (id === null ? undefined : uuidOfBytes(id));
  return rows.map((row) => ({
    line: {
      lineId: uuidOfBytes(row.line_id),
      runNo: row.run_no,
      merchant: row.merchant,
      currency: row.currency,
      paidMinor: Number(row.paid_minor),
      refundedMinor: Number(row.refunded_minor),
      commissionMinor: Number(row.commission_minor),
      carriedMinor: Number(row.carried_minor),
      carriedCommissionMinor: Number(row.carried_commission_minor),
      netMinor: Number(row.net_minor),
      state: row.state,
      failure: row.failure ?? undefined,
      waitsFor: row.waits_for ?? undefined,
      attempt: row.attempt,
      accountId: idOf(row.account_id),
      firmbankingId: idOf(row.firmbanking_id),
      transferId: idOf(row.transfer_id),
      commissionTransferId: idOf(row.commission_transfer_id),
      tries: row.tries,
      claim: row.claim,
    },
    madeAtMs: row.made_at.getTime(),
    endedAtMs: row.ended_at?.getTime(),
  }));
}
