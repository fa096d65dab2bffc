/** HTTP of remittances: accepted at once, carried out in the background. */
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { homeCurrency } from '../base/money.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { errorBody, failures, HttpError, inUse } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { onlyOf, userOf } from '../http/principals.ts';
import { typed } from '../http/typed.ts';
import { traceIdIn } from '../kafka/tracing-kafka.ts';
import { type Claimed, states } from '../platform/move.ts';
import type { Found, RemittanceStore } from './store.ts';

export interface RemittanceRoutesOptions {
  readonly remittances: Pick<RemittanceStore, 'accept' | 'find' | 'findOf'>;
  readonly pseudonymKey: Buffer;
  /** For one to a bank account, minor units of the home currency. */
  readonly feeMinor: number;
  /** Called when one was accepted; with it when this process is to work on it at once. */
  onAccepted(claimed: Claimed | undefined): void;
}

const tags = ['remittance'];
// A merchant's token may have the name of a person: that it is a member is known to money only.
const own = { callers: ['customer', 'operator'] } as const;
const uuid = (description: string) => Type.String({ pattern: uuidPattern, description });
const memberId = (description: string) => Type.String({ minLength: 1, maxLength: 200, description });
const answers = { ...failures, 403: errorBody };

const remittanceBody = Type.Object({
  remittanceId: Type.String(),
  toAccountId: Type.Optional(Type.String()),
  receiver: Type.Optional(Type.String({ description: 'pseudonym of the member, as in a history' })),
  amount: money,
  fee: money,
  state: Type.Enum([...states], {
    description: 'DONE and FAILED are for good; the others name what is under way',
  }),
  reason: Type.Optional(Type.String({ description: 'why it fails, or what it waits for' })),
  recharge: Type.Optional(money),
  requestedAt: Type.String(),
  decidedAt: Type.Optional(Type.String()),
  traceId: Type.Optional(Type.String({ description: 'of the request and all that came of it' })),
});

export function registerRemittanceRoutes(http: FastifyInstance, options: RemittanceRoutesOptions): void {
  const { remittances, pseudonymKey, feeMinor } = options;
  const app = typed(http);

  app.post(
    '/pay/remittances',
    {
      config: own,
      schema: {
        summary: "Send a member's money to another member, or to a bank account",
        description:
          'Accepted at once and durable. When the balance is short and `rechargeFrom` names a bank account of the sender, what is missing is recharged first, in whole units of 10,000. How it ended is an event on remittance-events, is pushed to the sender, and can be asked for by the id.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            from: Type.Optional(memberId('the sender; a member may leave it out')),
            to: Type.Optional(memberId('the member who gets it')),
            toAccountId: Type.Optional(
              uuid('or the bank account that gets it, as the sender has registered it at banking (isPayee)'),
            ),
            amount: money,
            rechargeFrom: Type.Optional(uuid("the sender's bank account, as registered at banking")),
          },
          {
            additionalProperties: false,
            examples: [{ to: 'user-2', amount: { amountMinor: 5_000, currency: 'KRW' } }],
          },
        ),
        response: { 202: Type.Object({ remittanceId: Type.String() }), ...answers },
      },
    },
    async (request, reply) => {
      const { from, to, toAccountId, rechargeFrom } = request.body;
      const { amountMinor, currency } = inUse(request.body.amount, 'amount');
      const sender = pseudonym(pseudonymKey, userOf(request, from, 'from'));
      if ((to === undefined) === (toAccountId === undefined))
        throw invalid('MUSTER_VALIDATION', 'to', 'or toAccountId is needed, and not both');
      const receiver = to === undefined ? undefined : pseudonym(pseudonymKey, to);
      if (receiver === sender) throw invalid('MUSTER_SAME_ACCOUNT', 'to', 'is the sender');
      if (amountMinor < 1) throw invalid('MUSTER_AMOUNT_INVALID', 'amount.amountMinor', 'must be above zero');
      if (receiver === undefined && currency !== homeCurrency)
        throw invalid('MUSTER_CURRENCIES_DIFFER', 'amount.currency', `is ${homeCurrency} to a bank account`);
      const { remittanceId, claimed } = await remittances.accept(
        {
          sender,
          to: receiver === undefined ? { bankAccountId: toAccountId! } : { member: receiver },
          amountMinor,
          feeMinor: receiver === undefined ? feeMinor : 0,
          currency,
          rechargeFrom,
        },
        onceOf(request, 'remittance', pseudonymKey)!,
      );
      options.onAccepted(claimed);
      return reply.code(202).send({ remittanceId });
    },
  );

  app.get(
    '/pay/remittances/:remittanceId',
    {
      config: own,
      schema: {
        summary: 'What became of a remittance',
        tags,
        params: Type.Object({ remittanceId: uuid('as answered by POST /pay/remittances') }),
        response: { 200: remittanceBody, ...answers },
      },
    },
    async (request) => {
      const only = onlyOf(request);
      const found = await remittances.find(request.params.remittanceId);
      if (found === undefined || (only !== undefined && found.one.sender !== pseudonym(pseudonymKey, only)))
        throw new HttpError(404, 'MUSTER_REMITTANCE_UNKNOWN', 'there is no such remittance');
      return view(found);
    },
  );

  app.get(
    '/pay/remittances',
    {
      config: own,
      schema: {
        summary: 'What a member has sent, the newest first',
        description: '`next` is there while there may be more: pass it as `before`.',
        tags,
        querystring: Type.Object({
          memberId: Type.Optional(memberId('a member may leave it out')),
          limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
          before: Type.String({ pattern: uuidPattern, default: 'ffffffff-ffff-ffff-ffff-ffffffffffff' }),
        }),
        response: {
          200: Type.Object({ remittances: Type.Array(remittanceBody), next: Type.Optional(Type.String()) }),
          ...answers,
        },
      },
    },
    async (request) => {
      const { limit } = request.query;
      const sender = pseudonym(pseudonymKey, userOf(request, request.query.memberId, 'memberId'));
      const found = await remittances.findOf(sender, request.query);
      return {
        remittances: found.map(view),
        ...(found.length < limit ? {} : { next: found.at(-1)!.one.id }),
      };
    },
  );
}

const invalid = (code: `MUSTER_${string}`, field: string, reason: string) =>
  new HttpError(422, code, 'the request is not valid', [{ field, reason }]);

function view({ one, requestedAtMs, decidedAtMs, traceparent }: Found) {
  const { id: remittanceId, to, amountMinor, feeMinor, rechargeMinor, currency, state } = one;
  const reason = one.failure ?? one.waitsFor;
  return {
    remittanceId,
    ...('member' in to ? { receiver: to.member } : { toAccountId: to.bankAccountId }),
    amount: { amountMinor, currency },
    fee: { amountMinor: feeMinor, currency },
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(rechargeMinor === undefined ? {} : { recharge: { amountMinor: rechargeMinor, currency } }),
    requestedAt: new Date(requestedAtMs).toISOString(),
    ...(decidedAtMs === undefined ? {} : { decidedAt: new Date(decidedAtMs).toISOString() }),
    ...traceIdIn(traceparent),
  };
}
