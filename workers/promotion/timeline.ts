/**
 * Merges both inputs into one stream that is in order of event time per user.
 *
 * What comes out of order is held back for at most `delayMs`: an event leaves when its time is up, and takes along,
 * before itself, whatever of the same user happened earlier and has arrived meanwhile. What arrives after a later
 * event of its user has left is late: it is passed on at once and flagged, never dropped.
 */

export interface TimelineEvent<T> {
  readonly user: string;
  /** Event time, UTC ms. */
  readonly timeMs: number;
  /** Order among events of the same ms: acts (0) come before purchases (1), because the join's window includes them. */
  readonly rank: 0 | 1;
  readonly item: T;
}

export interface Released<T> {
  readonly item: T;
  /** A later event of the same user has been released before. */
  readonly late: boolean;
}

export interface Timeline<T> {
  /** Takes one event in; returns it at once when it is late, or the oldest held ones when too many are held. */
  push(event: TimelineEvent<T>, nowMs: number): Released<T>[];
  /** What is due at `nowMs` (any monotonic clock, the same as in push). */
  advance(nowMs: number): Released<T>[];
  /** Events held back now. */
  held(): number;
}

interface Held<T> extends TimelineEvent<T> {
  readonly dueMs: number;
  readonly sequence: number;
  gone: boolean;
}

/**
 * @param options.delayMs longest time an event is held back
 * @param options.maxHeld with more than this the oldest leave early
 * @param options.rememberMs how long a user's last event time is remembered, for the late flag
 */
export function createTimeline<T>(options: {
  readonly delayMs: number;
  readonly maxHeld: number;
  readonly rememberMs: number;
}): Timeline<T> {
  /** In order of arrival, which is the order of due times too, as all wait equally long. */
  let queue: Held<T>[] = [];
  let head = 0;
  let count = 0;
  let sequence = 0;
  const users = new Map<string, Held<T>[]>();
  /** Last released event time by user; a Map keeps insertion order, so the longest unused come first. */
  const released = new Map<string, { readonly timeMs: number; readonly atMs: number }>();

  const before = (a: Held<T>, b: Held<T>) =>
    a.timeMs - b.timeMs || a.rank - b.rank || a.sequence - b.sequence;

  function releaseUpTo(last: Held<T>, nowMs: number): Released<T>[] {
    const held = users.get(last.user)!;
    const end = held.indexOf(last) + 1;
    const out = held.splice(0, end);
    if (held.length === 0) users.delete(last.user);
    for (const event of out) event.gone = true;
    count -= out.length;
    released.delete(last.user);
    released.set(last.user, { timeMs: last.timeMs, atMs: nowMs });
    return out.map((event) => ({ item: event.item, late: false }));
  }

  function takeWhile(condition: (event: Held<T>) => boolean, nowMs: number): Released<T>[] {
    const out: Released<T>[] = [];
    for (; head < queue.length; head += 1) {
      const event = queue[head]!;
      if (event.gone) continue;
      if (!condition(event)) break;
      out.push(...releaseUpTo(event, nowMs));
    }
    if (head > 1024 && head * 2 > queue.length) {
      queue = queue.slice(head);
      head = 0;
    }
    return out;
  }

  return {
    push(event, nowMs) {
      const last = released.get(event.user);
      if (last !== undefined && event.timeMs < last.timeMs) return [{ item: event.item, late: true }];
      const entry: Held<T> = { ...event, dueMs: nowMs + options.delayMs, sequence, gone: false };
      sequence += 1;
      count += 1;
      queue.push(entry);
      const held = users.get(event.user);
      if (held === undefined) users.set(event.user, [entry]);
      else {
        // Nearly always at the end: most events arrive in order.
        let at = held.length;
        while (at > 0 && before(entry, held[at - 1]!) < 0) at -= 1;
        held.splice(at, 0, entry);
      }
      return takeWhile(() => count > options.maxHeld, nowMs);
    },
    advance(nowMs) {
      const out = takeWhile((event) => event.dueMs <= nowMs, nowMs);
      for (const [user, { atMs }] of released) {
        if (atMs + options.rememberMs > nowMs) break;
        released.delete(user);
      }
      return out;
    },
    held: () => count,
  };
}
