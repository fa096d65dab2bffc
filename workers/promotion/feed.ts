/**
 * One source, many listeners: the source runs only while somebody listens (and a little longer, so that a client that
 * reconnects finds what it missed), and the last items are kept for that.
 */
import { randomUUID } from 'node:crypto';

export interface FeedItem<T> {
  /** `<run>-<number>`; runs differ, so that an id of another process or of an earlier run is recognised. */
  readonly id: string;
  readonly item: T;
}

export interface Subscription<T> {
  /** Items since `lastEventId`; undefined when that is no longer known (items may have been missed). */
  readonly missed: readonly FeedItem<T>[] | undefined;
  unsubscribe(): void;
}

export interface Feed<T> {
  /** Resolves when the source runs. `onItem` gets what comes from then on, `onEnd` when the source fails or the feed closes. */
  subscribe(
    onItem: (item: FeedItem<T>) => void,
    onEnd: (error?: Error) => void,
    lastEventId?: string,
  ): Promise<Subscription<T>>;
  listeners(): number;
  close(): Promise<void>;
}

export interface FeedOptions<T> {
  /** Starts the source; answers how to stop it. `fail` ends it: all listeners are told, the next one starts it anew. */
  start(emit: (item: T) => void, fail: (error: Error) => void): Promise<() => Promise<void>>;
  /** Items kept for clients that reconnect. */
  readonly keep: number;
  /** How long the source runs on without listeners. */
  readonly lingerMs: number;
}

interface Run<T> {
  readonly id: string;
  readonly stop: Promise<() => Promise<void>>;
  readonly items: FeedItem<T>[];
  next: number;
  timer?: NodeJS.Timeout;
}

/** Nothing runs before the first subscribe. */
export function createFeed<T>(options: FeedOptions<T>): Feed<T> {
  const listeners = new Map<(item: FeedItem<T>) => void, (error?: Error) => void>();
  let run: Run<T> | undefined;
  let closed = false;

  function start(): Run<T> {
    const id = randomUUID().slice(0, 8);
    const emit = (item: T) => {
      if (run !== mine) return;
      const entry = { id: `${id}-${mine.next}`, item };
      mine.next += 1;
      mine.items.push(entry);
      if (mine.items.length > options.keep * 2) mine.items.splice(0, mine.items.length - options.keep);
      for (const listener of listeners.keys()) listener(entry);
    };
    const fail = (error: Error) => {
      if (run === mine) end(error);
    };
    const mine: Run<T> = {
      id,
      items: [],
      next: 0,
      stop: Promise.resolve().then(() => options.start(emit, fail)),
    };
    mine.stop.catch(fail);
    return mine;
  }

  function end(error?: Error): Promise<void> {
    const ended = run;
    run = undefined;
    const told = [...listeners.values()];
    listeners.clear();
    for (const onEnd of told) onEnd(error);
    if (ended === undefined) return Promise.resolve();
    clearTimeout(ended.timer);
    return ended.stop.then(
      (stop) => stop(),
      () => {},
    );
  }

  return {
    async subscribe(onItem, onEnd, lastEventId) {
      if (closed) throw new Error('the feed is closed');
      run ??= start();
      const mine = run;
      clearTimeout(mine.timer);
      listeners.set(onItem, onEnd);
      const unsubscribe = () => {
        listeners.delete(onItem);
        if (run !== mine || listeners.size > 0) return;
        mine.timer = setTimeout(() => {
          if (run === mine && listeners.size === 0) void end().catch(() => {});
        }, options.lingerMs);
        mine.timer.unref();
      };
      const from = lastEventId === undefined ? undefined : /^(.{8})-(\d{1,15})$/.exec(lastEventId);
      const number = Number(from?.[2]) + 1;
      const oldest = mine.next - mine.items.length;
      const known = from?.[1] === mine.id && number >= oldest && number <= mine.next;
      const missed = lastEventId === undefined ? [] : known ? mine.items.slice(number - oldest) : undefined;
      try {
        await mine.stop;
      } catch (error) {
        unsubscribe();
        throw error;
      }
      return { missed, unsubscribe };
    },
    listeners: () => listeners.size,
    async close() {
      closed = true;
      await end();
    },
  };
}
