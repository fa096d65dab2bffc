/** Worker `order-ranking`: adds what was sold to the ranking of products. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry } from 'prom-client';
import type { RedisClientType } from 'redis';
import { Type } from 'typebox';
import type { Logger } from 'winston';
import type { OrderCompleted } from '../../catalog/events/order.ts';
import { type ConsumerGroup, groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import type { Kafka } from '../platform/kafka.ts';
import { counter } from '../platform/metrics.ts';
import type { Started, Worker } from '../platform/worker.ts';
import { consumeBatches } from './consume.ts';
import { readOrderCompleted } from './events.ts';
import { addToRanking, forgetPosition, rankingPositions } from './ranking.ts';

const config = Type.Object({});

/** How often an idle worker looks whether the ranking is still where it left it. */
const lookEveryMs = 2_000;

export const worker: Worker<typeof config> = {
  name: 'order-ranking',
  consumes: [groups.orderRanking],
  produces: [topics.orderCompletedDlq],
  config,
  start: ({ kafka, redis, log, metrics: registry, fail }) =>
    startRanking({ group: groups.orderRanking, kafka, redis, log, registry, fail }),
};

export interface RankingOptions {
  readonly group: ConsumerGroup;
  readonly kafka: Kafka;
  redis(): Promise<RedisClientType>;
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
  const events = counter(options.registry, {
    name: metrics.order.rankingEvents,
    help: 'Orders that came to the ranking, by outcome COUNTED or REPEATED.',
    labelNames: ['outcome'],
  });
  /** Where we believe the ranking to be; undefined: at nothing. Partitions that are ours only. */
  const positions = new Map<number, number | undefined>();
  const busy = new Set<number>();
  let stopping = false;
  let epochNow = 0;

  const consumer = await consumeBatches<OrderCompleted>(kafka, {
    group,
    log,
    parse: readOrderCompleted,
    onFatal: options.fail,
    async startAt(partitions, epoch) {
      epochNow = epoch;
      positions.clear();
      for (let waitMs = 200; !stopping && epoch === epochNow; waitMs = Math.min(waitMs * 2, 2_000)) {
        try {
          const known = await rankingPositions(await options.redis(), key);
          const starts = [];
          for (const partition of partitions) {
            positions.set(partition, known.get(partition));
            starts.push({ topic, partition, offset: await startOf(partition) });
          }
          return starts;
        } catch (error) {
          if (waitMs === 200) log.warn('the ranking cannot be asked for its position: waiting', { error });
        }
        await sleep(waitMs);
      }
      return [];
    },
    async apply(records, { partition, from, next, epoch }) {
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
        await follow(partition, added.at);
        return false;
      } finally {
        busy.delete(partition);
      }
    },
  });

  async function startOf(partition: number): Promise<number> {
    const { low = 0, high = 0 } =
      (await kafka.admin.offsets(topic)).find((one) => one.partition === partition) ?? {};
    const at = positions.get(partition);
    if (at === undefined) return low;
    if (at <= high) return Math.max(at, low);
    log.error(
      'the ranking is beyond the end of its topic, which must be a new one: counting on from its beginning',
      {
        partition,
        at,
        high,
      },
    );
    await forgetPosition(await options.redis(), partition, key);
    positions.set(partition, undefined);
    return low;
  }

  async function follow(partition: number, at: number | undefined): Promise<void> {
    positions.set(partition, at);
    consumer.seek(partition, await startOf(partition));
  }

  /** Finds out without waiting for the next order that the ranking was cleared or has lost something. */
  async function look(): Promise<void> {
    const epoch = epochNow;
    const known = await rankingPositions(await options.redis(), key);
    for (const [partition, at] of positions)
      if (
        epoch === epochNow &&
        !busy.has(partition) &&
        known.get(partition) !== at &&
        positions.get(partition) === at
      )
        await follow(partition, known.get(partition));
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
      stopping = true;
      clearInterval(timer);
      await consumer.stop();
    },
  };
}
