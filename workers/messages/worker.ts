/** Worker `messages`: what became of a message between services, over the queue_log of all databases. */
import { Type } from 'typebox';
import { databaseSettings } from '../base/config.ts';
import { failures, HttpError } from '../http/errors.ts';
import { typed } from '../http/typed.ts';
import type { Worker, WorkerDeps } from '../platform/worker.ts';
import { findMessage } from '../store/queue-log.ts';

export const worker: Worker<typeof databaseSettings> = {
  name: 'messages',
  consumes: [],
  produces: [],
  config: databaseSettings,
  async start({ config, database, http }) {
    registerMessageRoute(http, { database, shop: config.MYSQL_DATABASE });
    return { ready: () => true, stop: async () => {} };
  },
};

const message = Type.Object({
  topic: Type.String(),
  messageId: Type.String(),
  status: Type.Enum(['waiting', 'processing', 'done'], {
    description: 'waiting: not on its topic yet; processing: not handled by all who are to',
  }),
  createdTimestamp: Type.String(),
  processedTimestamp: Type.Optional(
    Type.String({ description: 'when the last of those who have handled it' }),
  ),
  processedStatus: Type.Optional(
    Type.Enum(['success', 'failure'], {
      description: 'once it is done; failure: what it is about has failed',
    }),
  ),
  producedBy: Type.Optional(
    Type.String({ description: 'the database with the row of its producing; none: not produced by us' }),
  ),
  handledBy: Type.Array(
    Type.Object({
      group: Type.String(),
      database: Type.String(),
      processedTimestamp: Type.String(),
      processedStatus: Type.Enum(['success', 'failure']),
      result: Type.String({ description: 'in the words of who handled it' }),
    }),
  ),
  awaits: Type.Array(Type.String(), { description: 'groups that have not handled it' }),
});

/** `shop`: the name of the shop's database; the others lie beside it. */
export function registerMessageRoute(
  http: WorkerDeps['http'],
  { database, shop }: Pick<WorkerDeps, 'database'> & { readonly shop: string },
): void {
  typed(http).get(
    '/pay/messages/:messageId',
    {
      config: { callers: ['operator'] },
      schema: {
        summary: 'What became of a message between services',
        description:
          'By its ce_id: when and by whom it was produced, who has handled it with what result, who has not. Known for 30 days.',
        tags: ['messages'],
        params: Type.Object({ messageId: Type.String({ minLength: 1, maxLength: 255 }) }),
        response: { 200: Type.Object({ messages: Type.Array(message) }), ...failures },
      },
    },
    async ({ params: { messageId } }) => {
      const messages = await findMessage(await database(), shop, messageId);
      if (messages.length === 0)
        throw new HttpError(404, 'MUSTER_MESSAGE_UNKNOWN', 'nobody has produced or handled such a message');
      return { messages };
    },
  );
}
