/**
 * When a partition's end offset was what: at most 60 points (end offset, time), the lookup table that kafka-lag-exporter
 * published. The time of an offset is interpolated between the two points around it.
 */

export const tablePoints = 60;

export type Lookup =
  /** Written between `fromMs` and `untilMs`, by interpolation at `timeMs`. */
  | { readonly kind: 'covered'; readonly timeMs: number; readonly fromMs: number; readonly untilMs: number }
  /** Written at or before `untilMs`, when the table begins; `timeMs` is where its whole trend points to. */
  | {
      readonly kind: 'before';
      readonly timeMs: number;
      readonly untilMs: number;
      readonly headOffset: number;
    }
  /** At the end or beyond: not written yet, as far as the table knows. */
  | { readonly kind: 'end' }
  | { readonly kind: 'empty' };

/** Most partitions stand still: they need two points. */
const firstCapacity = 4;

export class TimeTable {
  /** Offset and time by turns, oldest first. */
  #points = new Float64Array(2 * firstCapacity);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /**
   * Adds what was seen now. Times must rise: one that goes back (our clock was set) starts the table over, and so does
   * an end offset that goes back (the topic was created anew, or a leader lost records). A standstill is two points.
   */
  add(offset: number, timeMs: number): void {
    const n = this.#length;
    if (n > 0) {
      const lastOffset = this.#points[2 * n - 2]!;
      const lastTime = this.#points[2 * n - 1]!;
      if (timeMs < lastTime || offset < lastOffset) {
        this.clear();
      } else if (timeMs === lastTime) {
        return;
      } else if (offset === lastOffset && n > 1 && this.#points[2 * n - 4] === offset) {
        this.#points[2 * n - 1] = timeMs;
        return;
      }
    }
    this.#push(offset, timeMs);
  }

  clear(): void {
    this.#length = 0;
  }

  lookup(offset: number): Lookup {
    const n = this.#length;
    if (n === 0) return { kind: 'empty' };
    const points = this.#points;
    const lastOffset = points[2 * n - 2]!;
    if (offset >= lastOffset) return { kind: 'end' };
    const headOffset = points[0]!;
    const headTime = points[1]!;
    if (offset < headOffset) {
      const lastTime = points[2 * n - 1]!;
      const perRecordMs = lastOffset > headOffset ? (lastTime - headTime) / (lastOffset - headOffset) : 0;
      return {
        kind: 'before',
        timeMs: headTime - (headOffset - offset) * perRecordMs,
        untilMs: headTime,
        headOffset,
      };
    }
    // The last point at or below the offset: of a standstill its end, for the record came after that.
    let low = 0;
    let high = n - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[2 * middle]! <= offset) low = middle;
      else high = middle;
    }
    const fromOffset = points[2 * low]!;
    const fromMs = points[2 * low + 1]!;
    const untilMs = points[2 * high + 1]!;
    const share = (offset - fromOffset) / (points[2 * high]! - fromOffset);
    return { kind: 'covered', timeMs: fromMs + share * (untilMs - fromMs), fromMs, untilMs };
  }

  #push(offset: number, timeMs: number): void {
    if (this.#length === tablePoints) {
      this.#points.copyWithin(0, 2);
      this.#length--;
    } else if (2 * this.#length === this.#points.length) {
      const bigger = new Float64Array(2 * Math.min(tablePoints, this.#points.length));
      bigger.set(this.#points);
      this.#points = bigger;
    }
    this.#points[2 * this.#length] = offset;
    this.#points[2 * this.#length + 1] = timeMs;
    this.#length++;
  }
}
