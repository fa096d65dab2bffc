/** HTTP of payments: accepted at once, carried out in the background. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { uuid, uuidPattern } from '../../catalog/events/uuid.ts';
import type { Money } from '../base/money.ts';
import { isPseudonym, pseudonym } from '../base/pseudonym.ts';
import { errorBody, failures, HttpError, inUse, refused } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { members, onlyOf, userOf } from '../http/principals.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import { traceIdIn } from '../kafka/tracing-kafka.ts';
import { type Claimed, states } from '../platform/move.ts';
import type { Found } from './slips.ts';
import type { PaymentStore } from './store.ts';

export interface PaymentRoutesOptions {
  readonly payments: Pick<PaymentStore, 'accept' | 'refund' | 'settle' | 'find' | 'findOf' | 'refundsOf'>;
  readonly pseudonymKey: Buffer;
  /** Called when a payment or a refund was accepted; with it when this process is to work on it at once. */
  onAccepted(claimed: Claimed | undefined): void;
}

const tags = ['payment'];
// A merchant's token may have the name of a person: it pays as nobody, and sees what was paid to it.
const payers = { callers: ['customer', 'operator'] } as const;
const payees = { callers: ['merchant', 'operator'] } as const;
const both = { callers: ['customer', 'merchant', 'operator'] } as const;
const memberId = (description: string) => Type.String({ minLength: 1, maxLength: 200, description });
const answers = { ...failures, 403: errorBody };
const paymentPath = Type.Object({ paymentId: uuid('as answered by POST /pay/payments') });

const state = Type.Enum(
  states.filter((each) => ['TRANSFER', 'RECHARGE', 'RECHARGING', 'DONE', 'FAILED'].includes(each)),
  { description: 'DONE and FAILED are for good; the others name what is under way' },
);
const progress = {
  amount: money,
  state,
  reason: Type.Optional(Type.String({ description: 'why it fails, or what it waits for' })),
  requestedAt: Type.String(),
  decidedAt: Type.Optional(Type.String()),
  traceId: Type.Optional(Type.String({ description: 'of the request and all that came of it' })),
};
const paymentBody = Type.Object({
  paymentId: Type.String(),
  customer: Type.String({ description: 'pseudonym of the member who pays' }),
  merchant: Type.String({ description: 'pseudonym of the member who is paid' }),
  ...progress,
  recharge: Type.Optional(money),
  refunded: Type.Intersect([money], { description: 'refunds of it, those under way included' }),
  refunds: Type.Array(Type.Object({ refundId: Type.String(), ...progress })),
});

export function registerPaymentRoutes(http: FastifyInstance, options: PaymentRoutesOptions): void {
  const app = typed(http);
  registerPay(app, options);
  registerRefunds(app, options);
  registerSettle(app, options);
  registerFind(app, options);
}

/** An amount that moves. Throws 422. */
function moving(amount: Money): Money {
  const { amountMinor, currency } = inUse(amount, 'amount');
  if (amountMinor < 1) throw invalid('MUSTER_AMOUNT_INVALID', 'amount.amountMinor', 'must be above zero');
  return { amountMinor, currency };
}

function registerPay(app: TypedHttp, { payments, pseudonymKey, onAccepted }: PaymentRoutesOptions): void {
  app.post(
    '/pay/payments',
    {
      config: payers,
      schema: {
        summary: 'Pay a merchant',
        description:
          'Accepted at once and durable. When the balance is short and `rechargeFrom` names a bank account of the customer, what is missing is recharged first, in whole units of 10,000. What was paid is a slip on payment-events; how it ended can be asked for by the id.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            from: Type.Optional(memberId('who pays; a member may leave it out')),
            merchantId: memberId('the merchant: an active member of type MERCHANT'),
            amount: money,
            rechargeFrom: Type.Optional(uuid("the customer's bank account, as registered at banking")),
          },
          {
            additionalProperties: false,
            examples: [{ merchantId: 'shop-1', amount: { amountMinor: 12_000, currency: 'KRW' } }],
          },
        ),
        response: { 202: Type.Object({ paymentId: Type.String() }), ...answers },
      },
    },
    async (request, reply) => {
      const { from, merchantId, rechargeFrom } = request.body;
      const amount = moving(request.body.amount);
      const customer = pseudonym(pseudonymKey, userOf(request, from, 'from'));
      const merchant = pseudonym(pseudonymKey, merchantId);
      if (merchant === customer) throw invalid('MUSTER_SAME_ACCOUNT', 'merchantId', 'is the customer');
      const accepted = await payments.accept(
        { customer, merchant, ...amount, rechargeFrom },
        onceOf(request, 'payment', pseudonymKey)!,
      );
      if (!accepted.ok) throw refused(accepted.refusal);
      onAccepted(accepted.claimed);
      return reply.code(202).send({ paymentId: accepted.paymentId });
    },
  );
}

function registerRefunds(app: TypedHttp, { payments, pseudonymKey, onAccepted }: PaymentRoutesOptions): void {
  async function refund(request: FastifyRequest, paymentId: string, amount: Money | undefined) {
    const only = onlyOf(request, members);
    const accepted = await payments.refund(
      { paymentId, merchant: only === undefined ? undefined : pseudonym(pseudonymKey, only), amount },
      onceOf(request, 'payment', pseudonymKey)!,
    );
    if (!accepted.ok) throw refused(accepted.refusal);
    onAccepted(accepted.claimed);
    return { refundId: accepted.refundId };
  }
  const response = { 202: Type.Object({ refundId: Type.String() }), ...answers };

  app.post(
    '/pay/payments/:paymentId/refunds',
    {
      config: payees,
      schema: {
        summary: 'Give back a part of a payment, or all of it',
        description:
          'By the merchant who was paid, while it is active, out of what it was paid and is not settled yet (409 MUSTER_REFUND_NOT_COVERED), or by staff. Never more than was paid, however many ask at once: 409 MUSTER_REFUND_TOO_LARGE. A refund that fails (the account of the customer is closed) can be asked for again.',
        tags,
        headers: idempotencyKey.required,
        params: paymentPath,
        body: Type.Object({ amount: money }, { additionalProperties: false }),
        response,
      },
    },
    async (request, reply) => {
      const amount = moving(request.body.amount);
      return reply.code(202).send(await refund(request, request.params.paymentId, amount));
    },
  );

  app.post(
    '/pay/payments/:paymentId/cancel',
    {
      config: payees,
      schema: {
        summary: 'Give back a payment as a whole, of which nothing was given back',
        tags,
        headers: idempotencyKey.required,
        params: paymentPath,
        response,
      },
    },
    async (request, reply) =>
      reply.code(202).send(await refund(request, request.params.paymentId, undefined)),
  );
}

function registerSettle(app: TypedHttp, { payments, pseudonymKey }: PaymentRoutesOptions): void {
  app.post(
    '/pay/payments/settlements',
    {
      config: { callers: ['service'] },
      schema: {
        summary: 'Take what is about to be settled out of what its merchant is owed',
        description:
          'For the service that settles, before it pays out: from then on the merchant cannot give it back by itself. 409 MUSTER_REFUNDED_SINCE when something was given back that the settlement does not know of. A key has one answer for good.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            merchant: Type.String({ maxLength: 40, description: 'pseudonym' }),
            amount: Type.Object(
              { amountMinor: Type.Integer(), currency: Type.String({ maxLength: 3 }) },
              { description: 'paid less refunded, with the commission; may be below zero' },
            ),
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ merchant: Type.String() }), ...answers },
      },
    },
    async (request) => {
      const { merchant, amount } = request.body;
      if (!isPseudonym(merchant))
        throw new HttpError(404, 'MUSTER_MERCHANT_UNKNOWN', 'there is no such merchant');
      // All services share their keys: another process may ask again.
      const call = onceOf(request, 'payment', pseudonymKey, { user: 'service' })!;
      const answer = await payments.settle({ merchant, ...amount }, call);
      if (!answer.ok) throw refused(answer.refusal);
      return { merchant };
    },
  );
}

function registerFind(app: TypedHttp, { payments, pseudonymKey }: PaymentRoutesOptions): void {
  async function withRefunds(found: readonly Found[]) {
    const refunds = await payments.refundsOf(found.map(({ one }) => one.id));
    const byPayment = Map.groupBy(refunds, ({ own }) => own.paymentId);
    return found.map((each) => view(each, byPayment.get(each.one.id) ?? []));
  }
  const sideOf = ({ principal }: Pick<FastifyRequest, 'principal'>) =>
    principal?.role === 'merchant' ? 'merchant' : 'customer';

  app.get(
    '/pay/payments/:paymentId',
    {
      config: both,
      schema: {
        summary: 'What became of a payment, and its refunds',
        tags,
        params: paymentPath,
        response: { 200: paymentBody, ...answers },
      },
    },
    async (request) => {
      const only = onlyOf(request, members);
      const found = await payments.find(request.params.paymentId);
      const isTheirs = only === undefined || found?.own[sideOf(request)] === pseudonym(pseudonymKey, only);
      if (found?.own.kind !== 'PAYMENT' || !isTheirs)
        throw new HttpError(404, 'MUSTER_PAYMENT_UNKNOWN', 'there is no such payment');
      return (await withRefunds([found]))[0]!;
    },
  );

  app.get(
    '/pay/payments',
    {
      config: both,
      schema: {
        summary: 'What a customer has paid, or a merchant was paid, the newest first',
        description: '`next` is there while there may be more: pass it as `before`.',
        tags,
        querystring: Type.Object({
          memberId: Type.Optional(memberId('a member may leave it out')),
          as: Type.Optional(
            Type.Enum(['customer', 'merchant'], {
              description: 'for staff: which side; customer when left out',
            }),
          ),
          limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
          before: Type.String({ pattern: uuidPattern, default: 'ffffffff-ffff-ffff-ffff-ffffffffffff' }),
        }),
        response: {
          200: Type.Object({ payments: Type.Array(paymentBody), next: Type.Optional(Type.String()) }),
          ...answers,
        },
      },
    },
    async (request) => {
      const { memberId: named, as, limit } = request.query;
      const member = pseudonym(pseudonymKey, userOf(request, named, 'memberId', members));
      const side = request.principal?.role === 'operator' ? (as ?? 'customer') : sideOf(request);
      const found = await payments.findOf(side, member, request.query);
      return {
        payments: await withRefunds(found),
        ...(found.length < limit ? {} : { next: found.at(-1)!.one.id }),
      };
    },
  );
}

const invalid = (code: `MUSTER_${string}`, field: string, reason: string) =>
  new HttpError(422, code, 'the request is not valid', [{ field, reason }]);

function progressOf({ one, requestedAtMs, decidedAtMs, traceparent }: Found) {
  const { amountMinor, currency, state: now } = one;
  const reason = one.failure ?? one.waitsFor;
  return {
    amount: { amountMinor, currency },
    state: now,
    ...(reason === undefined ? {} : { reason }),
    requestedAt: new Date(requestedAtMs).toISOString(),
    ...(decidedAtMs === undefined ? {} : { decidedAt: new Date(decidedAtMs).toISOString() }),
    ...traceIdIn(traceparent),
  };
}

function view(payment: Found, refunds: readonly Found[]) {
  const { id: paymentId, currency, rechargeMinor } = payment.one;
  const { customer, merchant, refundedMinor } = payment.own;
  return {
    paymentId,
    customer,
    merchant,
    ...progressOf(payment),
    ...(rechargeMinor === undefined ? {} : { recharge: { amountMinor: rechargeMinor, currency } }),
    refunded: { amountMinor: refundedMinor, currency },
    refunds: refunds.map((each) => ({ refundId: each.one.id, ...progressOf(each) })),
  };
}
