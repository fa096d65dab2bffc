/** Databases must say the same of what has ended: checks that compare them. */
import { type RawBuilder, sql } from 'kysely';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';
import { behind, dateAt, type Fresh, freshRows } from '../store/fresh.ts';
import { type Check, evidenceOf, mostBroken } from './checks.ts';

/** For so long a look goes on with what is more than it may ask for at once: after a day, or an outage, that is much. */
const catchUpMs = 2_000;

/** A row of a side: the id (a UUID) by which the sides meet, what is said of it, and where it is in the order of its side. */
export interface SideRow<Key> {
  readonly id: Buffer;
  readonly says: string;
  readonly key: Key;
}

export interface Side {
  /** What is new before a moment. `looked`: it was compared; resolves to whether there may be more. */
  next(upToMs: number): Promise<{ readonly ids: readonly string[]; looked(): boolean }>;
  /** What is said of these. */
  find(ids: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

/** `read`: rows of a condition, with an order and a limit or without. `these`: the condition of ids. */
export function sideOf<Key extends Buffer | Date>(
  fresh: Fresh<Key>,
  read: (which: RawBuilder<unknown>) => Promise<readonly SideRow<Key>[]>,
  these: (ids: readonly Buffer[]) => RawBuilder<unknown>,
): Side {
  return {
    async next(upToMs) {
      const rows = await read(fresh.next(upToMs));
      const keys = rows.map(({ key }) => key);
      return { ids: rows.map(({ id }) => uuidOfBytes(id)), looked: () => fresh.looked(keys, upToMs) };
    },
    async find(ids) {
      const rows = ids.length === 0 ? [] : await read(these(ids.map(bytesOfUuid)));
      return new Map(rows.map(({ id, says }) => [uuidOfBytes(id), says]));
    },
  };
}

/**
 * Compares what is new with what was wrong until there is no more of it. `compare` gets the time and the ids that were wrong, and
 * resolves to those that are, and to whether there may be more that is new.
 */
function comparing(
  what: string,
  compare: (
    nowMs: number,
    wrong: readonly string[],
  ) => Promise<{ readonly odd: readonly string[]; readonly more: boolean }>,
): Check {
  let wrong: ReadonlyMap<string, number> = new Map();
  return async () => {
    const nowMs = Date.now();
    const endMs = performance.now() + catchUpMs;
    for (;;) {
      const { odd, more } = await compare(nowMs, [...wrong.keys()]);
      wrong = new Map(odd.slice(0, mostBroken).map((id) => [id, wrong.get(id) ?? nowMs]));
      if (!more) break;
      if (performance.now() > endMs) throw behind(what);
    }
    return evidenceOf([...wrong].map(([id, sinceMs]) => ({ id, sinceMs })));
  };
}

/**
 * What ended as long ago as the limit, each once, and whatever was wrong until it is right. Two databases have no view of one
 * moment, so both are asked by the id; neither side changes once it is as old as that.
 */
export const agreement = (what: string, limitMs: number, [one, other]: readonly [Side, Side]): Check =>
  comparing(what, async (nowMs, wrong) => {
    const fresh = [await one.next(nowMs - limitMs), await other.next(nowMs - limitMs)];
    const ids = [...new Set([...fresh.flatMap((each) => each.ids), ...wrong])];
    const [oneSays, otherSays] = [await one.find(ids), await other.find(ids)];
    const odd = ids.filter((id) => oneSays.get(id) !== otherSays.get(id));
    return { odd, more: fresh.map((each) => each.looked()).includes(true) };
  });

/** As agreement(), of rows that say themselves, by ids of others, what has to be there: `wrongOf` looks there. */
export function endedLook<Row extends { readonly id: string; readonly endedAt: Date }>(
  what: string,
  limitMs: number,
  {
    idColumn,
    endColumn,
    read,
    wrongOf,
  }: {
    readonly idColumn: string;
    /** When a row has ended. */
    readonly endColumn: string;
    /** Rows of a condition, with an order and a limit or without. */
    read(which: RawBuilder<unknown>): Promise<readonly Row[]>;
    /** The ids of those of which something is wrong. */
    wrongOf(rows: readonly Row[]): Promise<readonly string[]>;
  },
): Check {
  const ended = freshRows(endColumn, dateAt);
  return comparing(what, async (nowMs, wrong) => {
    const upToMs = nowMs - limitMs;
    const fresh = await read(ended.next(upToMs));
    const again =
      wrong.length === 0
        ? []
        : await read(sql`${sql.ref(idColumn)} IN (${sql.join(wrong.map(bytesOfUuid))})`);
    const rows = new Map([...fresh, ...again].map((row) => [row.id, row]));
    const odd = rows.size === 0 ? [] : await wrongOf([...rows.values()]);
    const ends = fresh.map(({ endedAt }) => endedAt);
    return { odd, more: ended.looked(ends, upToMs) };
  });
}
