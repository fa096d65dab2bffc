/**
 * A simulated SQL database, as READ COMMITTED transactions see one: row locks that are held to the end, waits that take
 * too long, deadlocks, ids that are drawn before the commit. What goes wrong: it goes down and rolls back what is open,
 * a transaction is rolled back, the answer to a commit is lost, a client dies or freezes with its locks held, it is
 * read-only for a while, it freezes for longer than the watchdog of a consumer has patience.
 */
import { NotNowError } from '../../workers/base/errors.ts';
import { isLockConflict, translateDatabaseError } from '../../workers/store/database-errors.ts';
import type { Life } from './kafka.ts';
import type { World } from './world.ts';

export type Row = readonly [table: string, key: string];

export interface Reader {
  get<T>(table: string, key: string): T | undefined;
  /** Keys of a table, in the order in which they were first set. */
  keys(table: string): readonly string[];
}

/** Rows as a statement sees them: what is committed, and what its own transaction has written. */
export interface Rows extends Reader {
  /** Needs the lock of the row. */
  set(table: string, key: string, value: unknown): void;
  /** Needs the lock of the row. */
  delete(table: string, key: string): void;
  /** Adds a row under the next number, which is drawn now and not at the commit; answers it. */
  add(table: string, value: unknown): string;
}

export interface Transaction {
  /**
   * One statement: waits for the locks of these rows, one after the other, and then reads and writes at one moment. Locks
   * end with the transaction; a row need not exist to be locked.
   */
  statement<T>(
    locks: readonly Row[] | ((rows: Reader) => readonly Row[]),
    work: (rows: Rows) => T,
  ): Promise<T>;
  /** Locks those of the wanted rows that nobody else holds (FOR UPDATE SKIP LOCKED), at most `limit`; answers which. */
  lockFree(wanted: (rows: Reader) => readonly Row[], limit?: number): Promise<readonly Row[]>;
}

export interface SimulatedStore extends Reader {
  /**
   * Runs `work` and commits; on a deadlock or a lock that is not free in time again, as the platform's transaction() does.
   * Rejects with MUSTER_DATABASE_DOWN when it could not, or when nobody knows whether it did; with what `work` throws, and
   * nothing of it done; never, when the process is dead.
   */
  transaction<T>(life: Life, work: (trx: Transaction) => Promise<T>): Promise<T>;
  /** Puts a row there before anything begins. */
  put(table: string, key: string, value: unknown): void;
  /** In three runs of ten: some time from now it is read-only, or answers nothing, for a while. */
  trouble(): Promise<void>;
  heal(): void;
}

export interface StoreBugs {
  /** A transaction is answered as committed before it is. */
  readonly answersBeforeCommit?: boolean;
  /** What a store says that is read-only is taken for a fault of what it was asked. */
  readonly refusalsUnread?: boolean;
}

const attempts = 5;
const lockWaitMs = 5_000;
/** A statement that gets no answer for so long fails, and its connection is dropped. */
const queryTimeoutMs = 10_000;
/** A client that says nothing for so long is cut off (wait_timeout), its locks with it. */
const silenceMs = 60_000;
const never = new Promise<never>(() => {});
const nameOf = ([table, key]: Row) => `${table}/${key}`;

interface Waiter {
  readonly open: Open;
  granted(): void;
  cut(): void;
}

/** A transaction that is under way. */
interface Open {
  readonly life: Life;
  readonly locks: Set<string>;
  /** By table and key; undefined: deleted. */
  readonly written: Map<string, Map<string, unknown>>;
  waitsFor: string | undefined;
  over: boolean;
  lastSeenMs: number;
}

export function simulateStore(world: World, bugs: StoreBugs = {}): SimulatedStore {
  const tables = new Map<string, Map<string, unknown>>();
  const locks = new Map<string, { holder: Open; readonly queue: Waiter[] }>();
  const opened = new Set<Open>();
  let lastNumber = 0;
  let downUntilMs = 0;
  let frozenUntilMs = 0;
  let readOnly = false;
  let hostile = true;
  const goesWrong = (probability: number) => hostile && world.chance(probability);
  const down = (what: string) => new NotNowError('MUSTER_DATABASE_DOWN', `simulated: ${what}`);
  const refusal = (errno: number, what: string) => {
    const said = Object.assign(new Error(`simulated: ${what}`), { errno });
    return bugs.refusalsUnread === true && errno === 1290 ? said : translateDatabaseError(said);
  };

  function tableOf(all: Map<string, Map<string, unknown>>, name: string): Map<string, unknown> {
    const found = all.get(name) ?? new Map<string, unknown>();
    all.set(name, found);
    return found;
  }

  const committed: Reader = {
    get: <T>(table: string, key: string) => tableOf(tables, table).get(key) as T | undefined,
    keys: (table) => [...tableOf(tables, table).keys()],
  };

  function rowsOf(open: Open): Rows {
    const own = (table: string) => tableOf(open.written, table);
    const write = (table: string, key: string, value: unknown) => {
      if (readOnly) throw refusal(1290, 'running with the --read-only option');
      if (!open.locks.has(nameOf([table, key])))
        throw new Error(`the model writes ${table}/${key} without its lock`);
      own(table).set(key, value);
    };
    return {
      get: <T>(table: string, key: string) =>
        own(table).has(key) ? (own(table).get(key) as T | undefined) : committed.get<T>(table, key),
      keys(table) {
        if (own(table).size === 0) return committed.keys(table);
        const keys = new Set([...committed.keys(table), ...own(table).keys()]);
        return [...keys].filter((key) => !own(table).has(key) || own(table).get(key) !== undefined);
      },
      set: write,
      delete: (table, key) => write(table, key, undefined),
      add(table, value) {
        if (readOnly) throw refusal(1290, 'running with the --read-only option');
        lastNumber += 1;
        own(table).set(String(lastNumber), value);
        return String(lastNumber);
      },
    };
  }

  // --- locks --------------------------------------------------------------------------------------------------------

  function tryLock(open: Open, name: string): boolean {
    const lock = locks.get(name);
    if (lock !== undefined) return lock.holder === open;
    locks.set(name, { holder: open, queue: [] });
    open.locks.add(name);
    return true;
  }

  /** Whether `open` would wait for itself: locks are given in the order in which they were asked for. */
  function wouldDeadlock(open: Open, name: string): boolean {
    const awaited = new Set<Open>();
    const follow = (one: Open, lockName: string): void => {
      const { holder, queue } = locks.get(lockName)!;
      const own = queue.findIndex((waiter) => waiter.open === one);
      for (const other of [holder, ...queue.slice(0, own === -1 ? queue.length : own).map((w) => w.open)]) {
        if (awaited.has(other)) continue;
        awaited.add(other);
        if (other.waitsFor !== undefined) follow(other, other.waitsFor);
      }
    };
    follow(open, name);
    return awaited.has(open);
  }

  async function lock(open: Open, name: string): Promise<void> {
    if (open.over) throw down('the connection is gone');
    if (tryLock(open, name)) return;
    if (wouldDeadlock(open, name)) throw refusal(1213, 'a deadlock');
    const { queue } = locks.get(name)!;
    open.waitsFor = name;
    await new Promise<void>((resolve, reject) => {
      const waited = (then: () => void) => () => {
        clearTimeout(timer);
        open.waitsFor = undefined;
        then();
      };
      const waiter: Waiter = {
        open,
        granted: waited(resolve),
        cut: waited(() => reject(down('the connection is gone'))),
      };
      const timer = setTimeout(() => {
        queue.splice(queue.indexOf(waiter), 1);
        open.waitsFor = undefined;
        reject(refusal(1205, 'a lock was not free in time'));
      }, lockWaitMs);
      queue.push(waiter);
    });
  }

  /** Ends a transaction; what it has written is gone unless it was applied before. */
  function end(open: Open): void {
    if (open.over) return;
    open.over = true;
    opened.delete(open);
    if (open.waitsFor !== undefined) {
      const { queue } = locks.get(open.waitsFor)!;
      const [waiter] = queue.splice(
        queue.findIndex((one) => one.open === open),
        1,
      );
      waiter!.cut();
    }
    for (const name of open.locks) {
      const held = locks.get(name)!;
      const next = held.queue.shift();
      if (next === undefined) {
        locks.delete(name);
        continue;
      }
      held.holder = next.open;
      next.open.locks.add(name);
      next.granted();
    }
  }

  /** Connections of dead clients close soon, those of silent ones after a while. */
  world.spawn(async () => {
    for (;;) {
      await world.sleep(500);
      for (const open of opened) if (open.life.dead || world.now() - open.lastSeenMs > silenceMs) end(open);
    }
  });

  // --- transactions -------------------------------------------------------------------------------------------------

  async function thawed({ life }: Open): Promise<void> {
    while (life.frozen) await world.sleep(100);
    if (life.dead) await never;
  }

  /** Waits for a store that is frozen, as long as a client does. */
  async function answered(what: string): Promise<void> {
    const leftMs = frozenUntilMs - world.now();
    if (leftMs <= 0) return;
    await world.sleep(Math.min(leftMs, queryTimeoutMs));
    if (leftMs > queryTimeoutMs) throw down(`${what} got no answer in time`);
  }

  /** A request is on its way; rejects when nothing can be asked. */
  async function ask(open: Open): Promise<void> {
    await world.sleep(goesWrong(0.005) ? world.int(100, 1_000) : world.int(1, 4));
    await thawed(open);
    if (goesWrong(0.002)) {
      downUntilMs = world.now() + world.int(500, 6_000);
      world.note('the store goes down');
      for (const other of opened) end(other);
    }
    await answered('a statement');
    open.lastSeenMs = world.now();
    if (hostile && world.now() < downUntilMs) throw down('it is down');
    if (open.over) throw down('the connection is gone');
  }

  function apply(open: Open): void {
    for (const [table, rows] of open.written)
      for (const [key, value] of rows)
        if (value === undefined) tableOf(tables, table).delete(key);
        else tableOf(tables, table).set(key, value);
    end(open);
  }

  async function commit(open: Open): Promise<void> {
    await world.sleep(world.int(1, 5));
    // A process that dies or freezes here may have sent its COMMIT, or not.
    const sent = !(open.life.dead || open.life.frozen) || world.chance(0.5);
    if (!sent) await thawed(open);
    if (open.over) throw down('the connection is gone');
    // What it was told before it froze it does when it thaws.
    if (frozenUntilMs > world.now() && world.chance(0.5)) apply(open);
    await answered('the commit');
    if (goesWrong(0.01)) throw down('the transaction was rolled back');
    apply(open);
    await thawed(open);
    if (goesWrong(0.015)) throw down('the answer to the commit was lost');
  }

  async function once<T>(life: Life, work: (trx: Transaction) => Promise<T>): Promise<T> {
    const open: Open = {
      life,
      locks: new Set(),
      written: new Map(),
      waitsFor: undefined,
      over: false,
      lastSeenMs: world.now(),
    };
    opened.add(open);
    const rows = rowsOf(open);
    try {
      const result = await work({
        async statement(wanted, run) {
          await ask(open);
          for (const row of typeof wanted === 'function' ? wanted(rows) : wanted)
            await lock(open, nameOf(row));
          await thawed(open);
          if (open.over) throw down('the connection is gone');
          return run(rows);
        },
        async lockFree(wanted, limit = Number.POSITIVE_INFINITY) {
          await ask(open);
          const got: Row[] = [];
          for (const row of wanted(rows)) if (got.length < limit && tryLock(open, nameOf(row))) got.push(row);
          return got;
        },
      });
      if (bugs.answersBeforeCommit === true) world.spawn(() => commit(open).catch(() => end(open)));
      else await commit(open);
      return result;
    } catch (error) {
      end(open);
      throw error;
    }
  }

  return {
    ...committed,
    async transaction(life, work) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await once(life, work);
        } catch (error) {
          if (!isLockConflict(error) || attempt >= attempts) throw error;
          await world.sleep(world.int(0, 10 * 2 ** attempt));
        }
      }
    },
    put: (table, key, value) => void tableOf(tables, table).set(key, value),
    async trouble() {
      if (world.chance(0.7)) return;
      await world.sleep(world.int(0, 4_000));
      if (world.chance(0.5)) {
        world.note('the store is read-only');
        readOnly = true;
        await world.sleep(world.int(2_000, 20_000));
        readOnly = false;
      } else {
        world.note('the store freezes');
        frozenUntilMs = world.now() + world.pick([5_000, 35_000, 155_000]);
        await world.sleep(frozenUntilMs - world.now());
      }
      world.note('the store is itself again');
    },
    heal() {
      hostile = false;
    },
  };
}
