/** The workers of money, in a database of their own: `money` (the ledger of my-pay over HTTP), `money-members` (accounts follow members). */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { Worker } from '../platform/worker.ts';
import { startFollowing } from './member-consumer.ts';
import { registerMoneyRoutes } from './routes.ts';

export const money: Worker = {
  name: 'money',
  database: 'money',
  consumes: [],
  produces: [],
  config: Type.Object({}),
  async start({ database, http, metrics: registry, secrets }) {
    registerMoneyRoutes(http, { database, pseudonymKey: secrets.pseudonymKey, registry });
    return { ready: () => true, stop: async () => {} };
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
