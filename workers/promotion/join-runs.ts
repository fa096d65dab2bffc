/** How far each source of a partition was read, and up to where its offsets may be committed. No clock, no I/O. */

/** Sources of a partition, as indexes. */
export const source = { purchase: 0, purchaseByUser: 1, act: 2, actByUser: 3 } as const;
export type Source = (typeof source)[keyof typeof source];
/** The four sources, in the order of their numbers. */
export const sources: readonly Source[] = [0, 1, 2, 3];

/** A run of records of one source; its offset may be committed when nothing is open any more. */
export interface ReadRun {
  readonly source: Source;
  /** Offset after the last record. */
  readonly nextOffset: number;
  open: number;
}

export interface ReadRuns {
  /** A run whose offset is to be committed some time, when `tracked`. */
  begin(from: Source, nextOffset: number, tracked: boolean): ReadRun;
  /** Calls `commit` for each source whose committable offset moved on. */
  commits(commit: (from: Source, offset: number) => void): void;
}

export function createReadRuns(): ReadRuns {
  const queues: ReadRun[][] = [[], [], [], []];
  return {
    begin(from, nextOffset, tracked) {
      const run: ReadRun = { source: from, nextOffset, open: 1 };
      if (tracked) queues[from]!.push(run);
      return run;
    },
    commits(commit) {
      for (const from of sources) {
        const queue = queues[from]!;
        let done = 0;
        while (done < queue.length && queue[done]!.open === 0) done += 1;
        if (done === 0) continue;
        const { nextOffset } = queue[done - 1]!;
        queue.splice(0, done);
        commit(from, nextOffset);
      }
    },
  };
}
