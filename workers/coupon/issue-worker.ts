/** Worker `coupon-issue`: decides who gets a coupon. */
import { Type } from 'typebox';
import { couponReasons } from '../../catalog/events/coupon.ts';
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { counter, durationHistogram } from '../base/metrics.ts';
import type { Worker } from '../platform/worker.ts';
import { startHandler } from './handler.ts';
import { noLocks, redisLocks } from './lock.ts';
import { orderings } from './ordering.ts';
import { requestStore } from './store.ts';

const config = Type.Object({
  COUPON_LOCK: Type.Union([Type.Literal('redis'), Type.Literal('off')], {
    default: 'redis',
    description: 'locks per coupon and user save work; what is right is decided by the database alone',
  }),
});

export const worker: Worker<typeof config> = {
  name: 'coupon-issue',
  consumes: [groups.couponIssue, groups.couponRequest],
  produces: [
    topics.couponIssueSucceeded,
    topics.couponIssueFailed,
    topics.couponResults,
    topics.externalEvents,
  ],
  config,
  async start({ config, database, fail, kafka, log, metrics: registry, redis, secrets }) {
    const outcomes = counter(registry, {
      name: metrics.coupon.outcomes,
      help: 'Requests for coupons that were decided.',
      labelNames: ['outcome', 'reason'],
      known: [
        { outcome: 'SUCCESS', reason: '' },
        ...couponReasons.map((reason) => ({ outcome: 'FAILED', reason })),
      ],
    });
    const latency = durationHistogram(registry, {
      name: metrics.coupon.decisionLatency,
      help: 'From the durable request to its decision, by the clock of the database.',
    });
    const locks = config.COUPON_LOCK === 'redis' ? redisLocks(redis, log) : noLocks;
    const store = requestStore(database);
    const producer = await kafka.producer('coupon-issue', { lingerMs: 30 });
    // A group each, side by side: what is in order is a property of each coupon.
    const handlers = await Promise.all(
      Object.values(orderings).map((ordering) =>
        startHandler({
          kafka,
          store,
          producer,
          ordering,
          locks,
          pseudonymKey: secrets.pseudonymKey,
          log,
          onDecided({ reason, requestedAtMs, decidedAtMs }) {
            outcomes.inc({ outcome: reason === undefined ? 'SUCCESS' : 'FAILED', reason: reason ?? '' });
            latency.observe({}, Math.max(0, decidedAtMs - requestedAtMs) / 1_000);
          },
          onFatal: fail,
        }),
      ),
    );
    log.info('decides requests for coupons', { lock: config.COUPON_LOCK });
    return {
      ready: () => handlers.every((handler) => handler.ready()),
      waitingFor: () => 'an assignment of partitions',
      async stop() {
        await Promise.all(handlers.map((handler) => handler.stop()));
        await locks.stop();
        await producer.close();
      },
    };
  },
};
