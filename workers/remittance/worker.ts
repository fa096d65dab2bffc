/** Worker `remittance`: money of a member to another member or to a bank account, in a database of its own. */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { serviceToken, urlOf } from '../base/config.ts';
import { counter, gauge } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { userOf } from '../http/principals.ts';
import { moveLeaseMs, moveWork } from '../platform/move-sagas.ts';
import { startSagas } from '../platform/saga-work.ts';
import type { Worker } from '../platform/worker.ts';
import { remittanceOutcomes } from './push.ts';
import { registerRemittanceRoutes } from './routes.ts';
import { remittanceStore } from './store.ts';

const config = Type.Object({
  PROCESS_NAME: Type.String({
    pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
    description: 'names the group that reads how remittances ended',
  }),
  REMITTANCE_MAX_CLIENTS: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 5_000,
    description: 'event streams and WebSockets of remittances at the same time',
  }),
  MONEY_URL: urlOf('money'),
  BANKING_URL: urlOf('banking'),
  SERVICE_TOKEN: serviceToken,
  REMITTANCE_FEE_MINOR: Type.Integer({
    minimum: 0,
    maximum: 1_000_000,
    default: 500,
    description: 'our fee for a remittance to a bank account, minor units of the home currency',
  }),
});

export const remittance: Worker<typeof config> = {
  name: 'remittance',
  database: 'remittance',
  consumes: [groups.remittanceEnds, groups.remittancePush],
  produces: [
    topics.remittanceEvents,
    topics.remittanceEventsDlq,
    topics.rechargeEventsDlq,
    topics.firmbankingEventsDlq,
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
    const remittances = remittanceStore({
      database,
      claiming: { leaseMs: moveLeaseMs, room: () => work.room() },
    });
    await relayOutbox();
    const work = await startSagas(
      {
        what: 'remittances',
        sagas: remittances,
        ...moveWork(settings, registry),
        group: groups.remittanceEnds,
        ended: counter(registry, metrics.remittance.remittances),
        open: gauge(registry, metrics.remittance.open),
      },
      { kafka, log, fail },
    );
    registerRemittanceRoutes(http, {
      remittances,
      pseudonymKey: secrets.pseudonymKey,
      feeMinor: settings.REMITTANCE_FEE_MINOR,
      onAccepted: (claimed) => (claimed === undefined ? work.wake() : work.begin(claimed)),
    });
    const pusher = await remittanceOutcomes.start(
      { http, kafka, log, fail },
      {
        group: { ...groups.remittancePush, id: `remittance-push-${settings.PROCESS_NAME}` },
        database,
        findAll: remittances.findAll,
        addressOf: async (request, named) =>
          pseudonym(secrets.pseudonymKey, userOf(request, named, 'memberId')),
        maxClients: settings.REMITTANCE_MAX_CLIENTS,
      },
    );
    return {
      ready: () => work.ready() && pusher.ready(),
      waitingFor: () => 'its partitions',
      async stop() {
        await Promise.all([work.stop(), pusher.stop()]);
      },
    };
  },
};
