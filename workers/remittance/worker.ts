/** Worker `remittance`: money of a member to another member or to a bank account, in a database of its own. */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { serviceToken, urlOf } from '../base/config.ts';
import { gauge } from '../base/metrics.ts';
import { createMailboxes } from '../http/mailbox.ts';
import { consume } from '../kafka/consume.ts';
import { inSpan } from '../kafka/tracing-kafka.ts';
import { startOutcomePusher } from '../platform/outcome-pusher.ts';
import type { Worker, WorkerDeps } from '../platform/worker.ts';
import { readEnd } from './events.ts';
import { readRemittanceLetter, registerRemittanceStreams } from './push.ts';
import { openStates } from './remittance.ts';
import { registerRemittanceRoutes } from './routes.ts';
import { carryOut, counting } from './sagas.ts';
import { callsOf } from './services.ts';
import { type RemittanceStore, remittanceStore } from './store.ts';

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

const timeoutMs = 5_000;
/** For the commit after a call; a call of money may be followed by a look at the account. */
const commitMs = 20_000;
const leaseMs = timeoutMs + commitMs;
const countEveryMs = 5_000;

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
    const remittances = remittanceStore({ database, claiming: { leaseMs, room: () => work.room() } });
    const count = counting(registry);
    await relayOutbox();
    const work = carryOut({
      remittances,
      makeCall: callsOf({
        moneyUrl: settings.MONEY_URL,
        bankingUrl: settings.BANKING_URL,
        token: settings.SERVICE_TOKEN,
        timeoutMs,
        registry,
      }),
      leaseMs,
      log,
      registry,
    });
    const consumer = await consume(kafka, {
      group: groups.remittanceEnds,
      log,
      parse: readEnd,
      // A transaction each.
      atOnce: 100,
      async apply(records) {
        for (const { data, span } of records) count(await inSpan(span, () => remittances.told(data)));
        work.wake();
        return undefined;
      },
      onFatal: fail,
    });
    registerRemittanceRoutes(http, {
      remittances,
      pseudonymKey: secrets.pseudonymKey,
      feeMinor: settings.REMITTANCE_FEE_MINOR,
      onAccepted: (claimed) => (claimed === undefined ? work.wake() : work.begin(claimed)),
    });
    const mailboxes = createMailboxes();
    registerRemittanceStreams(http, {
      database,
      remittances,
      pseudonymKey: secrets.pseudonymKey,
      mailboxes,
      maxClients: settings.REMITTANCE_MAX_CLIENTS,
    });
    const pusher = await startOutcomePusher({
      kafka,
      group: { ...groups.remittancePush, id: `remittance-push-${settings.PROCESS_NAME}` },
      log,
      mailboxes,
      parse: readRemittanceLetter,
      onFatal: fail,
    });
    const measuring = measure(remittances, { metrics: registry, log });
    return {
      ready: () => consumer.ready() && pusher.ready(),
      waitingFor: () => 'its partitions',
      async stop() {
        clearInterval(measuring);
        await Promise.all([work.stop(), consumer.stop(), pusher.stop()]);
      },
    };
  },
};

function measure(
  remittances: Pick<RemittanceStore, 'open'>,
  { metrics: registry, log }: Pick<WorkerDeps, 'metrics' | 'log'>,
): NodeJS.Timeout {
  const open = gauge(registry, metrics.remittance.open);
  const look = async () => {
    try {
      const found = await remittances.open();
      for (const state of openStates) open.set({ state }, found.get(state) ?? 0);
    } catch (error) {
      log.debug('remittances could not be counted', { error });
    }
  };
  void look();
  return setInterval(look, countEveryMs).unref();
}
