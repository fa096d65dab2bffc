/**
 * A simulated transactional store: tables of rows by key, one transaction after the other (serialisable), all of it or
 * nothing. What goes wrong: it is down for a while, a transaction is rolled back, or the answer to a commit is lost.
 */
import { isDependencyDown } from '../../workers/platform/consumer.ts';
import { MusterError } from '../../workers/platform/errors.ts';
import type { Life } from './kafka.ts';
import type { World } from './world.ts';

export interface Rows {
  get<T>(table: string, key: string): T | undefined;
  set(table: string, key: string, value: unknown): void;
  delete(table: string, key: string): void;
  /** Keys of a table, in the order in which they were first set. */
  keys(table: string): readonly string[];
}

export interface SimulatedStore extends Rows {
  /**
   * Runs `work` on the rows and commits. Rejects with MUSTER_DATABASE_DOWN when it could not, or when nobody knows
   * whether it did; with what `work` throws, and nothing of it done; never, when the process is dead.
   */
  transaction<T>(life: Life, work: (rows: Rows) => T): Promise<T>;
  heal(): void;
}

export function simulateStore(world: World): SimulatedStore {
  const tables = new Map<string, Map<string, unknown>>();
  let turn: Promise<unknown> = Promise.resolve();
  let downUntilMs = 0;
  let hostile = true;
  const never = new Promise<never>(() => {});
  const goesWrong = (probability: number) => hostile && world.chance(probability);
  const table = (name: string) => {
    const found = tables.get(name) ?? new Map<string, unknown>();
    tables.set(name, found);
    return found;
  };
  const rows: Rows = {
    get: <T>(name: string, key: string) => table(name).get(key) as T | undefined,
    set: (name, key, value) => void table(name).set(key, value),
    delete: (name, key) => void table(name).delete(key),
    keys: (name) => [...table(name).keys()],
  };
  const down = (what: string) => new MusterError('MUSTER_DATABASE_DOWN', `simulated: ${what}`);

  /** Writes are noted with what was there before, to be taken back. */
  function undoable(): { rows: Rows; undo(): void } {
    const before: (() => void)[] = [];
    const remember = (name: string): void => {
      const old = new Map(table(name));
      before.push(() => tables.set(name, old));
    };
    return {
      rows: {
        ...rows,
        set(name, key, value) {
          remember(name);
          rows.set(name, key, value);
        },
        delete(name, key) {
          remember(name);
          rows.delete(name, key);
        },
      },
      undo() {
        for (const restore of before.reverse()) restore();
      },
    };
  }

  async function one<T>(life: Life, work: (rows: Rows) => T): Promise<T> {
    await world.sleep(goesWrong(0.02) ? world.int(100, 1_000) : world.int(1, 10));
    while (life.frozen) await world.sleep(100);
    if (life.dead) await never;
    if (goesWrong(0.01)) {
      downUntilMs = world.now() + world.int(500, 6_000);
      world.note('the store goes down');
    }
    if (world.now() < downUntilMs && hostile) throw down('it is down');
    const { rows: mine, undo } = undoable();
    let result: T;
    try {
      result = work(mine);
    } catch (error) {
      undo();
      throw error;
    }
    // A process that dies here may have sent its COMMIT, or not.
    if (life.dead && world.chance(0.5)) {
      undo();
      await never;
    }
    if (goesWrong(0.02)) {
      undo();
      throw down('the transaction was rolled back');
    }
    if (goesWrong(0.02)) throw down('the answer to the commit was lost');
    return result;
  }

  return {
    ...rows,
    async transaction(life, work) {
      const result = turn.then(() => one(life, work));
      // A dead process lets go of its locks.
      turn = Promise.race([result.catch(() => undefined), world.sleep(3_000)]);
      const answer = await result.then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      );
      await world.sleep(world.int(1, 5));
      while (life.frozen) await world.sleep(100);
      if (life.dead) await never;
      if ('error' in answer) throw answer.error;
      return answer.value;
    },
    heal() {
      hostile = false;
    },
  };
}

/** Tries again for as long as the store is down. */
export async function untilUp<T>(world: World, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isDependencyDown(error)) throw error;
      await world.sleep(200);
    }
  }
}
