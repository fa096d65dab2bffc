/** Records of a partition handled several at a time: how many run, and up to where all are done. Pure. */

export interface Slots {
  /** Takes one; call the result when the work has ended. Undefined: none is free. */
  take(): (() => void) | undefined;
  /** Resolves when one has become free: whoever asks first hears of it first. */
  free(): Promise<void>;
  /** Resolves when nothing runs. */
  idle(): Promise<void>;
}

export function createSlots(count: number): Slots {
  let free = count;
  let waiting: (() => void)[] = [];
  let idlers: (() => void)[] = [];
  const wake = (list: readonly (() => void)[]) => {
    for (const one of list) one();
  };
  const release = () => {
    free++;
    const woken = waiting;
    waiting = [];
    wake(woken);
    if (free < count) return;
    wake(idlers);
    idlers = [];
  };
  return {
    take() {
      if (free === 0) return undefined;
      free--;
      let released = false;
      return () => {
        if (!released) release();
        released = true;
      };
    },
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
