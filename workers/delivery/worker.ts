/**
 * The workers of food delivery, in a database of their own: `delivery-orders` (shops, menus and orders over HTTP; hears how
 * deliveries ended), `delivery-photos` (photos of complaints), `delivery-riders` (finds riders, tells when a delivery has ended),
 * `delivery-messages` (notifies people of each change), `delivery-log` (writes into the log that somebody was notified).
 */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { databaseSettings } from '../base/config.ts';
import { counter, durationHistogram, gauge } from '../base/metrics.ts';
import { createMailboxes } from '../http/mailbox.ts';
import { consume, type RecordConsumer } from '../kafka/consume.ts';
import { startDueWork } from '../platform/due-work.ts';
import { startPusher } from '../platform/outcomes.ts';
import type { Started, Worker, WorkerDeps } from '../platform/worker.ts';
import { folderStore } from '../store/files.ts';
import { startRetention } from '../store/retention.ts';
import { readDeliveryEvent, readLogEvent, readOrderEvent } from './events.ts';
import { openStates } from './machine.ts';
import { notificationStore } from './notifications.ts';
import { registerNotificationRoutes, registerRiderRoutes } from './people-routes.ts';
import { registerPhotoRoutes } from './photo-routes.ts';
import { photoStore } from './photos.ts';
import { readNotification, registerNotificationStreams } from './push.ts';
import { registerDeliveryRoutes } from './routes.ts';
import { shopStore } from './shops.ts';
import { deliveryStore } from './store.ts';

/** Most orders of one transaction of the clock, and of words on deliveries: they are locked until its end. */
const atOnce = 200;
/** Between two fetches of a partition, so that under load records come together and share a transaction. */
const pauseMs = 30;
/** The same for lines of the log: nobody waits for these. */
const logPauseMs = 150;
/** The same for what says that riders are called for: who looks for them all the time needs not be told. */
const callsPauseMs = 100;
const countEveryMs = 5_000;

const started = (consumer: RecordConsumer, stop: () => Promise<unknown> = async () => {}): Started => ({
  ready: () => consumer.ready(),
  waitingFor: () => 'its partitions',
  async stop() {
    await Promise.all([stop(), consumer.stop()]);
  },
});

export const orders: Worker = {
  name: 'delivery-orders',
  database: 'delivery',
  consumes: [groups.deliveryOrders],
  produces: [topics.deliveryOrderEvents, topics.deliveryEventsDlq],
  config: Type.Object({}),
  async start({ database, http, kafka, log, metrics: registry, relayOutbox, secrets, fail }) {
    const deliveries = deliveryStore({ database });
    const changes = counter(registry, metrics.delivery.changes);
    const heard = counter(registry, metrics.delivery.heard);
    await relayOutbox();
    registerDeliveryRoutes(http, {
      shops: shopStore({ database }),
      deliveries,
      pseudonymKey: secrets.pseudonymKey,
      onChanged: (state) => changes.inc({ state }),
    });
    const consumer = await consume(kafka, {
      group: groups.deliveryOrders,
      log,
      onFatal: fail,
      parse: readDeliveryEvent,
      atOnce,
      pauseMs,
      async apply(records) {
        const outcomes = await deliveries.hear(records.map(({ data }) => data));
        for (const [index, outcome] of outcomes.entries()) {
          heard.inc({ outcome });
          if (outcome !== 'TAKEN') continue;
          const { status } = records[index]!.data;
          changes.inc({ state: status === 'succeeded' ? 'DELIVERED' : 'DELIVERY_FAILED' });
        }
        return undefined;
      },
    });
    return started(consumer);
  },
};

const photoSettings = Type.Object({
  MYSQL_DATABASE: databaseSettings.properties.MYSQL_DATABASE,
  UPLOADS_DIRECTORY: Type.String({
    minLength: 1,
    description: 'directory that survives this process: photos are kept there, and come in there',
  }),
});

export const photos: Worker<typeof photoSettings> = {
  name: 'delivery-photos',
  database: 'delivery',
  consumes: [],
  produces: [],
  config: photoSettings,
  async start({ config, database, http, log, metrics: registry, secrets }) {
    const files = folderStore(config.UPLOADS_DIRECTORY);
    // Orders are accepted, cooked and delivered without photos: whoever sends one meanwhile is told to come again.
    await files
      .ready()
      .catch((error: unknown) => log.error('photos cannot be kept for now: their folder refuses', { error }));
    registerPhotoRoutes(http, {
      photos: photoStore({ database, files }),
      deliveries: deliveryStore({ database }),
      pseudonymKey: secrets.pseudonymKey,
      folder: files,
    });
    const retention = startRetention({
      db: await database(),
      database: config.MYSQL_DATABASE,
      registry,
      log,
      kept: { table: 'delivery_photo', files },
    });
    return { ready: () => true, stop: retention.stop };
  },
};

export const riders: Worker = {
  name: 'delivery-riders',
  database: 'delivery',
  consumes: [groups.deliveryRiders],
  produces: [topics.deliveryEvents, topics.deliveryOrderEvents, topics.deliveryOrderEventsDlq],
  config: Type.Object({}),
  async start(deps) {
    const { database, http, kafka, log, metrics: registry, relayOutbox, secrets, fail } = deps;
    const { publish } = await relayOutbox();
    const deliveries = deliveryStore({ database, publish });
    const due = counter(registry, metrics.delivery.due);
    const lateness = durationHistogram(registry, metrics.delivery.dueLateness);
    registerRiderRoutes(http, { deliveries, pseudonymKey: secrets.pseudonymKey });
    // What is due is done as it is claimed, in one transaction: nothing can be left half done, so there is nothing to lease.
    const startDue = (what: string, of: 'calls' | 'ends') =>
      startDueWork({
        what,
        nextInMs: () => deliveries.nextInMs(of),
        claim: async (most) =>
          (await deliveries.takeDue(most, of)).map((done) => ({ ...done, traceparent: undefined })),
        async work({ orderId, outcome, lateMs, error }) {
          due.inc({ outcome });
          lateness.observe({}, lateMs / 1_000);
          if (outcome === 'PUT_OFF')
            log.error('what is due of an order fails; it is put off', { orderId, error });
        },
        atOnce,
        log,
      });
    // By itself each: to find riders takes a statement a district, and locks of others are waited for. What has lasted its second is
    // told meanwhile.
    const calls = startDue('calls for riders', 'calls');
    const ends = startDue('deliveries', 'ends');
    const consumer = await consume(kafka, {
      group: groups.deliveryRiders,
      log,
      onFatal: fail,
      parse: readOrderEvent,
      pauseMs: callsPauseMs,
      // The order's row says that it is called for: the event says that it is time to look.
      async apply(records) {
        if (records.some(({ data }) => data.state === 'CALLED')) calls.wake();
        return undefined;
      },
    });
    const measuring = measure(deliveries, deps);
    return started(consumer, async () => {
      clearInterval(measuring);
      await Promise.all([calls.stop(), ends.stop()]);
    });
  },
};

const messagesSettings = Type.Object({
  PROCESS_NAME: Type.String({
    pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
    description: 'names the group that reads who was notified',
  }),
  DELIVERY_MAX_CLIENTS: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 5_000,
    description: 'event streams and WebSockets of notifications at the same time',
  }),
});

export const messages: Worker<typeof messagesSettings> = {
  name: 'delivery-messages',
  database: 'delivery',
  consumes: [groups.deliveryMessages, groups.deliveryPush],
  produces: [topics.deliveryLogEvents, topics.deliveryOrderEventsDlq, topics.deliveryLogEventsDlq],
  config: messagesSettings,
  async start({ config, database, http, kafka, log, metrics: registry, relayOutbox, secrets, fail }) {
    const notifications = notificationStore({ database });
    const told = counter(registry, metrics.delivery.notifications);
    const latency = durationHistogram(registry, metrics.delivery.notifyLatency);
    await relayOutbox();
    registerNotificationRoutes(http, { notifications, pseudonymKey: secrets.pseudonymKey });
    const mailboxes = createMailboxes();
    registerNotificationStreams(http, {
      ...{ notifications, pseudonymKey: secrets.pseudonymKey, mailboxes },
      maxClients: config.DELIVERY_MAX_CLIENTS,
    });
    const pusher = await startPusher(
      { kafka, log, fail },
      {
        group: { ...groups.deliveryPush, id: `delivery-push-${config.PROCESS_NAME}` },
        mailboxes,
        parse: readNotification,
      },
    );
    const consumer = await consume(kafka, {
      group: groups.deliveryMessages,
      log,
      onFatal: fail,
      parse: readOrderEvent,
      pauseMs,
      async apply(records) {
        told.inc(await notifications.notify(records.map(({ data }) => data)));
        for (const { data, span } of records)
          latency.observe({}, Math.max(0, Date.now() - Date.parse(data.at)) / 1_000, span?.span);
        return undefined;
      },
    });
    return {
      ready: () => consumer.ready() && pusher.ready(),
      waitingFor: () => 'its partitions',
      async stop() {
        await Promise.all([consumer.stop(), pusher.stop()]);
      },
    };
  },
};

export const logging: Worker = {
  name: 'delivery-log',
  database: 'delivery',
  consumes: [groups.deliveryLog],
  produces: [topics.deliveryLogEventsDlq],
  config: Type.Object({}),
  async start({ kafka, log, metrics: registry, fail }) {
    const logged = counter(registry, metrics.delivery.logged);
    const consumer = await consume(kafka, {
      group: groups.deliveryLog,
      log,
      onFatal: fail,
      parse: readLogEvent,
      pauseMs: logPauseMs,
      async apply(records) {
        for (const { data } of records)
          log.info('somebody was notified', { eventId: data.eventId, said: data.message });
        logged.inc(records.length);
        return undefined;
      },
    });
    return started(consumer);
  },
};

function measure(
  deliveries: Pick<ReturnType<typeof deliveryStore>, 'counts'>,
  { metrics: registry, log }: Pick<WorkerDeps, 'metrics' | 'log'>,
): NodeJS.Timeout {
  const open = gauge(registry, metrics.delivery.open);
  const oldestAge = gauge(registry, metrics.delivery.oldestAge);
  const riders = gauge(registry, metrics.delivery.riders);
  const look = async () => {
    try {
      const found = await deliveries.counts();
      for (const state of openStates) {
        const { count = 0, oldestMs = 0 } = found.orders.get(state) ?? {};
        open.set({ state }, count);
        oldestAge.set({ state }, oldestMs / 1_000);
      }
      for (const state of ['FREE', 'BUSY', 'OFF']) riders.set({ state }, found.riders.get(state) ?? 0);
    } catch (error) {
      log.debug('orders of dishes could not be counted', { error });
    }
  };
  void look();
  return setInterval(look, countEveryMs).unref();
}
