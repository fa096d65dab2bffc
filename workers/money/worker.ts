/**
 * The workers of money, in a database of their own: `money` (the ledger of my-pay over HTTP), `money-members` (accounts follow
 * members); recharge-worker.ts has `money-recharges`.
 */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { Worker } from '../platform/worker.ts';
import { registerBooksRoutes } from './books-routes.ts';
import { callersOf } from './callers.ts';
import { houseAccounts } from './house.ts';
import { startFollowing } from './member-consumer.ts';
import { rechargeOutcomes } from './recharge-push.ts';
import { rechargeStore } from './recharges.ts';
import { registerMoneyRoutes } from './routes.ts';

const moneyConfig = Type.Object({
  PROCESS_NAME: Type.String({
    pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
    description: 'names the group that reads how recharges ended',
  }),
  RECHARGE_MAX_CLIENTS: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 5_000,
    description: 'event streams and WebSockets of recharges at the same time',
  }),
  TIME_ZONE: Type.String({
    timeZone: true,
    default: 'Asia/Seoul',
    description: 'IANA zone in which a day of the books begins',
  }),
  MEMBER_DAILY_LIMIT_MINOR: Type.Integer({
    minimum: 1,
    maximum: Number.MAX_SAFE_INTEGER,
    default: 2_000_000,
    description:
      'what a member may move on a day before the audit tells of it, minor units of the home currency',
  }),
});

export const money: Worker<typeof moneyConfig> = {
  name: 'money',
  database: 'money',
  consumes: [groups.rechargePush],
  produces: [topics.rechargeEventsDlq],
  config: moneyConfig,
  async start({ config, database, fail, http, kafka, log, metrics: registry, secrets }) {
    const { pseudonymKey } = secrets;
    registerMoneyRoutes(http, { database, pseudonymKey, registry });
    registerBooksRoutes(http, {
      database,
      timeZone: config.TIME_ZONE,
      dailyLimitMinor: config.MEMBER_DAILY_LIMIT_MINOR,
    });
    const { actingFor } = callersOf({ database, pseudonymKey });
    return rechargeOutcomes.start(
      { http, kafka, log, fail },
      {
        group: { ...groups.rechargePush, id: `recharge-push-${config.PROCESS_NAME}` },
        database,
        findAll: rechargeStore({ database, houseAccount: houseAccounts() }).findAll,
        addressOf: (request, named) => actingFor(request, named, 'memberId'),
        maxClients: config.RECHARGE_MAX_CLIENTS,
      },
    );
  },
};

export const moneyMembers: Worker = {
  name: 'money-members',
  database: 'money',
  consumes: [groups.moneyMembers],
  produces: [topics.memberEventsDlq],
  config: Type.Object({}),
  start: (deps) => startFollowing(groups.moneyMembers, deps),
};
