/**
 * The promotion join in the simulation: the real worker, from its assignment to its commits, against a hostile Kafka,
 * killed, frozen and joined by others while known purchases and acts come in; then its last words against the oracle.
 */

import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { emptyRegistry } from '../../workers/base/metrics.ts';
import { partitionFor } from '../../workers/kafka/kafka.ts';
import { joinDefaults } from '../../workers/promotion/join.ts';
import { worker } from '../../workers/promotion/join-worker.ts';
import { type OracleAct, type OraclePurchase, oracle } from '../checker/oracle.ts';
import { silentLog, simulateKafka } from './kafka.ts';
import { processes } from './processes.ts';
import { settled } from './settled.ts';
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
const iso = (ms: number) => new Date(ms).toISOString();

/** Runs one scenario; resolves to what is wrong with the outcome: nothing, if all is well. */
export async function promotionScenario(world: World, bug?: PromotionBug): Promise<string[]> {
  const kafka = simulateKafka(world, 2, bug === undefined ? {} : { [bug]: true });
  const windowMs = bug === 'windowEdgeExcluded' ? 299_999 : 300_000;
  const purchases: OraclePurchase[] = [];
  const acts: OracleAct[] = [];
  const poison: string[] = [];
  const joins = processes(world, {
    name: 'join',
    most: 3,
    begin: (life, fail) =>
      worker.start({
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
        fail,
      }),
    stop: (started) => started.stop(),
  });

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
      await joins.trouble(['kill', 'freeze', 'freeze', 'join', 'stop']);
    }
  }

  // The window is no setting of the worker: the seeded bug reaches into its defaults.
  Object.assign(joinDefaults, { windowMs });
  joins.start();
  await Promise.all([input(), trouble()]);
  for (const one of [kafka, joins]) one.heal();
  const reads = [
    { group: groups.promotionJoin.id, topics: groups.promotionJoin.topics.map(({ name }) => name) },
  ];
  await settled(world, { kafka, reads });
  // That one gave up is no wrong: it is its way out of what it cannot know, and the engine starts another.
  return wrongs();

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
