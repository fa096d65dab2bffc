/** Worker `membership`: who the members of my-pay are, over HTTP, in a database of its own. */
import type { Kysely } from 'kysely';
import { Type } from 'typebox';
import { topics } from '../../catalog/topics.ts';
import { tokenSigningKey } from '../http/tokens.ts';
import type { Worker } from '../platform/worker.ts';
import { registerMembershipRoutes } from './routes.ts';
import type { MembershipTables } from './store.ts';

const config = Type.Object({
  /** Not there where the site's identity provider makes the tokens. */
  TOKEN_SIGNING_KEY: Type.Optional(tokenSigningKey),
});

export const membership: Worker<typeof config> = {
  name: 'membership',
  database: 'membership',
  consumes: [],
  produces: [topics.memberEvents],
  config,
  async start({ config: settings, database, redis, http, metrics: registry, secrets, relayOutbox }) {
    registerMembershipRoutes(http, {
      database: async () => (await database()) as Kysely<MembershipTables>,
      redis,
      pseudonymKey: secrets.pseudonymKey,
      signingKey: settings.TOKEN_SIGNING_KEY,
      registry,
    });
    await relayOutbox();
    return { ready: () => true, stop: async () => {} };
  },
};
