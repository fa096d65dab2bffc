/** Rows that a check looks at once each, in the order of a column: new ones since the last look, so many at a time. */
import { type RawBuilder, sql } from 'kysely';

/** How far back it begins. */
const beginBeforeMs = 86_400_000;

export interface Fresh<Key> {
  /** A condition with its order and its limit: the next rows before a moment (UTC ms), or with all that came later. */
  next(upToMs: number, andLater?: 'and later'): RawBuilder<unknown>;
  /** The rows of `next` were looked at, by their keys; resolves to whether there may be more of them. */
  looked(keys: readonly Key[], upToMs: number): boolean;
}

/** `keyAt`: below all keys of that moment and later, above those of before. Several rows may have one key, fewer than `atOnce`. */
export function freshRows<Key extends Buffer | Date>(
  column: string,
  keyAt: (ms: number) => Key,
  atOnce = 5_000,
): Fresh<Key> {
  const key = sql.ref(column);
  let from: Key | undefined;
  return {
    next(upToMs, andLater) {
      from ??= keyAt(upToMs - beginBeforeMs);
      const before = andLater === undefined ? sql`AND ${key} < ${keyAt(upToMs)}` : sql``;
      return sql`${key} >= ${from} ${before} ORDER BY ${key} LIMIT ${atOnce}`;
    },
    looked(keys, upToMs) {
      const more = keys.length === atOnce;
      from = more ? keys.reduce((a, b) => (isAfter(b, a) ? b : a)) : keyAt(upToMs);
      return more;
    },
  };
}

const isAfter = <Key extends Buffer | Date>(a: Key, b: Key): boolean =>
  Buffer.isBuffer(a) ? a.compare(b as Buffer) > 0 : a > b;

/** Of a column with a time. */
export const dateAt = (ms: number): Date => new Date(ms);

/** What a check rejects with until it has looked at them all: what it has seen so far says nothing of now. */
export const behind = (what: string) =>
  new Error(`it is behind: there are more new ${what} than it may look at at once`);
