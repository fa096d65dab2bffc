/** Worker `money`: the ledger of my-pay over HTTP, in a database of its own. */
import { Type } from 'typebox';
import type { Worker } from '../platform/worker.ts';
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
