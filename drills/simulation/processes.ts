/** Processes of one kind in a world: started, killed, frozen, told to stop, and started anew as the engine would. */
import type { Life } from './kafka.ts';
import type { World } from './world.ts';

export interface Process<T> {
  readonly life: Life;
  /** What it runs; undefined while it starts. */
  work: T | undefined;
}

export interface Processes<T> {
  start(): void;
  /** Those that are not dead. */
  alive(): readonly Process<T>[];
  /** Lets one of `disasters` happen to one of them. */
  trouble(disasters: readonly Disaster[]): Promise<void>;
  /** Why some could not go on: nothing that happens in these worlds is a reason. */
  gaveUp(): readonly string[];
  /** All thaw, and at least one is there. */
  heal(): void;
}

export type Disaster = 'kill' | 'freeze' | 'join' | 'stop';

export interface ProcessesOptions<T> {
  readonly name: string;
  /** Most of them at the same time. */
  readonly most: number;
  /** `fail` is for those that cannot go on. */
  begin(life: Life, fail: (error: Error) => void): Promise<T>;
  /** Stops one in good order. */
  stop?(work: T): Promise<void>;
}

export function processes<T>(world: World, options: ProcessesOptions<T>): Processes<T> {
  const all: Process<T>[] = [];
  const gaveUp: string[] = [];
  const alive = () => all.filter(({ life }) => !life.dead);

  function start(): void {
    const life: Life = { name: `${options.name}-${all.length + 1}`, dead: false, frozen: false };
    const process: Process<T> = { life, work: undefined };
    all.push(process);
    world.note(`${life.name} starts`);
    world.spawn(async () => {
      process.work = await options.begin(life, (error) => {
        if (life.dead) return;
        world.note(`${life.name} gives up: ${error.message}`);
        gaveUp.push(`${life.name} gave up: ${error.message}`);
        life.dead = true;
        world.spawn(restart);
      });
    });
  }

  async function restart(): Promise<void> {
    await world.sleep(world.int(300, 3_000));
    start();
  }

  return {
    start,
    alive,
    gaveUp: () => gaveUp,
    async trouble(disasters) {
      const victims = alive();
      if (victims.length === 0) return;
      const { life, work } = world.pick(victims);
      switch (world.pick(disasters)) {
        case 'kill':
          world.note(`${life.name} is killed`);
          life.dead = true;
          await restart();
          break;
        case 'freeze':
          world.note(`${life.name} freezes`);
          life.frozen = true;
          if (victims.length < options.most && world.chance(0.7)) start();
          // Shorter than a wait for its locks, than its session, and longer than the store holds on to a silent client.
          await world.sleep(world.pick([1_000, 4_000, 4_000, 12_000, 12_000, 70_000]));
          life.frozen = false;
          world.note(`${life.name} thaws`);
          break;
        case 'join':
          if (victims.length < options.most) start();
          break;
        case 'stop':
          if (work === undefined || life.frozen) break;
          world.note(`${life.name} is told to stop`);
          await Promise.race([options.stop?.(work), world.sleep(10_000)]);
          life.dead = true;
          if (alive().length === 0) await restart();
      }
    },
    heal() {
      for (const { life } of all) life.frozen = false;
      if (alive().length === 0) start();
    },
  };
}
