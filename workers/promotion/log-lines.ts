/** Cuts the bytes of a log file into lines; knows nothing of files. */

export type LogLine =
  /** A line without its end (LF or CRLF) and without a byte order mark at the start of the file. */
  | { readonly kind: 'line'; readonly offset: number; readonly bytes: Buffer }
  /** A line longer than allowed: its beginning; the rest is passed over. */
  | { readonly kind: 'too-long'; readonly offset: number; readonly bytes: Buffer };

export interface Cut {
  readonly lines: readonly LogLine[];
  /** Bytes that are done with; the rest is the beginning of a line whose end is not there yet. */
  readonly consumed: number;
  /** The present line was too long and its end has not been seen: what follows up to LF belongs to it. */
  readonly skipping: boolean;
}

const LF = 0x0a;
const CR = 0x0d;

/**
 * @param buffer bytes of the file from `at.offset` on
 * @param options.maxLineBytes longer lines are not kept whole
 * @param options.keepBytes how much of a too long line is kept
 * @param options.maxLines at most as many lines are cut
 * @param options.final the file ends with the buffer and nobody writes to it any more: the last line needs no end
 */
export function cutLines(
  buffer: Buffer,
  at: { readonly offset: number; readonly skipping: boolean },
  options: {
    readonly maxLineBytes: number;
    readonly keepBytes: number;
    readonly maxLines: number;
    readonly final: boolean;
  },
): Cut {
  const lines: LogLine[] = [];
  let from = 0;
  let skipping = at.skipping;
  while (from < buffer.length && lines.length < options.maxLines) {
    if (skipping) {
      const end = buffer.indexOf(LF, from);
      if (end === -1) return { lines, consumed: buffer.length, skipping: !options.final };
      from = end + 1;
      skipping = false;
      continue;
    }
    // A writer without O_APPEND leaves a hole of NULs when its file is truncated under it; its line begins after the hole.
    let start = from;
    while (start < buffer.length && buffer[start] === 0) start += 1;
    if (start === buffer.length) {
      if (options.final) from = start;
      break;
    }
    const bom =
      at.offset + start === 0 && buffer[0] === 0xef && buffer[1] === 0xbb && buffer[2] === 0xbf ? 3 : 0;
    const end = buffer.indexOf(LF, start);
    const length = (end === -1 ? buffer.length : end) - start;
    if (length > options.maxLineBytes) {
      lines.push({
        kind: 'too-long',
        offset: at.offset + start,
        bytes: buffer.subarray(start, start + options.keepBytes),
      });
      if (end === -1) return { lines, consumed: buffer.length, skipping: !options.final };
      from = end + 1;
      continue;
    }
    if (end === -1 && !options.final) {
      from = start;
      break;
    }
    const next = end === -1 ? buffer.length : end + 1;
    const last = end === -1 ? buffer.length : end;
    const withoutCr = last > start && buffer[last - 1] === CR ? last - 1 : last;
    lines.push({
      kind: 'line',
      offset: at.offset + start,
      bytes: buffer.subarray(Math.min(start + bom, withoutCr), withoutCr),
    });
    from = next;
  }
  return { lines, consumed: from, skipping };
}
