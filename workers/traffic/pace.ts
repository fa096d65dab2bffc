/** How fast people come. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Pace {
  /** Begun a second, whatever becomes of those before; unset: as fast as the hands go. */
  readonly rate: number | undefined;
  /** Hands, where there is no rate. */
  readonly connections: number;
  /** Asked before each. */
  over(): boolean;
}

/** Begins `work` again and again until it is over, and waits for all. Resolves to when the last one was begun, as performance.now(). */
export async function keepPace(
  work: () => Promise<void>,
  { rate, connections, over }: Pace,
): Promise<number> {
  if (rate === undefined) {
    const hand = async () => {
      while (!over()) await work();
    };
    await Promise.all(Array.from({ length: connections }, hand));
    return performance.now();
  }
  const startMs = performance.now();
  const underWay = new Set<Promise<void>>();
  let begun = 0;
  while (!over()) {
    const due = Math.floor(((performance.now() - startMs) * rate) / 1_000) + 1;
    for (; begun < due && !over(); begun++) {
      const one = work().finally(() => underWay.delete(one));
      underWay.add(one);
    }
    await sleep(2);
  }
  const endedMs = performance.now();
  await Promise.all(underWay);
  return endedMs;
}
