/** Work that is done several at a time: how much runs, who is next, and up to where all is done. Pure. */

export interface Slots {
  /** Takes one; call the result when the work has ended. Undefined: none is free. */
  take(): (() => void) | undefined;
  /** Takes one when it is free; those who wait have it in the order in which they asked. */
  next(): Promise<() => void>;
  /** How many wait for their next(). */
  waiting(): number;
  /** Resolves when one has become free: whoever asks first hears of it first. It is not taken by that. */
  free(): Promise<void>;
  /** Resolves when nothing runs. */
  idle(): Promise<void>;
}

export function createSlots(count: number): Slots {
  let free = count;
  const queue: ((release: () => void) => void)[] = [];
  let waiting: (() => void)[] = [];
  let idlers: (() => void)[] = [];
  const wake = (list: readonly (() => void)[]) => {
    for (const one of list) one();
  };
  const release = () => {
    const next = queue.shift();
    if (next !== undefined) {
      next(held());
      return;
    }
    free++;
    const woken = waiting;
    waiting = [];
    wake(woken);
    if (free < count) return;
    wake(idlers);
    idlers = [];
  };
  const held = () => {
    let released = false;
    return () => {
      if (!released) release();
      released = true;
    };
  };
  const take = () => {
    if (free === 0) return undefined;
    free--;
    return held();
  };
  return {
    take,
    next: async () => take() ?? new Promise<() => void>((resolve) => queue.push(resolve)),
    waiting: () => queue.length,
    async free() {
      if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    },
    async idle() {
      if (free < count) await new Promise<void>((resolve) => idlers.push(resolve));
    },
  };
}

export interface OffsetTrack {
  /** Notes that a record is being handled; offsets come in ascending order. */
  begin(offset: number): void;
  /** Notes that it is done. The next offset to commit, or undefined while an earlier record is not done. */
  end(offset: number): number | undefined;
}

/** Records end in any order; an offset may be committed only when everything below it is done. */
export function trackOffsets(): OffsetTrack {
  const open: number[] = [];
  const done = new Set<number>();
  return {
    begin: (offset) => void open.push(offset),
    end(offset) {
      done.add(offset);
      let next: number | undefined;
      while (open.length > 0 && done.delete(open[0]!)) next = open.shift()! + 1;
      return next;
    },
  };
}
