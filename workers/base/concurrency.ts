/** Records of a partition handled several at a time: how many run, and up to where all are done. Pure. */

export interface Slots {
  /** Resolves when one is free, first come first served; call the result when the work has ended. */
  take(): Promise<() => void>;
  /** Resolves when nothing runs. */
  idle(): Promise<void>;
}

export function createSlots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  let idlers: (() => void)[] = [];
  const release = () => {
    const next = waiting.shift();
    if (next !== undefined) {
      next();
      return;
    }
    free++;
    if (free < count) return;
    for (const idler of idlers) idler();
    idlers = [];
  };
  return {
    async take() {
      if (free > 0) free--;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      let released = false;
      return () => {
        if (released) return;
        released = true;
        release();
      };
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
