/** What happens to remittances, in one transaction each or for many, and what people ask of them. */
import { type Kysely, sql, type Transaction } from 'kysely';
import { groups as consumerGroups } from '../../catalog/groups.ts';
import { isNotNow } from '../base/errors.ts';
import { bytesOfUuid, bytesOrNull, hexOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { traceparentNow } from '../base/traceparent.ts';
import {
  afterWord,
  bankDown,
  type Change,
  type Claimed,
  type EndTold,
  firstState,
  handledAs,
  isOpen,
  type Move,
  openStates,
  type State,
  type Word,
} from '../platform/move.ts';
import { databaseNowMs, transaction } from '../store/database.ts';
import { groupCommit } from '../store/group-commit.ts';
import { type OnceCall, onceAll, onceRows } from '../store/once.ts';
import { appendOutbox } from '../store/outbox.ts';
import { handleOnce, type Message } from '../store/queue-log.ts';
import { decidedRecord } from './events.ts';

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

export type Wish = Pick<Move, 'sender' | 'to' | 'amountMinor' | 'feeMinor' | 'currency' | 'rechargeFrom'>;

export interface Found {
  readonly one: Move;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | undefined;
  /** Of the request that made it. */
  readonly traceparent: string | undefined;
}

/** What was accepted; `claimed`: by this process, which is to work on it at once. Undefined: whoever claims it does. */
export interface Accepted {
  readonly remittanceId: string;
  readonly claimed: Claimed | undefined;
}

export type RemittanceStore = ReturnType<typeof remittanceStore>;

export interface RemittanceStoreOptions {
  database(): Promise<Db>;
  /** This process works on remittances, too: those that it accepts while it has room are claimed as they are written. */
  readonly claiming?: { readonly leaseMs: number; room(): number };
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}

/** A group takes as long as its statements, so those that come meanwhile are the next. */
const groups = { most: 250, waiting: 5_000 };

export function remittanceStore({ database, claiming, clock }: RemittanceStoreOptions) {
  const within = async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
    transaction(await database(), async (trx) => work(trx, clock?.() ?? (await databaseNowMs(trx))));
  const acceptGrouped = groupCommit((asked: readonly Asked[]) => {
    const room = claiming?.room() ?? 0;
    return within((trx, now) => acceptAll(trx, now, asked, { room, leaseMs: claiming?.leaseMs ?? 0 }));
  }, groups);
  const finishGrouped = groupCommit(async (answers: readonly Answered[]) => {
    const together = (some: readonly Answered[]) => within((trx, now) => finishAll(trx, now, some));
    return together(answers).catch(async (error: unknown) => {
      if (isNotNow(error) || answers.length === 1) throw error;
      // What the database does not take of one must not hold the others up.
      return Promise.all(
        answers.map((one) =>
          together([one]).then(
            ([end]) => end!,
            (reason: unknown) => ({ reason }),
          ),
        ),
      );
    });
  }, groups);

  return {
    /** Accepts a remittance; durable when it resolves. */
    async accept(wish: Wish, call: OnceCall): Promise<Accepted> {
      const remittanceId = uuidV7(clock?.() ?? Date.now());
      const outcome = await acceptGrouped({
        ...call,
        expected: remittanceId,
        wish,
        traceparent: traceparentNow(),
      });
      if ('error' in outcome) throw outcome.error;
      return { remittanceId: outcome.answer, claimed: outcome.claimed };
    },

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
          WHERE remittance_id IN (${sql.join(rows.map(({ one }) => bytesOfUuid(one.id)))})`.execute(trx);
        return rows.map(({ one, traceparent }) => ({
          one: { ...one, claim: one.claim + 1, tries: one.tries + 1 },
          traceparent,
        }));
      }),

    /** Writes down what came of a call. */
    async finish({ one, traceparent }: Claimed, word: Word): Promise<Change | undefined> {
      const end = await finishGrouped({ one, word, traceparent: traceparentNow() ?? traceparent });
      if ('reason' in end) throw end.reason;
      return end.change;
    },

    /** Writes down the end of a recharge or firm banking; one that is of no remittance changes nothing. */
    told: ({ id, word }: EndTold, message: Message): Promise<Change | undefined> =>
      within((trx, now) =>
        handleOnce(
          trx,
          { group: consumerGroups.remittanceEnds.id, message, usually: handledAs(undefined) },
          async () => {
            const column = sql.ref(word.of === 'RECHARGING' ? 'recharge_id' : 'firmbanking_id');
            const [row] = await remittanceRows(trx, sql`${column} = ${bytesOfUuid(id)} FOR UPDATE`);
            const change = row && afterWord(row.one, undefined, word);
            if (change !== undefined)
              await save(trx, now, [{ row: row!, change, traceparent: traceparentNow() }]);
            return change;
          },
          handledAs,
        ),
      ),

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

interface Asked extends OnceCall {
  readonly expected: string;
  readonly wish: Wish;
  readonly traceparent: string | undefined;
}

/** Those that come for the first time are written; as many of them as there is room for are this process's own at once. */
async function acceptAll(
  trx: Trx,
  now: number,
  asked: readonly Asked[],
  { room, leaseMs }: { readonly room: number; readonly leaseMs: number },
) {
  const claimed = new Map<Asked, Claimed>();
  const outcomes = await onceAll<string, Asked>(onceRows(trx), asked, async (first) => {
    const at = new Date(now);
    const rows = first.map((one, index) => {
      const { expected: remittanceId, wish, traceparent } = one;
      const { sender, to, amountMinor, feeMinor, currency, rechargeFrom } = wish;
      const state = firstState(wish);
      const own = index < room ? 1 : 0;
      if (own)
        claimed.set(one, {
          one: { ...begun, ...wish, id: remittanceId, state, tries: 1, claim: 1 },
          traceparent,
        });
      return sql`(${bytesOfUuid(remittanceId)}, ${sender}, ${'member' in to ? to.member : null},
        ${'member' in to ? null : bytesOfUuid(to.bankAccountId)}, ${amountMinor}, ${feeMinor}, ${currency},
        ${bytesOrNull(rechargeFrom)}, ${state}, 1, ${own}, ${own}, ${own ? new Date(now + leaseMs) : at}, ${at}, ${at},
        ${traceparent ?? null})`;
    });
    await sql`
      INSERT INTO remittance (remittance_id, sender, receiver, to_account_id, amount_minor, fee_minor, currency,
        recharge_from, state, attempt, tries, claim, due_at, requested_at, counts_from, traceparent)
      VALUES ${sql.join(rows)}`.execute(trx);
    return first.map(({ expected }) => expected);
  });
  return outcomes.map((outcome, index) => ({ ...outcome, claimed: claimed.get(asked[index]!) }));
}

/** What a remittance has that nothing has happened to. */
const begun = {
  failure: undefined,
  waitsFor: undefined,
  attempt: 1,
  rechargeMinor: undefined,
  rechargeId: undefined,
  firmbankingId: undefined,
  holdId: undefined,
  feeHoldId: undefined,
  transferId: undefined,
} as const;

interface Answered {
  /** As it was claimed. */
  readonly one: Move;
  readonly word: Word;
  readonly traceparent: string | undefined;
}

type End = { readonly change: Change | undefined } | { readonly reason: unknown };

async function finishAll(trx: Trx, now: number, answers: readonly Answered[]): Promise<readonly End[]> {
  const ids = answers.map(({ one }) => bytesOfUuid(one.id));
  // In one order, so that two groups never wait for each other.
  const found = await remittanceRows(
    trx,
    sql`remittance_id IN (${sql.join(ids)}) ORDER BY remittance_id FOR UPDATE`,
  );
  const rows = new Map(found.map((row) => [row.one.id, row]));
  const saves: Save[] = [];
  const ends = answers.map(({ one, word, traceparent }) => {
    const row = rows.get(one.id);
    const change = row && afterWord(row.one, one, word);
    if (change === undefined) return { change };
    saves.push({ row: row!, change, traceparent });
    // A second answer to the same claim is of a state that is left.
    rows.delete(one.id);
    return { change };
  });
  await save(trx, now, saves);
  return ends;
}

interface Save {
  readonly row: Found;
  readonly change: Change;
  readonly traceparent: string | undefined;
}

/** Rows after a word each, in one statement; of those that have ended also the events. */
async function save(trx: Trx, now: number, saves: readonly Save[]): Promise<void> {
  if (saves.length === 0) return;
  const at = new Date(now);
  const rows = saves.map(({ row: { one: before }, change: { next, againInMs } }) => {
    const excused = before.waitsFor === bankDown && next.waitsFor !== bankDown;
    return [
      ...[hexOfUuid(next.id), next.state, next.failure, next.waitsFor, next.attempt, next.rechargeMinor],
      ...[hexOr(next.rechargeId), hexOr(next.firmbankingId), hexOr(next.holdId), hexOr(next.feeHoldId)],
      ...[hexOr(next.transferId), next.tries, againInMs ?? null, excused ? 1 : 0],
    ].map((value) => value ?? null);
  });
  await sql`
    UPDATE JSON_TABLE(${JSON.stringify(rows)}, '$[*]' COLUMNS (
      id CHAR(32) PATH '$[0]', state VARCHAR(20) PATH '$[1]', failure VARCHAR(60) PATH '$[2]',
      waits_for VARCHAR(60) PATH '$[3]', attempt INT UNSIGNED PATH '$[4]', recharge_minor BIGINT PATH '$[5]',
      recharge_id CHAR(32) PATH '$[6]', firmbanking_id CHAR(32) PATH '$[7]', hold_id CHAR(32) PATH '$[8]',
      fee_hold_id CHAR(32) PATH '$[9]', transfer_id CHAR(32) PATH '$[10]', tries INT UNSIGNED PATH '$[11]',
      again_ms BIGINT PATH '$[12]', excused INT PATH '$[13]')) AS changed
    STRAIGHT_JOIN remittance AS r ON r.remittance_id = UNHEX(changed.id)
    SET r.state = changed.state, r.failure = changed.failure, r.waits_for = changed.waits_for,
      r.attempt = changed.attempt, r.recharge_minor = changed.recharge_minor,
      r.recharge_id = UNHEX(changed.recharge_id), r.firmbanking_id = UNHEX(changed.firmbanking_id),
      r.hold_id = UNHEX(changed.hold_id), r.fee_hold_id = UNHEX(changed.fee_hold_id),
      r.transfer_id = UNHEX(changed.transfer_id), r.tries = changed.tries,
      r.due_at = ${at} + INTERVAL changed.again_ms * 1000 MICROSECOND,
      r.decided_at = IF(changed.again_ms IS NULL, ${at}, NULL),
      r.counts_from = IF(changed.excused, ${at}, r.counts_from)`.execute(trx);
  const ended = saves.filter(({ change }) => !isOpen(change.next));
  if (ended.length > 0)
    await appendOutbox(
      trx,
      ended.map(({ change, traceparent }) => decidedRecord(change.next, now, traceparent)),
    );
}

const hexOr = (uuid: string | undefined) => (uuid === undefined ? null : hexOfUuid(uuid));

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
      id: uuidOfBytes(row.remittance_id),
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
