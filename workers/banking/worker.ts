/** Worker `banking`: bank accounts of members, contracts with banks, and firm banking, in a database of its own. */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { serviceToken, urlOf } from '../base/config.ts';
import type { Worker } from '../platform/worker.ts';
import { createBanks } from './banks.ts';
import { startFollowingLeavers } from './leavers.ts';
import { askMembership } from './members.ts';
import { reconcileDaily } from './reconciliation.ts';
import { requestStore } from './requests.ts';
import { registerBankingRoutes } from './routes.ts';
import { startSender } from './sender.ts';
import { accountStore } from './store.ts';

const config = Type.Object({
  MEMBERSHIP_URL: urlOf('membership'),
  SERVICE_TOKEN: serviceToken,
  BANKS_URL: urlOf('the banks: each is reached below it under its name'),
  BANK_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 60_000,
    default: 5_000,
    description: 'longest wait for the answer of a bank',
  }),
  TIME_ZONE: Type.String({
    timeZone: true,
    default: 'Asia/Seoul',
    description: 'IANA zone in which a day of a contract begins',
  }),
});

/** For the commit after a call. */
const commitMs = 15_000;

export const worker: Worker<typeof config> = {
  name: 'banking',
  database: 'banking',
  consumes: [groups.bankingMembers],
  produces: [topics.firmbankingEvents, topics.memberEventsDlq],
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
    const stores = { database, timeZone: settings.TIME_ZONE };
    const requests = requestStore(stores);
    const timeoutMs = settings.BANK_TIMEOUT_MS;
    const banks = createBanks({ baseUrl: settings.BANKS_URL, timeoutMs, registry });
    const standingOf = askMembership({
      baseUrl: settings.MEMBERSHIP_URL,
      token: settings.SERVICE_TOKEN,
      registry,
    });
    await relayOutbox();
    const sender = startSender({ requests, banks, registry, log, leaseMs: timeoutMs + commitMs });
    const daily = reconcileDaily({ database, banks, log });
    const leavers = await startFollowingLeavers(stores, { kafka, log, fail });
    registerBankingRoutes(http, {
      accounts: accountStore(stores),
      requests,
      banks,
      standingOf,
      database,
      pseudonymKey: secrets.pseudonymKey,
      onAccepted: sender.wake,
    });
    return {
      ready: leavers.ready,
      waitingFor: () => 'its partitions',
      async stop() {
        await Promise.all([sender.stop(), daily.stop(), leavers.stop()]);
      },
    };
  },
};
