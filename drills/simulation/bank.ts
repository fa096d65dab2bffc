/**
 * Banking and the banks behind it in a world: one answer under a key for good, firm bankings that end sooner or later, and
 * events of how, which come late, twice, or with an amount that nobody asked for. What is between it and its callers loses
 * requests and answers, holds them up and delivers them twice (`across`).
 */
import type { FirmbankingDecided } from '../../catalog/events/banking.ts';
import { topics } from '../../catalog/topics.ts';
import { uuidV7 } from '../../workers/base/ids.ts';
import { partitionFor } from '../../workers/kafka/kafka.ts';
import { eventRecord } from '../../workers/kafka/records.ts';
import type { Life, SimulatedKafka } from './kafka.ts';
import type { World } from './world.ts';

export interface BankTransfer {
  readonly id: string;
  readonly key: string;
  /** Whose money it is, and whether it comes to us or leaves. */
  readonly owner: string;
  readonly way: 'IN' | 'OUT';
  readonly amountMinor: number;
  state: 'OPEN' | 'EXECUTED' | 'REJECTED';
}

const topic = topics.firmbankingEvents;

export function simulateBanking(world: World, kafka: SimulatedKafka) {
  const byKey = new Map<string, BankTransfer>();
  const byId = new Map<string, BankTransfer>();
  let hostile = true;

  async function end(one: BankTransfer): Promise<void> {
    await world.sleep(hostile ? world.pick([50, 500, world.int(0, 20_000)]) : 50);
    one.state = world.chance(0.75) ? 'EXECUTED' : 'REJECTED';
    world.note(`bank: ${one.id} of ${one.key} is ${one.state}`);
    const decidedAtMs = world.now();
    for (let copy = world.int(1, 2); copy > 0; copy -= 1) {
      if (hostile && world.chance(0.3)) await world.sleep(world.int(0, 40_000));
      tell(one, one.state, one.amountMinor, { id: `${one.id}-decided`, decidedAtMs });
    }
  }

  function tell(
    one: BankTransfer,
    state: 'EXECUTED' | 'REJECTED',
    amountMinor: number,
    { id, decidedAtMs }: { id: string; decidedAtMs: number },
  ): void {
    const party = (owner: string) => ({ accountId: one.id, owner, bank: 'hana', accountNumber: '****0001' });
    const [from, to] = one.way === 'IN' ? [one.owner, 'house'] : ['house', one.owner];
    const record = eventRecord({
      topic: topic.name,
      key: one.id,
      type: topic.event.type,
      source: '/muster/banking',
      id,
      subject: one.id,
      timeMs: decidedAtMs,
      data: {
        firmbankingId: one.id,
        state,
        ...(state === 'REJECTED' ? { reason: 'NO_MONEY' } : {}),
        bank: 'hana',
        from: party(from),
        to: party(to),
        amount: { amountMinor, currency: 'KRW' },
        decidedAt: new Date(decidedAtMs).toISOString(),
      } satisfies FirmbankingDecided,
    });
    const { key, value, headers = {} } = record;
    kafka.append(topic.name, partitionFor(Buffer.from(one.id), kafka.partitions), { key, value, headers });
  }

  return {
    /** Accepted once a key; the id of the firm banking. */
    accept(key: string, wish: Pick<BankTransfer, 'owner' | 'way' | 'amountMinor'>): string {
      const before = byKey.get(key);
      if (before !== undefined) return before.id;
      const one: BankTransfer = { ...wish, key, id: uuidV7(world.now()), state: 'OPEN' };
      byKey.set(key, one);
      byId.set(one.id, one);
      // Of another transfer, as it seems: an amount that nobody asked for, before anything is decided.
      if (hostile && world.chance(0.15))
        world.spawn(async () => {
          await world.sleep(world.int(0, 3_000));
          if (one.state === 'OPEN')
            tell(one, 'EXECUTED', one.amountMinor + 1_000, {
              id: `${one.id}-other`,
              decidedAtMs: world.now(),
            });
        });
      world.spawn(() => end(one));
      return one.id;
    },
    find: (id: string) => byId.get(id)!,
    all: () => [...byKey.values()],
    heal() {
      hostile = false;
    },
  };
}

export type Lost = 'AWAY' | 'UNCLEAR';

/** Calls across a network that has no promises: `away`: it did not leave, `UNCLEAR`: nobody here knows what became of it. */
export function simulateNetwork(world: World, timeoutMs: number) {
  let hostile = true;
  return {
    async call<T>(
      life: Life,
      serve: () => Promise<T>,
    ): Promise<{ readonly answer: T } | { readonly lost: Lost }> {
      const goesWrong = (probability: number) => hostile && world.chance(probability);
      while (life.frozen) await world.sleep(100);
      if (goesWrong(0.03)) return { lost: 'AWAY' };
      await world.sleep(world.int(1, 5));
      if (goesWrong(0.04)) return { lost: 'UNCLEAR' };
      const served = async (): Promise<{ readonly answer: T } | undefined> => {
        if (goesWrong(0.05)) await world.sleep(world.int(100, 30_000));
        return serve().then(
          (answer) => ({ answer }),
          () => undefined,
        );
      };
      // A twin that the network has kept comes when it likes.
      if (goesWrong(0.05))
        world.spawn(async () => {
          await world.sleep(world.int(0, 30_000));
          await served();
        });
      const answer = await Promise.race([served(), world.sleep(timeoutMs).then(() => undefined)]);
      while (life.frozen) await world.sleep(100);
      return answer === undefined || goesWrong(0.06) ? { lost: 'UNCLEAR' } : answer;
    },
    heal() {
      hostile = false;
    },
  };
}
