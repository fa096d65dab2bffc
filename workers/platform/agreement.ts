/** Two databases must say the same of what has ended: a check that compares them in both directions. */
import type { RawBuilder } from 'kysely';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';
import { behind, type Fresh } from '../store/fresh.ts';
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
 * What ended as long ago as the limit, each once, and whatever was wrong until it is right. Two databases have no view of one
 * moment, so both are asked by the id; neither side changes once it is as old as that.
 */
export function agreement(what: string, limitMs: number, [one, other]: readonly [Side, Side]): Check {
  let wrong: ReadonlyMap<string, number> = new Map();

  /** Resolves to whether there may be more. */
  async function compare(nowMs: number): Promise<boolean> {
    const fresh = [await one.next(nowMs - limitMs), await other.next(nowMs - limitMs)];
    const ids = [...new Set([...fresh.flatMap((each) => each.ids), ...wrong.keys()])];
    const [oneSays, otherSays] = [await one.find(ids), await other.find(ids)];
    const odd = ids.filter((id) => oneSays.get(id) !== otherSays.get(id)).slice(0, mostBroken);
    wrong = new Map(odd.map((id) => [id, wrong.get(id) ?? nowMs]));
    return fresh.map((each) => each.looked()).includes(true);
  }

  return async () => {
    const nowMs = Date.now();
    const endMs = performance.now() + catchUpMs;
    while (await compare(nowMs)) if (performance.now() > endMs) throw behind(what);
    return evidenceOf([...wrong].map(([id, sinceMs]) => ({ id, sinceMs })));
  };
}
