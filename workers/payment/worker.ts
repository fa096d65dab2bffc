/** Worker `payment`: customers pay merchants, and are given back, in a database of its own. */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { serviceToken, urlOf } from '../base/config.ts';
import { counter, gauge } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { userOf } from '../http/principals.ts';
import { consume } from '../kafka/consume.ts';
import { moveLeaseMs, moveWork } from '../platform/move-sagas.ts';
import { startSagas } from '../platform/saga-work.ts';
import type { Worker } from '../platform/worker.ts';
import { readMemberEvent } from './events.ts';
import { paymentOutcomes } from './push.ts';
import { registerPaymentRoutes } from './routes.ts';
import { paymentStore } from './store.ts';

const config = Type.Object({
  PROCESS_NAME: Type.String({
    pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
    description: 'names the group that reads how payments ended',
  }),
  PAYMENT_MAX_CLIENTS: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 5_000,
    description: 'event streams and WebSockets of payments at the same time',
  }),
  MONEY_URL: urlOf('money'),
  SERVICE_TOKEN: serviceToken,
});

export const payment: Worker<typeof config> = {
  name: 'payment',
  database: 'payment',
  consumes: [groups.paymentEnds, groups.paymentMerchants, groups.paymentPush],
  produces: [
    topics.paymentEvents,
    topics.paymentOutcomes,
    topics.paymentOutcomesDlq,
    topics.rechargeEventsDlq,
    topics.memberEventsDlq,
  ],
  config,
  async start({
    config: settings,
    database,
    http,
    kafka,
    log,
    metrics: registry,
    relayOutbox,
    secrets,
    fail,
  }) {
    const payments = paymentStore({ database, claiming: { leaseMs: moveLeaseMs, room: () => work.room() } });
    await relayOutbox();
    const work = await startSagas(
      {
        what: 'payments',
        sagas: payments,
        ...moveWork(settings, registry),
        group: groups.paymentEnds,
        ended: counter(registry, metrics.payment.slips),
        open: gauge(registry, metrics.payment.open),
      },
      { kafka, log, fail },
    );
    const following = await consume(kafka, {
      group: groups.paymentMerchants,
      log,
      parse: readMemberEvent,
      async apply(records) {
        await payments.follow(records.map(({ data }) => data));
        return undefined;
      },
      onFatal: fail,
    });
    registerPaymentRoutes(http, {
      payments,
      pseudonymKey: secrets.pseudonymKey,
      onAccepted: (claimed) => (claimed === undefined ? work.wake() : work.begin(claimed)),
    });
    const pusher = await paymentOutcomes.start(
      { http, kafka, log, fail },
      {
        group: { ...groups.paymentPush, id: `payment-push-${settings.PROCESS_NAME}` },
        database,
        findAll: payments.findAll,
        addressOf: async (request, named) =>
          pseudonym(secrets.pseudonymKey, userOf(request, named, 'memberId')),
        maxClients: settings.PAYMENT_MAX_CLIENTS,
      },
    );
    return {
      ready: () => work.ready() && following.ready() && pusher.ready(),
      waitingFor: () => 'its partitions',
      async stop() {
        await Promise.all([work.stop(), following.stop(), pusher.stop()]);
      },
    };
  },
};
