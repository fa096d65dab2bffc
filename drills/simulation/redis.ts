/**
 * A simulated Redis: commands take effect one after the other, scripts as a whole. What goes wrong: it is away for a
 * while, an answer is lost after the effect, and it comes back without its last second or without anything.
 *
 * Scripts are Lua, which is not run here: a scenario says in TypeScript what each of them does.
 */

import type { RedisClientType } from 'redis';
import { NotNowError } from '../../workers/base/errors.ts';
import type { Life } from './kafka.ts';
import type { World } from './world.ts';

/** All values are hashes of text; a plain value is the field `''` of its key. */
export interface RedisData {
  get(key: string, field: string): string | undefined;
  set(key: string, field: string, value: string, ttlMs?: number): void;
  delete(key: string, field: string): void;
  all(key: string): ReadonlyMap<string, string>;
}

export type Script = (data: RedisData, keys: readonly string[], args: readonly string[]) => unknown;

export interface SimulatedRedis extends RedisData {
  /** As the platform connects: rejects with MUSTER_REDIS_DOWN when it is away, and so does each command. */
  connect(life: Life): Promise<RedisClientType>;
  heal(): void;
}

interface Stored {
  readonly value: string;
  readonly untilMs: number;
}

const never = new Promise<never>(() => {});

export function simulateRedis(world: World, scripts: ReadonlyMap<string, Script>): SimulatedRedis {
  const keys = new Map<string, Map<string, Stored>>();
  /** How to take back the writes of the last second, which may not be on the disk yet. */
  let unsaved: { readonly atMs: number; undo(): void }[] = [];
  let awayUntilMs = 0;
  let hostile = true;
  const goesWrong = (probability: number) => hostile && world.chance(probability);
  const isAway = () => hostile && world.now() < awayUntilMs;
  const down = (what: string) => new NotNowError('MUSTER_REDIS_DOWN', `simulated: ${what}`);

  function fieldsOf(key: string): Map<string, Stored> {
    const found = keys.get(key) ?? new Map<string, Stored>();
    keys.set(key, found);
    return found;
  }

  function write(key: string, field: string, stored: Stored | undefined): void {
    const fields = fieldsOf(key);
    const before = fields.get(field);
    const put = (one: Stored | undefined) =>
      one === undefined ? fields.delete(field) : fields.set(field, one);
    unsaved = unsaved.filter(({ atMs }) => atMs > world.now() - 1_000);
    unsaved.push({ atMs: world.now(), undo: () => put(before) });
    put(stored);
  }

  const data: RedisData = {
    get(key, field) {
      const stored = fieldsOf(key).get(field);
      return stored === undefined || stored.untilMs <= world.now() ? undefined : stored.value;
    },
    set: (key, field, value, ttlMs = Number.POSITIVE_INFINITY) =>
      write(key, field, { value, untilMs: world.now() + ttlMs }),
    delete: (key, field) => write(key, field, undefined),
    all: (key) => new Map([...fieldsOf(key)].map(([field, { value }]) => [field, value])),
  };

  function crash(): void {
    awayUntilMs = world.now() + world.int(300, 6_000);
    const loss = world.pick(['nothing', 'its last moments', 'everything']);
    world.note(`redis goes away, and loses ${loss}`);
    if (loss === 'everything') for (const fields of keys.values()) fields.clear();
    if (loss === 'its last moments') {
      const lostMs = world.int(1, 1_000);
      for (const { atMs, undo } of unsaved.reverse()) if (atMs > world.now() - lostMs) undo();
    }
    if (loss !== 'nothing') unsaved = [];
  }

  async function command<T>(life: Life, work: () => T): Promise<T> {
    await world.sleep(goesWrong(0.01) ? world.int(200, 2_000) : world.int(1, 4));
    while (life.frozen) await world.sleep(100);
    if (life.dead) await never;
    if (goesWrong(0.03) && !isAway()) crash();
    if (isAway()) throw down('it is away');
    const answer = work();
    await world.sleep(1);
    while (life.frozen) await world.sleep(100);
    if (life.dead) await never;
    if (goesWrong(0.01)) throw down('the answer was lost');
    return answer;
  }

  return {
    ...data,
    async connect(life) {
      await command(life, () => undefined);
      const client = {
        get isReady() {
          return !isAway();
        },
        eval: (script: string, given: { keys: string[]; arguments: string[] }) =>
          command(life, () => scripts.get(script)!(data, given.keys, given.arguments)),
        hGetAll: (key: string) => command(life, () => Object.fromEntries(data.all(key))),
        exists: (key: string) => command(life, () => (data.all(key).size > 0 ? 1 : 0)),
      };
      return client as unknown as RedisClientType;
    },
    heal() {
      hostile = false;
    },
  };
}
