/**
 * Coupons in the simulation: intake, outbox, the deciding worker with its locks in Redis and its outcomes, in both
 * orderings. People ask, several processes take in and decide, and all of them die, freeze and come back between any two
 * steps; then what the store, the topics and the answers say must agree, to the last request.
 */
import type { CouponResult } from '../../catalog/events/coupon.ts';
import { uuidV7 } from '../../workers/base/ids.ts';
import { type Intake, startIntake } from '../../workers/coupon/intake.ts';
import type { CouponState } from '../../workers/coupon/issue.ts';
import { startHandler } from '../../workers/coupon/issue-consumer.ts';
import { acquireScript, redisLocks, releaseScript } from '../../workers/coupon/lock.ts';
import { orderings } from '../../workers/coupon/ordering.ts';
import { deadLetterSuffix } from '../../workers/kafka/dead-letters.ts';
import { partitionFor } from '../../workers/kafka/kafka.ts';
import { eventRecord } from '../../workers/kafka/records.ts';
import type { Relay } from '../../workers/store/relay.ts';
import { type DecidedRow, type HistoryRow, type SimulatedCoupon, simulatedRequests } from './coupon-rows.ts';
import { wrongEventLog } from './event-log.ts';
import { type Life, silentLog, simulateKafka } from './kafka.ts';
import { processes } from './processes.ts';
import { type Script, simulateRedis } from './redis.ts';
import { relayOutbox, unpublished } from './relay.ts';
import { settled } from './settled.ts';
import { simulateStore } from './store.ts';
import type { World } from './world.ts';

export const couponBugs = [
  'commitBeforeHandling',
  'sendErrorsSwallowed',
  'answersBeforeCommit',
  'lockOnly',
  'decidedNotAsked',
  'judgedByHandling',
  'notInOutbox',
  'outboxForgottenBeforeAck',
  'takenRowsForgotten',
  'givenUpForgotten',
  'refusalsUnread',
  'waitsUnseen',
] as const;
export type CouponBug = (typeof couponBugs)[number];

const pseudonymKey = Buffer.alloc(32, 7);
const both = Object.values(orderings);
const resultTopics = new Set(both.flatMap(({ successTopic, failureTopic }) => [successTopic, failureTopic]));

/** What the scripts of the locks do. */
const scripts = new Map<string, Script>([
  [
    acquireScript,
    (data, keys, [token, ttlMs]) =>
      keys.flatMap((key, index) => {
        if (data.get(key, '') !== undefined) return [];
        data.set(key, '', token!, Number(ttlMs));
        return [index + 1];
      }),
  ],
  [
    releaseScript,
    (data, keys, [token]) => {
      for (const key of keys) if (data.get(key, '') === token) data.delete(key, '');
      return 0;
    },
  ],
]);

/** Runs one scenario; resolves to what is wrong with the outcome. */
export async function couponScenario(world: World, bug?: CouponBug): Promise<readonly string[]> {
  const bugs = bug === undefined ? {} : { [bug]: true };
  const kafka = simulateKafka(world, 2, bugs);
  const store = simulateStore(world, bugs);
  const redis = simulateRedis(world, scripts);
  const requestsOf = simulatedRequests(world, store, bugs);
  const beganMs = world.now();
  /** Requests that were answered with 202, and those that a foreign producer has written: all must be decided. */
  const owed = new Set<string>();
  const refused: string[] = [];
  /** Users and coupons whose requests also came on partitions that are not theirs: no order is promised for them. */
  const unordered = new Set<string>();

  const apis = processes<{ readonly intake: Intake; readonly relay: Relay }>(world, {
    name: 'api',
    most: 2,
    async begin(life) {
      const producer = await kafka.client(life).producer('outbox');
      const relay = relayOutbox(world, { life, store, producer }, bugs);
      return { intake: startIntake({ store: requestsOf(life), relay, orderings }), relay };
    },
    stop: ({ relay }) => relay.stop(),
  });

  const deciders = processes(world, {
    name: 'issue',
    most: 3,
    async begin(life: Life, fail) {
      const port = kafka.client(life);
      const producer = await port.producer('coupon-issue');
      const locks = redisLocks(() => redis.connect(life), silentLog);
      return Promise.all(
        both.map((ordering) =>
          startHandler({
            kafka: port,
            store: requestsOf(life),
            producer,
            ordering,
            locks,
            pseudonymKey,
            log: silentLog,
            maxBatch: world.pick([3, 500]),
            onFatal: fail,
          }),
        ),
      );
    },
    stop: async (handlers) => void (await Promise.all(handlers.map((handler) => handler.stop()))),
  });

  // --- what comes in ------------------------------------------------------------------------------------------------

  const users = Array.from({ length: 8 }, (_, index) => `user-${index}`);
  const couponIds = ['c1', 'c2', 'c3'];
  for (const couponId of couponIds) {
    const coupon: SimulatedCoupon = {
      orderBy: world.pick(['user', 'coupon'] as const),
      stock: world.int(1, 6),
      issued: 0,
      validFromMs: world.chance(0.2) ? beganMs + world.int(0, 3_000) : undefined,
      validUntilMs: world.chance(0.3) ? beganMs + world.int(1_000, 8_000) : undefined,
    };
    store.put('coupon', couponId, coupon);
  }

  const orderingFor = (couponId: string) =>
    orderings[store.get<SimulatedCoupon>('coupon', couponId)?.orderBy ?? 'user'];

  function append(partition: number, data: { requestId: string; userId: string; couponId: string }): string {
    const ordering = orderingFor(data.couponId);
    const { key, value, headers } = eventRecord({
      topic: ordering.requestTopic,
      key: ordering.requestKey(data),
      type: 'CouponRequest',
      source: '/simulation',
      id: data.requestId,
      timeMs: world.now(),
      data,
    });
    kafka.append(ordering.requestTopic, partition, { key, value, headers: headers! });
    return String(value);
  }

  async function comesIn(): Promise<void> {
    for (let count = world.int(20, 80); count > 0; count -= 1) {
      // In rushes.
      await world.sleep(world.chance(0.9) ? world.int(0, 20) : world.int(100, 2_000));
      const userId = world.pick(users);
      const couponId = world.chance(0.05) ? 'unknown' : world.pick(couponIds);
      const request = { requestId: uuidV7(world.now()), userId, couponId };
      const ordering = orderingFor(couponId);
      const home = partitionFor(Buffer.from(ordering.requestKey(request)), kafka.partitions);
      const intake = world.pick([...apis.alive(), undefined])?.work?.intake;
      switch (world.int(0, 19)) {
        case 0: {
          // A producer that knows nothing of keys, and sends twice.
          unordered.add(userId).add(couponId);
          owed.add(request.requestId);
          append(world.int(0, kafka.partitions - 1), request);
          append(world.int(0, kafka.partitions - 1), request);
          break;
        }
        case 1:
          owed.add(request.requestId);
          append(home, request);
          if (world.chance(0.5)) append(home, request);
          break;
        case 2: {
          const bad = world.pick(['{', '[]', '{"requestId":"x"}']) + ' '.repeat(refused.length);
          refused.push(bad);
          kafka.append(ordering.requestTopic, home, { key: userId, value: bad });
          break;
        }
        case 3: {
          const [known] = owed;
          const row = known === undefined ? undefined : store.get<DecidedRow>('request', known);
          if (row === undefined) break;
          const other = row.userId === userId ? `${userId}-other` : userId;
          refused.push(append(home, { requestId: known!, userId: other, couponId: row.couponId }));
          break;
        }
        default:
          // Who gets no answer asks again: another request.
          intake?.request({ userId, couponId }).then(
            (requestId) => owed.add(requestId),
            () => undefined,
          );
      }
    }
  }

  async function trouble(): Promise<void> {
    for (let count = world.int(0, 4); count > 0; count -= 1) {
      await world.sleep(world.int(100, 4_000));
      if (world.chance(0.3)) await apis.trouble(['kill', 'kill', 'freeze', 'join', 'stop']);
      else await deciders.trouble(['kill', 'kill', 'freeze', 'freeze', 'join', 'stop']);
    }
  }

  apis.start();
  deciders.start();
  if (world.chance(0.5)) deciders.start();
  await Promise.all([comesIn(), trouble(), store.trouble()]);
  for (const one of [kafka, store, redis, apis, deciders]) one.heal();
  await settled(world, {
    kafka,
    reads: both.map(({ group, requestTopic }) => ({ group: group.id, topics: [requestTopic] })),
    open: () => unpublished(world, store),
  });
  return [...wrongs(), ...deciders.gaveUp()];

  // --- what came out ------------------------------------------------------------------------------------------------

  function wrongs(): string[] {
    const issued = new Set(store.keys('history'));
    return [
      ...wrongStock(),
      ...wrongEventLog(store, kafka, issued),
      ...wrongOutcomes(),
      ...wrongDecisions(),
      ...wrongOrder(),
      ...wrongLetters(),
    ];
  }

  function wrongStock(): string[] {
    const found: string[] = [];
    const history = store.keys('history').map((id) => store.get<HistoryRow>('history', id)!);
    for (const couponId of couponIds) {
      const { stock, issued } = store.get<CouponState>('coupon', couponId)!;
      const held = history.filter((row) => row.couponId === couponId);
      const succeeded = store
        .keys('request')
        .map((id) => store.get<DecidedRow>('request', id)!)
        .filter((row) => row.couponId === couponId && row.status === 'COMPLETED');
      if (held.length > stock) found.push(`${couponId}: ${held.length} of ${stock} issued`);
      if (issued !== held.length) found.push(`${couponId}: counted ${issued}, and ${held.length} are held`);
      if (succeeded.length !== held.length)
        found.push(`${couponId}: ${succeeded.length} requests succeeded, and ${held.length} are held`);
      if (new Set(held.map(({ userId }) => userId)).size < held.length)
        found.push(`${couponId}: somebody has it twice`);
    }
    return found;
  }

  /** Every request that is owed is decided and told; what is told is what the store says, each time. */
  function wrongOutcomes(): string[] {
    const found: string[] = [];
    const told = new Set<string>();
    for (const topic of resultTopics)
      for (const record of kafka.records(topic)) {
        const text = record.value!.toString();
        const result = JSON.parse(text) as CouponResult;
        const { requestId } = result;
        told.add(requestId);
        const row = store.get<DecidedRow>('request', requestId);
        const held = result.couponHistoryId && store.get<HistoryRow>('history', result.couponHistoryId);
        if (row === undefined || row.status === 'PENDING') found.push(`${requestId}: told, and not decided`);
        else if ((result.outcome === 'SUCCESS') !== (row.status === 'COMPLETED'))
          found.push(`${requestId}: told ${result.outcome}, and is ${row.status}`);
        else if (result.reason !== row.reason)
          found.push(`${requestId}: told ${result.reason}, and is ${row.reason}`);
        else if (result.outcome === 'SUCCESS' && (!held || held.requestId !== requestId))
          found.push(`${requestId}: told SUCCESS, and nothing is held`);
        const { successTopic, failureTopic } = orderingFor(result.couponId);
        if (topic !== (result.outcome === 'SUCCESS' ? successTopic : failureTopic))
          found.push(`${requestId}: told on ${topic}`);
        if (users.some((user) => text.includes(`"${user}"`))) found.push(`personal data in ${text}`);
      }
    for (const requestId of owed) {
      const status = store.get<DecidedRow>('request', requestId)?.status;
      if (status === undefined || status === 'PENDING') found.push(`${requestId}: accepted, and not decided`);
      else if (!told.has(requestId)) found.push(`${requestId}: decided, and nobody was told`);
    }
    return found;
  }

  /** The first place of each request on its topic: partition and offset. */
  function places(): Map<string, { partition: number; offset: number }> {
    const found = new Map<string, { partition: number; offset: number }>();
    for (const { partition, offset, value } of both.flatMap(({ requestTopic }) =>
      kafka.records(requestTopic),
    )) {
      if (refused.includes(String(value))) continue;
      const { requestId } = JSON.parse(String(value)) as { requestId: string };
      if (!found.has(requestId)) found.set(requestId, { partition, offset });
    }
    return found;
  }

  /** Decides everything again, one after the other in the order in which it was decided, as simply as can be. */
  function wrongDecisions(): string[] {
    const found: string[] = [];
    const decided = store
      .keys('request')
      .map((id) => ({ id, ...store.get<DecidedRow>('request', id)! }))
      .filter(({ status }) => status !== 'PENDING')
      .sort((a, b) => a.decidedIn - b.decidedIn || a.decidedAs - b.decidedAs);
    const holders = new Map(couponIds.map((id) => [id, new Set<string>()]));
    for (const { id, couponId, userId, requestedAtMs, reason } of decided) {
      const coupon = store.get<CouponState>('coupon', couponId);
      const held = holders.get(couponId);
      const expected = (() => {
        if (coupon === undefined || held === undefined) return 'NOT_FOUND';
        if (requestedAtMs < (coupon.validFromMs ?? 0)) return 'EXPIRED';
        if (requestedAtMs >= (coupon.validUntilMs ?? Number.POSITIVE_INFINITY)) return 'EXPIRED';
        if (held.has(userId)) return 'DUPLICATE';
        if (held.size >= coupon.stock) return 'OUT_OF_STOCK';
        held.add(userId);
        return undefined;
      })();
      if (reason !== expected)
        found.push(`${id}: decided ${reason ?? 'SUCCESS'}, and ought to be ${expected ?? 'SUCCESS'}`);
    }
    return found;
  }

  /** Requests of one key are decided, and first told, in the order in which they lie on their topic. */
  function wrongOrder(): string[] {
    const found: string[] = [];
    const at = places();
    const keyOf = ({ userId, couponId }: DecidedRow) =>
      orderingFor(couponId).name === 'user' ? userId : couponId;
    const rows = store.keys('request').map((id) => ({ id, ...store.get<DecidedRow>('request', id)! }));
    const ordered = rows
      .filter((row) => at.has(row.id) && row.status !== 'PENDING' && !unordered.has(keyOf(row)))
      .sort((a, b) => at.get(a.id)!.offset - at.get(b.id)!.offset);
    const firstTold = new Map<string, number>();
    for (const topic of resultTopics)
      for (const { offset, value } of kafka.records(topic)) {
        const { requestId } = JSON.parse(value!.toString()) as CouponResult;
        if (!firstTold.has(requestId)) firstTold.set(requestId, offset);
      }
    for (const [key, list] of Map.groupBy(ordered, keyOf))
      for (const [index, row] of list.entries()) {
        const before = list[index - 1];
        if (before === undefined) continue;
        if (row.decidedIn < before.decidedIn) found.push(`${key}: ${row.id} was decided before ${before.id}`);
        const sameTopic =
          orderingFor(row.couponId).name === 'user' ||
          (row.reason === undefined) === (before.reason === undefined);
        if (sameTopic && firstTold.get(row.id)! < firstTold.get(before.id)!)
          found.push(`${key}: ${row.id} was told before ${before.id}`);
      }
    return found;
  }

  /** Dead letters hold what cannot be understood and what contradicts its id, and nothing else. */
  function wrongLetters(): string[] {
    const letters = new Set(
      both.flatMap(({ requestTopic }) =>
        kafka.records(`${requestTopic}${deadLetterSuffix}`).map(({ value }) => String(value)),
      ),
    );
    return [
      ...refused.filter((text) => !letters.has(text)).map((text) => `no dead letter for ${text}`),
      ...[...letters].filter((text) => !refused.includes(text)).map((text) => `${text} is a dead letter`),
    ];
  }
}
