/** HTTP of the outside capability: the event log, to look at. */
import type { FastifyInstance } from 'fastify';
import type { Kysely } from 'kysely';
import { type Static, Type } from 'typebox';
import { errorBody, HttpError } from '../http/errors.ts';
import { outcomes } from '../http/outgoing.ts';
import { type EventRow, type FailedAttempt, findEvent, listEvents } from '../store/event-log.ts';
import { eventStates } from '../store/event-states.ts';

const time = (description: string) =>
  Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description });
const status = Type.Union([Type.Integer(), Type.Null()], {
  description: 'HTTP status; null when there was no answer',
});
const state = Type.Enum([...eventStates], { description: 'where the event stands' });

const eventBody = Type.Object(
  {
    eventId: Type.String({ description: 'the Idempotency-Key of its webhooks' }),
    type: Type.String({ description: 'PaymentCompleted or CouponIssued' }),
    subject: Type.String({ description: 'what it is about: the id of the order, of the coupon' }),
    state,
    inDoubt: Type.Boolean({
      description:
        'true: a webhook was sent and its answer is not known, so the receiver may or may not have done the work',
    }),
    attempts: Type.Integer({ description: 'how many webhooks were begun' }),
    lastOutcome: Type.Union([...outcomes.map((outcome) => Type.Literal(outcome)), Type.Null()], {
      description: 'how the last attempt ended',
    }),
    lastStatus: status,
    publishedAt: time('when the event says that it happened'),
    firstSeenAt: time('when it was read from the topic; null: not yet'),
    attemptedAt: time('when the last attempt began'),
    nextAttemptAt: time('not before then the next one; only in state FAILED'),
    endedAt: time('when it was completed or given up'),
    traceId: Type.Union([Type.String(), Type.Null()], { description: 'trace of the last attempt' }),
  },
  { title: 'OutsideEvent' },
);

const eventWithAttempts = Type.Intersect([
  eventBody,
  Type.Object({
    data: Type.Object({}, { additionalProperties: true, description: 'what it says, as the webhook does' }),
    failedAttempts: Type.Array(
      Type.Object({
        attempt: Type.Integer(),
        startedAt: time('when it began'),
        endedAt: time('null: nobody saw its end'),
        outcome: Type.String({ description: '3xx, 4xx, 5xx, timeout, network or unknown' }),
        status,
      }),
      { description: 'attempts that did not succeed, oldest first' },
    ),
  }),
]);

export function registerEventRoutes(http: FastifyInstance, database: () => Promise<Kysely<unknown>>): void {
  http.get(
    '/outside/events/:eventId',
    {
      config: { callers: ['operator'] },
      schema: {
        summary: 'An event for systems outside, with its attempts',
        tags: ['outside'],
        params: Type.Object({ eventId: Type.String({ minLength: 1, maxLength: 200 }) }),
        response: { 200: eventWithAttempts, 404: errorBody, 503: errorBody },
      },
    },
    async (request) => {
      const { eventId } = request.params as { eventId: string };
      const found = await findEvent(await database(), eventId);
      if (found === undefined) throw new HttpError(404, 'MUSTER_NOT_FOUND', 'there is no such event');
      const { event, data } = found;
      return { ...shownEvent(event), data, failedAttempts: found.failedAttempts.map(shownAttempt) };
    },
  );

  const query = Type.Object({
    subject: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: 'events about this order, this coupon' }),
    ),
    state: Type.Optional(state),
    limit: Type.Integer({ minimum: 1, maximum: 500, default: 50 }),
  });
  http.get(
    '/outside/events',
    {
      config: { callers: ['operator'] },
      schema: {
        summary: 'Events for systems outside, newest first, about something or in a state',
        tags: ['outside'],
        querystring: query,
        response: { 200: Type.Object({ events: Type.Array(eventBody) }), 422: errorBody, 503: errorBody },
      },
    },
    async (request) => {
      const filter = request.query as Static<typeof query>;
      if (filter.subject === undefined && filter.state === undefined)
        throw new HttpError(422, 'MUSTER_VALIDATION', 'the query is not valid', [
          { field: 'subject', reason: 'name subject, or state' },
        ]);
      return { events: (await listEvents(await database(), filter)).map(shownEvent) };
    },
  );
}

function shownEvent({ outcome, status, ...rest }: EventRow) {
  return { ...rest, lastOutcome: outcome, lastStatus: status };
}

function shownAttempt({ attempt, startedAt, endedAt, outcome, status }: FailedAttempt) {
  return { attempt, startedAt, endedAt, outcome, status };
}
