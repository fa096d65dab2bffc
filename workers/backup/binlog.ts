/** What a binary log says of itself, as far as it has to be known to stop at a moment: its events' times and places. Pure. */

const magicBytes = 4;
const headBytes = 19;
/** Begin a transaction: MariaDB's, and MySQL's with and without an id. */
const beginning = new Set([162, 33, 34]);

/** `binlog.000012` -> 12. */
export const numberOf = (file: string): number => Number(/\.(\d{6,})$/.exec(file)?.[1]);
/** The file after this one. */
export const nextFile = (file: string): string =>
  file.replace(/\d+$/, (digits) => String(Number(digits) + 1).padStart(digits.length, '0'));

export interface LogPosition {
  readonly file: string;
  readonly position: number;
}

/** Whether `a` is at or beyond `b` in the same log. */
export const reaches = (a: LogPosition, b: LogPosition): boolean =>
  numberOf(a.file) > numberOf(b.file) || (a.file === b.file && a.position >= b.position);

/**
 * Walks over the events of a file that comes in pieces, and looks at the transactions from place `from` on. `take` gets the next
 * bytes, and answers with the place of the first that began after `stopAtMs` (whole seconds: that is all a log knows; undefined:
 * never), or undefined while there is none. `later`: how many there are by now from that one on. Those behind it have to wait for it,
 * also when a clock that was set back says that they began before it.
 */
export function eventWalk(
  stopAtMs: number | undefined,
  from = 0,
): { take(bytes: Buffer): number | undefined; later(): number } {
  let at = magicBytes;
  let came = 0;
  let rest: Buffer = Buffer.alloc(0);
  let first: number | undefined;
  let later = 0;
  return {
    take(bytes) {
      rest = Buffer.concat([rest, bytes]);
      came += bytes.length;
      for (;;) {
        const next = at - (came - rest.length);
        if (rest.length - next < headBytes) {
          // Bytes that were walked over are not kept.
          rest = rest.subarray(Math.min(rest.length, next));
          return first;
        }
        const [seconds, type] = [rest.readUInt32LE(next), rest.readUInt8(next + 4)];
        if (beginning.has(type) && at >= from) {
          if (seconds * 1_000 > (stopAtMs ?? Number.POSITIVE_INFINITY)) first ??= at;
          if (first !== undefined) later += 1;
        }
        at += Math.max(headBytes, rest.readUInt32LE(next + 9));
      }
    },
    later: () => later,
  };
}
