/** HTTP of recharges: accepted at once, carried out by worker `money-recharges`. */
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { errorBody, failures, HttpError, inUse, refused } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { typed } from '../http/typed.ts';
import { traceIdIn } from '../kafka/tracing-kafka.ts';
import { type Callers, isService } from './callers.ts';
import { rechargeStates } from './recharge.ts';
import type { FoundRecharge, RechargeStore } from './recharges.ts';

const tags = ['money'];
const all = { callers: ['customer', 'merchant', 'service', 'operator'] } as const;
const uuid = Type.String({ pattern: uuidPattern });
const memberId = Type.String({ minLength: 1, maxLength: 200, description: 'a member may leave it out' });
const answers = { ...failures, 403: errorBody };

const rechargeBody = Type.Object({
  rechargeId: Type.String(),
  accountId: Type.String({ description: 'the bank account' }),
  amount: money,
  state: Type.Enum([...rechargeStates], {
    description:
      'DONE (it is in the account) and FAILED are for good. REQUESTED: nobody was asked; ASKING: banking may have heard of it; AT_BANK: the bank is to say how it ends.',
  }),
  reason: Type.Optional(Type.String({ description: 'why it failed, or what it waits for' })),
  firmbankingId: Type.Optional(Type.String()),
  transferId: Type.Optional(Type.String({ description: 'that booked it' })),
  requestedAt: Type.String(),
  decidedAt: Type.Optional(Type.String()),
  traceId: Type.Optional(Type.String({ description: 'of the request and all that came of it' })),
});

export interface RechargeRoutesOptions {
  readonly recharges: Pick<RechargeStore, 'accept' | 'find' | 'findOf'>;
  readonly callers: Callers;
  readonly pseudonymKey: Buffer;
}

export function registerRechargeRoutes(
  http: FastifyInstance,
  { recharges, callers, pseudonymKey }: RechargeRoutesOptions,
): void {
  const app = typed(http);

  app.post(
    '/pay/money/recharges',
    {
      config: all,
      schema: {
        summary: "Bring money from a member's bank account into their account",
        description:
          'Accepted at once and durable. How it ended is an event on recharge-events, is pushed to the member, and can be asked for by the id.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            memberId: Type.Optional(memberId),
            accountId: Type.String({
              pattern: uuidPattern,
              description: "the member's bank account, as registered at banking",
            }),
            amount: money,
          },
          { additionalProperties: false },
        ),
        response: { 202: Type.Object({ rechargeId: Type.String() }), ...answers },
      },
    },
    async (request, reply) => {
      const { accountId: bankAccountId, amount } = request.body;
      const account = await callers.actingFor(request, request.body.memberId, 'memberId');
      // A service may ask again from another process, with another token: its keys are those of all services.
      const ofServices = isService(request);
      const call = onceOf(request, 'recharge', pseudonymKey, ofServices ? { user: 'service' } : {})!;
      const wish = { account, bankAccountId, ...inUse(amount, 'amount') };
      const answer = await recharges.accept(wish, call, { keepsRefusal: ofServices });
      if (!answer.ok) throw refused(answer.refusal);
      return reply.code(202).send({ rechargeId: answer.rechargeId });
    },
  );

  app.get(
    '/pay/money/recharges/:rechargeId',
    {
      config: all,
      schema: {
        summary: 'What became of a recharge',
        tags,
        params: Type.Object({ rechargeId: uuid }),
        response: { 200: rechargeBody, ...answers },
      },
    },
    async (request) => {
      const only = await callers.onlyAccount(request);
      const found = await recharges.find(request.params.rechargeId);
      if (found === undefined || (only !== undefined && found.one.account !== only))
        throw new HttpError(404, 'MUSTER_RECHARGE_UNKNOWN', 'there is no such recharge');
      return view(found);
    },
  );

  app.get(
    '/pay/money/recharges',
    {
      config: all,
      schema: {
        summary: "A member's recharges, the newest first",
        description: '`next` is there while there may be more: pass it as `before`.',
        tags,
        querystring: Type.Object({
          memberId: Type.Optional(memberId),
          limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
          before: Type.String({ pattern: uuidPattern, default: 'ffffffff-ffff-ffff-ffff-ffffffffffff' }),
        }),
        response: {
          200: Type.Object({ recharges: Type.Array(rechargeBody), next: Type.Optional(Type.String()) }),
          ...answers,
        },
      },
    },
    async (request) => {
      const { limit } = request.query;
      const account = await callers.actingFor(request, request.query.memberId, 'memberId');
      const found = await recharges.findOf(account, request.query);
      return {
        recharges: found.map(view),
        ...(found.length < limit ? {} : { next: found.at(-1)!.one.rechargeId }),
      };
    },
  );
}

function view({ one, requestedAtMs, decidedAtMs, traceparent }: FoundRecharge) {
  const { rechargeId, bankAccountId, amountMinor, currency, state, reason, firmbankingId, transferId } = one;
  return {
    rechargeId,
    accountId: bankAccountId,
    amount: { amountMinor, currency },
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(firmbankingId === undefined ? {} : { firmbankingId }),
    ...(transferId === undefined ? {} : { transferId }),
    requestedAt: new Date(requestedAtMs).toISOString(),
    ...(decidedAtMs === undefined ? {} : { decidedAt: new Date(decidedAtMs).toISOString() }),
    ...traceIdIn(traceparent),
  };
}
