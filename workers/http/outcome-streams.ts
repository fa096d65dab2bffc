/**
 * How what was accepted ended, live, to whom it concerns: an event stream and a WebSocket of a capability, told until it is
 * acknowledged (mailbox.ts).
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { groupCommit } from '../store/group-commit.ts';
import { errorBody } from './errors.ts';
import { type Letter, type Mailboxes, messageOf } from './mailbox.ts';
import { createStreams, type Reader, type StreamLimits, type Streams } from './realtime.ts';
import type { Role } from './tokens.ts';
import { typed } from './typed.ts';

export interface Acknowledged {
  /** Whose they are: as of `addressOf`. */
  readonly address: string;
  readonly ids: readonly string[];
}

export interface OutcomeStreamsOptions extends StreamLimits {
  /** `/pay/money/recharges`: below it are `/events`, `/events/acks` and `/ws`. */
  readonly path: string;
  readonly tags: readonly string[];
  readonly callers: readonly Role[];
  /** For people: `how recharges ended`. */
  readonly what: string;
  /** Type of the messages, and what their data holds, for people. */
  readonly type: string;
  readonly fields: string;
  /** Pattern of the ids of messages, without a dot. Default: a UUID. */
  readonly idPattern?: string;
  readonly mailboxes: Mailboxes;
  /** The address of a caller, or of the member that staff names; throws HttpError. */
  addressOf(request: FastifyRequest, named: string | undefined): Promise<string>;
  /** As of a Visit: what is not acknowledged, oldest first, and what came after that message. */
  unread(address: string, after: string | undefined): Promise<readonly Letter[]>;
  /** Notes durably, for many at once; ids that are not theirs change nothing. */
  acknowledge(all: readonly Acknowledged[]): Promise<void>;
}

const uuid = '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const memberId = Type.Optional(
  Type.String({ minLength: 1, maxLength: 200, description: 'a member may leave it out' }),
);

/** What clients send; an id may have the stream on which it was sent. */
function shapesOf(idPattern: string) {
  const eventId = Type.String({ pattern: `^${idPattern}(\\.[0-9a-f]{8})?$` });
  return {
    isEventId: Compile(eventId),
    query: Type.Object({ memberId, lastEventId: Type.Optional(eventId) }),
    newAcks: Type.Object(
      { memberId, ids: Type.Array(eventId, { minItems: 1, maxItems: 1_000 }) },
      { additionalProperties: false },
    ),
  };
}

export function registerOutcomeStreams(http: FastifyInstance, options: OutcomeStreamsOptions): Streams {
  const { path, tags, callers, what, type, fields, idPattern = uuid, mailboxes } = options;
  const { isEventId, query, newAcks } = shapesOf(idPattern);
  const title = `${what[0]!.toUpperCase()}${what.slice(1)}`;
  const app = typed(http);
  const acknowledge = groupCommit(
    async (all: readonly Acknowledged[]) => {
      await options.acknowledge(all);
      return all;
    },
    { most: 200, waiting: 10_000 },
  );

  app.post(
    `${path}/events/acks`,
    {
      config: { callers },
      schema: {
        summary: `Acknowledge ${what}`,
        description: 'What was acknowledged by a client of the member is not sent again.',
        tags: [...tags],
        body: newAcks,
        response: { 204: Type.Null(), 403: errorBody, 404: errorBody, 422: errorBody, 503: errorBody },
      },
    },
    async (request, reply) => {
      const { memberId: named, ids } = request.body;
      await acknowledge({ address: await options.addressOf(request, named), ids: ids.map(messageOf) });
      return reply.code(204).send(null);
    },
  );

  const streams = createStreams(http, options);
  /** The address is found out when the stream begins: a merchant is looked for in the database. */
  const open = (request: FastifyRequest): Reader => {
    const { memberId: named, lastEventId } = request.query as Static<typeof query>;
    const header = request.headers['last-event-id'];
    let visit: Reader | undefined;
    let gone = false;
    return {
      async begin(connection) {
        const address = await options.addressOf(request, named);
        if (gone) return;
        visit = mailboxes.open({
          address,
          lastEventId: isEventId.Check(header) ? header : lastEventId,
          unread: (after) => options.unread(address, after),
          acknowledge: async (ids) => void (await acknowledge({ address, ids })),
        });
        await visit.begin(connection);
      },
      acknowledge: async (ids) => (await visit?.acknowledge?.(ids)) ?? [],
      left() {
        gone = true;
        visit?.left();
      },
    };
  };
  const described = `${fields}. Every client first gets what no client of the member has acknowledged; what comes twice has the same id.`;
  streams.route({
    path: `${path}/events`,
    transport: 'events',
    callers,
    open,
    schema: {
      summary: `${title}, live`,
      description: `Server-sent events: "ready" when the stream has begun, then "${type}" with ${described} To be acknowledged by POST ${path}/events/acks, or by coming back with Last-Event-ID.`,
      tags,
      querystring: query,
      headers: Type.Object({ 'last-event-id': Type.Optional(Type.String({ maxLength: 100 })) }),
    },
  });
  streams.route({
    path: `${path}/ws`,
    transport: 'websocket',
    callers,
    open,
    schema: {
      summary: `${title}, live, over a WebSocket`,
      description: `To be opened as a WebSocket. Messages are JSON: {"type": "ready"}, then {"type": "${type}", "id": "…", "data": {…}} with ${described} To be acknowledged by {"type": "ack", "ids": ["…"]}.`,
      tags,
      querystring: query,
    },
  });
  return streams;
}
