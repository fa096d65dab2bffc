/** Worker `outside-api`: the event log over HTTP. */
import { Type } from 'typebox';
import type { Worker } from '../platform/worker.ts';
import { registerEventRoutes } from './routes.ts';

export const worker: Worker = {
  name: 'outside-api',
  consumes: [],
  produces: [],
  config: Type.Object({}),
  async start({ http, database }) {
    registerEventRoutes(http, database);
    return { ready: () => true, async stop() {} };
  },
};
