/** The workers of coupons: `coupon-api` (takes requests in, tells clients what became of them) and `coupon-issue` (decides). */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { counter, durationHistogram, gauge } from '../base/metrics.ts';
import { createMailboxes } from '../http/mailbox.ts';
import type { Worker, WorkerDeps } from '../platform/worker.ts';
import { startIntake } from './intake.ts';
import { startHandler } from './issue-consumer.ts';
import { noLocks, redisLocks } from './lock.ts';
import { orderings } from './ordering.ts';
import { startPusher } from './result-consumer.ts';
import { registerRoutes } from './routes.ts';
import { listCoupons, requestStore } from './store.ts';

const apiConfig = Type.Object({
  PROCESS_NAME: Type.String({
    pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
    description: 'names the group that reads results',
  }),
  COUPON_MAX_CLIENTS: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 5_000,
    description: 'event streams and WebSockets at the same time',
  }),
});

const measureEveryMs = 5_000;
/** Coupons whose stock is shown as metrics: a series each. */
const measuredCoupons = 50;

export const api: Worker<typeof apiConfig> = {
  name: 'coupon-api',
  consumes: [groups.couponResult],
  produces: [topics.couponIssue, topics.couponRequests],
  config: apiConfig,
  async start(deps) {
    const { config, database, fail, http, kafka, log, metrics: registry, relayOutbox, secrets } = deps;
    const requests = counter(registry, metrics.coupon.requests);
    const pushLatency = durationHistogram(registry, metrics.coupon.pushLatency);
    const mailboxes = createMailboxes();
    // For dead letters.
    const producer = await kafka.producer('coupon-api');
    const intake = startIntake({
      store: requestStore(database),
      relay: await relayOutbox(),
      orderings,
      onAccepted: (orderBy, count) => requests.inc({ ordering: orderBy }, count),
    });
    const pusher = await startPusher({
      kafka,
      producer,
      mailboxes,
      // Each replica holds other clients, so each reads everything.
      group: { ...groups.couponResult, id: `coupon-result-${config.PROCESS_NAME}` },
      log,
      // By two clocks, the database's and this host's: never below zero.
      onPushed: (sinceRequestMs) => pushLatency.observe({}, Math.max(0, sinceRequestMs) / 1_000),
      onFatal: fail,
    });
    const streams = registerRoutes(http, {
      database,
      intake,
      mailboxes,
      pseudonymKey: secrets.pseudonymKey,
      maxClients: config.COUPON_MAX_CLIENTS,
    });
    const measuring = measure(deps, () => streams.size);
    log.info('takes in requests for coupons');
    return {
      ready: pusher.ready,
      waitingFor: () => 'an assignment of partitions',
      async stop() {
        clearInterval(measuring);
        await pusher.stop();
        await producer.close();
      },
    };
  },
};

function measure(
  { database, metrics: registry, log }: Pick<WorkerDeps, 'database' | 'metrics' | 'log'>,
  clients: () => number,
): NodeJS.Timeout {
  const issued = gauge(registry, metrics.coupon.issued);
  const stock = gauge(registry, metrics.coupon.stock);
  const pushClients = gauge(registry, metrics.coupon.pushClients);
  const look = async () => {
    pushClients.set(clients());
    try {
      const db = await database();
      // The counter, for to count who holds a coupon of a million takes a second. That as many hold it as the counter says is
      // a promise of its own.
      const coupons = await listCoupons(db, measuredCoupons);
      issued.reset();
      stock.reset();
      for (const coupon of coupons) {
        issued.set({ coupon: coupon.couponId }, coupon.issued);
        stock.set({ coupon: coupon.couponId }, coupon.stock);
      }
    } catch (error) {
      // What was seen last stays: a database that is away is told by its own metrics.
      log.debug('coupons could not be measured', { error });
    }
  };
  void look();
  return setInterval(look, measureEveryMs).unref();
}

const issueConfig = Type.Object({
  COUPON_LOCK: Type.Union([Type.Literal('redis'), Type.Literal('off')], {
    default: 'redis',
    description: 'locks per coupon and user save work; what is right is decided by the database alone',
  }),
});

export const issue: Worker<typeof issueConfig> = {
  name: 'coupon-issue',
  consumes: [groups.couponIssue, groups.couponRequest],
  produces: [
    topics.couponIssueSucceeded,
    topics.couponIssueFailed,
    topics.couponResults,
    topics.externalEvents,
  ],
  config: issueConfig,
  async start({ config, database, fail, kafka, log, metrics: registry, redis, secrets }) {
    const outcomes = counter(registry, metrics.coupon.outcomes);
    const latency = durationHistogram(registry, metrics.coupon.decisionLatency);
    const locks = config.COUPON_LOCK === 'redis' ? redisLocks(redis, log) : noLocks;
    const store = requestStore(database);
    const producer = await kafka.producer('coupon-issue', { lingerMs: 30, busyLingerMs: 60 });
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
