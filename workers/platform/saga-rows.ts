/** Rows of sagas in SQL: a table whose columns are data (sagas.ts says what happens to them). */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import { bytesOfUuid, hexOfUuid, uuidOfBytes, uuidV7 } from '../base/ids.ts';
import { databaseNowMs, nextDueInMs, transaction } from '../store/database.ts';
import { isDue, unlessAhead } from '../store/due.ts';
import { onceRows } from '../store/once.ts';
import { appendOutbox } from '../store/outbox.ts';
import type { Begun, Claiming, Found, Saga, SagaOptions, SagaRows } from './sagas.ts';

type Db = Kysely<unknown> | Transaction<unknown>;
type Trx = Transaction<unknown>;

type Type = 'uuid' | 'text' | 'integer';
/** Fields, and what is in them; `?`: or undefined, which is NULL. The column of `amountMinor` is `amount_minor`. */
export type Fields = Readonly<Record<string, Type | `${Type}?`>>;
type Value<Of> = Of extends `${infer Known}?`
  ? Value<Known> | undefined
  : Of extends 'integer'
    ? number
    : string;
/** A row of such fields. UUIDs are text. */
type Row<Of extends Fields> = Saga & { readonly [name in keyof Of]: Value<Of[name]> } & {
  readonly id: string;
};

export interface SagaTable<One, Own, Fixed extends Fields, Changing extends Fields> {
  readonly name: string;
  /** Its key, a UUID: `id` in a row. */
  readonly id: string;
  /** States of those that have not ended. */
  readonly open: readonly string[];
  /** Set when it is accepted. */
  readonly fixed: Fixed;
  /** Written with each change, with those that every saga has. */
  readonly changing: Changing;
  rowOf(begun: Begun<One, Own>): Row<Fixed & Changing>;
  of(row: Row<Fixed & Changing>): Begun<One, Own>;
}

/** Every saga has these, beside its key and its times. */
const everySaga: Fields = { state: 'text', tries: 'integer', claim: 'integer' };
const stored = { uuid: 'CHAR(32)', text: 'VARCHAR(255)', integer: 'BIGINT' } as const;

export interface SagaSql<One, Own> {
  /** Within a transaction. */
  rowsOf(trx: Trx): SagaRows<One, Own>;
  find(db: Db, where: RawBuilder<unknown>): Promise<readonly Found<One, Own>[]>;
  /** Where the key is one of these. */
  these(ids: readonly string[]): RawBuilder<unknown>;
  readonly key: RawBuilder<unknown>;
  readonly table: string;
  readonly name: RawBuilder<unknown>;
  readonly open: readonly string[];
}

/** The statements about a table of sagas. */
export function sagaSql<One extends Saga, Own, Fixed extends Fields, Changing extends Fields>(
  table: SagaTable<One, Own, Fixed, Changing>,
): SagaSql<One, Own> {
  const changing: Fields = { ...everySaga, ...table.changing };
  const all: Fields = { ...table.fixed, ...changing };
  const name = sql.table(table.name);
  const key = sql.ref(table.id);
  const read = sql.raw(
    [table.id, ...Object.keys(all).map(columnOf), 'requested_at', 'decided_at', 'traceparent'].join(', '),
  );
  const [added, saved] = [travelling(all), travelling(changing)];
  const places = Object.keys(all).map(columnOf).join(', ');
  const insert = sql.raw(
    `INSERT INTO ${table.name} (${table.id}, ${places}, due_at, requested_at, counts_from, traceparent)
     SELECT UNHEX(it.id), ${added.values.map(([, value]) => value).join(', ')}`,
  );
  const set = sql.raw(saved.values.map(([column, value]) => `r.${column} = ${value}`).join(', '));

  async function find(db: Db, where: RawBuilder<unknown>): Promise<readonly Found<One, Own>[]> {
    const { rows } = await sql<Record<string, Buffer | string | number | Date | null>>`
      SELECT ${read} FROM ${name} WHERE ${where}`.execute(db);
    return rows.map((row) => {
      const plain = Object.fromEntries(
        Object.entries(all).map(([field, type]) => [field, plainOf(row[columnOf(field)]!, type)]),
      );
      const id = uuidOfBytes(row[table.id] as Buffer);
      return {
        ...table.of({ ...plain, id } as never),
        requestedAtMs: (row.requested_at as Date).getTime(),
        decidedAtMs: (row.decided_at as Date | null)?.getTime(),
        traceparent: (row.traceparent as string | null) ?? undefined,
      };
    });
  }

  const rowsOf = (trx: Trx): SagaRows<One, Own> => ({
    once: onceRows(trx),
    due: (most, nowMs) =>
      find(trx, sql`${isDue('due_at', nowMs)} ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`),
    lock: async (ids) => (ids.length === 0 ? [] : find(trx, sql`${these(ids)} ORDER BY ${key} FOR UPDATE`)),
    async idsBy(column, values) {
      const { rows } = await sql<{ id: Buffer; value: Buffer }>`
        SELECT ${key} AS id, ${sql.ref(column)} AS value FROM ${name}
        WHERE ${sql.ref(column)} IN (${sql.join(values.map(bytesOfUuid))})`.execute(trx);
      return new Map(rows.map(({ id, value }) => [uuidOfBytes(value), uuidOfBytes(id)]));
    },
    async add(begun, nowMs) {
      const at = new Date(nowMs);
      const rows = begun.map((each) => [
        ...texts(table.rowOf(each), all),
        each.dueInMs,
        each.traceparent ?? null,
      ]);
      await sql`
        ${insert}, ${at} + INTERVAL it.due_ms * 1000 MICROSECOND, ${at}, ${at}, it.traceparent
        FROM JSON_TABLE(${JSON.stringify(rows)}, '$[*]' COLUMNS (
          ${added.columns}, ${more(added.count, 'due_ms BIGINT', 'traceparent VARCHAR(55)')})) AS it`.execute(
        trx,
      );
    },
    async save(saves, nowMs) {
      const at = new Date(nowMs);
      const rows = saves.map(({ row: { own }, next, againInMs = null, excused }) => [
        ...texts(table.rowOf({ one: next, own }), changing),
        againInMs,
        excused ? 1 : 0,
      ]);
      await sql`
        UPDATE JSON_TABLE(${JSON.stringify(rows)}, '$[*]' COLUMNS (
          ${saved.columns}, ${more(saved.count, 'again_ms BIGINT', 'excused INT')})) AS it
        STRAIGHT_JOIN ${name} AS r ON r.${key} = UNHEX(it.id)
        SET ${set}, r.due_at = ${at} + INTERVAL it.again_ms * 1000 MICROSECOND,
          r.decided_at = IF(it.again_ms IS NULL, ${at}, NULL),
          r.counts_from = IF(it.excused, ${at}, r.counts_from)`.execute(trx);
    },
    tell: async (records) => {
      if (records.length > 0) await appendOutbox(trx, records);
    },
  });
  const these = (ids: readonly string[]) => sql`${key} IN (${sql.join(ids.map(bytesOfUuid))})`;

  return { rowsOf, find, these, key, table: table.name, name, open: table.open };
}

const columnOf = (field: string) => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Columns as they travel: in one JSON text for all rows, the key first. */
function travelling(fields: Fields) {
  const columns = Object.entries(fields).map(([field, type]) => [columnOf(field), bare(type)] as const);
  const typed = columns.map(([column, type], index) => `${column} ${stored[type]} PATH '$[${index + 1}]'`);
  return {
    count: columns.length + 1,
    columns: sql.raw(["id CHAR(32) PATH '$[0]'", ...typed].join(', ')),
    values: columns.map(
      ([column, type]) => [column, type === 'uuid' ? `UNHEX(it.${column})` : `it.${column}`] as const,
    ),
  };
}
const more = (from: number, ...columns: readonly string[]) =>
  sql.raw(columns.map((column, index) => `${column} PATH '$[${from + index}]'`).join(', '));
const bare = (type: string) => type.replace('?', '') as Type;

function texts(row: object, fields: Fields): unknown[] {
  const values = { ...row } as Record<string, string | undefined>;
  return Object.entries({ id: 'uuid', ...fields }).map(([field, type]) => {
    const value = values[field];
    return value === undefined ? null : bare(type) === 'uuid' ? hexOfUuid(value) : value;
  });
}

function plainOf(value: Buffer | string | number | Date | null, type: string): string | number | undefined {
  if (value === null) return undefined;
  if (bare(type) === 'uuid') return uuidOfBytes(value as Buffer);
  return bare(type) === 'integer' ? Number(value) : (value as string);
}

export interface SagaStoreOptions {
  database(): Promise<Kysely<unknown>>;
  readonly claiming?: Claiming;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}

/** How sagas run in a database. */
export function sagaOptions<Rows>(
  { database, claiming, clock }: SagaStoreOptions,
  rowsOf: (trx: Trx) => Rows,
): SagaOptions<Rows> {
  return {
    claiming,
    newId: () => uuidV7(clock?.() ?? Date.now()),
    within: async (work) =>
      transaction(await database(), async (trx) =>
        work(rowsOf(trx), clock?.() ?? (await databaseNowMs(trx))),
      ),
  };
}

export interface Page {
  /** An id: those before it. */
  readonly before: string;
  readonly limit: number;
}

/** What people ask of sagas. */
export function sagaFinder<One extends Saga, Own>(
  { database, clock }: Pick<SagaStoreOptions, 'database' | 'clock'>,
  { find, these, key, name, table, open }: SagaSql<One, Own>,
) {
  const all = async (where: RawBuilder<unknown>) => find(await database(), where);
  return {
    find: async (id: string): Promise<Found<One, Own> | undefined> => (await all(these([id])))[0],
    /** In any order. */
    findAll: async (ids: readonly string[]): Promise<readonly Found<One, Own>[]> =>
      ids.length === 0 ? [] : all(these(ids)),
    findBy: all,
    /** The newest first. */
    page: (where: RawBuilder<unknown>, { before, limit }: Page): Promise<readonly Found<One, Own>[]> =>
      all(sql`${where} AND ${key} < ${bytesOfUuid(before)} ORDER BY ${key} DESC LIMIT ${limit}`),
    nextInMs: async (): Promise<number> => unlessAhead(await nextDueInMs(await database(), table, clock?.())),
    /** How many have not ended, by state. */
    async open(): Promise<ReadonlyMap<One['state'], number>> {
      const { rows } = await sql<{ state: One['state']; n: number }>`
        SELECT state, COUNT(*) AS n FROM ${name} WHERE state IN (${sql.join([...open])})
        GROUP BY state`.execute(await database());
      return new Map(rows.map(({ state, n }) => [state, Number(n)]));
    },
  };
}
