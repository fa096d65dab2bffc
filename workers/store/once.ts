/**
 * Doing a thing once, however often it is asked for: a key, the hash of what was asked and the answer are kept in the
 * transaction of the effect, so that all of it is there or nothing.
 *
 * The key is reserved before the effect, by an insert that does not wait: while another transaction holds the key, the
 * call is refused, to be sent again. An effect that fails rolls its reservation back: its key is not used up.
 */
import { hash } from 'node:crypto';
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import { MusterError, NotNowError } from '../base/errors.ts';

/** What is to be done once. */
export interface OnceCall {
  /** Whose key it is: the capability, a colon, and who asks; two scopes may use one key. At most 128 ASCII characters. */
  readonly scope: string;
  /** Made by who asks (an Idempotency-Key, the id of a message): 1 to 255 bytes of UTF-8. */
  readonly key: string;
  /** What is asked; only its SHA-256 is kept. What can be guessed and is personal is passed as a keyed hash. */
  readonly body: Uint8Array | string;
}

/** A call and its answer; JSON. */
export interface Kept {
  readonly scope: string;
  readonly key: string;
  readonly bodyHash: Buffer;
  /** Undefined while the first is being handled: only its own transaction sees that. */
  readonly answer: unknown;
}

/** The rows of muster_once within a transaction; a port, so that the simulation runs the same logic (drills/simulation). */
export interface OnceRows {
  /** Adds those whose keys are free. `kept`: those that were there; `held`: another transaction is at them just now. */
  reserve(rows: readonly Kept[]): Promise<{ readonly kept: readonly Kept[]; readonly held: readonly Kept[] }>;
  /** Sets the answers of rows of this transaction. */
  answer(rows: readonly Kept[]): Promise<void>;
  /** Takes rows of this transaction back. */
  release(rows: readonly Kept[]): Promise<void>;
}

/** What became of a call of a group. `repeated`: the answer is that of the first. */
export type OnceOutcome<T> =
  | { readonly answer: T; readonly repeated: boolean }
  | { readonly error: MusterError };

/**
 * Runs `work` once per scope and key and resolves to its answer, which must be JSON; a repeat gets the answer of the
 * first. Throws MUSTER_IDEMPOTENCY_KEY_REUSED when the key was used with another body, MUSTER_IDEMPOTENCY_KEY_IN_USE
 * (not now) while the first is being handled. Answers that `keeps` says no to are told and not kept: their key is not
 * used up. Without a call `work` just runs.
 */
export async function once<DB, T>(
  trx: Transaction<DB>,
  call: OnceCall | undefined,
  work: () => Promise<T>,
  keeps?: (answer: T) => boolean,
): Promise<T> {
  if (call === undefined) return work();
  const [outcome] = await onceAll(onceRows(trx), [call], async () => [await work()], keeps);
  if ('error' in outcome!) throw outcome.error;
  return outcome!.answer;
}

/**
 * The answer that the call was given before; undefined when it comes for the first time, or the first is being handled. For
 * work that asks others before its transaction: a repeat need not ask again. Throws MUSTER_IDEMPOTENCY_KEY_REUSED.
 */
export async function answeredBefore<T>(db: Kysely<unknown>, call: OnceCall): Promise<T | undefined> {
  const row = rowOf(call);
  const [kept] = await keptRows(db, [row]);
  if (kept !== undefined && !kept.bodyHash.equals(row.bodyHash)) throw reused();
  return kept?.answer as T | undefined;
}

export interface GroupedCall<T> extends OnceCall {
  /** What the answer will be if the call succeeds. Where that is known (an id made by the caller) keeping it costs no statement. */
  readonly expected?: T;
}

/**
 * once() for calls that share a transaction, in as many statements as for one. `work` gets those that come for the first
 * time, in the order given, and answers in their order; answers that `keeps` says no to are told and not kept, so that
 * their keys are not used up. A key that is twice in the group is worked on once.
 */
export async function onceAll<T, Call extends GroupedCall<T>>(
  rows: OnceRows,
  calls: readonly Call[],
  work: (first: readonly Call[]) => Promise<readonly T[]>,
  keeps: (answer: T, call: Call) => boolean = () => true,
): Promise<readonly OnceOutcome<T>[]> {
  const wanted = new Map<string, { readonly call: Call; readonly row: Kept }>();
  const hashes = calls.map((call) => {
    const row = rowOf(call);
    if (!wanted.has(idOf(call))) wanted.set(idOf(call), { call, row });
    return row.bodyHash;
  });
  const { kept, held } = await rows.reserve([...wanted.values()].map(({ row }) => row));
  const before = new Map(kept.map((row) => [idOf(row), row]));
  const heldIds = new Set(held.map(idOf));
  const first = [...wanted].filter(([id]) => !before.has(id) && !heldIds.has(id)).map(([, each]) => each);
  const answers = first.length === 0 ? [] : await work(first.map(({ call }) => call));
  const done = first.map(({ call, row }, index) => ({ call, row, answer: answers[index]! }));
  const good = done.filter(({ answer, call }) => keeps(answer, call));
  await rows.answer(
    good
      .filter(({ row, answer }) => JSON.stringify(row.answer) !== JSON.stringify(answer))
      .map(({ row, answer }) => ({ ...row, answer })),
  );
  await rows.release(done.filter(({ answer, call }) => !keeps(answer, call)).map(({ row }) => row));

  const answered = new Map(done.map(({ call, row, answer }) => [idOf(call), { ...row, answer }]));
  return calls.map((call, index): OnceOutcome<T> => {
    const id = idOf(call);
    if (heldIds.has(id)) return { error: inUse() };
    const known = before.get(id) ?? answered.get(id)!;
    if (!known.bodyHash.equals(hashes[index]!)) return { error: reused() };
    const repeated = before.has(id) || wanted.get(id)!.call !== call;
    return { answer: known.answer as T, repeated };
  });
}

const reused = () =>
  new MusterError(
    'MUSTER_IDEMPOTENCY_KEY_REUSED',
    'this Idempotency-Key was used before with another request; a new request needs a new key',
  );
const inUse = () =>
  new NotNowError(
    'MUSTER_IDEMPOTENCY_KEY_IN_USE',
    'a request with this Idempotency-Key is being handled; send the same again in a moment',
  );

const idOf = ({ scope, key }: Pick<OnceCall, 'scope' | 'key'>) => `${scope} ${key}`;

function rowOf<T>({ scope, key, body, expected }: GroupedCall<T>): Kept {
  const bytes = Buffer.byteLength(key);
  if (bytes === 0 || bytes > 255)
    throw new MusterError('MUSTER_IDEMPOTENCY_KEY', 'an idempotency key has 1 to 255 bytes');
  if (!/^[\x21-\x7e]{1,128}$/.test(scope))
    throw new MusterError('MUSTER_IDEMPOTENCY_KEY', 'a scope has 1 to 128 visible ASCII characters');
  return { scope, key, bodyHash: hash('sha256', body, 'buffer'), answer: expected };
}

const duplicateEntry = 1062;
/** Lock wait timeout of MariaDB and MySQL. */
const lockNotFree = 1205;

async function keptRows<DB>(db: Kysely<DB>, rows: readonly Kept[]): Promise<readonly Kept[]> {
  const found = await sql<{ scope: string; once_key: Buffer; body_hash: Buffer; answer: Buffer | null }>`
    SELECT scope, once_key, body_hash, answer FROM muster_once WHERE ${keysOf(rows)}`.execute(db);
  return found.rows.map(({ scope, once_key, body_hash, answer }) => ({
    scope,
    key: once_key.toString(),
    bodyHash: body_hash,
    answer: answer === null ? undefined : (JSON.parse(answer.toString()) as unknown),
  }));
}

/** The rows in SQL. */
export function onceRows<DB>(trx: Transaction<DB>): OnceRows {
  /** All of them or none. The wait of 0 s is MariaDB's; MySQL reads a comment there and waits innodb_lock_wait_timeout. */
  async function insert(rows: readonly Kept[]): Promise<'done' | 'taken' | 'held'> {
    try {
      await sql`
        /*M!100301 SET STATEMENT innodb_lock_wait_timeout = 0 FOR */
        INSERT INTO muster_once (scope, once_key, body_hash, answer, made_at)
        VALUES ${valuesOf(rows)}`.execute(trx);
      return 'done';
    } catch (error) {
      const { errno } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
      if (errno === duplicateEntry) return 'taken';
      if (errno === lockNotFree) return 'held';
      throw error;
    }
  }

  /** Hardly ever more than the one statement: repeats are few, and keys that are held at the moment fewer. */
  async function reserve(rows: readonly Kept[]): Promise<{ kept: readonly Kept[]; held: readonly Kept[] }> {
    if (rows.length === 0 || (await insert(rows)) === 'done') return { kept: [], held: [] };
    const kept = await keptRows(trx, rows);
    const ids = new Set(kept.map(idOf));
    const rest = rows.filter((row) => !ids.has(idOf(row)));
    if (kept.length === 0 && rest.length === 1) return { kept: [], held: rest };
    const middle = kept.length === 0 ? Math.ceil(rest.length / 2) : rest.length;
    const parts = [await reserve(rest.slice(0, middle)), await reserve(rest.slice(middle))];
    return {
      kept: [...kept, ...parts.flatMap((part) => part.kept)],
      held: parts.flatMap((part) => part.held),
    };
  }

  return {
    // By key: two groups that need the same ones meet in the same order.
    reserve: (rows) => reserve(rows.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1))),
    async answer(rows) {
      if (rows.length === 0) return;
      await sql`
        INSERT INTO muster_once (scope, once_key, body_hash, answer, made_at) VALUES ${valuesOf(rows)}
        ON DUPLICATE KEY UPDATE answer = VALUES(answer)`.execute(trx);
    },
    async release(rows) {
      if (rows.length === 0) return;
      await sql`DELETE FROM muster_once WHERE ${keysOf(rows)}`.execute(trx);
    },
  };
}

const valuesOf = (rows: readonly Kept[]): RawBuilder<unknown> =>
  sql.join(
    rows.map(
      ({ scope, key, bodyHash, answer }) =>
        sql`(${scope}, ${Buffer.from(key)}, ${bodyHash}, ${answer === undefined ? null : JSON.stringify(answer)}, UTC_TIMESTAMP(3))`,
    ),
  );

// Not (scope, key) IN (...): MariaDB finds no index for that.
const keysOf = (rows: readonly Kept[]): RawBuilder<unknown> =>
  sql.join(
    rows.map(({ scope, key }) => sql`(scope = ${scope} AND once_key = ${Buffer.from(key)})`),
    sql` OR `,
  );
