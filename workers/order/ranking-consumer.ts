/** Adds what was sold to the ranking of products. */
import type { Registry } from 'prom-client';
import type { RedisClientType } from 'redis';
import type { Logger } from 'winston';
import type { OrderCompleted } from '../../catalog/events/order.ts';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { counter, gauge } from '../base/metrics.ts';
import { consume } from '../kafka/consume.ts';
import type { Kafka } from '../kafka/kafka.ts';
import type { Started } from '../platform/worker.ts';
import { readOrderCompleted } from './events.ts';
import {
  addToRanking,
  forgetPosition,
  isPartial,
  markPartial,
  rankingPositions,
  restoreRanking,
} from './ranking.ts';
import type { SalesHistory } from './sales-history.ts';

/** Between two fetches of a partition: under load one script counts more orders, and brokers are asked less often. */
const pauseMs = 100;
/** How often an idle worker looks whether the ranking is still where it left it. */
const lookEveryMs = 2_000;

export interface RankingOptions {
  readonly group: ConsumerGroup;
  readonly kafka: Kafka;
  redis(): Promise<RedisClientType>;
  /** What is left of orders that the topic no longer holds. */
  readonly history: SalesHistory;
  readonly log: Logger;
  readonly registry: Registry;
  fail(error: Error): void;
  /** Key of the sorted set in Redis. */
  readonly key?: string;
}

/** Consumes orders into the ranking until stopped. While Redis is down it waits, and loses nothing. */
export async function startRanking(options: RankingOptions): Promise<Started> {
  const { group, kafka, log, key } = options;
  const topic = group.topics[0]!.name;
  const events = counter(options.registry, metrics.order.rankingEvents);
  const partial = gauge(options.registry, metrics.order.rankingPartial);
  /** Where we believe the ranking to be; undefined: at nothing. Partitions that are ours only. */
  const positions = new Map<number, number | undefined>();
  const busy = new Set<number>();
  let epochNow = 0;

  const consumer = await consume<OrderCompleted>(kafka, {
    group,
    log,
    parse: readOrderCompleted,
    pauseMs,
    onFatal: options.fail,
    async startAt(assignment, epoch) {
      epochNow = epoch;
      positions.clear();
      const known = await rankingPositions(await options.redis(), key);
      // Not only from where the ranking is: what was counted and not committed may hold dead letters, and is lag.
      const committed = await kafka.admin.committed(group.id, topic);
      const places = [];
      for (const { partition } of assignment)
        places.push({
          partition,
          ...(await placeOf(partition, known.get(partition), committed.get(partition))),
        });
      // A newer assignment may have been taken on meanwhile.
      if (epoch !== epochNow) return [];
      for (const { partition, at } of places) positions.set(partition, at);
      return places.map(({ partition, from }) => ({ topic, partition, offset: from }));
    },
    async apply(records, { partition, from, next, epoch }) {
      // Not taken on, or not any more.
      if (epoch !== epochNow || !positions.has(partition)) return false;
      busy.add(partition);
      try {
        const expected = positions.get(partition);
        // A held batch that had its effect all the same.
        const ahead = records.filter(({ record }) => record.offset >= (expected ?? 0));
        if (expected !== undefined && next <= expected) return true;
        const added = await addToRanking(
          await options.redis(),
          ahead.map(({ data, record }) => ({ offset: record.offset, order: data })),
          { partition, expected, next },
          key,
        );
        if (epoch !== epochNow) return false;
        if (added.ok) {
          positions.set(partition, next);
          events.inc({ outcome: 'COUNTED' }, added.counted);
          events.inc({ outcome: 'REPEATED' }, ahead.length - added.counted);
          return true;
        }
        log.warn('the ranking is not where it was left: going there', { partition, from, at: added.at });
        await follow(partition, added.at, from, epoch);
        return false;
      } finally {
        busy.delete(partition);
      }
    },
  });

  /** Where the ranking is, and where to read on: there, or further back at the first offset that is not done with. */
  async function placeOf(
    partition: number,
    at: number | undefined,
    undone: number | undefined,
  ): Promise<{ readonly at: number | undefined; readonly from: number }> {
    const { low = 0, high = 0 } =
      (await kafka.admin.offsets(topic)).find((one) => one.partition === partition) ?? {};
    if ((at ?? 0) < low) {
      const recovered = await recover(options, partition, at);
      if (undone === at) undone = recovered;
      at = recovered;
    }
    if (at === undefined) return { at, from: low };
    if (at <= high) return { at, from: Math.max(low, Math.min(at, undone ?? low)) };
    log.error(
      'the ranking is beyond the end of its topic, which must be a new one: counting on from its beginning',
      {
        partition,
        at,
        high,
      },
    );
    await forgetPosition(await options.redis(), partition, key);
    return { at: undefined, from: low };
  }

  async function follow(
    partition: number,
    at: number | undefined,
    undone: number | undefined,
    epoch: number,
  ): Promise<void> {
    const place = await placeOf(partition, at, undone);
    if (epoch !== epochNow) return;
    // At one moment: a batch that was read for the old position must not meet the new one.
    positions.set(partition, place.at);
    consumer.seek({ topic, partition, offset: place.from });
  }

  /** Finds out without waiting for the next order that the ranking was cleared or has lost something. */
  async function look(): Promise<void> {
    const epoch = epochNow;
    const before = new Map(positions);
    const client = await options.redis();
    partial.set((await isPartial(client, key)) ? 1 : 0);
    const known = await rankingPositions(client, key);
    for (const [partition, believed] of before) {
      const at = known.get(partition);
      if (epoch !== epochNow || busy.has(partition) || positions.get(partition) !== believed) continue;
      // Somebody has counted further: reading goes on where it is, and passes over what is counted.
      if (at !== undefined && at > (believed ?? -1)) positions.set(partition, at);
      else if (at !== believed) await follow(partition, at, at, epoch);
    }
  }
  let looking = false;
  const timer = setInterval(() => {
    if (looking || !consumer.ready()) return;
    looking = true;
    look()
      .catch((error: unknown) => log.debug('the ranking could not be looked at', { error }))
      .finally(() => {
        looking = false;
      });
  }, lookEveryMs);

  return {
    ready: consumer.ready,
    waitingFor: () => 'its partitions, or Redis',
    async stop() {
      clearInterval(timer);
      await consumer.stop();
    },
  };
}

/** Orders are gone from the topic that the ranking has not counted, or has lost: where it is when they are made up for. */
async function recover(
  { redis, history, log, key }: RankingOptions,
  partition: number,
  at: number | undefined,
): Promise<number | undefined> {
  const client = await redis();
  const now = (await rankingPositions(client, key)).get(partition);
  // Another partition, or another worker, has done it.
  if (now !== at) return now;
  const sums = await history.sums();
  if (sums === undefined) {
    log.error('the ranking lacks orders that neither its topic nor the data platform has: it is partial', {
      partition,
      at,
    });
    await markPartial(client, key);
    return at;
  }
  if (await restoreRanking(client, sums, { partition, at }, key))
    log.warn('the ranking lacked orders that its topic no longer holds: restored from the data platform', {
      partition,
      at,
      products: sums.quantities.size,
    });
  return (await rankingPositions(client, key)).get(partition);
}
