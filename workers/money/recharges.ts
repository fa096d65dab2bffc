/** What happens to recharges, in one transaction each, and what people ask of them. */
import { trace } from '@opentelemetry/api';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { RechargeDecided } from '../../catalog/events/money.ts';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { bytesOfUuid, hexOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { traceparentNow } from '../base/traceparent.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import { databaseNowMs, transaction } from '../store/database.ts';
import { groupCommit } from '../store/group-commit.ts';
import { type OnceCall, onceAll, onceRows } from '../store/once.ts';
import { appendOutbox } from '../store/outbox.ts';
import { type Handled, handleOnce, type Message } from '../store/queue-log.ts';
import { type Account, decide } from './ledger.ts';
import {
  afterWord,
  bankDown,
  isOpenRecharge,
  openRecharges,
  type Recharge,
  type RechargeState,
  type RechargeWord,
  rechargeStep,
} from './recharge.ts';
import { findAccounts, ledgerRows } from './store.ts';

const tracer = trace.getTracer('muster/money');

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

export interface RechargeWish {
  readonly account: string;
  readonly bankAccountId: string;
  readonly amountMinor: number;
  readonly currency: string;
}

/** A recharge whose time has come, taken by this process: nobody else is at it until its lease ends. */
export interface ClaimedRecharge {
  readonly call: 'ASK' | 'FIND';
  readonly one: Recharge;
  readonly traceparent: string | undefined;
}

export interface FoundRecharge {
  readonly one: Recharge;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | undefined;
  /** Of the request that made it. */
  readonly traceparent: string | undefined;
}

export interface RechargeStoreOptions {
  database(): Promise<Db>;
  /** The sub-account of a house account that this process books on. */
  houseAccount(house: 'bank', currency: string): string;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}

export type RechargeStore = ReturnType<typeof rechargeStore>;

export function rechargeStore({ database, houseAccount, clock }: RechargeStoreOptions) {
  const within = async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
    transaction(await database(), async (trx) => work(trx, clock?.() ?? (await databaseNowMs(trx))));

  const acceptGrouped = groupCommit(
    (asked: readonly Asked[]) =>
      within((trx, now) =>
        onceAll<AcceptAnswer, Asked>(
          onceRows(trx),
          asked,
          (first) => acceptAll(trx, first, now),
          ({ ok }, { keepsRefusal }) => ok || keepsRefusal,
        ),
      ),
    { most: 250, waiting: 5_000 },
  );

  /** The row after a word. Resolves to the state that it led to; undefined: to none. */
  async function apply(
    trx: Trx,
    now: number,
    row: FoundRecharge,
    claim: number | undefined,
    word: RechargeWord,
  ): Promise<RechargeState | undefined> {
    const change = afterWord(row.one, claim, word);
    if (change === undefined) return undefined;
    if (!change.book) {
      await save(trx, now, [{ row, next: change.next, againInMs: change.againInMs }]);
      return change.next.state;
    }
    const { account, currency, amountMinor } = row.one;
    const transferId = uuidV7(now);
    const rows = ledgerRows(trx);
    const from = houseAccount('bank', currency);
    const accounts = await rows.lockAccounts([from, account]);
    const leg = { from, to: account, amountMinor, reason: 'recharge' };
    const decision = decide(
      {
        accounts: new Map(accounts.map((each) => [each.accountId, each])),
        holds: new Map(),
        transfers: new Map(),
      },
      [{ kind: 'transfer', transferId, currency, legs: [leg], promised: true }],
    );
    if (!decision.answers[0]!.ok) {
      // The money is at our bank: it stays undecided, is tried again, and the promise tells people.
      await save(trx, now, [
        { row, next: { ...row.one, reason: 'BOOKING_REFUSED' }, againInMs: bookAgainMs },
      ]);
      return undefined;
    }
    const span = trace.getActiveSpan() && tracer.startSpan('book recharge');
    await rows.write(decision, now);
    span?.end();
    await save(trx, now, [{ row, next: { ...change.next, transferId }, againInMs: undefined }]);
    return 'DONE';
  }

  return {
    /** Accepts a recharge, or says why not; durable when it resolves. */
    async accept(wish: RechargeWish, call: OnceCall, { keepsRefusal = false } = {}): Promise<AcceptAnswer> {
      const traceparent = traceparentNow();
      const rechargeId = uuidV7(clock?.() ?? Date.now());
      const expected: AcceptAnswer = { ok: true, rechargeId };
      const outcome = await acceptGrouped({ ...call, expected, wish, keepsRefusal, rechargeId, traceparent });
      if ('error' in outcome) throw outcome.error;
      return outcome.answer;
    },

    /** Takes recharges whose time has come, and writes down what is about to be done before it is. */
    claim: (most: number, leaseMs: number): Promise<readonly ClaimedRecharge[]> =>
      within(async (trx, now) => {
        const rows = await rechargeRows(
          trx,
          sql`due_at <= ${new Date(now)} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`,
        );
        const found = await findAccounts(trx, [...new Set(rows.map(({ one }) => one.account))]);
        const states = new Map(found.map(({ accountId, state }) => [accountId, state]));
        const steps = rows.map((row) => ({ row, ...rechargeStep(row.one, states.get(row.one.account)) }));
        await save(
          trx,
          now,
          steps.map(({ row, call, next }) => ({
            row,
            next,
            againInMs: call === undefined ? undefined : leaseMs,
          })),
        );
        return steps.flatMap(({ row: { traceparent }, call, next }) =>
          call === undefined ? [] : [{ call, one: next, traceparent }],
        );
      }),

    /** Writes down what banking said to a call. Resolves to the state that it led to; undefined: to none. */
    finish: ({ one }: ClaimedRecharge, word: RechargeWord): Promise<RechargeState | undefined> =>
      within(async (trx, now) => {
        const id = bytesOfUuid(one.rechargeId);
        const [row] = await rechargeRows(trx, sql`recharge_id = ${id} FOR UPDATE`);
        return row === undefined ? undefined : apply(trx, now, row, one.claim, word);
      }),

    /** Writes down what banking has told by its event. A firm banking that is of no recharge changes nothing. */
    told: (firmbankingId: string, word: RechargeWord, message: Message): Promise<RechargeState | undefined> =>
      within((trx, now) =>
        handleOnce(
          trx,
          { group: groups.moneyRecharges.id, message, usually: handledAs('DONE') },
          async () => {
            const id = bytesOfUuid(firmbankingId);
            const [row] = await rechargeRows(trx, sql`firmbanking_id = ${id} FOR UPDATE`);
            return row === undefined ? undefined : apply(trx, now, row, undefined, word);
          },
          handledAs,
        ),
      ),

    async find(rechargeId: string): Promise<FoundRecharge | undefined> {
      const [row] = await rechargeRows(await database(), sql`recharge_id = ${bytesOfUuid(rechargeId)}`);
      return row;
    },

    /** In any order. */
    findAll: async (ids: readonly string[]): Promise<readonly FoundRecharge[]> =>
      ids.length === 0
        ? []
        : rechargeRows(await database(), sql`recharge_id IN (${sql.join(ids.map(bytesOfUuid))})`),

    /** Those of an account, the newest first, those before `before`. */
    findOf: async (
      account: string,
      { before, limit }: { readonly before: string; readonly limit: number },
    ): Promise<readonly FoundRecharge[]> =>
      rechargeRows(
        await database(),
        sql`account_id = ${account} AND recharge_id < ${bytesOfUuid(before)}
          ORDER BY recharge_id DESC LIMIT ${limit}`,
      ),

    /** How many have not ended, by state. */
    async open(): Promise<ReadonlyMap<RechargeState, number>> {
      const { rows } = await sql<{ state: RechargeState; n: number }>`
        SELECT state, COUNT(*) AS n FROM recharge WHERE state IN (${sql.join([...openRecharges])})
        GROUP BY state`.execute(await database());
      return new Map(rows.map(({ state, n }) => [state, Number(n)]));
    },
  };
}

/** Undefined: it was of no recharge, or of one that knew. */
const handledAs = (state: RechargeState | undefined): Handled => ({
  status: state === 'FAILED' ? 'failure' : 'success',
  result: state ?? 'PASSED_OVER',
});

/** A booking that was refused needs people first. */
const bookAgainMs = 60_000;

type AcceptAnswer = { readonly ok: true; readonly rechargeId: string } | Refused;

interface Asked extends OnceCall {
  readonly expected: AcceptAnswer;
  readonly wish: RechargeWish;
  readonly keepsRefusal: boolean;
  readonly rechargeId: string;
  readonly traceparent: string | undefined;
}

async function acceptAll(trx: Trx, asked: readonly Asked[], now: number): Promise<readonly AcceptAnswer[]> {
  // Locked: whoever closes an account sees its recharge, or this one sees it closed.
  const locked = await ledgerRows(trx).lockAccounts([...new Set(asked.map(({ wish }) => wish.account))]);
  const accounts = new Map(locked.map((account) => [account.accountId, account]));
  const answers = asked.map(({ wish, expected }) => refusalOf(wish, accounts.get(wish.account)) ?? expected);
  const at = new Date(now);
  const rows = asked
    .filter((_, index) => answers[index]!.ok)
    .map(
      ({ rechargeId, wish: { account, bankAccountId, amountMinor, currency }, traceparent }) =>
        sql`(${bytesOfUuid(rechargeId)}, ${account}, ${bytesOfUuid(bankAccountId)}, ${amountMinor}, ${currency},
          'REQUESTED', 0, 0, ${at}, ${at}, ${at}, ${traceparent ?? null})`,
    );
  if (rows.length > 0)
    await sql`
      INSERT INTO recharge (recharge_id, account_id, bank_account_id, amount_minor, currency, state, tries, claim, due_at,
        requested_at, counts_from, traceparent)
      VALUES ${sql.join(rows)}`.execute(trx);
  return answers;
}

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

interface Save {
  readonly row: FoundRecharge;
  readonly next: Recharge;
  /** Undefined: it is not worked on any more. */
  readonly againInMs: number | undefined;
}

/** Writes recharges as they are from now on, in one statement; of those that have ended also their events. */
async function save(trx: Trx, now: number, saves: readonly Save[]): Promise<void> {
  if (saves.length === 0) return;
  const at = new Date(now);
  const hexOr = (uuid: string | undefined) => (uuid === undefined ? null : hexOfUuid(uuid));
  const rows = saves.map(({ row: { one: before }, next, againInMs = null }) => {
    const excused = before.reason === bankDown && next.reason !== bankDown;
    return [
      ...[hexOr(next.rechargeId), next.state, next.reason ?? null, hexOr(next.firmbankingId)],
      ...[
        hexOr(next.transferId),
        next.tries,
        next.claim,
        againInMs,
        isOpenRecharge(next) ? 0 : 1,
        excused ? 1 : 0,
      ],
    ];
  });
  await sql`
    UPDATE JSON_TABLE(${JSON.stringify(rows)}, '$[*]' COLUMNS (
      id CHAR(32) PATH '$[0]', state VARCHAR(20) PATH '$[1]', reason VARCHAR(60) PATH '$[2]',
      firmbanking_id CHAR(32) PATH '$[3]', transfer_id CHAR(32) PATH '$[4]', tries INT UNSIGNED PATH '$[5]',
      claim INT UNSIGNED PATH '$[6]', again_ms BIGINT PATH '$[7]', ended INT PATH '$[8]', excused INT PATH '$[9]')) AS changed
    STRAIGHT_JOIN recharge AS r ON r.recharge_id = UNHEX(changed.id)
    SET r.state = changed.state, r.reason = changed.reason, r.firmbanking_id = UNHEX(changed.firmbanking_id),
      r.transfer_id = UNHEX(changed.transfer_id), r.tries = changed.tries, r.claim = changed.claim,
      r.due_at = ${at} + INTERVAL changed.again_ms * 1000 MICROSECOND,
      r.decided_at = IF(changed.ended, ${at}, NULL),
      r.counts_from = IF(changed.excused, ${at}, r.counts_from)`.execute(trx);
  const ended = saves.filter(({ next }) => !isOpenRecharge(next));
  if (ended.length > 0)
    await appendOutbox(
      trx,
      ended.map(({ row, next }) => decidedRecord(next, now, traceparentNow() ?? row.traceparent)),
    );
}

/** `traceparent`: of the work that ended it. */
function decidedRecord(one: Recharge, decidedAtMs: number, traceparent: string | undefined): OutgoingRecord {
  const { name, event } = topics.rechargeEvents;
  return eventRecord({
    topic: name,
    key: `member:${one.account}`,
    type: event.type,
    source: '/muster/money',
    id: `${one.rechargeId}-decided`,
    subject: one.rechargeId,
    timeMs: decidedAtMs,
    ...(traceparent === undefined ? {} : { traceparent }),
    data: {
      rechargeId: one.rechargeId,
      member: one.account,
      state: one.state as 'DONE' | 'FAILED',
      ...(one.reason === undefined ? {} : { reason: one.reason }),
      ...(one.transferId === undefined ? {} : { transferId: one.transferId }),
      amount: { amountMinor: one.amountMinor, currency: one.currency },
      decidedAt: new Date(decidedAtMs).toISOString(),
    } satisfies RechargeDecided,
  });
}

async function rechargeRows(db: Db | Trx, where: ReturnType<typeof sql>): Promise<readonly FoundRecharge[]> {
  const { rows } = await sql<{
    recharge_id: Buffer;
    account_id: string;
    bank_account_id: Buffer;
    amount_minor: number | string;
    currency: string;
    state: RechargeState;
    reason: string | null;
    firmbanking_id: Buffer | null;
    transfer_id: Buffer | null;
    tries: number;
    claim: number;
    requested_at: Date;
    decided_at: Date | null;
    traceparent: string | null;
  }>`
    SELECT recharge_id, account_id, bank_account_id, amount_minor, currency, state, reason, firmbanking_id, transfer_id,
      tries, claim, requested_at, decided_at, traceparent
    FROM recharge WHERE ${where}`.execute(db);
  const idOf = (id: Buffer | null) => (id === null ? undefined : uuidOfBytes(id));
  return rows.map((row) => ({
    one: {
      rechargeId: uuidOfBytes(row.recharge_id),
      account: row.account_id,
      bankAccountId: uuidOfBytes(row.bank_account_id),
      amountMinor: Number(row.amount_minor),
      currency: row.currency,
      state: row.state,
      reason: row.reason ?? undefined,
      firmbankingId: idOf(row.firmbanking_id),
      transferId: idOf(row.transfer_id),
      tries: row.tries,
      claim: row.claim,
    },
    requestedAtMs: row.requested_at.getTime(),
    decidedAtMs: row.decided_at?.getTime(),
    traceparent: row.traceparent ?? undefined,
  }));
}
