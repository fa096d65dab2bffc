/**
 * The promotion join in the simulation: the real worker, from its assignment to its commits, against a hostile Kafka,
 * killed, frozen and joined by others while known purchases and acts come in; then its last words against the oracle.
 */

import { Registry } from 'prom-client';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { partitionFor } from '../../workers/kafka/kafka.ts';
import type { Started } from '../../workers/platform/worker.ts';
import { joinDefaults } from '../../workers/promotion/join.ts';
import { worker } from '../../workers/promotion/join-worker.ts';
import { type OracleAct, type OraclePurchase, oracle } from '../../workers/promotion/oracle.ts';
import { type Life, silentLog, simulateKafka } from './kafka.ts';
import type { World } from './world.ts';

/** Bugs that can be seeded: of what the join stands on, and its own. */
export const promotionBugs = [
  'commitBeforeHandling',
  'noFencing',
  'noCoPartitioning',
  'sendErrorsSwallowed',
  'readsNothingBack',
  'windowEdgeExcluded',
  'actsOnTimeOnly',
] as const;
export type PromotionBug = (typeof promotionBugs)[number];

const pseudonymKey = Buffer.alloc(32, 7);
/** One that can take exemplars, without the process's own metrics. */
function emptyRegistry(): Registry {
  const registry = new Registry();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  return registry;
}
const iso = (ms: number) => new Date(ms).toISOString();

/** Runs one scenario; resolves to what is wrong with the outcome: nothing, if all is well. */
export async function promotionScenario(world: World, bug?: PromotionBug): Promise<string[]> {
  const kafka = simulateKafka(world, 2, bug === undefined ? {} : { [bug]: true });
  const windowMs = bug === 'windowEdgeExcluded' ? 299_999 : 300_000;
  const purchases: OraclePurchase[] = [];
  const acts: OracleAct[] = [];
  const poison: string[] = [];
  const running: { life: Life; started: Started | undefined }[] = [];
  let lives = 0;

  async function start(): Promise<void> {
    lives += 1;
    const life: Life = { name: `join-${lives}`, dead: false, frozen: false };
    const entry: (typeof running)[number] = { life, started: undefined };
    running.push(entry);
    world.note(`${life.name} starts`);
    entry.started = await worker.start({
      config: {
        TIME_ZONE: 'Asia/Seoul',
        JOIN_GRACE_MS: bug === 'actsOnTimeOnly' ? 0 : 300_000,
        JOIN_MISS_HOLD_MS: 1_200,
      },
      kafka: kafka.client(life),
      log: silentLog,
      metrics: emptyRegistry(),
      secrets: { pseudonymKey },
      http: undefined as never,
      relayOutbox: async () => ({ publish() {} }),
      database: () => Promise.reject(new Error('the join needs no database')),
      redis: () => Promise.reject(new Error('the join needs no Redis')),
      fail(error) {
        // As in a process: it ends, and the engine starts another.
        if (life.dead) return;
        world.note(`${life.name} gives up: ${error.message}`);
        life.dead = true;
        world.spawn(restart);
      },
    });
  }

  const restart = async (): Promise<void> => {
    await world.sleep(world.int(300, 3_000));
    await start();
  };
  const alive = () => running.filter(({ life }) => !life.dead);

  // --- what comes in ------------------------------------------------------------------------------------------------

  const users = Array.from({ length: 6 }, (_, index) => `user-${index}`);
  const promotions = ['p1', 'p2', 'p3'];

  /** A record on its user's partition; now and then from a producer that knows nothing of keys, and now and then twice. */
  function put(topic: string, userId: string, value: string): void {
    const foreign = world.chance(0.1);
    const partition = foreign
      ? world.int(0, kafka.partitions - 1)
      : partitionFor(Buffer.from(userId), kafka.partitions);
    const times = world.chance(0.05) ? 2 : 1;
    for (let time = 0; time < times; time += 1)
      kafka.append(topic, partition, { key: foreign ? null : userId, value });
  }

  function putAct(act: OracleAct): void {
    acts.push(act);
    put(topics.promoBehavior.name, act.userId, JSON.stringify(act));
  }

  function putPurchase(userId: string, purchasedMs: number): void {
    const purchase = { purchaseId: `purchase-${purchases.length}`, userId, purchasedAt: iso(purchasedMs) };
    purchases.push(purchase);
    put(
      topics.purchase.name,
      userId,
      JSON.stringify({ ...purchase, productId: 'sku', quantity: 1, price: '₩1,000' }),
    );
  }

  async function input(): Promise<void> {
    for (let count = world.int(20, 60); count > 0; count -= 1) {
      await world.sleep(world.int(0, 250));
      const userId = world.pick(users);
      const nowMs = world.now();
      const act = (actedMs: number): OracleAct => ({
        userId,
        promotionId: world.pick(promotions),
        action: world.chance(0.5) ? 'click' : 'view',
        actedAt: iso(actedMs),
      });
      switch (world.int(0, 7)) {
        case 0:
        case 1:
        case 2:
          putAct(act(nowMs - world.int(0, 400_000)));
          break;
        case 3: {
          // At the very edges of the window, and a millisecond beyond them.
          putPurchase(userId, nowMs);
          putAct(act(nowMs - world.pick([-1, 0, 1, 299_999, 300_000, 300_001])));
          break;
        }
        case 4: {
          const bad =
            world.pick(['{', '{"userId":"x"}', '[]', '{"uid":7,"ts":"yesterday"}']) +
            ' '.repeat(poison.length);
          poison.push(bad);
          kafka.append(topics.purchase.name, world.int(0, kafka.partitions - 1), { key: userId, value: bad });
          break;
        }
        default:
          putPurchase(userId, nowMs - world.int(0, 10_000));
      }
    }
  }

  // --- what goes wrong ----------------------------------------------------------------------------------------------

  async function trouble(): Promise<void> {
    for (let count = world.int(0, 4); count > 0; count -= 1) {
      await world.sleep(world.int(100, 4_000));
      const victim = alive().length > 0 ? world.pick(alive()) : undefined;
      if (victim === undefined) continue;
      switch (world.int(0, 3)) {
        case 0:
        case 1:
          world.note(`${victim.life.name} is killed`);
          victim.life.dead = true;
          await restart();
          break;
        case 2: {
          world.note(`${victim.life.name} freezes`);
          victim.life.frozen = true;
          if (alive().length < 3 && world.chance(0.7)) await start();
          await world.sleep(world.pick([2_000, 11_000, 15_000]));
          victim.life.frozen = false;
          world.note(`${victim.life.name} thaws`);
          break;
        }
        default:
          if (alive().length < 3) await start();
          else if (victim.started !== undefined && !victim.life.frozen) {
            world.note(`${victim.life.name} is told to stop`);
            await victim.started.stop();
            victim.life.dead = true;
          }
      }
    }
  }

  // The window is no setting of the worker: the seeded bug reaches into its defaults.
  Object.assign(joinDefaults, { windowMs });
  await start();
  await Promise.all([input(), trouble()]);
  kafka.heal();
  for (const { life } of running) life.frozen = false;
  if (alive().length === 0) await start();
  await finished();
  return wrongs();

  /** Until all that came in is committed. Rejects when that does not happen. */
  async function finished(): Promise<void> {
    const untilMs = world.now() + 180_000;
    const groupTopics = groups.promotionJoin.topics.map(({ name }) => name);
    for (;;) {
      const behind = groupTopics.flatMap((topic) =>
        Array.from({ length: kafka.partitions }, (_, partition) => ({
          name: `${topic}/${partition}`,
          done: kafka.committed(groups.promotionJoin.id, topic, partition) ?? 0,
          end: kafka.end(topic, partition),
        })).filter(({ done, end }) => done < end),
      );
      if (behind.length === 0) break;
      if (world.now() > untilMs)
        throw new Error(
          `stuck: ${behind.map(({ name, done, end }) => `${name} committed ${done} of ${end}`).join(', ')}`,
        );
      await world.sleep(100);
    }
    // An answer may still be on its way from a member that was put out.
    await world.sleep(5_000);
  }

  function wrongs(): string[] {
    const found: string[] = [];
    const last = new Map<string, { version: number; promotion_affect: number; promotions: unknown }>();
    for (const record of kafka.records(topics.purchaseEnriched.name)) {
      const text = record.value!.toString();
      const answer = JSON.parse(text);
      if (users.some((user) => text.includes(`"${user}"`))) found.push(`personal data in ${text}`);
      const known = last.get(answer.purchaseId);
      if (known === undefined || answer.version > known.version) last.set(answer.purchaseId, answer);
    }
    for (const [id, expected] of oracle(purchases, acts)) {
      const answer = last.get(id);
      if (answer === undefined) found.push(`${id}: lost`);
      else if (JSON.stringify(answer.promotions) !== JSON.stringify(expected.promotions))
        found.push(
          `${id}: says ${JSON.stringify(answer.promotions)}, the oracle ${JSON.stringify(expected.promotions)}`,
        );
      if (answer !== undefined && answer.promotion_affect !== expected.affect)
        found.push(`${id}: wrong promotion_affect`);
    }
    for (const id of last.keys())
      if (!purchases.some(({ purchaseId }) => purchaseId === id)) found.push(`${id}: from nowhere`);
    const republished = new Set(
      kafka.records(topics.promotion.name).map(({ value }) => JSON.parse(value!.toString()).purchaseId),
    );
    for (const [id, { promotion_affect }] of last)
      if ((promotion_affect === 1) !== republished.has(id)) found.push(`${id}: topic promotion disagrees`);
    const letters = new Set(kafka.records(topics.purchaseDlq.name).map(({ value }) => value!.toString()));
    for (const bad of poison) if (!letters.has(bad)) found.push(`no dead letter for ${JSON.stringify(bad)}`);
    return found;
  }
}
