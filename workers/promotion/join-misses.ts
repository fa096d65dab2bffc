/** Purchases without an act so far, which wait for the act side to be read. No clock of its own, no I/O. */
import type { HeldPurchase } from './join-state.ts';

/** End offsets of the act sources. */
export interface ActEnds {
  readonly act: number;
  readonly actByUser: number;
}

export interface Misses {
  hold(purchase: HeldPurchase, nowMs: number): void;
  /** An answer was found for one that waits. */
  answered(): void;
  /** End offsets observed by a request that began at `askedMs`: they cover those that were held before. */
  observeEnds(askedMs: number, ends: ActEnds): void;
  /**
   * Takes out those whose wait is over, the first first: `missHoldMs` went by, or `passed` says so of the ends that were
   * observed after it came. One that still waits keeps all behind it.
   */
  takeOver(
    nowMs: number,
    passed: (purchase: HeldPurchase, ends: ActEnds | undefined) => boolean,
    take: (purchase: HeldPurchase) => void,
  ): void;
  /** Whether some came after the last observation of the ends. */
  waitForEnds(): boolean;
  count(): number;
}

export function createMisses(missHoldMs: number): Misses {
  // In the order they came; `targets` say which ends cover those before `upTo`.
  let held: { readonly purchase: HeldPurchase; readonly sinceMs: number }[] = [];
  let head = 0;
  let base = 0;
  let count = 0;
  const targets: { readonly upTo: number; readonly ends: ActEnds }[] = [];
  return {
    hold(purchase, nowMs) {
      held.push({ purchase, sinceMs: nowMs });
      count += 1;
    },
    answered() {
      count -= 1;
    },
    observeEnds(askedMs, ends) {
      let index = held.length;
      while (index > head && held[index - 1]!.sinceMs > askedMs) index -= 1;
      const upTo = base + index;
      const last = targets[targets.length - 1];
      if (index > head && (last === undefined || upTo > last.upTo)) targets.push({ upTo, ends });
    },
    takeOver(nowMs, passed, take) {
      for (; head < held.length; head += 1) {
        const { purchase, sinceMs } = held[head]!;
        if (purchase.heldBy === undefined) continue;
        while (targets.length > 0 && targets[0]!.upTo <= base + head) targets.shift();
        if (nowMs - sinceMs < missHoldMs && !passed(purchase, targets[0]?.ends)) break;
        take(purchase);
      }
      if (head === held.length || (head > 1024 && head * 2 > held.length)) {
        held = held.slice(head);
        base += head;
        head = 0;
      }
    },
    waitForEnds() {
      if (count === 0) return false;
      const last = targets[targets.length - 1];
      return last === undefined || last.upTo < base + held.length;
    },
    count: () => count,
  };
}
